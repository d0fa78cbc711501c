//! `handoff:plugin/host`: what a plugin may say, keep and read. Everything is bounded; what cannot be kept is
//! refused by the name of its limit.

use std::collections::BTreeMap;
use std::sync::Arc;

use wasmtime::component::{HasData, Linker};

use super::bindings::host::{self as generated, Host};
use crate::model::{Kept, Limit, Limits};
use crate::wasm::bindings::vocabulary::{self as wit, Refusal};
use crate::wasm::context::ContextCtx;
use crate::wasm::convert;
use crate::wasm::limits::LimitsHit;

/// The most runs that one call lists.
const MAX_RUNS: u32 = 100;
/// The rule by which a report is refused that is too large.
const TOO_LARGE: &str = "report_bytes";
/// The most tests that one call lists.
const MAX_TESTS: u32 = 500;

/// Why a report is not read.
#[derive(Debug)]
pub enum NoReport {
    /// It is larger than a plugin may read.
    TooLarge(String),
    /// It cannot be written.
    Failed(String),
}

/// Reads runs on behalf of a plugin, as JSON.
pub trait Runs: Send + Sync {
    /// One run; none if there is no such run.
    fn run(&self, id: &str) -> Result<Option<String>, String>;

    /// The last runs of a suite, the newest first.
    fn runs(&self, suite: &str, limit: usize) -> Result<Vec<String>, String>;

    /// Tests of a run, from the one with that place on.
    fn tests(&self, run: &str, from: usize, limit: usize) -> Result<Vec<String>, String>;

    /// A report of a run; none if there is no such run.
    fn report(&self, run: &str, format: &str) -> Result<Option<Vec<u8>>, NoReport>;

    /// How a suite or one of its tests stands; none if there are no results.
    fn statistics(&self, suite: &str, test: Option<&str>) -> Result<Option<String>, String>;
}

/// What a plugin keeps, by name.
pub type Values = BTreeMap<String, Vec<u8>>;

/// A plugin's part of a store. That of a suite is empty.
#[derive(Default)]
pub(crate) struct PluginCtx {
    values: Arc<Values>,
    /// What this call changed.
    pub(crate) kept: Kept,
    runs: Option<Arc<dyn Runs>>,
    limits: Arc<Limits>,
    hits: LimitsHit,
}

impl PluginCtx {
    pub(crate) fn new(
        values: Arc<Values>,
        runs: Arc<dyn Runs>,
        limits: Arc<Limits>,
        hits: LimitsHit,
    ) -> Self {
        Self { values, kept: Kept::new(), runs: Some(runs), limits, hits }
    }

    fn value(&self, key: &str) -> Option<&Vec<u8>> {
        match self.kept.get(key) {
            Some(changed) => changed.as_ref(),
            None => self.values.get(key),
        }
    }

    /// The names that there are now.
    fn names(&self) -> impl Iterator<Item = &String> {
        let unchanged = self.values.keys().filter(|key| !self.kept.contains_key(*key));
        let changed = self.kept.iter().filter(|(_, value)| value.is_some()).map(|(key, _)| key);
        unchanged.chain(changed)
    }

    fn check(&self, limit: Limit, wanted: usize, what: &str) -> Result<(), Refusal> {
        let most = self.limits.get(limit);
        if wanted as u64 <= most {
            return Ok(());
        }
        self.hits.hit(limit);
        let rule = limit.as_str();
        let message = format!("{wanted} {what}, {most} are allowed (limit `{rule}`)");
        Err(Refusal { rule: rule.into(), message })
    }

    fn keep(&mut self, key: String, value: Vec<u8>) -> Result<(), Refusal> {
        self.check(Limit::NameBytes, key.len(), "bytes in the name of a value")?;
        self.check(Limit::ValueBytes, value.len(), "bytes in one value")?;
        let more = usize::from(self.value(&key).is_none());
        self.check(Limit::Values, self.names().count() + more, "values of one plugin")?;
        self.kept.insert(key, Some(value));
        Ok(())
    }
}

/// The plugin's part together with the log and the deadline, which it has as a suite has them.
pub(crate) struct PluginView<'a> {
    pub(crate) plugin: &'a mut PluginCtx,
    pub(crate) context: &'a mut ContextCtx,
}

fn refused(message: String) -> Refusal {
    Refusal { rule: "runs".into(), message }
}

impl Host for PluginView<'_> {
    fn log(&mut self, level: wit::Level, message: String) -> wasmtime::Result<()> {
        self.context.log.log(convert::level(level), &message);
        Ok(())
    }

    fn remaining_ms(&mut self) -> wasmtime::Result<u64> {
        let left = self.context.deadline.remaining().as_millis();
        Ok(u64::try_from(left).unwrap_or(u64::MAX))
    }

    fn get(&mut self, key: String) -> wasmtime::Result<Option<Vec<u8>>> {
        Ok(self.plugin.value(&key).cloned())
    }

    fn set(&mut self, key: String, value: Vec<u8>) -> wasmtime::Result<Result<(), Refusal>> {
        Ok(self.plugin.keep(key, value))
    }

    fn delete(&mut self, key: String) -> wasmtime::Result<()> {
        if self.plugin.value(&key).is_some() {
            self.plugin.kept.insert(key, None);
        }
        Ok(())
    }

    fn keys(&mut self, prefix: String) -> wasmtime::Result<Vec<String>> {
        let names = self.plugin.names().filter(|name| name.starts_with(&prefix));
        let mut names: Vec<_> = names.cloned().collect();
        names.sort();
        Ok(names)
    }

    fn run(&mut self, id: String) -> wasmtime::Result<Result<Option<String>, Refusal>> {
        let Some(runs) = &self.plugin.runs else { return Ok(Ok(None)) };
        Ok(runs.run(&id).map_err(refused))
    }

    fn runs(
        &mut self,
        suite: String,
        limit: u32,
    ) -> wasmtime::Result<Result<Vec<String>, Refusal>> {
        let Some(runs) = &self.plugin.runs else { return Ok(Ok(Vec::new())) };
        Ok(runs.runs(&suite, limit.min(MAX_RUNS) as usize).map_err(refused))
    }

    fn tests(
        &mut self,
        run: String,
        from: u32,
        limit: u32,
    ) -> wasmtime::Result<Result<Vec<String>, Refusal>> {
        let Some(runs) = &self.plugin.runs else { return Ok(Ok(Vec::new())) };
        let limit = limit.min(MAX_TESTS) as usize;
        Ok(runs.tests(&run, from as usize, limit).map_err(refused))
    }

    fn report(
        &mut self,
        run: String,
        format: String,
    ) -> wasmtime::Result<Result<Option<Vec<u8>>, Refusal>> {
        let Some(runs) = &self.plugin.runs else { return Ok(Ok(None)) };
        Ok(runs.report(&run, &format).map_err(|error| match error {
            NoReport::TooLarge(message) => Refusal { rule: TOO_LARGE.into(), message },
            NoReport::Failed(message) => refused(message),
        }))
    }

    fn statistics(
        &mut self,
        suite: String,
        test: Option<String>,
    ) -> wasmtime::Result<Result<Option<String>, Refusal>> {
        let Some(runs) = &self.plugin.runs else { return Ok(Ok(None)) };
        Ok(runs.statistics(&suite, test.as_deref()).map_err(refused))
    }
}

struct HasPlugin;

impl HasData for HasPlugin {
    type Data<'a> = PluginView<'a>;
}

/// Offers `handoff:plugin/host`.
pub(crate) fn add_to_linker<T: 'static>(
    linker: &mut Linker<T>,
    get: fn(&mut T) -> PluginView<'_>,
) -> wasmtime::Result<()> {
    generated::add_to_linker::<T, HasPlugin>(linker, get)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(values: &[(&str, &str)], limits: Limits) -> PluginCtx {
        let values = values.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        PluginCtx { values: Arc::new(values), limits: Arc::new(limits), ..PluginCtx::default() }
    }

    #[test]
    fn what_a_call_changed_hides_what_was_there() {
        let mut context = context(&[("a", "1"), ("b", "2")], Limits::default());
        context.keep("b".into(), b"3".into()).unwrap();
        context.kept.insert("a".into(), None);
        assert_eq!(context.value("a"), None);
        assert_eq!(context.value("b"), Some(&b"3".to_vec()));
        assert_eq!(context.names().collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn the_bounds_on_what_is_kept_hold_for_old_and_new_together() {
        let limits = Limits { values: 2, value_bytes: 3, ..Limits::default() };
        let mut context = context(&[("a", "1"), ("b", "2")], limits);
        assert_eq!(context.keep("c".into(), vec![]).unwrap_err().rule, "values");
        assert_eq!(context.keep("a".into(), vec![0; 4]).unwrap_err().rule, "value_bytes");
        assert!(context.keep("a".into(), vec![0; 3]).is_ok());
        assert!(context.hits.was_hit(Limit::Values) && context.hits.was_hit(Limit::ValueBytes));
    }
}
