//! Shows runs on GitHub: a commit status for the run's reference, or a check run with annotations where the
//! token permits that, and one comment on the pull request, kept up to date.

mod api;
mod comment;
mod report;

use api::{Api, Repository};
use handoff_plugin::{
    Annotation, Config, Context, Error, Event, EventKind, Level, Plugin, Result, Run, Wishes,
};

/// Where GitHub's API is.
const API: &str = "https://api.github.com";
/// The label of a suite that names its repository.
const LABEL: &str = "github.repository";
/// The parameter of a run that names its pull request.
const PULL_REQUEST: &str = "pull_request";

/// What is set on a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// A check run where the token permits it, or else a status.
    Auto,
    /// A check run.
    Check,
    /// A status.
    Status,
}

/// The plugin.
pub struct GitHub {
    api_url: String,
    token: String,
    repository: Option<Repository>,
    mode: Mode,
    comments: bool,
    /// What is put before the path of a failure, so that it is one of the repository.
    path_prefix: String,
    events: Vec<EventKind>,
}

impl Plugin for GitHub {
    fn init(config: &Config) -> Result<Self> {
        let mode = match config.get("mode").unwrap_or("auto") {
            "auto" => Mode::Auto,
            "check" => Mode::Check,
            "status" => Mode::Status,
            other => {
                let told = format!("`mode` is {other:?}: write `auto`, `check` or `status`");
                return Err(Error::permanent(told));
            }
        };
        Ok(Self {
            api_url: config.url("api_url", API)?,
            token: config.require("token")?,
            repository: config.get("repository").map(Repository::read).transpose()?,
            mode,
            comments: config.parse("comments", true)?,
            path_prefix: config.get("path_prefix").unwrap_or_default().to_owned(),
            events: config.events("run_started,run_finished,trial"),
        })
    }

    fn wishes(&self) -> Wishes {
        Wishes::events(self.events.iter().cloned()).http(&self.api_url)
    }

    fn handle(&self, event: &Event, cx: &mut Context<'_>) -> Result<Vec<Annotation>> {
        let Some(run) = &event.run else {
            return match (&event.kind, &self.repository) {
                (EventKind::Trial, Some(repository)) => {
                    self.api(repository, cx).reaches()?;
                    Ok(vec![Annotation::new(format!("GitHub shows {repository}"))])
                }
                _ => Ok(Vec::new()),
            };
        };
        let Some(repository) = self.repository_of(run)? else {
            cx.log(
                Level::Warn,
                format!("no repository is known of {}: set `repository`", run.suite),
            );
            return Ok(Vec::new());
        };
        let Some(reference) = run.reference.as_deref().filter(|text| !text.is_empty()) else {
            cx.log(Level::Info, format!("run #{} has no reference to set a status of", run.number));
            return Ok(Vec::new());
        };
        let mut api = self.api(&repository, cx);
        let Some(commit) = api.commit(reference)? else {
            let told = format!("{reference:?} is no commit, branch or tag of {repository}");
            api.cx.log(Level::Warn, told);
            return Ok(Vec::new());
        };
        let mut said = vec![self.report(&mut api, event, run, &commit)?];
        if self.comments && event.kind == EventKind::RunFinished {
            let pull = match run.params.get(PULL_REQUEST).map(|number| number.parse().ok()) {
                Some(number) => number,
                None => api.pull_request(reference, &commit)?,
            };
            if let Some(pull) = pull {
                said.push(comment::keep(&mut api, event, run, pull)?);
            }
        }
        Ok(said)
    }
}

impl GitHub {
    fn api<'a, 'b>(&'a self, repository: &'a Repository, cx: &'a mut Context<'b>) -> Api<'a, 'b> {
        Api { url: &self.api_url, token: &self.token, repository, cx }
    }

    /// The suite's repository, by its label or by configuration.
    fn repository_of(&self, run: &Run) -> Result<Option<Repository>> {
        match run.labels.get(LABEL) {
            Some(name) => Repository::read(name).map(Some),
            None => Ok(self.repository.clone()),
        }
    }
}

handoff_plugin::plugin!(GitHub);

#[cfg(test)]
mod tests;
