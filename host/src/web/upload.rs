//! Bringing a component: what it is, wants and could reach is shown before it is accepted.
//!
//! Until then it lies in a file that has no name, so that it is gone with the process whatever happens. What
//! was compiled for the preview is not compiled again.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::sync::{Mutex, PoisonError};

use askama::Template;
use axum::extract::{Multipart, State};
use axum::http::{HeaderMap, header};
use axum::response::{Redirect, Response};
use bytes::Bytes;
use serde::Deserialize;
use tokio::sync::watch;

use super::page::{self, Page};
use super::show;
use super::text::{self, Html};
use super::visitor::{self, Form};
use super::{Path, Refusal, Web, markdown};
use crate::model::{Digest, Introduction, Name, Step, SuiteVersion};

/// How many components wait to be accepted; the oldest are forgotten.
const WAITING: usize = 16;
/// How many tests are named.
const TESTS: usize = 100;

/// A component that waits to be accepted.
struct Waiting {
    digest: Digest,
    introduction: Introduction,
    file: File,
}

/// Components that wait to be accepted.
#[derive(Default)]
pub(super) struct Staged(Mutex<VecDeque<Waiting>>);

impl Staged {
    fn put(&self, digest: Digest, introduction: Introduction, file: File) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|other| other.digest != digest);
        waiting.push_back(Waiting { digest, introduction, file });
        while waiting.len() > WAITING {
            waiting.pop_front();
        }
    }

    fn take(&self, digest: Digest) -> Option<Waiting> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = waiting.iter().position(|other| other.digest == digest)?;
        waiting.remove(at)
    }
}

#[derive(Template)]
#[template(path = "upload.html")]
struct UploadPage<'a> {
    page: &'a Page,
    most: String,
}

/// The form.
pub(super) async fn read(State(web): State<Web>, page: Page) -> Result<Response, Refusal> {
    let page = page.named("Upload", "suites");
    let most = show::bytes(web.app.config.compile.component_bytes);
    page::answer(&page, &UploadPage { page: &page, most })
}

#[derive(Template)]
#[template(path = "preview.html")]
struct PreviewPage<'a> {
    page: &'a Page,
    version: &'a SuiteVersion,
    is_known: bool,
    digest: String,
    size: String,
    program: Option<String>,
    description: Html,
    owner: Html,
    wants: Vec<Html>,
    granted: Vec<String>,
    capabilities: Vec<&'static str>,
    tests: Vec<(Html, String)>,
    all: usize,
    added: Vec<Html>,
    removed: Vec<Html>,
}

/// Shows what a component is.
pub(super) async fn preview(
    State(web): State<Web>,
    headers: HeaderMap,
    page: Page,
    form: Multipart,
) -> Result<Response, Refusal> {
    // What a form holds in memory counts as every upload does, until it is on the disk.
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let length = length.and_then(|length| length.parse::<u32>().ok()).ok_or_else(|| {
        Refusal::Malformed("the form does not say how long it is: send `content-length`".into())
    })?;
    let held = web.uploads.clone().try_acquire_many_owned(length).map_err(|_| {
        web.app.metrics.server_limit_hit("http.upload_memory_bytes");
        Refusal::Busy
    })?;
    let (introduction, bytes) = fields(&web, &headers, form).await?;
    let (teller, _) = watch::channel(Step::default());
    let version = web.app.runner.inspect(bytes.clone(), introduction.clone(), teller).await?;
    let (directory, digest) = (web.app.config.data_dir.clone(), version.digest);
    let file = tokio::task::spawn_blocking(move || {
        let mut file = tempfile::tempfile_in(directory)?;
        file.write_all(&bytes)?;
        drop((bytes, held));
        Ok::<_, std::io::Error>(file)
    });
    let file = file.await.map_err(Refusal::internal)?.map_err(Refusal::internal)?;
    web.staged.put(digest, introduction, file);
    show_version(&web, page, &version).await
}

/// The fields of the form. The token comes first, so that nothing is read that nobody may send.
async fn fields(
    web: &Web,
    headers: &HeaderMap,
    mut form: Multipart,
) -> Result<(Introduction, Bytes), Refusal> {
    let unreadable =
        |error: axum::extract::multipart::MultipartError| Refusal::Malformed(error.body_text());
    let (mut introduction, mut is_checked) = (Introduction::default(), false);
    while let Some(field) = form.next_field().await.map_err(unreadable)? {
        let name = field.name().unwrap_or_default().to_owned();
        if name == "component" {
            if !is_checked {
                return Err(Refusal::Token);
            }
            let stem = field.file_name().and_then(|file| {
                std::path::Path::new(file).file_stem()?.to_str().and_then(Name::of_program)
            });
            introduction.name = introduction.name.or(stem);
            let bytes = field.bytes().await.map_err(unreadable)?;
            if bytes.len() as u64 > web.app.config.compile.component_bytes {
                web.app.metrics.server_limit_hit("compile.component_bytes");
                return Err(Refusal::Malformed(
                    "the component is too large for this server".into(),
                ));
            }
            return Ok((introduction, bytes));
        }
        let text = field.text().await.map_err(unreadable)?;
        let text = text.trim();
        let wrong = |error: String| Refusal::Malformed(format!("{name}: {error}"));
        match name.as_str() {
            "token" => {
                visitor::check(headers, text)?;
                is_checked = true;
            }
            _ if text.is_empty() => {}
            "namespace" => {
                introduction.namespace = Some(text.parse().map_err(|e| wrong(format!("{e}")))?);
            }
            "name" => introduction.name = Some(text.parse().map_err(|e| wrong(format!("{e}")))?),
            "protocol" => {
                introduction.protocol = Some(text.parse().map_err(|e| wrong(format!("{e}")))?);
            }
            _ => return Err(wrong("the form has no such field".into())),
        }
    }
    Err(Refusal::Malformed("there is no component in the form: choose a file".into()))
}

async fn show_version(web: &Web, page: Page, version: &SuiteVersion) -> Result<Response, Refusal> {
    let suite = version.suite.clone();
    let told =
        web.ask(move |storage| Ok((storage.newest_version(&suite)?, storage.policy(&suite)?)));
    let (newest, policy) = told.await?;
    let policy = policy.unwrap_or_default();
    let granted = policy.allow_http.iter().map(ToString::to_string);
    let granted = granted.chain(policy.allow_tcp.iter().map(|target| format!("tcp {target}")));
    let names = |version: &SuiteVersion| -> Vec<String> {
        version.description.tests.iter().map(|test| test.name.clone()).collect()
    };
    let (now, then) = (names(version), newest.as_ref().map(names));
    let named = |names: Vec<String>| names.iter().map(|name| text::name(name)).collect();
    let described = &version.description;
    let tests = described
        .tests
        .iter()
        .take(TESTS)
        .map(|test| (text::name(&test.name), text::plain(&test.tags.join(", "))));
    let page = page.named(format!("Upload of {}", version.suite), "suites");
    let content = PreviewPage {
        page: &page,
        is_known: newest.as_ref().is_some_and(|newest| newest.digest == version.digest),
        digest: version.digest.to_string(),
        size: show::bytes(version.size_bytes),
        program: version.program.map(|program| program.to_string()),
        description: described.description.as_deref().map(markdown::render).unwrap_or_default(),
        owner: described.owner.as_deref().map(text::guest).unwrap_or_default(),
        wants: described.wants_http.iter().map(|host| text::guest(host)).collect(),
        granted: granted.collect(),
        capabilities: capabilities(&version.imports),
        tests: tests.collect(),
        all: described.tests.len(),
        added: named(
            then.as_ref().map(|then| super::versions::only(&now, then)).unwrap_or_default(),
        ),
        removed: named(then.map(|then| super::versions::only(&then, &now)).unwrap_or_default()),
        version,
    };
    page::answer(&page, &content)
}

/// What a component could do if it was granted, by what it imports.
fn capabilities(imports: &[String]) -> Vec<&'static str> {
    const KNOWN: [(&str, &str); 7] = [
        ("wasi:http/", "send HTTP requests, to where it is granted"),
        ("wasi:sockets/", "open TCP connections, to where it is granted"),
        ("wasi:filesystem/", "read its fixtures, and write files that are gone after each attempt"),
        ("wasi:config/", "read parameters and configuration"),
        ("wasi:random/", "draw random numbers"),
        ("wasi:clocks/", "tell the time"),
        ("wasi:cli/environment", "read the variables and arguments that it is given"),
    ];
    let known = KNOWN.iter().filter(|(prefix, _)| imports.iter().any(|it| it.starts_with(prefix)));
    known.map(|(_, words)| *words).collect()
}

/// A form with nothing but its token.
#[derive(Deserialize)]
pub(super) struct Nothing {}

/// Takes a component in that was shown.
pub(super) async fn accept(
    State(web): State<Web>,
    Path(digest): Path<Digest>,
    Form(Nothing {}): Form<Nothing>,
) -> Result<Redirect, Refusal> {
    let waiting = web.staged.take(digest).ok_or_else(|| {
        Refusal::Missing(
            "this upload was accepted already, or is forgotten: upload it again".into(),
        )
    })?;
    let Waiting { introduction, mut file, .. } = waiting;
    let read = tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(0))?;
        file.read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>(bytes)
    });
    let bytes = read.await.map_err(Refusal::internal)?.map_err(Refusal::internal)?;
    let (teller, _) = watch::channel(Step::default());
    let (version, _) = web.app.runner.upload(bytes.into(), introduction, None, teller).await?;
    Ok(Redirect::to(&format!("/suites/{}", version.suite)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_upload_that_nobody_accepted_is_forgotten() {
        let staged = Staged::default();
        let digest = |n: usize| Digest::of(&n.to_le_bytes());
        for n in 0..=WAITING {
            staged.put(digest(n), Introduction::default(), tempfile::tempfile().unwrap());
        }
        assert!(staged.take(digest(0)).is_none());
        assert!(staged.take(digest(1)).is_some() && staged.take(digest(1)).is_none());
    }
}
