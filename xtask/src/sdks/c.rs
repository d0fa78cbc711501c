//! C, with suites in C++ and Zig on the same header: the library's own tests, and its suites.
//!
//! The compiler is the one in `ziglang`, which pip installs without further rights. The bindings in
//! `gen` are committed; where a wit-bindgen of their version is at hand, they are compared with `wit/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};

use super::{Place, command, run};

/// What the generator calls itself. It writes this into what it generates.
const GENERATOR: &str = "wit-bindgen-cli 0.63.0";

/// The object with the types of a suite's exports and imports.
const TYPES: &str = "gen/c_sdk_component_type.o";

/// The options for every suite; `-UNDEBUG` because this compiler leaves asserts out when it optimises.
const OPTIONS: [&str; 9] = [
    "-target",
    "wasm32-wasi",
    "-O2",
    "-UNDEBUG",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-mexec-model=reactor",
    "-Wl,-z,stack-size=1048576",
];

/// A built environment.
struct Tools<'a> {
    place: &'a Place,
    python: PathBuf,
}

/// Runs the library's own tests, and builds the suites, unless everything is as it was.
pub(super) fn build(place: &Place) -> Result<()> {
    let tools = Tools { place, python: place.work.join("venv/bin/python") };
    tools.install()?;
    let done = place.work.join("built");
    let changed = latest(&[&place.source, &place.wit])?;
    let built = fs::metadata(&done).and_then(|done| done.modified());
    let suites = ["conformance", "hello", "cpp", "zig"];
    let whole = suites.iter().all(|suite| tools.module(suite).is_file());
    if whole && built.is_ok_and(|built| built > changed) {
        return Ok(());
    }
    tools.check_format()?;
    tools.check_bindings()?;
    tools.test()?;
    tools.c("conformance", "conformance")?;
    tools.c("hello", "example/c")?;
    tools.cpp()?;
    tools.zig()?;
    fs::write(&done, "").with_context(|| format!("failed to write {}", done.display()))
}

impl Tools<'_> {
    /// Puts what the lock file names into the work directory, unless it is there.
    fn install(&self) -> Result<()> {
        let Place { source, work, .. } = self.place;
        let lock = source.join("requirements.txt");
        let wanted =
            fs::read(&lock).with_context(|| format!("failed to read {}", lock.display()))?;
        let installed = work.join("installed");
        if self.python.exists() && fs::read(&installed).is_ok_and(|there| there == wanted) {
            return Ok(());
        }
        let environment = work.join("venv");
        run(command("python3", source).args(["-m", "venv", "--clear"]).arg(&environment))?;
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
        let locked = ["--require-hashes", "--requirement", "requirements.txt"];
        run(command(&self.python, source).args(pip).args(locked))?;
        fs::write(installed, wanted).context("failed to note what is installed")
    }

    /// The suite in Zig, on the header as Zig translates it.
    fn zig(&self) -> Result<()> {
        let Place { source, work, .. } = self.place;
        let header = work.join("handoff.zig");
        let mut translate = self.zig_command("translate-c");
        translate.args(["-target", "wasm32-wasi", "-I", "include", "-lc", "include/handoff.h"]);
        let translated = translate.output().context("failed to translate the header")?;
        ensure!(translated.status.success(), "{}", String::from_utf8_lossy(&translated.stderr));
        fs::write(&header, translated.stdout)
            .with_context(|| format!("failed to write {}", header.display()))?;
        let mut zig = self.zig_command("build-exe");
        zig.args(["-target", "wasm32-wasi", "-OReleaseSmall", "-mexec-model=reactor"])
            .args(["-fno-entry", "--stack", "1048576", "-lc", "-Iinclude", "-cflags", "-std=c11"])
            .args(["-UNDEBUG", "--"])
            .args(library(source)?)
            .args([TYPES, "--dep", "handoff", "-Mroot=example/zig/hello.zig"])
            .arg(format!("-Mhandoff={}", header.display()))
            .arg(format!("-femit-bin={}", self.module("zig").display()));
        run(&mut zig)
    }

    /// One of the compiler's commands, with its caches among the tools.
    fn zig_command(&self, name: &str) -> Command {
        let cache = self.place.work.join("zig-cache");
        let mut zig = command(&self.python, &self.place.source);
        zig.args(["-m", "ziglang", name])
            .env("ZIG_GLOBAL_CACHE_DIR", &cache)
            .env("ZIG_LOCAL_CACHE_DIR", &cache);
        zig
    }

    /// A suite of the C files in a directory.
    fn c(&self, suite: &str, directory: &str) -> Result<()> {
        let source = &self.place.source;
        let mut cc = self.zig_command("cc");
        cc.args(OPTIONS)
            .args(["-std=c11", "-Wl,--strip-debug", "-Iinclude"])
            .args(files(source, &[directory], "c")?)
            .args(library(source)?)
            .args([TYPES, "-o"])
            .arg(self.module(suite));
        run(&mut cc)
    }

    /// The suite in C++.
    fn cpp(&self) -> Result<()> {
        let mut cpp = self.zig_command("c++");
        cpp.args(OPTIONS)
            .args(["-fno-exceptions", "-Wl,--strip-debug", "-Iinclude"])
            .args(["example/cpp/hello.cpp", "-x", "c"])
            .args(library(&self.place.source)?)
            .args(["-x", "none", TYPES, "-o"])
            .arg(self.module("cpp"));
        run(&mut cpp)
    }

    /// Tests natively what the library computes without a server.
    fn test(&self) -> Result<()> {
        let program = self.place.work.join("unit");
        let pure = ["text", "operand", "url", "registry"].map(|name| format!("src/{name}.c"));
        let mut cc = self.zig_command("cc");
        cc.args(["-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-Iinclude", "tests/unit.c"]);
        run(cc.args(pure).args(["-lm", "-o"]).arg(&program))?;
        run(command(program, &self.place.source).stdout(std::process::Stdio::null()))
    }

    fn check_format(&self) -> Result<()> {
        let source = &self.place.source;
        let directories = [
            "include",
            "include/handoff",
            "src",
            "tests",
            "conformance",
            "example/c",
            "example/cpp",
        ];
        let mut format = command(self.place.work.join("venv/bin/clang-format"), source);
        format.args(["--dry-run", "--Werror"]);
        for extension in ["c", "h", "cpp"] {
            format.args(files(source, &directories, extension)?);
        }
        run(&mut format)
    }

    /// Compares the bindings with the WIT that they were generated from, if the generator is there.
    fn check_bindings(&self) -> Result<()> {
        let Place { source, work, wit, .. } = self.place;
        let own = work.join("wit-bindgen/bin/wit-bindgen");
        let generator = if own.exists() { own } else { PathBuf::from("wit-bindgen") };
        let version = Command::new(&generator).arg("--version").output();
        if !version.is_ok_and(|told| told.stdout.starts_with(GENERATOR.as_bytes())) {
            eprintln!("NOT CHECKED: whether sdk/c/gen is current; that needs {GENERATOR}");
            return Ok(());
        }
        let world = work.join("wit");
        if world.exists() {
            fs::remove_dir_all(&world).context("failed to remove the old WIT")?;
        }
        copy(&wit.join("deps"), &world.join("deps"))?;
        copy(wit, &world.join("deps/handoff"))?;
        fs::remove_dir_all(world.join("deps/handoff/deps")).context("failed to flatten the WIT")?;
        fs::copy(source.join("world.wit"), world.join("world.wit"))
            .context("failed to copy the world")?;
        let mut check = command(generator, source);
        run(check.arg("c").arg(&world).args(["-w", "c-sdk", "--out-dir", "gen", "--check"]))
            .context("sdk/c/gen is not what `wit/` makes: generate it again, as its README says")
    }

    /// Where a suite goes: the core module, which Handoff takes as it is.
    fn module(&self, suite: &str) -> PathBuf {
        self.place.guests.join(format!("c-{suite}.wasm"))
    }
}

/// What is compiled into every suite.
fn library(source: &Path) -> Result<Vec<PathBuf>> {
    files(source, &["src", "gen"], "c")
}

/// The files with this extension in these directories of the SDK, as paths in it, in order.
fn files(source: &Path, directories: &[&str], extension: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for directory in directories {
        let whole = source.join(directory);
        let told = || format!("failed to read {}", whole.display());
        for entry in fs::read_dir(&whole).with_context(told)? {
            let path = Path::new(directory).join(entry.with_context(told)?.file_name());
            if path.extension().is_some_and(|it| it == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Copies a directory with everything in it.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let told = || format!("failed to copy {} to {}", from.display(), to.display());
    fs::create_dir_all(to).with_context(told)?;
    for entry in fs::read_dir(from).with_context(told)? {
        let entry = entry.with_context(told)?;
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target).with_context(told)?;
        }
    }
    Ok(())
}

/// When the last of these files, or of the files in these directories, changed.
fn latest(paths: &[&Path]) -> Result<SystemTime> {
    let mut latest = SystemTime::UNIX_EPOCH;
    for path in paths {
        let told = || format!("failed to read {}", path.display());
        let metadata = fs::symlink_metadata(path).with_context(told)?;
        latest = latest.max(metadata.modified().with_context(told)?);
        if metadata.is_dir() {
            for entry in fs::read_dir(path).with_context(told)? {
                latest = latest.max(self::latest(&[&entry.with_context(told)?.path()])?);
            }
        }
    }
    Ok(latest)
}
