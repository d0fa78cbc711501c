//! The OpenAPI document, made from the routes.

use axum::Json;
use utoipa::OpenApi;
use utoipa::openapi::OpenApi as Document;

use super::HttpSettings;
use super::error::Problem;
use super::router::{Uploads, routes};
use super::views::EventView;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Handoff",
        description = "Runs end-to-end tests, written as WebAssembly components, against deployed systems.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    servers((url = "/")),
    components(schemas(Problem, EventView)),
    tags(
        (name = "suites", description = "Suites, their versions, and what they are granted."),
        (name = "runs", description = "Runs, and what they left behind."),
        (name = "schedules", description = "What runs by itself."),
        (name = "triggers", description = "What other systems start by calling."),
        (name = "server", description = "The server itself."),
    ),
)]
struct Head;

/// What the document says beside paths.
pub(super) fn head() -> Document {
    Head::openapi()
}

/// The document of all routes.
pub fn document() -> Document {
    let (_, mut document) = routes(&HttpSettings::default(), Uploads::default()).split_for_parts();
    // axum writes a parameter that may have slashes with a star, OpenAPI without.
    let paths = std::mem::take(&mut document.paths.paths);
    let plain = paths.into_iter().map(|(path, item)| (path.replace("{*", "{"), item));
    document.paths.paths = plain.collect();
    document
}

/// Read this document.
#[utoipa::path(
    get, path = "/api/openapi.json", tag = "server",
    responses((status = 200, body = Object, content_type = "application/json")),
)]
pub(super) async fn read() -> Json<Document> {
    Json(document())
}
