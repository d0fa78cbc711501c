//! Markdown that a component brought along, as markup that can do nothing but be read.

use ammonia::Builder;
use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use super::text::Html;

/// The description of a suite or a test. Pictures are left out: they would be fetched from where the
/// component says. Links lead away without saying from where.
pub(super) fn render(markdown: &str) -> Html {
    let visible: String = super::text::plain(markdown);
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH;
    let mut html = String::with_capacity(visible.len() * 2);
    // It stands below the page's own heading, wherever its author began.
    let events = Parser::new_ext(&visible, options).map(|event| match event {
        Event::Start(Tag::Heading { .. }) => Event::Start(Tag::Heading {
            level: HeadingLevel::H2,
            id: None,
            classes: Vec::new(),
            attrs: Vec::new(),
        }),
        Event::End(TagEnd::Heading(_)) => Event::End(TagEnd::Heading(HeadingLevel::H2)),
        // Markup in it counts as text: so no heading or frame of its own comes in.
        Event::Html(text) | Event::InlineHtml(text) => Event::Text(text),
        event => event,
    });
    pulldown_cmark::html::push_html(&mut html, events);
    let mut builder = Builder::default();
    builder
        .rm_tags(["img", "map", "area", "article", "header", "footer", "nav", "aside"])
        .rm_generic_attributes(["lang", "title"])
        .rm_tag_attributes("td", ["align", "char", "charoff", "colspan", "headers", "rowspan"])
        .url_schemes(["http", "https", "mailto"].into())
        .url_relative(ammonia::UrlRelative::Deny)
        .link_rel(Some("noopener noreferrer nofollow"));
    Html::made(builder.clean(&html).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_becomes_markup() {
        let html =
            render("Pays **twice**.\n\n- see [the book](https://example.com/a)\n").to_string();
        assert!(html.contains("<strong>twice</strong>") && html.contains("<li>"), "{html}");
        assert!(html.contains("rel=\"noopener noreferrer nofollow\""), "{html}");
    }

    #[test]
    fn nothing_in_it_runs_or_is_fetched() {
        let hostile = "<script>alert(1)</script><img src=x onerror=alert(1)>![x](http://example.com/x)\
            <a href=\"javascript:alert(1)\" onclick=alert(1)>a</a> [b](javascript:alert(1)) [c](/runs) \
            <iframe src=x></iframe><style>*{display:none}</style><form action=/x><button>b</button></form>\
            <h1 class=brand id=top style=color:red>Handoff</h1>";
        let html = render(hostile).to_string();
        for part in ["<script", "<img", "<iframe", "<style", "<form", "<button", "<h1"] {
            assert!(!html.contains(part), "{part}: {html}");
        }
        // As text it may stand there, in a tag it may not.
        for tag in html.split('<').skip(1).filter_map(|rest| rest.split('>').next()) {
            for part in ["javascript", "/runs", "onclick"] {
                assert!(!tag.contains(part), "{part} in <{tag}>: {html}");
            }
        }
    }
}
