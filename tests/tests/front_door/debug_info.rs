//! Debug information is the component's, and hostile like all of it: what reading it costs falls to the
//! child process that compiles, once and bounded, and not to the server at each trap.

use handoff_tests::{Client, Server, Settings, guest};
use serde_json::Value;

use crate::components::{HOSTILE_ABBREVIATIONS, hostile_debug_info, with_sections};
use crate::results::{array, assert_says, attempt, detail, lines, metric, only, run_of, text};

const OUTCOMES: &str = "fixtures/outcomes";

/// The suite `outcomes` with so many bytes of debug information, each of which costs a hundred to
/// read.
async fn upload(client: &Client, bytes: usize) {
    let debug = hostile_debug_info(bytes);
    let sections: [(&str, &[u8]); 2] =
        [(".debug_info", &debug), (".debug_abbrev", HOSTILE_ABBREVIATIONS)];
    client.upload(with_sections(&guest("outcomes"), &sections)).await;
}

/// Traps at the end of many calls, and says in which functions.
async fn trap(client: &Client) -> (Value, Vec<String>) {
    let name = "overflows_the_stack";
    let run = run_of(client, OUTCOMES, &only(name)).await;
    assert_eq!(attempt(&run, name)["cause"], "trap", "{run:#}");
    let detail = detail(client, &run, name).await;
    let frames = array(&detail["backtrace"]).iter();
    let functions: Vec<_> = frames.map(|frame| text(&frame["function"]).to_owned()).collect();
    (run, functions)
}

#[tokio::test]
async fn a_trap_costs_the_server_nothing_of_hostile_debug_information() {
    /// What one run may add to the server's memory whatever its component is.
    const BESIDE: u64 = 64 << 20;
    let server = Server::start().await;
    let client = server.client();
    upload(&client, 2 << 20).await;
    let before = server.peak_memory();
    let (_, functions) = trap(&client).await;
    assert!(functions[0].contains("overflows_the_stack::down"), "{functions:?}");
    let grown = server.peak_memory() - before;
    assert!(grown < BESIDE, "the server grew by {grown} bytes");
}

#[tokio::test]
async fn debug_information_beyond_its_bound_is_left_out_and_the_log_says_so() {
    let server = Settings::default().flag("compile-debug-bytes", 1 << 20).start().await;
    let client = server.client();
    upload(&client, 2 << 20).await;
    assert_eq!(metric(&client, "handoff_limit_hits_total{limit=\"compile_debug_bytes\"}").await, 1);
    let (run, functions) = trap(&client).await;
    assert!(functions[0].contains("overflows_the_stack::down"), "{functions:?}");
    let lines = lines(&client, &run, "overflows_the_stack").await;
    assert_says(lines.last().unwrap(), &["no files and lines", "1048576", "compile.debug_bytes"]);
}
