//! `Idempotency-Key`: the same key with the same request gets the same answer, with another one 422.
//!
//! The store remembers, with each key, the digest of the request that it came with, in one batch with
//! what the request made: a run, a version, a retry.

use axum::extract::FromRequestParts;
use axum::http::Method;
use axum::http::request::Parts;
use bytes::Bytes;

use super::Api;
use super::error::ApiError;
use super::extract::path_and_query;
use crate::model::Digest;
use crate::storage::IdempotencyKey;

/// The longest key, in bytes.
const MAX_KEY_BYTES: usize = 255;

/// The key that a request came with, if any, and what of the request is known before its body.
pub(super) struct Idempotency {
    key: Option<String>,
    head: String,
}

impl FromRequestParts<Api> for Idempotency {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, ApiError> {
        Self::of(parts)
    }
}

impl Idempotency {
    fn of(parts: &Parts) -> Result<Self, ApiError> {
        let key = match parts.headers.get("idempotency-key") {
            None => None,
            Some(key) => {
                let readable = key.to_str().ok().filter(|key| !key.trim().is_empty());
                let key = readable.filter(|key| key.len() <= MAX_KEY_BYTES).ok_or_else(|| {
                    ApiError::malformed(format!(
                        "the Idempotency-Key must be 1 to {MAX_KEY_BYTES} visible ASCII characters"
                    ))
                })?;
                Some(key.to_owned())
            }
        };
        debug_assert_eq!(parts.method, Method::POST, "only creating needs a key");
        let head = format!("{} {}\n", parts.method, path_and_query(&parts.uri));
        Ok(Self { key, head })
    }

    /// The key with the digest of the whole request.
    pub(super) fn over(self, body: &Bytes) -> Option<IdempotencyKey> {
        let key = self.key?;
        let mut request = self.head.into_bytes();
        request.extend_from_slice(Digest::of(body).as_bytes());
        Some(IdempotencyKey { key, request: Digest::of(&request) })
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn key(uri: &str, key: &str, body: &'static str) -> Result<Option<IdempotencyKey>, ApiError> {
        let request = Request::post(uri).header("idempotency-key", key).body(()).unwrap();
        Ok(Idempotency::of(&request.into_parts().0)?.over(&Bytes::from_static(body.as_bytes())))
    }

    #[test]
    fn the_digest_is_over_path_query_and_body() {
        let digest = |uri, body| key(uri, "k", body).unwrap().unwrap().request;
        let one = digest("/a?b=1", "c");
        assert_eq!(one, digest("/a?b=1", "c"));
        for (uri, body) in [("/a?b=2", "c"), ("/b?b=1", "c"), ("/a?b=1", "d"), ("/a", "c")] {
            assert_ne!(one, digest(uri, body), "{uri} {body}");
        }
    }

    #[test]
    fn a_key_has_a_bound() {
        assert!(key("/", &"k".repeat(MAX_KEY_BYTES), "").is_ok());
        assert!(key("/", &"k".repeat(MAX_KEY_BYTES + 1), "").is_err());
        assert!(key("/", " ", "").is_err());
    }
}
