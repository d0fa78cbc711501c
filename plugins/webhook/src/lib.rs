//! Posts what happens to any HTTP endpoint, signed as the Standard Webhooks specification has it: with
//! `webhook-id`, `webhook-timestamp` and `webhook-signature`.

use handoff_plugin::http::{self, Request};
use handoff_plugin::{
    Annotation, Config, Context, Error, Event, EventKind, Plugin, Result, Wishes, sign, template,
};

/// What the secret begins with, before its Base64.
const SECRET: &str = "whsec_";
/// Configuration with this in front is a header.
const HEADER: &str = "header.";

/// The plugin.
pub struct Webhook {
    url: String,
    method: String,
    content_type: String,
    body: Option<String>,
    secret: Option<Vec<u8>>,
    events: Vec<EventKind>,
    headers: Vec<(String, String)>,
}

impl Plugin for Webhook {
    fn init(config: &Config) -> Result<Self> {
        config.url("url", "")?;
        let secret = config.get("secret").map(key).transpose()?;
        let with_name = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Ok(Self {
            // As it is written: its path may mean something with a slash at its end.
            url: config.require("url")?,
            method: config.get("method").unwrap_or("POST").to_owned(),
            content_type: config.get("content_type").unwrap_or("application/json").to_owned(),
            body: config.get("body").map(str::to_owned),
            secret,
            events: config.events("run_finished"),
            headers: config.starting_with(HEADER).map(with_name).collect(),
        })
    }

    fn wishes(&self) -> Wishes {
        Wishes::events(self.events.iter().cloned()).http(&self.url)
    }

    fn handle(&self, event: &Event, cx: &mut Context<'_>) -> Result<Vec<Annotation>> {
        let request = self.request(event, cx.now().as_secs())?;
        let answer = cx.send(request)?.success()?;
        Ok(vec![Annotation::new("Webhook called").value("status", answer.status())])
    }
}

impl Webhook {
    fn request(&self, event: &Event, now: u64) -> Result<Request> {
        let value = serde_json::to_value(event)?;
        let body = match &self.body {
            Some(body) => template::render(body, &value, template::json)?,
            None => value.to_string(),
        };
        let mut request = http::request(&self.method, &self.url)
            .header("content-type", &self.content_type)
            .header("user-agent", concat!("handoff-webhook/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", &event.id)
            .header("webhook-timestamp", now);
        if let Some(secret) = &self.secret {
            let signed = format!("{}.{now}.{body}", event.id);
            let signature = sign::base64(&sign::hmac_sha256(secret, signed.as_bytes()));
            request = request.header("webhook-signature", format_args!("v1,{signature}"));
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        Ok(request.body(body))
    }
}

/// The key of a secret: what follows `whsec_` is Base64.
fn key(secret: &str) -> Result<Vec<u8>> {
    let wrong =
        || Error::permanent("`secret` is no Base64: write `whsec_` and 24 to 64 bytes in Base64");
    sign::from_base64(secret.strip_prefix(SECRET).unwrap_or(secret)).ok_or_else(wrong)
}

handoff_plugin::plugin!(Webhook);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where something unexpected comes")]

    use super::*;
    use handoff_plugin::http::Response;
    use handoff_plugin::testing::{Host, run_finished};
    use std::time::Duration;

    fn host() -> Host {
        Host::new().config("url", "https://hooks.example.test/a?b=c")
    }

    fn header<'a>(request: &'a Request, name: &str) -> &'a str {
        let found = request.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).unwrap()
    }

    #[test]
    fn an_event_is_posted_as_it_is_and_an_answer_of_2xx_takes_it() {
        let mut host = host();
        let event = run_finished("failed");
        let said = host.handle::<Webhook>(&event).unwrap();
        assert_eq!(said[0].values, [("status".into(), "200".into())]);
        let sent = &host.sent[0];
        assert_eq!((sent.method.as_str(), header(sent, "webhook-id")), ("POST", &*event.id));
        assert_eq!(serde_json::from_slice::<Event>(&sent.body).unwrap(), event);
        assert_eq!(host.init::<Webhook>().unwrap(), {
            Wishes::events([EventKind::RunFinished]).http("https://hooks.example.test")
        });
    }

    /// The example of the specification's reference implementations.
    #[test]
    fn the_signature_is_that_of_the_specification() {
        let mut host = host()
            .config("secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
            .config("body", r#"{"test": 2432232314}"#);
        host.now = Duration::from_secs(1_614_265_330);
        let event = Event { id: "msg_p5jXN8AQM9LWM0D4loKWxJek".into(), ..run_finished("passed") };
        host.handle::<Webhook>(&event).unwrap();
        let signature = header(&host.sent[0], "webhook-signature");
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_template_makes_the_body_and_configuration_the_headers() {
        let mut host = host()
            .config("body", r#"{"text": "{{run.suite.name}} {{run.status}}"}"#)
            .config("method", "PUT")
            .config("header.x-token", "t0k3n");
        host.handle::<Webhook>(&run_finished("passed")).unwrap();
        let sent = &host.sent[0];
        assert_eq!((sent.method.as_str(), header(sent, "x-token")), ("PUT", "t0k3n"));
        assert_eq!(sent.body, br#"{"text": "checkout passed"}"#);
    }

    #[test]
    fn failures_are_tried_again_where_that_may_help() {
        let mut host = host();
        host.answer(|_| Response::new(429, "").with_header("retry-after", 30));
        let error = host.handle::<Webhook>(&run_finished("passed")).unwrap_err();
        assert_eq!(error.wait(), Some(Duration::from_secs(30)));
        host.answer(|_| Response::new(500, "out of paper"));
        assert!(!host.handle::<Webhook>(&run_finished("passed")).unwrap_err().is_permanent());
        host.answer(|_| Response::new(410, "gone"));
        assert!(host.handle::<Webhook>(&run_finished("passed")).unwrap_err().is_permanent());
        host.refuse();
        assert!(!host.handle::<Webhook>(&run_finished("passed")).unwrap_err().is_permanent());
    }

    #[test]
    fn a_configuration_that_cannot_be_is_refused_in_words() {
        let told = |host: Host| host.init::<Webhook>().unwrap_err().to_string();
        assert!(told(Host::new()).contains("`url` is not set"));
        assert!(told(Host::new().config("url", "ftp://a")).contains("https://"));
        assert!(told(host().config("secret", "whsec_not base64")).contains("Base64"));
    }
}
