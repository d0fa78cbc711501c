//! The differences that there are, each with its reason.

use super::Verdict::{self, Absent, Failed, Passed, Skipped};
use super::{Compared, Program, go};

/// A difference.
pub(crate) struct Known {
    pub(crate) package: &'static str,
    /// The tests, and parts of tests as `TEST/PART`.
    pub(crate) tests: &'static [&'static str],
    pub(crate) native: Verdict,
    pub(crate) here: Verdict,
    pub(crate) reason: &'static str,
}

/// What a difference is explained by.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Explanation {
    /// It must panic, which Rust's own harness cannot observe on WebAssembly and says so.
    MustPanic,
    /// It is a fuzz target of Go, which are left out.
    FuzzTarget,
    /// It is in the list, at this place.
    Listed(usize),
}

const UNWINDS: &str =
    "it goes on after a panic that it catches, and nothing unwinds on WebAssembly";

pub(crate) const KNOWN: &[Known] = &[
    Known {
        package: "arrayvec",
        tests: &["deny_max_capacity_arrayvec_value", "deny_max_capacity_arrayvec_value_const"],
        native: Passed,
        here: Absent,
        reason: "the crate has it where pointers have 64 bits",
    },
    Known {
        package: "arrayvec",
        tests: &["test_drop_panics"],
        native: Passed,
        here: Failed,
        reason: UNWINDS,
    },
    Known {
        package: "bytes",
        tests: &["owned_safe_drop_on_as_ref_panic", "split_off_to_at_gt_len"],
        native: Passed,
        here: Skipped,
        reason: "the crate ignores it where nothing unwinds",
    },
    Known {
        package: "bytes",
        tests: &["stress"],
        native: Passed,
        here: Absent,
        reason: "the crate leaves it out on WebAssembly, which has no threads",
    },
    Known {
        package: "smallvec",
        tests: &[
            "tests::insert_many_panic::panic_early_at_end",
            "tests::insert_many_panic::panic_early_at_start",
            "tests::insert_many_panic::panic_early_in_middle",
            "tests::insert_many_panic::panic_late_at_end",
            "tests::insert_many_panic::panic_late_at_start",
            "tests::test_retain_panic_preserves_unprocessed_tail",
        ],
        native: Passed,
        here: Failed,
        reason: UNWINDS,
    },
    Known {
        package: "go/bytes",
        tests: &[
            "TestCountNearPageBoundary",
            "TestEqualNearPageBoundary",
            "TestIndexByteNearPageBoundary",
            "TestIndexNearPageBoundary",
        ],
        native: Passed,
        here: Absent,
        reason: "Go builds it for Linux alone: it protects pages of memory",
    },
];

/// A test that ended in another way than natively.
pub(crate) struct Difference<'a> {
    pub(crate) test: &'a str,
    pub(crate) native: Verdict,
    pub(crate) here: Verdict,
    pub(crate) explanation: Option<Explanation>,
}

/// Every difference of a program, in the order of names.
pub(crate) fn differences<'a>(
    of: &'a Compared,
    program: &'a Program,
) -> impl Iterator<Item = Difference<'a>> {
    let only_here = program.here.keys().filter(|name| !program.native.contains_key(*name));
    let names = program.native.keys().chain(only_here);
    names.filter_map(|test| {
        let of_test = |verdicts: &super::Verdicts| verdicts.get(test).copied();
        let native = of_test(&program.native).unwrap_or(Absent);
        let here = of_test(&program.here).unwrap_or(Absent);
        let explanation = explain(of, program, test, native, here);
        (native != here).then_some(Difference { test, native, here, explanation })
    })
}

fn explain(
    of: &Compared,
    program: &Program,
    test: &str,
    native: Verdict,
    here: Verdict,
) -> Option<Explanation> {
    let ends = (native, here);
    let must_panic = program.must_panic.iter().any(|name| name == test);
    if must_panic && ends == (Passed, Skipped) {
        return Some(Explanation::MustPanic);
    }
    if of.package.starts_with(go::PREFIX) && test.starts_with("Fuzz") && here == Absent {
        return Some(Explanation::FuzzTarget);
    }
    let is_it = |known: &Known| {
        let known_ends = (known.native, known.here);
        known.package == of.package && known.tests.contains(&test) && known_ends == ends
    };
    KNOWN.iter().position(is_it).map(Explanation::Listed)
}

/// Says which differences are not explained, and which explanations explain nothing any more.
pub(crate) fn check(compared: &[Compared]) -> Vec<String> {
    let mut findings = Vec::new();
    for of in compared {
        let Compared { package, target, programs, .. } = of;
        let mut seen = Vec::new();
        for program in programs {
            for Difference { test, native, here, explanation } in differences(of, program) {
                if let Some(Explanation::Listed(at)) = explanation {
                    seen.push((at, test));
                }
                if explanation.is_none() {
                    let (native, here, file) = (native.as_str(), here.as_str(), &program.name);
                    findings.push(format!(
                        "{package} for {target}, {file}: {test} is {native} natively and {here} here"
                    ));
                }
            }
        }
        for (at, known) in KNOWN.iter().enumerate().filter(|(_, it)| it.package == package) {
            for test in known.tests.iter().filter(|test| !seen.contains(&(at, **test))) {
                let (native, here) = (known.native.as_str(), known.here.as_str());
                findings.push(format!(
                    "{package} for {target}: {test} is no longer {native} natively and {here} here"
                ));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::{Program, Verdicts};
    use super::*;

    fn program(native: &[(&str, Verdict)], here: &[(&str, Verdict)]) -> Program {
        let verdicts = |ends: &[(&str, Verdict)]| -> Verdicts {
            ends.iter().map(|(test, verdict)| ((*test).to_owned(), *verdict)).collect()
        };
        let must_panic = vec!["must_panic".to_owned()];
        let (native, here) = (verdicts(native), verdicts(here));
        Program { name: "src/lib.rs".to_owned(), native, must_panic, here }
    }

    fn findings(package: &str, program: Program) -> Vec<String> {
        let (package, version) = (package.to_owned(), String::new());
        check(&[Compared { package, version, target: "wasip1", programs: vec![program] }])
    }

    #[test]
    fn what_is_not_explained_is_found_wherever_it_is() {
        let same = [("a", Passed), ("b", Failed), ("c", Skipped)];
        assert_eq!(findings("heck", program(&same, &same)), [""; 0]);
        let other = [("a", Passed), ("c", Skipped), ("d", Passed), ("must_panic", Skipped)];
        let native = [("a", Failed), ("b", Failed), ("c", Skipped), ("must_panic", Passed)];
        let found = findings("heck", program(&native, &other));
        assert_eq!(
            found,
            [
                "heck for wasip1, src/lib.rs: a is failed natively and passed here",
                "heck for wasip1, src/lib.rs: b is failed natively and not there here",
                "heck for wasip1, src/lib.rs: d is not there natively and passed here",
            ]
        );
        // A fuzz target is one in Go alone.
        let fuzz = || program(&[("FuzzA", Passed), ("FuzzA/seed#0", Passed)], &[]);
        assert_eq!(findings("go/path", fuzz()).len(), 0);
        assert_eq!(findings("heck", fuzz()).len(), 2);
    }

    #[test]
    fn an_explanation_that_explains_nothing_is_found() {
        let known = KNOWN.iter().find(|known| known.package == "go/bytes").unwrap();
        let all: Vec<_> = known.tests.iter().map(|test| (*test, known.native)).collect();
        assert_eq!(findings("go/bytes", program(&all, &[])), [""; 0]);
        let found = findings("go/bytes", program(&all[1..], &[]));
        assert!(found[0].contains("TestCountNearPageBoundary is no longer passed"), "{found:?}");
        let other = [(all[0].0, Failed)];
        assert_eq!(findings("go/bytes", program(&all, &other)).len(), 2, "another end is another");
    }
}
