//! The archive writes to a store that nobody here wrote, which checks every signature by itself.

use std::net::Ipv4Addr;
use std::path::Path;

use handoff_tests::{Client, Server, guest};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use reqwest::{Method, StatusCode};
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::harness::deliveries;
use crate::services::archive::{ID, SECRET};

const BUCKET: &str = "runs";

/// A store that keeps objects below `root`; where it is.
async fn store(root: &Path) -> String {
    std::fs::create_dir(root.join(BUCKET)).unwrap();
    let mut service = S3ServiceBuilder::new(s3s_fs::FileSystem::new(root).unwrap());
    service.set_auth(SimpleAuth::from_single(ID, SECRET));
    let service = service.build();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (stream, service) = (TokioIo::new(stream), service.clone());
            tokio::spawn(http1::Builder::new().serve_connection(stream, service));
        }
    });
    url
}

async fn install(client: &Client, name: &str, store: &str, secret: &str) {
    let request = client.request(Method::POST, &format!("/plugins?name={name}"));
    client.send(request.body(guest("archive"))).await.expect(StatusCode::CREATED);
    let grant = json!({
        "config": {"endpoint": store, "bucket": BUCKET, "region": "eu-central-1"},
        "secrets": {"access_key_id": ID, "secret_access_key": secret},
        "policy": {"allow_http": [store]},
    });
    let request = client.request(Method::PATCH, &format!("/plugins/{name}")).json(&grant);
    assert_eq!(client.send(request).await.expect(StatusCode::OK)["enabled"], true);
}

#[tokio::test]
async fn a_store_that_checks_signatures_takes_runs_by_the_right_key_alone() {
    let root = tempfile::tempdir().unwrap();
    let (store, server) = (store(root.path()).await, Server::start().await);
    let client = server.client();
    client.upload_guest("noop").await;
    install(&client, "fine", &store, SECRET).await;
    install(&client, "denied", &store, "wJalrXUtnFEMI/K7MDENG/bPxRfiCYwrong").await;
    let run = client.run("noop", &json!({})).await;
    let id = run["id"].as_str().unwrap();
    let all = |status: &'static str| {
        move |found: &[Value]| !found.is_empty() && found.iter().all(|it| it["status"] == status)
    };
    deliveries(&client, "fine", all("delivered")).await;
    let denied = deliveries(&client, "denied", all("set_aside")).await;
    let why = denied[0]["last"]["error"].as_str().unwrap();
    assert!(why.contains("SignatureDoesNotMatch"), "{why}");

    let kept = root.path().join(BUCKET).join("default/noop");
    let read = |ending: &str| std::fs::read_to_string(kept.join(format!("{id}.{ending}"))).unwrap();
    let report = async |format: &str| {
        let path = format!("/runs/{id}/report?format={format}");
        client.get(&path).await.expect(StatusCode::OK)
    };
    assert_eq!(serde_json::from_str::<Value>(&read("json")).unwrap(), report("json").await);
    assert_eq!(read("xml"), report("junit").await.as_str().unwrap());
}
