//! From the bytes of an upload to a component that can be instantiated.
//!
//! Hostile bytes are looked at in three steps, each dearer than the one before: size and first bytes
//! (`header`), then validation, structure and names (`inspect`), then compilation. The last two happen
//! in a child process with limits of its own (`worker`, and `child` on our side), which also makes
//! components of core modules (`adapt`). Compiled code comes
//! from that child or from our own cache on disk (`cache`), never from elsewhere (`trusted`).
//!
//! Whether a component can be instantiated, and what it says of itself, is `wasm`'s business: for
//! example, a memory that is larger than allowed from the start is refused there, by `describe`.

mod adapt;
mod cache;
mod child;
mod error;
mod features;
mod header;
mod inspect;
mod lane;
mod language;
mod lru;
mod offered;
mod order;
mod reserve;
mod settings;
mod symbols;
mod trusted;
mod upload;
mod worker;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use tokio::sync::watch;
use wasmtime::component::Component;

pub use adapt::component;
pub use error::{Bound, CompileError, Rejection};
pub use order::Kind;
pub use settings::{CompileSettings, Structure};
pub(crate) use symbols::{LeftOut, Symbol, Symbols, readable};
pub use upload::{Upload, read_at_most};
pub use worker::worker_main;

use crate::metrics::Metrics;
use crate::model::{Digest, Step};
use crate::wasm::{Engines, refused_by_pools};
use cache::{Cache, Entry, Finding, Found};
use error::shown;
use lane::Lane;
use lru::Lru;
use order::{Job, Names, Order};
use trusted::Trusted;

/// What a component says of itself before anything is compiled or run.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Inspection {
    /// What it is run as.
    pub kind: Kind,
    /// The language in which it says that it was written, a guess.
    pub language: Option<String>,
    /// The names that it exports; one of them is our interface of tests, or `wasi:cli/run`.
    pub exports: Vec<String>,
    /// The names that it imports; all of them are offered.
    pub imports: Vec<String>,
    /// Its size.
    pub size_bytes: u64,
    /// Its identity.
    pub digest: Digest,
}

/// Compiled and loaded, for one of the two engines. Cheap to clone.
#[derive(Clone)]
pub struct Loaded {
    /// The component.
    pub component: Component,
    /// Whether it counts fuel: which of the two engines it belongs to.
    pub metered: bool,
    /// The component's identity.
    pub digest: Digest,
    /// Files and lines for its backtraces.
    pub(crate) symbols: Arc<Symbols>,
}

/// Inspects, compiles and keeps components. Cheap to clone.
#[derive(Clone)]
pub struct Compiler {
    inner: Arc<Inner>,
    /// Hears what is done for whoever has this handle.
    steps: Option<watch::Sender<Step>>,
}

struct Inner {
    exe: PathBuf,
    settings: CompileSettings,
    engines: Engines,
    /// What is kept on disk: compiled code, by whether it is metered; what inspection told.
    code: [Finding; 2],
    names: Finding,
    metrics: Metrics,
    cache: Cache,
    inspections: Lane,
    compilations: Lane,
    state: Mutex<State>,
}

/// A component for one of the engines.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    digest: Digest,
    metered: bool,
}

struct State {
    loaded: Lru<Key, Loaded>,
    failed: Lru<(Digest, Job), CompileError>,
    loading: HashMap<Key, Loading>,
    inspecting: HashMap<Digest, Inspecting>,
}

/// An inspection on which any number of callers wait. It goes on when they all leave.
type Inspecting = Shared<BoxFuture<'static, Result<Names, CompileError>>>;

impl State {
    fn keep(&mut self, key: Key, loaded: &Loaded) {
        let image = loaded.component.image_range();
        let bytes = (image.end.addr() - image.start.addr()) as u64;
        self.loaded.insert(key, loaded.clone(), bytes + loaded.symbols.bytes());
    }
}

/// A load on which any number of callers wait, and how far it is. It goes on when they all leave.
#[derive(Clone)]
struct Loading {
    end: Shared<BoxFuture<'static, Result<Loaded, CompileError>>>,
    steps: watch::Receiver<Step>,
}

impl Compiler {
    /// `exe` is the `handoff` binary (`std::env::current_exe()`), run as `handoff compile-worker`.
    /// `cache_dir` is made if it is not there; its key lies beside it, as `<cache_dir>.key`.
    pub fn new(
        exe: PathBuf,
        cache_dir: PathBuf,
        settings: CompileSettings,
        engines: Engines,
        metrics: Metrics,
    ) -> Result<Self, CompileError> {
        let cache = Cache::open(cache_dir.clone(), settings.cache_bytes, settings.compiled_bytes)
            .with_context(|| format!("open the compile cache {}", cache_dir.display()))?;
        let code =
            [false, true].map(|metered| Finding::code(engines.get(metered), settings.debug_bytes));
        let names = Finding::names(&exe, &settings.structure);
        let state = State {
            loaded: Lru::new(settings.loaded, settings.loaded_bytes),
            failed: Lru::new(settings.remembered_failures, u64::MAX),
            loading: HashMap::new(),
            inspecting: HashMap::new(),
        };
        let inner = Inner {
            exe,
            code,
            names,
            cache,
            inspections: Lane::new(settings.inspections, settings.queue, "compile.inspections"),
            compilations: Lane::new(settings.concurrency, settings.queue, "compile.concurrency"),
            state: Mutex::new(state),
            settings,
            engines,
            metrics,
        };
        Ok(Self { inner: Arc::new(inner), steps: None })
    }

    /// The same, but what is done by this handle is told to `steps` as it begins.
    pub fn reporting(&self, steps: watch::Sender<Step>) -> Self {
        Self { inner: self.inner.clone(), steps: Some(steps) }
    }

    fn tell(&self, step: Step) {
        if let Some(steps) = &self.steps {
            steps.send_replace(step);
        }
    }

    /// Reads and checks, without compiling: size, header, structure, our export, imports we offer.
    pub async fn inspect(&self, upload: impl Into<Upload>) -> Result<Inspection, CompileError> {
        let inspected = self.checked(upload.into()).await;
        inspected.inspect_err(|error| self.inner.count(error))
    }

    async fn checked(&self, upload: Upload) -> Result<Inspection, CompileError> {
        let inner = &self.inner;
        let (size_bytes, cap_bytes) =
            (upload.size().map_err(unread)?, inner.settings.component_bytes);
        if size_bytes > cap_bytes {
            return Err(Rejection::TooLarge { size_bytes, cap_bytes }.into());
        }
        header::check(&upload.head(header::SAMPLE_BYTES).map_err(unread)?)?;
        let (earlier, content) = (inner.clone(), upload.clone());
        let (name, earlier) = blocking(move || {
            let name = content.hash()?;
            Ok((name, earlier.inspected(name)))
        })
        .await?
        .map_err(unread)?;
        if let Some(inspection) = earlier {
            return Ok(inspection);
        }
        let read = move || upload.bytes().map(|bytes| (Digest::of(&bytes), bytes));
        let (digest, bytes) = blocking(read).await?.map_err(unread)?;
        self.tell(Step::Check);
        let inspecting = {
            let mut state = inner.state();
            if let Some(error) = state.failed.get(&(digest, Job::Inspect)) {
                return Err(error);
            }
            let start = || inner.clone().start_inspection(digest, bytes);
            state.inspecting.entry(digest).or_insert_with(start).clone()
        };
        let Names { kind, language, exports, imports } = inspecting.await?;
        let inspection = Inspection { kind, language, exports, imports, size_bytes, digest };
        let (inner, told) = (inner.clone(), inspection.clone());
        blocking(move || inner.keep_inspection(name, &told)).await?;
        Ok(inspection)
    }

    /// Compiled code: from memory, from the disk cache, or by the child, for which alone `bytes` is
    /// asked. The same is loaded once at a time, however many callers want it.
    pub async fn load(
        &self,
        digest: Digest,
        metered: bool,
        bytes: impl Future<Output = Result<Bytes, CompileError>> + Send + 'static,
    ) -> Result<Loaded, CompileError> {
        let started = Instant::now();
        let key = Key { digest, metered };
        let Loading { mut end, mut steps } = {
            let mut state = self.inner.state();
            if let Some(loaded) = state.loaded.get(&key) {
                self.inner.metrics.compiled("memory", started.elapsed());
                return Ok(loaded);
            }
            if let Some(error) = state.failed.get(&(digest, Job::Compile { metered })) {
                return Err(error);
            }
            state.loading.entry(key).or_insert_with(|| self.start(key, bytes)).clone()
        };
        loop {
            tokio::select! {
                biased;
                result = &mut end => return result,
                Ok(()) = steps.changed() => self.tell(*steps.borrow_and_update()),
            }
        }
    }

    /// Called with the state locked, so that the load cannot end before it is entered there.
    fn start(
        &self,
        key: Key,
        bytes: impl Future<Output = Result<Bytes, CompileError>> + Send + 'static,
    ) -> Loading {
        let inner = self.inner.clone();
        let started = Instant::now();
        let (teller, steps) = watch::channel(Step::default());
        let load = tokio::spawn(async move {
            let work = tokio::spawn(inner.clone().load(key, bytes, teller));
            let result = work.await.unwrap_or_else(|error| Err(anyhow!(error).into()));
            inner.finish(key, &result, started.elapsed());
            result
        });
        let end = async { load.await.unwrap_or_else(|error| Err(anyhow!(error).into())) };
        Loading { end: end.boxed().shared(), steps }
    }
}

impl Inner {
    /// Called with the state locked, so that the inspection cannot end before it is entered there.
    fn start_inspection(self: Arc<Self>, digest: Digest, bytes: Bytes) -> Inspecting {
        let inspection = tokio::spawn(async move {
            let inner = self.clone();
            let work = tokio::spawn(async move { inner.inspect_in_child(&bytes).await });
            let result = work.await.unwrap_or_else(|error| Err(anyhow!(error).into()));
            let mut state = self.state();
            state.inspecting.remove(&digest);
            if let Some(error) = result.as_ref().err().filter(|error| error.is_final()) {
                state.failed.insert((digest, Job::Inspect), error.clone(), 0);
            }
            result
        });
        let end = async { inspection.await.unwrap_or_else(|error| Err(anyhow!(error).into())) };
        end.boxed().shared()
    }

    async fn inspect_in_child(&self, bytes: &Bytes) -> Result<Names, CompileError> {
        let _turn = self.inspections.turn(&self.metrics).await?;
        let names_bytes = self.settings.structure.names * self.settings.structure.name_bytes;
        let bounds = child::Bounds {
            wall_ms: self.settings.inspect_ms,
            // A byte of a name is six in JSON at most; beside the names there is little.
            answer_bytes: names_bytes.saturating_mul(6).saturating_add(1 << 16),
        };
        let order = self.order(Job::Inspect, bytes, self.settings.inspect_ms);
        let answer = child::run(&self.exe, &order, bytes, &bounds).await?;
        Ok(serde_json::from_slice(&answer).context("read the answer of the child process")?)
    }

    /// What an earlier inspection of the same bytes told. They are named by BLAKE3, which takes a
    /// fraction of the time that the digest takes, and is as good here.
    fn inspected(&self, name: [u8; 32]) -> Option<Inspection> {
        match self.cache.content(Entry { hash: name, finding: &self.names }) {
            Found::Nothing => None,
            Found::Content(told) => serde_json::from_slice(&told).ok(),
            Found::Rejected(reason) => {
                tracing::warn!(reason, "what inspection told is not used and deleted");
                None
            }
        }
    }

    fn keep_inspection(&self, name: [u8; 32], told: &Inspection) {
        let entry = Entry { hash: name, finding: &self.names };
        let written = serde_json::to_vec(told).map_err(std::io::Error::other);
        let written = written.and_then(|told| self.cache.write(entry, &told));
        if let Err(error) = written {
            tracing::warn!(%error, digest = %told.digest, "what inspection told was not kept on disk");
        }
    }

    async fn load(
        self: Arc<Self>,
        key: Key,
        bytes: impl Future<Output = Result<Bytes, CompileError>>,
        steps: watch::Sender<Step>,
    ) -> Result<Loaded, CompileError> {
        let inner = self.clone();
        if let Some(loaded) = blocking(move || inner.find_on_disk(key)).await? {
            return Ok(loaded);
        }
        steps.send_replace(Step::Wait);
        let turn = self.compilations.turn(&self.metrics).await?;
        steps.send_replace(Step::Compile);
        let started = Instant::now();
        let bytes = bytes.await?;
        let content = bytes.clone();
        if blocking(move || Digest::of(&content)).await? != key.digest {
            return Err(anyhow!("the stored bytes of {} are damaged", key.digest).into());
        }
        let order = self.order(Job::Compile { metered: key.metered }, &bytes, self.settings.cpu_ms);
        let bounds = child::Bounds {
            wall_ms: self.settings.wall_ms,
            answer_bytes: self.settings.compiled_bytes,
        };
        let answer = child::run(&self.exe, &order, &bytes, &bounds).await?;
        drop(turn);
        let inner = self.clone();
        let loaded = blocking(move || inner.take_in(key, answer)).await??;
        self.metrics.compiled("compiled", started.elapsed());
        Ok(loaded)
    }

    /// Loads what the child made, and keeps it on disk.
    fn take_in(&self, key: Key, answer: Vec<u8>) -> Result<Loaded, CompileError> {
        let entry = self.entry(key);
        let written = self.cache.write(entry, &answer).unwrap_or_else(|error| {
            // It runs all the same; the next start compiles it again.
            tracing::warn!(%error, digest = %key.digest, "a compiled component was not kept on disk");
            None
        });
        let code = Trusted::from_child(answer, written);
        let (component, symbols) = code.load(self.engines.get(key.metered)).map_err(|error| {
            self.cache.remove(entry);
            let why = format!("{error:#}");
            match refused_by_pools(&why) {
                Some(setting) => {
                    self.metrics.server_limit_hit(setting);
                    let why = format!("the engine refuses it (setting `{setting}`): {why}");
                    CompileError::Failed(shown(&why))
                }
                None => CompileError::Failed(shown(&format!("the engine refuses it: {why}"))),
            }
        })?;
        if let Some(LeftOut { bytes, limit }) = symbols.left_out() {
            self.metrics.server_limit_hit("compile.debug_bytes");
            let digest = key.digest;
            tracing::warn!(%digest, bytes, limit, "a component's debug information is not used");
        }
        Ok(loaded(key, component, symbols))
    }

    fn find_on_disk(&self, key: Key) -> Option<Loaded> {
        let started = Instant::now();
        let entry = self.entry(key);
        let reason = match self.cache.code(entry) {
            Found::Nothing => return None,
            Found::Rejected(reason) => reason,
            Found::Content(code) => match code.load(self.engines.get(key.metered)) {
                Ok((component, symbols)) => {
                    self.metrics.compiled("disk", started.elapsed());
                    return Some(loaded(key, component, symbols));
                }
                Err(error) => {
                    self.cache.remove(entry);
                    format!("{error:#}")
                }
            },
        };
        tracing::warn!(digest = %key.digest, reason, "a cached component is not used and deleted");
        self.metrics.compiled("rejected_disk", started.elapsed());
        None
    }

    /// Keeps what came of a load, in the same moment in which it ceases to be under way.
    fn finish(&self, key: Key, result: &Result<Loaded, CompileError>, took: Duration) {
        let mut state = self.state();
        state.loading.remove(&key);
        match result {
            Ok(loaded) => state.keep(key, loaded),
            Err(error) if error.is_final() => {
                let job = Job::Compile { metered: key.metered };
                state.failed.insert((key.digest, job), error.clone(), 0);
            }
            Err(_) => {}
        }
        drop(state);
        if let Err(error) = result {
            self.metrics.compiled("failed", took);
            self.count(error);
        }
    }

    fn count(&self, error: &CompileError) {
        match error {
            CompileError::Limit { name, .. } => self.metrics.server_limit_hit(name),
            CompileError::Rejected(Rejection::TooLarge { .. }) => {
                self.metrics.server_limit_hit("compile.component_bytes");
            }
            CompileError::Rejected(Rejection::TooComplex { bound, .. }) => {
                self.metrics.server_limit_hit(bound.setting());
            }
            _ => {}
        }
    }

    fn order(&self, job: Job, bytes: &Bytes, cpu_ms: u64) -> Order {
        Order {
            job,
            input_bytes: bytes.len() as u64,
            memory_bytes: self.settings.memory_bytes,
            cpu_ms,
            structure: self.settings.structure.clone(),
            debug_bytes: self.settings.debug_bytes,
        }
    }

    fn entry(&self, key: Key) -> Entry<'_> {
        Entry { hash: *key.digest.as_bytes(), finding: &self.code[usize::from(key.metered)] }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn loaded(key: Key, component: Component, symbols: Symbols) -> Loaded {
    let Key { digest, metered } = key;
    Loaded { component, metered, digest, symbols: Arc::new(symbols) }
}

fn unread(error: std::io::Error) -> CompileError {
    CompileError::Unread(error.to_string())
}

/// Runs what would hold up the other tasks of this thread.
async fn blocking<R: Send + 'static>(
    work: impl FnOnce() -> R + Send + 'static,
) -> Result<R, CompileError> {
    Ok(tokio::task::spawn_blocking(work).await.context("work in the background")?)
}
