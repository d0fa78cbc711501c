//! What a suite or a test program must export and may import, and how near a name is to something
//! offered.
//!
//! The list is that of the world `handoff:suite/suite` in `wit/`; a test compares the two. Names
//! match as wasmtime's linker matches them: releases by semantic version in both directions,
//! pre-releases and 0.0.x only exactly.

use wasmparser::names::{ComponentName, ComponentNameKind};

use super::error::{Rejection, shown};
use super::order::Kind;

/// What makes a component a suite.
pub(super) const TESTS: &str = "handoff:suite/tests@0.1.0";

/// What makes a component a plugin.
pub(super) const HOOKS: &str = "handoff:plugin/hooks@0.1.0";

/// What a plugin may import, and nobody else.
const OF_PLUGINS: &[&str] = &["handoff:plugin/host@0.1.0"];
/// What a plugin may not import of what is offered: it is no attempt.
const NOT_FOR_PLUGINS: &[&str] = &["handoff:suite/context@0.1.0"];

/// What makes a component a program.
pub(super) const RUN: &str = "wasi:cli/run@0.2.12";

/// The interfaces that a suite may import, each in the newest version that is known here.
const OFFERED: &[&str] = &[
    "handoff:suite/context@0.1.0",
    "handoff:suite/vocabulary@0.1.0",
    "wasi:cli/environment@0.2.12",
    "wasi:cli/exit@0.2.12",
    "wasi:cli/stderr@0.2.12",
    "wasi:cli/stdin@0.2.12",
    "wasi:cli/stdout@0.2.12",
    "wasi:cli/terminal-input@0.2.12",
    "wasi:cli/terminal-output@0.2.12",
    "wasi:cli/terminal-stderr@0.2.12",
    "wasi:cli/terminal-stdin@0.2.12",
    "wasi:cli/terminal-stdout@0.2.12",
    "wasi:clocks/monotonic-clock@0.2.12",
    "wasi:clocks/wall-clock@0.2.12",
    "wasi:config/store@0.2.0-rc.1",
    "wasi:filesystem/preopens@0.2.12",
    "wasi:filesystem/types@0.2.12",
    "wasi:http/outgoing-handler@0.2.12",
    "wasi:http/types@0.2.12",
    "wasi:io/error@0.2.12",
    "wasi:io/poll@0.2.12",
    "wasi:io/streams@0.2.12",
    "wasi:random/insecure-seed@0.2.12",
    "wasi:random/insecure@0.2.12",
    "wasi:random/random@0.2.12",
    "wasi:sockets/instance-network@0.2.12",
    "wasi:sockets/ip-name-lookup@0.2.12",
    "wasi:sockets/network@0.2.12",
    "wasi:sockets/tcp-create-socket@0.2.12",
    "wasi:sockets/tcp@0.2.12",
    "wasi:sockets/udp-create-socket@0.2.12",
    "wasi:sockets/udp@0.2.12",
];

/// How alike two names must be, from 0 to 1, for one to be suggested for the other.
const NEAR: f64 = 0.75;

/// Whether an export of this name is our interface of tests.
pub(super) fn is_tests(export: &str) -> bool {
    matches(export, TESTS)
}

/// Whether an export of this name is our interface of a plugin's hooks.
pub(super) fn is_hooks(export: &str) -> bool {
    matches(export, HOOKS)
}

/// Whether an export of this name is how a program is started.
pub(super) fn is_run(export: &str) -> bool {
    matches(export, RUN)
}

/// Whether an export of a core module is a function of our interface, by the name that binding
/// generators give it.
pub(super) fn is_function_of_tests(export: &str) -> bool {
    export.split_once('#').is_some_and(|(interface, _)| is_tests(interface))
}

/// What is offered to a component of this kind.
fn offered(kind: Kind) -> impl Iterator<Item = &'static str> {
    let (more, less) = match kind {
        Kind::Plugin => (OF_PLUGINS, NOT_FOR_PLUGINS),
        Kind::Suite | Kind::Program => (&[][..], &[][..]),
    };
    OFFERED.iter().filter(move |name| !less.contains(name)).chain(more).copied()
}

/// The same of our interface of hooks.
pub(super) fn is_function_of_hooks(export: &str) -> bool {
    export.split_once('#').is_some_and(|(interface, _)| is_hooks(interface))
}

/// Whether a component of any kind may import this.
pub(super) fn is_offered(import: &str) -> bool {
    [Kind::Suite, Kind::Plugin].into_iter().any(|kind| check_import(import, kind).is_ok())
}

/// Whether an import of this name will be there; if not, what is nearest.
pub(super) fn check_import(import: &str, kind: Kind) -> Result<(), Rejection> {
    if offered(kind).any(|offered| matches(import, offered)) {
        return Ok(());
    }
    let same_interface = |offered: &&str| interface(offered) == interface(import);
    if let Some(offered) = offered(kind).find(same_interface) {
        return Err(Rejection::ImportVersion {
            import: shown(import),
            offered: versions(offered),
            advice: advice(import, offered),
        });
    }
    let alike = |offered: &str| strsim::jaro_winkler(interface(import), interface(offered));
    let nearest = offered(kind)
        .map(|offered| (alike(offered), offered))
        .filter(|(alike, _)| *alike >= NEAR)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, offered)| offered.to_owned());
    Err(Rejection::UnknownImport { import: shown(import), nearest })
}

/// The same name, or the same interface in versions that are compatible.
fn matches(asked: &str, offered: &str) -> bool {
    asked == offered
        || (interface(asked) == interface(offered)
            && match (track(asked), track(offered)) {
                (Some(asked), Some(offered)) => asked == offered,
                _ => false,
            })
}

/// The name without its version.
fn interface(name: &str) -> &str {
    name.split_once('@').map_or(name, |(interface, _)| interface)
}

/// What must be equal for two versions to be compatible: the first part that is not zero, and all
/// before it. None where only the same version is.
fn track(name: &str) -> Option<(u64, u64)> {
    let name = ComponentName::new(name, 0).ok()?;
    let ComponentNameKind::Interface(name) = name.kind() else { return None };
    let version = name.version(None).ok()??;
    match (version.major, version.minor) {
        _ if !version.pre.is_empty() => None,
        (0, 0) => None,
        (0, minor) => Some((0, minor)),
        (major, _) => Some((major, 0)),
    }
}

/// The versions compatible with `offered`, for people.
fn versions(offered: &str) -> String {
    let (interface, version) = offered.split_once('@').unwrap_or((offered, ""));
    match track(offered) {
        Some((0, minor)) if version != format!("0.{minor}.0") => {
            format!("{interface}@0.{minor}.0 to {version}")
        }
        _ => offered.to_owned(),
    }
}

fn advice(import: &str, offered: &str) -> String {
    let package = offered.split_once('/').map_or(offered, |(package, _)| package);
    if matches!(package, "handoff:suite" | "handoff:plugin") {
        return "rebuild it with an SDK for this server, or update the server".into();
    }
    match import.split_once('@') {
        None => format!("name a version of {package} in its WIT and rebuild it"),
        Some(_) => format!("rebuild it against that version of {package}"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use wit_parser::{SourceMap, UnresolvedPackageGroup};

    use super::*;

    fn parse(dir: &Path) -> UnresolvedPackageGroup {
        let mut sources = SourceMap::default();
        for file in fs::read_dir(dir).unwrap().map(|file| file.unwrap().path()) {
            if file.extension().is_some_and(|extension| extension == "wit") {
                sources.push_str(&file.to_string_lossy(), fs::read_to_string(&file).unwrap());
            }
        }
        sources.parse().map_err(|(_, error)| error).unwrap()
    }

    /// The list above is what `wit/` says.
    #[test]
    fn the_list_is_that_of_the_world() {
        let wit = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../wit"));
        let deps = fs::read_dir(wit.join("deps")).unwrap().map(|dir| parse(&dir.unwrap().path()));
        let mut resolve = wit_parser::Resolve::default();
        let suites = resolve.push_groups(parse(wit), deps.collect()).unwrap();
        let plugins = resolve.push_groups(parse(&wit.join("plugin")), vec![]).unwrap();
        for (package, world, kind, export) in
            [(suites, "suite", Kind::Suite, TESTS), (plugins, "plugin", Kind::Plugin, HOOKS)]
        {
            let world = &resolve.worlds[resolve.select_world(&[package], Some(world)).unwrap()];
            let mut imports: Vec<String> =
                world.imports.keys().map(|key| resolve.name_world_key(key)).collect();
            imports.sort();
            let mut expected: Vec<_> = offered(kind).collect();
            expected.sort_unstable();
            assert_eq!(imports, expected);
            let exports: Vec<String> =
                world.exports.keys().map(|key| resolve.name_world_key(key)).collect();
            assert_eq!(exports, [export]);
        }
    }

    #[test]
    fn compatible_versions_match_in_both_directions() {
        for fine in [
            "wasi:io/poll@0.2.12",
            "wasi:io/poll@0.2.0",
            "wasi:io/poll@0.2.99",
            "wasi:config/store@0.2.0-rc.1",
            "handoff:suite/context@0.1.7",
        ] {
            assert_eq!(check_import(fine, Kind::Suite), Ok(()), "{fine}");
        }
        for other in [
            "wasi:io/poll",
            "wasi:io/poll@0.3.0",
            "wasi:io/poll@0.2.0-rc.1",
            "wasi:io/poll@1.2.0",
            "wasi:config/store@0.2.0",
            "handoff:suite/context@0.2.0",
        ] {
            let refused = check_import(other, Kind::Suite).unwrap_err();
            assert!(matches!(refused, Rejection::ImportVersion { .. }), "{other}: {refused}");
        }
        assert!(is_tests("handoff:suite/tests@0.1.3"));
        assert!(!is_tests("handoff:suite/tests@0.2.0"));
        assert!(!is_tests("handoff:suite/test@0.1.0"));
        assert!(is_run("wasi:cli/run@0.2.0") && !is_run("wasi:cli/run@0.3.0"));
        assert!(is_function_of_tests("handoff:suite/tests@0.1.0#run"));
        assert!(!is_function_of_tests("cabi_post_handoff:suite/tests@0.1.0#run"));
        assert!(!is_function_of_tests("handoff:suite/tests@0.1.0"));
    }

    #[test]
    fn another_version_is_told_with_what_is_offered() {
        assert_eq!(
            check_import("wasi:http/types@0.3.0", Kind::Suite).unwrap_err().to_string(),
            "accept it: it needs wasi:http/types@0.3.0, and this server offers \
             wasi:http/types@0.2.0 to 0.2.12; rebuild it against that version of wasi:http"
        );
        assert_eq!(
            check_import("handoff:suite/context@0.2.0", Kind::Suite).unwrap_err().to_string(),
            "accept it: it needs handoff:suite/context@0.2.0, and this server offers \
             handoff:suite/context@0.1.0; rebuild it with an SDK for this server, or update the \
             server"
        );
    }

    #[test]
    fn the_nearest_name_is_suggested_if_any_is_near() {
        let nearest = |import: &str| match check_import(import, Kind::Suite).unwrap_err() {
            Rejection::UnknownImport { nearest, .. } => nearest,
            other => panic!("{other}"),
        };
        let expected = Some("wasi:http/outgoing-handler@0.2.12".to_owned());
        assert_eq!(nearest("wasi:http/outgoing-handlr@0.2.12"), expected);
        assert_eq!(nearest("handoff:suite/contxt@0.1.0").unwrap(), "handoff:suite/context@0.1.0");
        assert_eq!(nearest("zzz"), None);
        assert_eq!(nearest(&"x".repeat(100_000)), None);
    }
}
