//! The settings of the HTTP server (config key `[http]`).

use serde::{Deserialize, Serialize};

/// Bounds on clients, and whom browsers may call for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpSettings {
    /// Connections at the same time. A further one takes the place of one that is idle, without a
    /// request under way: of the address that has the most connections, the one idle longest. If
    /// none is idle, it waits. Default: 1,024.
    pub connections: usize,
    /// A connection is closed if it sends no complete request head for so long, when it is new and
    /// when it is kept alive. Default: 30 s.
    pub header_timeout_ms: u64,
    /// The longest path with its query. Default: 8 KiB; at most 65,534 bytes.
    pub uri_bytes: u64,
    /// The largest head of a request: its first line and its headers. Until it is complete, a connection
    /// holds so much of it, and while its buffer grows twice as much, but never less than 8 KiB. So heads
    /// that come slowly take `connections` times that at most. Default: 64 KiB.
    pub head_bytes: u64,
    /// How many headers a request may have. Default: 100.
    pub headers: usize,
    /// A body must have arrived within this time. Default: 2 minutes.
    pub body_timeout_ms: u64,
    /// A connection is closed if its client takes nothing of an answer for so long. Default: 30 s.
    pub write_timeout_ms: u64,
    /// A connection is closed if its client makes an answer wait for longer than `write_timeout_ms` in
    /// all and one second for each time that it takes so many bytes. Time in which nothing waits to
    /// be sent does not count. Default: 16 KiB.
    pub write_bytes_per_s: u64,
    /// After an answer to a request whose body is not wanted, how long the server goes on reading, so
    /// that the client gets to read the answer. Default: 30 s.
    pub linger_ms: u64,
    /// How much it then reads. Default: 128 MiB.
    pub linger_bytes: u64,
    /// An answer must have begun within this time; time that a client asks to wait is added.
    /// Default: 30 s.
    pub request_timeout_ms: u64,
    /// An upload must be received, compiled and described within this time. Default: 10 minutes.
    pub upload_timeout_ms: u64,
    /// The largest JSON body. Components have a bound of their own, `compile.component_bytes`.
    /// Default: 1 MiB.
    pub body_bytes: u64,
    /// Bytes of all JSON bodies together that are being received or worked on. Default: 64 MiB.
    pub body_memory_bytes: u64,
    /// Bytes of all uploads together that are being received, or wait to be compiled, or are compiled.
    /// Default: 256 MiB.
    pub upload_memory_bytes: u64,
    /// The longest `?wait=`; a longer one is cut to this. Default: 5 minutes.
    pub max_wait_ms: u64,
    /// How often a stream of events without events shows that it is alive. Default: 15 s.
    pub heartbeat_ms: u64,
    /// Reports that are worked on at the same time; further ones wait. One that waits for its client
    /// is not worked on. Default: 4.
    pub reports: usize,
    /// Reports that have begun and not ended, those included that wait for their clients; further ones
    /// wait. Default: 64.
    pub open_reports: usize,
    /// A report must be written to its client within this time; otherwise it breaks off.
    /// Default: 10 minutes.
    pub report_timeout_ms: u64,
    /// An export must be written to its client within this time, and an import received and stored; otherwise
    /// it breaks off. Default: 6 hours.
    pub transfer_timeout_ms: u64,
    /// Once asked to stop, and after the time for runs under way (`runner.drain_ms`), how long answers
    /// under way may take. Default: 10 s.
    pub shutdown_timeout_ms: u64,
    /// Names by which clients may call the server, beside `localhost` and addresses. Checked when
    /// there are any, and always when the server listens on a loopback address: a web page must not
    /// reach it under a name of its own (DNS rebinding). Default: none.
    pub allowed_hosts: Vec<String>,
    /// Origins, such as `https://dashboard.example.com`, whose pages may use the API. Default: none.
    pub allowed_origins: Vec<String>,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            connections: 1_024,
            header_timeout_ms: 30_000,
            uri_bytes: 8 << 10,
            head_bytes: 64 << 10,
            headers: 100,
            body_timeout_ms: 120_000,
            write_timeout_ms: 30_000,
            write_bytes_per_s: 16 << 10,
            linger_ms: 30_000,
            linger_bytes: 128 << 20,
            request_timeout_ms: 30_000,
            upload_timeout_ms: 600_000,
            body_bytes: 1 << 20,
            body_memory_bytes: 64 << 20,
            upload_memory_bytes: 256 << 20,
            max_wait_ms: 300_000,
            heartbeat_ms: 15_000,
            reports: 4,
            open_reports: 64,
            report_timeout_ms: 600_000,
            transfer_timeout_ms: 6 * 3_600_000,
            shutdown_timeout_ms: 10_000,
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
        }
    }
}
