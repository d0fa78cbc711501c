//! A report on its way to its client: written on a thread that may block, no faster than the client
//! reads, within a bounded time, and without holding up other reports.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;

use super::HttpSettings;
use super::error::ApiError;
use crate::metrics::Metrics;

/// How many chunks wait for a client.
const CHUNKS: usize = 4;
/// The places for reports. Those who wait for their clients have begun and hold nobody up.
#[derive(Clone)]
pub(super) struct Places {
    begun: Arc<Semaphore>,
    working: Arc<Semaphore>,
}

impl Places {
    pub(super) fn new(settings: &HttpSettings) -> Self {
        let places =
            |count: usize| Arc::new(Semaphore::new(count.clamp(1, Semaphore::MAX_PERMITS)));
        Self { begun: places(settings.open_reports), working: places(settings.reports) }
    }

    /// A place for a report that begins, when there is one.
    pub(super) async fn open(&self, metrics: &Metrics) -> Result<OwnedSemaphorePermit, ApiError> {
        if self.begun.available_permits() == 0 {
            metrics.server_limit_hit("http.open_reports");
        }
        self.begun.clone().acquire_owned().await.map_err(ApiError::internal)
    }
}

/// Where a report is written to.
pub(super) struct Report {
    chunks: mpsc::Sender<Bytes>,
    /// Told when the report is complete. Dropped before, the answer ends visibly incomplete.
    complete: Option<oneshot::Sender<()>>,
    deadline: Instant,
    /// What sets the deadline.
    setting: &'static str,
    places: Places,
    /// The place of one that is worked on; given back while the client is waited for.
    working: Option<OwnedSemaphorePermit>,
    metrics: Metrics,
    runtime: Handle,
    _open: OwnedSemaphorePermit,
}

impl Report {
    /// A report to be written, and its body.
    pub(super) async fn new(
        open: OwnedSemaphorePermit,
        places: Places,
        metrics: Metrics,
        (limit, setting): (Duration, &'static str),
    ) -> Result<(Self, impl Stream<Item = io::Result<Bytes>> + use<>), ApiError> {
        if places.working.available_permits() == 0 {
            metrics.server_limit_hit("http.reports");
        }
        let working = places.working.clone().acquire_owned().await.map_err(ApiError::internal)?;
        let (sender, chunks) = mpsc::channel(CHUNKS);
        let (complete, completed) = oneshot::channel();
        let end = async move {
            let broken_off = |_| Err(io::Error::other("the report broke off"));
            completed.await.map_or_else(broken_off, |()| Ok(Bytes::new()))
        };
        let body = ReceiverStream::new(chunks).map(Ok).chain(futures::stream::once(end));
        let report = Self {
            chunks: sender,
            complete: Some(complete),
            deadline: Instant::now() + limit,
            setting,
            places,
            working: Some(working),
            metrics,
            runtime: Handle::current(),
            _open: open,
        };
        Ok((report, body))
    }

    /// The report is whole.
    pub(super) fn complete(&mut self) {
        if let Some(complete) = self.complete.take() {
            // Nobody hears it where the client is gone.
            let _ = complete.send(());
        }
    }

    /// Waits for the client without holding up other reports.
    async fn send(&mut self, chunk: Bytes) -> io::Result<()> {
        drop(self.working.take());
        self.chunks.send(chunk).await.map_err(|_| io::ErrorKind::BrokenPipe)?;
        let working = self.places.working.clone().acquire_owned().await;
        self.working = Some(working.map_err(io::Error::other)?);
        Ok(())
    }
}

impl io::Write for Report {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let chunk = match self.chunks.try_send(Bytes::copy_from_slice(data)) {
            Ok(()) => return Ok(data.len()),
            Err(TrySendError::Full(chunk)) => chunk,
            Err(TrySendError::Closed(_)) => return Err(io::ErrorKind::BrokenPipe.into()),
        };
        let (runtime, deadline) = (self.runtime.clone(), self.deadline);
        let sent = runtime.block_on(tokio::time::timeout_at(deadline, self.send(chunk)));
        sent.unwrap_or_else(|_| {
            self.metrics.server_limit_hit(self.setting);
            Err(io::ErrorKind::TimedOut.into())
        })?;
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> HttpSettings {
        HttpSettings { reports: 1, open_reports: 2, ..Default::default() }
    }

    async fn report(
        places: &Places,
        metrics: &Metrics,
    ) -> (Report, impl Stream<Item = io::Result<Bytes>> + use<>) {
        let open = places.open(metrics).await.unwrap();
        let limit = (Duration::from_secs(3_600), "http.report_timeout_ms");
        Report::new(open, places.clone(), metrics.clone(), limit).await.unwrap()
    }

    async fn until_hit(metrics: &Metrics, limit: &str) {
        while !metrics.render().contains(&format!("{{limit=\"{limit}\"}} 1")) {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn reports_too_many_wait_for_their_places() {
        let (places, metrics) = (Places::new(&settings()), Metrics::new());
        let (mut first, _client) = report(&places, &metrics).await;
        let ask = || {
            let (places, metrics) = (places.clone(), metrics.clone());
            tokio::spawn(async move { report(&places, &metrics).await.0 })
        };
        let second = ask();
        until_hit(&metrics, "http_reports").await;
        // While the first waits for its client, the second is worked on.
        drop(first.working.take());
        let _second = second.await.unwrap();
        let third = ask();
        until_hit(&metrics, "http_open_reports").await;
        drop((first, _second));
        third.await.unwrap();
    }

    #[tokio::test]
    async fn what_breaks_off_ends_in_an_error_and_what_is_whole_does_not() {
        let (places, metrics) = (Places::new(&settings()), Metrics::new());
        for whole in [true, false] {
            let (mut report, body) = report(&places, &metrics).await;
            io::Write::write_all(&mut report, b"text").unwrap();
            if whole {
                report.complete();
            }
            drop(report);
            let parts: Vec<_> = body.collect().await;
            assert_eq!(parts[0].as_ref().unwrap(), "text");
            assert_eq!(parts.iter().all(Result::is_ok), whole);
        }
    }
}
