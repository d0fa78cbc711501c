//! A text with links and code, as Jira Cloud wants it (a document of Atlassian's format) and as Data Center does
//! (wiki markup).

use serde_json::{Value, json};

/// A part of a text, on lines of its own.
pub(crate) enum Block {
    /// Words.
    Text(String),
    /// A title and where it leads.
    Link(String, String),
    /// What is shown as it is.
    Code(String),
}

/// A document of version 1.
pub(crate) fn document(blocks: &[Block]) -> Value {
    let block = |block: &Block| match block {
        Block::Text(text) => json!({"type": "paragraph", "content": [words(text)]}),
        Block::Link(title, url) => {
            let mut words = words(title);
            words["marks"] = json!([{"type": "link", "attrs": {"href": url}}]);
            json!({"type": "paragraph", "content": [words]})
        }
        Block::Code(text) => json!({"type": "codeBlock", "content": [words(text)]}),
    };
    let content: Vec<_> = blocks.iter().map(block).collect();
    json!({"type": "doc", "version": 1, "content": content})
}

/// Words; of which there must be one.
fn words(text: &str) -> Value {
    json!({"type": "text", "text": if text.is_empty() { "-" } else { text }})
}

/// Wiki markup, in which nothing of the text has a meaning.
pub(crate) fn markup(blocks: &[Block]) -> String {
    let block = |block: &Block| match block {
        Block::Text(text) => escape(text),
        Block::Link(title, url) if title == url => url.clone(),
        Block::Link(title, url) => format!("[{}|{url}]", escape(title)),
        Block::Code(text) => {
            format!("{{noformat}}\n{}\n{{noformat}}", text.replace("{noformat}", "{ noformat}"))
        }
    };
    blocks.iter().map(block).collect::<Vec<_>>().join("\n\n")
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if "\\{}[]*_|^~+!@".contains(character) {
            out.push('\\');
        }
        out.push(character);
    }
    out
}
