//! Every bound on what one attempt may use: its name, its default, and how an operator changes it.

use serde::{Deserialize, Serialize};

/// Declares each limit once: as a field of [`Limits`] with its default, as an optional field of
/// [`LimitsPatch`], and as a variant of [`Limit`] whose name is the same in settings, metrics and
/// messages.
macro_rules! limits {
    ($($(#[doc = $doc:literal])+ $field:ident, $variant:ident = $default:expr;)+) => {
        /// What one attempt may use. A suite's policy may set each; the server's settings give the
        /// defaults.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Limits {
            $($(#[doc = $doc])+ pub $field: u64,)+
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }

        /// Limits that a policy sets; what it does not set stays as the server has it.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields, expecting = "an object of limits")]
        pub struct LimitsPatch {
            $($(#[doc = $doc])+
            #[serde(skip_serializing_if = "Option::is_none")]
            pub $field: Option<u64>,)+
        }

        impl Limits {
            /// These limits with those of `patch` in place of its own.
            pub fn patched(&self, patch: &LimitsPatch) -> Self {
                Self { $($field: patch.$field.unwrap_or(self.$field),)+ }
            }

            /// The value of one limit.
            pub fn get(&self, limit: Limit) -> u64 {
                match limit { $(Limit::$variant => self.$field,)+ }
            }
        }

        /// The name of a limit, for messages, metrics and what an attempt reports as hit.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Limit {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Limit {
            /// Every limit.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The limit's name in settings, metrics and messages.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => stringify!($field),)+ }
            }
        }
    };
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

limits! {
    /// Wall time of one attempt in milliseconds, when neither the test nor the suite says: 60 s.
    timeout_ms, TimeoutMs = 60_000;
    /// The longest wall time of one attempt in milliseconds, whoever asks, extensions included: 15 min.
    max_timeout_ms, MaxTimeoutMs = 900_000;
    /// Instructions of one attempt, in wasmtime's units of fuel: 10^12, many minutes of computing. 0
    /// runs the suite unmetered, as the languages in `sandbox.unmetered_languages` do where their policy
    /// sets none.
    fuel, Fuel = 1_000_000_000_000;
    /// Bytes of the arguments that a policy gives to a program, each with the NUL behind it.
    args_bytes, ArgsBytes = 16 * KIB;
    /// Linear memory of one attempt, in sum over its memories.
    memory_bytes, MemoryBytes = 256 * MIB;
    /// Elements of tables of one attempt, in sum over its tables.
    table_elements, TableElements = 100_000;
    /// Core instances of one attempt.
    instances, Instances = 100;
    /// Handles to resources that the guest holds at one time.
    handles, Handles = 2_000;
    /// Bytes that one host call may copy out of the guest.
    host_call_bytes, HostCallBytes = 16 * MIB;
    /// Bytes of log kept from the start.
    log_head_bytes, LogHeadBytes = 256 * KIB;
    /// Bytes of log kept from the end.
    log_tail_bytes, LogTailBytes = 64 * KIB;
    /// Bytes of one log line; the rest of a longer one is dropped.
    log_line_bytes, LogLineBytes = 16 * KIB;
    /// Bytes of a failure message, its file's name, a reason, a name of a part; the rest is cut.
    message_bytes, MessageBytes = 64 * KIB;
    /// Failures that one attempt reports beside the first.
    failures, Failures = 100;
    /// Bytes of all names, messages and attributes of failures, parts and spans of one attempt, in sum.
    record_bytes, RecordBytes = 4 * MIB;
    /// Files kept with one attempt.
    artifacts, Artifacts = 32;
    /// Bytes of one file kept.
    artifact_bytes, ArtifactBytes = 8 * MIB;
    /// Bytes of all files kept with one attempt.
    artifact_total_bytes, ArtifactTotalBytes = 32 * MIB;
    /// Values set in one run.
    values, Values = 256;
    /// Bytes of one value.
    value_bytes, ValueBytes = 64 * KIB;
    /// Bytes of secret values set in one run, in sum; every text is searched for each of them.
    secret_bytes, SecretBytes = 64 * KIB;
    /// Bytes of the name of a value or a file kept, and of a file's media type.
    name_bytes, NameBytes = 512;
    /// Spans of one attempt.
    spans, Spans = 1_000;
    /// Attributes of one span; further ones are dropped.
    span_attributes, SpanAttributes = 64;
    /// Named parts of one attempt.
    sub_results, SubResults = 10_000;
    /// Outgoing HTTP requests and TCP connections of one attempt, denied ones included.
    requests, Requests = 1_000;
    /// Outgoing HTTP requests and TCP connections of one attempt at the same time.
    concurrent_requests, ConcurrentRequests = 32;
    /// Bytes that one attempt may send.
    sent_bytes, SentBytes = 64 * MIB;
    /// Bytes that one attempt may receive.
    received_bytes, ReceivedBytes = 256 * MIB;
    /// Bytes of one request's or answer's header.
    header_bytes, HeaderBytes = 64 * KIB;
    /// Bytes of randomness of one attempt.
    random_bytes, RandomBytes = 16 * MIB;
    /// Bytes of files in the scratch directory; they live in the host's memory.
    scratch_bytes, ScratchBytes = 32 * MIB;
    /// Files and directories in the scratch directory.
    scratch_files, ScratchFiles = 1_000;
    /// Tests of one suite.
    tests, Tests = 20_000;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_changes_what_it_names() {
        let patch: LimitsPatch = serde_json::from_str(r#"{"memory_bytes": 1}"#).unwrap();
        let limits = Limits::default().patched(&patch);
        assert_eq!(limits, Limits { memory_bytes: 1, ..Limits::default() });
        assert_eq!(limits.get(Limit::MemoryBytes), 1);
    }

    #[test]
    fn a_limit_has_one_name_everywhere() {
        let json = serde_json::to_value(Limits::default()).unwrap();
        for limit in Limit::ALL {
            assert_eq!(json[limit.as_str()], Limits::default().get(*limit), "{limit:?}");
            assert_eq!(serde_json::to_value(limit).unwrap(), limit.as_str());
        }
        assert!(serde_json::from_str::<LimitsPatch>(r#"{"memry_bytes": 1}"#).is_err());
    }
}
