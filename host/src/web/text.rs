//! What guests and clients wrote, made fit to be shown: escaped, with everything marked that would deceive
//! the eye. All markup of a page that is not in a template is made here and in the modules beside it.

use std::fmt::{self, Write as _};

use unicode_security::MixedScript as _;

/// Markup that is safe to send, because whoever made it escaped what is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Html(String);

impl fmt::Display for Html {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl askama::filters::HtmlSafe for Html {}

impl Html {
    /// Markup that whoever calls this has made safe.
    pub(super) fn made(markup: String) -> Self {
        Self(markup)
    }

    /// Whether there is nothing to show.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A text as somebody wrote it. Letters that run from right to left stay within it.
pub(super) fn guest(text: &str) -> Html {
    let mut html = String::with_capacity(text.len() + 16);
    html.push_str("<bdi>");
    text.replace("\r\n", "\n").chars().for_each(|c| push(&mut html, c));
    html.push_str("</bdi>");
    Html(html)
}

/// A name by which somebody tells one thing from another: look-alikes from other scripts are told of.
pub(super) fn name(text: &str) -> Html {
    let Html(mut html) = guest(text);
    if !text.is_single_script() {
        html.push_str(
            "<span class=\"mixed\" title=\"This name mixes letters of several scripts, \
             some of which may look alike\">mixed scripts</span>",
        );
    }
    Html(html)
}

/// The same as [`guest`] for an attribute, where no markup can be. Escaping is the template's part.
pub(super) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.replace("\r\n", "\n").chars() {
        match deceives(c) {
            true => _ = write!(plain, "\u{27e8}U+{:04X}\u{27e9}", u32::from(c)),
            false => plain.push(c),
        }
    }
    plain
}

/// The address, if it is one that a link may lead to: that of a page, and of nothing that runs.
pub(super) fn leads(url: &str) -> Option<String> {
    let (scheme, _) = url.split_once("://")?;
    let is_page = matches!(scheme.to_ascii_lowercase().as_str(), "http" | "https");
    is_page.then(|| url.to_owned())
}

/// The start of a text, for where there is little room.
pub(super) fn start(text: &str, most: usize) -> String {
    crate::model::short(text, most)
}

/// Escapes a text for markup, between tags or in an attribute in quotes.
pub(super) fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    text.chars().for_each(|c| escape(&mut html, c));
    html
}

fn escape(html: &mut String, c: char) {
    match c {
        '&' => html.push_str("&amp;"),
        '<' => html.push_str("&lt;"),
        '>' => html.push_str("&gt;"),
        '"' => html.push_str("&quot;"),
        '\'' => html.push_str("&#39;"),
        c => html.push(c),
    }
}

/// Adds a character, or a sign that stands for it.
pub(super) fn push(html: &mut String, c: char) {
    if deceives(c) {
        let code = u32::from(c);
        let what = what(c);
        let _ = write!(html, "<span class=\"odd\" title=\"{what}\">U+{code:04X}</span>");
    } else {
        escape(html, c);
    }
}

/// Whether a character is invisible, or changes how others are shown.
fn deceives(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        c if c.is_control() => true,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' => {
            true
        }
        '\u{180b}'..='\u{180f}' | '\u{200b}' | '\u{200e}' | '\u{200f}' => true,
        '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' => true,
        '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}' => true,
        _ => false,
    }
}

fn what(c: char) -> &'static str {
    match c {
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}' => {
            "A character that changes the direction of text"
        }
        c if c.is_control() => "A control character",
        _ => "A character that cannot be seen",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_guest_writes_becomes_markup() {
        let hostile = "<script>alert('1')</script> & \"quoted\"";
        let expected =
            "<bdi>&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt; &amp; &quot;quoted&quot;</bdi>";
        assert_eq!(guest(hostile).to_string(), expected);
    }

    #[test]
    fn what_cannot_be_seen_is_shown() {
        let html = guest("a\u{202e}b\u{200b}c\u{1b}[31m\0").to_string();
        for code in ["U+202E", "U+200B", "U+001B", "U+0000"] {
            assert!(html.contains(code), "{html}");
        }
        assert!(!html.contains(['\u{202e}', '\u{200b}', '\u{1b}', '\0']));
        assert_eq!(plain("a\u{202e}\n"), "a\u{27e8}U+202E\u{27e9}\n");
    }

    #[test]
    fn a_link_leads_to_pages_alone() {
        assert_eq!(leads("HTTPS://a.example/b").as_deref(), Some("HTTPS://a.example/b"));
        for url in ["javascript:alert(1)", "javascript://%0aalert(1)", "data:text/html,x", "/a", ""]
        {
            assert_eq!(leads(url), None, "{url}");
        }
    }

    #[test]
    fn a_name_of_two_scripts_says_so() {
        assert!(name("p\u{430}y").to_string().contains("mixed scripts"));
        assert!(!name("größe 1").to_string().contains("mixed scripts"));
        assert!(!name("оплата").to_string().contains("mixed scripts"));
    }
}
