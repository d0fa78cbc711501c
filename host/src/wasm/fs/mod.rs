//! Files: `wasi:filesystem` in memory, with nothing of the host's behind it.
//!
//! A guest finds the scratch directory `/tmp`, empty and its own to write in. Its bytes and files are
//! bounded by [`Limits::scratch_bytes`] and [`Limits::scratch_files`] and are gone with the attempt. The
//! fixtures, if its version has any, are a second directory, in which nobody can change anything, so
//! that all attempts share it. There are no links. wasmtime-wasi's own filesystem is not used: it has no
//! quota, and most of the ways out of the sandbox that were found in it led through there.

mod archive;
mod bindings;
mod pack;
mod stream;
#[cfg(test)]
mod tests;
mod tree;
mod wasi;

use std::sync::Arc;

use wasmtime::component::{HasData, Linker, ResourceTable};

pub use self::archive::{ArchiveError, FixtureContents};
pub(super) use self::archive::{measure, unpack};
pub use self::pack::{PackError, pack};
pub(super) use self::tree::Node;

use self::tree::{Fault, Space};
use super::fixtures::FixtureFiles;
use super::limits::LimitsHit;
use crate::model::{Limit, Limits};

/// Where the guest finds its scratch directory.
const SCRATCH_PATH: &str = "/tmp";

/// Files that a guest finds and cannot change.
pub(crate) struct Mount {
    /// Where.
    pub(crate) path: String,
    /// What is there.
    pub(crate) files: Arc<FixtureFiles>,
}

/// One attempt's files. Costs nothing until the guest asks for them.
pub(crate) struct FsCtx {
    fixtures: Option<Mount>,
    scratch_bytes: u64,
    scratch_files: u64,
    hits: LimitsHit,
    scratch: Option<Arc<Node>>,
}

impl FsCtx {
    /// An empty scratch directory within `limits`, and these fixtures.
    pub(crate) fn new(limits: &Limits, fixtures: Option<Mount>, hits: LimitsHit) -> Self {
        let Limits { scratch_bytes, scratch_files, .. } = *limits;
        Self { fixtures, scratch_bytes, scratch_files, hits, scratch: None }
    }

    fn scratch(&mut self) -> Result<Arc<Node>, Fault> {
        if let Some(root) = &self.scratch {
            return Ok(root.clone());
        }
        let root =
            Node::root(&Space::new(self.scratch_bytes, self.scratch_files, self.hits.clone()))?;
        Ok(self.scratch.insert(root).clone())
    }

    fn hit_handles(&self) {
        self.hits.hit(Limit::Handles);
    }
}

/// A view of a store's state, on which the host traits are implemented.
pub(crate) struct FsView<'a> {
    /// The attempt's files.
    pub(crate) ctx: &'a mut FsCtx,
    /// The store's resources.
    pub(crate) table: &'a mut ResourceTable,
}

struct HasFs;

impl HasData for HasFs {
    type Data<'a> = FsView<'a>;
}

/// Links `wasi:filesystem/types` and `wasi:filesystem/preopens`.
pub(crate) fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    view: fn(&mut T) -> FsView<'_>,
) -> wasmtime::Result<()> {
    bindings::types::add_to_linker::<T, HasFs>(linker, view)?;
    bindings::preopens::add_to_linker::<T, HasFs>(linker, view)
}
