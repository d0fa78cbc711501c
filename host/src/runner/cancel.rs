//! Stopping runs: because somebody asks, or because a newer run makes them pointless.

use super::queue::Facts;
use super::{ControlError, Shared, SubmitError, sink};
use crate::model::{EventKind, RunId};

/// Stores that a run is to stop. False if that was stored already.
pub(super) async fn cancel(
    shared: &Shared,
    run: RunId,
    by: Option<String>,
) -> Result<bool, ControlError> {
    let Shared { storage, hub, .. } = shared;
    // One at a time, so that of two requests the second finds the run told to stop. What the hub does not
    // know has ended.
    let cancelling = hub.cancelling(run).unwrap_or_default();
    let _one = cancelling.lock().await;
    let folded = storage.run(run)?.ok_or(ControlError::NoRun(run))?;
    if folded.status.is_terminal() {
        return Err(ControlError::Ended(folded.status));
    }
    if folded.cancel_requested {
        return Ok(false);
    }
    let stored = sink::stored(storage.append(run, EventKind::CancelRequested { by }, None).await);
    stored.await.map_err(SubmitError::Storage)?;
    Ok(true)
}

/// Stores that runs are to stop which a newer one makes pointless, and gives those that are. A run that ends
/// meanwhile is as good.
pub(super) async fn supersede(shared: &Shared, newer: Facts, older: Vec<RunId>) -> Vec<RunId> {
    let mut stopped = Vec::new();
    let by = format!("the run #{} ({}), which supersedes it", newer.number, newer.run);
    for run in older {
        match cancel(shared, run, Some(by.clone())).await {
            Ok(true) => stopped.push(run),
            Ok(false) | Err(ControlError::Ended(_)) => {}
            Err(error) => {
                tracing::error!(%run, %error, "failed to cancel a run that is superseded")
            }
        }
    }
    stopped
}
