//! A file that is built again and again, and the files beside it that its tests read.
//!
//! They are looked at a few times a second. For so few that costs next to nothing, and it works where the system
//! tells of no changes: on network file systems, in directories shared with a container, and for a file
//! that is put in another's place, or is not there for a while.

use std::fs::Metadata;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::cli::client::read_file;
use crate::cli::exit::Failure;

/// How often to look.
const LOOK: Duration = Duration::from_millis(100);
/// For how many looks a file must stay as it is, to be taken for whole.
const QUIET: u32 = 2;

/// What tells one state of a file from another: device, inode, size, and when it was last changed. None
/// if it is not there.
type FileMark = Option<(u64, u64, u64, i64, i64)>;

/// The file's, and one made of those of all files beside it.
type Mark = (FileMark, u64);

/// A file under watch.
pub(super) struct Watched {
    path: PathBuf,
    /// A file or directory beside it.
    beside: Option<PathBuf>,
    looks: Interval,
    state: State,
}

/// What was seen of it.
#[derive(Default)]
struct State {
    /// What it was when it was last read.
    read: Option<Mark>,
    /// What it was at the last look.
    seen: Option<Mark>,
    /// For how many looks it has stayed so.
    quiet: u32,
}

impl Watched {
    /// Watches that file, and another or a directory beside it. Nothing was read of it yet.
    pub(super) fn new(path: &Path, beside: Option<&Path>) -> Self {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let beside = beside.map(Path::to_owned);
        Self { path: path.to_owned(), beside, looks, state: State::default() }
    }

    /// The file, once it or what is beside it is another than when it was last read, and at rest. An error,
    /// once, if it cannot be read.
    pub(super) async fn next(&mut self) -> Result<Bytes, Failure> {
        loop {
            self.looks.tick().await;
            let mark = self.look();
            if !self.state.is_ready(mark) {
                continue;
            }
            let content = read_file(&self.path);
            // Whoever wrote meanwhile is not done: what was read may be half of each.
            if self.look() == mark {
                self.state.read = Some(mark);
                return content;
            }
        }
    }

    /// Returns when the file or what is beside it is another than when it was last read.
    pub(super) async fn change(&mut self) {
        while self.state.read == Some(self.look()) {
            self.looks.tick().await;
        }
    }

    fn look(&self) -> Mark {
        let mut hasher = DefaultHasher::new();
        if let Some(beside) = &self.beside {
            look_below(beside, &mut hasher);
        }
        (look(&self.path), hasher.finish())
    }
}

impl State {
    /// Takes in one more look. True if the file is another than the one that was read, and at rest.
    fn is_ready(&mut self, now: Mark) -> bool {
        let stays = self.seen == Some(now) && self.read != Some(now);
        self.quiet = if stays { self.quiet + 1 } else { 0 };
        self.seen = Some(now);
        self.quiet >= QUIET
    }
}

/// Takes in the marks of a file, or of all that is in a directory. What cannot be read is as if it were not there.
fn look_below(path: &Path, hasher: &mut DefaultHasher) {
    (path, look(path)).hash(hasher);
    let Ok(entries) = std::fs::read_dir(path) else { return };
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort_unstable();
    for path in paths {
        // A link to a directory is no part of an archive, and might lead back here.
        if !(path.is_symlink() && path.is_dir()) {
            look_below(&path, hasher);
        }
    }
}

fn look(path: &Path) -> FileMark {
    let mark = |it: Metadata| (it.dev(), it.ino(), it.size(), it.mtime(), it.mtime_nsec());
    std::fs::metadata(path).ok().map(mark)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_file_is_read_once_it_is_another() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.wasm");
        std::fs::write(&path, "one").unwrap();
        let mut file = Watched::new(&path, None);
        assert_eq!(file.next().await.unwrap(), "one");
        assert!(file.change().now_or_never().is_none());
        // In place, and by another file that takes its place.
        std::fs::write(&path, "second").unwrap();
        assert!(file.change().now_or_never().is_some());
        assert_eq!(file.next().await.unwrap(), "second");
        let other = dir.path().join("b");
        std::fs::write(&other, "thirds").unwrap();
        std::fs::rename(&other, &path).unwrap();
        assert_eq!(file.next().await.unwrap(), "thirds");
    }

    #[tokio::test]
    async fn a_file_that_is_not_there_is_told_once_and_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.wasm");
        let mut file = Watched::new(&path, None);
        let told = file.next().await.unwrap_err().to_string();
        assert!(told.contains("a.wasm"), "{told}");
        assert!(file.change().now_or_never().is_none());
        std::fs::write(&path, "one").unwrap();
        assert_eq!(file.next().await.unwrap(), "one");
    }

    #[tokio::test]
    async fn a_change_beside_it_is_one_too() {
        let dir = tempfile::tempdir().unwrap();
        let (path, beside) = (dir.path().join("a.wasm"), dir.path().join("files"));
        std::fs::create_dir_all(beside.join("deep")).unwrap();
        std::fs::write(&path, "one").unwrap();
        let mut file = Watched::new(&path, Some(&beside));
        for (name, content) in [("deep/b.txt", "b"), ("deep/b.txt", "other"), ("c.txt", "c")] {
            assert_eq!(file.next().await.unwrap(), "one");
            assert!(file.change().now_or_never().is_none());
            std::fs::write(beside.join(name), content).unwrap();
            assert!(file.change().now_or_never().is_some(), "{name}");
        }
        assert_eq!(file.next().await.unwrap(), "one");
        std::fs::remove_dir_all(&beside).unwrap();
        assert_eq!(file.next().await.unwrap(), "one");
    }

    #[test]
    fn a_file_is_ready_when_it_has_stayed_for_some_looks() {
        let of = |size| (Some((1, 1, size, 0, 0)), 0);
        let gone = (None, 0);
        let mut state = State::default();
        let mut ready = |looks: &[Mark]| {
            let ready = looks.iter().position(|mark| state.is_ready(*mark));
            if let Some(at) = ready {
                state.read = Some(looks[at]);
            }
            ready
        };
        assert_eq!(ready(&[of(1), of(2), of(2), of(3), of(3), of(3)]), Some(5), "it was growing");
        assert_eq!(ready(&[of(3); 9]), None, "it was read");
        assert_eq!(ready(&[of(4), of(3), of(4), of(3), of(3)]), None, "it was changed back");
        assert_eq!(ready(&[gone, of(9), gone, gone, gone]), Some(4), "it was removed");
        assert_eq!(ready(&[gone; 9]), None);
        assert_eq!(ready(&[of(3); 9]), Some(2), "it is there again as it was");
    }
}
