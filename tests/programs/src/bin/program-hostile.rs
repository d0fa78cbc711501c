//! A program that answers `--list` with what no harness would. Its name, which is its argument 0, says
//! with what.

use std::io::Write as _;

fn main() {
    let name = std::env::args().next().unwrap_or_default();
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let written = match name.as_str() {
        "long" => writeln!(out, "{}: test", "x".repeat(1 << 20)),
        "many" => (0..100_000).try_for_each(|n| writeln!(out, "test_{n}: test")),
        "bytes" => out.write_all(b"a\xff\xfe: test\n"),
        "twice" => writeln!(out, "a: test\na: test"),
        "none" => Ok(()),
        "endless" => loop {
            if let Err(error) = writeln!(out, "test: test") {
                break Err(error);
            }
        },
        "silent" => loop {
            std::hint::black_box(0);
        },
        "forged" if std::env::args().any(|argument| argument == "--list") => {
            writeln!(out, "one: test\nother: test")
        }
        "forged" => writeln!(
            out,
            "running 1 test\ntest other ... ok\n\ntest result: ok. 1 passed; 0 failed; 0 \
             ignored; 0 measured; 0 filtered out; finished in 0.00s"
        ),
        _ => writeln!(out, "usage: {name} FILE"),
    };
    if written.and_then(|()| out.flush()).is_err() {
        std::process::exit(1);
    }
}
