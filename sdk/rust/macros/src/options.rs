//! Reads `key`, `key = value` and `key: value` lists, and the values that are checked while
//! compiling: durations, counts and names.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Error, Expr, ExprLit, Ident, Lit, LitStr, Result, Token};

/// One option as written.
pub(crate) struct Entry {
    pub(crate) key: Ident,
    value: Option<Expr>,
}

impl Parse for Entry {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let key = input.parse()?;
        let value = if input.peek(Token![=]) {
            input.parse::<Token![=]>()?;
            Some(input.parse()?)
        } else if input.peek(Token![:]) {
            input.parse::<Token![:]>()?;
            Some(input.parse()?)
        } else {
            None
        };
        Ok(Self { key, value })
    }
}

/// Parses a list of options separated by commas and refuses one that is given twice.
pub(crate) fn list(input: ParseStream<'_>) -> Result<Vec<Entry>> {
    let entries: Vec<Entry> =
        Punctuated::<Entry, Token![,]>::parse_terminated(input)?.into_iter().collect();
    for (index, entry) in entries.iter().enumerate() {
        if entries[..index].iter().any(|earlier| earlier.key == entry.key) {
            return Err(entry.error(format!("`{}` is given twice", entry.key)));
        }
    }
    Ok(entries)
}

impl Entry {
    pub(crate) fn error(&self, message: impl std::fmt::Display) -> Error {
        Error::new(self.key.span(), message)
    }

    /// The error for a key that is none of `known`.
    pub(crate) fn unknown(&self, known: &[&str]) -> Error {
        self.error(format!("there is no option `{}`; there are: {}", self.key, known.join(", ")))
    }

    fn value(&self) -> Result<&Expr> {
        let missing = || self.error(format!("`{0}` needs a value: `{0} = …`", self.key));
        self.value.as_ref().ok_or_else(missing)
    }

    fn literal(&self, wanted: &str) -> Result<&Lit> {
        match self.value()? {
            Expr::Lit(ExprLit { lit, .. }) => Ok(lit),
            other => Err(Error::new_spanned(other, format!("`{}` needs {wanted}", self.key))),
        }
    }

    /// A switch: it is there, without a value.
    pub(crate) fn switch(&self) -> Result<bool> {
        match &self.value {
            None => Ok(true),
            Some(value) => Err(Error::new_spanned(value, format!("`{}` takes no value", self.key))),
        }
    }

    /// Any constant text.
    pub(crate) fn text(&self) -> Result<TokenStream> {
        Ok(self.value()?.to_token_stream())
    }

    /// A text that is written out here, for what is checked while compiling.
    pub(crate) fn literal_text(&self) -> Result<&LitStr> {
        match self.literal("a text")? {
            Lit::Str(text) => Ok(text),
            other => Err(Error::new_spanned(other, format!("`{}` needs a text", self.key))),
        }
    }

    /// A list, as a reference to an array.
    pub(crate) fn array(&self) -> Result<TokenStream> {
        match self.value()? {
            Expr::Array(array) => Ok(quote!(&#array)),
            other => Err(Error::new_spanned(other, format!("`{}` needs a list: `[…]`", self.key))),
        }
    }

    /// A whole number of at least 1.
    pub(crate) fn count(&self) -> Result<TokenStream> {
        let literal = self.literal("a whole number")?;
        let number = match literal {
            Lit::Int(number) => number.base10_parse::<u32>().ok().filter(|number| *number > 0),
            _ => None,
        };
        let wrong =
            || Error::new_spanned(literal, format!("`{}` needs a whole number from 1", self.key));
        let number = number.ok_or_else(wrong)?;
        Ok(quote!(::core::option::Option::Some(#number)))
    }

    /// A duration, in milliseconds.
    pub(crate) fn duration(&self) -> Result<TokenStream> {
        let text = match self.literal("a duration such as \"500ms\"")? {
            Lit::Str(text) => text,
            other => {
                let message = format!("`{}` needs a duration such as \"500ms\"", self.key);
                return Err(Error::new_spanned(other, message));
            }
        };
        let millis = milliseconds(&text.value())
            .map_err(|problem| Error::new_spanned(text, format!("`{}` {problem}", self.key)))?;
        Ok(quote!(::core::option::Option::Some(#millis)))
    }
}

/// A duration in words, such as `1m 30s`, in whole milliseconds.
fn milliseconds(text: &str) -> std::result::Result<u64, String> {
    const EXAMPLES: &str = "\"500ms\", \"5s\" or \"1m 30s\"";
    let duration = humantime::parse_duration(text)
        .map_err(|problem| format!("is no duration such as {EXAMPLES}: {problem}"))?;
    if duration.is_zero() || duration.subsec_nanos() % 1_000_000 != 0 {
        return Err("must be at least a millisecond, in whole milliseconds".into());
    }
    u64::try_from(duration.as_millis()).map_err(|_| "is too long".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use syn::parse::Parser;

    fn entry(source: &str) -> Entry {
        syn::parse_str(source).unwrap()
    }

    #[test]
    fn durations_are_read_in_the_usual_units() {
        for (text, millis) in
            [("1ms", 1), ("500ms", 500), ("5s", 5_000), ("1m 30s", 90_000), ("2h", 7_200_000)]
        {
            assert_eq!(milliseconds(text), Ok(millis), "{text}");
        }
    }

    #[test]
    fn a_duration_that_is_none_is_refused_with_examples() {
        for text in ["", "5", "s", "-1s", "5 parsecs", "1.5.5s"] {
            let problem = milliseconds(text).unwrap_err();
            assert!(problem.contains("500ms"), "{text}: {problem}");
        }
    }

    #[test]
    fn a_duration_of_nothing_or_of_less_than_a_millisecond_is_refused() {
        for text in ["0s", "0ms", "10us", "1s 5us"] {
            assert!(milliseconds(text).unwrap_err().contains("whole milliseconds"), "{text}");
        }
    }

    #[test]
    fn a_count_is_at_least_one() {
        assert!(entry("attempts = 3").count().is_ok());
        for source in ["attempts = 0", "attempts = \"3\"", "attempts = 5_000_000_000", "attempts"] {
            assert!(entry(source).count().is_err(), "{source}");
        }
    }

    #[test]
    fn an_option_given_twice_is_refused() {
        let error = list.parse_str("soft, timeout = \"5s\", soft").err().unwrap();
        assert_eq!(error.to_string(), "`soft` is given twice");
    }
}
