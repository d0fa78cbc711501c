//! `suite!`: the header, as one registered constant.

use crate::options::{self, Entry};
use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::parse::Parser;
use syn::{Error, LitStr, Result};

const KNOWN: &[&str] = &[
    "name",
    "namespace",
    "description",
    "owner",
    "timeout",
    "attempts",
    "parallelism",
    "links",
    "labels",
    "wants_http",
];

pub(crate) fn expand(input: TokenStream) -> Result<TokenStream> {
    let mut fields = Vec::new();
    let mut named = false;
    for entry in options::list.parse2(input)? {
        let key = &entry.key;
        let value = match key.to_string().as_str() {
            "name" => {
                named = true;
                let name = suite_name(&entry)?;
                quote!(#name)
            }
            "namespace" => {
                let name = suite_name(&entry)?;
                quote!(::core::option::Option::Some(#name))
            }
            "description" | "owner" => {
                let text = entry.text()?;
                quote!(::core::option::Option::Some(#text))
            }
            "timeout" => entry.duration()?,
            "attempts" | "parallelism" => entry.count()?,
            "links" | "labels" | "wants_http" => entry.array()?,
            _ => return Err(entry.unknown(KNOWN)),
        };
        // `timeout` is the one key that is not called like its field.
        fields.push(if key == "timeout" {
            quote!(timeout_ms: #value)
        } else {
            quote!(#key: #value)
        });
    }
    if !named {
        return Err(Error::new(Span::call_site(), "a suite needs a `name: \"…\"`"));
    }
    Ok(quote! {
        ::handoff_sdk::__private::inventory::submit! {
            ::handoff_sdk::__private::Header {
                #(#fields,)*
                file: ::core::file!(),
                line: ::core::line!(),
                ..::handoff_sdk::__private::Header::EMPTY
            }
        }
    })
}

/// The rule of `suite-description.name` in the contract, checked while compiling.
fn suite_name(entry: &Entry) -> Result<&LitStr> {
    let name = entry.literal_text()?;
    let text = name.value();
    let mut bytes = text.bytes();
    let head = bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let tail = bytes
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.'));
    if head && tail && text.len() <= 64 {
        return Ok(name);
    }
    let message = format!(
        "`{}` needs lower-case letters, digits, `-`, `_` and `.`, at most 64, starting with a letter \
         or digit",
        entry.key
    );
    Err(Error::new_spanned(name, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(source: &str) -> String {
        expand(source.parse().unwrap()).unwrap_err().to_string()
    }

    #[test]
    fn a_header_with_everything_is_taken() {
        let source = r#"name: "hello", namespace: "n.1", description: include_str!("x"), owner: "o",
            timeout: "5s", attempts: 1, parallelism: 2, links: [("a", "b")], labels: [],
            wants_http: ["http://127.0.0.1:8080"]"#;
        expand(source.parse().unwrap()).unwrap();
    }

    #[test]
    fn what_is_wrong_with_a_header_is_said() {
        assert_eq!(error(""), "a suite needs a `name: \"…\"`");
        assert!(error(r#"name: "Hello""#).starts_with("`name` needs lower-case letters"));
        assert!(error(r#"name: "-a""#).starts_with("`name` needs lower-case letters"));
        assert!(error(&format!("name: {:?}", "a".repeat(65))).contains("at most 64"));
        assert!(
            error(r#"name: "a", tiemout: "5s""#).contains("no option `tiemout`; there are: name")
        );
        assert!(error(r#"name: "a", timeout: 5"#).contains("a duration such as"));
        assert!(error(r#"name: "a", links: "b""#).contains("`links` needs a list"));
    }
}
