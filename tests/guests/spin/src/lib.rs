//! Sixty-four tests that loop for ever, each with a deadline of 100 ms.

use handoff_sdk::TestCase;
use std::time::Duration;

handoff_sdk::suite! { name: "spin", timeout: "100ms", parallelism: 64 }

#[handoff_sdk::tests]
fn sixty_four() -> impl Iterator<Item = TestCase> {
    (0..64).map(|number| {
        TestCase::new(format!("spin {number:02}"), |_| -> () {
            loop {
                std::hint::spin_loop();
            }
        })
        .timeout(Duration::from_millis(100))
    })
}
