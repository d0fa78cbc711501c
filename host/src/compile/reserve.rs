//! Makes room for the adapter in the memory of a Go program.
//!
//! The adapter needs a little memory of its own. A module that gives none by `cabi_realloc` has its
//! memory grown for it; but Go's runtime takes for granted that nobody grows memory beside it
//! (runtime/mem_wasm.go: what it was given and what it asks for are one piece), so the two would write
//! over each other. What is there before the runtime starts, it leaves alone: so the memory begins some
//! pages larger, and a `cabi_realloc` is added that hands these out.

use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, ExportKind, Encode as _, Function, GlobalSection, GlobalType,
    MemorySection, MemoryType, Module, RawSection, TypeSection, ValType,
};
use wasmparser::{BinaryReader, BinaryReaderError, Parser, Payload, TypeRef};

/// What is added to a module's exports.
const REALLOC: &str = "cabi_realloc";

/// What is reserved: the adapter takes a page for its state and one for its stack.
const PAGES: u64 = 4;
const PAGE_BYTES: u64 = 1 << 16;

/// The module with room for the adapter, if it lacks a `cabi_realloc` and has a memory of its own.
pub(super) fn reserve(module: &[u8]) -> Result<Option<Vec<u8>>, BinaryReaderError> {
    let Some(shape) = Shape::read(module)? else { return Ok(None) };
    let Some(memory) = shape.memory else { return Ok(None) };
    let start = memory.initial * PAGE_BYTES;
    let mut made = Module::new();
    for payload in Parser::new(0).parse_all(module) {
        let Some((id, range)) = payload?.as_section() else { continue };
        let content = &module[range];
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

/// How many of everything a module has, imports included.
#[derive(Default)]
struct Shape {
    types: u32,
    functions: u32,
    globals: u32,
    memory: Option<wasmparser::MemoryType>,
}

impl Shape {
    /// None if nothing is to be added, or something to which it would be added is not there.
    fn read(module: &[u8]) -> Result<Option<Self>, BinaryReaderError> {
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
        let whole = [TYPES, FUNCTIONS, MEMORIES, GLOBALS, EXPORTS, CODE];
        Ok(whole.iter().all(|id| sections.contains(id)).then_some(shape))
    }
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

    fn module(fields: &str) -> Vec<u8> {
        let text = format!(
            r#"(module (import "a" "f" (func (param i32))) (import "a" "g" (global i32))
                 (memory (export "memory") 2 3) (global i32 i32.const 7)
                 (func (export "_start")) (func (result i32) i32.const 5) {fields})"#
        );
        wat::parse_str(text).unwrap()
    }

    #[test]
    fn the_memory_begins_larger_and_what_was_added_is_handed_out() {
        let reserved = reserve(&module("(data (i32.const 0) \"x\")")).unwrap().unwrap();
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
        let realloc = instance.get_typed_func::<(i32, i32, i32, i32), i32>(&mut store, REALLOC).unwrap();
        let start = 2 << 16;
        for (align, size, at) in [(1, 3, start), (8, 1 << 16, start + 8), (1, 1, start + 8 + (1 << 16))] {
            assert_eq!(realloc.call(&mut store, (0, 0, align, size)).unwrap(), at);
        }
        assert!(realloc.call(&mut store, (start, 3, 1, 6)).is_err(), "nothing is enlarged");
        assert!(realloc.call(&mut store, (0, 0, 1, 3 << 16)).is_err(), "there is no more");
    }

    #[test]
    fn a_module_that_gives_memory_itself_stays_as_it_is() {
        let given = r#"(func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)"#;
        assert!(reserve(&module(given)).unwrap().is_none());
        let without_memory = wat::parse_str(r#"(module (func (export "_start")))"#).unwrap();
        assert!(reserve(&without_memory).unwrap().is_none());
    }
}
