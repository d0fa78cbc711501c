//! Files that attempts kept. Pictures of harmless kinds and short texts are shown in place; everything else
//! is a download, which the API answers so that no browser shows it under our name.

use super::Web;
use super::show;
use super::text::{self, Html};
use crate::model::{Artifact, Attempt, Digest, Run, RunId};
use crate::storage::{Storage, StorageError};

/// How many files are listed of a run.
const FILES: usize = 60;
/// The largest picture that is shown in place.
const PICTURE_BYTES: u64 = 4 << 20;
/// The largest text that is read to be shown in place, and how much of it is shown.
const TEXT_BYTES: u64 = 256 << 10;
const TEXT_SHOWN: usize = 4 << 10;

/// A file.
pub(super) struct File {
    pub(super) name: Html,
    /// The name where no markup can be.
    pub(super) plain: String,
    pub(super) media_type: Html,
    pub(super) size: String,
    pub(super) url: String,
    pub(super) is_picture: bool,
    /// The start of a text; filled in by [`read_texts`].
    pub(super) text: Html,
    digest: Digest,
    is_text: bool,
}

impl File {
    fn of(run: RunId, artifact: &Artifact) -> Self {
        let kind = artifact.media_type.split(';').next().unwrap_or_default().trim();
        let kind = kind.to_ascii_lowercase();
        let picture = matches!(&*kind, "image/png" | "image/jpeg" | "image/gif" | "image/webp");
        let text = kind.starts_with("text/") || matches!(&*kind, "application/json");
        Self {
            name: text::name(&text::start(&artifact.name, 200)),
            plain: text::plain(&text::start(&artifact.name, 200)),
            media_type: text::guest(&text::start(&artifact.media_type, 80)),
            size: show::bytes(artifact.size_bytes),
            url: format!("/api/v1/runs/{run}/artifacts/{}", artifact.digest),
            is_picture: picture && artifact.size_bytes <= PICTURE_BYTES,
            text: Html::default(),
            digest: artifact.digest,
            is_text: text && artifact.size_bytes <= TEXT_BYTES,
        }
    }
}

/// The first files of a run.
pub(super) fn of_run(run: &Run) -> Vec<File> {
    let tests = run.tests.iter().map(|test| &test.attempts);
    let all = [&run.setup].into_iter().chain(tests).chain([&run.teardown]);
    let files = all.flat_map(|attempts| attempts.iter()).flat_map(|it| it.artifacts.iter());
    files.take(FILES).map(|artifact| File::of(run.spec.id, artifact)).collect()
}

/// The files of an attempt.
pub(super) fn of_attempt(run: RunId, attempt: &Attempt) -> Vec<File> {
    attempt.artifacts.iter().take(FILES).map(|artifact| File::of(run, artifact)).collect()
}

/// Reads the start of what is text.
pub(super) async fn read_texts(web: &Web, files: &mut [File]) -> Result<(), StorageError> {
    let storage: &Storage = &web.app.storage;
    for file in files.iter_mut().filter(|file| file.is_text) {
        if let Some(content) = storage.artifact(&file.digest).await? {
            file.text = text::guest(&text::start(&String::from_utf8_lossy(&content), TEXT_SHOWN));
        }
    }
    Ok(())
}
