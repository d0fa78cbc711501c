//! A description without tests.

#[path = "../../raw.rs"]
mod raw;

fn describe() -> raw::SuiteDescription {
    raw::suite("describe-empty", &[])
}
