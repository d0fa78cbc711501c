//! Tricks in every text that a component can set: script, terminal codes, letters that turn the direction,
//! look-alikes, and length. What shows them must run nothing, break nowhere and deceive nobody.
//!
//! A script that runs sets `window.pwned`.

use handoff_sdk::{Context, Result, TestCase, http};

handoff_sdk::suite! {
    name: "hostile",
    namespace: "fixtures",
    description: "# Handoff\n<script>window.pwned=1</script><img src=x onerror=window.pwned=1>\
        <a href=\"javascript:window.pwned=1\" id=content class=brand>a</a> [b](javascript:window.pwned=1) \
        [c](/runs) ![d](http://127.0.0.1:1/d.png) <form action=/runs method=post><button>Cancel</button></form>\
        <style>body{display:none}</style><base href=http://127.0.0.1:1/>\u{202e}drawkcab",
    owner: "<script>window.pwned=1</script>\u{202e}nwo",
    links: [
        ("\"><script>window.pwned=1</script>", "javascript:window.pwned=1"),
        ("data", "data:text/html,<script>window.pwned=1</script>"),
        ("quote", "http://127.0.0.1:1/\" onmouseover=\"window.pwned=1"),
    ],
    labels: [("<b>", "\"'><script>window.pwned=1</script>")],
    wants_http: ["http://<script>window.pwned=1</script>"],
}

/// Texts that stand wherever a text can.
const SCRIPT: &str =
    "</pre></script><script>window.pwned=1</script><img src=x onerror=window.pwned=1>{{7*7}}";
const QUOTES: &str = "\"'><svg onload=window.pwned=1>' onfocus=window.pwned=1 autofocus x=\"";
const TURNED: &str = "passed \u{202e}deliaf\u{202c} \u{2066}a\u{2069} \u{200b}\u{feff}end";
/// The second letter is Cyrillic.
const LOOK_ALIKE: &str = "p\u{430}yment";
const TERMINAL: &str = "\x1b]0;title\x07\x1b[2J\x1b[1;1H\x1b[31mred\x1b[0m\x1b]8;;javascript:window.pwned=1\x1b\\link\x1b]8;;\x1b\\\x1b[1A\u{9b}31m\rover\x08";

#[handoff_sdk::tests]
fn names() -> impl Iterator<Item = TestCase> {
    let names = [
        SCRIPT.to_owned(),
        QUOTES.to_owned(),
        TURNED.to_owned(),
        LOOK_ALIKE.to_owned(),
        "../../../about".to_owned(),
        "a?b#c%2e%2e/d".to_owned(),
        "W".repeat(512),
    ];
    names.into_iter().map(|name| {
        TestCase::new(name.clone(), move |cx| -> Result { act(cx, &name) })
            .description(format!("{SCRIPT}\n\n{TURNED}"))
            .tag(QUOTES)
    })
}

#[handoff_sdk::tests]
fn off() -> impl Iterator<Item = TestCase> {
    let off = TestCase::new("off", |_| {}).disabled(format!("{SCRIPT}{TURNED}"));
    std::iter::once(off)
}

fn act(cx: &Context, name: &str) -> Result {
    for text in [SCRIPT, QUOTES, TURNED, TERMINAL] {
        println!("{text}");
        eprintln!("{text}");
        handoff_sdk::error!("{text}");
        cx.part(text, || -> Result { handoff_sdk::bail!("{text}") });
        cx.span(text).with(text, text).end();
        // What a name may be is the server's to say: a refusal is as good as a name that is shown well.
        let _ = cx.set(text, text);
        let _ = cx.attach(text, "text/html", format!("<script>window.pwned=1</script>{text}"));
        let _ = cx.attach("a.svg", "image/svg+xml", "<svg onload='window.pwned=1'/>");
        let _ = cx.attach(text, text, text);
        let _ = http::get(format!("http://127.0.0.1:1/{}", text.replace(['\r', '\n', ' '], "_")))
            .send();
    }
    println!("{}", "x".repeat(100_000));
    println!("{}", "\u{202e}".repeat(2_000));
    handoff_sdk::bail!(
        "{name}\n{SCRIPT}\n{QUOTES}\n{TURNED}\n{TERMINAL}\n{}",
        "long ".repeat(2_000)
    )
}
