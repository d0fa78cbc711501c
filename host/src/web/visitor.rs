//! Who may change something: a page of ours in the browser that was given it. A visitor has a cookie
//! that no script can read and no other site's request carries, and each form has a token that follows
//! from it. This comes on top of the check of a request's origin, which every changing request passes.

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use rand::RngExt as _;
use serde::de::DeserializeOwned;

use super::Web;
use super::refusal::Refusal;

const COOKIE: &str = "handoff_visitor";
/// What tokens are derived for.
const CONTEXT: &str = "handoff 2026-11 token of a form on a page";

/// Whoever looks at a page.
#[derive(Clone, Debug)]
pub(super) struct Visitor {
    id: String,
    /// Whether the browser does not have the cookie yet.
    is_new: bool,
}

impl Visitor {
    /// The visitor whose cookie came with the request, or a new one.
    fn of(headers: &HeaderMap) -> Self {
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
        let known = cookies.flat_map(|line| line.split(';')).find_map(|cookie| {
            let id = cookie.trim().strip_prefix(COOKIE)?.strip_prefix('=')?;
            (id.len() == 32 && id.bytes().all(|c| c.is_ascii_hexdigit())).then(|| id.to_owned())
        });
        match known {
            Some(id) => Self { id, is_new: false },
            None => Self { id: random(), is_new: true },
        }
    }

    /// What this visitor's forms carry.
    pub(super) fn token(&self) -> String {
        blake3::Hash::from(blake3::derive_key(CONTEXT, self.id.as_bytes())).to_hex().to_string()
    }

    /// The header that gives the browser its cookie, if it has none.
    pub(super) fn cookie(&self) -> Option<String> {
        let id = &self.id;
        self.is_new.then(|| format!("{COOKIE}={id}; Path=/; HttpOnly; SameSite=Lax"))
    }

    /// Whether a form is this visitor's own. Compared in a time that does not tell how much fits.
    fn owns(&self, token: &str) -> bool {
        let hash = |text: &str| blake3::Hash::from_hex(text).ok();
        !self.is_new && hash(token).is_some_and(|sent| hash(&self.token()) == Some(sent))
    }
}

/// 128 random bits in hexadecimal.
pub(super) fn random() -> String {
    format!("{:032x}", rand::rng().random::<u128>())
}

impl FromRequestParts<Web> for Visitor {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &Web) -> Result<Self, Self::Rejection> {
        Ok(Self::of(&parts.headers))
    }
}

/// Checks a token that did not come in a [`Form`].
pub(super) fn check(headers: &HeaderMap, token: &str) -> Result<(), Refusal> {
    if Visitor::of(headers).owns(token) { Ok(()) } else { Err(Refusal::Token) }
}

/// A form of a page of ours, checked.
pub(super) struct Form<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Web> for Form<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, web: &Web) -> Result<Self, Refusal> {
        let headers = request.headers().clone();
        let form = axum::Form::<Vec<(String, String)>>::from_request(request, web).await;
        let axum::Form(fields) = form.map_err(|error| Refusal::Malformed(error.body_text()))?;
        let token = fields.iter().find(|(name, _)| name == "token");
        check(&headers, token.map_or("", |(_, value)| value))?;
        // What was left empty was not said.
        let said = fields.into_iter().filter(|(name, value)| name != "token" && !value.is_empty());
        let said: serde_json::Map<_, _> = said.map(|(name, value)| (name, value.into())).collect();
        let read = serde_json::from_value(said.into());
        read.map(Self).map_err(|error| Refusal::Malformed(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visitor(cookie: Option<&str>) -> Visitor {
        let mut headers = HeaderMap::new();
        if let Some(cookie) = cookie {
            headers.insert(header::COOKIE, cookie.parse().unwrap());
        }
        Visitor::of(&headers)
    }

    #[test]
    fn a_token_is_good_for_the_visitor_who_was_given_it() {
        let new = visitor(None);
        let cookie = new.cookie().unwrap();
        let known = visitor(Some(&format!("other=1; {}", cookie.split(';').next().unwrap())));
        assert!(known.owns(&new.token()) && known.cookie().is_none());
        assert!(!known.owns(&visitor(None).token()) && !known.owns("") && !known.owns("é"));
        assert!(!new.owns(&new.token()), "without the cookie it is worth nothing");
    }

    #[test]
    fn a_cookie_that_is_not_ours_is_replaced() {
        for cookie in ["handoff_visitor=x", "handoff_visitor=", "handoff_visitor_2=aa"] {
            assert!(visitor(Some(cookie)).is_new, "{cookie}");
        }
    }
}
