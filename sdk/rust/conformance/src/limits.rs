//! What is there to hit when the policy sets limits low.

use std::fs;
use std::hint::black_box;
use std::time::Duration;

use handoff_sdk::http::{self, Kind};
use handoff_sdk::{Context, Result, bail, ensure, ensure_eq};
use rand::TryRng as _;
use rand::rngs::SysRng;

#[handoff_sdk::test(name = "limit_fuel", tags = ["limits"], timeout = "60s")]
fn fuel() {
    let mut number = 1_u64;
    loop {
        number = black_box(number.wrapping_mul(31));
    }
}

#[handoff_sdk::test(name = "limit_log", tags = ["limits"])]
fn log() {
    println!("FIRST LINE");
    for number in 0..1_000 {
        println!("line {number}");
    }
    println!("LAST LINE");
}

#[handoff_sdk::test(name = "limit_log_line", tags = ["limits"])]
fn log_line() {
    println!("{}", "x".repeat(2_000));
}

#[handoff_sdk::test(name = "limit_message", tags = ["limits"])]
fn message() -> Result {
    bail!("LONG MESSAGE {}", "x".repeat(2_000))
}

#[handoff_sdk::test(name = "limit_failures", tags = ["limits"])]
fn failures(cx: &Context) {
    for number in 0..10 {
        cx.report_failure(format_args!("FAILURE {number}"));
    }
}

#[handoff_sdk::test(name = "limit_value", tags = ["limits"])]
fn value(cx: &Context) -> Result {
    let Err(refused) = cx.set("long", &"x".repeat(2_000)) else { bail!("it was kept") };
    ensure!(refused.to_string().contains("`value_bytes`"), "{refused}");
    Ok(())
}

#[handoff_sdk::test(name = "limit_values", tags = ["limits"])]
fn values(cx: &Context) -> Result {
    let refused = (0..10).find_map(|number| cx.set(&format!("value {number}"), "x").err());
    let refused = refused.map_or_else(String::new, |refused| refused.to_string());
    ensure!(refused.contains("`values`"), "{refused}");
    Ok(())
}

#[handoff_sdk::test(name = "limit_artifacts", tags = ["limits"])]
fn artifacts(cx: &Context) -> Result {
    let refused = (0..10).find_map(|_| cx.attach("x.txt", "text/plain", "x").err());
    ensure_eq!(refused.map(|refused| refused.rule).as_deref(), Some("artifacts"));
    Ok(())
}

#[handoff_sdk::test(name = "limit_spans", tags = ["limits"])]
fn spans(cx: &Context) {
    for number in 0..10 {
        cx.span(&format!("span {number}")).end();
    }
}

#[handoff_sdk::test(name = "limit_parts", tags = ["limits"])]
fn parts(cx: &Context) {
    for number in 0..10 {
        cx.part(&format!("part {number}"), || {});
    }
}

#[handoff_sdk::test(name = "limit_requests", tags = ["limits"])]
fn requests(cx: &Context) -> Result {
    let url = format!("{}/status/204", cx.require_param("server")?);
    let refused = (0..10).find_map(|_| http::get(&url).send().err());
    ensure_eq!(refused.map(|error| error.kind()), Some(Kind::Denied));
    Ok(())
}

#[handoff_sdk::test(name = "limit_received", tags = ["limits"])]
fn received(cx: &Context) -> Result {
    let url = format!("{}/bytes/1048576", cx.require_param("server")?);
    let refused = http::get(url).send().err();
    ensure_eq!(refused.map(|error| error.kind()), Some(Kind::Denied));
    Ok(())
}

#[handoff_sdk::test(name = "limit_random", tags = ["limits"])]
fn random() -> Result {
    SysRng.try_fill_bytes(&mut vec![0; 1_000_000])?;
    Ok(())
}

#[handoff_sdk::test(name = "limit_scratch", tags = ["limits"])]
fn scratch() {
    assert!(fs::write("/tmp/full", vec![0; 200_000]).is_err());
}

#[handoff_sdk::test(name = "limit_extension", tags = ["limits"])]
fn extension(cx: &Context) -> Result {
    let remaining = cx.extend_deadline(Duration::from_secs(600))?;
    let granted = Duration::from_secs(5)..=Duration::from_secs(60);
    ensure!(granted.contains(&remaining), "{remaining:?} remain");
    Ok(())
}
