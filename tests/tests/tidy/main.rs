//! The rules of the house that a machine can check (CONTRIBUTING.md lists them for people).
//!
//! Each rule is a function from the sources to what it found, in a module of its own with samples that
//! break it: a rule that finds nothing because it looks at nothing is noticed. What may be an exception
//! is in a list beside its rule, with the reason; an entry that is not needed any more is a finding too.

#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected comes")]

mod addresses;
mod arrows;
mod bounds;
mod coverage;
mod size;
mod source;
mod words;

use source::Tree;

/// Fails with everything that a rule found.
#[track_caller]
fn assert_clean(findings: &[String]) {
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

/// Fails unless the rule found exactly one thing, which says `expected`.
#[track_caller]
fn assert_finds(findings: &[String], expected: &str) {
    let [finding] = findings else { panic!("not one finding but {findings:#?}") };
    assert!(finding.contains(expected), "{finding}");
}

#[test]
fn arrows_point_one_way() {
    assert_clean(&arrows::modules(&Tree::of_repository()));
}

#[test]
fn a_library_is_named_by_its_owners_alone() {
    assert_clean(&arrows::libraries(&Tree::of_repository()));
}

#[test]
fn files_and_functions_are_short() {
    assert_clean(&size::check(&Tree::of_repository(), size::LONG_FILES, size::LONG_FUNCTIONS));
}

#[test]
fn every_file_says_what_it_is_for() {
    assert_clean(&words::headers(&Tree::of_repository()));
}

#[test]
fn no_word_is_used_that_means_later() {
    assert_clean(&words::code(&Tree::of_repository()));
}

#[test]
fn no_text_names_a_machine_or_a_registry() {
    assert_clean(&words::text(&Tree::of_repository()));
}

#[test]
fn tests_stay_on_this_machine() {
    assert_clean(&addresses::check(&Tree::of_repository(), addresses::CLASSIFIED));
}

#[test]
fn every_fixture_is_used() {
    assert_clean(&coverage::fixtures(&Tree::of_repository()));
}

#[test]
fn every_limit_is_hit() {
    assert_clean(&coverage::limits(&Tree::of_repository()));
}

#[test]
fn every_bound_is_counted_and_hit() {
    assert_clean(&bounds::check(&Tree::of_repository(), bounds::NO_BOUNDS, bounds::SEEN_OTHERWISE));
}

#[test]
fn whatever_users_start_from_has_a_readme() {
    assert_clean(&coverage::readmes(&Tree::of_repository()));
}
