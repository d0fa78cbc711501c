//! Suites and programs that are linked and ready to be instantiated.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use wasmtime::Engine;
use wasmtime::component::Linker;
use wasmtime_wasi::p2::bindings::CommandPre;

use super::bindings::SuitePre;
use super::plugin::bindings::PluginPre;
use super::state::{self, State};
use super::{Engines, engine};
use crate::compile::{Loaded, Symbols};
use crate::model::Digest;

/// What a suite exports, what a plugin does, and what a program does; the engine finds compatible versions
/// too.
const HOOKS: &str = "handoff:plugin/hooks@0.1.0";
const TESTS: &str = "handoff:suite/tests@0.1.0";
const RUN: &str = "wasi:cli/run@0.2.0";

/// A component with its imports resolved and its exports looked up.
pub(super) struct Prepared {
    pub(super) linked: Linked,
    /// How many of the pool's slots an instance takes.
    pub(super) slots: u32,
    /// Files and lines for backtraces.
    pub(super) symbols: Arc<Symbols>,
}

/// What can be called of it.
pub(super) enum Linked {
    Suite(SuitePre<State>),
    Program(CommandPre<State>),
    Plugin(PluginPre<State>),
}

/// The prepared components that were used last. Holds the compiled code of each.
pub(super) struct PreparedSuites {
    metered: Linker<State>,
    unmetered: Linker<State>,
    capacity: usize,
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    /// Each with the time at which it was last used, as the cache counts time.
    suites: HashMap<(Digest, bool), (Arc<Prepared>, u64)>,
    now: u64,
}

impl PreparedSuites {
    /// None yet; at most `capacity` of them, and at least one.
    pub(super) fn new(engines: &Engines, capacity: usize) -> wasmtime::Result<Self> {
        Ok(Self {
            metered: state::linker(engines.metered())?,
            unmetered: state::linker(engines.unmetered())?,
            capacity: capacity.max(1),
            cache: Mutex::default(),
        })
    }

    /// The component, prepared; says in words why it cannot be.
    pub(super) fn get(&self, loaded: &Loaded) -> Result<Arc<Prepared>, String> {
        let key = (loaded.digest, loaded.metered);
        let lock = || self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(prepared) = lock().get(&key) {
            return Ok(prepared);
        }
        let prepared = Arc::new(self.prepare(loaded)?);
        lock().put(key, prepared.clone(), self.capacity);
        Ok(prepared)
    }

    fn prepare(&self, loaded: &Loaded) -> Result<Prepared, String> {
        let linker = if loaded.metered { &self.metered } else { &self.unmetered };
        // Code of one engine in another was GHSA-qw58; wasmtime refuses it by a panic.
        if !Engine::same(linker.engine(), loaded.component.engine()) {
            return Err("the component was loaded for another engine".into());
        }
        let linked = linker.instantiate_pre(&loaded.component).and_then(|pre| {
            let exports = |name| loaded.component.get_export_index(None, name).is_some();
            if !exports(TESTS) && exports(HOOKS) {
                return PluginPre::new(pre).map(Linked::Plugin);
            }
            if !exports(TESTS) && exports(RUN) {
                return CommandPre::new(pre).map(Linked::Program);
            }
            SuitePre::new(pre).map(Linked::Suite)
        });
        let linked = linked.map_err(|error| format!("the component does not fit: {error:#}"))?;
        let slots = engine::slots(&loaded.component);
        Ok(Prepared { linked, slots, symbols: loaded.symbols.clone() })
    }
}

impl Cache {
    fn get(&mut self, key: &(Digest, bool)) -> Option<Arc<Prepared>> {
        self.now += 1;
        let (prepared, used) = self.suites.get_mut(key)?;
        *used = self.now;
        Some(prepared.clone())
    }

    fn put(&mut self, key: (Digest, bool), prepared: Arc<Prepared>, capacity: usize) {
        while self.suites.len() >= capacity {
            let oldest = self.suites.iter().min_by_key(|(_, (_, used))| *used);
            let Some(oldest) = oldest.map(|(key, _)| *key) else { break };
            self.suites.remove(&oldest);
        }
        self.suites.insert(key, (prepared, self.now));
    }
}
