//! Components that no toolchain makes: a whole suite with something more in it.

/// The magic number, version 13 and layer 1 of a component.
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
/// A section that holds a core module.
const CORE_MODULE: u8 = 1;
/// A section that makes instances of core modules.
const CORE_INSTANCE: u8 = 2;

/// The component with a core module in it that nothing uses, but that has to be compiled.
pub(crate) fn with_module(component: &[u8], module: &[u8]) -> Vec<u8> {
    let mut bytes = component.to_vec();
    section(&mut bytes, CORE_MODULE, module);
    bytes
}

/// The same with an instance of the module, made whenever the component is.
pub(crate) fn with_instance(component: &[u8], module: &[u8]) -> Vec<u8> {
    let index = core_modules(component);
    let mut bytes = with_module(component, module);
    // One instance, made of a module, without arguments.
    let mut instance = vec![1, 0];
    leb(&mut instance, index);
    instance.push(0);
    section(&mut bytes, CORE_INSTANCE, &instance);
    bytes
}

/// The component with so many bytes in it that mean nothing.
pub(crate) fn padded(component: &[u8], bytes: usize) -> Vec<u8> {
    let mut custom = b"\x07padding".to_vec();
    custom.resize(custom.len() + bytes, 0);
    let mut padded = component.to_vec();
    section(&mut padded, 0, &custom);
    padded
}

/// A core module whose functions take long to compile: large, and with a value that lives through all
/// of it at each step.
pub(crate) fn slow_to_compile(functions: usize, steps: usize) -> Vec<u8> {
    let mut body = vec![1, 1, 0x7e];
    for step in 0..steps {
        // local0 = (local0 * step) ^ (local0 >> step), and a branch on it.
        body.extend([0x20, 0, 0x42]);
        leb(&mut body, step % 64);
        body.extend([0x7e, 0x20, 0, 0x42, (step % 64) as u8 & 0x3f, 0x88, 0x85, 0x22, 0, 0x50]);
        body.extend([0x04, 0x40, 0x42, 1, 0x21, 0, 0x0b]);
    }
    body.push(0x0b);
    let mut code = Vec::new();
    leb(&mut code, functions);
    let mut types = Vec::new();
    leb(&mut types, functions);
    for _ in 0..functions {
        leb(&mut code, body.len());
        code.extend(&body);
    }
    types.extend(std::iter::repeat_n(0, functions));
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    section(&mut module, 1, &[1, 0x60, 0, 0]);
    section(&mut module, 3, &types);
    section(&mut module, 10, &code);
    module
}

/// A core module with a memory of so many pages of 64 KiB from the start.
pub(crate) fn with_memory(pages: usize) -> Vec<u8> {
    let mut memory = vec![1, 0];
    leb(&mut memory, pages);
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    section(&mut module, 5, &memory);
    module
}

/// The component with these custom sections at the end of its largest core module.
pub(crate) fn with_sections(component: &[u8], sections: &[(&str, &[u8])]) -> Vec<u8> {
    let all = || parts(component).enumerate().filter(|(_, (id, _))| *id == CORE_MODULE);
    let largest = all().max_by_key(|(_, (_, content))| content.len()).map(|(at, _)| at);
    let mut bytes = COMPONENT.to_vec();
    for (at, (id, content)) in parts(component).enumerate() {
        let mut content = content.to_vec();
        for (name, data) in sections.iter().filter(|_| Some(at) == largest) {
            let mut custom = vec![name.len() as u8];
            custom.extend(name.bytes());
            custom.extend(*data);
            section(&mut content, 0, &custom);
        }
        section(&mut bytes, id, &content);
    }
    bytes
}

/// Debug information (DWARF 4) of about so many bytes that costs many times that to read: units with
/// nothing in them.
pub(crate) fn hostile_debug_info(bytes: usize) -> Vec<u8> {
    // Length, version, where its abbreviations are, bytes of an address; then the unit's one entry.
    let unit: &[u8] = &[8, 0, 0, 0, 4, 0, 0, 0, 0, 0, 4, 1];
    unit.repeat(bytes / unit.len())
}

/// What [`hostile_debug_info`] refers to: abbreviation 1 is a compilation unit without anything.
pub(crate) const HOSTILE_ABBREVIATIONS: &[u8] = &[1, 0x11, 0, 0, 0, 0];

/// How many core modules stand in a component itself.
fn core_modules(component: &[u8]) -> usize {
    parts(component).filter(|(id, _)| *id == CORE_MODULE).count()
}

/// The sections of a component: id and content.
fn parts(component: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = component.strip_prefix(COMPONENT).expect("a component");
    std::iter::from_fn(move || {
        let (id, after) = rest.split_first()?;
        let (size, after) = read_leb(after);
        let (content, after) = after.split_at(size);
        rest = after;
        Some((*id, content))
    })
}

fn section(bytes: &mut Vec<u8>, id: u8, content: &[u8]) {
    bytes.push(id);
    leb(bytes, content.len());
    bytes.extend(content);
}

/// Writes a number as LEB128. As a signed one it is the same up to 63.
fn leb(bytes: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn read_leb(bytes: &[u8]) -> (usize, &[u8]) {
    let (mut number, mut shift) = (0, 0);
    for (at, byte) in bytes.iter().enumerate() {
        number |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return (number, &bytes[at + 1..]);
        }
    }
    panic!("a number breaks off");
}
