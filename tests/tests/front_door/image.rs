//! The container image, as far as it can be tried without a container: what its Dockerfile says is read
//! and done here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use handoff_tests::{Client, Handoff, guest, program};
use landlock::{
    ABI, AccessFs, PathBeneath, PathFd, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _,
    RulesetStatus,
};

use crate::cli::assert_says;

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(name: &str) -> String {
    fs::read_to_string(source().join(name)).unwrap()
}

/// The Dockerfile's instructions: the word and the rest, on one line each.
fn instructions() -> Vec<(String, String)> {
    let text = read("Dockerfile");
    let lines = text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
    let joined = lines.replace("\\\n", " ");
    let instruction = |line: &str| {
        let (word, rest) = line.split_once(' ')?;
        Some((word.to_owned(), rest.split_whitespace().collect::<Vec<_>>().join(" ")))
    };
    joined.lines().filter_map(instruction).collect()
}

/// The instructions of that word in the image itself, which is the last stage.
fn of_image(word: &str) -> Vec<String> {
    let all = instructions();
    let last = all.iter().rposition(|(word, _)| word == "FROM").unwrap();
    let of = all[last..].iter().filter(|(named, _)| named == word);
    of.map(|(_, rest)| rest.clone()).collect()
}

/// A command in the form that needs no shell, the program first.
fn command(word: &str) -> Vec<String> {
    let [text] = &of_image(word)[..] else { panic!("{word} is there once") };
    serde_json::from_str(&text[text.find('[').unwrap()..]).unwrap()
}

/// What the image runs, with our program in place of its own.
fn in_image(arguments: &[String]) -> Handoff {
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    Handoff::of(&program(), &arguments)
}

/// The variables that the image sets.
fn environment() -> Vec<(String, String)> {
    let pairs = of_image("ENV").join(" ");
    let pairs = pairs.split_whitespace().map(|pair| pair.split_once('=').unwrap());
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[test]
fn the_image_is_built_by_the_projects_compiler_and_runs_without_rights() {
    let toolchain = read("rust-toolchain.toml");
    let channel = toolchain.lines().find_map(|line| line.strip_prefix("channel = \"")).unwrap();
    let compiler = format!("rust:{}-slim-trixie AS build", channel.trim_end_matches('"'));
    let all = instructions();
    let stages = all.iter().filter(|(word, _)| word == "FROM").map(|(_, from)| from.as_str());
    // A program that is linked to Debian 13 runs on Debian 13.
    assert_eq!(
        stages.collect::<Vec<_>>(),
        [compiler.as_str(), "gcr.io/distroless/cc-debian13:nonroot"]
    );
    let (_, run) = all.iter().find(|(word, _)| word == "RUN").unwrap();
    assert_says(run, &[" cargo build --locked --release --package handoff && "]);
    let [user] = &of_image("USER")[..] else { panic!("the user is said once") };
    assert!(user.split(':').all(|id| id.parse::<u32>().unwrap() > 0), "{user}");
    let owned = format!("--from=build --chown={user} /data /data");
    assert!(of_image("COPY").contains(&owned), "the data belongs to the user");
    assert_eq!(of_image("VOLUME"), ["/data"]);
}

/// Copies what `.dockerignore` lets through: it refuses all, takes some by name, and refuses some names
/// wherever they are.
fn copy_context(to: &Path) {
    let ignore = read(".dockerignore");
    let mut lines = ignore.lines().filter(|line| !line.starts_with('#'));
    assert_eq!(lines.next(), Some("*"));
    let (taken, refused): (Vec<_>, Vec<_>) = lines.partition(|line| line.starts_with('!'));
    let refused: Vec<_> = refused.iter().map(|line| line.strip_prefix("**/").unwrap()).collect();
    for name in taken {
        copy(&source().join(&name[1..]), &to.join(&name[1..]), &refused);
    }
}

fn copy(from: &Path, to: &Path, refused: &[&str]) {
    if refused.iter().any(|name| from.ends_with(name)) {
        return;
    }
    if from.is_dir() {
        for entry in fs::read_dir(from).unwrap() {
            let name = entry.unwrap().file_name();
            copy(&from.join(&name), &to.join(&name), refused);
        }
    } else {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, to).unwrap();
    }
}

#[test]
fn what_the_image_is_built_of_is_enough_for_cargo() {
    let context = tempfile::tempdir().unwrap();
    copy_context(context.path());
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--locked", "--offline", "--format-version", "1"]);
    let output = cargo.current_dir(context.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let root = fs::canonicalize(context.path()).unwrap();
    let is_ours = |package: &&serde_json::Value| {
        package["name"] == "handoff"
            && package["manifest_path"].as_str().unwrap().starts_with(root.to_str().unwrap())
    };
    assert_eq!(packages.iter().filter(is_ours).count(), 1);
    // What the sources take in beside themselves.
    assert!(context.path().join("wit").is_dir() && context.path().join("LICENSE").is_file());
    assert!(!context.path().join("docs").exists() && !context.path().join(".git").exists());
}

/// Takes the right to write anywhere but below a directory from this thread and the processes that it
/// starts. False if the kernel cannot.
fn write_only_to(directory: &Path) -> bool {
    let abi = ABI::V3;
    let writes = AccessFs::from_write(abi);
    let rules = Ruleset::default().handle_access(writes).unwrap().create().unwrap();
    let rules = rules
        .add_rule(PathBeneath::new(PathFd::new(directory).unwrap(), writes))
        .and_then(|rules| {
            let null = PathFd::new("/dev/null").unwrap();
            rules.add_rule(PathBeneath::new(null, AccessFs::WriteFile))
        })
        .unwrap();
    rules.restrict_self().unwrap().ruleset != RulesetStatus::NotEnforced
}

#[test]
fn the_server_of_the_image_works_with_a_root_that_is_read_only() {
    let data = tempfile::tempdir().unwrap();
    let in_a_thread = std::thread::spawn(move || {
        if !write_only_to(data.path()) {
            eprintln!("NOT TESTED: a root that is read-only, this kernel has no Landlock");
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(serve_in_image(data.path()));
    });
    in_a_thread.join().unwrap();
}

/// Starts what the image starts, asks for its health as the image does, and stops it as an engine does.
async fn serve_in_image(data: &Path) {
    let mut server = in_image(&[&command("ENTRYPOINT")[1..], &command("CMD")].concat());
    for (name, value) in environment() {
        let value = match name.as_str() {
            // The port may be taken here.
            "HANDOFF_LISTEN" => value.replace("0.0.0.0:1337", "127.0.0.1:0"),
            _ => value.replace("/data", data.to_str().unwrap()),
        };
        server = server.variable(&name, &value);
    }
    let mut server = server.directory(Path::new("/")).start();
    let line = server.line_with("listening on ").await;
    let url = line.rsplit(' ').next().unwrap().to_owned();
    let health = command("HEALTHCHECK");
    let health = in_image(&health[1..]).variable("HANDOFF_SERVER", &url);
    assert_eq!(health.run().await.expect(0), "ready\n");
    let client = Client::new(&url);
    client.upload(guest("hello")).await;
    let run = client.run("hello", &serde_json::json!({"filter": "^passes$"})).await;
    assert_eq!(run["status"], "passed", "{run:#}");
    server.terminate();
    server.ended().await.expect(0);
}
