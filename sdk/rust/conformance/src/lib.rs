//! The suite that every SDK has: see `sdk/CONFORMANCE.md`.

mod computing;
mod http;
mod limits;

use std::cell::Cell;
use std::fs;
use std::io::Write;
use std::process;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use handoff_sdk::{
    Context, Result, TestCase, bail, debug, ensure, ensure_eq, error, info, skip, trace, warn,
};

handoff_sdk::suite! {
    name: "conformance",
    namespace: "rust",
    description: "What every SDK can do",
    owner: "handoff",
    timeout: "5s",
    attempts: 1,
    links: [("Source", "https://example.test/source")],
    labels: [("language", "rust")],
    wants_http: ["http://127.0.0.1:1"],
}

#[handoff_sdk::setup]
fn setup(cx: &Context) -> Result {
    info!("SETUP LINE");
    cx.set("from_setup", "set in setup ✓")?;
    cx.set_secret("secret_token", "open-sesame-größe")
}

#[handoff_sdk::teardown]
fn teardown(cx: &Context) -> Result {
    info!("TEARDOWN LINE {}", cx.require::<String>("from_test")?);
    Ok(())
}

/// Passes, **always**.
#[handoff_sdk::test(tags = ["smoke", "pass"])]
fn passes() {}

#[handoff_sdk::test(name = "größe ✓ 日本")]
fn has_any_name() {}

#[handoff_sdk::test]
fn fails_by_assertion() {
    let on_purpose = false;
    assert!(on_purpose, "ASSERTION ON PURPOSE");
}

#[handoff_sdk::test]
fn fails_with_operands() {
    assert_eq!(1 + 1, 3);
}

#[handoff_sdk::test]
fn fails_by_error() -> Result {
    bail!("ERROR ON PURPOSE")
}

#[handoff_sdk::test]
fn fails_deep() -> Result {
    fn one() -> Result {
        two()
    }
    fn two() -> Result {
        three()
    }
    fn three() -> Result {
        bail!("DEEP ON PURPOSE")
    }
    one()
}

#[handoff_sdk::test]
fn reports_a_failure_and_goes_on(cx: &Context) {
    cx.report_failure("REPORTED ON PURPOSE");
    info!("AFTER THE REPORT");
}

#[handoff_sdk::test]
fn skips() -> Result {
    skip!("SKIPPED ON PURPOSE")
}

#[handoff_sdk::test]
fn skips_in_a_helper() -> Result {
    fn needed() -> Result<u32> {
        skip!("HELPER SKIPPED")
    }
    bail!("it went on with {}", needed()?)
}

#[handoff_sdk::test(soft)]
fn fails_softly() -> Result {
    bail!("SOFT ON PURPOSE")
}

#[handoff_sdk::test]
fn marks_itself_soft(cx: &Context) -> Result {
    cx.mark_soft();
    bail!("MARKED SOFT")
}

#[handoff_sdk::test(disabled = "DISABLED ON PURPOSE")]
fn disabled() {
    panic!("it ran though it is disabled");
}

#[handoff_sdk::test]
fn exits_with_3() {
    println!("EXITING");
    process::exit(3);
}

#[handoff_sdk::test]
fn exits_with_0() {
    process::exit(0);
}

#[handoff_sdk::test]
fn traps() {
    println!("ABOUT TO TRAP");
    process::abort();
}

#[handoff_sdk::test]
#[allow(unconditional_recursion, reason = "it is to overflow the stack")]
fn overflows_the_stack() {
    fn down(level: u64) -> u64 {
        std::hint::black_box(down(std::hint::black_box(level + 1)) + level)
    }
    println!("{}", down(0));
}

#[handoff_sdk::test(attempts = 3)]
fn flaky(cx: &Context) -> Result {
    ensure!(cx.attempt() > 1, "FLAKY ON PURPOSE");
    Ok(())
}

#[handoff_sdk::test(attempts = 3)]
fn fails_every_time(cx: &Context) -> Result {
    bail!("FAILED ATTEMPT {}", cx.attempt())
}

#[handoff_sdk::test]
fn log_levels() {
    trace!("LEVEL TRACE");
    debug!("LEVEL DEBUG");
    info!("LEVEL INFO");
    warn!("LEVEL WARN");
    error!("LEVEL ERROR");
}

#[handoff_sdk::test]
fn keeps_the_order_of_output() {
    println!("ONE");
    eprintln!("TWO");
    info!("THREE");
    println!("FOUR");
}

#[handoff_sdk::test]
fn ends_output_without_newline() {
    print!("NO NEWLINE");
}

#[handoff_sdk::test]
fn fails_after_output_without_newline() {
    print!("LAST WORDS");
    panic!("AFTER LAST WORDS");
}

#[handoff_sdk::test]
fn writes_unicode() {
    println!("größe 日本 🦀");
}

#[handoff_sdk::test]
fn writes_much() {
    let mut out = std::io::stdout().lock();
    for number in 0..10_000 {
        writeln!(out, "line {number}").expect("stdout is there");
    }
}

#[handoff_sdk::test]
fn knows_its_attempt(cx: &Context) {
    assert_eq!(cx.attempt(), 1);
}

#[handoff_sdk::test(timeout = "2s")]
fn extends_its_deadline(cx: &Context) -> Result {
    let two = Duration::from_secs(2);
    let remaining = cx.remaining();
    ensure!(!remaining.is_zero() && remaining <= two, "{remaining:?} remain");
    cx.extend_deadline(Duration::from_secs(3))?;
    ensure!(cx.remaining() > two, "{:?} remain", cx.remaining());
    Ok(())
}

#[handoff_sdk::test]
fn has_parts(cx: &Context) {
    assert!(cx.part("passing part", || {}));
    assert!(!cx.part("failing part", || -> Result { bail!("PART ON PURPOSE") }));
    assert!(cx.part("skipped part", || -> Result { skip!("PART SKIPPED") }));
}

#[handoff_sdk::test]
fn sets_values(cx: &Context) -> Result {
    cx.set("from_test", "größe ✓")?;
    cx.set("big", &"x".repeat(60_000))
}

#[handoff_sdk::test]
fn gets_values(cx: &Context) -> Result {
    ensure_eq!(cx.require::<String>("from_setup")?, "set in setup ✓");
    ensure_eq!(cx.require::<String>("from_test")?, "größe ✓");
    ensure_eq!(cx.require::<String>("big")?.len(), 60_000);
    ensure_eq!(cx.get::<String>("missing")?, None);
    Ok(())
}

#[handoff_sdk::test]
fn masks_secrets(cx: &Context) -> Result {
    let secret: String = cx.require("secret_token")?;
    assert!(secret == "open-sesame-größe");
    println!("the secret is {secret}");
    Ok(())
}

#[handoff_sdk::test]
fn attaches(cx: &Context) -> Result {
    cx.attach("note.txt", "text/plain", "ATTACHED ✓")?;
    cx.attach("bytes.bin", "application/octet-stream", (0..=255).collect::<Vec<u8>>())?;
    Ok(())
}

#[handoff_sdk::test]
fn hears_a_refusal(cx: &Context) {
    let refused = cx.attach("huge.bin", "application/octet-stream", vec![0; 2 << 20]);
    assert_eq!(refused.expect_err("it is too large").rule, "artifact_bytes");
}

#[handoff_sdk::test]
fn has_spans(cx: &Context) {
    let _outer = cx.span("outer").with("key", "value");
    let _inner = cx.span("inner");
}

#[handoff_sdk::test]
fn reads_parameters(cx: &Context) {
    assert_eq!(cx.param("greeting").as_deref(), Some("hello ✓"));
    assert_eq!(cx.param("region").as_deref(), Some("test"));
    assert_eq!(cx.param("missing"), None);
}

#[handoff_sdk::test]
fn reads_the_environment() {
    assert_eq!(std::env::var("GREETING").as_deref(), Ok("from the policy"));
}

#[handoff_sdk::test]
fn has_clocks_and_random() -> Result {
    let before = Instant::now();
    ensure!(Instant::now() >= before);
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    ensure!(since_1970.as_secs() / (365 * 24 * 60 * 60) >= 2026 - 1970);
    ensure!(rand::random::<[u8; 16]>() != rand::random::<[u8; 16]>());
    Ok(())
}

#[handoff_sdk::test]
fn has_a_scratch_directory() -> Result {
    ensure_eq!(fs::read_dir("/tmp")?.count(), 0);
    fs::write("/tmp/a.txt", "written")?;
    ensure_eq!(fs::read_to_string("/tmp/a.txt")?, "written");
    ensure!(fs::write("/elsewhere", "written").is_err());
    Ok(())
}

#[handoff_sdk::test]
fn sleeps() {
    thread::sleep(Duration::from_millis(50));
}

#[handoff_sdk::test(timeout = "300ms")]
fn loops() {
    let mut number = 1_u64;
    loop {
        number = std::hint::black_box(number.wrapping_mul(31));
    }
}

#[handoff_sdk::test(timeout = "300ms")]
fn sleeps_too_long() {
    thread::sleep(Duration::from_secs(60 * 60));
}

#[handoff_sdk::test]
fn allocates() {
    let mut kept = Vec::new();
    loop {
        kept.push(vec![1_u8; 1 << 20]);
        std::hint::black_box(&kept);
    }
}

/// In Rust, what is to be done at the end of a scope is a value's destructor.
struct CleanUp(&'static str);

impl Drop for CleanUp {
    fn drop(&mut self) {
        println!("{}", self.0);
    }
}

#[handoff_sdk::test]
fn cleans_up_in_order() {
    let _first = CleanUp("CLEANUP 1");
    let _second = CleanUp("CLEANUP 2");
    println!("BODY");
}

#[handoff_sdk::test]
fn cleans_up_after_a_failure() -> Result {
    let _clean_up = CleanUp("CLEANED UP");
    bail!("BEFORE CLEANUP")
}

thread_local! {
    static COUNTER: Cell<u32> = const { Cell::new(0) };
}

#[handoff_sdk::tests]
fn alone() -> impl Iterator<Item = TestCase> {
    ["is_alone_1", "is_alone_2"].into_iter().map(|name| {
        TestCase::new(name, |_| -> Result {
            ensure_eq!(COUNTER.replace(1), 0);
            ensure!(!fs::exists("/tmp/alone")?);
            fs::write("/tmp/alone", "here")?;
            Ok(())
        })
    })
}

#[handoff_sdk::tests]
fn many() -> impl Iterator<Item = TestCase> {
    (0..200).map(|number| TestCase::new(format!("many_{number:03}"), |_| {}))
}
