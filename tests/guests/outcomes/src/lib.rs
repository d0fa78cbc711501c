//! Every way in which a test can end, and everything that it can report.

use handoff_sdk::{Context, Level, Result, Skip, TestCase, ensure, ensure_eq, skip};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

handoff_sdk::suite! {
    name: "outcomes",
    namespace: "fixtures",
    description: "Every way in which a test can *end*.",
    owner: "team-größe",
    timeout: "5s",
    attempts: 1,
    parallelism: 1,
    links: [("Runbook", "https://runbook.example.test/outcomes")],
    labels: [("tier", "1"), ("kind", "fixture")],
    wants_http: ["http://127.0.0.1:8080"],
}

/// Its description, with *Markdown*.
#[handoff_sdk::test(tags = ["smoke", "pass"])]
fn passes() {}

#[handoff_sdk::test(name = "größe ✓")]
fn unicode() {}

#[handoff_sdk::test]
fn fails_by_assertion() {
    assert_eq!(1 + 1, 3, "ASSERTION FAILED ON PURPOSE");
}

#[handoff_sdk::test]
fn fails_by_error() -> Result {
    fn number() -> Result<u32> {
        Ok("x".parse()?)
    }
    number().map(drop).map_err(|error| error.context("ERROR ON PURPOSE"))
}

/// What can only be displayed.
struct Shown;

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DISPLAYED ON PURPOSE")
    }
}

#[handoff_sdk::test]
fn fails_by_anything_displayed() -> Result<(), Shown> {
    Err(Shown)
}

mod nested {
    pub(crate) fn deep(levels: u32) {
        if levels == 0 {
            panic!("NESTED PANIC ON PURPOSE");
        }
        deep(levels - 1);
    }

    /// Called `nested::passes`.
    #[handoff_sdk::test]
    fn passes() {}
}

#[handoff_sdk::test]
fn panics_in_a_nested_function() {
    println!("printed before the panic, without a line break:");
    print!("LAST WORDS");
    nested::deep(3);
}

#[handoff_sdk::test]
fn reports_a_failure_and_passes(cx: &Context) {
    cx.report_failure("REPORTED ON PURPOSE");
}

#[handoff_sdk::test]
fn reports_two_failures_and_panics(cx: &Context) {
    cx.report_failure("FIRST REPORT");
    cx.report_failure("SECOND REPORT");
    panic!("PANIC AFTER REPORTS");
}

#[handoff_sdk::test]
fn skips() -> Result {
    fn helper() -> Result<u32, Skip> {
        skip!("SKIPPED ON {}", "PURPOSE");
    }
    println!("{}", helper()?);
    Ok(())
}

#[handoff_sdk::test(soft)]
fn fails_softly() {
    panic!("SOFT FAILURE ON PURPOSE");
}

#[handoff_sdk::test]
fn marks_itself_soft(cx: &Context) {
    cx.mark_soft();
    panic!("MARKED SOFT ON PURPOSE");
}

#[handoff_sdk::test(disabled = "DISABLED ON PURPOSE")]
fn disabled() {
    panic!("RAN THOUGH DISABLED");
}

#[handoff_sdk::test]
fn exits_with_a_code() {
    println!("EXITING");
    std::process::exit(3);
}

#[handoff_sdk::test]
fn exits_with_zero() {
    std::process::exit(0);
}

/// Traps without any message.
#[handoff_sdk::test]
fn traps() {
    println!("ABOUT TO TRAP");
    eprint!("LAST WORDS ON STDERR");
    std::process::abort();
}

#[handoff_sdk::test]
#[allow(unconditional_recursion, reason = "it is to overflow the stack")]
fn overflows_the_stack() {
    fn down(level: u64) -> u64 {
        std::hint::black_box(down(std::hint::black_box(level + 1)) + level)
    }
    println!("{}", down(0));
}

#[handoff_sdk::test]
fn has_parts(cx: &Context) {
    let sum = |a: u32, b: u32, sum: u32| {
        cx.part(&format!("{a} + {b}"), || -> Result {
            ensure_eq!(a + b, sum, "PART FAILED ON PURPOSE");
            Ok(())
        })
    };
    assert!(sum(1, 1, 2));
    assert!(!sum(1, 1, 3));
    assert!(cx.part("skipped part", || -> Result { skip!("PART SKIPPED ON PURPOSE") }));
}

#[handoff_sdk::test]
fn panics_in_a_part(cx: &Context) {
    cx.part("outer", || {
        cx.part("inner", || -> () { panic!("PANIC IN A PART") });
    });
}

#[handoff_sdk::test]
fn has_spans(cx: &Context) {
    let outer = cx.span("outer").with("key", "value");
    {
        let _inner = cx.span("inner");
        std::thread::sleep(Duration::from_millis(5));
    }
    outer.set("key", "replaced");
    outer.end();
    let never_ended = cx.span("never ended");
    std::mem::forget(never_ended);
}

#[handoff_sdk::test]
fn keeps_files(cx: &Context) -> Result {
    cx.attach("screenshot.png", "image/png", b"\x89PNG not really")?;
    cx.attach_json("answer.json", &serde_json::json!({ "answer": 42 }))?;
    cx.attach("../../../etc/passwd", "text/plain", "A NAME THAT LOOKS LIKE A PATH")?;
    Ok(())
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Session {
    id: u64,
    user: String,
}

const SECRET: &str = "s3cret-größe";

#[handoff_sdk::test]
fn sets_values(cx: &Context) -> Result {
    cx.set("text", "plain")?;
    cx.set("session", &Session { id: 7, user: "ada".into() })?;
    cx.set_secret("token", SECRET)?;
    ensure_eq!(cx.require::<String>("text")?, "plain");
    Ok(())
}

#[handoff_sdk::test]
fn gets_values(cx: &Context) -> Result {
    ensure_eq!(cx.require::<String>("text")?, "plain");
    ensure_eq!(cx.require::<Session>("session")?, Session { id: 7, user: "ada".into() });
    ensure_eq!(cx.require::<String>("token")?, SECRET);
    ensure_eq!(cx.get::<String>("never set")?, None);
    Ok(())
}

/// The place must be in this file, not in the SDK.
#[handoff_sdk::test]
fn requires_a_value_that_is_not_set(cx: &Context) -> Result {
    cx.require::<String>("never set")?;
    Ok(())
}

#[handoff_sdk::test]
fn requires_a_parameter_that_is_not_set(cx: &Context) -> Result {
    cx.require_param("never-set")?;
    Ok(())
}

#[handoff_sdk::test]
fn gets_a_value_of_another_type(cx: &Context) -> Result {
    cx.require::<u32>("text")?;
    Ok(())
}

/// Everywhere it could be seen: log, stdout, stderr, part, file, span, message. It is made without
/// asking for it, so that the masking does not depend on that.
#[handoff_sdk::test]
fn leaks_the_secret(cx: &Context) -> Result {
    handoff_sdk::info!("logged {SECRET}");
    println!("printed {SECRET}");
    eprintln!("printed to stderr {SECRET}");
    cx.part(&format!("part {SECRET}"), || -> Result { handoff_sdk::bail!("part {SECRET}") });
    cx.span(&format!("span {SECRET}")).with("secret", SECRET).end();
    cx.attach("leak.txt", "text/plain", SECRET)?;
    panic!("LEAKED {SECRET}");
}

/// What a value that was set by an attempt that failed must not do.
#[handoff_sdk::test]
fn sets_a_value_and_fails(cx: &Context) -> Result {
    cx.set("failed", "VALUE OF A FAILED ATTEMPT")?;
    panic!("FAILED AFTER SETTING A VALUE");
}

#[handoff_sdk::test]
fn does_not_see_the_value_of_a_failed_attempt(cx: &Context) -> Result {
    ensure!(cx.get::<String>("failed")?.is_none(), "SAW THE VALUE OF A FAILED ATTEMPT");
    Ok(())
}

/// More than the host takes in one call.
#[handoff_sdk::test]
fn fails_with_a_big_message() {
    panic!("BIG MESSAGE\n{}", "größe ✓\n".repeat(2_000_000));
}

#[handoff_sdk::test]
fn logs_at_every_level() {
    println!("on stdout");
    eprintln!("on stderr");
    handoff_sdk::trace!("at trace");
    handoff_sdk::debug!("at debug");
    handoff_sdk::info!("at info\nsecond line");
    handoff_sdk::warn!("at warn");
    handoff_sdk::error!("at error");
    handoff_sdk::log!(Level::Info, "größe ✓ {}", 1);
    print!("without a line break");
}

/// Prints what was given, for the host's test to compare.
#[handoff_sdk::test]
fn shows_its_parameters(cx: &Context) {
    for (name, value) in cx.params() {
        println!("PARAM {name}={value}");
    }
    for (name, value) in std::env::vars() {
        println!("ENV {name}={value}");
    }
    println!("ARGS {:?}", std::env::args().collect::<Vec<_>>());
    println!("ATTEMPT {}", cx.attempt());
}

/// A static that a second test in the same instance would find changed.
static SEEN: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

#[handoff_sdk::tests]
fn isolated() -> impl Iterator<Item = TestCase> {
    ["a", "b"].into_iter().map(|name| {
        TestCase::new(format!("isolated {name}"), |_| {
            let seen = SEEN.swap(true, std::sync::atomic::Ordering::Relaxed);
            assert!(!seen, "SAW ANOTHER TEST'S MEMORY");
            assert!(!std::path::Path::new("/tmp/seen").exists(), "SAW ANOTHER TEST'S FILES");
            std::fs::write("/tmp/seen", "").expect("writing to /tmp");
        })
        .tag("isolation")
        .description("One of two that would disturb each other.")
    })
}

#[handoff_sdk::setup]
fn setup() {
    println!("SETUP RAN");
}

#[handoff_sdk::teardown]
fn teardown(cx: &Context) -> Result {
    println!("TEARDOWN SAW {}", cx.get::<String>("text")?.unwrap_or_default());
    Ok(())
}
