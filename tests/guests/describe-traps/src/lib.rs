//! A description that traps, without any message.

#[path = "../../raw.rs"]
mod raw;

fn describe() -> raw::SuiteDescription {
    std::process::abort()
}
