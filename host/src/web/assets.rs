//! The files that pages load: one style sheet, one script, icons. They are part of the binary, and are
//! addressed by their digest, so that a browser keeps each for ever and never has an old one.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Web;

/// A file with the name that a page calls it by.
struct Asset {
    name: &'static str,
    media_type: &'static str,
    content: &'static [u8],
    /// Where it is.
    path: String,
}

/// Every file.
#[derive(Clone)]
pub(super) struct Assets(Arc<[Asset]>);

const SVG: &str = "image/svg+xml";

impl Assets {
    /// The files with their addresses.
    pub(super) fn new() -> Self {
        let files: [(_, _, &'static [u8]); 6] = [
            ("style.css", "text/css; charset=utf-8", include_bytes!("assets/style.css")),
            ("page.js", "text/javascript; charset=utf-8", include_bytes!("assets/page.js")),
            ("icon.svg", SVG, include_bytes!("assets/icon.svg")),
            ("icon-passed.svg", SVG, include_bytes!("assets/icon-passed.svg")),
            ("icon-failed.svg", SVG, include_bytes!("assets/icon-failed.svg")),
            ("icon-running.svg", SVG, include_bytes!("assets/icon-running.svg")),
        ];
        let assets = files.map(|(name, media_type, content)| {
            let digest = blake3::hash(content).to_hex();
            Asset { name, media_type, content, path: format!("/assets/{}/{name}", &digest[..16]) }
        });
        Self(assets.into())
    }

    /// Where a file is.
    pub(super) fn path(&self, name: &str) -> String {
        self.0.iter().find(|asset| asset.name == name).map_or_else(String::new, |a| a.path.clone())
    }
}

/// A file by its address.
pub(super) async fn read(
    State(web): State<Web>,
    Path((digest, name)): Path<(String, String)>,
) -> Response {
    let path = format!("/assets/{digest}/{name}");
    let Some(asset) = web.assets.0.iter().find(|asset| asset.path == path) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let headers = [
        (header::CONTENT_TYPE, asset.media_type),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    (headers, asset.content).into_response()
}
