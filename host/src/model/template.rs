//! Texts that are filled in from JSON: `deployed {/deployment/sha}`. What is between braces is a JSON pointer
//! (RFC 6901), and behind a `|` what stands for it where the document has nothing there.

use serde_json::Value;

/// A text with places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Place { pointer: String, otherwise: Option<String> },
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTemplate {
    /// A place that does not end, or an end of none.
    #[error(
        "{0:?} has a brace without its other: write `{{{{` or `}}}}` for a brace that is meant"
    )]
    Brace(String),
    /// What is in a place is no pointer.
    #[error(
        "{0:?} is no JSON pointer: write one such as `/deployment/sha`, with `~0` for `~` and `~1` for `/` \
         in a name"
    )]
    Pointer(String),
}

/// The document has nothing where a template looks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the payload has nothing at {0}: write `{{{0}|}}` in the mapping if that is fine")]
pub struct NothingThere(pub String);

impl Template {
    /// Reads a template.
    pub fn new(text: &str) -> Result<Self, InvalidTemplate> {
        let brace = || InvalidTemplate::Brace(text.to_owned());
        let (mut parts, mut plain) = (Vec::new(), String::new());
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            plain += &rest[..at];
            let found = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(found) {
                plain += found;
                rest = after;
                continue;
            }
            if found == "}" {
                return Err(brace());
            }
            let (place, after) = rest.split_once('}').ok_or_else(brace)?;
            rest = after;
            parts.push(Part::Text(std::mem::take(&mut plain)));
            parts.push(place_of(place)?);
        }
        plain += rest;
        parts.push(Part::Text(plain));
        Ok(Self(parts))
    }

    /// The text for a document. Numbers and booleans stand as JSON has them, and so do objects and lists;
    /// null counts as nothing.
    pub fn fill(&self, document: &Value) -> Result<String, NothingThere> {
        let mut filled = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => filled += text,
                Part::Place { pointer, otherwise } => match document.pointer(pointer) {
                    Some(Value::String(text)) => filled += text,
                    Some(Value::Null) | None => {
                        let otherwise = otherwise.as_ref();
                        filled += otherwise.ok_or_else(|| NothingThere(pointer.clone()))?;
                    }
                    Some(other) => filled += &other.to_string(),
                },
            }
        }
        Ok(filled)
    }
}

fn place_of(text: &str) -> Result<Part, InvalidTemplate> {
    let (pointer, otherwise) = match text.split_once('|') {
        Some((pointer, otherwise)) => (pointer, Some(otherwise.to_owned())),
        None => (text, None),
    };
    let escapes = pointer.split('~').skip(1).all(|after| after.starts_with(['0', '1']));
    if !(pointer.is_empty() || pointer.starts_with('/')) || !escapes {
        return Err(InvalidTemplate::Pointer(pointer.to_owned()));
    }
    Ok(Part::Place { pointer: pointer.to_owned(), otherwise })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn filled(template: &str, document: &Value) -> String {
        Template::new(template).unwrap().fill(document).unwrap()
    }

    #[test]
    fn places_are_filled_from_the_document() {
        let document = json!({
            "sha": "f95f852", "n": 7, "yes": true, "list": [{"x": "y"}], "a/b": {"m~n": "odd"}, "": "empty",
        });
        for (template, expected) in [
            ("", ""),
            ("main", "main"),
            ("{/sha}", "f95f852"),
            ("at {/sha}, try {/n}/{/yes}", "at f95f852, try 7/true"),
            ("{/list/0/x}", "y"),
            ("{/list}", r#"[{"x":"y"}]"#),
            ("{/a~1b/m~0n}", "odd"),
            ("{/}", "empty"),
            ("{{{/n}}}", "{7}"),
            ("{/none|main}", "main"),
            ("{/none|}", ""),
            ("{/n|8}", "7"),
        ] {
            assert_eq!(filled(template, &document), expected, "{template}");
        }
        assert_eq!(filled("{}", &json!("all of it")), "all of it");
    }

    #[test]
    fn what_is_missing_is_named() {
        for document in [json!({}), json!({"a": null}), json!({"a": {}}), json!([])] {
            let error = Template::new("{/a/b}").unwrap().fill(&document).unwrap_err();
            assert!(error.to_string().contains("nothing at /a/b"), "{error}");
        }
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for text in ["{/a", "/a}", "{{/a}", "{/a}}"] {
            assert!(matches!(Template::new(text), Err(InvalidTemplate::Brace(_))), "{text}");
        }
        for text in ["{a}", "{/a~}", "{/a~2}", "{ /a}"] {
            assert!(matches!(Template::new(text), Err(InvalidTemplate::Pointer(_))), "{text}");
        }
    }
}
