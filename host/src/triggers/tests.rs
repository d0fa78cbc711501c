//! Triggers with a real store, runs that are stored and never executed, and a clock that a test turns.

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::SignedDuration;
use ring::hmac::{HMAC_SHA256, Key, sign};
use serde_json::{Value, json};

use super::*;
use crate::model::{
    CallOutcome, CallRow, EventKind, GithubFilter, Limits, Mapping, RunBounds, RunSpec, Secret,
    samples,
};
use crate::storage::{Page, StorageSettings};

#[derive(Clone)]
struct Fake {
    storage: Storage,
    refuse: Arc<Mutex<bool>>,
    asked: Arc<Mutex<Vec<(SuiteId, RunRequest)>>>,
}

impl Runs for Fake {
    fn check(&self, suite: Option<&SuiteId>, request: &RunRequest) -> Result<(), SubmitError> {
        Ok(request.check(suite, &RunBounds::default(), &Limits::default())?)
    }

    fn submit(
        &self,
        suite: SuiteId,
        request: RunRequest,
        called: MakeCalled,
    ) -> BoxFuture<'_, Result<RunId, SubmitError>> {
        Box::pin(async move {
            if *self.refuse.lock().unwrap() {
                return Err(SubmitError::NoSuite(suite));
            }
            let spec = RunSpec { request: request.clone(), ..samples::spec(&["test"]) };
            let id = spec.id;
            let queued = EventKind::RunQueued { spec: Box::new(spec) };
            let stored = self.storage.append_called(id, queued, called(id)).await.await.unwrap();
            stored.map_err(SubmitError::Storage)?;
            self.asked.lock().unwrap().push((suite, request));
            Ok(id)
        })
    }
}

struct Stage {
    dir: tempfile::TempDir,
    fake: Fake,
    triggers: Triggers,
}

fn now() -> Timestamp {
    "2026-03-01T00:00:00Z".parse().unwrap()
}

fn after(seconds: i64) -> Timestamp {
    now() + SignedDuration::from_secs(seconds)
}

fn name() -> Name {
    "deployed".parse().unwrap()
}

const KEY: [u8; 32] = [7; 32];

fn generic() -> TriggerSpec {
    TriggerSpec {
        suite: Some("web/shop".parse().unwrap()),
        request: RunRequest::default(),
        mapping: Mapping::default(),
        sender: Sender::Generic,
        secret: Secret(format!("whsec_{}", STANDARD.encode(KEY))),
        description: None,
    }
}

fn github() -> TriggerSpec {
    let secret = Secret(String::from_utf8_lossy(&KEY).into_owned());
    TriggerSpec { sender: Sender::Github(GithubFilter::default()), secret, ..generic() }
}

/// A call that is signed as the Standard Webhooks specification has it.
fn call(id: &str, at: Timestamp, body: &Value) -> Call {
    let (body, seconds) = (body.to_string(), at.as_second().to_string());
    let tag = sign(&Key::new(HMAC_SHA256, &KEY), format!("{id}.{seconds}.{body}").as_bytes());
    let signature = format!("v1,{}", STANDARD.encode(tag));
    let headers =
        [("webhook-id", id), ("webhook-timestamp", &seconds), ("webhook-signature", &signature)];
    Call::of(headers, &body)
}

/// A call that is signed as GitHub does.
fn github_call(id: &str, event: &str, body: &Value) -> Call {
    let body = body.to_string();
    let tag = sign(&Key::new(HMAC_SHA256, &KEY), body.as_bytes());
    let signature = format!("sha256={}", hex::encode(tag));
    let headers =
        [("x-github-delivery", id), ("x-github-event", event), ("x-hub-signature-256", &signature)];
    Call::of(headers, &body)
}

fn deployment(id: u64, state: &str) -> Value {
    json!({
        "action": "created",
        "deployment_status": {"id": id, "state": state, "environment_url": "https://live.example"},
        "deployment": {"sha": "f95f852", "ref": "master", "environment": "production"},
    })
}

fn open(dir: &std::path::Path) -> (Fake, Triggers) {
    let metrics = Metrics::new();
    let settings = StorageSettings {
        trigger_rows: 8,
        trigger_refusals: 3,
        trigger_deliveries: 4,
        ..StorageSettings::default()
    };
    let storage =
        Storage::open(dir.join("store"), settings, metrics.clone(), Box::new(|_| {})).unwrap();
    let fake = Fake { storage: storage.clone(), refuse: Arc::default(), asked: Arc::default() };
    let settings = TriggerSettings {
        most: 2,
        tolerance_ms: 60_000,
        description_bytes: 9,
        ..Default::default()
    };
    let triggers = Triggers::open(storage, Box::new(fake.clone()), settings, metrics).unwrap();
    (fake, triggers)
}

async fn stage(spec: TriggerSpec) -> Stage {
    let dir = tempfile::tempdir().unwrap();
    let (fake, triggers) = open(dir.path());
    triggers.create(name(), spec, None, now()).await.unwrap();
    Stage { dir, fake, triggers }
}

impl Stage {
    fn hit(&self, limit: &str) -> bool {
        let metrics = self.triggers.0.metrics.render();
        metrics.contains(&format!("handoff_limit_hits_total{{limit=\"{limit}\"}} "))
    }

    async fn deliver(&self, call: Call) -> Result<CallRow, Refusal> {
        self.triggers.deliver(&name(), call, now()).await
    }

    /// What became of the calls, the first first.
    fn rows(&self) -> Vec<CallRow> {
        let page = Page { limit: 100, cursor: None };
        let mut rows = self.fake.storage.call_rows(&name(), &page).unwrap().items;
        rows.reverse();
        rows
    }

    fn outcomes(&self) -> Vec<CallOutcome> {
        self.rows().iter().map(|row| row.outcome).collect()
    }

    async fn reopened(self) -> Self {
        let Self { dir, fake, triggers } = self;
        fake.storage.close().await.unwrap();
        drop((fake, triggers));
        let (fake, triggers) = open(dir.path());
        Self { dir, fake, triggers }
    }
}

use CallOutcome::{Failed, Ignored, Refused, Started};

#[tokio::test]
async fn a_call_starts_the_run_that_its_payload_asks_for() {
    let mapping = Mapping {
        suite: Some("web/{/service}".into()),
        reference: Some("{/release/tag}".into()),
        params: BTreeMap::from([("url".into(), "https://{/host}/{/path|}".into())]),
    };
    let params = BTreeMap::from([("stage".into(), "live".into()), ("url".into(), "none".into())]);
    let request = RunRequest { params, ..RunRequest::default() };
    let stage = stage(TriggerSpec { suite: None, mapping, request, ..generic() }).await;
    let payload = json!({"service": "cart", "release": {"tag": "v1.2"}, "host": "cart.example"});
    let row = stage.deliver(call("one", now(), &payload)).await.unwrap();
    assert_eq!((row.outcome, row.signed, row.delivery.as_deref()), (Started, true, Some("one")));
    let (suite, request) = stage.fake.asked.lock().unwrap()[0].clone();
    assert_eq!(
        (suite.to_string().as_str(), request.reference.as_deref()),
        ("web/cart", Some("v1.2"))
    );
    assert_eq!(request.initiated_by.as_deref(), Some("trigger deployed"));
    assert_eq!(request.params["url"], "https://cart.example/");
    assert_eq!(request.params["stage"], "live");
    assert_eq!(stage.rows(), [row]);
    assert_eq!(stage.triggers.get(&name()).await.unwrap().trigger.runs, 1);

    for (id, payload, why) in [
        ("two", json!({"service": "cart"}), "nothing at /release/tag"),
        ("three", json!({"service": "No Name", "release": {"tag": ""}, "host": ""}), "No Name"),
    ] {
        let refusal = stage.deliver(call(id, now(), &payload)).await.unwrap_err();
        assert!(
            matches!(refusal, Refusal::Unfit(_)) && refusal.to_string().contains(why),
            "{refusal}"
        );
    }
    let no_json = Call { body: Bytes::from_static(b"payload=%7B"), ..call("x", now(), &json!({})) };
    assert!(matches!(stage.deliver(no_json).await, Err(Refusal::Unsigned(_))));
    assert_eq!(stage.outcomes(), [Started, Refused, Refused, Refused]);
}

#[tokio::test]
async fn a_delivery_starts_one_run_even_across_a_restart() {
    let first = call("one", now(), &json!({}));
    let stage = stage(generic()).await;
    let run = stage.deliver(first.clone()).await.unwrap().run.unwrap();
    let replayed = |refusal: Refusal| match refusal {
        Refusal::Replayed { run, .. } => run,
        other => panic!("{other}"),
    };
    assert_eq!(replayed(stage.deliver(first.clone()).await.unwrap_err()), run);
    // Signed anew, as by a sender that heard no answer.
    let again = call("one", after(20), &json!({}));
    let stage = stage.reopened().await;
    assert_eq!(replayed(stage.deliver(again).await.unwrap_err()), run);
    assert_eq!(replayed(stage.deliver(first).await.unwrap_err()), run);
    assert_eq!(stage.outcomes(), [Started, Refused, Refused, Refused]);
    let reason = stage.rows()[1].reason.clone().unwrap();
    assert!(reason.contains(&run.to_string()), "{reason}");
    // The same at once.
    let two = call("two", now(), &json!({}));
    let both = tokio::join!(stage.deliver(two.clone()), stage.deliver(two));
    assert_eq!(u8::from(both.0.is_ok()) + u8::from(both.1.is_ok()), 1);
}

#[tokio::test]
async fn the_store_takes_a_delivery_once() {
    let stage = stage(generic()).await;
    let trigger = stage.triggers.get(&name()).await.unwrap().trigger;
    let called = |trigger: Trigger, run, at| {
        let row = CallRow {
            at,
            delivery: None,
            event: None,
            signed: true,
            outcome: Started,
            run: Some(run),
            reason: None,
        };
        let marks = vec![crate::model::Digest::of(b"one")];
        Called { trigger, row: Some(row), marks }
    };
    let submit = async |at| {
        let trigger = trigger.clone();
        let make = Box::new(move |run| called(trigger, run, at));
        stage.fake.submit("a".parse().unwrap(), RunRequest::default(), make).await
    };
    submit(now()).await.unwrap();
    let error = submit(after(1)).await.unwrap_err();
    assert!(matches!(
        error,
        SubmitError::Storage(error) if matches!(*error, StorageError::Delivered(..))
    ));
    assert_eq!(stage.outcomes(), [Started]);
}

#[tokio::test]
async fn a_delivery_of_githubs_is_known_by_its_body_too() {
    let stage = stage(github()).await;
    let of = |id, state| github_call(id, "deployment_status", &deployment(1, state));
    stage.deliver(of("a", "success")).await.unwrap();
    assert!(matches!(stage.deliver(of("a", "success")).await, Err(Refusal::Replayed { .. })));
    assert!(matches!(stage.deliver(of("b", "success")).await, Err(Refusal::Replayed { .. })));
    let ping = github_call("p", "ping", &json!({"zen": "Design for failure."}));
    assert_eq!(stage.deliver(ping).await.unwrap().outcome, Ignored);
    // What started nothing may come again, for example when the filter was changed.
    for _ in 0..2 {
        let row = stage.deliver(of("c", "failure")).await.unwrap();
        assert_eq!((row.outcome, row.event.as_deref()), (Ignored, Some("deployment_status")));
    }
    let next = github_call("d", "deployment_status", &deployment(2, "success"));
    stage.deliver(next).await.unwrap();
    let odd = github_call("e", "deployment_status", &json!({"action": "created"}));
    assert!(matches!(stage.deliver(odd).await, Err(Refusal::Unfit(_))));
    let references: Vec<_> =
        stage.fake.asked.lock().unwrap().iter().map(|(_, asked)| asked.reference.clone()).collect();
    assert_eq!(references, [Some("f95f852".to_owned()), Some("f95f852".to_owned())]);
}

#[tokio::test]
async fn what_is_signed_too_long_ago_or_too_early_is_refused() {
    let stage = stage(generic()).await;
    for (id, seconds) in [("old", -61), ("early", 61)] {
        let refusal = stage.deliver(call(id, after(seconds), &json!({}))).await.unwrap_err();
        assert!(refusal.to_string().contains("webhooks.tolerance_ms"), "{refusal}");
    }
    assert!(stage.hit("webhooks_tolerance_ms"));
    for (id, seconds) in [("a", -60), ("b", 60)] {
        stage.deliver(call(id, after(seconds), &json!({}))).await.unwrap();
    }
    assert_eq!(stage.outcomes(), [Refused, Refused, Started, Started]);
    assert!(stage.rows().iter().all(|row| row.signed));
}

#[tokio::test]
async fn a_run_that_is_refused_leaves_a_row_and_its_delivery_may_come_again() {
    let stage = stage(generic()).await;
    *stage.fake.refuse.lock().unwrap() = true;
    let one = call("one", now(), &json!({}));
    let refusal = stage.deliver(one.clone()).await.unwrap_err();
    assert!(matches!(refusal, Refusal::Submit(_)), "{refusal}");
    let broken = stage.triggers.get(&name()).await.unwrap().broken.unwrap();
    assert!(broken.contains("there is no suite web/shop"), "{broken}");
    *stage.fake.refuse.lock().unwrap() = false;
    stage.deliver(one).await.unwrap();
    assert_eq!(stage.outcomes(), [Failed, Started]);
}

#[tokio::test]
async fn calls_without_a_signature_drive_out_none_with_one() {
    let stage = stage(generic()).await;
    stage.deliver(call("one", now(), &json!({}))).await.unwrap();
    let forged = || Call::of([("webhook-id", "x"), ("webhook-timestamp", "0")], "{}");
    for _ in 0..100 {
        let refusal = stage.deliver(forged()).await.unwrap_err();
        assert!(matches!(refusal, Refusal::Unsigned(_)), "{refusal}");
    }
    let rows = stage.rows();
    assert_eq!(stage.outcomes(), [Started, Refused, Refused, Refused]);
    assert!(rows[1..].iter().all(|row| !row.signed));
    assert!(stage.hit("storage_trigger_refusals"));
    // A second later one more has a row, which tells of the others.
    stage.triggers.deliver(&name(), forged(), after(1)).await.unwrap_err();
    let told = stage.rows().pop().unwrap().reason.unwrap();
    assert!(told.contains("after 80 refused calls that have no row"), "{told}");
    let counted = stage.triggers.0.metrics.render();
    assert!(counted.contains("handoff_trigger_calls_total{outcome=\"refused\"} 101"), "{counted}");
    stage.triggers.unread(&name(), forged(), "the body is too large", after(2)).await.unwrap();
    assert_eq!(stage.rows().pop().unwrap().reason.unwrap(), "the body is too large");
}

#[tokio::test]
async fn only_the_last_rows_and_deliveries_are_kept() {
    let stage = stage(generic()).await;
    stage.deliver(Call::of([], "{}")).await.unwrap_err();
    let of = |n: i32| call(&n.to_string(), now(), &json!({}));
    for n in 0..10 {
        stage.deliver(of(n)).await.unwrap();
    }
    let kept = stage.rows();
    let ids: Vec<_> = kept.iter().filter_map(|row| row.delivery.as_deref()).collect();
    assert_eq!(ids, ["2", "3", "4", "5", "6", "7", "8", "9"]);
    assert!(stage.hit("storage_trigger_rows") && stage.hit("storage_trigger_deliveries"));
    assert!(matches!(stage.deliver(of(6)).await, Err(Refusal::Replayed { .. })));
    stage.deliver(of(5)).await.unwrap();
    let counts = stage.fake.storage.triggers().unwrap()[0].stored;
    assert_eq!(counts, TriggerCounts { rows: 8, unsigned: 0, known: 4 });
    stage.triggers.delete(&name()).await.unwrap();
    assert!(stage.rows().is_empty() && stage.fake.storage.triggers().unwrap().is_empty());
    assert!(matches!(
        stage.deliver(of(11)).await,
        Err(Refusal::Trigger(TriggerError::NoTrigger(_)))
    ));
}

#[tokio::test]
async fn what_no_call_could_start_is_refused() {
    let stage = stage(generic()).await;
    let wrong = RunRequest { filter: Some("(".into()), ..RunRequest::default() };
    let superseding = RunRequest { supersede: true, ..RunRequest::default() };
    for (spec, told) in [
        (TriggerSpec { request: wrong, ..generic() }, "the filter is not a regular expression"),
        (TriggerSpec { request: superseding.clone(), ..generic() }, "supersede"),
    ] {
        let refused = stage.triggers.change(&name(), spec, after(1)).await.unwrap_err();
        assert!(refused.to_string().contains(told), "{refused}");
    }
    // A call may well say which runs are meant.
    let mapping = Mapping { reference: Some("{/branch}".into()), ..Mapping::default() };
    for spec in [
        TriggerSpec { request: superseding.clone(), mapping, ..generic() },
        TriggerSpec { request: superseding, ..github() },
    ] {
        stage.triggers.change(&name(), spec, after(1)).await.unwrap();
    }
}

#[tokio::test]
async fn triggers_are_made_once_changed_and_deleted() {
    let stage = stage(generic()).await;
    let triggers = &stage.triggers;
    let (_, new) = triggers.create(name(), generic(), None, after(1)).await.unwrap();
    assert!(!new, "the same again");
    let taken = triggers.create(name(), github(), None, after(1)).await.unwrap_err();
    assert!(matches!(taken, TriggerError::Taken(_)), "{taken}");
    triggers.declare(vec![("b".parse().unwrap(), github())], after(1)).await.unwrap();
    let full = triggers.create("c".parse().unwrap(), generic(), None, after(1)).await;
    assert!(matches!(full, Err(TriggerError::TooMany(2))));
    assert!(stage.hit("webhooks_most"));
    let b = "b".parse().unwrap();
    let declared = triggers.change(&b, generic(), after(1)).await.unwrap_err();
    assert!(matches!(declared, TriggerError::Declared(_)), "{declared}");
    assert!(matches!(triggers.delete(&b).await, Err(TriggerError::Declared(_))));
    let stage = stage.reopened().await;
    assert_eq!(stage.triggers.list().await.len(), 2);
    stage.triggers.declare(vec![], after(2)).await.unwrap();
    assert!(matches!(stage.triggers.get(&b).await, Err(TriggerError::NoTrigger(_))));
    let changed = stage.triggers.change(&name(), github(), after(3)).await.unwrap();
    assert_eq!(changed.trigger.changed_at, after(3));
    let old = stage.deliver(call("one", now(), &json!({}))).await.unwrap_err();
    assert!(matches!(old, Refusal::Unsigned(_)), "{old}");
}

#[tokio::test]
async fn values_that_cannot_be_are_refused() {
    let stage = stage(generic()).await;
    let wrong = async |spec| {
        let made = stage.triggers.create("x".parse().unwrap(), spec, None, now()).await;
        made.unwrap_err().to_string()
    };
    assert!(wrong(TriggerSpec { suite: None, ..generic() }).await.contains("mapping.suite"));
    let secret = Secret("hunter2".into());
    assert!(wrong(TriggerSpec { secret, ..generic() }).await.contains("openssl rand"));
    let mapping = Mapping { reference: Some("{sha}".into()), ..Mapping::default() };
    assert!(wrong(TriggerSpec { mapping, ..generic() }).await.contains("no JSON pointer"));
    let filter = GithubFilter { events: vec!["release".into()], ..GithubFilter::default() };
    let sender = Sender::Github(filter);
    assert!(wrong(TriggerSpec { sender, ..github() }).await.contains("deployment_status"));
    let description = Some("x".repeat(10));
    assert!(wrong(TriggerSpec { description, ..generic() }).await.contains("description"));
    assert!(stage.hit("webhooks_description_bytes"));
}
