//! Makes a component of a core module, so that whoever has one needs no component tools: with the
//! adapters from WASI preview 1 that the engine's makers publish.
//!
//! Runs in the child process, on a module that was validated before, but whose custom sections may
//! hold anything. What comes out is validated like an upload.

use std::borrow::Cow;

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME as PREVIEW1,
    WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER as COMMAND,
    WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER as REACTOR,
};
use wasmparser::{Parser, Payload};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, SourceMap, UnresolvedPackageGroup, WorldId};

use super::error::{Rejection, shown};
use super::language::GO_SECTION;
use super::{header, offered, reserve};

/// What the result depends on beside the module: part of the key under which compiled code is kept.
pub(super) const VERSION: &[&[u8]] = &[ENCODER.as_bytes(), OURS, COMMAND, REACTOR];

/// The version of what is done here and in `reserve`.
const OURS: &[u8] = b"3";

/// The version of wit-component; a test compares it with the one that is linked.
const ENCODER: &str = "0.254.2";

/// What a program begins with.
const START: &str = "_start";

/// The world of suites, as files with their names.
const SUITE: &[(&str, &str)] = &[
    ("context.wit", include_str!("../../../wit/context.wit")),
    ("tests.wit", include_str!("../../../wit/tests.wit")),
    ("vocabulary.wit", include_str!("../../../wit/vocabulary.wit")),
    ("world.wit", include_str!("../../../wit/world.wit")),
];

/// The world of plugins, which needs that of suites.
const PLUGIN: &[(&str, &str)] = &[
    ("hooks.wit", include_str!("../../../wit/plugin/hooks.wit")),
    ("host.wit", include_str!("../../../wit/plugin/host.wit")),
    ("world.wit", include_str!("../../../wit/plugin/world.wit")),
];

/// The packages that it needs.
const DEPENDENCIES: &[&[(&str, &str)]] = &[
    &[("cli/package.wit", include_str!("../../../wit/deps/cli/package.wit"))],
    &[("clocks/package.wit", include_str!("../../../wit/deps/clocks/package.wit"))],
    &[
        ("config/store.wit", include_str!("../../../wit/deps/config/store.wit")),
        ("config/world.wit", include_str!("../../../wit/deps/config/world.wit")),
    ],
    &[("filesystem/package.wit", include_str!("../../../wit/deps/filesystem/package.wit"))],
    &[("http/package.wit", include_str!("../../../wit/deps/http/package.wit"))],
    &[("io/package.wit", include_str!("../../../wit/deps/io/package.wit"))],
    &[("random/package.wit", include_str!("../../../wit/deps/random/package.wit"))],
    &[("sockets/package.wit", include_str!("../../../wit/deps/sockets/package.wit"))],
];

/// A component as it is, and of a core module the component that it is the code of.
pub fn component(bytes: &[u8]) -> Result<Cow<'_, [u8]>, Rejection> {
    if !header::is_module(bytes) {
        return Ok(bytes.into());
    }
    let outline = Outline::read(bytes).map_err(|error| not_adapted(&error))?;
    let mut module = Cow::from(bytes);
    let adapter = if outline.exports_tests || outline.exports_hooks {
        if !outline.has_world {
            let embed = |module: &mut Vec<u8>| {
                let (wit, world) = if outline.exports_tests { suite()? } else { plugin()? };
                embed_component_metadata(module, &wit, world, StringEncoding::UTF8)
            };
            // Our own world can be read, and a test does so: what fails is the server's mistake.
            embed(module.to_mut()).map_err(|error| not_adapted(&error))?;
        }
        REACTOR
    } else if outline.exports_start {
        if outline.is_go
            && let Some(roomy) = reserve::reserve(bytes).map_err(|error| not_adapted(&error))?
        {
            module = roomy.into();
        }
        COMMAND
    } else {
        return Err(Rejection::CoreModule);
    };
    if let (Some((module, name)), false) = (outline.foreign_import, outline.has_world) {
        return Err(Rejection::CoreImport { module: shown(&module), name: shown(&name) });
    }
    let encoder = ComponentEncoder::default().module(&module);
    let encoder = encoder.and_then(|encoder| encoder.adapter(PREVIEW1, adapter));
    let component = encoder.and_then(|encoder| encoder.validate(false).encode());
    component.map(Cow::Owned).map_err(|error| not_adapted(&error))
}

fn not_adapted(error: &impl std::fmt::Display) -> Rejection {
    // In this form it has its causes too.
    Rejection::NotAdapted { message: shown(&format!("{error:#}")) }
}

/// What of a module decides how it is adapted.
#[derive(Default)]
struct Outline {
    /// Our interface, by the names that the binding generators give to its functions.
    exports_tests: bool,
    exports_hooks: bool,
    exports_start: bool,
    is_go: bool,
    /// Whether it says itself which world it is for.
    has_world: bool,
    /// The first import that neither preview 1 nor our world has.
    foreign_import: Option<(String, String)>,
}

impl Outline {
    fn read(module: &[u8]) -> Result<Self, wasmparser::BinaryReaderError> {
        let mut outline = Self::default();
        for payload in Parser::new(0).parse_all(module) {
            match payload? {
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        outline.import(&import?);
                    }
                }
                Payload::ExportSection(section) => {
                    for export in section {
                        let name = export?.name;
                        outline.exports_start |= name == START;
                        outline.exports_tests |= offered::is_function_of_tests(name);
                        outline.exports_hooks |= offered::is_function_of_hooks(name);
                    }
                }
                Payload::CustomSection(section) => {
                    outline.has_world |= section.name().starts_with("component-type");
                    outline.is_go |= section.name() == GO_SECTION;
                }
                _ => {}
            }
        }
        Ok(outline)
    }

    fn import(&mut self, import: &wasmparser::Import<'_>) {
        let interface = import.module.strip_prefix("[export]").unwrap_or(import.module);
        // The encoder says which of an interface's functions there are.
        let known = import.module == PREVIEW1
            || offered::is_offered(interface)
            || offered::is_tests(interface)
            || offered::is_hooks(interface);
        if !known && self.foreign_import.is_none() {
            self.foreign_import = Some((import.module.to_owned(), import.name.to_owned()));
        }
    }
}

/// The world of plugins.
fn plugin() -> anyhow::Result<(Resolve, WorldId)> {
    let (mut wit, _) = suite()?;
    let package = wit.push_groups(parsed(PLUGIN)?, Vec::new())?;
    let world = wit.select_world(&[package], Some("plugin"))?;
    Ok((wit, world))
}

/// The world of suites.
fn suite() -> anyhow::Result<(Resolve, WorldId)> {
    let mut wit = Resolve::default();
    let dependencies: Result<_, _> = DEPENDENCIES.iter().map(|files| parsed(files)).collect();
    let package = wit.push_groups(parsed(SUITE)?, dependencies?)?;
    let world = wit.select_world(&[package], Some("suite"))?;
    Ok((wit, world))
}

fn parsed(files: &[(&str, &str)]) -> anyhow::Result<UnresolvedPackageGroup> {
    let mut sources = SourceMap::default();
    for (name, text) in files {
        sources.push_str(name, *text);
    }
    Ok(sources.parse().map_err(|(_, error)| error)?)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::super::inspect::inspect;
    use super::super::order::Kind;
    use super::super::settings::Structure;
    use super::*;

    fn refused(text: &str) -> String {
        component(&wat::parse_str(text).unwrap()).unwrap_err().to_string()
    }

    #[test]
    fn a_component_stays_as_it_is() {
        let bytes = wat::parse_str("(component)").unwrap();
        assert_eq!(component(&bytes).unwrap(), bytes);
    }

    #[test]
    fn a_program_for_preview_1_becomes_a_component_that_runs() {
        let program = wat::parse_str(
            r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))
                 (memory (export "memory") 1)
                 (func (export "_start") i32.const 3 call 0))"#,
        );
        let names = inspect(&program.unwrap(), &Structure::default()).unwrap();
        assert_eq!(names.kind, Kind::Program);
        assert!(names.exports[0].starts_with("wasi:cli/run@0.2."), "{names:?}");
        assert!(names.imports.iter().any(|name| name.starts_with("wasi:cli/exit@")), "{names:?}");
    }

    /// What `wit-bindgen go` makes: the names of our functions, and no word of a world.
    #[test]
    fn a_module_that_exports_our_functions_becomes_a_suite() {
        let functions = ["describe", "run", "setup", "teardown"];
        let results = functions.map(|name| {
            let parameters = if name == "run" { "(param i32 i32)" } else { "" };
            let (name, tests) = (format!("#{name}"), offered::TESTS);
            format!(r#"(func (export "{tests}{name}") {parameters} (result i32) unreachable)"#)
        });
        let text = format!(
            r#"(module
                 (import "handoff:suite/context@0.1.0" "mark-soft" (func))
                 (import "wasi_snapshot_preview1" "sched_yield" (func (result i32)))
                 (memory (export "memory") 1)
                 (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
                 (func (export "_start"))
                 {})"#,
            results.concat()
        );
        let names = inspect(&wat::parse_str(text).unwrap(), &Structure::default()).unwrap();
        assert_eq!((names.kind, names.exports), (Kind::Suite, vec![offered::TESTS.to_owned()]));
        assert!(names.imports.contains(&"handoff:suite/context@0.1.0".to_owned()));
        assert!(!names.imports.iter().any(|name| name.starts_with("wasi:http")), "not asked for");
    }

    #[test]
    fn what_no_component_can_be_made_of_is_told() {
        assert!(refused("(module)").contains("exports neither"), "{}", refused("(module)"));
        let foreign = r#"(module (import "env" "puts" (func)) (func (export "_start")))"#;
        assert!(refused(foreign).contains("it imports puts from env"), "{}", refused(foreign));
        let unknown = r#"(module (import "wasi_snapshot_preview1" "fly" (func))
            (memory (export "memory") 1) (func (export "_start")))"#;
        assert!(refused(unknown).contains("fly"), "{}", refused(unknown));
        let wrong = format!(
            r#"(module (func (export "{}#run") (result f32) unreachable))"#,
            offered::TESTS
        );
        assert!(refused(&wrong).contains("no component can be made of it"), "{}", refused(&wrong));
    }

    #[test]
    fn a_world_that_is_none_is_told() {
        let mut module = wat::parse_str(r#"(module (func (export "_start")))"#).unwrap();
        let section = [&[14][..], b"component-type", b"nonsense"].concat();
        module.extend([&[0, section.len() as u8][..], &section].concat());
        let message = component(&module).unwrap_err().to_string();
        assert!(message.contains("no component can be made of it"), "{message}");
    }

    #[test]
    fn all_of_the_contract_is_embedded() {
        let wit = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../wit"));
        let here =
            |name: &str, text: &str| assert_eq!(fs::read_to_string(wit.join(name)).unwrap(), text);
        let files = |directory: &Path| {
            let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
            entries.filter(|path| path.extension().is_some_and(|e| e == "wit")).count()
        };
        SUITE.iter().for_each(|(name, text)| here(name, text));
        assert_eq!(files(wit), SUITE.len());
        let dependencies = DEPENDENCIES.concat();
        dependencies.iter().for_each(|(name, text)| here(&format!("deps/{name}"), text));
        let there = fs::read_dir(wit.join("deps")).unwrap();
        assert_eq!(there.map(|dir| files(&dir.unwrap().path())).sum::<usize>(), dependencies.len());
        assert!(suite().is_ok());
    }

    #[test]
    fn the_encoder_has_the_version_that_it_says() {
        let lock = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock");
        let entry = format!("name = \"wit-component\"\nversion = \"{ENCODER}\"");
        assert!(fs::read_to_string(lock).unwrap().contains(&entry), "ENCODER is out of date");
    }
}
