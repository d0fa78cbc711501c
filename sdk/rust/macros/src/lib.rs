//! The attributes of `handoff-sdk`, which documents and re-exports them: use them from there.
//!
//! Each attribute leaves the function as it is and adds a registration beside it. Whatever can be
//! found wrong while compiling is reported here, with the place in the user's source.

mod options;
mod registration;
mod suite;

use proc_macro::TokenStream;
use registration::Hook;

/// The suite's header: its name and what holds for all its tests. Exactly one in a suite.
///
/// ```text
/// handoff_sdk::suite! {
///     name: "checkout",                       // lower-case letters, digits, `-`, `_`, `.`; at most 64
///     namespace: "shop",                      // default: `default`
///     description: "What it tests, in Markdown.",
///     owner: "team-shop@example.test",
///     timeout: "5s",                          // of each test that has none of its own
///     attempts: 2,                            // how often a test is tried at most
///     parallelism: 4,                         // default: 1, one after another as declared
///     links: [("Runbook", "https://wiki.example.test/checkout")],
///     labels: [("tier", "1")],
///     wants_http: ["https://shop.example.test:443"], // a wish that people see; it grants nothing
/// }
/// ```
///
/// Only `name` is needed. Texts may be any constant expression of type `&'static str`, such as
/// `include_str!("../README.md")`.
#[proc_macro]
pub fn suite(input: TokenStream) -> TokenStream {
    finish(suite::expand(input.into()))
}

/// Makes a function a test.
///
/// The function takes nothing or `&Context`, and gives `()` or `Result<(), E>` where `E` can be
/// displayed. Its documentation comment is the test's description.
///
/// | option | meaning |
/// | --- | --- |
/// | `name = "…"` | its name. Default: the function's, after its modules: `login::accepts_a_password` |
/// | `description = "…"` | what it checks, in Markdown. Default: the documentation comment |
/// | `timeout = "500ms"` | its deadline. Default: the suite's |
/// | `attempts = 3` | how often it is tried at most. Default: the suite's |
/// | `soft` | a failure is shown without failing the run |
/// | `tags = ["smoke"]` | tags, by which tests are chosen |
/// | `disabled = "why"` | it is not run |
#[proc_macro_attribute]
pub fn test(options: TokenStream, item: TokenStream) -> TokenStream {
    finish(registration::test(options.into(), item.into()))
}

/// Makes a function the source of tests that are known only when the program runs, such as one for
/// each row of a table: it takes nothing and gives anything that iterates over `TestCase`.
///
/// It is called when the suite is described and before each attempt at one of its tests, so it must
/// give the same tests every time, and do so quickly.
#[proc_macro_attribute]
pub fn tests(options: TokenStream, item: TokenStream) -> TokenStream {
    finish(registration::tests(options.into(), item.into()))
}

/// Makes a function the suite's setup: it runs before the first test, in an instance of its own. If it
/// fails, no test runs and the run failed; if it skips, all tests are skipped for its reason.
#[proc_macro_attribute]
pub fn setup(options: TokenStream, item: TokenStream) -> TokenStream {
    finish(registration::hook(Hook::Setup, options.into(), item.into()))
}

/// Makes a function the suite's teardown: it runs after the last test whenever setup was started,
/// after failures, a timeout and a cancellation too. Its failure is shown and does not fail the run.
#[proc_macro_attribute]
pub fn teardown(options: TokenStream, item: TokenStream) -> TokenStream {
    finish(registration::hook(Hook::Teardown, options.into(), item.into()))
}

fn finish(expanded: syn::Result<proc_macro2::TokenStream>) -> TokenStream {
    expanded.unwrap_or_else(syn::Error::into_compile_error).into()
}
