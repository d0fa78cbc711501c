//! All routes on one screen. Each is declared once, with its handler, and is in the OpenAPI document by
//! that: nothing here is added by `.route`. The pages that people look at have their own list, in `web`.

use axum::middleware::map_response_with_state;
use axum::{Extension, Router};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{
    Api, HttpSettings, artifacts, clear, extract, fixtures, health, logs, marks, middleware,
    openapi, plugins, policies, reports, retention, run_events, runs, schedules, statistics,
    suites, transfer, triggers,
};
use extract::{BodyLimit, Memory};
use middleware::{time, timed_out};

use crate::web::{self, Pages};

/// How large what is uploaded may be, and what other systems send.
#[derive(Clone, Copy, Default)]
pub(super) struct Uploads {
    pub(super) component_bytes: u64,
    pub(super) archive_bytes: u64,
    pub(super) call_bytes: u64,
}

fn limit(bytes: u64, setting: &'static str, memory: Memory) -> Extension<BodyLimit> {
    Extension(BodyLimit { bytes, setting, memory })
}

/// Every route, with its bounds on body and time.
pub(super) fn routes(settings: &HttpSettings, uploads: Uploads) -> OpenApiRouter<Api> {
    let json = limit(settings.body_bytes, "http.body_bytes", Memory::Json);
    let call = limit(uploads.call_bytes, "webhooks.body_bytes", Memory::Json);
    let component = limit(uploads.component_bytes, "compile.component_bytes", Memory::Uploads);
    let archive = limit(uploads.archive_bytes, "sandbox.fixtures.archive_bytes", Memory::Uploads);
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
        .routes(routes!(marks::list))
        .routes(routes!(marks::put, marks::delete))
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
        .merge(counted())
        .merge(kept())
        .merge(plugged())
        .layer(time(short))
        .layer(told.clone())
        .layer(json);
    let run = OpenApiRouter::new()
        .routes(routes!(runs::create))
        .layer(time(waiting))
        .layer(told.clone())
        .layer(json);
    let calls = OpenApiRouter::new()
        .routes(routes!(triggers::call))
        .layer(time(short))
        .layer(told.clone())
        .layer(call);
    let upload = OpenApiRouter::new()
        .routes(routes!(suites::upload))
        .routes(routes!(plugins::install))
        .layer(time(settings.upload_timeout_ms))
        .layer(upload_told.clone())
        .layer(component);
    let files = OpenApiRouter::new()
        .routes(routes!(fixtures::read, fixtures::replace, fixtures::delete))
        .layer(time(settings.upload_timeout_ms))
        .layer(upload_told)
        .layer(archive);
    let transfer = moved(settings);
    let root = OpenApiRouter::new()
        .routes(routes!(openapi::read))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(health::metrics))
        .layer(time(short))
        .layer(told);
    OpenApiRouter::with_openapi(openapi::head())
        .merge(root)
        .nest("/api/v1", quick.merge(run).merge(calls).merge(upload).merge(files).merge(transfer))
}

fn moved(settings: &HttpSettings) -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(transfer::export))
        .routes(routes!(transfer::import))
        .layer(time(settings.transfer_timeout_ms))
        .layer(map_response_with_state("http.transfer_timeout_ms", timed_out))
}

fn plugged() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(plugins::list))
        .routes(routes!(plugins::read, plugins::change, plugins::delete))
        .routes(routes!(plugins::test))
        .routes(routes!(plugins::deliveries))
        .routes(routes!(plugins::delivery))
        .routes(routes!(plugins::redeliver))
}

fn scheduled() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(schedules::list, schedules::create))
        .routes(routes!(schedules::read, schedules::change, schedules::delete))
        .routes(routes!(schedules::pause))
        .routes(routes!(schedules::resume))
        .routes(routes!(schedules::trigger))
        .routes(routes!(schedules::history))
        .routes(routes!(triggers::list, triggers::create))
        .routes(routes!(triggers::read, triggers::change, triggers::delete))
        .routes(routes!(triggers::history))
}

fn counted() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(statistics::suite))
        .routes(routes!(statistics::tests))
        .routes(routes!(statistics::test))
        .routes(routes!(statistics::confirm))
        .routes(routes!(statistics::failures))
        .routes(routes!(statistics::flaky))
        .routes(routes!(statistics::broken))
}

fn kept() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(retention::read, retention::start))
        .routes(routes!(retention::pin, retention::unpin))
}

/// The routes with every layer around them.
pub(super) fn router(api: Api, loopback: bool) -> Router {
    let config = api.app.config.clone();
    let uploads = Uploads {
        component_bytes: config.compile.component_bytes,
        archive_bytes: config.sandbox.fixtures.archive_bytes,
        call_bytes: config.webhooks.body_bytes,
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
