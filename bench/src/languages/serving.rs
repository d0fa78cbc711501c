//! How soon a server, and the command line, have a verdict on a suite that was compiled before; and what
//! attempts at it cost a server.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures::future::{join, join_all};
use handoff::wasm::{Engines, SandboxSettings};
use serde_json::{Value, json};

use super::loading::in_words;
use super::{NOTHING, Suite, size};
use crate::Setup;
use crate::baseline::Bare;
use crate::figures::{Samples, best, ms};
use crate::server::Server;

pub(super) const VERDICT_HEAD: [&str; 5] = [
    "upload, compiled",
    "upload again",
    "POST to finished, loaded",
    "POST to finished, from the cache",
    "`handoff test`, from the cache",
];

pub(super) const ATTEMPTS_HEAD: [&str; 4] =
    ["memory per attempt", "server, attempts/s", "bare loop, attempts/s", "of the bare loop"];

/// How many attempts are under way when their memory is looked at.
const AT_ONCE: usize = 16;

/// How many of the tests that are made in a loop there are.
const MANY: u32 = 200;

/// The command that does nothing: what its start costs.
pub(super) fn bare_command(setup: &Setup) -> Result<Samples> {
    (0..20).map(|_| command(setup, Path::new("."), &["--version"])).collect()
}

fn command(setup: &Setup, cache: &Path, arguments: &[&str]) -> Result<Duration> {
    let begin = Instant::now();
    let mut command = Command::new(&setup.server_binary);
    command.args(arguments).env("XDG_CACHE_HOME", cache);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit());
    let status = command.status()?;
    ensure!(status.success(), "`handoff {}` ended with {status}", arguments.join(" "));
    Ok(begin.elapsed())
}

/// From the request to the verdict on a test that does nothing.
pub(super) async fn first_verdict(suite: &Suite<'_>, aim: Duration) -> Result<Vec<String>> {
    let setup = suite.setup;
    let dir = tempfile::tempdir()?;
    let mut server = start(suite, dir.path()).await?;
    let upload = async |server: &Server| {
        let begin = Instant::now();
        let path = server.upload(&setup.guests, &suite.name).await?;
        anyhow::Ok((path, begin.elapsed()))
    };
    let (path, compiled) = upload(&server).await?;
    let (_, again) = upload(&server).await?;
    let nothing = json!({"filter": format!("^{NOTHING}$")});
    let (mut from_cache, mut loaded) = (Vec::new(), Vec::new());
    for _ in 0..setup.rounds.max(5) {
        drop(server);
        server = start(suite, dir.path()).await?;
        // The client's connection is there before the clock starts.
        server.get("/readyz").await?;
        from_cache.push(verdict(&server, &path, &nothing).await?);
        for _ in 0..10 {
            loaded.push(verdict(&server, &path, &nothing).await?);
        }
    }
    let cache = tempfile::tempdir()?;
    let file = setup.guests.join(&suite.name).with_extension("wasm");
    let file = file.to_str().context("a path that is no text")?;
    let filter = format!("^{NOTHING}$");
    let test = || command(setup, cache.path(), &["test", file, &filter]);
    test()?;
    let tested: Samples = (0..setup.rounds.max(10)).map(|_| test()).collect::<Result<_>>()?;
    let [from_cache, loaded] = [from_cache, loaded].map(Samples::from_iter);
    let judged = |time: Duration| {
        let word = if time <= aim { "within" } else { "beyond" };
        format!("{} ({word} {})", ms(time), ms(aim))
    };
    Ok(vec![
        ms(compiled),
        ms(again),
        ms(loaded.median()),
        judged(from_cache.median()),
        judged(tested.median()),
    ])
}

/// A server that compiles for as long as it takes, however busy the machine is.
async fn start(suite: &Suite<'_>, dir: &Path) -> Result<Server> {
    let time = "1800000";
    let patient =
        ["--compile-cpu-ms", time, "--compile-wall-ms", time, "--http-upload-timeout-ms", time];
    let server = Server::start_with(&suite.setup.server_binary, dir, &patient).await;
    server.context("failed to start a server")
}

async fn verdict(server: &Server, path: &str, request: &Value) -> Result<Duration> {
    let ended = server.run(path, request).await?;
    let tests = ended.run["tests"].as_array().into_iter().flatten();
    let test = tests.into_iter().find(|test| test["name"] == NOTHING);
    ensure!(test.is_some_and(|test| test["status"] == "passed"), "{}", ended.run);
    Ok(ended.took)
}

/// What attempts cost a server.
pub(super) async fn attempts(suite: &Suite<'_>) -> Result<Vec<String>> {
    let setup = suite.setup;
    let dir = tempfile::tempdir()?;
    let server = start(suite, dir.path()).await?;
    let path = server.upload(&setup.guests, &suite.name).await?;
    let sleep = json!({"filter": "^sleeps_too_long$", "test_timeout_ms": 1_000});
    server.run(&path, &sleep).await?;
    let before = server.shared_kib()?;
    let runs = join_all((0..AT_ONCE).map(|_| server.run(&path, &sleep)));
    let sampled = async {
        let (begin, mut most) = (Instant::now(), 0);
        while begin.elapsed() < Duration::from_millis(1_500) {
            most = most.max(server.shared_kib()?);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        anyhow::Ok(most)
    };
    let (runs, most) = join(runs, sampled).await;
    runs.into_iter().collect::<Result<Vec<_>>>()?;
    let each = most?.saturating_sub(before) * 1024 / AT_ONCE as u64;

    let repeat = 5;
    let request = json!({"filter": "^many_", "parallelism": 8, "repeat": repeat});
    server.run(&path, &request).await?;
    let mut rates = Vec::new();
    for _ in 0..setup.rounds {
        let ended = server.run(&path, &request).await?;
        ensure!(ended.run["counts"]["passed"] == MANY, "{}", ended.run["counts"]);
        rates.push(f64::from(MANY * repeat) / ended.took.as_secs_f64());
    }
    let rate = best(rates);
    let (component, metered, rounds) = (suite.component.clone(), suite.metered, setup.rounds);
    let threads = u32::try_from(setup.cores)?;
    let bare = tokio::task::spawn_blocking(move || {
        let bare = Bare::on(&Engines::new(&SandboxSettings::default())?, metered);
        let pre = bare.link(&bare.compile(&component)?)?;
        bare.rate(&pre, "many_000", threads, 500, rounds)
    });
    let bare = bare.await?.map_err(in_words)?;
    Ok(vec![size(each), format!("{rate:.0}"), format!("{bare:.0}"), format!("{:.2}", rate / bare)])
}
