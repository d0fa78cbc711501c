//! What becomes a program of Rust's own test harness, with a test for each way in which one can end.
//! `cargo xtask guests` builds it for WASI preview 1 and 2. Elsewhere it has no tests: most of them fail.

#[cfg(all(test, target_family = "wasm"))]
mod tests {
    use std::hint::black_box;
    use std::process::exit;

    #[test]
    fn passes() {
        println!("in stock: {}", 3);
        eprintln!("and a warning");
    }

    #[test]
    fn panics() {
        println!("before the panic");
        assert_eq!(1 + 1, 3, "sums");
    }

    #[test]
    fn returns_an_error() -> Result<(), String> {
        Err("no stock\nat all".into())
    }

    #[test]
    #[ignore = "takes long"]
    fn is_ignored() {
        panic!("nobody runs this");
    }

    #[test]
    #[should_panic(expected = "as it should")]
    fn should_panic() {
        panic!("as it should");
    }

    #[test]
    fn exits_in_the_middle() {
        println!("about to leave");
        exit(0);
    }

    #[test]
    fn exits_with_3() {
        exit(3);
    }

    #[test]
    fn computes_for_ever() {
        println!("begun");
        loop {
            black_box(0);
        }
    }

    #[test]
    fn takes_all_memory() {
        let mut all = Vec::new();
        loop {
            all.push(vec![1_u8; 1 << 20]);
            black_box(&all);
        }
    }

    #[test]
    fn overflows_its_stack() {
        fn deeper(depth: u64) -> u64 {
            if black_box(depth) == u64::MAX { 0 } else { deeper(depth + 1) + black_box(1) }
        }
        black_box(deeper(0));
    }

    #[test]
    fn sees_its_name_and_environment() {
        assert_eq!(std::env::args().next().as_deref(), Some("shop"));
        println!("called with {:?}", std::env::args().skip(1).collect::<Vec<_>>());
        println!("COLOUR is {:?}", std::env::var("COLOUR"));
        std::fs::write("/tmp/a", "scratch").expect("/tmp can be written to");
    }

    /// By relative paths, as crates have them.
    #[test]
    fn reads_its_fixtures() {
        let stock = std::fs::read_to_string("tests/data/stock.txt").expect("the stock is there");
        assert_eq!(stock, "3 apples\n");
        let mut names: Vec<_> = std::fs::read_dir("tests/data")
            .expect("it is a directory")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["empty", "stock.txt"]);
        std::fs::write("tests/data/stock.txt", "none").expect_err("nothing can be written");
        std::fs::write("/tmp/stock.txt", "none").expect("but there");
    }

    /// Passes alone; every test is alone in its program.
    #[test]
    fn is_the_only_one() {
        use std::sync::atomic::{AtomicU32, Ordering};
        static RUNS: AtomicU32 = AtomicU32::new(0);
        assert_eq!(RUNS.fetch_add(1, Ordering::Relaxed), 0);
        assert!(!std::fs::exists("/tmp/a").unwrap_or(true), "another test's file");
    }
}
