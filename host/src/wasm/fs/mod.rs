//! The scratch directory: `wasi:filesystem` in memory, with nothing of the host's behind it.
//!
//! A guest finds one directory, `/tmp`, empty and its own to write in. Its bytes and files are bounded
//! by [`Limits::scratch_bytes`] and [`Limits::scratch_files`] and are gone with the attempt. There are
//! no links. wasmtime-wasi's own filesystem is not used: it has no quota, and most of the ways out of
//! the sandbox that were found in it led through there.

mod bindings;
mod stream;
#[cfg(test)]
mod tests;
mod tree;
mod wasi;

use std::sync::Arc;

use wasmtime::component::{HasData, Linker, ResourceTable};

use self::tree::{Fault, Node, Space};
use super::limits::LimitsHit;
use crate::model::{Limit, Limits};

/// Where the guest finds its scratch directory.
const SCRATCH_PATH: &str = "/tmp";

/// One attempt's files. Costs nothing until the guest asks for them.
pub(crate) struct FsCtx {
    scratch_bytes: u64,
    scratch_files: u64,
    hits: LimitsHit,
    scratch: Option<Arc<Node>>,
}

impl FsCtx {
    /// An empty scratch directory within `limits`.
    pub(crate) fn new(limits: &Limits, hits: LimitsHit) -> Self {
        let Limits { scratch_bytes, scratch_files, .. } = *limits;
        Self { scratch_bytes, scratch_files, hits, scratch: None }
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
