//! The rows of the table, and what each asks of a test that ended.

use serde_json::{Value, json};

/// What came of one test.
pub(crate) struct Seen {
    /// The test as the run shows it.
    pub(crate) test: Value,
    /// What it logged, in all its attempts.
    pub(crate) lines: Vec<Value>,
    /// The test alone, with the details of its attempts.
    pub(crate) detail: Value,
}

/// One row.
pub(crate) struct Row {
    /// The test's name.
    pub(crate) name: &'static str,
    /// Its status.
    status: &'static str,
    /// What else must hold.
    checks: &'static [Check],
}

/// Something that must hold of a test that ended.
enum Check {
    /// The message has this in it.
    Says(&'static str),
    /// There is a file and a line.
    Placed,
    /// The cause is this.
    Cause(&'static str),
    /// These lines are in the log, in this order, with others between them.
    Logs(&'static [&'static str]),
    /// This line came from there.
    From(&'static str, &'static str),
    /// So many attempts.
    Attempts(usize),
    /// It passed after a failed attempt.
    Flaky,
    /// Its failure does not fail the run.
    Soft,
    /// This limit was hit.
    Hits(&'static str),
    /// So many artifacts, spans or whatever it is called were kept.
    Keeps(&'static str, usize),
    /// Anything else: gives what is wrong.
    Also(fn(&Seen) -> Result<(), String>),
}

use Check::{Also, Attempts, Cause, Flaky, From, Hits, Keeps, Logs, Placed, Says, Soft};

const fn row(name: &'static str, status: &'static str, checks: &'static [Check]) -> Row {
    Row { name, status, checks }
}

const fn passes(name: &'static str, checks: &'static [Check]) -> Row {
    row(name, "passed", checks)
}

const fn fails(name: &'static str, checks: &'static [Check]) -> Row {
    row(name, "failed", checks)
}

const fn skips(name: &'static str, checks: &'static [Check]) -> Row {
    row(name, "skipped", checks)
}

/// All rows but the many tests that are made in a loop.
pub(crate) const ROWS: &[Row] = &[
    passes("passes", &[]),
    passes("größe ✓ 日本", &[]),
    fails("fails_by_assertion", &[Says("ASSERTION ON PURPOSE"), Placed]),
    fails("fails_with_operands", &[Says("2"), Says("3"), Placed]),
    fails("fails_by_error", &[Says("ERROR ON PURPOSE"), Placed]),
    fails("fails_deep", &[Says("DEEP ON PURPOSE"), Placed]),
    fails(
        "reports_a_failure_and_goes_on",
        &[Says("REPORTED ON PURPOSE"), Logs(&["AFTER THE REPORT"])],
    ),
    skips("skips", &[Says("SKIPPED ON PURPOSE")]),
    skips("skips_in_a_helper", &[Says("HELPER SKIPPED")]),
    fails("fails_softly", &[Soft, Says("SOFT ON PURPOSE")]),
    fails("marks_itself_soft", &[Soft, Says("MARKED SOFT")]),
    skips("disabled", &[Also(disabled)]),
    fails("exits_with_3", &[Cause("exit"), Logs(&["EXITING"])]),
    fails("exits_with_0", &[Cause("exit")]),
    fails("traps", &[Logs(&["ABOUT TO TRAP"])]),
    fails("overflows_the_stack", &[]),
    passes("flaky", &[Flaky, Attempts(2)]),
    fails("fails_every_time", &[Attempts(3), Says("FAILED ATTEMPT 3")]),
    passes(
        "log_levels",
        &[
            Logs(&["LEVEL TRACE", "LEVEL DEBUG", "LEVEL INFO", "LEVEL WARN", "LEVEL ERROR"]),
            From("LEVEL TRACE", "trace"),
            From("LEVEL DEBUG", "debug"),
            From("LEVEL INFO", "info"),
            From("LEVEL WARN", "warn"),
            From("LEVEL ERROR", "error"),
        ],
    ),
    passes(
        "keeps_the_order_of_output",
        &[
            Logs(&["ONE", "TWO", "THREE", "FOUR"]),
            From("ONE", "stdout"),
            From("TWO", "stderr"),
            From("THREE", "info"),
        ],
    ),
    passes("ends_output_without_newline", &[Logs(&["NO NEWLINE"])]),
    fails("fails_after_output_without_newline", &[Says("AFTER LAST WORDS"), Logs(&["LAST WORDS"])]),
    passes("writes_unicode", &[Logs(&["größe 日本 🦀"])]),
    passes("writes_much", &[Logs(&["line 0", "line 9999"])]),
    passes("knows_its_attempt", &[]),
    passes("extends_its_deadline", &[]),
    passes("has_parts", &[Also(parts)]),
    passes("sets_values", &[Also(values)]),
    passes("gets_values", &[]),
    passes("masks_secrets", &[Also(masked)]),
    passes("attaches", &[Also(artifacts)]),
    passes("hears_a_refusal", &[]),
    passes("has_spans", &[Also(spans)]),
    passes("reads_parameters", &[]),
    passes("reads_the_environment", &[]),
    passes("has_clocks_and_random", &[]),
    passes("has_a_scratch_directory", &[]),
    passes("sleeps", &[]),
    passes("gets_over_http", &[]),
    passes("posts_json", &[]),
    passes("sees_a_status", &[]),
    passes("hears_a_denial", &[]),
    passes("gives_up_waiting", &[]),
    passes("gets_a_big_body", &[]),
    fails("loops", &[Cause("timeout")]),
    fails("sleeps_too_long", &[Cause("timeout")]),
    fails("allocates", &[]),
    passes("cleans_up_in_order", &[Logs(&["BODY", "CLEANUP 2", "CLEANUP 1"])]),
    fails("cleans_up_after_a_failure", &[Says("BEFORE CLEANUP"), Logs(&["CLEANED UP"])]),
    passes("is_alone_1", &[]),
    passes("is_alone_2", &[]),
    passes("sorts", &[]),
    passes("writes_and_reads_json", &[]),
    fails("limit_fuel", &[Cause("fuel"), Hits("fuel")]),
    passes("limit_log", &[Logs(&["FIRST LINE", "LAST LINE"]), Hits("log_head_bytes")]),
    passes("limit_log_line", &[Logs(&["bytes cut]"]), Hits("log_line_bytes")]),
    fails("limit_message", &[Says("LONG MESSAGE xxx"), Says("bytes cut]"), Hits("message_bytes")]),
    fails("limit_failures", &[Says("FAILURE 0"), Keeps("further_failures", 2), Hits("failures")]),
    passes("limit_value", &[Hits("value_bytes")]),
    passes("limit_values", &[Keeps("values", 4), Hits("values")]),
    passes("limit_artifacts", &[Keeps("artifacts", 2), Hits("artifacts")]),
    passes("limit_spans", &[Keeps("spans", 3), Hits("spans")]),
    fails("limit_parts", &[Says("sub_results"), Keeps("sub_results", 3), Hits("sub_results")]),
    passes("limit_requests", &[Keeps("exchanges", 3), Hits("requests")]),
    passes("limit_received", &[Hits("received_bytes")]),
    fails("limit_random", &[Cause("trap"), Hits("random_bytes")]),
    passes("limit_scratch", &[Hits("scratch_bytes")]),
    passes("limit_extension", &[Hits("max_timeout_ms")]),
];

/// Whether this is one of the tests of the second run.
pub(crate) fn is_of_limits(name: &str) -> bool {
    name.starts_with("limit_")
}

impl Row {
    /// What is not as the row says.
    pub(crate) fn check(&self, seen: &Seen) -> Result<(), String> {
        if seen.test["status"] != self.status {
            return Err(format!("it is not {}: {:#}", self.status, seen.test));
        }
        self.checks.iter().try_for_each(|check| check.holds(seen))
    }
}

impl Seen {
    /// The last attempt.
    pub(crate) fn attempt(&self) -> &Value {
        self.test["attempts"].as_array().and_then(|all| all.last()).unwrap_or(&Value::Null)
    }

    fn detail(&self) -> &Value {
        let attempts = self.detail["attempts"].as_array();
        attempts.and_then(|all| all.last()).map_or(&Value::Null, |attempt| &attempt["detail"])
    }

    fn text(line: &Value) -> &str {
        line["text"].as_str().unwrap_or_default()
    }
}

impl Check {
    fn holds(&self, seen: &Seen) -> Result<(), String> {
        let attempt = seen.attempt();
        let fails = |told: String| Err(told);
        match self {
            Says(words) => match attempt["message"].as_str() {
                Some(message) if message.contains(words) => Ok(()),
                message => fails(format!("{message:?} does not say {words:?}")),
            },
            Placed if attempt["location"]["line"].as_u64() > Some(0) => Ok(()),
            Placed => fails(format!("it has no place: {attempt:#}")),
            Cause(cause) if attempt["cause"] == *cause => Ok(()),
            Cause(cause) => fails(format!("its cause is not {cause}: {attempt:#}")),
            Logs(words) => {
                let mut lines = seen.lines.iter().map(Seen::text);
                let missing = words.iter().find(|word| !lines.any(|line| line.contains(**word)));
                missing.map_or(Ok(()), |word| {
                    fails(format!("{word:?} is not in its log, or not in that order"))
                })
            }
            From(words, source) => {
                let line = seen.lines.iter().find(|line| Seen::text(line).contains(words));
                match line {
                    Some(line) if line["source"] == *source => Ok(()),
                    line => fails(format!("{words:?} does not come from {source}: {line:?}")),
                }
            }
            Attempts(count) => match seen.test["attempts"].as_array().map_or(0, Vec::len) {
                found if found == *count => Ok(()),
                found => fails(format!("it was tried {found} times, not {count}")),
            },
            Flaky if seen.test["flaky"] == true => Ok(()),
            Flaky => fails("it is not flaky".to_owned()),
            Soft if seen.test["soft"] == true || attempt["soft"] == true => Ok(()),
            Soft => fails("it is not soft".to_owned()),
            Hits(limit) => match attempt["limits_hit"].as_array() {
                Some(hit) if hit.iter().any(|hit| hit == limit) => Ok(()),
                hit => fails(format!("it did not hit {limit}: {hit:?}")),
            },
            Keeps(what, count) => {
                let kept = [attempt, seen.detail()].into_iter().find_map(|of| of[*what].as_array());
                match kept.map_or(0, Vec::len) {
                    found if found == *count => Ok(()),
                    found => fails(format!("{found} {what} were kept, not {count}")),
                }
            }
            Also(check) => check(seen),
        }
    }
}

/// Whether two values are the same, in words.
fn same(what: &str, found: &Value, expected: &Value) -> Result<(), String> {
    if found == expected {
        return Ok(());
    }
    Err(format!("{what}: {found:#} is not {expected:#}"))
}

fn disabled(seen: &Seen) -> Result<(), String> {
    let shown = seen.test.to_string();
    match shown.contains("DISABLED ON PURPOSE") {
        true => Ok(()),
        false => Err(format!("it does not say why: {shown}")),
    }
}

fn parts(seen: &Seen) -> Result<(), String> {
    let parts = seen.detail()["sub_results"].as_array().cloned().unwrap_or_default();
    let short: Vec<_> = parts.iter().map(|part| json!([part["name"], part["status"]])).collect();
    let expected = json!([
        ["passing part", "passed"],
        ["failing part", "failed"],
        ["skipped part", "skipped"],
    ]);
    same("parts", &json!(short), &expected)?;
    let shown = json!(parts).to_string();
    for words in ["PART ON PURPOSE", "PART SKIPPED"] {
        if !shown.contains(words) {
            return Err(format!("its parts do not say {words}: {shown}"));
        }
    }
    Ok(())
}

fn values(seen: &Seen) -> Result<(), String> {
    let values = seen.detail()["values"].as_array().cloned().unwrap_or_default();
    let value = |name: &str| values.iter().find(|value| value["name"] == name).cloned();
    let from_test = value("from_test").unwrap_or_default();
    same("from_test", &from_test["value"], &json!("größe ✓"))?;
    match value("big") {
        Some(_) => Ok(()),
        None => Err("the value big is not shown".to_owned()),
    }
}

fn masked(seen: &Seen) -> Result<(), String> {
    let line = seen.lines.iter().map(Seen::text).find(|line| line.contains("the secret is"));
    match line {
        Some(line) if !line.contains("sesame") => Ok(()),
        line => Err(format!("the secret is not masked: {line:?}")),
    }
}

fn artifacts(seen: &Seen) -> Result<(), String> {
    let artifacts = seen.attempt()["artifacts"].as_array().cloned().unwrap_or_default();
    let short: Vec<_> =
        artifacts.iter().map(|a| json!([a["name"], a["media_type"], a["size_bytes"]])).collect();
    let expected = json!([
        ["note.txt", "text/plain", "ATTACHED ✓".len()],
        ["bytes.bin", "application/octet-stream", 256],
    ]);
    same("artifacts", &json!(short), &expected)?;
    // The SHA-256 of the bytes 0 to 255.
    let digest = "sha256:40aff2e9d2d8922e47afd4648e6967497158785fbd1da870e7110266bf944880";
    same("bytes.bin", &artifacts[1]["digest"], &json!(digest))
}

fn spans(seen: &Seen) -> Result<(), String> {
    let spans = seen.detail()["spans"].as_array().cloned().unwrap_or_default();
    let names: Vec<_> = spans.iter().map(|span| span["name"].clone()).collect();
    same("spans", &json!(names), &json!(["outer", "inner"]))?;
    let shown = spans[0]["attributes"].to_string();
    match shown.contains("key") && shown.contains("value") {
        true => Ok(()),
        false => Err(format!("the span outer does not have its attribute: {shown}")),
    }
}
