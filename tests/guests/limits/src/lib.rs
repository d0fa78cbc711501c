//! One test for each limit, which it hits. A test that is refused says by which limit, as
//! `REFUSED BY rule`; one that is ended never gets so far.

use handoff_sdk::{Context, Refusal, Result, ensure};
use std::hint::black_box;
use std::time::Duration;

handoff_sdk::suite! { name: "limits", timeout: "500ms" }

/// Says by which limit something was refused.
fn refused(refusal: &Refusal) {
    println!("REFUSED BY {}", refusal.rule);
}

#[handoff_sdk::test(tags = ["timeout"])]
fn loops() {
    loop {
        black_box(());
    }
}

#[handoff_sdk::test(tags = ["timeout"])]
fn sleeps() {
    std::thread::sleep(Duration::from_secs(1_000_000));
}

#[handoff_sdk::test(tags = ["timeout"])]
fn loops_in_a_log_call() {
    loop {
        handoff_sdk::trace!("again");
    }
}

#[handoff_sdk::test(tags = ["timeout"])]
fn loops_in_a_clock_call() {
    loop {
        black_box(std::time::Instant::now());
    }
}

#[handoff_sdk::test(tags = ["timeout"])]
fn loops_in_empty_writes() {
    use std::io::Write;
    loop {
        std::io::stderr().write_all(b"").expect("writing nothing");
        std::io::stderr().flush().expect("flushing nothing");
    }
}

/// Arithmetic, for a small budget of fuel.
#[handoff_sdk::test(timeout = "1m")]
fn burns_fuel() {
    let mut sum = 0_u64;
    for number in 0..u64::MAX {
        sum = black_box(sum.wrapping_mul(31) ^ number);
    }
    println!("{sum}");
}

#[handoff_sdk::test(timeout = "1m")]
fn allocates() {
    let mut kept = Vec::new();
    loop {
        kept.push(vec![1_u8; 1 << 20]);
        black_box(&kept);
    }
}

/// One and a half gigabytes: more than most attempts may have, less than Rust itself refuses.
#[handoff_sdk::test(timeout = "1m")]
fn allocates_in_one_step() {
    let mut big: Vec<u8> = Vec::new();
    println!(
        "{}",
        if big.try_reserve_exact(3 << 29).is_err() { "REFUSED MEMORY" } else { "GOT IT" }
    );
}

#[handoff_sdk::test(timeout = "1m")]
fn prints_a_hundred_megabytes() {
    let line = "x".repeat(999);
    println!("FIRST LINE");
    for _ in 0..100_000 {
        println!("{line}");
    }
    println!("LAST LINE");
}

#[handoff_sdk::test(timeout = "1m")]
fn logs_a_hundred_megabytes() {
    let line = "x".repeat(1_000);
    handoff_sdk::info!("FIRST LINE");
    for _ in 0..100_000 {
        handoff_sdk::info!("{line}");
    }
    handoff_sdk::info!("LAST LINE");
}

#[handoff_sdk::test(timeout = "1m")]
fn prints_one_line_of_a_hundred_megabytes() {
    let part = "x".repeat(1 << 20);
    for _ in 0..100 {
        print!("{part}");
    }
    println!();
    println!("LAST LINE");
}

/// One call that copies more than a call may.
#[handoff_sdk::test(timeout = "1m")]
fn logs_one_line_of_a_hundred_megabytes() {
    handoff_sdk::info!("{}", "x".repeat(100 << 20));
    println!("GOT THROUGH");
}

/// More than the memory of most attempts: the parameter `megabytes` makes it smaller.
#[handoff_sdk::test(timeout = "1m")]
fn attaches_a_gigabyte(cx: &Context) -> Result {
    let megabytes: usize = cx.param("megabytes").unwrap_or_else(|| "1024".into()).parse()?;
    match cx.attach("big.bin", "application/octet-stream", vec![0_u8; megabytes << 20]) {
        Ok(()) => println!("KEPT"),
        Err(refusal) => refused(&refusal),
    }
    Ok(())
}

#[handoff_sdk::test(timeout = "1m")]
fn attaches_too_many(cx: &Context) {
    for number in 0..100_000 {
        if let Err(refusal) = cx.attach(&format!("{number}"), "text/plain", "small") {
            return refused(&refusal);
        }
    }
}

/// Each small enough by itself.
#[handoff_sdk::test(timeout = "1m")]
fn attaches_too_much(cx: &Context) {
    let content = vec![b'x'; 4 << 20];
    for number in 0..1_000 {
        if let Err(refusal) = cx.attach(&format!("{number}"), "text/plain", &content) {
            return refused(&refusal);
        }
    }
}

#[handoff_sdk::test(timeout = "1m")]
fn sets_too_many_values(cx: &Context) {
    for number in 0..1_000_000 {
        if let Err(error) = cx.set(&format!("v{number}"), "small") {
            return println!("REFUSED: {error}");
        }
    }
}

#[handoff_sdk::test(timeout = "1m")]
fn sets_a_big_value(cx: &Context) {
    if let Err(error) = cx.set("big", &"x".repeat(8 << 20)) {
        println!("REFUSED: {error}");
    }
}

#[handoff_sdk::test(timeout = "1m")]
fn makes_too_many_spans(cx: &Context) {
    for number in 0..100_000 {
        cx.span(&format!("span {number}")).end();
    }
    println!("GOT THROUGH");
}

/// Handles of spans that are never dropped.
#[handoff_sdk::test(timeout = "1m")]
fn holds_too_many_handles(cx: &Context) {
    for _ in 0..1_000_000 {
        std::mem::forget(cx.span("held"));
    }
    println!("GOT THROUGH");
}

#[handoff_sdk::test(timeout = "1m")]
fn reports_too_many_parts(cx: &Context) {
    for number in 0..1_000_000 {
        cx.part(&format!("part {number}"), || ());
    }
}

#[handoff_sdk::test(timeout = "1m")]
fn reports_too_many_failures(cx: &Context) {
    for number in 0..100_000 {
        cx.report_failure(format_args!("failure {number}"));
    }
    println!("GOT THROUGH");
}

/// A hundred gigabytes of it.
#[handoff_sdk::test(timeout = "1m")]
fn wants_too_much_randomness() {
    random::flood();
}

#[handoff_sdk::test(timeout = "1m")]
fn fills_the_scratch_directory() -> Result {
    use std::io::Write;
    let mut file = std::fs::File::create("/tmp/big")?;
    let block = vec![1_u8; 1 << 20];
    for written in 0..100_000 {
        if let Err(error) = file.write_all(&block) {
            println!("REFUSED AFTER {written} MiB: {error}");
            return Ok(());
        }
    }
    Ok(())
}

#[handoff_sdk::test(timeout = "1m")]
fn makes_too_many_files() {
    for number in 0..1_000_000 {
        if let Err(error) = std::fs::write(format!("/tmp/{number}"), "") {
            return println!("REFUSED AFTER {number} FILES: {error}");
        }
    }
}

/// A file that claims to be larger than it is.
#[handoff_sdk::test(timeout = "1m")]
fn makes_a_file_with_a_hole() -> Result {
    let file = std::fs::File::create("/tmp/hole")?;
    match file.set_len(1 << 40) {
        Ok(()) => println!("GOT IT"),
        Err(error) => println!("REFUSED: {error}"),
    }
    Ok(())
}

/// Needs 300 ms and has 200 at first.
#[handoff_sdk::test(timeout = "200ms")]
fn asks_for_more_time(cx: &Context) -> Result {
    let left = cx.extend_deadline(Duration::from_secs(2))?;
    ensure!(left > Duration::from_secs(1), "GRANTED ONLY {left:?}");
    std::thread::sleep(Duration::from_millis(300));
    println!("WORKED LONGER");
    Ok(())
}

/// Asks until it is refused.
#[handoff_sdk::test]
fn asks_for_too_much_time(cx: &Context) {
    for _ in 0..1_000_000 {
        if let Err(refusal) = cx.extend_deadline(Duration::from_secs(3_600)) {
            return refused(&refusal);
        }
    }
}

/// A message, a reason and names longer than what is kept.
#[handoff_sdk::test(timeout = "1m")]
fn reports_long_texts(cx: &Context) -> Result {
    let long = "ü".repeat(1 << 20);
    cx.part(&long, || -> Result { handoff_sdk::bail!("PART {long}") });
    cx.span(&long).with(&long, &long).end();
    handoff_sdk::bail!("MESSAGE {long}")
}

mod random {
    //! Bytes of randomness through wasi:random, which the standard library asks for its maps' seeds
    //! only.
    #![allow(missing_docs, unreachable_pub, unsafe_code, clippy::all, reason = "generated code")]

    wit_bindgen::generate!({
        path: "../../../wit",
        inline: "package handoff:fixture; world seeds { import wasi:random/random@0.2.12; }",
        world: "handoff:fixture/seeds",
        generate_all,
    });

    pub(super) fn flood() {
        let mut got = 0;
        for _ in 0..100_000 {
            got += wasi::random::random::get_random_bytes(1 << 20).len();
            std::hint::black_box(got);
        }
        println!("GOT THROUGH");
    }
}
