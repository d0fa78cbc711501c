//! Compiling with the real child process: limits, the cache on disk, and sharing.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bounds;
mod cache;
mod steps;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use bytes::Bytes;
use futures::future::join_all;
use handoff::compile::{
    CompileError, CompileSettings, Compiler, Inspection, Kind, Loaded, Rejection, Structure,
};
use handoff::metrics::Metrics;
use handoff::model::Digest;
use handoff::wasm::{Engines, SandboxSettings};
use tempfile::TempDir;

const HANDOFF: &str = env!("CARGO_BIN_EXE_handoff");
/// Enough for a child of a debug build, and little enough to be used up quickly.
const MEMORY: u64 = 320 << 20;
/// Waits for the end of its input, which does not come before its answer.
const HANGING: &str = "exec /bin/cat > /dev/null";
const MISSING: &str = "/nonexistent/handoff";
const TESTS: &str = "handoff:suite/tests@0.1.0";

/// A directory for a cache, and for programs that stand in for the child process; and what its compilers
/// counted.
struct Place(TempDir, Metrics);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap(), Metrics::new())
    }

    /// How often a bound was hit.
    fn hits(&self, limit: &str) -> usize {
        let series = format!("handoff_limit_hits_total{{limit=\"{limit}\"}} ");
        let metrics = self.1.render();
        metrics
            .lines()
            .find_map(|line| line.strip_prefix(&series))
            .map_or(0, |n| n.parse().unwrap())
    }

    fn compiler(&self, exe: impl AsRef<Path>, settings: CompileSettings) -> Compiler {
        // Pools take time to make, and leave no trace in compiled code.
        let sandbox = SandboxSettings { pooling: false, ..Default::default() };
        self.compiler_with(exe, settings, &sandbox)
    }

    fn compiler_with(
        &self,
        exe: impl AsRef<Path>,
        settings: CompileSettings,
        sandbox: &SandboxSettings,
    ) -> Compiler {
        let engines = Engines::new(sandbox).unwrap();
        let (exe, cache) = (exe.as_ref().to_owned(), self.cache());
        Compiler::new(exe, cache, settings, engines, self.1.clone()).unwrap()
    }

    fn cache(&self) -> PathBuf {
        self.0.path().join("compiled")
    }

    fn cached(&self) -> Vec<PathBuf> {
        fs::read_dir(self.cache()).unwrap().map(|file| file.unwrap().path()).collect()
    }

    /// A shell script in place of the binary.
    fn script(&self, body: &str) -> PathBuf {
        let path = self.0.path().join("script");
        // Written elsewhere and renamed: a file that some process still writes cannot be started.
        let draft = self.0.path().join("draft");
        fs::write(&draft, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o700)).unwrap();
        fs::rename(&draft, &path).unwrap();
        path
    }

    /// The binary, counting how often it is started.
    fn counting(&self) -> PathBuf {
        let count = self.0.path().join("count");
        self.script(&format!("echo started >> {}\nexec {HANDOFF} \"$@\"", count.display()))
    }

    fn count(&self) -> usize {
        let count = fs::read_to_string(self.0.path().join("count"));
        count.map_or(0, |text| text.lines().count())
    }
}

fn wat(text: &str) -> Bytes {
    wat::parse_str(text).unwrap().into()
}

/// A component of little code, different for each `n`.
fn small(n: u32) -> Bytes {
    wat(&format!("(component (core module (func (export \"f\") (result i32) i32.const {n})))"))
}

/// A suite as far as inspection sees.
fn suite() -> Bytes {
    wat(&format!(
        r#"(component (import "wasi:io/poll@0.2.0" (instance)) (instance)
           (export "{TESTS}" (instance 1)))"#
    ))
}

fn leb(mut value: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [&[id], &leb(content.len())[..], content].concat()
}

/// A component of `functions` functions with `rounds` calculations each. About 10,000 in all are a
/// tenth of a second of work.
fn much(functions: usize, rounds: usize) -> Bytes {
    let mut body = vec![0];
    for round in 0..rounds {
        // local.get 0, i32.const, i32.rotl, local.get 0, i32.mul, local.set 0
        body.extend([0x20, 0, 0x41, (round % 60) as u8, 0x77, 0x20, 0, 0x6c, 0x21, 0]);
    }
    body.extend([0x20, 0, 0x0b]);
    let body = [leb(body.len()), body].concat();
    let count = leb(functions);
    let module = [
        b"\0asm\x01\0\0\0",
        &section(1, &[1, 0x60, 1, 0x7f, 1, 0x7f])[..],
        &section(3, &[&count[..], &vec![0; functions]].concat()),
        &section(10, &[&count[..], &body.repeat(functions)].concat()),
    ]
    .concat();
    [b"\0asm\x0d\0\x01\0", &section(1, &module)[..]].concat().into()
}

async fn load(compiler: &Compiler, bytes: &Bytes) -> Result<Loaded, CompileError> {
    load_for(compiler, Digest::of(bytes), bytes, true).await
}

async fn load_for(
    compiler: &Compiler,
    digest: Digest,
    bytes: &Bytes,
    metered: bool,
) -> Result<Loaded, CompileError> {
    compiler.load(digest, metered, std::future::ready(Ok(bytes.clone()))).await
}

/// What can be loaded without the component's own bytes: without compiling it.
async fn cached(compiler: &Compiler, digest: Digest, metered: bool) -> Option<Loaded> {
    let missing = std::future::ready(Err(CompileError::Unread("not here".into())));
    match compiler.load(digest, metered, missing).await {
        Ok(loaded) => Some(loaded),
        Err(CompileError::Unread(_)) => None,
        Err(other) => panic!("{other:?}"),
    }
}

async fn refusal(compiler: &Compiler, bytes: &Bytes) -> CompileError {
    match load(compiler, bytes).await {
        Ok(_) => panic!("it was compiled"),
        Err(error) => error,
    }
}

fn assert_limit(error: &CompileError, expected: &str) {
    assert!(
        matches!(error, CompileError::Limit { name, .. } if *name == expected),
        "{expected}: {error:?}"
    );
}

#[tokio::test]
async fn a_suite_is_inspected_in_a_child_process() {
    let place = Place::new();
    let compiler = place.compiler(HANDOFF, CompileSettings::default());
    let bytes = suite();
    let expected = Inspection {
        kind: Kind::Suite,
        language: None,
        exports: vec![TESTS.into()],
        imports: vec!["wasi:io/poll@0.2.0".into()],
        size_bytes: bytes.len() as u64,
        digest: Digest::of(&bytes),
    };
    assert_eq!(compiler.inspect(bytes).await.unwrap(), expected);
}

#[tokio::test]
async fn what_is_no_suite_is_rejected_with_the_reason() {
    let place = Place::new();
    let compiler = place.compiler(HANDOFF, CompileSettings::default());
    let cases = [
        (Bytes::from_static(b""), "it is empty"),
        (Bytes::from_static(b"PK\x03\x04"), "a zip archive"),
        (Bytes::from_static(b"(component)"), "WebAssembly text"),
        (wat("(module)"), "it is a core module and exports neither _start"),
        (wat("(component)"), "it exports nothing"),
        (wat(r#"(component (import "a:b/c" (instance)))"#), "it imports a:b/c"),
    ];
    for (bytes, expected) in cases {
        let error = compiler.inspect(bytes).await.unwrap_err();
        assert!(matches!(error, CompileError::Rejected(_)), "{error:?}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn a_suite_cut_at_any_sixteenth_is_rejected() {
    let place = Place::new();
    let compiler = place.compiler(HANDOFF, CompileSettings::default());
    let bytes = suite();
    for part in 0..16 {
        let cut = bytes.slice(..bytes.len() * part / 16);
        let error = compiler.inspect(cut).await.unwrap_err();
        assert!(matches!(error, CompileError::Rejected(_)), "{part}: {error:?}");
    }
}

#[tokio::test]
async fn two_hundred_megabytes_of_zeroes_are_rejected_by_their_size_alone() {
    let place = Place::new();
    let compiler = place.compiler(MISSING, CompileSettings::default());
    let zeroes = Bytes::from(vec![0; 200 << 20]);
    let error = compiler.inspect(zeroes.clone()).await.unwrap_err();
    let CompileError::Rejected(Rejection::TooLarge { size_bytes, cap_bytes }) = error else {
        panic!("{error:?}");
    };
    assert_eq!((size_bytes, cap_bytes), (200 << 20, 64 << 20));
    let settings = CompileSettings { component_bytes: u64::MAX, ..Default::default() };
    let error = Place::new().compiler(MISSING, settings).inspect(zeroes).await.unwrap_err();
    assert!(error.to_string().contains("it starts with the bytes 00000000"), "{error}");
}

#[tokio::test]
async fn a_rejection_is_remembered() {
    let place = Place::new();
    let compiler = place.compiler(place.counting(), CompileSettings::default());
    let bytes = wat("(component)");
    let first = compiler.inspect(bytes.clone()).await.unwrap_err().to_string();
    assert_eq!(compiler.inspect(bytes).await.unwrap_err().to_string(), first);
    assert_eq!(place.count(), 1);
}

#[tokio::test]
async fn a_component_is_compiled_for_either_engine() {
    let place = Place::new();
    let sandbox = SandboxSettings::default();
    let compiler = place.compiler_with(place.counting(), CompileSettings::default(), &sandbox);
    let (bytes, digest) = (small(1), Digest::of(&small(1)));
    for metered in [true, false] {
        let loaded = load_for(&compiler, digest, &bytes, metered).await.unwrap();
        assert_eq!((loaded.metered, loaded.digest), (metered, digest));
        load_for(&compiler, digest, &bytes, metered).await.unwrap();
        assert!(cached(&compiler, digest, metered).await.is_some());
    }
    assert_eq!(place.count(), 2);
    assert_eq!(place.cached().len(), 2);
}

#[tokio::test]
async fn a_child_killed_from_outside_is_the_servers_fault_and_tried_again() {
    let place = Place::new();
    let compiler = place.compiler(place.script("kill -9 $$"), CompileSettings::default());
    let error = refusal(&compiler, &small(1)).await;
    let CompileError::Host(cause) = &error else { panic!("{error:?}") };
    assert!(cause.to_string().contains("ended from outside"), "{cause}");
    place.counting();
    load(&compiler, &small(1)).await.unwrap();
}

#[tokio::test]
async fn a_crash_of_the_compiler_is_told() {
    let place = Place::new();
    let script = place.script("echo 'a bug' >&2; kill -SEGV $$");
    let error = refusal(&place.compiler(script, CompileSettings::default()), &small(1)).await;
    let message = error.to_string();
    assert!(message.contains("the compiler crashed (signal: 11 (SIGSEGV)"), "{message}");
    assert!(message.ends_with("a bug"), "{message}");
}

#[tokio::test]
async fn an_answer_that_is_not_the_childs_is_not_loaded() {
    for body in ["echo handof1 and so on, more than a header has", ":", "exec /bin/cat"] {
        let place = Place::new();
        let compiler = place
            .compiler(place.script(body), CompileSettings { wall_ms: 1_000, ..Default::default() });
        let error = refusal(&compiler, &small(1)).await;
        let host = matches!(error, CompileError::Host(_));
        assert!(host || matches!(error, CompileError::Limit { .. }), "{body}: {error:?}");
        assert!(place.cached().is_empty());
    }
}

#[tokio::test]
async fn bytes_that_are_not_those_of_the_digest_are_not_compiled() {
    let place = Place::new();
    let compiler = place.compiler(HANDOFF, CompileSettings::default());
    let error = load_for(&compiler, Digest::of(b"other"), &small(1), true).await.err().unwrap();
    assert!(matches!(error, CompileError::Host(_)), "{error:?}");
    assert!(place.cached().is_empty());
}

#[tokio::test]
async fn loads_of_one_component_share_a_compilation() {
    let place = Place::new();
    let compiler = place.compiler(place.counting(), CompileSettings::default());
    let bytes = small(1);
    let loads = join_all((0..32).map(|_| load(&compiler, &bytes))).await;
    assert!(loads.iter().all(Result::is_ok));
    assert_eq!(place.count(), 1);
}

#[tokio::test]
async fn a_compilation_goes_on_when_its_first_caller_leaves() {
    let place = Place::new();
    let compiler = place.compiler(place.counting(), CompileSettings::default());
    let bytes = small(1);
    let mut first = Box::pin(load(&compiler, &bytes));
    assert!(futures::poll!(&mut first).is_pending());
    drop(first);
    load(&compiler, &bytes).await.unwrap();
    assert_eq!(place.count(), 1);
}

#[tokio::test]
async fn hostile_but_small_enough_components_do_no_harm() {
    let place = Place::new();
    let settings = CompileSettings { cpu_ms: 5_000, ..Default::default() };
    let compiler = place.compiler(HANDOFF, settings);
    let garbage = "\\ff".repeat(1 << 20);
    let debug_info = format!(
        r#"(component (core module (func) (@custom ".debug_info" "{garbage}")
           (@custom ".debug_abbrev" "{garbage}") (@custom ".debug_line" "{garbage}")))"#
    );
    let deep = format!(
        "(component (core module (func {} {})))",
        "block ".repeat(5_000),
        "end ".repeat(5_000)
    );
    let locals = "(component (core module (func (local i32 i64 f32 f64 v128) nop)))";
    for (what, bytes) in [
        ("debug information", wat(&debug_info)),
        ("nesting", wat(&deep)),
        ("locals", wat(locals)),
        ("many tiny functions", much(50_000, 0)),
    ] {
        match load(&compiler, &bytes).await {
            Ok(_) | Err(CompileError::Failed(_) | CompileError::Limit { .. }) => {}
            Err(other) => panic!("{what}: {other:?}"),
        }
    }
    load(&compiler, &small(1)).await.unwrap();
}

/// What a memory costs is counted when it is made, so a huge one is refused by `describe`; or here,
/// if no slot of the engine's pools is large enough.
#[tokio::test]
async fn a_huge_memory_costs_nothing_before_it_is_made() {
    let place = Place::new();
    let huge = wat("(component (core module (memory 65536)))");
    load(&place.compiler(HANDOFF, CompileSettings::default()), &huge).await.unwrap();
    let sandbox = SandboxSettings::default();
    let compiler = place.compiler_with(place.counting(), CompileSettings::default(), &sandbox);
    let CompileError::Failed(message) = refusal(&compiler, &huge).await else { panic!() };
    assert!(message.contains("memory index 0"), "{message}");
    assert!(message.contains("setting `sandbox.max_memory_bytes`"), "{message}");
    // What is on disk fits the code of this engine but not its pools; that does not loop.
    assert!(matches!(refusal(&compiler, &huge).await, CompileError::Failed(_)));
    assert_eq!(place.count(), 1);
    assert!(place.cached().is_empty());
}

#[test]
fn the_command_of_the_child_is_for_the_server_alone() {
    for arguments in [&["compile-worker"][..], &["compile-worker", "{}"]] {
        let output = std::process::Command::new(HANDOFF).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(stderr, "`compile-worker` is for the server's own use\n");
    }
}

/// The order is the server's own; written here as it looks today, to play a server that dies.
#[test]
fn a_child_whose_server_died_ends() {
    use std::io::Write as _;
    let input = much(8_000, 100);
    let order = format!(
        r#"{{"job":{{"Compile":{{"metered":true}}}},"input_bytes":{},"memory_bytes":2147483648,
            "cpu_ms":60000,"debug_bytes":0,"structure":{{}}}}"#,
        input.len()
    );
    let mut child = std::process::Command::new(HANDOFF)
        .args(["compile-worker", &order])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&input).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
}
