//! How far guests that do not end by themselves pass their deadline, and what the server does meanwhile.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::Setup;
use crate::baseline::Bare;
use crate::figures::Samples;
use crate::server::Server;

/// How many attempts are under way at once: as many as the guest `spin` has tests.
const AT_ONCE: usize = 64;
const TIMEOUT: Duration = Duration::from_millis(100);

/// The ways to stay that the guest `spin` knows.
const WAYS: [&str; 5] = ["loop", "sleep", "wait for an answer", "ask for the time", "log"];

/// Prints the overshoot of each way to stay.
///
/// The overshoot is the host's own: from the attempt's `started_at` to the moment at which the executor
/// had the ended attempt and stamped the event that tells of it, less the deadline. So it has everything
/// in it: that the guest was noticed, its backtrace, its log, its store taken down. `duration_ms` would be
/// kinder, and is in whole milliseconds.
pub(crate) async fn overshoot(setup: &Setup) -> Result<()> {
    println!("{AT_ONCE} attempts at once that stay for ever, each with a deadline of {TIMEOUT:?}");
    let rounds = setup.rounds.max(5);
    let (guests, cores) = (setup.guests.clone(), setup.cores);
    let bare = tokio::task::spawn_blocking(move || {
        Bare::new()?.overshoot(&guests, cores, AT_ONCE, TIMEOUT, rounds)
    });
    let bare = bare.await?.map_err(|error| anyhow::anyhow!("the bare loops failed: {error:?}"))?;
    println!("bare loops without a server, overshoot: {}", bare.summary());
    println!("bare timers, overshoot: {}", timers(rounds).await.summary());

    let silent = TcpListener::bind("127.0.0.1:0").await?;
    let address = silent.local_addr()?.to_string();
    let held = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = silent.accept().await {
            held.push(stream);
        }
    });
    let dir = tempfile::tempdir()?;
    let server = Server::start(&setup.server_binary, dir.path()).await?;
    let suite = server.upload(&setup.guests, "spin").await?;
    server.grant(&suite, &json!({"allow_tcp": [address]})).await?;
    let idle = server.latencies("/healthz", 200).await?;
    println!("/healthz, idle: {}", idle.summary());
    for does in WAYS {
        let params = json!({"does": does, "silent": address});
        let request = json!({
            "parallelism": AT_ONCE,
            "test_timeout_ms": u64::try_from(TIMEOUT.as_millis())?,
            "params": params,
        });
        server.run(&suite, &request).await?;
        let (mut over, mut busy) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let (ended, answers) =
                tokio::try_join!(server.run(&suite, &request), answers(&server))?;
            over.extend(overshoots(&server.events(&ended.run).await?)?);
            busy.extend(answers);
        }
        let (over, busy) = (Samples::from_iter(over), Samples::from_iter(busy));
        println!(
            "{does}: overshoot {} ({} attempts); /healthz meanwhile {}",
            over.summary(),
            over.len(),
            busy.summary(),
        );
    }
    held.abort();
    Ok(())
}

/// How long /healthz takes while the attempts are under way.
async fn answers(server: &Server) -> Result<Vec<Duration>> {
    let mut samples = Vec::new();
    let begin = Instant::now();
    while begin.elapsed() < TIMEOUT {
        let asked = Instant::now();
        server.get("/healthz").await?;
        samples.push(asked.elapsed());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(samples)
}

/// How far each attempt at a test passed its deadline, from the events of a run.
fn overshoots(events: &[Value]) -> Result<Vec<Duration>> {
    let ended = |event: &&Value| event["event"] == "attempt_finished" && event["stage"] == "test";
    let overshoot = |event: &Value| {
        let attempt = &event["attempt"];
        ensure!(attempt["cause"] == "timeout", "not ended by its deadline: {attempt}");
        let at =
            |time: &Value| -> Result<Timestamp> { Ok(time.as_str().context("no time")?.parse()?) };
        let took = at(&event["at"])?.duration_since(at(&attempt["started_at"])?);
        let took = Duration::try_from(took).context("it ended before it started")?;
        Ok(took.saturating_sub(TIMEOUT))
    };
    let over: Vec<_> = events.iter().filter(ended).map(overshoot).collect::<Result<_>>()?;
    ensure!(over.len() == AT_ONCE, "{} attempts ended, not {AT_ONCE}", over.len());
    Ok(over)
}

/// How late timers are here: no attempt that waits can be ended sooner.
async fn timers(rounds: u32) -> Samples {
    let mut over = Vec::new();
    for _ in 0..rounds {
        let timer = async |_| {
            let begin = Instant::now();
            tokio::time::sleep(TIMEOUT).await;
            begin.elapsed().saturating_sub(TIMEOUT)
        };
        over.extend(futures::future::join_all((0..AT_ONCE).map(timer)).await);
    }
    over.into_iter().collect()
}
