//! All routes on one screen. Each is declared once, with its handler, and is in the OpenAPI document by
//! that: nothing here is added by `.route`.

use axum::{Extension, Router};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{
    Api, HttpSettings, artifacts, extract, fixtures, health, logs, middleware, openapi, policies,
    reports, run_events, runs, suites,
};
use extract::{BodyLimit, Memory};
use middleware::time;

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
        metric: "http_body_bytes",
        memory: Memory::Json,
    });
    let component = Extension(BodyLimit {
        bytes: uploads.component_bytes,
        setting: "compile.component_bytes",
        metric: "component_bytes",
        memory: Memory::Uploads,
    });
    let archive = Extension(BodyLimit {
        bytes: uploads.archive_bytes,
        setting: "sandbox.fixtures.archive_bytes",
        metric: "sandbox.fixtures.archive_bytes",
        memory: Memory::Uploads,
    });
    let short = settings.request_timeout_ms;
    let waiting = short + settings.max_wait_ms;
    let quick = OpenApiRouter::new()
        .routes(routes!(suites::list))
        .routes(routes!(suites::read, suites::delete))
        .routes(routes!(suites::versions))
        .routes(routes!(suites::version))
        .routes(routes!(policies::read, policies::replace))
        .routes(routes!(runs::list))
        .routes(routes!(runs::read))
        .routes(routes!(runs::read_by_number))
        .routes(routes!(runs::test))
        .routes(routes!(runs::cancel))
        .routes(routes!(runs::retry))
        .routes(routes!(run_events::follow))
        .routes(routes!(logs::read))
        .routes(routes!(artifacts::list))
        .routes(routes!(artifacts::read))
        .routes(routes!(reports::read))
        .layer(time(short))
        .layer(json);
    let run = OpenApiRouter::new().routes(routes!(runs::create)).layer(time(waiting)).layer(json);
    let upload = OpenApiRouter::new()
        .routes(routes!(suites::upload))
        .layer(time(settings.upload_timeout_ms))
        .layer(component);
    let files = OpenApiRouter::new()
        .routes(routes!(fixtures::read, fixtures::replace, fixtures::delete))
        .layer(time(settings.upload_timeout_ms))
        .layer(archive);
    let root = OpenApiRouter::new()
        .routes(routes!(openapi::read))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(health::metrics))
        .layer(time(short));
    OpenApiRouter::with_openapi(openapi::head())
        .merge(root)
        .nest("/api/v1", quick.merge(run).merge(upload).merge(files))
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
    middleware::around(routes.with_state(api), &config.http, metrics, loopback)
}
