//! `cargo xtask demo`: a server with the examples, run before your eyes.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::children::{self, Guard, Stop};
use crate::receiver::Receiver;
use crate::workspace::Workspace;
use crate::{guests, http};

/// How long the server may take to end the runs under way. Longer than its own drain deadline.
const GRACE: Duration = Duration::from_secs(40);

/// What the command line says.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Exit after the runs: 0 if they ended as expected
    #[arg(long)]
    once: bool,
    /// The address to serve at
    #[arg(long, default_value = "127.0.0.1:1337")]
    listen: SocketAddr,
    /// Where the server keeps its data [default: .handoff in the repository]
    #[arg(long)]
    data: Option<PathBuf>,
}

/// An example and how it is to end.
struct Example {
    name: &'static str,
    /// The exit code of `handoff run`.
    exit: i32,
    /// The counts that must be as given; others are free.
    counts: &'static [(&'static str, u64)],
}

/// The examples in the order in which they run. `hello` shows failures, so it ends with 100.
const EXAMPLES: &[Example] = &[
    Example {
        name: "hello",
        exit: 100,
        counts: &[("failed", 2), ("soft_failed", 1), ("skipped", 2), ("flaky", 1), ("error", 0)],
    },
    Example { name: "self-check", exit: 0, counts: &[("failed", 0), ("skipped", 0), ("error", 0)] },
];

/// Runs the demo.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    let stop = Stop::listen()?;
    guests::build(workspace)?;
    let mut build = workspace.cargo(&["build", "--package", "handoff", "--bin", "handoff"]);
    children::check(&mut build, &stop, "the build")?;

    let handoff = workspace.target.join("debug").join("handoff");
    let data = args.data.clone().unwrap_or_else(|| workspace.root.join(".handoff"));
    let (mut server, address) = start(&handoff, args.listen, &data)?;
    let url = format!("http://{address}");
    println!("serving at {url}, data in {}\n", data.display());

    let receiver = Receiver::start()?;
    install(&handoff, &url, &workspace.component("webhook"), &receiver, &stop)?;

    let mut as_expected = true;
    for example in EXAMPLES {
        upload(&handoff, &url, &workspace.component(example.name), &stop)?;
        if example.name == "self-check" {
            let policy = json!({"allow_http": [url], "config": {"server": url}});
            let path = "/api/v1/suites/default/self-check/policy";
            http::request(address, "PUT", path, Some(&policy))?;
        }
        match try_example(example, &handoff, &url, address, &stop) {
            Ok(()) if !receiver.wait() => {
                as_expected = false;
                println!("{}: the webhook did not come\n", example.name);
            }
            Ok(()) => println!("{} ended as expected\n", example.name),
            Err(_) if stop.requested() => break,
            Err(error) => {
                as_expected = false;
                println!("{} did not end as expected: {error:#}\n", example.name);
            }
        }
    }
    if !args.once && !stop.requested() {
        println!("still serving at {url}; stop with Ctrl-C");
        let status = server.wait(&stop)?;
        ensure!(stop.requested(), "the server ended by itself ({status})");
    }
    let status = server.end()?;
    ensure!(status.success(), "the server did not end well ({status}), see its log");
    Ok(if as_expected { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Starts the server and waits until it says where it listens.
fn start(handoff: &Path, listen: SocketAddr, data: &Path) -> Result<(Guard, SocketAddr)> {
    let data_dir = data.to_str().context("the data's path is no text")?;
    let listen = listen.to_string();
    let arguments = ["serve", "--listen", &listen, "--data-dir", data_dir];
    start_with(handoff, &arguments.map(Into::into), data)
}

/// The same with other arguments; the server's log goes to the directory.
pub(crate) fn start_with(
    handoff: &Path,
    arguments: &[String],
    data: &Path,
) -> Result<(Guard, SocketAddr)> {
    let log = data.join("server.log");
    let logged = std::fs::create_dir_all(data).and_then(|()| File::create(&log));
    let logged = logged.with_context(|| format!("failed to write {}", log.display()))?;
    let mut command = Command::new(handoff);
    command.args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(logged);
    let mut server = Guard::spawn(&mut command, GRACE)?;
    let mut lines = BufReader::new(server.stdout().context("no output to read")?).lines();
    let address = lines.by_ref().map_while(Result::ok).find_map(|line| listening_on(&line));
    let Some(address) = address else {
        bail!("the server did not start:\n{}", std::fs::read_to_string(&log).unwrap_or_default());
    };
    // What the server prints later must not fill the pipe.
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
    Ok((server, address))
}

/// The address in the server's first line, as one that can be connected to.
fn listening_on(line: &str) -> Option<SocketAddr> {
    let (_, address) = line.split_once("listening on http://")?;
    let mut address: SocketAddr = address.trim().trim_end_matches('/').parse().ok()?;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    Some(address)
}

/// Installs the webhook plugin, which posts to the receiver.
fn install(
    handoff: &Path,
    url: &str,
    component: &Path,
    receiver: &Receiver,
    stop: &Stop,
) -> Result<()> {
    let target = receiver.url();
    let mut command = Command::new(handoff);
    command.args(["plugins", "install", "webhook", "--server", url]).arg(component);
    command.args(["--allow-http", &target, "--config", &format!("url={target}")]);
    children::check(&mut command, stop, "the installation of the webhook plugin")
}

pub(crate) fn upload(handoff: &Path, url: &str, component: &Path, stop: &Stop) -> Result<()> {
    let mut command = Command::new(handoff);
    command.args(["upload", "--server", url]).arg(component);
    children::check(&mut command, stop, "the upload")
}

/// Runs an example, followed live, and compares how it ended.
fn try_example(
    example: &Example,
    handoff: &Path,
    url: &str,
    server: SocketAddr,
    stop: &Stop,
) -> Result<()> {
    let mut command = Command::new(handoff);
    command.args(["run", "--server", url, example.name]);
    let status = Guard::spawn(&mut command, Duration::from_secs(5))?.wait(stop)?;
    let expected = example.exit;
    ensure!(status.code() == Some(expected), "expected exit code {expected}, got {status}");
    let path = format!("/api/v1/runs?suite=default%2F{}&limit=1", example.name);
    let newest = http::request(server, "GET", &path, None)?;
    compare(example, &newest["items"][0]["counts"])
}

fn compare(example: &Example, counts: &Value) -> Result<()> {
    for (name, expected) in example.counts {
        ensure!(counts[name] == *expected, "expected {expected} {name}, got {counts}");
    }
    ensure!(counts["passed"].as_u64() > Some(0), "nothing passed: {counts}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_from_the_first_line() {
        let read = |line| listening_on(line).map(|address| address.to_string());
        assert_eq!(read("listening on http://127.0.0.1:1").as_deref(), Some("127.0.0.1:1"));
        assert_eq!(read("listening on http://0.0.0.0:1/").as_deref(), Some("127.0.0.1:1"));
        assert_eq!(read("listening on http://[::]:1").as_deref(), Some("[::1]:1"));
        assert_eq!(read("opening the store"), None);
    }

    #[test]
    fn an_example_that_ends_otherwise_is_noticed() {
        let hello = &EXAMPLES[0];
        let known = json!({"passed": 4, "failed": 2, "soft_failed": 1, "skipped": 2, "flaky": 1,
            "error": 0});
        compare(hello, &known).unwrap();
        let mut worse = known.clone();
        worse["failed"] = json!(3);
        assert!(compare(hello, &worse).is_err());
        assert!(compare(hello, &json!({})).is_err());
    }
}
