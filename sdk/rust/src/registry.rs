//! What the attributes registered: finding it, ordering it, and saying what is wrong with it.
//!
//! Registrations come in no particular order, so tests are ordered by where they stand.

use crate::bindings::exports::handoff::suite::tests::TestCase as WitTestCase;
use crate::bindings::handoff::suite::vocabulary::Location;
use crate::context::Context;
use crate::error::{Ending, Returned};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

/// A function of the suite, ready to be called.
pub(crate) type Run = Box<dyn FnOnce(&Context) -> Ending>;

/// Where something stands in the source. Orders as a reader would.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub file: &'static str,
    pub line: u32,
    pub column: u32,
}

impl Place {
    #[track_caller]
    pub(crate) fn caller() -> Self {
        std::panic::Location::caller().into()
    }
}

impl From<&'static std::panic::Location<'static>> for Place {
    fn from(at: &'static std::panic::Location<'static>) -> Self {
        Self { file: at.file(), line: at.line(), column: at.column() }
    }
}

impl From<Place> for Location {
    fn from(place: Place) -> Self {
        Self { file: place.file.to_owned(), line: place.line, column: Some(place.column) }
    }
}

/// What `suite!` registers.
pub struct Header {
    pub name: &'static str,
    pub namespace: Option<&'static str>,
    pub description: Option<&'static str>,
    pub owner: Option<&'static str>,
    pub timeout_ms: Option<u64>,
    pub attempts: Option<u32>,
    pub parallelism: Option<u32>,
    pub links: &'static [(&'static str, &'static str)],
    pub labels: &'static [(&'static str, &'static str)],
    pub wants_http: &'static [&'static str],
    pub file: &'static str,
    pub line: u32,
    /// Never given by the macros, so that `..EMPTY` always has something to add.
    pub rest: (),
}

impl Header {
    /// A header without anything.
    pub const EMPTY: Self = Self {
        name: "",
        namespace: None,
        description: None,
        owner: None,
        timeout_ms: None,
        attempts: None,
        parallelism: None,
        links: &[],
        labels: &[],
        wants_http: &[],
        file: "",
        line: 0,
        rest: (),
    };
}

/// What `#[test]` registers.
pub struct Test {
    pub module: &'static str,
    pub function: &'static str,
    pub name: Option<&'static str>,
    pub description: Option<&'static str>,
    pub tags: &'static [&'static str],
    pub timeout_ms: Option<u64>,
    pub attempts: Option<u32>,
    pub soft: bool,
    pub disabled: Option<&'static str>,
    pub place: Place,
    pub run: fn(&Context) -> Ending,
    /// Never given by the macros, so that `..EMPTY` always has something to add.
    pub rest: (),
}

impl Test {
    /// A test without anything.
    pub const EMPTY: Self = Self {
        module: "",
        function: "",
        name: None,
        description: None,
        tags: &[],
        timeout_ms: None,
        attempts: None,
        soft: false,
        disabled: None,
        place: Place { file: "", line: 0, column: 0 },
        run: |_| Ending::Passed,
        rest: (),
    };

    /// The modules inside the crate, which are part of the name as with Rust's own tests.
    fn modules(&self) -> Option<&'static str> {
        self.module.split_once("::").map(|(_, modules)| modules)
    }

    fn full_name(&self) -> String {
        match (self.name, self.modules()) {
            (Some(name), _) => name.to_owned(),
            (None, Some(modules)) => format!("{modules}::{}", self.function),
            (None, None) => self.function.to_owned(),
        }
    }

    /// Whether that is its name, without making it: this is asked of each test before each attempt.
    fn is_called(&self, name: &str) -> bool {
        if let Some(own) = self.name {
            return own == name;
        }
        let Some(rest) = name.strip_suffix(self.function) else { return false };
        match self.modules() {
            Some(modules) => rest.strip_suffix("::") == Some(modules),
            None => rest.is_empty(),
        }
    }

    fn case(&self) -> Case {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Case {
            place: self.place,
            rank: 0,
            wit: WitTestCase {
                name: self.full_name(),
                description: owned(self.description),
                tags: self.tags.iter().map(|tag| (*tag).to_owned()).collect(),
                timeout_ms: self.timeout_ms,
                attempts: self.attempts,
                soft: self.soft,
                disabled: owned(self.disabled),
            },
        }
    }
}

/// What `#[tests]` registers. `visit` hands over test after test until the visitor breaks off.
pub struct Source {
    pub place: Place,
    pub visit: fn(&mut Visitor<'_>),
}

/// Looks at a test and says whether it wants to see the next one.
pub type Visitor<'a> = dyn FnMut(TestCase) -> ControlFlow<()> + 'a;

/// Shows the tests of a source to a visitor.
pub fn visit(cases: impl IntoIterator<Item = TestCase>, visitor: &mut Visitor<'_>) {
    // Breaking off is an end like any other.
    let _ = cases.into_iter().try_for_each(visitor);
}

/// What `#[setup]` registers.
pub struct Setup {
    pub place: Place,
    pub run: fn(&Context) -> Ending,
}

/// What `#[teardown]` registers.
pub struct Teardown {
    pub place: Place,
    pub run: fn(&Context) -> Ending,
}

inventory::collect!(Header);
inventory::collect!(Test);
inventory::collect!(Source);
inventory::collect!(Setup);
inventory::collect!(Teardown);

/// A test made while the program runs, for [`tests`](macro@crate::tests).
///
/// ```
/// use handoff_sdk::TestCase;
///
/// #[handoff_sdk::tests]
/// fn sums() -> impl Iterator<Item = TestCase> {
///     [(1, 2, 3), (2, 2, 4)].into_iter().map(|(a, b, sum)| {
///         TestCase::new(format!("{a} + {b}"), move |_| assert_eq!(a + b, sum)).tag("table")
///     })
/// }
/// ```
pub struct TestCase {
    case: Case,
    run: Run,
}

impl TestCase {
    /// A test of that name. The function gives `()` or a `Result`, like any test.
    #[track_caller]
    pub fn new<R: Returned>(
        name: impl Into<String>,
        run: impl FnOnce(&Context) -> R + 'static,
    ) -> Self
    where
        Ending: From<Result<(), R::Error>>,
    {
        let place = Place::caller();
        let wit = WitTestCase {
            name: name.into(),
            description: None,
            tags: Vec::new(),
            timeout_ms: None,
            attempts: None,
            soft: false,
            disabled: None,
        };
        let run = move |cx: &Context| Ending::from(run(cx).into_result()).or_at(place);
        Self { case: Case { place, rank: 0, wit }, run: Box::new(run) }
    }

    /// What it checks, in Markdown.
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.case.wit.description = Some(text.into());
        self
    }

    /// Adds a tag.
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.case.wit.tags.push(tag.into());
        self
    }

    /// Its deadline, in whole milliseconds. Default: that of the suite.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.case.wit.timeout_ms = Some(timeout.as_millis().try_into().unwrap_or(u64::MAX));
        self
    }

    /// How often it is tried at most. Default: that of the suite.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.case.wit.attempts = Some(attempts);
        self
    }

    /// Its failure is shown without failing the run.
    pub fn soft(mut self) -> Self {
        self.case.wit.soft = true;
        self
    }

    /// It is not run, for this reason.
    pub fn disabled(mut self, reason: impl Into<String>) -> Self {
        self.case.wit.disabled = Some(reason.into());
        self
    }
}

/// A test with where it stands.
struct Case {
    place: Place,
    /// Counts the tests of one source.
    rank: u32,
    wit: WitTestCase,
}

/// A suite that is in order.
pub(crate) struct Described {
    pub(crate) header: &'static Header,
    pub(crate) cases: Vec<WitTestCase>,
}

/// The whole suite, or what is wrong with it, for the author to read.
pub(crate) fn describe() -> Result<Described, String> {
    let header = header(inventory::iter::<Header>.into_iter().collect())?;
    let setups = inventory::iter::<Setup>.into_iter().map(|setup| setup.place).collect();
    let teardowns =
        inventory::iter::<Teardown>.into_iter().map(|teardown| teardown.place).collect();
    at_most_one("setup", setups)?;
    at_most_one("teardown", teardowns)?;
    Ok(Described { header, cases: ordered(cases())? })
}

fn header(headers: Vec<&'static Header>) -> Result<&'static Header, String> {
    match headers.as_slice() {
        [header] => Ok(header),
        [] => Err("the suite has no name: add `handoff_sdk::suite! { name: \"…\" }` to its \
                   crate"
            .to_owned()),
        [a, b, ..] => Err(format!(
            "`suite!` is used twice, in {}: a component is one suite",
            both((a.file, a.line), (b.file, b.line))
        )),
    }
}

fn at_most_one(what: &str, places: Vec<Place>) -> Result<(), String> {
    match places.as_slice() {
        [a, b, ..] => Err(format!(
            "there are two functions for {what}, in {}: keep one and call the other from it",
            both((a.file, a.line), (b.file, b.line))
        )),
        _ => Ok(()),
    }
}

/// Two places, the first first: registrations come in no particular order.
fn both(a: (&str, u32), b: (&str, u32)) -> String {
    let (first, second) = if a <= b { (a, b) } else { (b, a) };
    format!("{}:{} and {}:{}", first.0, first.1, second.0, second.1)
}

fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = inventory::iter::<Test>.into_iter().map(Test::case).collect();
    for source in inventory::iter::<Source> {
        let mut rank = 0;
        (source.visit)(&mut |made| {
            rank += 1;
            cases.push(Case { place: source.place, rank, ..made.case });
            ControlFlow::Continue(())
        });
    }
    cases
}

/// The tests in the order in which they stand, if there are any and none has the name of another.
///
/// Those of one source keep the order in which they were made; those that one macro made while
/// compiling stand in one place and are ordered by name. One sort for everything: each further one
/// would add kilobytes to every component.
fn ordered(mut cases: Vec<Case>) -> Result<Vec<WitTestCase>, String> {
    if cases.is_empty() {
        return Err("the suite has no tests: mark a function with `#[handoff_sdk::test]`".into());
    }
    cases.sort_unstable_by(|a, b| {
        (a.place, a.rank, &a.wit.name).cmp(&(b.place, b.rank, &b.wit.name))
    });
    let mut seen: BTreeMap<&str, Place> = BTreeMap::new();
    for Case { place, wit, .. } in &cases {
        if let Some(first) = seen.insert(&wit.name, *place) {
            return Err(format!(
                "two tests are called `{}`, in {}: name one of them otherwise",
                wit.name,
                both((first.file, first.line), (place.file, place.line))
            ));
        }
    }
    Ok(cases.into_iter().map(|case| case.wit).collect())
}

/// The test of that name.
pub(crate) fn find(name: &str) -> Option<Run> {
    let mut tests = inventory::iter::<Test>.into_iter();
    if let Some(test) = tests.find(|test| test.is_called(name)) {
        return Some(Box::new(test.run));
    }
    let mut found = None;
    for source in inventory::iter::<Source> {
        (source.visit)(&mut |made| {
            if made.case.wit.name != name {
                return ControlFlow::Continue(());
            }
            found = Some(made.run);
            ControlFlow::Break(())
        });
        if found.is_some() {
            break;
        }
    }
    found
}

/// The suite's setup, if it has one.
pub(crate) fn setup() -> Option<Run> {
    inventory::iter::<Setup>.into_iter().next().map(|setup| Box::new(setup.run) as Run)
}

/// The suite's teardown, if it has one.
pub(crate) fn teardown() -> Option<Run> {
    inventory::iter::<Teardown>.into_iter().next().map(|teardown| Box::new(teardown.run) as Run)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(name: &str, line: u32, rank: u32) -> Case {
        let TestCase { case, .. } = TestCase::new(name, |_| ());
        Case { place: Place { file: "src/lib.rs", line, column: 1 }, rank, ..case }
    }

    fn names(cases: Vec<Case>) -> Vec<String> {
        ordered(cases).unwrap().into_iter().map(|case| case.name).collect()
    }

    #[test]
    fn tests_are_ordered_by_where_they_stand() {
        assert_eq!(
            names(vec![case("c", 9, 0), case("a", 30, 0), case("b", 12, 0)]),
            ["c", "b", "a"]
        );
    }

    #[test]
    fn tests_of_one_source_keep_their_order() {
        assert_eq!(names(vec![case("z", 1, 1), case("x", 1, 3), case("y", 1, 2)]), ["z", "y", "x"]);
    }

    #[test]
    fn tests_that_a_macro_made_are_ordered_by_name() {
        assert_eq!(names(vec![case("z", 1, 0), case("x", 1, 0), case("y", 1, 0)]), ["x", "y", "z"]);
    }

    #[test]
    fn two_tests_of_one_name_are_refused_with_both_places() {
        assert_eq!(
            ordered(vec![case("a", 2, 0), case("a", 1, 0)]).unwrap_err(),
            "two tests are called `a`, in src/lib.rs:1 and src/lib.rs:2: name one of them otherwise"
        );
    }

    #[test]
    fn a_suite_needs_tests_and_one_name() {
        assert!(ordered(Vec::new()).unwrap_err().contains("#[handoff_sdk::test]"));
        assert!(header(Vec::new()).err().unwrap().contains("suite!"));
        const A: &Header = &Header { file: "a", line: 1, ..Header::EMPTY };
        const B: &Header = &Header { file: "b", line: 2, ..Header::EMPTY };
        assert!(header(vec![B, A]).err().unwrap().contains("in a:1 and b:2"));
    }

    #[test]
    fn two_setups_are_refused() {
        let place = Place { file: "a", line: 1, column: 1 };
        assert!(at_most_one("setup", vec![place]).is_ok());
        assert!(at_most_one("setup", vec![place, place]).unwrap_err().contains("setup"));
    }

    #[test]
    fn a_test_is_called_by_its_modules_and_function_or_by_its_own_name() {
        let plain = Test { module: "hello", function: "works", ..Test::EMPTY };
        let nested = Test { module: "hello::a::b", ..plain };
        let named = Test { name: Some("größe ✓"), module: "hello::a", ..Test::EMPTY };
        for (test, name) in [(plain, "works"), (nested, "a::b::works"), (named, "größe ✓")] {
            assert_eq!(test.full_name(), name);
            assert!(test.is_called(name));
            assert!(!test.is_called("b::works"), "{name}");
        }
    }
}
