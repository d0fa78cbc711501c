//! Files and lines for backtraces, without reading debug information in the server.
//!
//! DWARF is a program that a component's author wrote: a few megabytes of it can cost gigabytes and
//! minutes to read, at each trap. So the child process that compiles also looks up every place at
//! which a guest can stop (`build`), once, within its limits; what comes out is this plain table, in
//! which the server searches in steps that grow with the logarithm of its size.

mod build;

use serde::{Deserialize, Serialize};

/// The most functions that are told of one place in the code, inlined ones included.
const MAX_INLINED: usize = 64;

/// The longest name of a function or a file, in bytes.
const MAX_NAME_BYTES: usize = 1024;

/// Which functions of the source stand where in a component's code.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Symbols {
    texts: Vec<Box<str>>,
    frames: Vec<Entry>,
    /// Where in `frames` each stack of inlined functions starts; the next one's start is its end.
    stacks: Vec<u32>,
    /// From which offset in the component on which stack holds, in order. Each function has a row at
    /// its own start.
    rows: Vec<(u32, u32)>,
    left_out: Option<LeftOut>,
}

/// Debug information that is not used, since it is more than `compile.debug_bytes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LeftOut {
    /// How much there is, in bytes: of the component's sections, or of the table made of them.
    pub(crate) bytes: u64,
    /// The setting.
    pub(crate) limit: u64,
}

/// A function and a place in it; the numbers are those of texts, and 0 stands for nothing known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Entry {
    function: u32,
    file: u32,
    line: u32,
    column: u32,
}

/// A function that was called or inlined, as the source has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Symbol<'a> {
    /// Its name, readable, if it is known.
    pub(crate) function: Option<&'a str>,
    /// File, line and column, if they are known.
    pub(crate) place: Option<(&'a str, u32, Option<u32>)>,
}

/// A function's name as a person writes it, cut.
pub(crate) fn readable(name: &str) -> String {
    let name = format!("{:#}", rustc_demangle::demangle(start(name)));
    start(&name).to_owned()
}

fn start(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_NAME_BYTES)]
}

impl Symbols {
    /// The functions at `offset` in the component, which lies in the function that starts at `start`:
    /// the innermost first. None where nothing is known.
    pub(crate) fn find(&self, start: usize, offset: usize) -> impl Iterator<Item = Symbol<'_>> {
        self.stack(start, offset).unwrap_or_default().iter().map(|entry| {
            let column = Some(entry.column).filter(|column| *column > 0);
            let place = self.text(entry.file).filter(|_| entry.line > 0);
            Symbol {
                function: self.text(entry.function),
                place: place.map(|file| (file, entry.line, column)),
            }
        })
    }

    /// Debug information that is not in here.
    pub(crate) fn left_out(&self) -> Option<LeftOut> {
        self.left_out
    }

    /// About how much memory it takes.
    pub(crate) fn bytes(&self) -> u64 {
        let texts = self.texts.iter().map(|text| text.len() + size_of::<Box<str>>()).sum::<usize>();
        texts as u64 + self.table_bytes()
    }

    fn table_bytes(&self) -> u64 {
        let Self { frames, stacks, rows, .. } = self;
        (size_of_val(&**frames) + size_of_val(&**stacks) + size_of_val(&**rows)) as u64
    }

    fn stack(&self, start: usize, offset: usize) -> Option<&[Entry]> {
        let (start, offset) = (u32::try_from(start).ok()?, u32::try_from(offset).ok()?);
        // Code that the engine makes itself, to pass values between components, has offsets of its
        // own, which are hardly the starts of functions here. At those nothing is known yet.
        let (_, own) = self.rows[self.rows.binary_search_by_key(&start, |row| row.0).ok()?];
        if !self.frames_of(own)?.is_empty() {
            return None;
        }
        let next = self.rows.partition_point(|row| row.0 <= offset);
        self.frames_of(self.rows.get(next.checked_sub(1)?)?.1)
    }

    fn frames_of(&self, stack: u32) -> Option<&[Entry]> {
        let stack = stack as usize;
        let first = *self.stacks.get(stack)? as usize;
        let last = self.stacks.get(stack + 1).map_or(self.frames.len(), |end| *end as usize);
        self.frames.get(first..last)
    }

    fn text(&self, number: u32) -> Option<&str> {
        let at = (number as usize).checked_sub(1)?;
        self.texts.get(at).map(|text| &**text)
    }
}
