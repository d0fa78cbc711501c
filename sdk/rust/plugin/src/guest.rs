//! The functions that a component exports, for any plugin.

use crate::bindings::exports::handoff::plugin::hooks::{
    Annotation as WitAnnotation, Event as WitEvent, Trouble, Verdict as WitVerdict,
    Wishes as WitWishes,
};
use crate::bindings::handoff::plugin::host;
use crate::bindings::handoff::suite::vocabulary::{Attribute, Level as WitLevel, Refusal};
use crate::bindings::wasi::config::store;
use crate::context::Backend;
use crate::http::{Request, Response};
use crate::{Annotation, Config, Context, Error, EventKind, Level, Plugin, Result, Verdict, http};
use std::io::Write as _;
use std::time::Duration;

/// The server.
struct Server;

fn refused(refusal: Refusal) -> Error {
    Error::new(refusal.message)
}

impl Backend for Server {
    fn send(&mut self, request: Request) -> Result<Response> {
        http::send(request)
    }

    fn log(&mut self, level: Level, message: &str) {
        let level = match level {
            Level::Trace => WitLevel::Trace,
            Level::Debug => WitLevel::Debug,
            Level::Info => WitLevel::Info,
            Level::Warn => WitLevel::Warn,
            Level::Error => WitLevel::Error,
        };
        flush();
        host::log(level, message);
    }

    fn get(&mut self, key: &str) -> Option<Vec<u8>> {
        host::get(key)
    }

    fn set(&mut self, key: &str, value: &[u8]) -> Result<()> {
        host::set(key, value).map_err(refused)
    }

    fn delete(&mut self, key: &str) {
        host::delete(key);
    }

    fn keys(&mut self, prefix: &str) -> Vec<String> {
        host::keys(prefix)
    }

    fn run(&mut self, id: &str) -> Result<Option<String>> {
        host::run(id).map_err(refused)
    }

    fn runs(&mut self, suite: &str, limit: u32) -> Result<Vec<String>> {
        host::runs(suite, limit).map_err(refused)
    }

    fn tests(&mut self, run: &str, from: u32, limit: u32) -> Result<Vec<String>> {
        host::tests(run, from, limit).map_err(refused)
    }

    fn report(&mut self, run: &str, format: &str) -> Result<Option<Vec<u8>>> {
        host::report(run, format).map_err(|refusal| match refusal.rule.as_str() {
            // It will not be smaller later.
            "report_bytes" => Error::permanent(refusal.message),
            _ => refused(refusal),
        })
    }

    fn statistics(&mut self, suite: &str, test: Option<&str>) -> Result<Option<String>> {
        host::statistics(suite, test).map_err(refused)
    }

    fn now(&mut self) -> Duration {
        std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default()
    }

    fn remaining(&mut self) -> Duration {
        Duration::from_millis(host::remaining_ms())
    }
}

/// Rust keeps the last unfinished line back, and nothing would ever write it.
fn flush() {
    // Nobody is left who could be told that stdout is closed.
    let _ = std::io::stdout().flush();
}

fn made<P: Plugin>() -> Result<P> {
    let values = store::get_all();
    let values = values.map_err(|error| Error::new(format!("no configuration: {error:?}")))?;
    P::init(&Config::new(values))
}

/// `init` of the plugin.
pub fn init<P: Plugin>() -> Result<WitWishes, String> {
    let wishes = made::<P>().map(|plugin| plugin.wishes());
    flush();
    let wishes = wishes.map_err(|error| error.message().to_owned())?;
    let words = wishes.events.iter().map(EventKind::as_str).map(str::to_owned);
    Ok(WitWishes { events: words.collect(), http: wishes.http, gate: wishes.gate })
}

/// `handle` of the plugin.
pub fn handle<P: Plugin>(event: WitEvent) -> Result<Vec<WitAnnotation>, Trouble> {
    let handled = made::<P>().and_then(|plugin| {
        let event = serde_json::from_str(&event.payload)
            .map_err(|error| Error::permanent(format!("the event cannot be read: {error}")))?;
        plugin.handle(&event, &mut Context(&mut Server))
    });
    flush();
    match handled {
        Ok(annotations) => Ok(annotations.into_iter().map(annotation).collect()),
        Err(error) => Err(Trouble {
            message: error.message().to_owned(),
            retry_after_ms: error.wait().map(|wait| wait.as_millis() as u64),
            permanent: error.is_permanent(),
        }),
    }
}

/// `gate` of the plugin. What cannot be decided is a trap, so that the operator's choice holds.
///
/// # Panics
/// When the configuration or the run cannot be read.
pub fn gate<P: Plugin>(run: &str) -> WitVerdict {
    let plugin = made::<P>().unwrap_or_else(|error| panic!("{error}"));
    let run = serde_json::from_str(run).unwrap_or_else(|error| panic!("{error}"));
    let verdict = plugin.gate(&run, &mut Context(&mut Server));
    flush();
    match verdict {
        Verdict::Go => WitVerdict::Go,
        Verdict::GoWith(params) => WitVerdict::GoWith(params.into_iter().map(attribute).collect()),
        Verdict::Refuse(reason) => WitVerdict::Refuse(reason),
    }
}

fn annotation(annotation: Annotation) -> WitAnnotation {
    let Annotation { title, url, values } = annotation;
    WitAnnotation { title, url, values: values.into_iter().map(attribute).collect() }
}

fn attribute((key, value): (String, String)) -> Attribute {
    Attribute { key, value }
}
