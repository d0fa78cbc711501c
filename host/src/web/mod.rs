//! The page: what people look at. One file per page, its template in `templates` beside it.
//!
//! Pages are made of what the runner, the scheduler and the store tell, with the same words and by the same
//! rules as the API; what they change goes through the same calls. What cannot be done is a
//! [`Refusal`], which the layers of the API turn into an answer. Everything that a guest wrote goes
//! through [`text`], [`ansi`] or [`markdown`].

mod about;
mod actions;
mod ansi;
mod artifacts;
mod assets;
mod attempt;
mod badge;
mod comparison;
mod grid;
mod groups;
mod home;
mod logs;
mod markdown;
mod marks;
mod page;
mod plugins;
mod policy;
mod public;
mod reach;
mod refusal;
mod retention;
mod rows;
mod run;
mod schedules;
mod search;
mod settings;
mod show;
mod standing;
mod status;
mod suite;
mod suites;
mod test;
mod text;
mod triggers;
mod upload;
mod versions;
mod visitor;
mod waits;
mod waterfall;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRequestParts};
use axum::http::request::Parts;
use axum::routing::{get, post};
use tokio::sync::Semaphore;

pub(crate) use page::error_page;
pub(crate) use refusal::{Refusal, Refused};
pub use settings::WebSettings;

use crate::app::App;
use crate::storage::{Storage, StorageError};
use assets::Assets;
use rows::Rows;
use upload::Staged;

/// What pages share.
#[derive(Clone)]
pub(crate) struct Web {
    app: App,
    assets: Assets,
    rows: Arc<Rows>,
    /// Bytes that uploads may still take, those to the API included.
    uploads: Arc<Semaphore>,
    staged: Arc<Staged>,
}

/// Bytes of a form: parameters of a run are its largest part, and have 64 KiB by default.
const FORM_BYTES: usize = 512 << 10;

/// Every page: those that answer at once, and those that take a component in.
pub(crate) struct Pages {
    pub(crate) quick: Router,
    pub(crate) uploads: Router,
}

/// Every page. Uploads take of that memory.
pub(crate) fn pages(app: App, uploads: Arc<Semaphore>) -> Pages {
    let (assets, rows, staged) = (Assets::new(), Arc::default(), Arc::default());
    let component = usize::try_from(app.config.compile.component_bytes).unwrap_or(usize::MAX);
    let web = Web { app, assets, rows, uploads, staged };
    let uploads = Router::new()
        .route("/upload", get(upload::read).post(upload::preview))
        .route("/upload/{digest}/accept", post(upload::accept))
        .layer(DefaultBodyLimit::max(component.saturating_add(FORM_BYTES)))
        .with_state(web.clone());
    Pages { quick: quick(web), uploads }
}

fn quick(web: Web) -> Router {
    Router::new()
        .route("/", get(home::read))
        .route("/assets/{digest}/{name}", get(assets::read))
        .route("/suites", get(suites::read))
        .route("/suites/{namespace}/{name}", get(suite::read))
        .route("/suites/{namespace}/{name}/matches", get(suite::matches))
        .route("/suites/{namespace}/{name}/runs", post(actions::start))
        .route("/suites/{namespace}/{name}/runs/{number}", get(run::by_number))
        .route("/suites/{namespace}/{name}/versions", get(versions::read))
        .route("/suites/{namespace}/{name}/badge.svg", get(badge::read))
        .route("/suites/{namespace}/{name}/status.txt", get(status::suite))
        .route("/suites/{namespace}/{name}/failures", get(groups::read))
        .route("/suites/{namespace}/{name}/policy", get(policy::read).post(policy::replace))
        .route("/suites/{namespace}/{name}/marks", post(marks::set))
        .route("/suites/{namespace}/{name}/unmark", post(marks::unset))
        .route("/suites/{namespace}/{name}/confirm", post(actions::confirm))
        .route("/suites/{namespace}/{name}/tests/{*test}", get(test::read))
        .route("/runs", get(search::read))
        .route("/runs/{id}", get(run::read))
        .route("/runs/{id}/setup", get(attempt::setup))
        .route("/runs/{id}/teardown", get(attempt::teardown))
        .route("/runs/{id}/tests/{*test}", get(attempt::test))
        .route("/runs/{id}/cancel", post(actions::cancel))
        .route("/runs/{id}/retry", post(actions::retry))
        .route("/runs/{id}/again", post(actions::again))
        .route("/runs/{id}/clear", post(actions::clear))
        .route("/runs/{id}/pin", post(actions::pin))
        .route("/runs/{id}/unpin", post(actions::unpin))
        .route("/schedules", get(schedules::read))
        .route("/schedules/{name}", get(schedules::one))
        .route("/schedules/{name}/{action}", post(schedules::act))
        .route("/triggers", get(triggers::read))
        .route("/triggers/{name}", get(triggers::one))
        .route("/plugins", get(plugins::read))
        .route("/plugins/{name}", get(plugins::one))
        .route("/plugins/{name}/{action}", post(plugins::act))
        .route("/plugins/{name}/deliveries/{number}", get(plugins::delivery))
        .route("/plugins/{name}/deliveries/{number}/redeliver", post(plugins::redeliver))
        .route("/retention", get(retention::read).post(retention::start))
        .route("/status.txt", get(status::all))
        .route("/status/{namespace}", get(public::read))
        .route("/about", get(about::read))
        .layer(DefaultBodyLimit::max(FORM_BYTES))
        .with_state(web)
}

impl Web {
    /// Asks the store, off the threads that answer requests.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Storage) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let storage = self.app.storage.clone();
        let answer = tokio::task::spawn_blocking(move || question(&storage)).await;
        Ok(answer.map_err(Refusal::internal)??)
    }
}

/// The path's parameters. One that cannot be read names nothing that exists.
struct Path<T>(T);

impl<T: serde::de::DeserializeOwned + Send> FromRequestParts<Web> for Path<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Refusal> {
        let path = axum::extract::Path::from_request_parts(parts, web).await;
        path.map(|path| Self(path.0)).map_err(|_| {
            Refusal::Missing("there is no such page: see all suites, or all runs".to_owned())
        })
    }
}
