//! What a suite could reach, what it may, and what it did reach.

use std::collections::BTreeMap;

use super::text::{self, Html};
use crate::model::{Policy, Run, Stage, SuiteVersion};
use crate::storage::{Storage, StorageError};

/// How many attempts of the last run are looked at for what it did reach.
const ATTEMPTS: usize = 60;
/// How many places are listed.
const PLACES: usize = 40;

/// What is known of a suite's reach.
pub(super) struct Reach {
    pub(super) imports: Vec<String>,
    pub(super) wants: Vec<Html>,
    pub(super) http: Vec<String>,
    pub(super) tcp: Vec<String>,
    /// Names of configuration and variables that it is given; secrets by name alone.
    pub(super) given: Vec<Html>,
    /// Where the last run's requests went: the place, how many were allowed, how many denied.
    pub(super) did: Vec<(Html, u64, u64)>,
    pub(super) left_out: bool,
}

impl Reach {
    /// What a version could and may reach, and what its last run did.
    pub(super) fn of(
        storage: &Storage,
        version: &SuiteVersion,
        policy: &Policy,
        last: Option<&Run>,
    ) -> Result<Self, StorageError> {
        let (did, left_out) = match last {
            Some(run) => did(storage, run)?,
            None => (Vec::new(), false),
        };
        let named = |kind: &str, name: &String| text::guest(&format!("{kind} {name}"));
        let given = policy.config.keys().map(|name| named("configuration", name));
        let given = given.chain(policy.secrets.keys().map(|name| named("secret", name)));
        let given = given.chain(policy.env.keys().map(|name| named("variable", name)));
        Ok(Self {
            imports: version.imports.clone(),
            wants: version.description.wants_http.iter().map(|host| text::guest(host)).collect(),
            http: policy.allow_http.iter().map(ToString::to_string).collect(),
            tcp: policy.allow_tcp.iter().map(ToString::to_string).collect(),
            given: given.collect(),
            did,
            left_out,
        })
    }
}

type Did = (Vec<(Html, u64, u64)>, bool);

fn did(storage: &Storage, run: &Run) -> Result<Did, StorageError> {
    let mut places: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let tests = run.tests.iter().flat_map(|test| {
        let stage = Stage::Test(test.name.clone());
        test.attempts.iter().map(move |attempt| (stage.clone(), attempt))
    });
    let setup = run.setup.iter().map(|attempt| (Stage::Setup, attempt));
    let teardown = run.teardown.iter().map(|attempt| (Stage::Teardown, attempt));
    let mut attempts = setup.chain(teardown).chain(tests);
    for (stage, attempt) in attempts.by_ref().take(ATTEMPTS) {
        let detail = storage.detail(run.spec.id, &stage, attempt.round, attempt.number)?;
        for exchange in detail.unwrap_or_default().exchanges {
            let count = places.entry(origin(&exchange.url)).or_default();
            *(if exchange.allowed { &mut count.0 } else { &mut count.1 }) += 1;
        }
    }
    let left_out = attempts.next().is_some() || places.len() > PLACES;
    let shown = places.into_iter().take(PLACES);
    let shown = shown.map(|(place, (allowed, denied))| (text::guest(&place), allowed, denied));
    Ok((shown.collect(), left_out))
}

/// Scheme, host and port of a URL.
fn origin(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    text::start(&format!("{scheme}://{host}"), 200)
}

#[cfg(test)]
mod tests {
    use super::origin;

    #[test]
    fn a_place_is_scheme_host_and_port() {
        assert_eq!(origin("https://a.example.com:8443/b?c"), "https://a.example.com:8443");
        assert_eq!(origin("tcp://127.0.0.1:5432"), "tcp://127.0.0.1:5432");
        assert_eq!(origin("odd"), "://odd");
    }
}
