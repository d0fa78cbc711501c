//! Sends mail about suites that fail and recover, with text and HTML, by the HTTP API of a mail service: one that
//! is known here, or any other by a template of its requests. (A plugin has no SMTP.)

mod letter;
mod service;

use handoff_plugin::{
    Annotation, Config, Context, Error, Event, EventKind, Plugin, Result, Wishes,
};
use letter::{Letter, Templates};
use service::Service;

/// What a plain mail address is long at most (RFC 5321).
const ADDRESS_CHARS: usize = 254;

/// The plugin.
pub struct Email {
    service: Service,
    from: String,
    to: Vec<String>,
    templates: Templates,
    events: Vec<EventKind>,
}

impl Plugin for Email {
    fn init(config: &Config) -> Result<Self> {
        let to = config.require("to")?;
        let to: Vec<_> = to.split(',').map(|address| address.trim().to_owned()).collect();
        let from = config.require("from")?;
        for address in to.iter().chain([&from]) {
            let bare = address.rsplit_once('<').map_or(address.as_str(), |(_, rest)| rest);
            let bare = bare.trim_end_matches('>');
            let fits = bare.len() <= ADDRESS_CHARS && !address.contains(['\r', '\n']);
            if !fits || !bare.split_once('@').is_some_and(|(a, b)| !a.is_empty() && !b.is_empty()) {
                let told = format!("{address:?} is no mail address: write `name@example.com`");
                return Err(Error::permanent(told));
            }
        }
        let service = Service::read(config)?;
        if to.len() > service.most() {
            let most = service.most();
            return Err(Error::permanent(format!("`to` has more than {most} addresses")));
        }
        Ok(Self {
            service,
            from,
            to,
            templates: Templates::read(config)?,
            events: config.events("suite_failing,suite_recovered,trial"),
        })
    }

    fn wishes(&self) -> Wishes {
        Wishes::events(self.events.iter().cloned()).http(self.service.url())
    }

    fn handle(&self, event: &Event, cx: &mut Context<'_>) -> Result<Vec<Annotation>> {
        // The same event may come twice, and its mail must not.
        if cx.was_told(event) {
            return Ok(Vec::new());
        }
        let letter = Letter::write(event, &self.templates)?;
        let request = self.service.request(event, &letter, &self.from, &self.to)?;
        cx.send(request)?.success()?;
        cx.told(event)?;
        let said = Annotation::new(format!("Mailed: {}", letter.subject));
        Ok(vec![said.value("to", self.to.join(", "))])
    }
}

handoff_plugin::plugin!(Email);

#[cfg(test)]
mod tests;
