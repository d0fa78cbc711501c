//! An S3-compatible store: PUT of an object, signed by version 4, computed here once more from what came.
//! docs.aws.amazon.com/AmazonS3/latest/API: `API_PutObject`, `sig-v4-header-based-auth`, `ErrorResponses`

use std::collections::BTreeMap;

use ring::{digest, hmac};

use crate::service::{Heard, Reply, holds};

pub(crate) const ID: &str = "AKIAIOSFODNN7EXAMPLE";
pub(crate) const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYright";
const REGION: &str = "eu-central-1";
/// How far the clocks may be apart.
const SKEW_S: i64 = 900;

pub(crate) fn limited() -> Reply {
    error("", 503, "SlowDown")
}

fn error(what: &str, status: u16, code: &str) -> Reply {
    let body =
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code></Error>");
    Reply::new(what, status, body).header("content-type", "application/xml")
}

pub(crate) fn check(heard: &Heard) -> Result<Reply, String> {
    holds(heard.method == "PUT", "no PUT")?;
    let key = heard.path.strip_prefix("/runs/").ok_or("another bucket")?;
    holds((1..=1_024).contains(&key.len()), "a key has 1 to 1,024 bytes")?;
    let length: usize =
        heard.header("content-length").parse().map_err(|_| "MissingContentLength")?;
    holds(length == heard.body.len(), "IncompleteBody")?;
    let hash = hex::encode(digest::digest(&digest::SHA256, &heard.body));
    holds(heard.header("x-amz-content-sha256") == hash, "XAmzContentSHA256Mismatch")?;
    let expected = signature(heard)?;
    if !heard.header("authorization").ends_with(&format!("Signature={expected}")) {
        return Ok(error("denied", 403, "SignatureDoesNotMatch"));
    }
    let body = String::from_utf8_lossy(&heard.body);
    let what = match heard.header("content-type") {
        "application/json" => {
            let run: serde_json::Value =
                serde_json::from_str(&body).map_err(|it| it.to_string())?;
            holds(key == format!("default/http/{}.json", run["id"].as_str().unwrap()), "the key")?;
            format!("json {}", run["status"].as_str().unwrap_or_default())
        }
        "application/xml" => {
            holds(body.starts_with("<?xml") && body.contains("<testsuites"), "no JUnit")?;
            "junit".to_owned()
        }
        other => return Err(format!("another media type: {other}")),
    };
    Ok(Reply::new(what, 200, "").header("etag", "\"1b2cf535f27731c974343645a3985328\""))
}

/// The signature that a request has to have.
fn signature(heard: &Heard) -> Result<String, String> {
    let authorization = heard.header("authorization");
    let rest = authorization.strip_prefix("AWS4-HMAC-SHA256 ").ok_or("another algorithm")?;
    let parts: BTreeMap<_, _> =
        rest.split(',').filter_map(|part| part.trim().split_once('=')).collect();
    let time = heard.header("x-amz-date");
    let at =
        jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", time).map_err(|it| it.to_string())?;
    let at = at.to_zoned(jiff::tz::TimeZone::UTC).map_err(|it| it.to_string())?.timestamp();
    let skew = jiff::Timestamp::now().as_second() - at.as_second();
    holds(skew.abs() <= SKEW_S, "RequestTimeTooSkewed")?;
    let scope = format!("{}/{REGION}/s3/aws4_request", &time[..8]);
    let credential = parts.get("Credential").copied().unwrap_or_default();
    holds(credential == format!("{ID}/{scope}"), format!("another credential: {credential}"))?;
    let names = parts.get("SignedHeaders").copied().unwrap_or_default();
    let signed: Vec<_> = names.split(';').collect();
    holds(signed.is_sorted() && signed.contains(&"host"), "the headers are not in order")?;
    let all = heard.headers.keys();
    let all = all.filter(|it| it.starts_with("x-amz-") || *it == "content-type");
    for name in all {
        holds(signed.contains(&name.as_str()), format!("{name} is not signed"))?;
    }
    let lines: String =
        signed.iter().map(|name| format!("{name}:{}\n", heard.header(name).trim())).collect();
    let canonical = format!(
        "PUT\n{}\n{}\n{lines}\n{names}\n{}",
        heard.path,
        heard.query,
        heard.header("x-amz-content-sha256")
    );
    let canonical = hex::encode(digest::digest(&digest::SHA256, canonical.as_bytes()));
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{canonical}");
    let mac = |key: &[u8], text: &str| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
    };
    let mut key = format!("AWS4{SECRET}").into_bytes();
    for part in [&time[..8], REGION, "s3", "aws4_request"] {
        key = mac(&key, part);
    }
    Ok(hex::encode(mac(&key, &text)))
}
