//! A description with two tests of one name.

#[path = "../../raw.rs"]
mod raw;

fn describe() -> raw::SuiteDescription {
    raw::suite("describe-duplicate", &["twin", "twin"])
}
