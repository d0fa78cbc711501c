//! Every bound on compiling: what hits it is refused by its name, or waits, and is counted.

use super::*;

#[tokio::test]
async fn a_component_that_takes_too_long_is_refused_and_remembered() {
    let place = Place::new();
    let settings = CompileSettings { cpu_ms: 1_000, ..Default::default() };
    let compiler = place.compiler(place.counting(), settings);
    let bytes = much(8_000, 100);
    let error = refusal(&compiler, &bytes).await;
    assert_limit(&error, "compile.cpu_ms");
    assert_eq!(error.to_string(), "compile it: it took more than 1 s (compile.cpu_ms)");
    assert_limit(&refusal(&compiler, &bytes).await, "compile.cpu_ms");
    assert_eq!((place.count(), place.hits("compile_cpu_ms")), (1, 1));
}

#[tokio::test]
async fn a_component_that_takes_too_much_memory_is_refused() {
    let place = Place::new();
    let settings = CompileSettings { memory_bytes: MEMORY, ..Default::default() };
    let compiler = place.compiler(HANDOFF, settings.clone());
    load(&compiler, &small(1)).await.unwrap();
    assert_limit(&refusal(&compiler, &much(16_000, 100)).await, "compile.memory_bytes");
    assert_eq!(place.hits("compile_memory_bytes"), 1);
}

/// Every instance of a component has types of its own for all that it exports.
#[tokio::test]
async fn a_component_that_takes_much_memory_to_validate_is_refused() {
    let functions: String =
        (0..2_000).map(|i| format!(r#"(export "f{i}" (func (param "p" (own $r))))"#)).collect();
    let interface = format!(r#"(instance $x (export "r" (type $r (sub resource))) {functions})"#);
    let instances = r#"(instance (instantiate $c (with "x" (instance $x))))"#.repeat(900);
    let bytes = wat(&format!(
        r#"(component (import "wasi:io/poll@0.2.0" {interface})
           (component $c (import "x" {interface}) (export "y" (instance $x))) {instances})"#
    ));
    assert!(bytes.len() < 200_000);
    let place = Place::new();
    let settings = CompileSettings { memory_bytes: MEMORY, ..Default::default() };
    let compiler = place.compiler(place.counting(), settings);
    for _ in 0..2 {
        let error = compiler.inspect(bytes.clone()).await.unwrap_err();
        assert_limit(&error, "compile.memory_bytes");
    }
    assert_eq!(place.count(), 1);
}

#[tokio::test]
async fn a_child_that_never_answers_is_killed_in_time() {
    let place = Place::new();
    let settings = CompileSettings { wall_ms: 100, inspect_ms: 100, ..Default::default() };
    let compiler = place.compiler(place.script(HANGING), settings);
    assert_limit(&refusal(&compiler, &small(1)).await, "compile.wall_ms");
    let error = compiler.inspect(suite()).await.unwrap_err();
    assert_limit(&error, "compile.inspect_ms");
    assert_eq!((place.hits("compile_wall_ms"), place.hits("compile_inspect_ms")), (1, 1));
}

#[tokio::test]
async fn code_beyond_its_bound_is_refused() {
    let place = Place::new();
    let settings = CompileSettings { compiled_bytes: 1_000, ..Default::default() };
    let compiler = place.compiler(HANDOFF, settings);
    assert_limit(&refusal(&compiler, &small(1)).await, "compile.compiled_bytes");
    assert_eq!(place.hits("compile_compiled_bytes"), 1);
}

#[tokio::test]
async fn no_more_wait_than_the_queue_takes() {
    let place = Place::new();
    let settings =
        CompileSettings { wall_ms: 1_500, concurrency: 1, queue: 1, ..Default::default() };
    let compiler = place.compiler(place.script(HANGING), settings);
    let components = [1, 2, 3].map(small);
    let errors = join_all(components.iter().map(|bytes| refusal(&compiler, bytes))).await;
    let busy = errors.iter().filter(|error| matches!(error, CompileError::Busy)).count();
    assert_eq!(busy, 1, "{errors:?}");
    assert_eq!((place.hits("compile_queue"), place.hits("compile_concurrency")), (1, 1));
    // Whoever was turned away may come again.
    place.counting();
    let again = join_all(components.iter().take(1).map(|bytes| load(&compiler, bytes))).await;
    assert!(!matches!(again[0], Err(CompileError::Busy)));
}

#[tokio::test]
async fn no_more_are_inspected_at_once_than_allowed() {
    let place = Place::new();
    let settings = CompileSettings { inspect_ms: 1_500, inspections: 1, ..Default::default() };
    let compiler = place.compiler(place.script(HANGING), settings);
    let inspected = join_all([suite(), small(1)].map(|bytes| compiler.inspect(bytes))).await;
    for error in inspected {
        assert_limit(&error.unwrap_err(), "compile.inspect_ms");
    }
    assert_eq!(place.hits("compile_inspections"), 1);
}

#[tokio::test]
async fn no_more_failures_are_remembered_than_allowed() {
    let place = Place::new();
    let settings = CompileSettings { remembered_failures: 1, ..Default::default() };
    let compiler = place.compiler(place.counting(), settings);
    let [first, second] = ["(component)", "(component (core module))"].map(wat);
    for (bytes, count) in [(&first, 1), (&first, 1), (&second, 2), (&first, 3)] {
        compiler.inspect(bytes.clone()).await.unwrap_err();
        assert_eq!(place.count(), count);
    }
}

#[tokio::test]
async fn a_component_with_too_much_structure_is_refused_by_the_name_of_the_bound() {
    let cases = [
        (
            Structure { nesting: 1, ..Default::default() },
            "(component (component (component)))",
            "compile_structure_nesting",
        ),
        (
            Structure { modules: 1, ..Default::default() },
            "(component (core module) (core module))",
            "compile_structure_modules",
        ),
        (
            Structure { instances: 1, ..Default::default() },
            "(component (instance) (instance))",
            "compile_structure_instances",
        ),
        (
            Structure { functions: 1, ..Default::default() },
            "(component (core module (func) (func)))",
            "compile_structure_functions",
        ),
        (
            Structure { types: 1, ..Default::default() },
            "(component (type u8) (type u8))",
            "compile_structure_types",
        ),
        (
            Structure { names: 1, ..Default::default() },
            r#"(component (instance $i) (export "a" (instance $i)) (export "b" (instance $i)))"#,
            "compile_structure_names",
        ),
        (
            Structure { name_bytes: 20, ..Default::default() },
            r#"(component (instance $i) (export "a-name-of-more-than-twenty" (instance $i)))"#,
            "compile_structure_name_bytes",
        ),
    ];
    for (structure, text, label) in cases {
        let place = Place::new();
        let compiler = place.compiler(HANDOFF, CompileSettings { structure, ..Default::default() });
        let error = compiler.inspect(wat(text)).await.unwrap_err();
        let setting = label.replace("compile_structure_", "compile.structure.");
        assert!(error.to_string().contains(&setting), "{error}");
        assert_eq!(place.hits(label), 1, "{label}");
    }
}

#[tokio::test]
async fn a_component_that_no_slot_of_the_pools_has_room_for_is_refused_by_the_name_of_the_bound() {
    let sandbox = SandboxSettings {
        max_memory_bytes: 64 << 10,
        max_table_elements: 10,
        memories_per_component: 1,
        tables_per_component: 1,
        ..Default::default()
    };
    let place = Place::new();
    let compiler = place.compiler_with(HANDOFF, CompileSettings::default(), &sandbox);
    let instances = "(core instance (instantiate $m)) (core instance (instantiate $m))";
    for (module, instances, label) in [
        ("(memory 2)", "", "sandbox_max_memory_bytes"),
        ("(table 11 funcref)", "", "sandbox_max_table_elements"),
        ("(memory 1)", instances, "sandbox_memories_per_component"),
        ("(table 10 funcref)", instances, "sandbox_tables_per_component"),
    ] {
        let bytes = wat(&format!("(component (core module $m {module}) {instances})"));
        let error = refusal(&compiler, &bytes).await.to_string();
        let setting = label.replacen('_', ".", 1);
        assert!(error.contains(&format!("setting `{setting}`")), "{error}");
        assert_eq!(place.hits(label), 1, "{label}");
    }
}
