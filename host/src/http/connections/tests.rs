//! Connections over real sockets, with toy routes behind them.

use axum::body::Bytes;
use axum::routing::{get, post};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

struct Server {
    at: std::net::SocketAddr,
    metrics: Metrics,
    /// Told when `/until-closing` is being answered.
    begun: Arc<tokio::sync::Notify>,
    stop: CancellationToken,
    ended: tokio::task::JoinHandle<io::Result<()>>,
}

async fn server(settings: HttpSettings) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let (metrics, stop, closing) =
        (Metrics::new(), CancellationToken::new(), CancellationToken::new());
    let ends = closing.clone();
    let begun = Arc::new(tokio::sync::Notify::new());
    let begins = begun.clone();
    let routes = Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/read", post(|body: Bytes| async move { body.len().to_string() }))
        .route(
            "/until-closing",
            get(move || async move {
                begins.notify_one();
                ends.cancelled().await;
                "closing"
            }),
        )
        .route(
            "/endless",
            get(|| async {
                let zeroes =
                    futures::stream::repeat_with(|| Ok::<_, io::Error>(vec![0u8; 1 << 16]));
                axum::body::Body::from_stream(zeroes)
            }),
        );
    let (told, stopped) = (metrics.clone(), stop.clone().cancelled_owned());
    let ended =
        tokio::spawn(
            async move { serve(listener, routes, &settings, told, closing, stopped).await },
        );
    Server { at, metrics, begun, stop, ended }
}

impl Server {
    async fn send(&self, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.at).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    /// Waits until a bound was hit.
    async fn hit(&self, limit: &str) {
        while !self.metrics.render().contains(&format!("{{limit=\"{limit}\"}} 1")) {
            tokio::task::yield_now().await;
        }
    }
}

async fn rest(mut stream: TcpStream) -> String {
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text).await;
    String::from_utf8_lossy(&text).into_owned()
}

const GET: &str = "GET / HTTP/1.1\r\nhost: localhost\r\n";

#[tokio::test]
async fn a_client_that_never_ends_its_head_is_cut_off() {
    let server = server(HttpSettings { header_timeout_ms: 30, ..Default::default() }).await;
    for start in ["", "G", GET] {
        let answer = rest(server.send(start).await).await;
        assert!(!answer.contains("200 OK"), "{answer}");
    }
    // One that is kept alive and says nothing more is cut off too, after its answer.
    let answer = rest(server.send(&format!("{GET}\r\n")).await).await;
    assert!(answer.contains("200 OK") && answer.ends_with("hello"), "{answer}");
    // One that said nothing at all has not even begun a request.
    let hits = server.metrics.render();
    assert!(hits.contains("{limit=\"http_header_timeout_ms\"} "), "{hits}");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off() {
    let server = server(HttpSettings { write_timeout_ms: 30, ..Default::default() }).await;
    let stream = server.send("GET /endless HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    server.hit("http_write_timeout_ms").await;
    drop(stream);
}

#[tokio::test]
async fn a_connection_too_many_waits_while_each_other_has_a_request_under_way() {
    let server = server(HttpSettings { connections: 1, ..Default::default() }).await;
    let first = server.send("GET /until-closing HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    server.begun.notified().await;
    let second = server.send(&format!("{GET}connection: close\r\n\r\n")).await;
    server.hit("http_connections").await;
    drop(first);
    assert!(rest(second).await.ends_with("hello"));
}

#[tokio::test]
async fn a_connection_that_is_idle_gives_its_place_up() {
    let server = server(HttpSettings { connections: 1, ..Default::default() }).await;
    let mut kept_alive = server.send(&format!("{GET}\r\n")).await;
    let mut answer = [0; 15];
    kept_alive.read_exact(&mut answer).await.unwrap();
    let silent = server.send("").await;
    let begun = server.send(GET).await;
    let last = server.send(&format!("{GET}connection: close\r\n\r\n")).await;
    assert!(rest(last).await.ends_with("hello"));
    for evicted in [kept_alive, silent, begun] {
        rest(evicted).await;
    }
}

#[tokio::test]
async fn a_body_that_is_not_read_ends_its_connection_and_another_does_not() {
    let server = server(HttpSettings::default()).await;
    let unread = server.send(&format!("{GET}content-length: 5\r\n\r\n12")).await;
    let answer = rest(unread).await;
    assert!(answer.contains("connection: close") && answer.ends_with("hello"), "{answer}");
    let two = "POST /read HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\n12";
    let answers = rest(server.send(&format!("{two}{GET}connection: close\r\n\r\n")).await).await;
    assert!(answers.contains("\r\n\r\n2HTTP/1.1 200") && answers.ends_with("hello"), "{answers}");
}

#[tokio::test]
async fn a_client_that_sends_on_after_its_answer_is_heard_out_within_bounds() {
    let head = format!("{GET}content-length: 1000000\r\n\r\n");
    let silent = server(HttpSettings { linger_ms: 10, ..Default::default() }).await;
    let stream = silent.send(&head).await;
    silent.hit("http_linger_ms").await;
    assert!(rest(stream).await.ends_with("hello"));
    let talks = server(HttpSettings { linger_bytes: 10, ..Default::default() }).await;
    let mut stream = talks.send(&head).await;
    // Ends when the server has heard enough and closes.
    while stream.write_all(&[0; 100]).await.is_ok() {}
    talks.hit("http_linger_bytes").await;
}

#[tokio::test]
async fn an_answer_under_way_is_finished_before_the_server_ends() {
    let server = server(HttpSettings::default()).await;
    let request = "GET /until-closing HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let under_way = server.send(request).await;
    server.begun.notified().await;
    server.stop.cancel();
    assert!(rest(under_way).await.ends_with("closing"));
    server.ended.await.unwrap().unwrap();
}
