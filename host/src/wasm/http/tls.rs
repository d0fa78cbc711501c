//! Whom to trust.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::{self, PemObject};
use tokio_rustls::TlsConnector;
use wasmtime_wasi_http::Error;

/// The server's settings for TLS cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// The file of further root certificates is no good.
    #[error("read certificates from {}: {reason}: `tls_ca_file` must be a PEM file", .file.display())]
    CaFile {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The library refuses its own defaults.
    #[error("set up TLS: {0}")]
    Library(#[from] rustls::Error),
}

/// Mozilla's roots and those of the file.
pub(super) fn connector(ca_file: Option<&Path>) -> Result<TlsConnector, TlsError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(file) = ca_file {
        let bad = |reason: String| TlsError::CaFile { file: file.to_owned(), reason };
        let certificates = CertificateDer::pem_file_iter(file)
            .and_then(Iterator::collect::<Result<Vec<_>, pem::Error>>)
            .map_err(|error| bad(error.to_string()))?;
        if certificates.is_empty() {
            return Err(bad("it has no certificate".into()));
        }
        for certificate in certificates {
            roots.add(certificate).map_err(|error| bad(error.to_string()))?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A resumed session would tie one attempt to another.
    config.resumption = Resumption::disabled();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// The failure of a handshake, for the guest and for people.
pub(super) fn failure(error: &io::Error) -> (Error, String) {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(reason)) => (
            Error::TlsCertificateError,
            format!(
                "the certificate is not trusted: {reason}; if its authority is your own, add it to \
                 the server's `tls_ca_file`"
            ),
        ),
        Some(rustls::Error::AlertReceived(alert)) => {
            let alert_message = Some(format!("{alert:?}"));
            let error = Error::TlsAlertReceived { alert_id: Some(u8::from(*alert)), alert_message };
            (error, format!("the TLS handshake was refused: {alert:?}"))
        }
        _ => (Error::TlsProtocolError, format!("the TLS handshake failed: {error}")),
    }
}
