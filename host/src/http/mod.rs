//! The HTTP API: from a request to a question to the runner or the store, and from the answer to JSON.
//!
//! All routes are in `router`, all layers in `middleware`, all errors in `error`, all shapes in
//! `views`. A handler extracts, asks, answers. Nothing here knows the sandbox.

mod artifacts;
mod clear;
mod connections;
mod error;
mod extract;
mod fixtures;
mod head;
mod health;
mod idempotency;
mod logs;
mod marks;
mod middleware;
mod openapi;
mod plugins;
mod policies;
mod report_body;
mod reports;
mod retention;
mod router;
mod run_events;
mod runs;
mod schedules;
mod settings;
mod statistics;
mod suites;
#[cfg(test)]
mod tests;
mod transfer;
mod triggers;
mod uploading;
pub mod views;

use std::sync::Arc;

use axum::extract::FromRef;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use openapi::document as openapi_document;
pub use settings::HttpSettings;

use crate::app::App;
use crate::storage::Storage;
use error::ApiError;

/// What handlers share.
#[derive(Clone)]
pub(crate) struct Api {
    app: App,
    /// Bytes that bodies may still take: components their own, so that uploads that stall leave room to ask
    /// for a run, and to cancel one.
    json_memory: Arc<Semaphore>,
    upload_memory: Arc<Semaphore>,
    /// The places for reports.
    reports: report_body::Places,
    /// Held by the one import that is under way.
    importing: Arc<tokio::sync::Mutex<()>>,
    /// Cancelled when the server stops: streams and waits end then.
    closing: CancellationToken,
}

impl Api {
    fn new(app: App) -> Self {
        let settings = &app.config.http;
        let memory = |bytes: u64| {
            let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
            Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS)))
        };
        Self {
            json_memory: memory(settings.body_memory_bytes),
            upload_memory: memory(settings.upload_memory_bytes),
            reports: report_body::Places::new(settings),
            importing: Arc::default(),
            closing: CancellationToken::new(),
            app,
        }
    }

    /// Asks the store, off the threads that answer requests.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Storage) -> Result<T, crate::storage::StorageError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let storage = self.app.storage.clone();
        let answer = tokio::task::spawn_blocking(move || question(&storage)).await;
        Ok(answer.map_err(ApiError::internal)??)
    }
}

impl FromRef<Api> for App {
    fn from_ref(api: &Api) -> Self {
        api.app.clone()
    }
}

/// Serves until `shutdown` resolves, then stops accepting and lets answers under way finish.
pub async fn serve(
    app: App,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let loopback = listener.local_addr()?.ip().is_loopback();
    let (settings, metrics) = (app.config.http.clone(), app.metrics.clone());
    let api = Api::new(app);
    let closing = api.closing.clone();
    let router = router::router(api, loopback);
    connections::serve(listener, router, &settings, metrics, closing, shutdown).await
}
