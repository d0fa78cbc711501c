//! What every page has around its content, and how a page becomes an answer.

use askama::Template;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::Web;
use super::assets::Assets;
use super::refusal::Refusal;
use super::visitor::{Visitor, random};
use crate::model::RunStatus;

/// Where the list of a page goes on.
#[derive(Deserialize)]
pub(super) struct From {
    pub(super) cursor: Option<String>,
}

/// What a page's frame needs.
#[derive(Clone, Debug)]
pub(super) struct Page {
    /// The window's title.
    pub(super) title: String,
    /// What forms carry.
    pub(super) token: String,
    /// What makes the page's script ours.
    pub(super) nonce: String,
    pub(super) style: String,
    pub(super) script: String,
    pub(super) icon: String,
    /// Which entry of the navigation it is below.
    pub(super) area: &'static str,
    assets: Assets,
    visitor: Option<Visitor>,
}

impl std::fmt::Debug for Assets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Assets")
    }
}

impl Page {
    fn new(assets: &Assets, visitor: Option<Visitor>) -> Self {
        Self {
            title: String::new(),
            token: visitor.as_ref().map(Visitor::token).unwrap_or_default(),
            nonce: random(),
            style: assets.path("style.css"),
            script: assets.path("page.js"),
            icon: assets.path("icon.svg"),
            area: "",
            assets: assets.clone(),
            visitor,
        }
    }

    /// The same page with its title, below that entry of the navigation.
    pub(super) fn named(mut self, title: impl Into<String>, area: &'static str) -> Self {
        (self.title, self.area) = (title.into(), area);
        self
    }

    /// The same page with an icon that shows a status.
    pub(super) fn showing(mut self, status: RunStatus) -> Self {
        self.icon = self.assets.path(match status {
            RunStatus::Passed => "icon-passed.svg",
            RunStatus::Failed | RunStatus::Error => "icon-failed.svg",
            RunStatus::Queued | RunStatus::Running => "icon-running.svg",
            RunStatus::Cancelled => "icon.svg",
        });
        self
    }
}

impl FromRequestParts<Web> for Page {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Self::Rejection> {
        let visitor = Visitor::from_request_parts(parts, web).await?;
        Ok(Self::new(&web.assets, Some(visitor)))
    }
}

/// The answer with a page. Nothing runs on it but our script, nothing is loaded but from here, and no
/// other site can frame it.
pub(super) fn answer(page: &Page, content: &impl Template) -> Result<Response, Refusal> {
    let html = content.render().map_err(Refusal::internal)?;
    let mut response = html_answer(&page.nonce, html);
    if let Some(cookie) = page.visitor.as_ref().and_then(Visitor::cookie) {
        let cookie = HeaderValue::from_str(&cookie).map_err(Refusal::internal)?;
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

fn html_answer(nonce: &str, html: String) -> Response {
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'self'; img-src 'self'; \
         connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'; trusted-types handoff"
    );
    let mut response = html.into_response();
    let headers = response.headers_mut();
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, html);
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    // Without it a browser would not tell the origin of a form, which is then refused.
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    response
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    page: Page,
    status: u16,
    title: &'a str,
    detail: String,
    request_id: Option<&'a str>,
}

/// A problem as a page, for a browser.
pub(crate) fn error_page(
    status: StatusCode,
    title: &str,
    detail: &str,
    request_id: Option<&str>,
) -> Response {
    let page = Page::new(&Assets::new(), None).named(title, "");
    let nonce = page.nonce.clone();
    let detail = super::text::plain(detail);
    let content = ErrorPage { page, status: status.as_u16(), title, detail, request_id };
    let html = content.render().unwrap_or_else(|_| title.to_owned());
    (status, html_answer(&nonce, html)).into_response()
}
