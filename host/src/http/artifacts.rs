//! Files that attempts kept. Their content and media type are hostile: they are only ever downloaded,
//! never shown by a browser under this origin.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use super::Api;
use super::error::{ApiError, Problem};
use super::extract::Path;
use super::runs::no_run;
use super::views::{List, RunArtifactView};
use crate::model::{EventKind, RunId};
use crate::storage::{Storage, StorageError};

/// How many events are looked through at a time.
const EVENTS_AT_ONCE: usize = 1_000;

/// List the files that a run's attempts kept. Not paged: a run's artifacts are bounded by its limits.
#[utoipa::path(
    get, path = "/runs/{id}/artifacts", tag = "runs",
    params(("id" = String, Path, format = "uuid")),
    responses(
        (status = 200, body = List<RunArtifactView>),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(
    State(api): State<Api>,
    Path(id): Path<RunId>,
) -> Result<Json<List<RunArtifactView>>, ApiError> {
    let items = api.ask(move |storage| artifacts(storage, id)).await?;
    Ok(Json(List { items: items.ok_or_else(|| no_run(id))?, next_cursor: None }))
}

/// Download a file that an attempt kept, by its number in the list or by its digest.
#[utoipa::path(
    get, path = "/runs/{id}/artifacts/{number}", tag = "runs",
    params(("id" = String, Path, format = "uuid"), ("number" = String, Path)),
    responses(
        (status = 200, content_type = "application/octet-stream", body = Vec<u8>),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn read(
    State(api): State<Api>,
    Path((id, which)): Path<(RunId, String)>,
) -> Result<Response, ApiError> {
    let all = api.ask(move |storage| artifacts(storage, id)).await?.ok_or_else(|| no_run(id))?;
    let wanted = |a: &RunArtifactView| {
        a.number.to_string() == which || a.artifact.digest.to_string() == which
    };
    let missing = || ApiError::not_found(format!("the run {id} has no artifact {which:?}"));
    let found = all.into_iter().find(wanted).ok_or_else(missing)?.artifact;
    let content = api.app.storage.artifact(&found.digest).await?.ok_or_else(missing)?;
    let headers = [
        (header::CONTENT_TYPE, media_type(&found.media_type)),
        (header::CONTENT_DISPOSITION, attachment(&found.name)),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox")),
    ];
    Ok((headers, content).into_response())
}

/// A run's artifacts in the order in which attempts ended; none if there is no such run.
fn artifacts(storage: &Storage, id: RunId) -> Result<Option<Vec<RunArtifactView>>, StorageError> {
    let mut found = Vec::new();
    let mut after = 0;
    loop {
        let events = storage.events(id, after, EVENTS_AT_ONCE)?;
        let Some(last) = events.last() else { break };
        after = last.seq;
        for event in &events {
            let EventKind::AttemptFinished { stage, attempt } = &event.kind else { continue };
            for artifact in &attempt.artifacts {
                found.push(RunArtifactView {
                    number: found.len() as u64 + 1,
                    stage: stage.into(),
                    round: attempt.round,
                    attempt: attempt.number,
                    artifact: artifact.into(),
                });
            }
        }
        if events.len() < EVENTS_AT_ONCE {
            break;
        }
    }
    Ok((after > 0).then_some(found))
}

/// The media type, if it is one.
fn media_type(text: &str) -> HeaderValue {
    let token = |part: &str| {
        let ok = |c: u8| c.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&c);
        !part.is_empty() && part.bytes().all(ok)
    };
    let essence = text.split(';').next().unwrap_or_default().trim();
    let sane = essence.split_once('/').is_some_and(|(kind, rest)| token(kind) && token(rest));
    let value = sane.then(|| HeaderValue::from_str(essence).ok()).flatten();
    value.unwrap_or(HeaderValue::from_static("application/octet-stream"))
}

/// `Content-Disposition` with the name for every client (RFC 6266): a plain one for the old, and the
/// real one in UTF-8 (RFC 8187).
fn attachment(name: &str) -> HeaderValue {
    let plain: String = name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    let mut encoded = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    let text = format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}");
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("attachment"))
}

/// Whether a character can stand between quotes and in a file's name anywhere.
fn is_plain(c: char) -> bool {
    matches!(c, ' '..='~')
        && !matches!(c, '"' | '\\' | '/' | '%' | ':' | '*' | '?' | '<' | '>' | '|')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_header_or_name_a_path() {
        assert_eq!(
            attachment("größe \"1\"\r\nx: y/../z.txt"),
            "attachment; filename=\"gr__e _1___x_ y_.._z.txt\"; \
             filename*=UTF-8''gr%C3%B6%C3%9Fe%20%221%22%0D%0Ax%3A%20y%2F..%2Fz.txt"
        );
    }

    #[test]
    fn only_what_is_a_media_type_is_sent_as_one() {
        assert_eq!(media_type("text/html; charset=utf-8"), "text/html");
        assert_eq!(media_type("image/svg+xml"), "image/svg+xml");
        for odd in ["", "x", "a/b\r\nc", "a b/c", "/", "a/"] {
            assert_eq!(media_type(odd), "application/octet-stream", "{odd:?}");
        }
    }
}
