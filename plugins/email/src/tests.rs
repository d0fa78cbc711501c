//! Every request is held to what the mail services document.
#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected comes")]

use super::*;
use handoff_plugin::http::{Request, Response};
use handoff_plugin::testing::{Host, run_finished, suite};
use serde_json::{Value, json};
use std::time::Duration;

fn host(service: &str) -> Host {
    let host = Host::new().config("from", "Handoff <tests@shop.test>");
    let host = host.config("to", "a@shop.test, Bee <b@shop.test>").config("token", "t0k3n");
    if service.is_empty() { host } else { host.config("service", service) }
}

fn header<'a>(request: &'a Request, name: &str) -> &'a str {
    let found = request.headers.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value.as_str()).unwrap_or_default()
}

fn body(host: &Host) -> Value {
    serde_json::from_slice(&host.sent.last().unwrap().body).unwrap()
}

#[test]
fn postmark_is_sent_text_and_html_to_all() {
    let mut host = host("postmark");
    host.answer(|_| Response::new(200, r#"{"ErrorCode": 0, "Message": "OK"}"#));
    let said = host.handle::<Email>(&suite(EventKind::SuiteFailing)).unwrap();
    assert_eq!(said[0].title, "Mailed: shop/checkout is failing");
    let sent = &host.sent[0];
    assert!(sent.url.ends_with("//api.postmarkapp.com/email"), "{}", sent.url);
    assert_eq!(header(sent, "x-postmark-server-token"), "t0k3n");
    assert_eq!(header(sent, "accept"), "application/json");
    let body = body(&host);
    assert_eq!(body["To"], "a@shop.test, Bee <b@shop.test>");
    let text = body["TextBody"].as_str().unwrap();
    for part in ["Result: 1 passed, 1 failed", "* pays by card\n    expected status", "Run: http"] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    assert!(body["HtmlBody"].as_str().unwrap().contains("<b>pays by card</b>"));
    assert_eq!(body["MessageStream"], "outbound");
}

#[test]
fn sendgrid_is_sent_plain_text_first() {
    let mut host = host("sendgrid");
    host.answer(|_| Response::new(202, ""));
    host.handle::<Email>(&suite(EventKind::SuiteRecovered)).unwrap();
    assert_eq!(header(&host.sent[0], "authorization"), "Bearer t0k3n");
    let body = body(&host);
    assert_eq!(body["content"][0]["type"], "text/plain");
    assert_eq!(body["from"], json!({"email": "tests@shop.test", "name": "Handoff"}));
    assert_eq!(
        body["personalizations"][0]["to"][1],
        json!({"email": "b@shop.test", "name": "Bee"})
    );
}

#[test]
fn mailgun_is_sent_a_form() {
    let mut host = host("mailgun").config("domain", "mg.shop.test");
    host.handle::<Email>(&suite(EventKind::SuiteFailing)).unwrap();
    let sent = &host.sent[0];
    assert!(sent.url.ends_with("//api.mailgun.net/v3/mg.shop.test/messages"), "{}", sent.url);
    assert_eq!(header(sent, "authorization"), "Basic YXBpOnQwazNu");
    let form = String::from_utf8(sent.body.clone()).unwrap();
    assert!(form.starts_with("from=Handoff%20%3Ctests%40shop.test%3E&to=a%40shop.test"), "{form}");
}

#[test]
fn any_other_service_is_described_by_a_template() {
    let template = r#"{"to": "{{mail.to}}", "html": "{{mail.html}}", "tag": "{{run.suite.name}}"}"#;
    let mut host = host("")
        .config("url", "https://mail.test/send")
        .config("body", template)
        .config("header.x-api-key", "k3y");
    host.handle::<Email>(&suite(EventKind::SuiteFailing)).unwrap();
    assert_eq!(header(&host.sent[0], "x-api-key"), "k3y");
    let body = body(&host);
    assert_eq!(body["tag"], "checkout");
    assert!(body["html"].as_str().unwrap().starts_with("<!DOCTYPE html>\n"));
}

#[test]
fn mails_about_one_trouble_are_one_thread_and_none_comes_twice() {
    let mut host = host("postmark");
    for kind in [EventKind::SuiteFailing, EventKind::SuiteFailing, EventKind::SuiteRecovered] {
        host.handle::<Email>(&suite(kind)).unwrap();
    }
    assert_eq!(host.sent.len(), 2);
    let thread = |at: usize| {
        let body: Value = serde_json::from_slice(&host.sent[at].body).unwrap();
        body["Headers"][0]["Value"].as_str().unwrap().to_owned()
    };
    assert_eq!(thread(0), thread(1));
    assert!(thread(0).starts_with('<') && thread(0).ends_with("@handoff.invalid>"));
}

#[test]
fn what_a_test_writes_means_nothing_in_a_mail() {
    let mut event = run_finished("failed");
    event.kind = EventKind::SuiteFailing;
    event.failures[0].message = Some("<script>alert(1)</script>\n".repeat(100));
    event.run.as_mut().unwrap().suite.name = "a\r\nBcc: evil@shop.test".into();
    event.links[0].url = "javascript:alert(1)".into();
    let mut host = host("postmark");
    host.handle::<Email>(&event).unwrap();
    let body = body(&host);
    assert_eq!(body["Subject"], "shop/a Bcc: evil@shop.test is failing");
    let html = body["HtmlBody"].as_str().unwrap();
    assert!(!html.contains("<script>") && !html.contains("javascript:"), "{html}");
    assert!(html.len() < 3_000, "long messages are cut");
}

#[test]
fn templates_of_the_operator_make_subject_text_and_html() {
    let mut host = host("postmark")
        .config("subject", "[{{run.status}}] {{run.suite.name}}")
        .config("text", "{{failures.0.message}}")
        .config("html", "<p>{{failures.0.name}}</p>");
    let mut event = suite(EventKind::SuiteFailing);
    event.failures[0].name = "<b>".into();
    host.handle::<Email>(&event).unwrap();
    let body = body(&host);
    assert_eq!(body["Subject"], "[failed] checkout");
    assert_eq!(body["HtmlBody"], "<p>&lt;b&gt;</p>");
    assert!(body["TextBody"].as_str().unwrap().starts_with("expected status"));
}

#[test]
fn what_a_service_refuses_is_tried_again_where_that_may_help() {
    let mut host = host("postmark");
    let mut error = |response: Response| {
        host.answer(move |_| response.clone());
        host.handle::<Email>(&suite(EventKind::SuiteFailing)).unwrap_err()
    };
    let refused =
        r#"{"ErrorCode": 10, "Message": "No Account or Server API tokens were supplied"}"#;
    assert!(error(Response::new(401, refused)).is_permanent());
    assert!(error(Response::new(422, r#"{"ErrorCode": 300}"#)).is_permanent());
    assert!(!error(Response::new(503, "")).is_permanent());
    let busy = error(Response::new(429, "").with_header("retry-after", 9));
    assert_eq!(busy.wait(), Some(Duration::from_secs(9)));
}

#[test]
fn a_configuration_that_cannot_be_is_refused_in_words() {
    let told = |host: Host| host.init::<Email>().unwrap_err().to_string();
    assert!(told(Host::new()).contains("`to` is not set"));
    assert!(told(host("postmark").config("to", "nobody")).contains("no mail address"));
    assert!(told(host("fax")).contains("`sendgrid`"));
    assert!(told(host("")).contains("`url` is not set"));
    assert!(told(host("").config("url", "https://a.test")).contains("`body` is not set"));
    assert!(told(host("mailgun")).contains("`domain` is not set"));
    assert!(told(host("postmark").config("text", "{{run")).contains("}}"));
    let many = vec!["a@shop.test"; 51].join(",");
    assert!(told(host("postmark").config("to", many)).contains("more than 50"));
}
