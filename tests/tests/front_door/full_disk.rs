//! A disk that really takes no more. Where the tests may mount one, a small file system in memory that
//! runs full; everywhere, a bound of the operating system on how large the server's files may be.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use handoff_tests::{Server, Settings, guest, salted};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::json;

/// How large the disk is.
const SIZE: &str = "size=24m";

/// A mounted file system. Taken away when this is dropped.
struct Disk(PathBuf);

impl Disk {
    /// None where tests may not mount.
    fn mount(at: &Path) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", SIZE, "tmpfs"]).arg(at);
        let mounted = mount.stdout(Stdio::null()).stderr(Stdio::null()).status();
        mounted.is_ok_and(|status| status.success()).then(|| Self(at.to_owned()))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily, so that a server that a failed test left behind does not hold it.
        _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_disk_that_runs_full_is_told_and_loses_nothing_that_was_stored() {
    // Once with some space kept free, once to the last byte.
    for kept_free in [4 << 20, 0] {
        let mut server = Server::start().await;
        server.kill9().await;
        let Some(disk) = Disk::mount(&server.data()) else {
            // Not the same, but a disk that refuses writes too.
            return files_that_cannot_grow_lose_nothing().await;
        };
        let settings = Settings::default().flag("storage-min-free-bytes", kept_free);
        let server = server.restart_with(settings).await;
        let client = server.client();
        let mut versions = vec![client.upload_guest("noop").await];
        let run = client.run("noop", &json!({})).await;
        let mut salt = 0;
        let refused = loop {
            salt += 1;
            assert!(salt < 1_000, "the disk does not run full");
            let upload = client.upload_request(salted(&guest("self-check"), salt));
            let answer = client.send(upload).await;
            if !answer.status.is_success() {
                break answer;
            }
            versions.push(answer.body);
        };
        assert!(refused.problem(507).contains("free"));
        let path = format!("/runs/{}", run["id"].as_str().unwrap());
        assert_eq!(client.json(&path).await, run);
        assert!(client.get("/healthz").await.status.is_success());

        // What cached compiled code takes can be had again.
        let mut server = server;
        server.kill9().await;
        std::fs::remove_dir_all(server.data().join("compiled")).unwrap();
        let server =
            server.restart_with(Settings::default().flag("storage-min-free-bytes", 0)).await;
        let client = server.client();
        assert_eq!(client.json(&path).await, run);
        for version in &versions {
            let (name, digest) = (&version["suite"]["name"], &version["suite"]["version"]);
            let (name, digest) = (name.as_str().unwrap(), digest.as_str().unwrap());
            let path = format!("/suites/default/{name}/versions/{digest}");
            assert_eq!(client.json(&path).await, *version);
        }
        assert_eq!(client.run("noop", &json!({})).await["status"], "passed");
        drop(server);
        drop(disk);
    }
}

#[tokio::test]
async fn files_that_cannot_grow_are_told_and_lose_nothing_that_was_stored() {
    files_that_cannot_grow_lose_nothing().await;
}

/// Writes fail with `EFBIG`: the disk has room, and so the server cannot know before it writes.
async fn files_that_cannot_grow_lose_nothing() {
    // A process that writes beyond its bound is killed, unless it ignores the signal.
    let ignoring = Settings::default().through(&["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"]);
    let server = ignoring.start().await;
    let client = server.client();
    let version = client.upload_guest("noop").await;
    let first = client.run("noop", &json!({})).await;
    bound_files(&server, std::fs::metadata(server.data().join("db/db")).unwrap().len());

    let mut accepted = vec![first["id"].clone()];
    let refused = loop {
        assert!(accepted.len() < 1_000, "the files still grow");
        // Random, so that compressing it gains nothing.
        let noise: String = (0..40_000).map(|_| rand::random_range('a'..='z')).collect();
        let run = json!({"params": {"noise": noise}});
        let answer = client.send(client.run_request("noop", &run)).await;
        if !answer.status.is_success() {
            break answer;
        }
        accepted.push(answer.body["id"].clone());
    };
    assert!(refused.status.is_server_error(), "{refused:?}");
    assert!(refused.body["detail"].is_string(), "{refused:?}");
    assert_eq!(client.get("/readyz").await.status, 503, "it says that it takes no more");
    assert!(client.get("/healthz").await.status.is_success());

    let server = server.restart_with(Settings::default()).await;
    let client = server.client();
    assert_eq!(client.json(&format!("/runs/{}", first["id"].as_str().unwrap())).await, first);
    for run in &accepted {
        let run = client.finished(run.as_str().unwrap()).await;
        assert_eq!(run["status"], "passed", "{run:#}");
    }
    let digest = version["suite"]["version"].as_str().unwrap();
    let path = format!("/suites/default/noop/versions/{digest}");
    assert_eq!(client.json(&path).await, version);
    assert_eq!(client.run("noop", &json!({})).await["status"], "passed");
}

/// Lets no file of a server grow beyond so many bytes from now on.
fn bound_files(server: &Server, bytes: u64) {
    let pid = Pid::from_raw(server.pid().cast_signed());
    let bound = Rlimit { current: Some(bytes), maximum: Some(bytes) };
    prlimit(pid, Resource::Fsize, bound).expect("a child's limits can be set");
}
