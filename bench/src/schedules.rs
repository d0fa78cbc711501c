//! How late many schedules start that are due in the same second, and that none starts twice.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::Setup;
use crate::figures::Samples;
use crate::server::Server;

/// How many schedules are due in the same second.
const SCHEDULES: usize = 1_000;
/// How long before they are made: longer than that takes.
const AHEAD: SignedDuration = SignedDuration::from_secs(20);

/// Prints how late the runs of schedules were stored that were due at the same moment, beside how long as
/// many requests for runs take.
pub(crate) async fn due_at_once(setup: &Setup) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let server = Server::start(&setup.server_binary, dir.path()).await?;
    let suite = server.upload(&setup.guests, "noop").await?;
    let requests = Samples::from_iter(
        futures::stream::iter(0..SCHEDULES)
            .map(async |_| server.post(&format!("{suite}/runs"), &json!({})).await)
            .buffer_unordered(64)
            .try_collect::<Vec<_>>()
            .await?,
    );
    println!("{SCHEDULES} requests for a run, 64 at a time: each {}", requests.summary());

    let due = Timestamp::now() + AHEAD;
    let time = due.to_zoned(jiff::tz::TimeZone::UTC);
    let (second, minute, hour) = (time.second(), time.minute(), time.hour());
    let (day, month) = (time.day(), time.month());
    let cron = format!("{second} {minute} {hour} {day} {month} *");
    let names: Vec<String> = (0..SCHEDULES).map(|n| format!("bench-{n}")).collect();
    let name = suite.trim_start_matches("/api/v1/suites/");
    let body = |schedule: &String| json!({"name": schedule, "suite": name, "cron": cron});
    let make = async |name| server.post("/api/v1/schedules", &body(name)).await;
    let made = futures::stream::iter(&names).map(make).buffer_unordered(64);
    made.try_collect::<Vec<_>>().await?;
    ensure!(Timestamp::now() < due, "making {SCHEDULES} schedules took longer than {AHEAD:#}");
    let wait = Duration::try_from(due.duration_since(Timestamp::now()))?;
    tokio::time::sleep(wait + Duration::from_secs(5)).await;

    let (mut stored, mut started, mut runs) = (Vec::new(), Vec::new(), BTreeSet::new());
    for name in &names {
        let history = server.get(&format!("/api/v1/schedules/{name}/history")).await?;
        let history: Value = serde_json::from_str(&history)?;
        let rows = history["items"].as_array().context("no list")?;
        let [row] = &rows[..] else { anyhow::bail!("{name} has {} rows, not 1", rows.len()) };
        ensure!(row["outcome"] == "started", "{name} did not start: {row}");
        let run = row["run"].as_str().context("no run")?;
        ensure!(runs.insert(run.to_owned()), "{name} has the run of another");
        let run: Value = serde_json::from_str(&server.get(&format!("/api/v1/runs/{run}")).await?)?;
        let time =
            |of: &Value| -> Result<Timestamp> { Ok(of.as_str().context("no time")?.parse()?) };
        let due = time(&row["due_at"])?;
        for (field, late) in [("created_at", &mut stored), ("started_at", &mut started)] {
            let lag = time(&run[field])?.duration_since(due);
            late.push(Duration::try_from(lag).context("before it was due")?);
        }
    }
    let [stored, started] = [stored, started].map(Samples::from_iter);
    let (stored, started) = (stored.summary(), started.summary());
    println!("{SCHEDULES} schedules due in the same second, none twice: stored {stored} after it");
    println!("and started {started} after it");
    Ok(())
}
