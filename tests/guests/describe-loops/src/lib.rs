//! A description that never ends.

#[path = "../../raw.rs"]
mod raw;

fn describe() -> raw::SuiteDescription {
    loop {
        std::hint::spin_loop();
    }
}
