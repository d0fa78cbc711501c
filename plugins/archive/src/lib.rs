//! Writes each finished run as JSON and JUnit to an S3-compatible store.

mod signature;

use handoff_plugin::http::{self, encode};
use handoff_plugin::{
    Annotation, Config, Context, Error, Event, EventKind, Plugin, Result, Wishes, sign, template,
};
use signature::{Keys, Signed};
use std::time::Duration;

/// What an object is called, before the end that tells its format.
const KEY: &str = "{{run.suite.namespace}}/{{run.suite.name}}/{{run.id}}";
/// Bytes of an object's key at most.
const KEY_BYTES: usize = 1_024;
/// How long one upload may take.
const TIMEOUT: Duration = Duration::from_secs(25);

/// A form of a report: its name, the end of its object's key, and its media type.
const FORMATS: [(&str, &str, &str); 4] = [
    ("json", ".json", "application/json"),
    ("junit", ".xml", "application/xml"),
    ("go-test", ".jsonl", "application/x-ndjson"),
    ("tap", ".tap", "text/plain; charset=utf-8"),
];

/// The plugin.
pub struct Archive {
    /// Scheme, host and port, and what of the path is the bucket's.
    scheme: String,
    host: String,
    base: String,
    keys: Keys,
    key: String,
    formats: Vec<(&'static str, &'static str, &'static str)>,
    events: Vec<EventKind>,
}

impl Plugin for Archive {
    fn init(config: &Config) -> Result<Self> {
        let endpoint = config.url("endpoint", "")?;
        let bucket = config.require("bucket")?;
        if !bucket.chars().all(|it| it.is_ascii_alphanumeric() || "-._".contains(it)) {
            return Err(Error::permanent(format!("`bucket` is {bucket:?}: that is no bucket")));
        }
        let (scheme, rest) = endpoint.split_once("://").unwrap_or(("https", &endpoint));
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let usual = if scheme == "https" { ":443" } else { ":80" };
        // It is signed as it is sent: without the usual port.
        let host = host.strip_suffix(usual).unwrap_or(host).to_ascii_lowercase();
        let path = if path.is_empty() { String::new() } else { format!("/{path}") };
        let (host, base) = match config.parse("path_style", true)? {
            true => (host, format!("{path}/{bucket}")),
            false => (format!("{bucket}.{host}"), path),
        };
        let wanted = config.get("formats").unwrap_or("json,junit").split(',').map(str::trim);
        let format = |name: &str| {
            let found = FORMATS.into_iter().find(|(known, _, _)| *known == name);
            let known = FORMATS.map(|(known, _, _)| known).join(", ");
            found.ok_or_else(|| Error::permanent(format!("there is no format {name:?}: {known}")))
        };
        let key = config.get("key").unwrap_or(KEY).to_owned();
        template::render(&key, &serde_json::Value::Null, str::to_owned)?;
        Ok(Self {
            scheme: scheme.to_owned(),
            host,
            base,
            keys: Keys {
                id: config.require("access_key_id")?,
                secret: config.require("secret_access_key")?,
                token: config.get("session_token").map(str::to_owned),
                region: config.get("region").unwrap_or("us-east-1").to_owned(),
                service: "s3",
            },
            key,
            formats: wanted.map(format).collect::<Result<_>>()?,
            events: config.events("run_finished,trial"),
        })
    }

    fn wishes(&self) -> Wishes {
        let origin = format!("{}://{}", self.scheme, self.host);
        Wishes::events(self.events.iter().cloned()).http(origin)
    }

    fn handle(&self, event: &Event, cx: &mut Context<'_>) -> Result<Vec<Annotation>> {
        let Some(run) = &event.run else {
            if event.kind == EventKind::Trial {
                self.put(cx, "handoff-trial.txt", "text/plain", b"Handoff reaches this bucket.\n")?;
                return Ok(vec![Annotation::new("Wrote handoff-trial.txt")]);
            }
            return Ok(Vec::new());
        };
        let value = serde_json::to_value(event)?;
        // What a name has in it makes no directories.
        let key = template::render(&self.key, &value, |text| text.replace('/', "-"))?;
        let mut said = Annotation::new("Archived");
        for (format, end, media_type) in &self.formats {
            let Some(report) = cx.report(&run.id, format)? else {
                return Err(Error::permanent(format!("run {} is not there any more", run.id)));
            };
            let key = format!("{}{end}", key.trim_start_matches('/'));
            let url = self.put(cx, &key, media_type, &report)?;
            said = said.value(*format, &url);
            said.url.get_or_insert(url);
        }
        Ok(vec![said])
    }
}

impl Archive {
    /// Writes an object, over one that is there, and gives its URL.
    fn put(
        &self,
        cx: &mut Context<'_>,
        key: &str,
        media_type: &str,
        content: &[u8],
    ) -> Result<String> {
        if key.is_empty() || key.len() > KEY_BYTES {
            return Err(Error::permanent(format!(
                "{key:?} is no key: write 1 to {KEY_BYTES} bytes"
            )));
        }
        let path: Vec<_> = key.split('/').map(encode).collect();
        let path = format!("{}/{}", self.base, path.join("/"));
        let hash = sign::hex(&sign::sha256(content));
        let signed = Signed {
            method: "PUT",
            host: &self.host,
            path: &path,
            query: "",
            headers: &[("content-type", media_type), ("x-amz-content-sha256", &hash)],
            hash: &hash,
        };
        let url = format!("{}://{}{path}", self.scheme, self.host);
        let mut request = http::put(&url).body(content).timeout(TIMEOUT);
        request = request.header("content-type", media_type).header("x-amz-content-sha256", &hash);
        for (name, value) in self.keys.sign(&signed, cx.now())? {
            request = request.header(name, value);
        }
        cx.send(request)?.success()?;
        Ok(url)
    }
}

handoff_plugin::plugin!(Archive);

#[cfg(test)]
mod tests;
