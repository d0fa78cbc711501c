//! Reads the debug information of a component's modules into a table. In the child process only: how
//! much time and memory that takes is up to whoever wrote it.

use std::collections::HashMap;

use addr2line::Context;
use addr2line::gimli::{Dwarf, EndianSlice, LittleEndian};
use wasmparser::{BinaryReaderError, FunctionBody, Operator, Parser, Payload};

use super::{Entry, LeftOut, MAX_INLINED, Symbols, readable, start};

impl Symbols {
    /// The table for `component`, which is valid; an empty one if there is no debug information in it.
    /// If it or the table has more than `limit` bytes, that is left out.
    pub(crate) fn read(component: &[u8], limit: u64) -> Result<Self, BinaryReaderError> {
        let modules = modules(component)?;
        let sections = modules.iter().flat_map(|module| &module.sections);
        let bytes = sections.map(|(_, data)| data.len() as u64).sum();
        let left_out = |bytes| Self { left_out: Some(LeftOut { bytes, limit }), ..Self::default() };
        if bytes > limit {
            return Ok(left_out(bytes));
        }
        let mut table = Table::default();
        // In the order of the binary, which is that of offsets.
        for module in modules.iter().filter(|module| !module.sections.is_empty()) {
            table.add(module, limit)?;
        }
        let bytes = table.symbols.bytes();
        Ok(if bytes > limit { left_out(bytes) } else { table.symbols })
    }
}

/// A core module, as far as it matters here.
#[derive(Default)]
struct Module<'a> {
    /// Where the code section's content starts: DWARF counts from there.
    code: usize,
    bodies: Vec<FunctionBody<'a>>,
    /// Its debug sections: name and content.
    sections: Vec<(&'a str, &'a [u8])>,
}

fn modules(component: &[u8]) -> Result<Vec<Module<'_>>, BinaryReaderError> {
    let mut modules = Vec::new();
    // Those that are not at their end; components take a place too.
    let mut open: Vec<Module<'_>> = Vec::new();
    for payload in Parser::new(0).parse_all(component) {
        match payload? {
            Payload::Version { .. } => open.push(Module::default()),
            Payload::End(_) => modules.extend(open.pop()),
            Payload::CodeSectionStart { range, .. } => {
                open.iter_mut().last().into_iter().for_each(|module| module.code = range.start);
            }
            Payload::CodeSectionEntry(body) => {
                open.iter_mut()
                    .last()
                    .into_iter()
                    .for_each(|module| module.bodies.push(body.clone()));
            }
            Payload::CustomSection(section) if section.name().starts_with(".debug_") => {
                let section = (section.name(), section.data());
                open.iter_mut().last().into_iter().for_each(|module| module.sections.push(section));
            }
            _ => {}
        }
    }
    modules.sort_by_key(|module| module.code);
    Ok(modules)
}

/// A table as it grows, with what is in it already.
#[derive(Default)]
struct Table {
    symbols: Symbols,
    texts: HashMap<Box<str>, u32>,
    text_bytes: u64,
    stacks: HashMap<Vec<Entry>, u32>,
}

type Debug<'a> = Context<EndianSlice<'a, LittleEndian>>;

impl Table {
    /// Takes in a module, or as much of it as makes more than `limit` bytes.
    fn add(&mut self, module: &Module<'_>, limit: u64) -> Result<(), BinaryReaderError> {
        let section = |name: &str| {
            let found = module.sections.iter().find(|(known, _)| *known == name);
            EndianSlice::new(found.map_or(&[][..], |(_, data)| data), LittleEndian)
        };
        let dwarf = Dwarf::load(|id| Ok::<_, addr2line::gimli::Error>(section(id.name())));
        // What cannot be read is as good as not there: nothing depends on it.
        let Ok(debug) = dwarf.and_then(Context::from_dwarf) else { return Ok(()) };
        let mut end = 0;
        for body in &module.bodies {
            if self.symbols.table_bytes() + self.text_bytes > limit {
                break;
            }
            let range = body.range();
            self.row(range.start, Vec::new());
            let mut operators = body.get_operators_reader()?;
            while !operators.eof() {
                let (operator, offset) = operators.read_with_offset()?;
                if can_stop(&operator) {
                    let stack = self.look_up(&debug, offset - module.code);
                    self.row(offset, stack);
                }
            }
            end = range.end;
        }
        self.row(end, Vec::new());
        Ok(())
    }

    /// The functions at `address`, the innermost first.
    fn look_up(&mut self, debug: &Debug<'_>, address: usize) -> Vec<Entry> {
        let mut stack = Vec::new();
        let Ok(mut frames) = debug.find_frames(address as u64).skip_all_loads() else {
            return stack;
        };
        while stack.len() < MAX_INLINED
            && let Ok(Some(frame)) = frames.next()
        {
            let function = frame.function.as_ref().and_then(|name| name.raw_name().ok());
            let function = function.map(|name| readable(&name));
            let place = frame.location.as_ref();
            let file = place.and_then(|place| place.file).map(start);
            let number = |number: Option<u32>| number.unwrap_or(0);
            stack.push(Entry {
                function: function.map_or(0, |name| self.text(&name)),
                file: file.map_or(0, |file| self.text(file)),
                line: number(place.and_then(|place| place.line)),
                column: number(place.and_then(|place| place.column)),
            });
        }
        stack
    }

    /// From `offset` on `stack` holds.
    fn row(&mut self, offset: usize, stack: Vec<Entry>) {
        // The start of a function is a row even if nothing changes there.
        let is_start = stack.is_empty();
        let Symbols { frames, stacks, rows, .. } = &mut self.symbols;
        let number = *self.stacks.entry(stack).or_insert_with_key(|stack| {
            stacks.push(frames.len() as u32);
            frames.extend(stack);
            stacks.len() as u32 - 1
        });
        if is_start || rows.last().is_none_or(|(_, last)| *last != number) {
            rows.push((offset as u32, number));
        }
    }

    /// The text's number, counted from 1.
    fn text(&mut self, text: &str) -> u32 {
        if let Some(number) = self.texts.get(text) {
            return *number;
        }
        self.symbols.texts.push(text.into());
        self.text_bytes += text.len() as u64;
        let number = self.symbols.texts.len() as u32;
        self.texts.insert(text.into(), number);
        number
    }
}

/// Whether a guest can trap, be interrupted or be in a call here. What is left out for brevity only
/// costs a row.
fn can_stop(operator: &Operator<'_>) -> bool {
    use Operator::*;
    !matches!(
        operator,
        LocalGet { .. }
            | LocalSet { .. }
            | LocalTee { .. }
            | GlobalGet { .. }
            | GlobalSet { .. }
            | I32Const { .. }
            | I64Const { .. }
            | Block { .. }
            | If { .. }
            | Else
            | End
            | Drop
            | Select
            | Br { .. }
            | BrIf { .. }
            | I32Add
            | I32Sub
            | I32Eqz
            | I32Eq
            | I32Ne
            | I32And
            | I32Shl
    )
}

#[cfg(test)]
mod tests {
    use wat::{GenerateDwarf, Parser};

    use super::*;

    /// A component around a core module with debug information, and that module's text.
    fn component() -> (Vec<u8>, String) {
        let core =
            "(module\n (func $inner\n  unreachable)\n (func $outer\n  call $inner))".to_owned();
        let module =
            Parser::new().generate_dwarf(GenerateDwarf::Full).parse_str(None, &core).unwrap();
        let mut bytes = b"\0asm\x0d\0\x01\0\x01".to_vec();
        let length = module.len();
        bytes.extend([
            length as u8 & 0x7f | 0x80,
            (length >> 7) as u8 & 0x7f | 0x80,
            (length >> 14) as u8,
        ]);
        bytes.extend(module);
        (bytes, core)
    }

    /// Where the functions of the component start, and where the last operator but one of each is.
    fn functions(component: &[u8]) -> Vec<(usize, usize)> {
        let modules = modules(component).unwrap();
        let bodies = modules.iter().flat_map(|module| &module.bodies);
        bodies
            .map(|body| {
                let mut operators = body.get_operators_reader().unwrap();
                (body.range().start, operators.read_with_offset().unwrap().1)
            })
            .collect()
    }

    #[test]
    fn each_place_has_its_function_and_line() {
        let (component, text) = component();
        let symbols = Symbols::read(&component, u64::MAX).unwrap();
        for ((start, offset), (name, line)) in
            functions(&component).into_iter().zip([("inner", "unreachable"), ("outer", "call")])
        {
            let found: Vec<_> = symbols.find(start, offset).collect();
            let expected = 1 + text.lines().position(|at| at.contains(line)).unwrap() as u32;
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!(found[0].function.map(|name| name.trim_start_matches('$')), Some(name));
            assert_eq!(found[0].place.map(|(file, line, _)| (file.ends_with(".wat"), line)), {
                Some((true, expected))
            });
            // Not of this component, though the offset is one of its own.
            assert_eq!(symbols.find(start + 1, offset).count(), 0);
        }
        assert_eq!(symbols.find(usize::MAX, usize::MAX).count(), 0);
        assert_eq!(symbols.left_out(), None);
    }

    #[test]
    fn debug_information_beyond_the_limit_is_left_out_and_told() {
        let (component, _) = component();
        let symbols = Symbols::read(&component, 100).unwrap();
        assert!(symbols.left_out().is_some_and(|left| left.bytes > 100 && left.limit == 100));
        let (start, offset) = functions(&component)[0];
        assert_eq!(symbols.find(start, offset).count(), 0);
    }

    #[test]
    fn what_cannot_be_read_is_as_good_as_not_there() {
        let (component, _) = component();
        let name = b".debug_info";
        let at = component.windows(name.len()).position(|part| part == name).unwrap() + name.len();
        for broken in 0..64 {
            let mut component = component.clone();
            component[at + broken] ^= 0xff;
            Symbols::read(&component, u64::MAX).unwrap();
        }
        let plain = wat::parse_str("(component (core module (func)))").unwrap();
        assert_eq!(Symbols::read(&plain, 0).unwrap(), Symbols::default());
    }

    #[test]
    fn a_table_reads_back() {
        let symbols = Symbols::read(&component().0, u64::MAX).unwrap();
        let bytes = postcard::to_allocvec(&symbols).unwrap();
        assert_eq!(postcard::from_bytes::<Symbols>(&bytes).unwrap(), symbols);
    }
}
