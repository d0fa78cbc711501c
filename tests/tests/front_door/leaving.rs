//! Clients that go away before they are answered.

use handoff_tests::Server;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

#[tokio::test]
async fn a_run_whose_client_left_comes_to_its_end_all_the_same() {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("noop").await;
    let address = server.url().strip_prefix("http://").unwrap();
    let request = format!(
        "POST /api/v1/suites/default/noop/runs HTTP/1.1\r\nhost: {address}\r\ncontent-length: 0\r\n\r\n"
    );
    for _ in 0..100 {
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        // Dropped without reading an answer.
    }
    client.run("noop", &json!({})).await;
    let runs = client.list("/runs?limit=100").await;
    assert!(runs.len() > 1, "no request was taken before its client had left");
    for run in runs {
        let run = client.finished(run["id"].as_str().unwrap()).await;
        assert_eq!(run["status"], "passed", "{run:#}");
    }
}
