//! Whether writes are taken at present, and why not.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::StorageError;

/// The state of the store.
#[derive(Debug)]
pub(super) enum State {
    /// Writes are taken.
    Good,
    /// Progress of runs waits to be stored, because of this. Passes.
    Waiting(StorageError),
    /// A write failed in a way that leaves nothing known. For good, until the store is opened again.
    Broken(String),
    /// For good.
    Closed,
}

/// Set by the committing thread, read by everybody.
pub(super) struct Health(Mutex<State>);

impl Health {
    pub(super) fn new() -> Self {
        Self(Mutex::new(State::Good))
    }

    /// Fails if requests for new work are not taken.
    pub(super) fn check(&self) -> Result<(), StorageError> {
        match &*self.lock() {
            State::Waiting(why) => Err(why.again()),
            state => state.usable(),
        }
    }

    /// Fails if nothing is taken, and never will be.
    pub(super) fn usable(&self) -> Result<(), StorageError> {
        self.lock().usable()
    }

    /// Enters a state, unless the present one is final.
    pub(super) fn set(&self, state: State) {
        let mut now = self.lock();
        if now.usable().is_ok() {
            *now = state;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn usable(&self) -> Result<(), StorageError> {
        match self {
            Self::Good | Self::Waiting(_) => Ok(()),
            Self::Broken(why) => Err(StorageError::Broken(why.clone())),
            Self::Closed => Err(StorageError::Closed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_passes_and_a_broken_store_does_not() {
        let health = Health::new();
        health.set(State::Waiting(StorageError::Full));
        assert!(matches!(health.check(), Err(StorageError::Full)));
        assert!(health.usable().is_ok());
        health.set(State::Good);
        assert!(health.check().is_ok());
        health.set(State::Broken("no space".into()));
        health.set(State::Good);
        health.set(State::Closed);
        assert!(matches!(health.check(), Err(StorageError::Broken(_))));
        assert!(health.usable().is_err());
    }
}
