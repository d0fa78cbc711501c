//! Files that a version brings along: read by suites and programs, changed by nobody, pinned by runs.

use std::collections::BTreeMap;
use std::path::Path;

use handoff_tests::{
    Answer, Client, Handoff, Server, Settings, guest, guest_file, optional_guest, patiently, salted,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::results::{assert_says, attempt, log, metric, only, run_of, submit, test, text};

const FIXTURES: &str = "/suites/default/shop/fixtures";

/// The archive of these files.
fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, name, *content).unwrap();
    }
    tar.into_inner().unwrap()
}

/// Files for programs, in a directory.
fn write(directory: &Path) {
    let data = directory.join("tests/data");
    std::fs::create_dir_all(data.join("empty")).unwrap();
    std::fs::write(data.join("stock.txt"), "3 apples\n").unwrap();
    std::fs::create_dir(directory.join("testdata")).unwrap();
    std::fs::write(directory.join("testdata/stock.txt"), "3 apples\n").unwrap();
}

async fn put(client: &Client, path: &str, archive: Vec<u8>) -> Answer {
    client.send(client.request(Method::PUT, path).body(archive)).await
}

async fn upload(client: &Client, program: Vec<u8>) -> Value {
    let request = client.upload_request(program).query(&[("name", "shop")]);
    let answer = client.send(request).await;
    assert!(answer.status.is_success(), "{answer:?}");
    answer.body
}

/// A directory of fixtures as the command line archives it, and its path.
fn directory() -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path());
    let path = directory.path().to_str().unwrap().to_owned();
    (directory, path)
}

#[tokio::test]
async fn a_suite_reads_its_files_in_every_stage_and_changes_none() {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("fixtures").await;
    let large: Vec<u8> = (0..3 << 20).map(|at: usize| at as u8).collect();
    let files = archive(&[("stock.txt", b"3 apples\n"), ("deep/er/large", &large)]);
    let fixtures = "/suites/default/fixtures/fixtures";
    let view = put(&client, fixtures, files.clone()).await.expect(StatusCode::OK);
    assert_eq!((&view["files"], &view["unpacked_bytes"]), (&json!(4), &json!((3 << 20) + 9)));
    assert_eq!(view["archive_bytes"], files.len());
    assert_eq!(client.json(fixtures).await, view);
    for policy in [
        json!({}),
        json!({"fixtures_path": "/srv/shop/data", "env": {"PLACE": "/srv/shop/data"}}),
        json!({"fixtures_path": "/tmp/data", "env": {"PLACE": "/tmp/data"}}),
    ] {
        client.set_policy("fixtures", &policy).await;
        // Twice, so that a change would be seen, and side by side.
        let run = client.run("fixtures", &json!({"repeat": 2, "parallelism": 2})).await;
        assert_eq!(run["status"], "passed", "{policy}: {run:#}");
        assert_eq!(run["fixtures"], view["digest"]);
        let said = log(&client, &run).await;
        for line in ["at the start: 3 apples", "at the end: 3 apples"] {
            assert!(said.iter().any(|said| said["text"] == line), "{line:?}: {said:#?}");
        }
    }
    client.delete(fixtures).await.expect(StatusCode::NO_CONTENT);
    let run = client.run("fixtures", &json!({})).await;
    assert_eq!((&run["setup"]["status"], &run["fixtures"]), (&json!("failed"), &Value::Null));
    client.delete(fixtures).await.problem(404);
}

#[tokio::test]
async fn programs_find_their_files_by_relative_paths() {
    let (_directory, path) = directory();
    let server = Server::start().await;
    let client = server.client();
    let mut programs = vec![
        ("program-libtest", "tests::reads_its_fixtures"),
        ("program-libtest-p1", "tests::reads_its_fixtures"),
    ];
    programs.extend(optional_guest("program-go").map(|_| ("program-go", "TestReadsTestdata")));
    for (program, name) in programs {
        let file = guest_file(program);
        let arguments =
            ["upload", file.to_str().unwrap(), "--name", "shop", "--fixtures", path.as_str()];
        let upload = Handoff::new(&arguments).variable("HANDOFF_SERVER", server.url());
        assert_says(&upload.run().await.expect(0), &["with 6 files and directories, 18 bytes"]);
        let run = run_of(&client, "default/shop", &only(name)).await;
        assert_eq!(run["status"], "passed", "{program}: {:#}", attempt(&run, name));
        let arguments = ["test", file.to_str().unwrap(), name, "--fixtures", path.as_str()];
        assert_says(&Handoff::new(&arguments).run().await.expect(0), &["1 passed"]);
    }
}

#[tokio::test]
async fn a_version_keeps_its_files_and_gives_them_to_the_next() {
    let server = Server::start().await;
    let client = server.client();
    let first = upload(&client, guest("program-libtest")).await;
    client.get(FIXTURES).await.problem(404);
    let apples = archive(&[("tests/data/stock.txt", b"3 apples\n"), ("tests/data/empty/a", b"")]);
    let apples = put(&client, FIXTURES, apples).await.expect(StatusCode::OK);
    // The next version has the same until it is given its own, and the first keeps what it has.
    upload(&client, guest("program-libtest-p1")).await;
    assert_eq!(client.json(FIXTURES).await["digest"], apples["digest"]);
    let pears = archive(&[("tests/data/stock.txt", b"no pears\n")]);
    let pears = put(&client, FIXTURES, pears).await.expect(StatusCode::OK);
    let of_first = format!("{FIXTURES}?version={}", text(&first["suite"]["version"]));
    assert_eq!(client.json(&of_first).await["digest"], apples["digest"]);
    assert_eq!(client.json(FIXTURES).await["digest"], pears["digest"]);
    let name = "tests::reads_its_fixtures";
    let run = run_of(&client, "default/shop", &only(name)).await;
    assert_eq!(run["fixtures"], pears["digest"]);
    assert_says(text(&attempt(&run, name)["message"]), &["no pears"]);
    // Back to the first version, with what it was tested with.
    let mut request = only(name);
    request["version"] = first["suite"]["version"].clone();
    let run = run_of(&client, "default/shop", &request).await;
    assert_eq!((&run["status"], &run["fixtures"]), (&json!("passed"), &apples["digest"]));
    // What is uploaded again stays as it is, and is gone with the suite.
    upload(&client, guest("program-libtest")).await;
    assert_eq!(client.json(FIXTURES).await["digest"], apples["digest"]);
    client.delete("/suites/default/shop").await.expect(StatusCode::NO_CONTENT);
    upload(&client, guest("program-libtest")).await;
    client.get(FIXTURES).await.problem(404);
}

#[tokio::test]
async fn a_run_has_the_files_it_was_asked_for_with_after_a_restart_too() {
    let mut server = Server::start().await;
    let client = server.client();
    upload(&client, guest("program-libtest")).await;
    let apples = archive(&[("tests/data/stock.txt", b"3 apples\n"), ("tests/data/empty/a", b"")]);
    let apples = put(&client, FIXTURES, apples).await.expect(StatusCode::OK);
    let request = json!({"filter": "computes_for_ever|reads_its", "test_timeout_ms": 3000});
    let run = submit(&client, "default/shop", &request).await;
    let mut events = client.events(&run, 0).await;
    patiently("the test begins", events.wait_for("attempt_started")).await;
    let none = archive(&[("other", b"")]);
    put(&client, FIXTURES, none).await.expect(StatusCode::OK);
    server.kill9().await;
    let server = server.restart().await;
    let run = server.client().finished(&run).await;
    assert_eq!(test(&run, "tests::reads_its_fixtures")["status"], "passed", "{run:#}");
    assert_eq!(run["fixtures"], apples["digest"]);
}

#[tokio::test]
async fn what_is_no_archive_or_too_much_is_refused() {
    let settings = Settings::default()
        .flag("sandbox-fixtures-archive-bytes", 20_000)
        .flag("sandbox-fixtures-unpacked-bytes", 10_000)
        .flag("sandbox-fixtures-memory-bytes", 10_000)
        .flag("sandbox-fixtures-files", 3)
        .flag("sandbox-fixtures-path-bytes", 100)
        .flag("sandbox-fixtures-depth", 2);
    let server = settings.start().await;
    let client = server.client();
    let one = archive(&[("a", b"1")]);
    put(&client, FIXTURES, one.clone()).await.problem(404);
    upload(&client, guest("program-libtest")).await;
    let unknown = format!("{FIXTURES}?version=sha256:{}", "0".repeat(64));
    assert_says(&put(&client, &unknown, one).await.problem(404), &["has no version"]);
    let mut link = tar::Header::new_gnu();
    link.set_entry_type(tar::EntryType::Symlink);
    link.set_size(0);
    let mut links = tar::Builder::new(Vec::new());
    links.append_link(&mut link, "stock", "/etc/passwd").unwrap();
    for (archive, words) in [
        (Vec::new(), &["the body is empty"][..]),
        (b"no archive at all".to_vec(), &["send a tar archive", "gzip or zstd"]),
        (links.into_inner().unwrap(), &["\"stock\"", "is a link"]),
        (archive(&[("a", b""), ("./a", b"")]), &["\"a\" is there twice"]),
    ] {
        assert_says(&put(&client, FIXTURES, archive).await.problem(422), words);
    }
    let long = "x".repeat(101);
    let bounds: BTreeMap<&str, Vec<u8>> = BTreeMap::from([
        ("sandbox_fixtures_archive_bytes", vec![0; 20_001]),
        ("sandbox_fixtures_unpacked_bytes", archive(&[("a", &[0; 6000]), ("b", &[0; 6000])])),
        ("sandbox_fixtures_files", archive(&[("a", b""), ("b", b""), ("c", b""), ("d", b"")])),
        ("sandbox_fixtures_path_bytes", archive(&[(&long, b"")])),
        ("sandbox_fixtures_depth", archive(&[("a/b/c", b"")])),
    ]);
    for (label, archive) in bounds {
        let setting = label.replacen('_', ".", 2);
        assert_says(&put(&client, FIXTURES, archive).await.problem(413), &[&setting]);
        let series = format!("handoff_limit_hits_total{{limit=\"{label}\"}}");
        assert_eq!(metric(&client, &series).await, 1, "{setting}");
    }
    client.get(FIXTURES).await.problem(404);
}

#[tokio::test]
async fn a_run_waits_for_room_for_its_files_and_can_be_cancelled_meanwhile() {
    let settings = Settings::default()
        .flag("sandbox-fixtures-unpacked-bytes", 100_000)
        .flag("sandbox-fixtures-memory-bytes", 150_000);
    let server = settings.start().await;
    let client = server.client();
    for (suite, byte) in [("spin", 1), ("noop", 2)] {
        client.upload_guest(suite).await;
        let archive = archive(&[("a", &[byte; 90_000])]);
        let path = format!("/suites/default/{suite}/fixtures");
        put(&client, &path, archive).await.expect(StatusCode::OK);
    }
    let request = json!({"repeat": 1000, "parallelism": 1});
    let holder = submit(&client, "default/spin", &request).await;
    let mut events = client.events(&holder, 0).await;
    patiently("the first run begins", events.wait_for("attempt_started")).await;
    let waiting = submit(&client, "default/noop", &json!({})).await;
    let cancelled = submit(&client, "default/noop", &json!({})).await;
    let series = "handoff_limit_hits_total{limit=\"sandbox_fixtures_memory_bytes\"}";
    patiently("a run waits for room", async {
        while metric(&client, series).await == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    client.post(&format!("/runs/{cancelled}/cancel"), &json!({})).await;
    assert_eq!(client.finished(&cancelled).await["status"], "cancelled");
    assert_eq!(client.json(&format!("/runs/{waiting}")).await["status"], "queued");
    client.post(&format!("/runs/{holder}/cancel"), &json!({})).await;
    assert_eq!(client.finished(&waiting).await["status"], "passed");
    // What does not fit beside the bounds as they are now is told.
    let late = submit(&client, "default/noop", &json!({})).await;
    assert_eq!(client.finished(&late).await["status"], "passed");
    let less = Settings::default()
        .flag("sandbox-fixtures-unpacked-bytes", 50_000)
        .flag("sandbox-fixtures-memory-bytes", 60_000);
    let server = server.restart_with(less).await;
    let run = run_of(&server.client(), "default/noop", &json!({})).await;
    assert_eq!(run["status"], "error", "{run:#}");
    assert_says(text(&run["message"]), &["sandbox.fixtures.memory_bytes"]);
}

#[tokio::test]
async fn the_configuration_file_brings_files_along() {
    let server = Server::start().await;
    let program = server.home().join("shop.wasm");
    std::fs::write(&program, guest("program-libtest")).unwrap();
    write(&server.home().join("files"));
    let file = "[[suites]]\nfile = \"shop.wasm\"\nfixtures = \"files\"\n\
         policy.args = [\"--test-threads=1\"]\n";
    std::fs::write(server.home().join("handoff.toml"), file).unwrap();
    let server = server.restart().await;
    let client = server.client();
    assert_eq!(client.json(FIXTURES).await["files"], 6);
    let run = run_of(&client, "default/shop", &only("tests::reads_its_fixtures")).await;
    assert_eq!(run["status"], "passed", "{run:#}");
    // Another version of the file has them too.
    std::fs::write(&program, salted(&guest("program-libtest"), 1)).unwrap();
    let server = server.restart().await;
    assert_eq!(server.client().json(FIXTURES).await["files"], 6);
}

#[tokio::test]
async fn the_command_line_says_what_is_wrong_with_files() {
    let (directory, path) = directory();
    let plain = guest_file("program-plain");
    let plain = plain.to_str().unwrap();
    let none = format!("{path}/nothing");
    let told = Handoff::new(&["test", plain, "--fixtures", &none]).run().await.failure(2);
    assert_says(&told, &["read the fixtures", "nothing"]);
    std::os::unix::fs::symlink("/etc", directory.path().join("out")).unwrap();
    let told = Handoff::new(&["test", plain, "--fixtures", &path]).run().await.failure(2);
    assert_says(&told, &["out: it is a link"]);
    let archive = directory.path().join("a.tar");
    std::fs::write(&archive, "no archive").unwrap();
    let archive = archive.to_str().unwrap();
    let told = Handoff::new(&["test", plain, "--fixtures", archive]).run().await.failure(2);
    assert_says(&told, &["send a tar archive"]);
    let told = Handoff::new(&["test", plain, "--fixtures-path", "data"]).run().await.failure(2);
    assert_says(&told, &["fixtures_path", "not absolute"]);
    let args = ["test", plain, "--args", "-v", "--args=--fast", "-v"];
    assert_says(&Handoff::new(&args).run().await.expect(0), &["2 arguments"]);
}
