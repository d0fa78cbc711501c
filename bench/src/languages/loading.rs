//! What happens once: a component is compiled, loaded from the cache, and run for the first time.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use handoff::compile::{CompileSettings, Compiler, Loaded};
use handoff::metrics::Metrics;
use handoff::wasm::{Engines, SandboxSettings};

use super::{NOTHING, Suite, size};
use crate::baseline::Bare;
use crate::figures::{Samples, ms};

pub(super) const HEAD: [&str; 10] = [
    "component",
    "compiled",
    "checked in",
    "compiled in",
    "the same bytes again",
    "from the cache in",
    "that file read and hashed",
    "instantiated in",
    "first attempt",
    "second attempt",
];

/// The time it takes, without the load of the machine ending it.
const PATIENT: u64 = 30 * 60 * 1_000;

pub(super) async fn measure(suite: &Suite<'_>) -> Result<Vec<String>> {
    let dir = tempfile::tempdir()?;
    let cache = dir.path().join("compiled");
    let engines = Engines::new(&SandboxSettings::default())?;
    let fresh = || compiler(&suite.setup.server_binary, &cache, &engines);

    let first = fresh()?;
    let begin = Instant::now();
    first.inspect(suite.component.clone()).await?;
    let checked = begin.elapsed();
    let begin = Instant::now();
    load(&first, suite).await?;
    let compiled = begin.elapsed();
    let begin = Instant::now();
    load(&first, suite).await?;
    let again = begin.elapsed();

    let bare = Bare::on(&engines, suite.metered);
    let (mut loads, mut firsts, mut seconds, mut instances) = (vec![], vec![], vec![], vec![]);
    for _ in 0..suite.setup.rounds.max(5) {
        // Nothing is loaded in it, as after a restart.
        let restarted = fresh()?;
        let begin = Instant::now();
        let loaded = load(&restarted, suite).await?;
        loads.push(begin.elapsed());
        let pre = bare.link(&loaded.component).map_err(in_words)?;
        for times in [&mut firsts, &mut seconds] {
            let begin = Instant::now();
            bare.passing(&pre, NOTHING, &[]).await.map_err(in_words)?;
            times.push(begin.elapsed());
        }
        for _ in 0..10 {
            instances.push(bare.instantiate(&pre).await.map_err(in_words)?);
        }
    }
    let (file, bytes) = largest(&cache)?;
    let [loads, firsts, seconds, instances] =
        [loads, firsts, seconds, instances].map(Samples::from_iter);
    Ok(vec![
        size(suite.component.len() as u64),
        size(bytes),
        ms(checked),
        ms(compiled),
        ms(again),
        ms(loads.median()),
        ms(hashed(&file)?.median()),
        ms(instances.median()),
        ms(firsts.median()),
        ms(seconds.median()),
    ])
}

fn compiler(exe: &Path, cache: &Path, engines: &Engines) -> Result<Compiler> {
    let settings = CompileSettings { cpu_ms: PATIENT, wall_ms: PATIENT, ..Default::default() };
    let (exe, cache) = (exe.to_owned(), cache.to_owned());
    Ok(Compiler::new(exe, cache, settings, engines.clone(), Metrics::new())?)
}

/// What a server does with an upload before it asks it for its tests.
async fn load(compiler: &Compiler, suite: &Suite<'_>) -> Result<Loaded> {
    let inspection = compiler.inspect(suite.component.clone()).await?;
    let bytes = std::future::ready(Ok(suite.component.clone()));
    Ok(compiler.load(inspection.digest, suite.metered, bytes).await?)
}

fn largest(cache: &Path) -> Result<(std::path::PathBuf, u64)> {
    let mut files = Vec::new();
    for file in std::fs::read_dir(cache)? {
        let file = file?;
        files.push((file.path(), file.metadata()?.len()));
    }
    files.into_iter().max_by_key(|(_, bytes)| *bytes).context("nothing was kept in the cache")
}

/// How long it takes to read a file and to hash it: no load of verified code can be faster.
fn hashed(file: &Path) -> Result<Samples> {
    let once = |_| -> Result<Duration> {
        let begin = Instant::now();
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(std::fs::File::open(file)?)?;
        std::hint::black_box(hasher.finalize());
        Ok(begin.elapsed())
    };
    (0..10).map(once).collect()
}

/// wasmtime's errors are not those of the standard library.
pub(super) fn in_words(error: wasmtime::Error) -> anyhow::Error {
    anyhow!("{error:?}")
}
