//! Whom the sender trusts.

use super::*;

/// A certificate authority of the test's own, and a server it vouches for.
struct Tls {
    authority: String,
    acceptor: tokio_rustls::TlsAcceptor,
}

impl Tls {
    fn new(name: &str) -> Self {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let authority = params.self_signed(&key).unwrap();
        let issuer = rcgen::Issuer::new(params, key);
        let server_key = rcgen::KeyPair::generate().unwrap();
        let server = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        let server = server.signed_by(&server_key, &issuer).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = rustls_pki_types::PrivatePkcs8KeyDer::from(server_key.serialize_der()).into();
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![server.der().clone()], key)
            .unwrap();
        Self { authority: authority.pem(), acceptor: Arc::new(config).into() }
    }

    async fn serve(self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("https://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if let Ok(stream) = self.acceptor.accept(stream).await {
                    answer_securely(stream).await;
                }
            }
        });
        origin
    }
}

async fn answer_securely(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    head(&mut stream).await;
    let _ = stream.write_all(OK.as_bytes()).await;
    let _ = stream.shutdown().await;
}

#[tokio::test]
async fn tls_trusts_the_operators_authority_and_no_stranger() {
    let tls = Tls::new("127.0.0.1");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &tls.authority).unwrap();
    let origin = tls.serve().await;
    let trusting = HttpShared::new(Some(file.path()), system()).unwrap();
    let mut attempt = Attempt::with(&origin, Limits::default(), trusting.clone());
    assert_eq!(attempt.get(&origin).await.unwrap(), (StatusCode::OK, "ok".into()));

    let mut stranger = Attempt::new(&origin);
    let error = stranger.get(&origin).await.unwrap_err();
    assert!(matches!(error, Error::TlsCertificateError), "{error}");
    assert!(stranger.exchange().error.unwrap().contains("`tls_ca_file`"));

    // The right authority, another name.
    let by_name = origin.replace("127.0.0.1", "localhost");
    let mut attempt = Attempt::with(&by_name, Limits::default(), trusting);
    let error = attempt.get(&by_name).await.unwrap_err();
    assert!(matches!(error, Error::TlsCertificateError), "{error}");
}

#[tokio::test]
async fn a_server_without_tls_is_a_clear_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    });
    let mut attempt = Attempt::new(&origin);
    let error = attempt.get(&origin).await.unwrap_err();
    assert!(matches!(error, Error::TlsProtocolError), "{error}");
    assert!(attempt.exchange().error.unwrap().starts_with("the TLS handshake failed"));
}

#[test]
fn a_file_of_authorities_that_is_none_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    for content in ["", "no PEM", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"] {
        std::fs::write(file.path(), content).unwrap();
        let error = HttpShared::new(Some(file.path()), system()).err().unwrap().to_string();
        assert!(error.contains("must be a PEM file"), "{error}");
    }
    assert!(HttpShared::new(Some(Path::new("/nonexistent.pem")), system()).is_err());
}
