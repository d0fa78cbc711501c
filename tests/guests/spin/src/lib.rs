//! Sixty-four tests that do not end by themselves, each with a deadline of 100 ms. They loop, unless
//! the parameter `does` names another way to stay for ever.

use handoff_sdk::{Context, Result, TestCase, bail, trace};
use std::hint::black_box;
use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant};

handoff_sdk::suite! { name: "spin", timeout: "100ms", parallelism: 64 }

#[handoff_sdk::tests]
fn sixty_four() -> impl Iterator<Item = TestCase> {
    (0..64).map(|number| {
        TestCase::new(format!("spin {number:02}"), stays).timeout(Duration::from_millis(100))
    })
}

fn stays(cx: &Context) -> Result {
    match cx.param("does").as_deref().unwrap_or("loop") {
        "loop" => loop {
            std::hint::spin_loop();
        },
        "sleep" => std::thread::sleep(Duration::from_secs(1_000_000)),
        // The parameter `silent`, as `host:port`, takes connections and never answers.
        "wait for an answer" => {
            TcpStream::connect(cx.require_param("silent")?)?.read_exact(&mut [0])?;
        }
        "ask for the time" => loop {
            black_box(Instant::now());
        },
        "log" => loop {
            trace!("again");
        },
        "allocate" => {
            let mut kept = Vec::new();
            loop {
                kept.push(vec![1_u8; 1 << 20]);
                black_box(&kept);
            }
        }
        other => bail!("there is no way to stay called {other:?}"),
    }
    bail!("did not stay")
}
