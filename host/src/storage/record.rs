//! How a record becomes bytes: format version, encoding, JSON.
//!
//! | format | bytes after the version |
//! | --- | --- |
//! | 0 | JSON (no release wrote it; it shows how an old format is read) |
//! | 1 | encoding (0 plain, 1 zstd), then JSON |
//! | 2 | a series of results in postcard; all other records are JSON |
//!
//! A change to a stored type that `#[serde(default)]` cannot bridge takes a new format number and a
//! branch in [`decode`]. A record of a newer format is refused, never guessed at.

use std::borrow::Cow;
use std::cell::RefCell;

use serde::Serialize;
use serde::de::DeserializeOwned;
use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::get_frame_content_size;

use super::StorageError;
use crate::statistics::Series;

/// The format that is written.
pub(super) const FORMAT: u8 = 1;
/// The format of a series of results.
const SERIES: u8 = 2;

const PLAIN: u8 = 0;
const ZSTD: u8 = 1;
/// Below this, compression costs more time than it saves room.
const COMPRESS_FROM: usize = 1 << 10;
/// The largest record whose own word on its size is taken for the room that it gets at once.
const BELIEVED: usize = 64 << 20;
/// The fastest level: the committing thread must keep up with every executor.
const LEVEL: i32 = 1;

// Making one costs more than what it does to a record, so that each thread keeps its own.
thread_local! {
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// The record of a value.
pub(super) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, StorageError> {
    let json = serde_json::to_vec(value).map_err(std::io::Error::from)?;
    pack(&json)
}

/// The record of a value that is JSON already.
pub(super) fn pack(json: &[u8]) -> Result<Vec<u8>, StorageError> {
    if json.len() >= COMPRESS_FROM {
        let packed = compress(json)?;
        if packed.len() < json.len() {
            return Ok([&[FORMAT, ZSTD], packed.as_slice()].concat());
        }
    }
    Ok([&[FORMAT, PLAIN], json].concat())
}

/// The value of a record of this format or an older one.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StorageError> {
    let json = unpack(bytes)?;
    serde_json::from_slice(&json)
        .map_err(|error| StorageError::Damaged(format!("a record ({error})")))
}

/// The record of a series.
pub(super) fn encode_series(series: &Series) -> Result<Vec<u8>, StorageError> {
    let packed = series.pack().map_err(std::io::Error::other)?;
    Ok([&[SERIES], packed.as_slice()].concat())
}

/// The series of a record of this format or an older one.
pub(super) fn decode_series(bytes: &[u8]) -> Result<Series, StorageError> {
    match bytes {
        [SERIES, packed @ ..] => Series::unpack(packed)
            .map_err(|error| StorageError::Damaged(format!("a series of results ({error})"))),
        _ => decode(bytes),
    }
}

fn unpack(bytes: &[u8]) -> Result<Cow<'_, [u8]>, StorageError> {
    match bytes {
        [0, json @ ..] => Ok(json.into()),
        [1, PLAIN, json @ ..] => Ok(json.into()),
        [1, ZSTD, packed @ ..] => Ok(decompress(packed)?.into()),
        [format, ..] if *format > FORMAT => Err(StorageError::TooNew(*format)),
        _ => Err(StorageError::Damaged("the head of a record".into())),
    }
}

fn compress(json: &[u8]) -> std::io::Result<Vec<u8>> {
    COMPRESSOR.with_borrow_mut(|kept| {
        let compressor = match kept {
            Some(compressor) => compressor,
            None => kept.insert(Compressor::new(LEVEL)?),
        };
        compressor.compress(json)
    })
}

fn decompress(packed: &[u8]) -> std::io::Result<Vec<u8>> {
    // A frame that was made at once says how much is in it; one that was damaged may say anything.
    let told = get_frame_content_size(packed).ok().flatten().and_then(|n| usize::try_from(n).ok());
    let Some(size) = told.filter(|size| *size <= BELIEVED) else {
        return zstd::stream::decode_all(packed);
    };
    DECOMPRESSOR.with_borrow_mut(|kept| {
        let decompressor = match kept {
            Some(decompressor) => decompressor,
            None => kept.insert(Decompressor::new()?),
        };
        decompressor.decompress(packed, size)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        Digest, Fixtures, Label, Policy, Protocol, Run, RunId, RunSpec, RunSummary, SuiteVersion,
    };
    use crate::statistics::{Outcome, Sample};

    fn label(value: String) -> Label {
        Label { key: "team".into(), value }
    }

    #[test]
    fn a_record_reads_back_as_it_was_whatever_its_size() {
        for length in [0, 10, COMPRESS_FROM, 100 << 10] {
            let label = label("x".repeat(length));
            let bytes = encode(&label).unwrap();
            assert_eq!(bytes[0], FORMAT);
            assert!(bytes.len() < COMPRESS_FROM + 64, "{length} became {}", bytes.len());
            assert_eq!(decode::<Label>(&bytes).unwrap(), label);
        }
    }

    #[test]
    fn a_record_of_format_0_is_read() {
        let fixture = b"\0{\"key\":\"team\",\"value\":\"payments\"}";
        assert_eq!(decode::<Label>(fixture).unwrap(), label("payments".into()));
    }

    #[test]
    fn a_record_of_format_1_is_read_as_it_was_first_written() {
        let plain = b"\x01\x00{\"key\":\"team\",\"value\":\"payments\"}";
        assert_eq!(decode::<Label>(plain).unwrap(), label("payments".into()));
        assert_eq!(encode(&label("payments".into())).unwrap(), plain);
        // `{"key":"team","value":"` + 40 × `payments ` + `"}` in one zstd frame.
        let packed = hex::decode(include_str!("fixtures/label.v1.zstd.hex").trim()).unwrap();
        assert_eq!(decode::<Label>(&packed).unwrap(), label("payments ".repeat(40)));
    }

    #[test]
    fn a_version_from_before_there_were_programs_is_a_suite() {
        let digest = Digest::of(b"");
        let written = format!(
            r#"{{"suite":{{"namespace":"a","name":"b"}},"digest":"{digest}","description":{{"description":null,"links":[],"labels":[],"owner":null,"timeout_ms":null,"attempts":null,"parallelism":null,"wants_http":[],"tests":[]}},"imports":[],"size_bytes":1,"created_at":"1970-01-01T00:00:00Z"}}"#
        );
        let record = [b"\x01\x00", written.as_bytes()].concat();
        let version = decode::<SuiteVersion>(&record).unwrap();
        assert_eq!(version.program, None);
        assert_eq!(encode(&version).unwrap(), record, "and is written as before");
        assert_eq!(version.language, None);
        let language = Some("Go".to_owned());
        let program = SuiteVersion { program: Some(Protocol::GoTest), language, ..version };
        assert_eq!(decode::<SuiteVersion>(&encode(&program).unwrap()).unwrap(), program);
    }

    /// Runs, their summaries and policies as they were before there were fixtures and arguments.
    #[test]
    fn what_has_no_fixtures_is_written_as_before() {
        let run = Run::new(crate::model::samples::spec(&["a"]));
        let policy = Policy::default();
        let before = [
            serde_json::to_string(&run.spec).unwrap(),
            serde_json::to_string(&run.summary()).unwrap(),
            serde_json::to_string(&policy).unwrap(),
        ];
        for json in &before {
            assert!(!json.contains("fixtures") && !json.contains("args"), "{json}");
        }
        let [spec, summary, stored] = before.map(|json| pack(json.as_bytes()).unwrap());
        assert_eq!(decode::<RunSpec>(&spec).unwrap(), run.spec);
        assert_eq!(decode::<RunSummary>(&summary).unwrap(), run.summary());
        assert_eq!(decode::<Policy>(&stored).unwrap(), policy);
        let fixtures =
            Fixtures { digest: Digest::of(b""), archive_bytes: 1, files: 2, unpacked_bytes: 3 };
        let spec = RunSpec { fixtures: Some(fixtures), ..run.spec };
        assert_eq!(decode::<RunSpec>(&encode(&spec).unwrap()).unwrap(), spec);
        assert!(Run::new(spec).summary().fixtures.is_some());
    }

    #[test]
    fn a_record_of_a_newer_format_is_refused() {
        assert!(matches!(decode::<Label>(b"\x02{}"), Err(StorageError::TooNew(2))));
    }

    #[test]
    fn a_series_is_read_in_both_formats_and_called_damaged_where_it_is() {
        let sample = |outcome, reference: Option<&str>| Sample {
            run: RunId::new(),
            number: 7,
            round: 1,
            at: jiff::Timestamp::now(),
            version: Digest::of(b"version"),
            reference: reference.map(str::to_owned),
            outcome,
            attempts: 1,
            failed: 0,
            duration_ms: Some(12),
            fuel: None,
        };
        let mut series = Series::default();
        for outcome in [Outcome::Passed, Outcome::Failed, Outcome::Retried].repeat(50) {
            series.push(&sample(outcome, Some("v1")));
            series.push(&sample(outcome, None));
        }
        series.push(&sample(Outcome::Failed, None));
        let (json, packed) = (encode(&series).unwrap(), encode_series(&series).unwrap());
        assert_eq!((json[0], packed[0]), (FORMAT, SERIES));
        assert_eq!(decode_series(&json).unwrap(), series);
        assert_eq!(decode_series(&packed).unwrap(), series);
        let cut = decode_series(&packed[..packed.len() - 1]);
        assert!(matches!(cut, Err(StorageError::Damaged(_))), "{cut:?}");
    }

    #[test]
    fn bytes_that_are_no_record_are_called_damaged() {
        for bytes in [&b""[..], b"\x01", b"\x01\x07{}", b"\x01\x00{", b"\x00nonsense"] {
            assert!(matches!(decode::<Label>(bytes), Err(StorageError::Damaged(_))), "{bytes:?}");
        }
        assert!(decode::<Label>(b"\x01\x01not zstd").is_err());
    }
}
