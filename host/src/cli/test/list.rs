//! Which tests would run.

use std::io::{self, BufWriter, Write as _};

use crate::cli::Output;
use crate::cli::component::{Cache, Reader};
use crate::cli::exit::Failure;
use crate::cli::terminal::safe_line;
use crate::compile::Upload;
use crate::config::Config;
use crate::model::{Name, RunId, RunRequest, SuiteId, SuiteVersion, plan};
use crate::runner::HeadlessError;

/// The tests that `request` chooses, with their names one a line.
pub(super) async fn show(
    config: &Config,
    cache: &Cache,
    component: Upload,
    introduction: &crate::model::Introduction,
    request: RunRequest,
    output: Output,
) -> Result<(), Failure> {
    let reader = Reader::new(config, cache)?;
    let inspection = reader.inspect(component.clone()).await?;
    let described = reader.describe(component, &inspection, introduction).await?;
    let namespace = described.namespace.unwrap_or_else(Name::default_namespace);
    let version = SuiteVersion {
        suite: SuiteId { namespace, name: described.name },
        digest: inspection.digest,
        description: described.description,
        imports: Vec::new(),
        size_bytes: inspection.size_bytes,
        created_at: jiff::Timestamp::now(),
        program: described.program,
        language: inspection.language,
    };
    let (bounds, limits) = (&config.runner.bounds, &config.sandbox.limits);
    let planned = plan(&version, request, bounds, limits, RunId::new(), 1, version.created_at);
    let spec = planned.map_err(HeadlessError::Plan)?;
    let mut out = BufWriter::new(io::stdout());
    match output {
        Output::Json => {
            let named = |name: &str| spec.tests.iter().any(|t| t.name == name && t.skip.is_none());
            let tests = version.description.tests.iter().filter(|test| named(&test.name));
            writeln!(out, "{:#}", serde_json::json!(tests.collect::<Vec<_>>()))?;
        }
        Output::Human => {
            for test in spec.tests.iter().filter(|test| test.skip.is_none()) {
                writeln!(out, "{}", safe_line(&test.name))?;
            }
        }
    }
    Ok(out.flush()?)
}
