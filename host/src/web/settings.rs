//! The settings of the web page (config key `[web]`).

use serde::{Deserialize, Serialize};

use crate::model::Name;

/// What the page links to, and what it shows to everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebSettings {
    /// Where a trace of the tested system is found, with `{trace_id}` in place of its id: such as
    /// `https://traces.example.com/trace/{trace_id}`. Default: trace ids are shown without a link.
    pub trace_url: Option<String>,
    /// Namespaces that have a status page, `/status/NAMESPACE`, for people who shall see how the tested
    /// systems are and nothing else. Default: none.
    pub public_status: Vec<Name>,
}

impl WebSettings {
    /// Fails if a trace could not be linked to.
    pub(crate) fn check(&self) -> Result<(), String> {
        let Some(url) = &self.trace_url else { return Ok(()) };
        let is_page = url.starts_with("https://") || url.starts_with("http://");
        if is_page && url.contains("{trace_id}") {
            return Ok(());
        }
        Err(format!(
            "{url:?} is no address of traces: write it as `https://traces.example.com/trace/{{trace_id}}`"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_traces_is_a_page_with_a_place_for_the_id() {
        let check = |url: &str| {
            WebSettings { trace_url: Some(url.into()), ..WebSettings::default() }.check()
        };
        assert_eq!(check("https://traces.example.com/{trace_id}"), Ok(()));
        for wrong in ["https://traces.example.com/", "javascript:{trace_id}", "{trace_id}"] {
            assert!(check(wrong).is_err(), "{wrong}");
        }
    }
}
