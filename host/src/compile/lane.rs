//! How many children work at the same time, and how many uploads wait for one.

use anyhow::Context as _;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::CompileError;
use crate::metrics::Metrics;

/// So many at once, so many more waiting, and no more.
pub(super) struct Lane {
    room: Semaphore,
    turns: Semaphore,
    /// The setting that says how many.
    setting: &'static str,
}

impl Lane {
    pub(super) fn new(at_once: usize, waiting: usize, setting: &'static str) -> Self {
        let at_once = at_once.max(1);
        Self { room: Semaphore::new(at_once + waiting), turns: Semaphore::new(at_once), setting }
    }

    /// Waits for a turn, unless too many wait already. Held until the permits are dropped.
    pub(super) async fn turn(
        &self,
        metrics: &Metrics,
    ) -> Result<[SemaphorePermit<'_>; 2], CompileError> {
        let Ok(room) = self.room.try_acquire() else {
            metrics.server_limit_hit("compile.queue");
            return Err(CompileError::Busy);
        };
        if self.turns.available_permits() == 0 {
            metrics.server_limit_hit(self.setting);
        }
        let turn = self.turns.acquire().await.context("take a turn")?;
        Ok([turn, room])
    }
}
