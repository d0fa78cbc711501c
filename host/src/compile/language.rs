//! The language of a suite or program, as far as what made it tells. A guess that two defaults rest on and
//! nothing else: how a program is asked for its tests, and whether a suite's instructions are counted.

use wasmparser::{CustomSectionReader, Instance, KnownCustom, Payload};

use super::error::shown;

/// What Go's linker writes into its programs.
pub(super) const GO_SECTION: &str = "go:buildid";
/// What CPython's library is called where componentize-py links it, which itself says nothing.
const PYTHON_LIBRARY: &str = "libpython3.";
const GO: &str = "Go";
const PYTHON: &str = "Python";
const RUST: &str = "Rust";

/// How much of a foreign word is kept, in characters.
const LANGUAGE_CHARS: usize = 32;

/// What was heard so far, the best witness first.
#[derive(Default)]
pub(super) struct Language {
    /// What only the runtime of a language has.
    runtime: Option<&'static str>,
    /// What the whole says, which is what people wrote.
    whole: Option<String>,
    /// What the modules inside say of themselves. An engine of scripts says what it was written in itself.
    modules: Option<String>,
}

impl Language {
    /// Reads one section, at this depth; the outermost is 1.
    pub(super) fn hear(&mut self, payload: &Payload<'_>, depth: u64) {
        match payload {
            Payload::CustomSection(section) if section.name() == GO_SECTION => {
                self.runtime = Some(GO);
            }
            Payload::CustomSection(section) => {
                let heard = if depth == 1 { &mut self.whole } else { &mut self.modules };
                if heard.is_none() {
                    *heard = produced(section);
                }
            }
            Payload::InstanceSection(section) if depth == 1 && self.runtime.is_none() => {
                let instances = section.clone().into_iter().map_while(Result::ok);
                let python = |instance: Instance<'_>| match instance {
                    Instance::Instantiate { args, .. } => {
                        args.iter().any(|arg| arg.name.starts_with(PYTHON_LIBRARY))
                    }
                    Instance::FromExports(exports) => {
                        exports.iter().any(|export| export.name.starts_with(PYTHON_LIBRARY))
                    }
                };
                self.runtime = instances.into_iter().any(python).then_some(PYTHON);
            }
            _ => {}
        }
    }

    /// The language.
    pub(super) fn name(self) -> Option<String> {
        self.runtime.map(str::to_owned).or(self.whole).or(self.modules)
    }
}

/// The language of a section of producers; of several Rust, whose libraries have some C in them, and else
/// the first.
fn produced(section: &CustomSectionReader<'_>) -> Option<String> {
    let KnownCustom::Producers(producers) = section.as_known() else { return None };
    let mut fields = producers.into_iter().map_while(Result::ok);
    let values = fields.find(|field| field.name == "language").map(|field| field.values);
    let values = || values.clone().into_iter().flatten().map_while(Result::ok);
    let value = values().find(|value| value.name == RUST).or_else(|| values().next())?;
    Some(shown(value.name).chars().take(LANGUAGE_CHARS).collect())
}

#[cfg(test)]
mod tests {
    use super::super::inspect::inspect;
    use super::super::offered;
    use super::super::settings::Structure;

    /// The language of a suite with these parts.
    fn language(parts: &str) -> Option<String> {
        let text = format!(
            r#"(component {parts} (instance $i) (export "{}" (instance $i)))"#,
            offered::TESTS
        );
        inspect(&wat::parse_str(text).unwrap(), &Structure::default()).unwrap().language
    }

    const C: &str = r#"(core module (@custom "producers" "\01\08language\01\03C11\00"))"#;
    const C_AND_RUST: &str =
        r#"(core module (@custom "producers" "\01\08language\02\03C11\00\04Rust\041.95"))"#;

    #[test]
    fn a_module_tells_its_language_and_rust_goes_before_its_libraries() {
        assert_eq!(language(""), None);
        assert_eq!(language(C).as_deref(), Some("C11"));
        assert_eq!(language(C_AND_RUST).as_deref(), Some("Rust"));
    }

    #[test]
    fn go_is_known_by_its_linker() {
        let go = r#"(core module (@custom "go:buildid" "x"))"#;
        assert_eq!(language(&format!("{C}{go}")).as_deref(), Some("Go"));
    }

    #[test]
    fn python_is_known_by_the_library_that_its_tool_links() {
        let parts = r#"(core module $m) (core instance $libpython (instantiate $m))
            (core module $n (import "libpython3.14.so" "f" (func)))"#;
        assert_eq!(language(&format!("{C_AND_RUST}{parts}")).as_deref(), Some("Rust"));
        let parts = r#"(core module $m (func (export "f")))
            (core instance $i (instantiate $m))
            (core module $n (import "libpython3.14.so" "f" (func)))
            (core instance (instantiate $n (with "libpython3.14.so" (instance $i))))"#;
        assert_eq!(language(&format!("{C_AND_RUST}{parts}")).as_deref(), Some("Python"));
    }

    #[test]
    fn what_the_whole_says_goes_before_what_its_engine_was_written_in() {
        let whole = r#"(@custom "producers" "\01\08language\01\0aJavaScript\00")"#;
        assert_eq!(language(&format!("{C_AND_RUST}{whole}")).as_deref(), Some("JavaScript"));
    }
}
