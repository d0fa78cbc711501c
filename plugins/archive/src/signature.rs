//! Signature version 4 of AWS, which S3-compatible stores check: over the method, the path, the query, chosen
//! headers and the hash of the body.

use handoff_plugin::sign::{hex, hmac_sha256, sha256};
use handoff_plugin::{Error, Result};
use jiff::Timestamp;
use std::time::Duration;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// Who signs, and for which service.
pub(crate) struct Keys {
    pub(crate) id: String,
    pub(crate) secret: String,
    pub(crate) token: Option<String>,
    pub(crate) region: String,
    pub(crate) service: &'static str,
}

/// What is signed of a request.
pub(crate) struct Signed<'a> {
    pub(crate) method: &'a str,
    pub(crate) host: &'a str,
    /// As it is sent, percent-encoded.
    pub(crate) path: &'a str,
    /// The same, in the order of its names.
    pub(crate) query: &'a str,
    /// By lower-case name.
    pub(crate) headers: &'a [(&'a str, &'a str)],
    /// The SHA-256 of the body, in hexadecimal digits.
    pub(crate) hash: &'a str,
}

impl Keys {
    /// The headers that sign a request, to be sent with it.
    pub(crate) fn sign(
        &self,
        request: &Signed<'_>,
        now: Duration,
    ) -> Result<Vec<(&'static str, String)>> {
        let at = Timestamp::from_second(i64::try_from(now.as_secs())?).map_err(Error::new)?;
        let (time, day) = (at.strftime("%Y%m%dT%H%M%SZ").to_string(), at.strftime("%Y%m%d"));
        let scope = format!("{day}/{}/{}/aws4_request", self.region, self.service);
        let (canonical, names) = self.canonical(request, &time);
        let text = format!("{ALGORITHM}\n{time}\n{scope}\n{}", hex(&sha256(canonical.as_bytes())));

        let secret = format!("AWS4{}", self.secret);
        let parts =
            [day.to_string(), self.region.clone(), self.service.into(), "aws4_request".into()];
        let key = parts
            .iter()
            .fold(secret.into_bytes(), |key, part| hmac_sha256(&key, part.as_bytes()).to_vec());
        let signature = hex(&hmac_sha256(&key, text.as_bytes()));
        let authorization = format!(
            "{ALGORITHM} Credential={}/{scope},SignedHeaders={names},Signature={signature}",
            self.id
        );
        let mut headers = vec![("x-amz-date", time), ("authorization", authorization)];
        headers.extend(self.token.clone().map(|token| ("x-amz-security-token", token)));
        Ok(headers)
    }

    /// The request as it is signed, and the names of its headers.
    fn canonical(&self, request: &Signed<'_>, time: &str) -> (String, String) {
        let Signed { method, host, path, query, headers, hash } = request;
        let mut all = headers.to_vec();
        all.extend([("host", *host), ("x-amz-date", time)]);
        all.extend(self.token.as_deref().map(|token| ("x-amz-security-token", token)));
        all.sort_unstable();
        let names: Vec<_> = all.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let lines: String = all.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        (format!("{method}\n{path}\n{query}\n{lines}\n{names}\n{hash}"), names)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where something unexpected comes")]

    use super::*;

    /// The hash of nothing.
    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    /// Method, path, query, headers, hash of the body, and the signature.
    type Example<'a> = (&'a str, &'a str, &'a str, &'a [(&'a str, &'a str)], &'a str, &'a str);

    fn signature(keys: &Keys, request: &Signed<'_>, at: &str) -> String {
        let at: Timestamp = at.parse().unwrap();
        let headers = keys.sign(request, Duration::from_secs(at.as_second() as u64)).unwrap();
        headers[1].1.rsplit_once('=').unwrap().1.to_owned()
    }

    /// From the test suite of signature version 4: `get-vanilla`, `get-vanilla-query-order-key-case` and
    /// `post-vanilla`.
    #[test]
    fn signatures_are_those_of_the_test_suite() {
        let keys = Keys {
            id: "AKIDEXAMPLE".into(),
            secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into(),
            token: None,
            region: "us-east-1".into(),
            service: "service",
        };
        for (method, query, expected) in [
            ("GET", "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
            (
                "GET",
                "Param1=value1&Param2=value2",
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
            ("POST", "", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        ] {
            let host = "example.amazonaws.com";
            let request = Signed { method, host, path: "/", query, headers: &[], hash: EMPTY };
            assert_eq!(
                signature(&keys, &request, "2015-08-30T12:36:00Z"),
                expected,
                "{method} {query}"
            );
        }
    }

    /// From the documentation of S3: GET and PUT of an object, and two of a bucket.
    #[test]
    fn signatures_are_those_of_the_examples_of_s3() {
        let keys = Keys {
            id: "AKIAIOSFODNN7EXAMPLE".into(),
            secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into(),
            token: None,
            region: "us-east-1".into(),
            service: "s3",
        };
        let text = hex(&sha256(b"Welcome to Amazon S3."));
        let put = [
            ("date", "Fri, 24 May 2013 00:00:00 GMT"),
            ("x-amz-content-sha256", text.as_str()),
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
        ];
        let get = [("range", "bytes=0-9"), ("x-amz-content-sha256", EMPTY)];
        let bucket = [("x-amz-content-sha256", EMPTY)];
        let cases: [Example<'_>; 4] = [
            (
                "GET",
                "/test.txt",
                "",
                &get,
                EMPTY,
                "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
            ),
            (
                "PUT",
                "/test%24file.text",
                "",
                &put,
                &text,
                "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
            ),
            (
                "GET",
                "/",
                "lifecycle=",
                &bucket,
                EMPTY,
                "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
            ),
            (
                "GET",
                "/",
                "max-keys=2&prefix=J",
                &bucket,
                EMPTY,
                "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
            ),
        ];
        for (method, path, query, headers, hash, expected) in cases {
            let host = "examplebucket.s3.amazonaws.com";
            let request = Signed { method, host, path, query, headers, hash };
            assert_eq!(
                signature(&keys, &request, "2013-05-24T00:00:00Z"),
                expected,
                "{method} {path}"
            );
        }
    }
}
