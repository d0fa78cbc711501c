//! Each SDK's README has the same list of features, in the same words and order; what only one language
//! has stands behind it.

use handoff_tests::LANGUAGES;

use super::results::sdk;

const HEAD: &str = "| you want to | write |";

#[test]
fn every_sdk_lists_the_same_features() {
    let of = |language: &str| {
        let text = std::fs::read_to_string(sdk().join(language).join("README.md")).unwrap();
        let table = text.lines().skip_while(|line| *line != HEAD).skip(2);
        let rows = table.take_while(|line| line.starts_with('|'));
        rows.map(|row| row.split('|').nth(1).unwrap().trim().to_owned()).collect::<Vec<_>>()
    };
    // What was written for a suite in Rust has nothing of its own.
    let common = of("rust");
    assert!(common.len() > 15, "{common:?}");
    for language in LANGUAGES {
        let listed = of(language);
        let first = &listed[..common.len().min(listed.len())];
        assert_eq!(first, common, "sdk/{language}/README.md lists other features");
    }
}
