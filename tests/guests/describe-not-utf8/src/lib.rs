//! A description whose texts are no UTF-8, which languages with other strings may send by mistake.

#![allow(unsafe_code, reason = "Rust itself has no such texts")]

#[path = "../../raw.rs"]
mod raw;

fn describe() -> raw::SuiteDescription {
    let mut suite = raw::suite("describe-not-utf8", &["test"]);
    // SAFETY: nothing in this component reads the text; it is handed to the host as it is.
    suite.owner = Some(unsafe { String::from_utf8_unchecked(vec![0xff, 0xfe]) });
    suite
}
