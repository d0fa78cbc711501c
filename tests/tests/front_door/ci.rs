//! `handoff test` and `handoff run` where a job splits, repeats, stops or watches them.

use std::collections::BTreeSet;
use std::path::Path;

use handoff_tests::{Settings, Target, guest_file};
use serde_json::json;

use crate::cli::{assert_says, at, file, handoff};
use crate::results::text;
use crate::steps;

/// The tests that a command lists.
async fn listed(line: &str) -> Vec<String> {
    let told = handoff(&format!("{line} --list")).run().await.expect(0);
    told.lines().map(Into::into).collect()
}

#[tokio::test]
async fn the_shards_of_a_suite_have_each_of_its_tests_once() {
    let suite = file("thousand");
    let all = listed(&format!("test {suite}")).await;
    let mut found = Vec::new();
    for part in 1..=3 {
        let shard = listed(&format!("test {suite} --shard {part}/3")).await;
        assert!(shard.len() > all.len() / 6, "{part}/3 has {} tests", shard.len());
        found.extend(shard);
    }
    assert_eq!(found.len(), all.len());
    assert_eq!(found.iter().collect::<BTreeSet<_>>(), all.iter().collect());
    // The part follows from the name, so a filter moves no test.
    let one = listed(&format!("test {suite} --shard 2/3 --filter 7")).await;
    assert!(!one.is_empty() && one.iter().all(|name| name.contains('7') && found.contains(name)));
}

#[tokio::test]
async fn a_shard_runs_its_tests_and_one_without_any_passes_and_asks_nobody() {
    let target = Target::start().await;
    let server = steps::server(Settings::default(), &target).await;
    let (suite, url) = (file("steps"), target.url());
    let granted = format!("test {suite} --allow-http {url} --config target={url}");
    let mut tests = BTreeSet::new();
    for part in 1..=9 {
        let shard = format!("{part}/9");
        let mine = listed(&format!("test {suite} --shard {shard}")).await;
        let before = target.seen_count();
        let told = handoff(&format!("{granted} --shard {shard}")).run().await.expect(0);
        let on_server = format!("run steps --shard {shard} --param run={part}");
        let there = at(&server, &on_server).run().await.expect(0);
        let summary = match mine.len() {
            0 => format!("Shard {shard} has no test to run"),
            1 => format!("Shard {shard} of the suite: 1 test"),
            more => format!("Shard {shard} of the suite: {more} tests"),
        };
        assert_says(&told, &[&summary]);
        assert_says(&there, &[&summary]);
        // Setup, the tests and teardown, twice; nothing if there is no test.
        let asked = if mine.is_empty() { 0 } else { 2 * (mine.len() + 2) };
        assert_eq!(target.seen_count() - before, asked, "{told}");
        tests.extend(mine);
    }
    assert_eq!(tests.len(), 5, "{tests:?}");
    let run = server.client().json("/suites/default/steps/runs/1").await;
    assert_eq!(run["shard"], "1/9");
}

#[tokio::test]
async fn a_shard_of_another_form_is_refused() {
    let server = steps::server(Settings::default(), &Target::start().await).await;
    for wrong in ["0/3", "4/3", "1", "1/0", "a/b", "-1/3"] {
        let told = handoff(&format!("test {} --shard={wrong}", file("noop"))).run().await;
        assert_says(&told.failure(2), &["from 1 to n"]);
        let (client, body) = (server.client(), json!({"shard": wrong}));
        let answer = client.post("/suites/default/steps/runs", &body).await;
        let problem = answer.problem(422);
        assert_says(&problem.to_string(), &["shard", "from 1 to n"]);
    }
    // What matches nothing in any part is refused in each.
    let line = format!("test {} no-such-test --shard 1/3", file("noop"));
    assert_says(&handoff(&line).run().await.failure(4), &["no test matches"]);
}

#[tokio::test]
async fn a_denied_request_says_which_option_and_which_entry_would_allow_it() {
    let target = Target::start().await;
    let (suite, url) = (file("steps"), target.url());
    let line = format!("test {suite} --config target={url}");
    let told = handoff(&line).run().await.expect(100);
    let option = format!("--allow-http {url}");
    assert_says(
        &told,
        &[&format!("grant allow_http = [\"{url}\"], on the command line by {option}")],
    );
    handoff(&format!("{line} {option}")).run().await.expect(0);
    // The same option mends it on a server.
    let server = handoff_tests::Server::start().await;
    server.client().upload_guest("steps").await;
    let run = format!("run steps --param target={url}");
    let told = at(&server, &run).run().await.expect(100);
    assert_says(&told, &[&format!("grant allow_http = [\"{url}\"]"), &option]);
    at(&server, &format!("policy set steps --add {option}")).run().await.expect(0);
    at(&server, &run).run().await.expect(0);
}

#[tokio::test]
async fn a_run_is_stopped_at_its_nth_failure() {
    let target = Target::start().await;
    let server = steps::server(Settings::default(), &target).await;
    let url = target.url();
    let fail = |step| format!("--param path-step-{step}=/status/500");
    let failing = [fail(1), fail(3), fail(4)].join(" ");
    let local = format!("test {} --allow-http {url} --config target={url}", file("steps"));
    let first = "the run was stopped at its first failure (max_failures)";
    let second = "the run was stopped at its failure number 2 (max_failures)";
    for (option, expected) in [
        ("--fail-fast", ["1 failed, 4 cancelled", first]),
        ("--max-failures 1", ["1 failed, 4 cancelled", first]),
        ("--max-failures 2", ["1 passed, 2 failed, 2 cancelled", second]),
        // What is under way is stopped: step 2 would wait for ever.
        ("--fail-fast -j 2 --param path-step-2=/never", ["1 failed, 4 cancelled", first]),
        ("--max-failures 3 --repeat 2", ["1 passed, 3 failed, 1 cancelled", "failure number 3"]),
        ("--max-failures 4 --repeat 2", ["3 failed, 2 cancelled", "failure number 4"]),
        ("--max-failures 9", ["2 passed, 3 failed", ""]),
    ] {
        for command in [&local, "run steps"] {
            let line = format!("{command} {option} {failing}");
            let told = at(&server, &line).run().await.expect(100);
            assert_says(&told, &expected);
            assert_eq!(told.contains("max_failures"), !expected[1].is_empty(), "{line}: {told}");
        }
    }
    // Nobody has to watch it for that.
    let id =
        at(&server, &format!("run steps --fail-fast --detach {failing}")).run().await.expect(0);
    let run = server.client().finished(id.trim()).await;
    assert_eq!((text(&run["status"]), text(&run["message"])), ("failed", first));
    assert_eq!(run["counts"]["failed"], 1);
    assert_eq!(text(&run["tests"][4]["reason"]), first);
    for wrong in ["--max-failures 0", "--max-failures 1 --fail-fast", "--max-failures x"] {
        handoff(&format!("{local} {wrong}")).run().await.failure(2);
    }
}

#[tokio::test]
async fn a_report_on_standard_output_is_alone_there() {
    let target = Target::start().await;
    let server = steps::server(Settings::default(), &target).await;
    let url = target.url();
    let local = format!("test {} --allow-http {url} --config target={url}", file("steps"));
    for command in [&local, "run steps"] {
        let ended = at(&server, &format!("{command} --report tap=-")).run().await;
        let course = ended.stderr.clone();
        let report = ended.expect(0);
        assert!(report.starts_with("TAP version 14\n1..5\n"), "{report}");
        assert!(!report.contains("Summary"), "{report}");
        assert_says(&course, &["Summary", "5 passed"]);
        for two in ["-o json --report tap=-", "--report junit=- --report tap=-"] {
            let told = at(&server, &format!("{command} {two}")).run().await.failure(2);
            assert_says(&told, &["standard output takes one result"]);
        }
    }
}

fn count(target: &Target, test: &str) -> usize {
    let is = |seen: &&handoff_tests::Seen| seen.query.get("test").is_some_and(|name| name == test);
    target.seen().iter().filter(is).count()
}

#[tokio::test]
async fn until_failure_runs_again_and_again_and_ends_with_the_first_that_fails() {
    let target = Target::start().await;
    let home = tempfile::tempdir().unwrap();
    let url = target.url();
    let line = format!(
        "test {} --allow-http {url} --config target={url} --param path-step-3=/until/broken \
         --until-failure --report json=r.json",
        file("steps")
    );
    let mut test = handoff(&line).directory(home.path()).start();
    test.wait_for("Run 1").await;
    test.wait_for("5 tests run: 5 passed").await;
    test.wait_for("Run 3").await;
    target.release("broken");
    let told = test.ended().await.expect(100);
    assert_says(&told, &["4 passed, 1 failed"]);
    let runs = told.matches("Summary").count();
    assert!(runs >= 3, "{told}");
    assert_eq!((count(&target, "setup"), count(&target, "teardown")), (runs, runs));
    let report = std::fs::read_to_string(home.path().join("r.json")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["status"], "failed", "it is of the last run");
}

#[tokio::test]
async fn until_failure_ends_after_as_many_runs_as_were_asked_for_or_by_ctrl_c() {
    let noop = file("noop");
    let told = handoff(&format!("test {noop} --until-failure --repeat 3")).run().await.expect(0);
    assert_says(&told, &["Run 1 of 3", "Run 3 of 3"]);
    assert_eq!(told.matches("Summary").count(), 3, "{told}");
    let mut test = handoff(&format!("test {noop} --until-failure")).start();
    test.wait_for("Run 2").await;
    test.interrupt();
    test.ended().await.expect(130);
    let flaky = format!("test {} --until-failure --fail-on-flaky assertion", file("flaky"));
    let told = handoff(&flaky).run().await.expect(101);
    assert_eq!(told.matches("Summary").count(), 1, "{told}");
    for wrong in ["--repeat 0", "--watch", "--list"] {
        handoff(&format!("test {noop} --until-failure {wrong}")).run().await.failure(2);
    }
}

/// Puts a component in the place of another, at once.
fn replace(path: &Path, guest: &str) {
    let new = path.with_extension("new");
    std::fs::copy(guest_file(guest), &new).unwrap();
    std::fs::rename(new, path).unwrap();
}

#[tokio::test]
async fn watch_runs_again_when_the_file_changes_and_survives_a_broken_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("suite.wasm");
    replace(&path, "noop");
    let mut test = handoff("test suite.wasm --watch").directory(dir.path()).start();
    test.wait_for("1 passed").await;
    test.wait_for("Watching suite.wasm").await;
    replace(&path, "hello");
    test.wait_for("arithmetic still works").await;
    test.wait_for("Watching suite.wasm").await;
    // Half of it is there, and then the rest.
    let whole = std::fs::read(guest_file("noop")).unwrap();
    let (half, rest) = whole.split_at(whole.len() / 2);
    std::fs::write(&path, half).unwrap();
    test.wait_for("Watching suite.wasm").await;
    let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
    std::io::Write::write_all(&mut file, rest).unwrap();
    test.wait_for("1 passed").await;
    test.wait_for("Watching suite.wasm").await;
    std::fs::remove_file(&path).unwrap();
    test.wait_for("Watching suite.wasm").await;
    replace(&path, "noop");
    test.wait_for("1 passed").await;
    test.wait_for("Watching suite.wasm").await;
    test.interrupt();
    let told = test.ended().await.failure(130);
    assert_eq!(told.lines().count(), 2, "one for each file that could not be run: {told}");
    assert_says(&told, &["error: failed to", "read", "suite.wasm"]);
}

#[tokio::test]
async fn a_change_stops_the_run_under_way_and_its_teardown_still_runs() {
    let target = Target::start().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("suite.wasm");
    replace(&path, "steps");
    let url = target.url();
    let line = format!(
        "test suite.wasm --watch --allow-http {url} --config target={url} \
         --param path-step-2=/hold/a"
    );
    let mut test = handoff(&line).directory(dir.path()).start();
    steps::wait_until_held(&target, "a", 1).await;
    replace(&path, "noop");
    test.wait_for("1 passed, 4 cancelled").await;
    test.wait_for("1 passed").await;
    test.wait_for("Watching").await;
    assert_eq!(count(&target, "teardown"), 1);
    // A signal stops a run and the watch with it.
    replace(&path, "steps");
    steps::wait_until_held(&target, "a", 2).await;
    test.interrupt();
    let told = test.ended().await.expect(130);
    assert_says(&told, &["1 passed, 4 cancelled"]);
    assert_eq!(count(&target, "teardown"), 2);
}

#[tokio::test]
async fn one_command_runs_several_suites_and_ends_as_the_first_that_did_not_pass() {
    let server = handoff_tests::Server::start().await;
    for guest in ["noop", "hello", "ten"] {
        server.client().upload_guest(guest).await;
    }
    let passed = at(&server, "run noop --also ten --reference r1").run().await.expect(0);
    assert_says(&passed, &["default/noop, run #1", "default/ten, run #1"]);
    let failed = at(&server, "run noop --also nowhere --also hello --also ten").run().await;
    assert_says(&failed.stderr, &["default/nowhere"]);
    let failed = failed.expect(2);
    assert_says(&failed, &["of default/hello", "arithmetic still works", "default/ten, run #2"]);
    at(&server, "run hello --also noop").run().await.expect(100);
    let run = server.client().json("/suites/default/ten/runs/1").await;
    assert_eq!(run["reference"], "r1");
    for wrong in ["--detach", "--report tap=x", "-o json"] {
        at(&server, &format!("run noop --also ten {wrong}")).run().await.failure(2);
    }
}

#[tokio::test]
async fn health_tells_whether_a_server_takes_work_and_waits_for_one() {
    let server = handoff_tests::Server::start().await;
    assert_eq!(at(&server, "health").run().await.expect(0), "ready\n");
    // Bound and not listening yet.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    let told = handoff(&format!("health --server {url}")).run().await.failure(96);
    assert_says(&told, &[&url]);
    let waiting = handoff(&format!("health --server {url} --wait 10m")).start();
    let listener = socket.listen(8).unwrap();
    let answers = async {
        for answer in ["503 Service Unavailable", "200 OK"] {
            let (mut stream, _) = listener.accept().await.unwrap();
            let answer =
                format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            let mut request = [0; 4096];
            _ = tokio::io::AsyncReadExt::read(&mut stream, &mut request).await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut stream, answer.as_bytes()).await.unwrap();
        }
    };
    let (ended, ()) = tokio::join!(waiting.ended(), answers);
    assert_eq!(ended.expect(0), "ready\n");
}
