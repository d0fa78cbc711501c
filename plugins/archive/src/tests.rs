//! What is written where. That the signatures are right, `signature` tests.
#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected comes")]

use super::*;
use handoff_plugin::http::{Request, Response};
use handoff_plugin::testing::{Host, run_finished, suite};

fn host() -> Host {
    let mut host = Host::new()
        .config("endpoint", "https://S3.test:443/")
        .config("bucket", "runs")
        .config("access_key_id", "AKID")
        .config("secret_access_key", "s3cret");
    host.reports.insert("json".into(), b"{}".to_vec());
    host.reports.insert("junit".into(), b"<testsuites/>".to_vec());
    host
}

fn header<'a>(request: &'a Request, name: &str) -> &'a str {
    let found = request.headers.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value.as_str()).unwrap_or_default()
}

#[test]
fn a_run_is_written_as_json_and_junit() {
    let mut host = host();
    let said = host.handle::<Archive>(&run_finished("failed")).unwrap();
    let key = "https://s3.test/runs/shop/checkout/01890a5d-ac96-774b-bcce-b302099a8057";
    let urls: Vec<_> = host.sent.iter().map(|request| request.url.clone()).collect();
    assert_eq!(urls, [format!("{key}.json"), format!("{key}.xml")]);
    assert_eq!(said[0].url.as_deref(), Some(urls[0].as_str()));
    let sent = &host.sent[1];
    assert_eq!((sent.method.as_str(), sent.body.as_slice()), ("PUT", &b"<testsuites/>"[..]));
    assert_eq!(header(sent, "content-type"), "application/xml");
    assert_eq!(header(sent, "x-amz-content-sha256"), sign::hex(&sign::sha256(&sent.body)));
    assert_eq!(header(sent, "x-amz-date"), "20270115T080000Z");
    let authorization = header(sent, "authorization");
    let start = "AWS4-HMAC-SHA256 Credential=AKID/20270115/us-east-1/s3/aws4_request,\
                 SignedHeaders=content-type;host;x-amz-content-sha256;x-amz-date,Signature=";
    assert!(authorization.starts_with(start), "{authorization}");
}

#[test]
fn a_bucket_may_be_a_host_and_a_key_is_of_the_operators_choice() {
    let mut host = host()
        .config("path_style", "false")
        .config("key", "/{{run.reference}}/{{run.number}}")
        .config("formats", "junit")
        .config("session_token", "t0k3n");
    let mut event = run_finished("passed");
    event.run.as_mut().unwrap().reference = Some("feature/ü 1".into());
    host.handle::<Archive>(&event).unwrap();
    assert_eq!(host.sent[0].url, "https://runs.s3.test/feature-%C3%BC%201/12.xml");
    assert_eq!(header(&host.sent[0], "x-amz-security-token"), "t0k3n");
    assert!(header(&host.sent[0], "authorization").contains(";x-amz-security-token,"));
    assert_eq!(host.init::<Archive>().unwrap(), {
        Wishes::events([EventKind::RunFinished, EventKind::Trial]).http("https://runs.s3.test")
    });
}

#[test]
fn what_the_store_refuses_is_tried_again_where_that_may_help() {
    let mut host = host();
    let mut error = |status: u16, code: &str| {
        let body = format!("<Error><Code>{code}</Code></Error>");
        host.answer(move |_| Response::new(status, body.clone()));
        host.handle::<Archive>(&run_finished("passed")).unwrap_err()
    };
    for (status, code) in [(403, "SignatureDoesNotMatch"), (404, "NoSuchBucket")] {
        let error = error(status, code);
        assert!(error.is_permanent() && error.message().contains(code), "{error}");
    }
    assert!(!error(503, "SlowDown").is_permanent());
    assert!(!error(500, "InternalError").is_permanent());
}

#[test]
fn a_run_that_is_gone_is_told_and_what_is_no_run_is_left_alone() {
    let mut host = host();
    host.reports.clear();
    let error = host.handle::<Archive>(&run_finished("passed")).unwrap_err();
    assert!(error.is_permanent() && error.message().contains("not there any more"));
    let trial = Event { kind: EventKind::Trial, run: None, ..suite(EventKind::SuiteFailing) };
    host.handle::<Archive>(&trial).unwrap();
    assert_eq!(host.sent[0].url, "https://s3.test/runs/handoff-trial.txt");
}

#[test]
fn a_configuration_that_cannot_be_is_refused_in_words() {
    let told = |host: Host| host.init::<Archive>().unwrap_err().to_string();
    assert!(told(Host::new()).contains("`endpoint` is not set"));
    assert!(told(host().config("bucket", "a/b")).contains("no bucket"));
    assert!(told(host().config("formats", "pdf")).contains("go-test"));
    assert!(told(host().config("key", "{{run")).contains("}}"));
    assert!(told(host().config("secret_access_key", "")).contains("is not set"));
}
