//! Whether a call is from who holds the secret. Compared in constant time, by `ring`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use ring::hmac::{HMAC_SHA256, Key, verify};

use super::Call;
use crate::model::{Secret, Sender};

/// What stands before a secret of the Standard Webhooks specification.
const SECRET_PREFIX: &str = "whsec_";
/// How many bytes such a secret has, by the specification.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// The longest secret of GitHub's that is taken, in bytes: beyond a block, SHA-256 makes it no stronger.
const MAX_SECRET_BYTES: usize = 1 << 10;
/// The longest id of a delivery, in bytes: GitHub's have 36, and others no reason for more.
const MAX_ID_BYTES: usize = 255;
/// How many signatures of one call are looked at: one for each secret while a secret is replaced.
const MAX_SIGNATURES: usize = 8;

/// A call whose signature is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Signed {
    /// What the sender calls it.
    pub(super) id: String,
    /// When it was signed, where the signature says so.
    pub(super) at: Option<Timestamp>,
}

/// Fails, in words that tell what to do, if a secret cannot be one of this sender's.
pub(super) fn check_secret(sender: &Sender, secret: &Secret) -> Result<(), String> {
    match sender {
        Sender::Generic => key(secret).map(drop),
        Sender::Github(_) => match secret.0.len() {
            1..=MAX_SECRET_BYTES => Ok(()),
            _ => Err(format!("the secret must have 1 to {MAX_SECRET_BYTES} bytes")),
        },
    }
}

fn key(secret: &Secret) -> Result<Key, String> {
    let text = secret.0.strip_prefix(SECRET_PREFIX).unwrap_or(&secret.0);
    let bytes = STANDARD.decode(text).ok().filter(|bytes| SECRET_BYTES.contains(&bytes.len()));
    let bytes = bytes.ok_or(
        "the secret must be `whsec_` and 24 to 64 random bytes in base64, as the Standard Webhooks \
         specification has it: `echo whsec_$(openssl rand -base64 32)` makes one",
    )?;
    Ok(Key::new(HMAC_SHA256, &bytes))
}

/// Checks a call. The error tells its sender what is wrong with it, and nothing of the secret.
pub(super) fn check(sender: &Sender, secret: &Secret, call: &Call) -> Result<Signed, String> {
    match sender {
        Sender::Generic => standard(secret, call),
        Sender::Github(_) => github(secret, call),
    }
}

/// As the Standard Webhooks specification has it: over id, time and body.
fn standard(secret: &Secret, call: &Call) -> Result<Signed, String> {
    let id = id(call, "webhook-id")?;
    let timestamp = call.header("webhook-timestamp")?;
    let at = timestamp.parse().ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    let at = at.ok_or("the header webhook-timestamp is no number of seconds since 1970")?;
    let signatures = call.header("webhook-signature")?;
    let key = key(secret)?;
    let signed = [id.as_bytes(), b".", timestamp.as_bytes(), b".", &call.body].concat();
    let mut tags = signatures
        .split(' ')
        .take(MAX_SIGNATURES)
        .filter_map(|signature| STANDARD.decode(signature.strip_prefix("v1,")?).ok());
    match tags.any(|tag| verify(&key, &signed, &tag).is_ok()) {
        true => Ok(Signed { id: id.to_owned(), at: Some(at) }),
        false => {
            Err("the header webhook-signature has no `v1,` signature that is right: it is the \
                      base64 of an HMAC-SHA-256 over `ID.TIMESTAMP.BODY` with the trigger's secret"
                .into())
        }
    }
}

/// As GitHub has it: over the body alone.
fn github(secret: &Secret, call: &Call) -> Result<Signed, String> {
    let id = id(call, "x-github-delivery")?;
    let signature = call.header("x-hub-signature-256")?;
    let tag = signature.strip_prefix("sha256=").and_then(|digits| hex::decode(digits).ok());
    let key = Key::new(HMAC_SHA256, secret.0.as_bytes());
    match tag.is_some_and(|tag| verify(&key, &call.body, &tag).is_ok()) {
        true => Ok(Signed { id: id.to_owned(), at: None }),
        false => Err(
            "the header x-hub-signature-256 is not the signature of the body with the trigger's \
                      secret: is the webhook's secret the same?"
                .into(),
        ),
    }
}

fn id<'a>(call: &'a Call, header: &str) -> Result<&'a str, String> {
    let id = call.header(header)?;
    match (1..=MAX_ID_BYTES).contains(&id.len()) {
        true => Ok(id),
        false => Err(format!("the header {header} must have 1 to {MAX_ID_BYTES} bytes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::GithubFilter;

    /// The example of the Standard Webhooks specification's libraries.
    const STANDARD_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const STANDARD_HEADERS: [(&str, &str); 3] = [
        ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
        ("webhook-timestamp", "1614265330"),
        ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
    ];
    const STANDARD_BODY: &str = r#"{"test": 2432232314}"#;

    fn standard_with(
        secret: &str,
        changed: &[(&'static str, &str)],
        body: &str,
    ) -> Result<Signed, String> {
        let headers = STANDARD_HEADERS.iter().chain(changed).copied();
        check(&Sender::Generic, &Secret(secret.into()), &Call::of(headers, body))
    }

    #[test]
    fn the_example_of_the_standard_is_right() {
        let signed = standard_with(STANDARD_SECRET, &[], STANDARD_BODY).unwrap();
        assert_eq!(signed.id, "msg_p5jXN8AQM9LWM0D4loKWxJek");
        assert_eq!(signed.at, Some("2021-02-25T15:02:10Z".parse().unwrap()));
        let bare = STANDARD_SECRET.trim_start_matches("whsec_");
        assert_eq!(standard_with(bare, &[], STANDARD_BODY), Ok(signed.clone()));
        // Beside others, as while a secret is replaced.
        let several = format!("v1a,x v1,AAAA {}", STANDARD_HEADERS[2].1);
        let several =
            standard_with(STANDARD_SECRET, &[("webhook-signature", &several)], STANDARD_BODY);
        assert_eq!(several, Ok(signed));
    }

    #[test]
    fn whatever_else_is_signed_or_differs_is_refused() {
        for (header, value) in [
            ("webhook-id", "msg_other"),
            ("webhook-id", ""),
            ("webhook-timestamp", "1614265331"),
            ("webhook-timestamp", "yesterday"),
            ("webhook-timestamp", "99999999999999999999"),
            ("webhook-signature", ""),
            ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OA="),
            ("webhook-signature", "v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
            ("webhook-signature", "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
            ("webhook-signature", "v1,%%%"),
            ("webhook-signature", "v1,"),
        ] {
            let refused = standard_with(STANDARD_SECRET, &[(header, value)], STANDARD_BODY);
            assert!(refused.is_err(), "{header}: {value}");
        }
        assert!(standard_with(STANDARD_SECRET, &[], r#"{"test": 2432232315}"#).is_err());
        let other = format!("whsec_{}", STANDARD.encode([7; 24]));
        assert!(standard_with(&other, &[], STANDARD_BODY).is_err());
        let without = Call::of([("webhook-id", "x")], "");
        let told = check(&Sender::Generic, &Secret(other), &without).unwrap_err();
        assert_eq!(told, "the header webhook-timestamp is missing");
    }

    /// The example of GitHub's documentation on validating deliveries.
    #[test]
    fn the_example_of_github_is_right_and_nothing_else() {
        let sender = Sender::Github(GithubFilter::default());
        let secret = Secret("It's a Secret to Everybody".into());
        let right = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let with = |signature: &str, body: &str| {
            let headers = [("x-github-delivery", "72d3162e"), ("x-hub-signature-256", signature)];
            check(&sender, &secret, &Call::of(headers, body))
        };
        let signed = with(right, "Hello, World!").unwrap();
        assert_eq!(signed, Signed { id: "72d3162e".into(), at: None });
        assert!(with(right, "Hello, World").is_err());
        for wrong in
            ["", "sha256=", "sha256=zz", &right[7..], &right.replace('7', "8"), "sha1=7571"]
        {
            assert!(with(wrong, "Hello, World!").is_err(), "{wrong}");
        }
        let unnamed = Call::of([("x-hub-signature-256", right)], "Hello, World!");
        assert!(check(&sender, &secret, &unnamed).unwrap_err().contains("x-github-delivery"));
    }

    #[test]
    fn a_secret_has_a_form() {
        let github = Sender::Github(GithubFilter::default());
        let check = |sender: &Sender, secret: String| check_secret(sender, &Secret(secret));
        let standard = |bytes: usize| format!("whsec_{}", STANDARD.encode(vec![1; bytes]));
        assert!(check(&Sender::Generic, standard(24)).is_ok());
        assert!(check(&Sender::Generic, standard(64)).is_ok());
        for secret in [standard(23), standard(65), "hunter2".into(), String::new()] {
            assert!(check(&Sender::Generic, secret).unwrap_err().contains("openssl rand"));
        }
        assert!(check(&github, "hunter2".into()).is_ok());
        assert!(check(&github, String::new()).is_err());
        assert!(check(&github, "x".repeat(MAX_SECRET_BYTES + 1)).is_err());
    }
}
