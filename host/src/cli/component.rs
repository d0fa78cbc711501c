//! A component as the command line itself looks at it, without running its tests.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use super::exit::Failure;
use crate::compile::{CompileSettings, Compiler, Inspection, Loaded, Upload};
use crate::config::{Config, Environment};
use crate::metrics::Metrics;
use crate::model::{Introduction, LimitsPatch, Name, Protocol};
use crate::wasm::{Described, Engines, Sandbox};

/// What is said of a test program that was not written for us. A suite says it itself.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct ProgramArgs {
    /// The name of a test program, which has none of its own [default: that of its file]
    #[arg(long, help_heading = "Test programs")]
    name: Option<Name>,
    /// How its tests are run: libtest, go-test, tap or exit-code [default: found out]
    #[arg(long, help_heading = "Test programs")]
    protocol: Option<Protocol>,
}

impl ProgramArgs {
    /// What is said of the component in `file`.
    pub(super) fn introduction(&self, file: &Path) -> Introduction {
        let stem = || file.file_stem().and_then(|stem| Name::of_program(stem.to_str()?));
        Introduction {
            namespace: None,
            name: self.name.clone().or_else(stem),
            protocol: self.protocol,
        }
    }
}

/// The component in a file that the command line names.
pub(super) fn open_component(path: &Path, settings: &CompileSettings) -> Result<Upload, Failure> {
    std::fs::File::open(path)
        .and_then(|file| Upload::open(file, settings.component_bytes))
        .with_context(|| format!("read {}", path.display()))
        .map_err(Failure::usage)
}

/// Where compiled components are kept between commands, and how long: a directory that is removed when
/// this is dropped, if there is no lasting one.
pub(super) struct Cache {
    /// The directory.
    pub(super) dir: PathBuf,
    _temporary: Option<tempfile::TempDir>,
}

impl Cache {
    /// `$XDG_CACHE_HOME/handoff`, or `~/.cache/handoff`, or a temporary directory if neither can be
    /// made.
    pub(super) fn open(environment: &Environment) -> Result<Self, Failure> {
        let home = || Some(PathBuf::from(environment.get("HOME")?).join(".cache"));
        let given = environment.get("XDG_CACHE_HOME").map(PathBuf::from);
        // The specification of XDG_CACHE_HOME says to pass over relative paths.
        let base = given.filter(|path| path.is_absolute()).or_else(home);
        if let Some(dir) = base.map(|base| base.join("handoff"))
            && std::fs::create_dir_all(&dir).is_ok()
        {
            return Ok(Self { dir, _temporary: None });
        }
        let temporary = tempfile::tempdir()?;
        Ok(Self { dir: temporary.path().to_owned(), _temporary: Some(temporary) })
    }
}

/// What reads components.
pub(super) struct Reader<'a> {
    config: &'a Config,
    engines: Engines,
    compiler: Compiler,
}

impl<'a> Reader<'a> {
    pub(super) fn new(config: &'a Config, cache: &Cache) -> Result<Self, Failure> {
        let exe = std::env::current_exe()?;
        let engines = Engines::new(&config.sandbox).map_err(Failure::platform)?;
        let compiler = Compiler::new(
            exe,
            cache.dir.clone(),
            config.compile.clone(),
            engines.clone(),
            Metrics::new(),
        )?;
        Ok(Self { config, engines, compiler })
    }

    /// What it exports and imports.
    pub(super) async fn inspect(&self, component: Upload) -> Result<Inspection, Failure> {
        Ok(self.compiler.inspect(component).await?)
    }

    /// Whether its instructions are counted where no policy says otherwise.
    pub(super) fn meters(&self, inspection: &Inspection) -> bool {
        let language = inspection.language.as_deref();
        self.config.sandbox.meters(&LimitsPatch::default(), language)
    }

    /// A plugin, ready to be called.
    pub(super) async fn plugin(
        &self,
        component: Upload,
        metered: bool,
    ) -> Result<(Loaded, Sandbox), Failure> {
        let inspection = self.inspect(component.clone()).await?;
        let loaded = self.compiler.load(inspection.digest, metered, component.read()).await?;
        Ok((loaded, self.sandbox()?))
    }

    fn sandbox(&self) -> Result<Sandbox, Failure> {
        let settings = self.config.sandbox.clone();
        let sandbox = Sandbox::new(settings, self.engines.clone(), Metrics::new());
        sandbox.map_err(Failure::platform)
    }

    /// What it says of itself, in the sandbox.
    pub(super) async fn describe(
        &self,
        component: Upload,
        inspection: &Inspection,
        introduction: &Introduction,
    ) -> Result<Described, Failure> {
        let metered = self.meters(inspection);
        let loaded = self.compiler.load(inspection.digest, metered, component.read()).await?;
        let sandbox = self.sandbox()?;
        Ok(sandbox.describe(&loaded, introduction, inspection.language.as_deref()).await?)
    }
}
