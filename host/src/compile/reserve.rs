//! Makes room for the adapter in the memory of a Go program.
//!
//! The adapter needs a little memory of its own. A module that gives none by `cabi_realloc` has its
//! memory grown for it; but Go's runtime takes for granted that nobody grows memory beside it
//! (runtime/mem_wasm.go: what it was given and what it asks for are one piece), so the two would write
//! over each other. What lies below the end of its static data it leaves alone. So that end, a field of
//! the linker's `runtime.firstmoduledata` (runtime/symtab.go), is moved up some pages, and a
//! `cabi_realloc` is added that hands these out.

use std::ops::Range;

use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, Encode as _, ExportKind, Function, GlobalSection,
    GlobalType, MemorySection, MemoryType, Module, RawSection, TypeSection, ValType,
};
use wasmparser::{BinaryReader, BinaryReaderError, DataKind, Operator, Parser, Payload, TypeRef};

/// What is added to a module's exports.
const REALLOC: &str = "cabi_realloc";

/// What is reserved: the adapter takes a page for its state and one for its stack.
const PAGES: u64 = 4;
const PAGE_BYTES: u64 = 1 << 16;

/// The module with room for the adapter. None if it lacks nothing; an error if it is not as Go's
/// linker makes them.
pub(super) fn reserve(module: &[u8]) -> Result<Option<Vec<u8>>, Unknown> {
    let Some(shape) = Shape::read(module)? else { return Ok(None) };
    let memory = shape.memory.ok_or(Unknown::Runtime)?;
    let patch = Patch::find(module, memory.initial * PAGE_BYTES)?;
    let start = patch.start;
    let mut made = Module::new();
    for payload in Parser::new(0).parse_all(module) {
        let Some((id, range)) = payload?.as_section() else { continue };
        let content = &module[range.clone()];
        let more = |entry: Vec<u8>| with_one_more(content, &entry);
        let data = match id {
            TYPES => {
                let mut types = TypeSection::new();
                types.ty().function([ValType::I32; 4], [ValType::I32]);
                more(entry_of(&types))?
            }
            FUNCTIONS => more(encoded(&shape.types))?,
            MEMORIES => {
                let minimum = memory.initial + PAGES;
                let maximum = memory.maximum.map(|maximum| maximum.max(minimum));
                let mut memories = MemorySection::new();
                let (memory64, shared, page_size_log2) = (false, false, None);
                memories.memory(MemoryType { minimum, maximum, memory64, shared, page_size_log2 });
                content_of(&memories)
            }
            GLOBALS => {
                let mut globals = GlobalSection::new();
                let global = GlobalType { val_type: ValType::I32, mutable: true, shared: false };
                globals.global(global, &ConstExpr::i32_const(start as i32));
                more(entry_of(&globals))?
            }
            EXPORTS => {
                let mut entry = Vec::new();
                REALLOC.encode(&mut entry);
                ExportKind::Func.encode(&mut entry);
                shape.functions.encode(&mut entry);
                more(entry)?
            }
            CODE => {
                let mut code = CodeSection::new();
                code.function(&realloc(shape.globals, start + PAGES * PAGE_BYTES));
                more(entry_of(&code))?
            }
            DATA => patch.applied(content, range.start),
            _ => content.to_vec(),
        };
        made.section(&RawSection { id, data: &data });
    }
    Ok(Some(made.finish()))
}

const TYPES: u8 = 1;
const FUNCTIONS: u8 = 3;
const MEMORIES: u8 = 5;
const GLOBALS: u8 = 6;
const EXPORTS: u8 = 7;
const CODE: u8 = 10;
const DATA: u8 = 11;

/// Why there is no room.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unknown {
    /// It cannot be read.
    #[error(transparent)]
    Binary(#[from] BinaryReaderError),
    /// It has not the form in which Go's linker leaves a program.
    #[error(
        "its Go runtime is not of a kind that is known here; build it with Go 1.21 or newer, or make a \
         component of it yourself"
    )]
    Runtime,
}

/// How many of everything a module has, imports included.
#[derive(Default)]
struct Shape {
    types: u32,
    functions: u32,
    globals: u32,
    memory: Option<wasmparser::MemoryType>,
}

impl Shape {
    /// None if nothing is to be added.
    fn read(module: &[u8]) -> Result<Option<Self>, Unknown> {
        let (mut shape, mut sections) = (Self::default(), Vec::new());
        for payload in Parser::new(0).parse_all(module) {
            let payload = payload?;
            sections.extend(payload.as_section().map(|(id, _)| id));
            match payload {
                Payload::TypeSection(types) => {
                    // Types of garbage collection, of which one entry is several, are off.
                    shape.types = types.count();
                }
                Payload::ImportSection(imports) => {
                    for import in imports.into_imports() {
                        match import?.ty {
                            TypeRef::Func(_) => shape.functions += 1,
                            TypeRef::Global(_) => shape.globals += 1,
                            _ => {}
                        }
                    }
                }
                Payload::FunctionSection(functions) => shape.functions += functions.count(),
                Payload::GlobalSection(globals) => shape.globals += globals.count(),
                Payload::MemorySection(memories) => {
                    shape.memory = memories.into_iter().next().transpose()?;
                }
                Payload::ExportSection(exports) => {
                    for export in exports {
                        if export?.name == REALLOC {
                            return Ok(None);
                        }
                    }
                }
                _ => {}
            }
        }
        let whole = [TYPES, FUNCTIONS, MEMORIES, GLOBALS, EXPORTS, CODE, DATA];
        let is_whole = whole.iter().all(|id| sections.contains(id));
        if is_whole { Ok(Some(shape)) } else { Err(Unknown::Runtime) }
    }
}

/// The end of the static data, moved up.
struct Patch {
    /// Where the reserved pages begin.
    start: u64,
    /// Bytes of the module that change, each with its place.
    bytes: Vec<(usize, u8)>,
}

/// Words of `firstmoduledata` from `noptrdata` to `end`: where each kind of static data begins and ends.
const WORDS: usize = 11;

/// More than lies between two kinds of data: the linker aligns them to 32 bytes at most.
const ALIGNMENT: u64 = 64;

/// Less than the runtime alone has of data with pointers, without, and of what begins as zeroes: from
/// Go 1.21 to 1.27 at least 75 KiB, 33 KiB and 66 KiB.
const SMALLEST: u64 = 4 << 10;

impl Patch {
    /// Finds the one place in a module's data that has the form of those words.
    fn find(module: &[u8], memory_bytes: u64) -> Result<Self, Unknown> {
        let segments = segments(module)?;
        let data_bytes = segments.iter().map(|(at, bytes)| at + bytes.len()).max().unwrap_or(0);
        if data_bytes as u64 > memory_bytes {
            return Err(Unknown::Runtime);
        }
        let mut image = vec![0; data_bytes];
        for (at, bytes) in &segments {
            image[*at..at + bytes.len()].copy_from_slice(&module[bytes.clone()]);
        }
        let fits = |at: &usize| ends_here(&image[*at..], data_bytes as u64, memory_bytes);
        let mut places = (0..(image.len() + 1).saturating_sub(8 * WORDS)).step_by(8).filter(fits);
        let (Some(place), None) = (places.next(), places.next()) else {
            return Err(Unknown::Runtime);
        };
        let at = place + 8 * (WORDS - 1);
        let start = word(&image[at..]).next_multiple_of(PAGE_BYTES);
        let moved = (start + PAGES * PAGE_BYTES).to_le_bytes();
        let changed = (at..).zip(moved).filter(|(at, byte)| image[*at] != *byte);
        let bytes = changed.map(|(at, byte)| {
            // Of two segments over the same place the later one counts.
            let mut holders = segments.iter().rev();
            let holder = holders.find(|(from, bytes)| (*from..from + bytes.len()).contains(&at));
            let (from, bytes) = holder.ok_or(Unknown::Runtime)?;
            Ok((bytes.start + at - from, byte))
        });
        Ok(Self { start, bytes: bytes.collect::<Result<_, Unknown>>()? })
    }

    /// A section that begins at `from` in its module, with the bytes that change in it.
    fn applied(&self, section: &[u8], from: usize) -> Vec<u8> {
        let mut section = section.to_vec();
        for (at, byte) in &self.bytes {
            if let Some(place) = at.checked_sub(from).and_then(|at| section.get_mut(at)) {
                *place = *byte;
            }
        }
        section
    }
}

/// The segments of data, each with its address and where its bytes are in the module.
fn segments(module: &[u8]) -> Result<Vec<(usize, Range<usize>)>, Unknown> {
    let mut segments = Vec::new();
    for payload in Parser::new(0).parse_all(module) {
        let Payload::DataSection(section) = payload? else { continue };
        for data in section {
            let data = data?;
            let DataKind::Active { memory_index: 0, offset_expr } = data.kind else {
                return Err(Unknown::Runtime);
            };
            let Operator::I32Const { value } = offset_expr.get_operators_reader().read()? else {
                return Err(Unknown::Runtime);
            };
            let bytes = data.range.end - data.data.len()..data.range.end;
            segments.push((value.cast_unsigned() as usize, bytes));
        }
    }
    Ok(segments)
}

/// Whether `words` are those, in a program with so much static data that is not zero, and so much
/// memory from the start.
fn ends_here(words: &[u8], data_bytes: u64, memory_bytes: u64) -> bool {
    let at = |index: usize| word(&words[8 * index..]);
    // Most places are no address above the page of zeroes, which is seen by the first word.
    if !(4096..memory_bytes).contains(&at(0)) || !(1..WORDS).all(|i| at(i - 1) <= at(i)) {
        return false;
    }
    // A table of pointers may be in order by chance. But here each kind of data is large, and begins where
    // the one before it ends.
    let large = [0, 2, 4].iter().all(|from| at(from + 1) - at(*from) >= SMALLEST);
    let touching = [2, 4, 6].iter().all(|from| at(*from) - at(from - 1) < ALIGNMENT);
    // What is not zero ends in the data with pointers: of the rest a module has nothing.
    let has_last_byte = at(2) < data_bytes && data_bytes <= at(3);
    large && touching && has_last_byte && at(WORDS - 1) <= memory_bytes
}

/// The number that begins there.
fn word(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Hands out what lies between the value of a global and `end`, once.
fn realloc(global: u32, end: u64) -> Function {
    let (old, align, size, at) = (0, 2, 3, 4);
    let mut function = Function::new([(1, ValType::I32)]);
    let mut code = function.instructions();
    // Nothing is ever given back or enlarged.
    code.local_get(old).if_(BlockType::Empty).unreachable().end();
    // at = (global + align - 1) & -align
    code.global_get(global).local_get(align).i32_add().i32_const(1).i32_sub();
    code.i32_const(0).local_get(align).i32_sub().i32_and().local_tee(at);
    code.local_get(size).i32_add().global_set(global);
    code.global_get(global).i32_const(end as i32).i32_gt_u();
    code.if_(BlockType::Empty).unreachable().end();
    code.local_get(at).end();
    function
}

/// A section's content with one entry more.
fn with_one_more(content: &[u8], entry: &[u8]) -> Result<Vec<u8>, BinaryReaderError> {
    let mut reader = BinaryReader::new(content, 0);
    let count = reader.read_var_u32()?;
    let entries = &content[reader.original_position()..];
    Ok([&encoded(&(count + 1)), entries, entry].concat())
}

/// The one entry of a section.
fn entry_of(section: &impl wasm_encoder::Encode) -> Vec<u8> {
    // Its count takes one byte.
    content_of(section).split_off(1)
}

/// A section without its size.
fn content_of(section: &impl wasm_encoder::Encode) -> Vec<u8> {
    let section = encoded(section);
    let mut reader = BinaryReader::new(&section, 0);
    // A section of ours always has a size.
    _ = reader.read_var_u32();
    section[reader.original_position()..].to_vec()
}

fn encoded(value: &impl wasm_encoder::Encode) -> Vec<u8> {
    let mut bytes = Vec::new();
    value.encode(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_text(words: [u64; WORDS]) -> String {
        let bytes = words.into_iter().flat_map(u64::to_le_bytes);
        bytes.map(|byte| format!("\\{byte:02x}")).collect()
    }

    /// A module with these words of `firstmoduledata` at 4,200, in two pages of memory.
    fn module(words: [u64; WORDS], fields: &str) -> Vec<u8> {
        let words = in_text(words);
        let text = format!(
            r#"(module (import "a" "f" (func (param i32))) (import "a" "g" (global i32))
                 (memory (export "memory") 2 3) (global i32 i32.const 7)
                 (func (export "_start")) (func (result i32) i32.const 5) {fields}
                 (data (i32.const 4096) "abc") (data (i32.const 4200) "{words}")
                 (data (i32.const 30000) "x"))"#
        );
        wat::parse_str(text).unwrap()
    }

    const WORDS_OF_GO: [u64; WORDS] =
        [4200, 20_000, 20_000, 40_000, 40_016, 60_000, 60_008, 70_000, 70_000, 70_000, 70_001];

    #[test]
    fn the_end_of_data_moves_up_and_what_lies_before_it_is_handed_out() {
        let reserved = reserve(&module(WORDS_OF_GO, "")).unwrap().unwrap();
        wasmparser::validate(&reserved).unwrap();
        let engine = wasmtime::Engine::default();
        let module = wasmtime::Module::new(&engine, &reserved).unwrap();
        let mut store = wasmtime::Store::new(&engine, ());
        let f = wasmtime::Func::wrap(&mut store, |_: i32| ());
        let g = wasmtime::GlobalType::new(wasmtime::ValType::I32, wasmtime::Mutability::Const);
        let g = wasmtime::Global::new(&mut store, g, 0.into()).unwrap();
        let instance = wasmtime::Instance::new(&mut store, &module, &[f.into(), g.into()]).unwrap();
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        assert_eq!((memory.size(&store), memory.ty(&store).maximum()), (6, Some(6)));
        let words = &memory.data(&store)[4200..];
        assert_eq!((word(&words[72..]), word(&words[80..])), (70_000, 6 << 16));
        let realloc =
            instance.get_typed_func::<(i32, i32, i32, i32), i32>(&mut store, REALLOC).unwrap();
        let start = 2 << 16;
        for (align, size, at) in
            [(1, 3, start), (8, 1 << 16, start + 8), (1, 1, start + 8 + (1 << 16))]
        {
            assert_eq!(realloc.call(&mut store, (0, 0, align, size)).unwrap(), at);
        }
        assert!(realloc.call(&mut store, (start, 3, 1, 6)).is_err(), "nothing is enlarged");
        assert!(realloc.call(&mut store, (0, 0, 1, 3 << 16)).is_err(), "there is no more");
    }

    /// Large programs have such tables of pointers.
    #[test]
    fn pointers_that_are_in_order_by_chance_are_no_second_place() {
        let table =
            [5000, 5016, 5032, 35_000, 35_016, 35_032, 35_048, 36_000, 37_000, 38_000, 70_001];
        let chance = format!(r#"(data (i32.const 4104) "{}")"#, in_text(table));
        assert!(reserve(&module(WORDS_OF_GO, &chance)).unwrap().is_some());
    }

    #[test]
    fn a_module_that_gives_memory_itself_stays_as_it_is() {
        let given =
            r#"(func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)"#;
        assert!(reserve(&module(WORDS_OF_GO, given)).unwrap().is_none());
    }

    #[test]
    fn what_go_did_not_link_is_told() {
        let without_memory = wat::parse_str(r#"(module (func (export "_start")))"#).unwrap();
        let mut out_of_order = WORDS_OF_GO;
        out_of_order[3] = 0;
        let mut beyond = WORDS_OF_GO;
        beyond[WORDS - 1] = 3 << 16;
        let mut apart = WORDS_OF_GO;
        apart[6] += ALIGNMENT;
        let mut short = WORDS_OF_GO;
        (short[3], short[4]) = (30_000, 30_000);
        let twice = format!(r#"(data (i32.const 5000) "{}")"#, in_text(WORDS_OF_GO));
        for module in [
            without_memory,
            module(out_of_order, ""),
            module(beyond, ""),
            module(apart, ""),
            module(short, ""),
            module(WORDS_OF_GO, &twice),
        ] {
            assert!(matches!(reserve(&module), Err(Unknown::Runtime)));
        }
    }
}
