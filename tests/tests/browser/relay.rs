//! An address that stays while the server behind it is replaced, as with a server that is restarted where it
//! listens.

use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, TcpStream};

/// Passes connections on. Ends when it is dropped.
pub(crate) struct Relay {
    url: String,
    to: Arc<Mutex<String>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Relay {
    /// Passes connections on to the server at that address.
    pub(crate) async fn start(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let to = Arc::new(Mutex::new(host(server)));
        let at = Arc::clone(&to);
        let task = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let at = at.lock().unwrap().clone();
                tokio::spawn(async move {
                    if let Ok(mut server) = TcpStream::connect(at).await {
                        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        });
        Self { url, to, task }
    }

    /// Where it is.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Passes further connections on to another server.
    pub(crate) fn lead_to(&self, server: &str) {
        *self.to.lock().unwrap() = host(server);
    }
}

fn host(url: &str) -> String {
    url.trim_start_matches("http://").to_owned()
}
