//! The files that tests keep, as files.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::cli::exit::Failure;
use crate::model::{Attempt, Run};

/// Writes the files of all attempts as `DIR/<test>/<round>-<attempt>-<number>-<name>`.
pub(super) fn write_artifacts(dir: &Path, run: &Run) -> Result<(), Failure> {
    let stages = [("(setup)", &run.setup), ("(teardown)", &run.teardown)];
    let tests = run.tests.iter().map(|test| (test.name.as_str(), &test.attempts));
    for (test, attempts) in stages.into_iter().chain(tests) {
        for (attempt, artifact, path) in paths(&dir.join(file_name(test)), attempts) {
            let written = path.parent().map_or(Ok(()), std::fs::create_dir_all);
            let written = written.and_then(|()| std::fs::write(&path, &artifact.content));
            let told = || format!("write an artifact of attempt {attempt} to {}", path.display());
            written.with_context(told).map_err(Failure::platform)?;
        }
    }
    Ok(())
}

fn paths<'a>(
    dir: &'a Path,
    attempts: &'a [Attempt],
) -> impl Iterator<Item = (u32, &'a crate::model::Artifact, PathBuf)> {
    attempts.iter().flat_map(move |attempt| {
        (1..).zip(&attempt.artifacts).map(move |(number, artifact): (u32, _)| {
            let name = file_name(&artifact.name);
            let (round, tried) = (attempt.round, attempt.number);
            (tried, artifact, dir.join(format!("{round}-{tried}-{number}-{name}")))
        })
    })
}

/// A guest's text as one harmless part of a path. Two texts may become the same.
fn file_name(text: &str) -> String {
    const LONGEST: usize = 100;
    let safe = |c: char| if c.is_alphanumeric() || "-_.() ".contains(c) { c } else { '_' };
    let mut name: String = text.chars().take(LONGEST).map(safe).collect();
    while name.len() > 2 * LONGEST {
        name.pop();
    }
    if name.is_empty() || name.starts_with('.') { format!("_{name}") } else { name }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::model::{EventKind, Stage};

    #[test]
    fn a_guest_cannot_choose_where_its_files_go() {
        for (text, expected) in [
            ("../../etc/passwd", "_.._.._etc_passwd"),
            ("", "_"),
            ("/", "_"),
            (".", "_."),
            ("a\0b\nc", "a_b_c"),
            ("log in (größe)", "log in (größe)"),
        ] {
            assert_eq!(file_name(text), expected);
        }
        assert!(file_name(&"日".repeat(1000)).len() <= 255);
    }

    #[test]
    fn artifacts_of_all_attempts_are_written_apart() {
        let mut events = crate::cli::sample::events();
        let content = Bytes::from_static(b"x");
        let artifact = crate::model::Artifact {
            name: "../shot.png".into(),
            media_type: "image/png".into(),
            size_bytes: 1,
            digest: crate::model::Digest::of(&content),
            content,
        };
        for event in &mut events {
            if let EventKind::AttemptFinished { stage: Stage::Test(name), attempt } =
                &mut event.kind
                && name == "is flaky"
            {
                attempt.artifacts = vec![artifact.clone(), artifact.clone()];
            }
        }
        let run = Run::fold(&events).unwrap();
        let dir = tempfile::tempdir().unwrap();
        write_artifacts(dir.path(), &run).unwrap();
        let written = std::fs::read_dir(dir.path().join("is flaky")).unwrap();
        let mut names: Vec<_> =
            written.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        assert_eq!(
            names,
            [
                "1-1-1-_.._shot.png",
                "1-1-2-_.._shot.png",
                "1-2-1-_.._shot.png",
                "1-2-2-_.._shot.png"
            ]
        );
    }
}
