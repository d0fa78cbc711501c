//! All routes on one screen. Each is declared once, with its handler, and is in the OpenAPI document by
//! that: nothing here is added by `.route`. The pages that people look at have their own list, in `web`.

use axum::middleware::map_response_with_state;
use axum::{Extension, Router};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{
    Api, HttpSettings, artifacts, clear, extract, fixtures, health, logs, middleware, openapi,
    policies, reports, run_events, runs, schedules, suites,
};
use extract::{BodyLimit, Memory};
use middleware::{time, timed_out};

use crate::web::{self, Pages};

/// How large what is uploaded may be.
#[derive(Clone, Copy, Default)]
pub(super) struct Uploads {
    pub(super) component_bytes: u64,
    pub(super) archive_bytes: u64,
}

/// Every route, with its bounds on body and time.
pub(super) fn routes(settings: &HttpSettings, uploads: Uploads) -> OpenApiRouter<Api> {
    let json = Extension(BodyLimit {
        bytes: settings.body_bytes,
        setting: "http.body_bytes",
        memory: Memory::Json,
    });
    let component = Extension(BodyLimit {
        bytes: uploads.component_bytes,
        setting: "compile.component_bytes",
        memory: Memory::Uploads,
    });
    let archive = Extension(BodyLimit {
        bytes: uploads.archive_bytes,
        setting: "sandbox.fixtures.archive_bytes",
        memory: Memory::Uploads,
    });
    let short = settings.request_timeout_ms;
    let waiting = short + settings.max_wait_ms;
    let told = map_response_with_state("http.request_timeout_ms", timed_out);
    let upload_told = map_response_with_state("http.upload_timeout_ms", timed_out);
    let quick = OpenApiRouter::new()
        .routes(routes!(suites::list))
        .routes(routes!(suites::read, suites::delete))
        .routes(routes!(suites::versions))
        .routes(routes!(suites::version))
        .routes(routes!(policies::read, policies::replace))
        .routes(routes!(runs::list))
        .routes(routes!(runs::read))
        .routes(routes!(runs::read_by_number))
        .routes(routes!(runs::setup))
        .routes(routes!(runs::test))
        .routes(routes!(runs::teardown))
        .routes(routes!(runs::cancel))
        .routes(routes!(runs::retry))
        .routes(routes!(clear::clear))
        .routes(routes!(run_events::follow))
        .routes(routes!(logs::read))
        .routes(routes!(artifacts::list))
        .routes(routes!(artifacts::read))
        .routes(routes!(reports::read))
        .merge(scheduled())
        .layer(time(short))
        .layer(told.clone())
        .layer(json);
    let run = OpenApiRouter::new()
        .routes(routes!(runs::create))
        .layer(time(waiting))
        .layer(told.clone())
        .layer(json);
    let upload = OpenApiRouter::new()
        .routes(routes!(suites::upload))
        .layer(time(settings.upload_timeout_ms))
        .layer(upload_told.clone())
        .layer(component);
    let files = OpenApiRouter::new()
        .routes(routes!(fixtures::read, fixtures::replace, fixtures::delete))
        .layer(time(settings.upload_timeout_ms))
        .layer(upload_told)
        .layer(archive);
    let root = OpenApiRouter::new()
        .routes(routes!(openapi::read))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(health::metrics))
        .layer(time(short))
        .layer(told);
    OpenApiRouter::with_openapi(openapi::head())
        .merge(root)
        .nest("/api/v1", quick.merge(run).merge(upload).merge(files))
}

fn scheduled() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(schedules::list, schedules::create))
        .routes(routes!(schedules::read, schedules::change, schedules::delete))
        .routes(routes!(schedules::pause))
        .routes(routes!(schedules::resume))
        .routes(routes!(schedules::trigger))
        .routes(routes!(schedules::history))
}

/// The routes with every layer around them.
pub(super) fn router(api: Api, loopback: bool) -> Router {
    let config = api.app.config.clone();
    let uploads = Uploads {
        component_bytes: config.compile.component_bytes,
        archive_bytes: config.sandbox.fixtures.archive_bytes,
    };
    let (routes, _) = routes(&config.http, uploads).split_for_parts();
    let metrics = api.app.metrics.clone();
    let router = pages(&api).merge(routes.with_state(api));
    middleware::around(router, &config.http, metrics, loopback)
}

/// The pages, with their bounds on time.
fn pages(api: &Api) -> Router {
    let settings = &api.app.config.http;
    let Pages { quick, uploads } = web::pages(api.app.clone(), api.upload_memory.clone());
    let told = map_response_with_state("http.request_timeout_ms", timed_out);
    let quick = quick.layer(time(settings.request_timeout_ms)).layer(told);
    let told = map_response_with_state("http.upload_timeout_ms", timed_out);
    quick.merge(uploads.layer(time(settings.upload_timeout_ms)).layer(told))
}
