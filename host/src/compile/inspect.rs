//! Reads an upload as what it is: hostile bytes. Validates it with the features that the engines
//! allow, counts its structure, and looks at what it exports and imports.
//!
//! Runs in the child process, because what validation may cost in time and memory is not bounded by
//! the size of the input: 200 KB of component can make the validator take gigabytes, by instantiating
//! a component with many exports many times.

use wasmparser::{Error, FuncValidatorAllocations, Parser, Payload, ValidPayload, Validator};

use super::adapt;
use super::error::{Bound, Rejection, first_few, shown};
use super::features::FEATURES;
use super::header;
use super::language::Language;
use super::offered;
use super::order::{Kind, Names};
use super::settings::Structure;

/// What a suite, plugin or program exports and imports, or why it is none of them. Of a core module, what the
/// component that is made of it does.
pub(super) fn inspect(bytes: &[u8], bounds: &Structure) -> Result<Names, Rejection> {
    let mut names = read_well(bytes, bounds)?;
    if header::is_module(bytes) {
        let component = adapt::component(bytes)?;
        let language = names.language.take();
        names = Names { language, ..read_well(&component, bounds)? };
    }
    let exports = |is: fn(&str) -> bool| names.exports.iter().any(|export| is(export));
    let kind = if exports(offered::is_tests) {
        Some(Kind::Suite)
    } else if exports(offered::is_hooks) {
        Some(Kind::Plugin)
    } else if exports(offered::is_run) {
        Some(Kind::Program)
    } else {
        None
    };
    for import in &names.imports {
        offered::check_import(import, kind.unwrap_or_default())?;
    }
    match kind {
        Some(kind) => Ok(Names { kind, ..names }),
        None => {
            let (exports, more) = first_few(&names.exports);
            Err(Rejection::NoTests { exports, more })
        }
    }
}

fn read_well(bytes: &[u8], bounds: &Structure) -> Result<Names, Rejection> {
    read(bytes, bounds).map_err(|fault| match fault {
        Fault::Rejected(rejection) => rejection,
        Fault::Invalid(error) if error.message().contains("unexpected end") => {
            Rejection::Truncated { size_bytes: bytes.len() as u64 }
        }
        Fault::Invalid(error) => Rejection::Invalid { message: shown(&error.to_string()) },
    })
}

enum Fault {
    Rejected(Rejection),
    Invalid(Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Invalid(error)
    }
}

impl From<Rejection> for Fault {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

/// Validates everything. Each section is counted before the validator sees it.
fn read(bytes: &[u8], bounds: &Structure) -> Result<Names, Fault> {
    let mut parser = Parser::new(0);
    parser.set_features(FEATURES);
    let mut validator = Validator::new_with_features(FEATURES);
    let mut allocations = FuncValidatorAllocations::default();
    let mut counts = Counts::default();
    let mut names = Names::default();
    let mut language = Language::default();
    for payload in parser.parse_all(bytes) {
        let payload = payload?;
        counts.add(&payload, bounds)?;
        if counts.depth == 1 {
            collect(&payload, &mut names, bounds)?;
        }
        language.hear(&payload, counts.depth);
        // Function by function, so that what is kept for a function is freed before the next.
        if let ValidPayload::Func(function, body) = validator.payload(&payload)? {
            let mut function = function.into_validator(allocations);
            function.validate(&body)?;
            allocations = function.into_allocations();
        }
    }
    names.language = language.name();
    Ok(names)
}

/// The names that the component itself exports and imports.
fn collect(payload: &Payload<'_>, names: &mut Names, bounds: &Structure) -> Result<(), Fault> {
    let mut keep = |list: fn(&mut Names) -> &mut Vec<String>, name: &str| {
        within(name.len() as u64, bounds.name_bytes, Bound::NameBytes)?;
        list(names).push(name.to_owned());
        within((names.exports.len() + names.imports.len()) as u64, bounds.names, Bound::Names)
    };
    match payload {
        Payload::ComponentImportSection(section) => {
            for import in section.clone() {
                keep(|names| &mut names.imports, import?.name.name)?;
            }
        }
        Payload::ComponentExportSection(section) => {
            for export in section.clone() {
                keep(|names| &mut names.exports, export?.name.name)?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// How much of everything was seen so far.
#[derive(Default)]
struct Counts {
    depth: u64,
    modules: u64,
    instances: u64,
    functions: u64,
    types: u64,
}

impl Counts {
    fn add(&mut self, payload: &Payload<'_>, bounds: &Structure) -> Result<(), Rejection> {
        let add = |total: &mut u64, count: u32, limit: u64, bound: Bound| {
            *total += u64::from(count);
            within(*total, limit, bound)
        };
        match payload {
            Payload::Version { .. } => {
                self.depth += 1;
                within(self.depth, bounds.nesting, Bound::Nesting)
            }
            Payload::End(_) => {
                self.depth = self.depth.saturating_sub(1);
                Ok(())
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => {
                add(&mut self.modules, 1, bounds.modules, Bound::Modules)
            }
            Payload::InstanceSection(section) => {
                add(&mut self.instances, section.count(), bounds.instances, Bound::Instances)
            }
            Payload::ComponentInstanceSection(section) => {
                add(&mut self.instances, section.count(), bounds.instances, Bound::Instances)
            }
            Payload::FunctionSection(section) => {
                add(&mut self.functions, section.count(), bounds.functions, Bound::Functions)
            }
            Payload::ComponentCanonicalSection(section) => {
                add(&mut self.functions, section.count(), bounds.functions, Bound::Functions)
            }
            Payload::TypeSection(section) => {
                add(&mut self.types, section.count(), bounds.types, Bound::Types)
            }
            Payload::CoreTypeSection(section) => {
                add(&mut self.types, section.count(), bounds.types, Bound::Types)
            }
            Payload::ComponentTypeSection(section) => {
                add(&mut self.types, section.count(), bounds.types, Bound::Types)
            }
            _ => Ok(()),
        }
    }
}

fn within(count: u64, limit: u64, bound: Bound) -> Result<(), Rejection> {
    if count > limit { Err(Rejection::TooComplex { bound, limit }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A suite as far as its names go, with `inside` before its export.
    fn suite(inside: &str) -> Vec<u8> {
        let text = format!(
            r#"(component (instance) {inside} (export "{}" (instance 0)))"#,
            offered::TESTS
        );
        wat::parse_str(text).unwrap()
    }

    fn refused(bytes: &[u8]) -> Rejection {
        inspect(bytes, &Structure::default()).unwrap_err()
    }

    #[test]
    fn a_suite_tells_its_names() {
        let bytes = suite(
            r#"(import "wasi:io/poll@0.2.3" (instance))
               (core module (func (export "f") (param i32) (result i32) local.get 0))"#,
        );
        let names = inspect(&bytes, &Structure::default()).unwrap();
        assert_eq!(names.imports, ["wasi:io/poll@0.2.3"]);
        assert_eq!(names.exports, [offered::TESTS]);
    }

    #[test]
    fn a_component_that_is_started_is_a_program() {
        let text = r#"(component
            (core module
                (@custom "producers" "\01\08language\02\03C11\00\04Rust\041.95")
                (@custom "go:buildid" "x"))
            (instance $i) (export "wasi:cli/run@0.2.3" (instance $i)))"#;
        let rust = text.replace("(@custom \"go:buildid\" \"x\")", "");
        for (text, language) in [(rust.as_str(), "Rust"), (text, "Go")] {
            let names = inspect(&wat::parse_str(text).unwrap(), &Structure::default()).unwrap();
            assert_eq!((names.kind, names.language.as_deref()), (Kind::Program, Some(language)));
        }
        // Of two doors, the one that was made for us.
        let both = suite(r#"(export "wasi:cli/run@0.2.3" (instance 0))"#);
        assert_eq!(inspect(&both, &Structure::default()).unwrap().kind, Kind::Suite);
    }

    #[test]
    fn a_component_cut_anywhere_is_refused() {
        let bytes = suite(r#"(core module (memory 1) (data (i32.const 0) "0123456789abcdef"))"#);
        for length in 8..bytes.len() {
            let rejection = refused(&bytes[..length]);
            // Cut between two sections it is a component, but no suite.
            let explained = matches!(
                rejection,
                Rejection::Truncated { .. } | Rejection::NoTests { .. } | Rejection::Invalid { .. }
            );
            assert!(explained, "{length} of {}: {rejection}", bytes.len());
        }
        let size_bytes = bytes.len() as u64 - 1;
        assert_eq!(refused(&bytes[..bytes.len() - 1]), Rejection::Truncated { size_bytes });
    }

    #[test]
    fn a_component_that_is_neither_is_told_what_it_exports() {
        let bytes = wat::parse_str(
            r#"(component (instance $i) (export "wasi:cli/run@0.3.0" (instance $i)))"#,
        );
        assert_eq!(
            refused(&bytes.unwrap()).to_string(),
            "accept it: it exports neither handoff:suite/tests@0.1.0, as a suite does, nor \
             wasi:cli/run@0.2.12, as a test program does; it exports wasi:cli/run@0.3.0"
        );
        let bytes = wat::parse_str("(component)").unwrap();
        assert!(refused(&bytes).to_string().ends_with("; it exports nothing"));
        let many: String = (0..100).map(|i| format!(r#"(export "e{i}" (instance $i))"#)).collect();
        let bytes = wat::parse_str(format!("(component (instance $i) {many})")).unwrap();
        assert!(refused(&bytes).to_string().ends_with("e10, e11 and 88 more"));
    }

    #[test]
    fn an_import_that_is_not_offered_is_named() {
        let bytes = suite(r#"(import "wasi:keyvalue/store@0.2.0" (instance))"#);
        let message = refused(&bytes).to_string();
        assert!(message.contains("it imports wasi:keyvalue/store@0.2.0"), "{message}");
        let bytes = suite(r#"(import "wasi:http/types@0.3.0" (instance))"#);
        assert!(matches!(refused(&bytes), Rejection::ImportVersion { .. }));
    }

    #[test]
    fn what_the_validator_says_is_passed_on() {
        let bytes = suite("(core module (memory 1 1 shared))");
        let message = refused(&bytes).to_string();
        assert!(message.contains("threads must be enabled"), "{message}");
        let bytes = suite("(core module (func (result i32)))");
        assert!(matches!(refused(&bytes), Rejection::Invalid { .. }));
        let bytes = suite("(type (future u8))");
        assert!(matches!(refused(&bytes), Rejection::Invalid { .. }));
    }

    #[test]
    fn every_bound_on_structure_is_kept() {
        let some = Structure {
            nesting: 3,
            modules: 3,
            instances: 3,
            functions: 3,
            types: 3,
            names: 3,
            name_bytes: 32,
        };
        let import = |name: &str| format!(r#"(import "{name}" (instance))"#);
        let cases = [
            (Bound::Nesting, "(component (component {}))".into(), "(core module)".into()),
            (
                Bound::Modules,
                "(core module) (component) {}".into(),
                "(core module) (component)".into(),
            ),
            (
                Bound::Instances,
                "(core module $m) (instance) {}".into(),
                "(core instance (instantiate $m)) (instance)".into(),
            ),
            (
                Bound::Functions,
                "(core module (func) (func)) {}".into(),
                "(component (core module (func) (func)))".into(),
            ),
            (
                Bound::Types,
                "(type u8) (core type (func)) (core module (type (func))) {}".into(),
                "(type u8)".to_owned(),
            ),
            (
                Bound::Names,
                import("wasi:io/poll@0.2.0") + "{}",
                import("wasi:io/poll@0.2.1") + &import("wasi:io/poll@0.2.2"),
            ),
            (Bound::NameBytes, "{}".into(), import(&format!("a{}", "a".repeat(32)))),
        ];
        for (bound, within, beyond) in cases {
            let fits = suite(&within.replace("{}", ""));
            assert!(inspect(&fits, &some).is_ok(), "{bound}: {:?}", inspect(&fits, &some));
            let rejection = inspect(&suite(&within.replace("{}", &beyond)), &some).unwrap_err();
            let limit = if bound == Bound::NameBytes { 32 } else { 3 };
            assert_eq!(rejection, Rejection::TooComplex { bound, limit });
        }
    }

    #[test]
    fn a_thousand_nested_components_are_refused_early() {
        const HEADER: &[u8] = b"\0asm\x0d\0\x01\0";
        let mut bytes = HEADER.to_vec();
        for _ in 0..1_000 {
            let length = bytes.len();
            let leb = [0, 7, 14].map(|shift| (length >> shift) as u8 & 0x7f | 0x80);
            // Section 4 is a component; its length takes as many bytes as there are.
            let section = [&[4], &leb[..], &[0]].concat();
            bytes = [HEADER, &section, &bytes].concat();
        }
        let limit = Structure::default().nesting;
        assert_eq!(refused(&bytes), Rejection::TooComplex { bound: Bound::Nesting, limit });
    }

    #[test]
    fn types_that_double_with_each_level_are_refused() {
        let doubling: String =
            (1..40).map(|i| format!("(type $t{i} (tuple $t{0} $t{0}))", i - 1)).collect();
        let bytes = suite(&format!("(type $t0 (tuple u8 u8)) {doubling}"));
        assert!(matches!(refused(&bytes), Rejection::Invalid { .. }));
        let nested: String = (1..200).map(|i| format!("(type $t{i} (list $t{}))", i - 1)).collect();
        let bytes = suite(&format!("(type $t0 (list u8)) {nested}"));
        assert!(matches!(refused(&bytes), Rejection::Invalid { .. }));
    }
}
