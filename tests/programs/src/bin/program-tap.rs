//! One test that tells its parts by the Test Anything Protocol. The environment says how it goes.

use std::process::ExitCode;

fn main() -> ExitCode {
    println!("TAP version 14\n1..3\nok 1 - sells\nok 2 - pays # SKIP no card");
    if std::env::var("STOCK").as_deref() == Ok("full") {
        println!("ok 3 - delivers");
        return ExitCode::SUCCESS;
    }
    println!("not ok 3 - delivers\n  ---\n  message: sold out\n  ...");
    ExitCode::FAILURE
}
