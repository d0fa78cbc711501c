//! The commands in the documentation on CI and deployment do what is said of them.

use std::fs;
use std::path::Path;

use handoff_tests::{Server, guest_file};

use crate::cli::{assert_says, at};

const PAGES: [&str; 2] = ["docs/ci.md", "deploy/README.md"];
/// What starts an engine or a cluster, which tests have none of.
const ELSEWHERE: [&str; 3] = ["docker ", "helm ", "kubectl "];

fn text(page: &str) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(page);
    fs::read_to_string(page).unwrap().replace("\\\n", " ")
}

/// The commands in the page's consoles, each on one line and without its comment.
fn commands(page: &str) -> Vec<String> {
    let text = text(page);
    let consoles = text.split("```console\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let commands = consoles.flat_map(str::lines).filter_map(|line| line.strip_prefix("$ "));
    commands.map(|line| line.split(" #").next().unwrap().trim().to_owned()).collect()
}

#[tokio::test]
async fn the_commands_on_the_pages_do_what_is_said_of_them() {
    let directory = tempfile::tempdir().unwrap();
    fs::copy(guest_file("ten"), directory.path().join("suite.wasm")).unwrap();
    let server = Server::start().await;
    let mut run = 0;
    for command in PAGES.iter().flat_map(|page| commands(page)) {
        let Some(line) = command.strip_prefix("handoff ") else {
            assert!(ELSEWHERE.iter().any(|start| command.starts_with(start)), "{command}");
            continue;
        };
        // What each reader has in place of the examples' names.
        let line = line
            .replace("my_suite.wasm", "suite.wasm")
            .replace("my-suite", "ten")
            .replace("https://handoff.example.com", server.url())
            .replace("\"$GIT_COMMIT\"", "0123abc");
        if line.starts_with("run ") {
            server.client().upload_guest("ten").await;
        }
        let mut started = at(&server, &line).directory(directory.path()).start();
        let code = if line.contains("--watch") {
            started.wait_for("Watching suite.wasm").await;
            started.interrupt();
            130
        } else {
            0
        };
        let told = started.ended().await.expect(code);
        if line.contains("--shard 2/5") {
            assert_says(&told, &["Shard 2/5"]);
        }
        run += 1;
    }
    assert!(run > 10, "{run} commands were run");
    for report in ["reports/handoff.xml", "reports/handoff.json"] {
        assert!(directory.path().join(report).is_file(), "{report}");
    }
}

#[tokio::test]
async fn the_commands_of_the_examples_do_what_is_said_of_them() {
    for example in ["hello", "self-check"] {
        let page = text(&format!("examples/{example}/README.md"));
        let server = Server::start().await;
        let mut run = 0;
        let scripts = page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
        for line in scripts.flat_map(str::lines) {
            let (command, comment) = line.split_once(" #").unwrap_or((line, ""));
            let command = command.trim();
            // The guests are built, and a server is there.
            if ["cargo xtask guests", "handoff serve &"].contains(&command) {
                continue;
            }
            let component = format!("target/guests/{example}.wasm");
            let line = command
                .replace(&component, guest_file(example).to_str().unwrap())
                .replace("http://127.0.0.1:1337", server.url());
            let line = line.strip_prefix("handoff ").expect("commands of ours alone");
            let code = comment.split_once("exits with ").map_or(0, |(_, code)| {
                code.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
            });
            at(&server, line).run().await.expect(code);
            run += 1;
        }
        assert!(run > 2, "{example}: {run} commands were run");
    }
}
