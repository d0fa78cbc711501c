//! Opens a Jira issue for each group of failures of a suite, brings it up to date while the group goes on, and
//! comments on it when the suite has recovered.

mod api;
mod text;

use api::Api;
use handoff_plugin::text::{cut, line};
use handoff_plugin::{
    Annotation, Config, Context, Error, Event, EventKind, Level, Plugin, Result, Run, Test, Wishes,
    sign,
};
use std::collections::BTreeMap;
use text::Block;

/// Characters of a summary; Jira takes 255, on one line.
const SUMMARY_CHARS: usize = 255;
/// Characters of a failure's message in an issue; Jira takes 32,767 in all.
const MESSAGE_CHARS: usize = 8_000;
/// Tests that an issue names.
const TESTS: usize = 20;
/// Issues that one run opens or changes.
const GROUPS: usize = 10;
/// Under this and what tells the group, its issue is kept; what is forgotten is found again by its label.
const ISSUE: &str = "issue/";
/// Under this and the trouble's key, the issues of the trouble are kept.
const OPEN: &str = "open/";

/// The plugin.
pub struct Jira {
    url: String,
    email: Option<String>,
    token: String,
    project: String,
    issue_type: String,
    priority: Option<String>,
    labels: Vec<String>,
    transition: Option<String>,
    events: Vec<EventKind>,
}

/// Failures with one cause.
struct Group<'a> {
    /// What tells it from others, as a label of its issue.
    label: String,
    tests: Vec<&'a Test>,
}

impl Plugin for Jira {
    fn init(config: &Config) -> Result<Self> {
        let labels = config.get("labels").unwrap_or_default().split(',').map(str::trim);
        let labels: Vec<_> = labels.filter(|label| !label.is_empty()).map(str::to_owned).collect();
        if let Some(label) = labels.iter().find(|label| label.contains(char::is_whitespace)) {
            return Err(Error::permanent(format!("{label:?} is no label: Jira takes no spaces")));
        }
        let project = config.require("project")?;
        if !project.chars().all(|it| it.is_ascii_alphanumeric() || it == '_') {
            let told = format!("`project` is {project:?}: write its key, such as `SHOP`");
            return Err(Error::permanent(told));
        }
        Ok(Self {
            url: config.url("url", "")?,
            email: config.get("email").map(str::to_owned),
            token: config.require("token")?,
            project,
            issue_type: config.get("issue_type").unwrap_or("Bug").to_owned(),
            priority: config.get("priority").map(str::to_owned),
            labels,
            transition: config.get("transition").map(str::to_owned),
            events: config.events("suite_failing,suite_still_failing,suite_recovered,trial"),
        })
    }

    fn wishes(&self) -> Wishes {
        Wishes::events(self.events.iter().cloned()).http(&self.url)
    }

    fn handle(&self, event: &Event, cx: &mut Context<'_>) -> Result<Vec<Annotation>> {
        // The same event may come twice, and its comments must not.
        if cx.was_told(event) {
            return Ok(Vec::new());
        }
        let mut api = Api { url: &self.url, email: self.email.as_deref(), token: &self.token, cx };
        let said = match (&event.kind, &event.run) {
            (EventKind::SuiteFailing | EventKind::SuiteStillFailing, Some(run)) => {
                self.failing(&mut api, event, run)?
            }
            (EventKind::SuiteRecovered, Some(run)) => self.recovered(&mut api, event, run)?,
            (EventKind::Trial, _) => {
                api.project(&self.project)?;
                vec![Annotation::new(format!("Jira shows {}", self.project))]
            }
            _ => Vec::new(),
        };
        cx.told(event)?;
        Ok(said)
    }
}

impl Jira {
    fn failing(&self, api: &mut Api<'_, '_>, event: &Event, run: &Run) -> Result<Vec<Annotation>> {
        let groups = groups(event, run);
        if groups.len() > GROUPS {
            let told = format!("{} groups of failures: {GROUPS} have issues", groups.len());
            api.cx.log(Level::Warn, told);
        }
        let mut open = Open::read(api.cx, event);
        let mut said = Vec::new();
        for group in groups.iter().take(GROUPS) {
            let (issue, what) = self.keep(api, &open, run, group)?;
            open.issues.insert(group.label.clone(), issue.clone());
            // At once: what is done must not be done again if the next one fails.
            open.keep(api.cx)?;
            let url = format!("{}/browse/{issue}", self.url);
            said.push(Annotation::new(format!("Jira: {issue} {what}")).url(url));
        }
        Ok(said)
    }

    /// Opens the group's issue or brings it up to date, and gives its key and what was done.
    fn keep(
        &self,
        api: &mut Api<'_, '_>,
        open: &Open,
        run: &Run,
        group: &Group<'_>,
    ) -> Result<(String, &'static str)> {
        let known = match api.cx.get_text(&format!("{ISSUE}{}", group.label)) {
            Some(issue) => Some(issue),
            None => api.find(&self.project, &group.label)?,
        };
        let description = self.describe(api, run, group)?;
        let updated = match known {
            Some(issue) => api.describe(&issue, &description)?.then_some(issue),
            None => None,
        };
        let (issue, what) = match updated {
            Some(issue) if open.issues.contains_key(&group.label) => (issue, "is up to date"),
            Some(issue) => {
                let again = format!("This is failing again, in run #{}: ", run.number);
                let again = [Block::Text(again), Block::Link(run.url.clone(), run.url.clone())];
                api.comment(&issue, &again)?;
                (issue, "is failing again")
            }
            None => (self.create(api, run, group, &description)?, "is opened"),
        };
        api.cx.keep_last(ISSUE, &group.label, &issue)?;
        Ok((issue, what))
    }

    fn create(
        &self,
        api: &mut Api<'_, '_>,
        run: &Run,
        group: &Group<'_>,
        description: &[Block],
    ) -> Result<String> {
        let first = group.tests.first().map_or("", |test| test.summary());
        let name = group.tests.first().map_or("", |test| test.name.as_str());
        let why = if first.trim().is_empty() { format!("{name} fails") } else { first.to_owned() };
        let mut labels = self.labels.clone();
        labels.extend(["handoff".to_owned(), group.label.clone()]);
        let mut fields = serde_json::json!({
            "project": {"key": self.project},
            "issuetype": {"name": self.issue_type},
            "summary": line(&format!("{}: {why}", run.suite), SUMMARY_CHARS),
            "description": api.text(description),
            "labels": labels,
        });
        if let Some(priority) = &self.priority {
            fields["priority"] = serde_json::json!({"name": priority});
        }
        api.create(fields)
    }

    fn describe(&self, api: &mut Api<'_, '_>, run: &Run, group: &Group<'_>) -> Result<Vec<Block>> {
        let mut blocks = vec![
            Block::Text(format!("Seen last in run #{} of {}:", run.number, run.suite)),
            Block::Link(run.url.clone(), run.url.clone()),
        ];
        blocks.extend(run.reference.iter().map(|it| Block::Text(format!("Reference: {it}"))));
        for test in group.tests.iter().take(TESTS) {
            let stands = api.cx.statistics(&run.suite.to_string(), Some(&test.name))?;
            let stands = stands.map(|it| format!(" (failed in {} of {} runs)", it.failed, it.runs));
            let place = test.location.as_ref().map(|at| format!(" at {}:{}", at.file, at.line));
            let (stands, place) = (stands.unwrap_or_default(), place.unwrap_or_default());
            blocks.push(Block::Text(format!("Test: {}{place}{stands}", test.name)));
        }
        let more = group.tests.len().saturating_sub(TESTS);
        if more > 0 {
            blocks.push(Block::Text(format!("… and {more} more")));
        }
        let message = group.tests.first().and_then(|test| test.message.as_deref());
        blocks.extend(message.map(|message| Block::Code(cut(message, MESSAGE_CHARS))));
        Ok(blocks)
    }

    fn recovered(
        &self,
        api: &mut Api<'_, '_>,
        event: &Event,
        run: &Run,
    ) -> Result<Vec<Annotation>> {
        let mut open = Open::read(api.cx, event);
        let mut said = Vec::new();
        while let Some((label, issue)) = open.issues.pop_first() {
            let told = format!("{} has recovered, in run #{}: ", run.suite, run.number);
            let told = [Block::Text(told), Block::Link(run.url.clone(), run.url.clone())];
            // One that somebody deleted needs no comment.
            if api.comment(&issue, &told)? {
                if let Some(transition) = &self.transition {
                    api.transition(&issue, transition)?;
                }
                let url = format!("{}/browse/{issue}", self.url);
                said.push(Annotation::new(format!("Jira: {issue} has recovered")).url(url));
            } else {
                api.cx.delete(&format!("{ISSUE}{label}"));
            }
            open.keep(api.cx)?;
        }
        open.forget(api.cx);
        Ok(said)
    }
}

/// The issues of a trouble, by the labels of their groups.
struct Open {
    key: String,
    issues: BTreeMap<String, String>,
}

impl Open {
    fn read(cx: &mut Context<'_>, event: &Event) -> Self {
        let key = sign::hex(&sign::sha256(event.dedup_key.as_bytes()));
        let kept = cx.get(&format!("{OPEN}{key}")).unwrap_or_default();
        Self { issues: serde_json::from_slice(&kept).unwrap_or_default(), key }
    }

    fn keep(&self, cx: &mut Context<'_>) -> Result<()> {
        cx.keep_last(OPEN, &self.key, serde_json::to_vec(&self.issues)?)
    }

    fn forget(&self, cx: &mut Context<'_>) {
        cx.delete(&format!("{OPEN}{}", self.key));
    }
}

/// The failures of an event by what they have in common, in their order.
fn groups<'a>(event: &'a Event, run: &Run) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::new();
    for test in &event.failures {
        let of = test.group.as_deref().unwrap_or(&test.name);
        let digest = sign::hex(&sign::sha256(format!("{}\0{of}", run.suite).as_bytes()));
        let label = format!("handoff-{}", &digest[..24]);
        match groups.iter_mut().find(|group| group.label == label) {
            Some(group) => group.tests.push(test),
            None => groups.push(Group { label, tests: vec![test] }),
        }
    }
    groups
}

handoff_plugin::plugin!(Jira);

#[cfg(test)]
mod tests;
