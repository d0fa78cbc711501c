//! What is done with each case: one server with the plugin under a name for each fault, one run that fails and
//! one that passes, and then a look at what each service heard and what became of each delivery.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use handoff_tests::{Client, Settings, Target, guest, patiently};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpSocket;

use crate::service::{Check, Fault, Reply, Service};

/// The reference of the runs.
pub(crate) const REFERENCE: &str = "6dcb09b5b57875f334f61aebed695e2e4193db5e";
/// The test that fails.
const FILTER: &str = "^fails_by_an_unexpected_status$";
/// How long a call of a plugin may take.
const HOOK_MS: u64 = 5_000;

/// The faults, each with the name under which its plugin is installed.
const FAULTS: [(Fault, &str); 6] = [
    (Fault::None, "fine"),
    (Fault::Limited, "limited"),
    (Fault::Broken, "broken"),
    (Fault::Silent, "silent"),
    (Fault::Refused, "refused"),
    (Fault::Denied, "denied"),
];

/// A service with its plugin.
pub(crate) struct Case {
    pub(crate) component: &'static str,
    /// The plugin's configuration for a service at that URL.
    pub(crate) config: fn(&str) -> Value,
    /// The plugin's secrets, by which the service takes its requests.
    pub(crate) secrets: fn() -> Value,
    /// Secrets with other values, by which the service does not.
    pub(crate) denied: &'static [(&'static str, &'static str)],
    pub(crate) check: Check,
    /// What the service answers when it has too many requests.
    pub(crate) limited: fn() -> Reply,
    /// How many events of the two runs the plugin is told.
    pub(crate) told: usize,
    /// What is asked of it by the two runs.
    pub(crate) asked: &'static [&'static str],
    /// How an annotation of the run that fails begins.
    pub(crate) said: &'static str,
}

/// A plugin that is installed, with its service.
struct Installed {
    fault: Fault,
    name: &'static str,
    /// That of a service that is not there yet.
    socket: Option<TcpSocket>,
    service: Option<Service>,
}

impl Case {
    /// Has the case tested.
    pub(crate) async fn holds(self) {
        let settings = Settings::default()
            .flag("plugin-retry-initial-ms", 20)
            .flag("plugin-retry-max-ms", 200)
            .flag("plugin-hook-timeout-ms", HOOK_MS);
        let (server, target) = (settings.start().await, Target::start().await);
        let client = server.client();
        client.upload_guest("http").await;
        client.set_policy("http", &json!({"allow_http": [target.url()]})).await;
        let mut all = Vec::new();
        for (fault, name) in FAULTS {
            all.push(self.install(&client, fault, name).await);
        }
        let failed = run(&client, &target.url()).await;
        assert_eq!(failed["status"], "failed", "{failed:#}");
        for it in all.iter_mut().filter(|it| it.fault == Fault::Refused) {
            let tried = |found: &[Value]| found.iter().any(|it| it["attempts"].as_u64() > Some(0));
            deliveries(&client, it.name, tried).await;
            it.service = it.socket.take().map(|socket| self.play(socket, it.fault));
        }
        // The answer comes from another path then.
        let passed = run(&client, &format!("{}/ok", target.url())).await;
        assert_eq!(passed["status"], "passed", "{passed:#}");
        for it in &all {
            self.look(&client, it, &failed).await;
        }
        let path = format!("/runs/{}", failed["id"].as_str().unwrap());
        let annotations = client.json(&path).await["annotations"].clone();
        let is_said = |it: &&Value| {
            it["plugin"] == "fine" && it["title"].as_str().unwrap().starts_with(self.said)
        };
        let found = annotations.as_array().unwrap().iter().find(is_said);
        assert!(found.is_some(), "no {:?} in {annotations:#}", self.said);
    }

    async fn install(&self, client: &Client, fault: Fault, name: &'static str) -> Installed {
        let (socket, address) = bound();
        let (socket, service) = match fault {
            Fault::Refused => (Some(socket), None),
            _ => (None, Some(self.play(socket, fault))),
        };
        let request = client.request(Method::POST, &format!("/plugins?name={name}"));
        let request = request.header("content-type", "application/wasm");
        client.send(request.body(guest(self.component))).await.expect(StatusCode::CREATED);
        let url = format!("http://{address}");
        let mut secrets = (self.secrets)();
        // One that is given by its URL is another URL, too.
        for value in secrets.as_object_mut().unwrap().values_mut() {
            *value = json!(value.as_str().unwrap().replace("{url}", &url));
        }
        if fault == Fault::Denied {
            for (secret, wrong) in self.denied {
                secrets[*secret] = json!(wrong.replace("{url}", &url));
            }
        }
        let grant = json!({
            "config": (self.config)(&url), "secrets": secrets, "policy": {"allow_http": [url]},
        });
        let request = client.request(Method::PATCH, &format!("/plugins/{name}")).json(&grant);
        let plugin = client.send(request).await.expect(StatusCode::OK);
        assert_eq!(plugin["enabled"], true, "{plugin:#}");
        Installed { fault, name, socket, service }
    }

    fn play(&self, socket: TcpSocket, fault: Fault) -> Service {
        Service::start(socket, self.check, fault, self.limited)
    }

    /// What became of the deliveries, and what the service heard.
    async fn look(&self, client: &Client, it: &Installed, failed: &Value) {
        let over = |found: &[Value]| {
            found.len() == self.told && found.iter().all(|it| it["status"] != "pending")
        };
        let told = deliveries(client, it.name, over).await;
        let service = it.service.as_ref().expect("it was started");
        assert_eq!(service.wrong(), Vec::<String>::new(), "{} {:?}", self.component, it.fault);
        let heard = service.heard();
        if it.fault == Fault::Denied {
            return self.look_denied(&told, failed);
        }
        for delivery in &told {
            assert_eq!(delivery["status"], "delivered", "{:?}: {delivery:#}", it.fault);
        }
        // What went wrong the first time is asked for once more.
        let again = matches!(it.fault, Fault::Limited | Fault::Broken | Fault::Silent);
        let asked: Vec<_> = heard.iter().map(|(_, what)| what.as_str()).collect();
        assert_eq!(&asked[usize::from(again)..], self.asked, "{} {:?}", self.component, it.fault);
        let attempts = told.iter().map(|it| it["attempts"].as_u64().unwrap()).max().unwrap();
        if again || it.fault == Fault::Refused {
            assert!(attempts > 1, "{:?}: {told:#?}", it.fault);
        }
        if it.fault == Fault::Limited {
            let between = heard[1].0.at - heard[0].0.at;
            assert!(between >= Duration::from_secs(1), "asked again after {between:?}");
        }
    }

    /// A token that is refused is refused for good, and appears nowhere.
    fn look_denied(&self, told: &[Value], failed: &Value) {
        let mut of_failed = told.iter().filter(|it| it["run"] == failed["id"]);
        let delivery = of_failed.find(|it| it["status"] == "set_aside").expect("it is set aside");
        let error = delivery["last"]["error"].as_str().unwrap();
        assert!(!error.is_empty());
        for (_, wrong) in self.denied {
            let token = wrong.rsplit('/').next().unwrap();
            assert!(!format!("{told:?}").contains(token), "{told:#?}");
        }
    }
}

/// A socket with an address of its own, at which nobody listens yet.
fn bound() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("there is a free port");
    let address = socket.local_addr().unwrap();
    (socket, address)
}

async fn run(client: &Client, target: &str) -> Value {
    let request = json!({
        "filter": FILTER, "params": {"target": target}, "reference": REFERENCE, "max_attempts": 1,
    });
    client.run("http", &request).await
}

/// Waits until the deliveries of the plugin are as wanted.
pub(crate) async fn deliveries(
    client: &Client,
    name: &str,
    enough: impl Fn(&[Value]) -> bool,
) -> Vec<Value> {
    let path = format!("/plugins/{name}/deliveries");
    let wait = async {
        loop {
            let found = client.list(&path).await;
            if enough(&found) {
                return found;
            }
            tokio::task::yield_now().await;
        }
    };
    patiently("the deliveries are as wanted", wait).await
}
