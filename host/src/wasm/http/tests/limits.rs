//! Each bound on the traffic, hit.

use super::*;

#[tokio::test]
async fn bytes_sent_are_bounded() {
    let server = Server::new(|mut stream| async move {
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    })
    .await;
    let limits = Limits { sent_bytes: 10_000, ..Limits::default() };
    let mut attempt = Attempt::limited(&server.origin, limits);
    let error = attempt.send(post(&server.origin, vec![0; 10_001])).await.unwrap_err();
    assert!(matches!(error, Error::HttpRequestBodySize(Some(10_000))), "{error}");
    assert_eq!(attempt.hits.take(), [Limit::SentBytes]);
    assert!(attempt.exchange().error.unwrap().contains("limit sent_bytes of 10000 bytes"));
}

#[tokio::test]
async fn bytes_received_are_bounded() {
    let server = Server::new(|mut stream| async move {
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n";
        let _ = stream.write_all(head.as_bytes()).await;
        let piece = [b'x'; 100_000];
        for _ in 0..1000 {
            if stream.write_all(&piece).await.is_err() {
                return;
            }
        }
    })
    .await;
    let limits = Limits { received_bytes: 1_000_000, ..Limits::default() };
    let mut attempt = Attempt::limited(&server.origin, limits);
    let error = attempt.get(&server.origin).await.unwrap_err();
    assert!(matches!(error, Error::HttpResponseBodySize(Some(1_000_000))), "{error}");
    assert_eq!(attempt.hits.take(), [Limit::ReceivedBytes]);
    let exchange = attempt.exchange();
    assert!(exchange.received_bytes <= 1_000_000);
    assert!(exchange.error.unwrap().contains("received_bytes"));
}

#[tokio::test]
async fn headers_are_bounded_both_ways() {
    let long = "x".repeat(20_000);
    let answer = format!("HTTP/1.1 200 OK\r\nx-long: {long}\r\ncontent-length: 0\r\n\r\n");
    let server = Server::saying(answer).await;
    let limits = Limits { header_bytes: 10_000, ..Limits::default() };
    let mut attempt = Attempt::limited(&server.origin, limits);
    let mut request = get(&server.origin);
    request.headers_mut().insert("x-long", long.parse().unwrap());
    let error = attempt.send(request).await.unwrap_err();
    assert!(matches!(error, Error::HttpRequestHeaderSectionSize(Some(_))), "{error}");
    assert_eq!(attempt.hits.take(), [Limit::HeaderBytes]);
    let error = attempt.get(&server.origin).await.unwrap_err();
    assert!(matches!(error, Error::HttpResponseHeaderSectionSize(Some(10_000))), "{error}");
    assert_eq!(attempt.hits.take(), [Limit::HeaderBytes]);
}

#[tokio::test]
async fn requests_are_bounded_in_number() {
    let server = Server::saying(OK).await;
    let limits = Limits { requests: 2, ..Limits::default() };
    let mut attempt = Attempt::limited(&server.origin, limits);
    assert!(attempt.get(&server.origin).await.is_ok());
    assert!(attempt.get("http://elsewhere.test").await.is_err());
    let error = attempt.get(&server.origin).await.unwrap_err();
    assert!(matches!(error, Error::ConnectionLimitReached), "{error}");
    assert_eq!(attempt.hits.take(), [Limit::Requests]);
    assert_eq!(attempt.traffic.finish().len(), 2);
}

#[tokio::test]
async fn concurrent_requests_wait_for_their_turn() {
    static OPEN: AtomicUsize = AtomicUsize::new(0);
    static MOST: AtomicUsize = AtomicUsize::new(0);
    let server = Server::new(|mut stream| async move {
        MOST.fetch_max(OPEN.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        OPEN.fetch_sub(1, Ordering::SeqCst);
        let _ = stream.write_all(OK.as_bytes()).await;
    })
    .await;
    let limits = Limits { concurrent_requests: 3, ..Limits::default() };
    let mut attempt = Attempt::limited(&server.origin, limits);
    let sending: Vec<_> = (0..20)
        .map(|_| {
            let processed = Box::new(std::future::ready(Ok(())));
            let sender = &mut attempt.http.sender;
            Box::into_pin(sender.send_request(get(&server.origin), None, processed))
        })
        .collect();
    let answers = join_all(sending.into_iter().map(|sending| async {
        let (answer, _) = sending.await?;
        read(answer).await
    }));
    assert!(answers.await.into_iter().all(|answer| answer.is_ok()));
    assert!((1..=3).contains(&MOST.load(Ordering::SeqCst)));
    assert_eq!(attempt.hits.take(), [Limit::ConcurrentRequests]);
    let traces = attempt.traffic.finish().into_iter().map(|exchange| exchange.trace_id);
    assert_eq!(traces.collect::<HashSet<_>>().len(), 20);
}
