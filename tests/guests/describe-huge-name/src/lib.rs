//! A description with a test whose name is a megabyte long.

#[path = "../../raw.rs"]
mod raw;

fn describe() -> raw::SuiteDescription {
    raw::suite("describe-huge-name", &[&"n".repeat(1 << 20)])
}
