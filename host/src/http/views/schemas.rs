//! Schemas of the model's closed sets of words, made from the words themselves.

use utoipa::openapi::schema::{Object, ObjectBuilder, SchemaType, Type};

use crate::model::{Limit, RunStatus};

fn words(words: impl IntoIterator<Item = &'static str>) -> ObjectBuilder {
    let kind = SchemaType::new(Type::String);
    ObjectBuilder::new().schema_type(kind).enum_values(Some(words))
}

pub(super) fn run_status() -> Object {
    words(RunStatus::ALL.iter().map(|status| status.as_str()))
        .description(Some("How the run stands."))
        .build()
}

pub(super) fn test_status() -> Object {
    words(["pending", "running", "passed", "failed", "skipped", "error", "cancelled"])
        .description(Some(
            "`failed` is the test's or the tested system's doing, `error` the platform's.",
        ))
        .build()
}

pub(super) fn source() -> Object {
    words(["stdout", "stderr", "trace", "debug", "info", "warn", "error", "host"])
        .description(Some(
            "Where a line came from: a stream, a call of `log` with its level, or the host.",
        ))
        .build()
}

/// An object with a number for each limit that is set.
pub(super) fn limits() -> Object {
    let number =
        || ObjectBuilder::new().schema_type(SchemaType::new(Type::Integer)).minimum(Some(0));
    Limit::ALL
        .iter()
        .fold(ObjectBuilder::new(), |object, limit| object.property(limit.as_str(), number()))
        .description(Some("Limits that differ from the server's."))
        .build()
}
