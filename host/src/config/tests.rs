//! Reading the configuration from flags, environment and file.

use super::*;

fn flags(values: &[(&str, &str)], file: Option<&Path>) -> SettingArgs {
    let values = values.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    SettingArgs { file: file.map(Path::to_owned), values }
}

fn file(text: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("hello.wasm"), "").unwrap();
    std::fs::write(dir.path().join("handoff.toml"), text).unwrap();
    dir
}

fn load_file(text: &str, environment: &Environment) -> Result<Loaded, ConfigError> {
    let dir = file(text);
    load(&flags(&[], Some(&dir.path().join("handoff.toml"))), environment)
}

fn message(text: &str) -> String {
    let error = load_file(text, &Environment::default()).unwrap_err().to_string();
    // The directory differs each time.
    error.split_once("handoff.toml").unwrap().1.to_owned()
}

#[test]
fn flags_go_before_the_environment_before_the_file_before_the_default() {
    let dir = file("[sandbox.limits]\nmemory_bytes = 1\nhandles = 1\nvalues = 1\n");
    let path = dir.path().join("handoff.toml");
    let environment = Environment::from([
        ("HANDOFF_SANDBOX_LIMITS_MEMORY_BYTES", "2"),
        ("HANDOFF_SANDBOX_LIMITS_HANDLES", "2"),
    ]);
    let flags = flags(&[("sandbox.limits.memory_bytes", "3")], Some(&path));
    let loaded = load(&flags, &environment).unwrap();
    let limits = &loaded.config.sandbox.limits;
    let default = crate::model::Limits::default();
    assert_eq!((limits.memory_bytes, limits.handles, limits.values), (3, 2, 1));
    assert_eq!(limits.spans, default.spans);
    let source = |key: &str| loaded.sources.get(key).cloned();
    assert_eq!(
        source("sandbox.limits.memory_bytes"),
        Some(Source::Flag("--sandbox-limits-memory-bytes".into()))
    );
    assert_eq!(
        source("sandbox.limits.handles"),
        Some(Source::Environment("HANDOFF_SANDBOX_LIMITS_HANDLES".into()))
    );
    assert_eq!(source("sandbox.limits.values"), Some(Source::File(path)));
    assert_eq!(source("sandbox.limits.spans"), None);
}

#[test]
fn a_list_does_not_stand_for_named_fields() {
    for (text, key) in [
        ("runner = [1, 2]\n", "runner"),
        ("[sandbox]\nlimits = [1, 2]\n", "sandbox.limits"),
        ("suites = [[\"hello.wasm\"]]\n", "suites"),
    ] {
        let told = load_file(text, &Environment::default()).unwrap_err().to_string();
        assert!(told.starts_with(&format!("use the setting {key} from ")), "{told}");
        assert!(told.contains("write a table"), "{told}");
    }
}

#[test]
fn an_unknown_key_is_named_with_its_line() {
    let told = message("listen = \"127.0.0.1:0\"\n[sandbox.limits]\nmemry_bytes = 1\n");
    assert!(told.starts_with(", line 3: memry_bytes: unknown field `memry_bytes`"), "{told}");
    let told = message("[sandbx]\n");
    assert!(told.starts_with(", line 1: unknown field `sandbx`"), "{told}");
}

#[test]
fn a_bad_value_is_named_with_its_key_and_source() {
    let told = message("\n[runner]\nqueue = \"many\"\n");
    assert!(told.starts_with(", line 3: queue: invalid type: string \"many\""), "{told}");
    let environment = Environment::from([("HANDOFF_RUNNER_QUEUE", "many")]);
    let error = load(&flags(&[], None), &environment).unwrap_err();
    assert_eq!(
        error.to_string(),
        "use the setting runner.queue from the environment variable HANDOFF_RUNNER_QUEUE: \
         \"many\" is not a number"
    );
    let error = load(&flags(&[("listen", "here")], None), &Environment::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "use the setting listen from the flag --listen: invalid socket address syntax"
    );
}

#[test]
fn a_file_that_is_not_there_or_no_toml_is_named() {
    let absent = flags(&[], Some(Path::new("/nowhere/handoff.toml")));
    let error = load(&absent, &Environment::default()).unwrap_err().to_string();
    assert!(error.starts_with("read the configuration file /nowhere/handoff.toml: "), "{error}");
    assert!(message("a = 1\nb = = 2\n").starts_with(", line 2: b: "));
}

#[test]
fn suites_are_declared_with_their_policies() {
    let environment = Environment::from([("API_TOKEN", "hunter2")]);
    let dir = file(
        "[[suites]]\nfile = \"hello.wasm\"\nnamespace = \"team\"\n\
         secrets_env = { token = \"API_TOKEN\" }\nsecrets_file = { key = \"key.txt\" }\n\
         [suites.policy]\nallow_http = [\"http://127.0.0.1:8080\"]\n",
    );
    std::fs::write(dir.path().join("key.txt"), "swordfish\n").unwrap();
    let path = dir.path().join("handoff.toml");
    let loaded = load(&flags(&[], Some(&path)), &environment).unwrap();
    let suite = &loaded.config.suites[0];
    assert_eq!(suite.file, dir.path().join("hello.wasm"));
    assert_eq!(suite.policy.secrets["token"], "hunter2");
    assert_eq!(suite.policy.secrets["key"], "swordfish");
    assert_eq!(suite.policy.allow_http.len(), 1);
    let shown = show(&loaded);
    assert!(shown.contains("token") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn a_secret_that_is_not_there_is_named() {
    let text = "[[suites]]\nfile = \"hello.wasm\"\nsecrets_env = { token = \"API_TOKEN\" }\n";
    let error = load_file(text, &Environment::default()).unwrap_err().to_string();
    assert!(error.ends_with("the environment variable API_TOKEN is not set"), "{error}");
}

#[test]
fn a_flag_keeps_the_schedules_of_the_file_and_they_are_shown() {
    let dir = file(
        "[[schedules]]\nname = \"nightly\"\nsuite = \"team/hello\"\ncron = \"0 2 * * *\"\n\
         timezone = \"Europe/Berlin\"\nparams.stage = \"live\"\n",
    );
    let path = dir.path().join("handoff.toml");
    let flags = flags(&[("runner.queue", "5")], Some(&path));
    let loaded = load(&flags, &Environment::default()).unwrap();
    let shown = show(&loaded);
    let again = file(&shown);
    let path = again.path().join("handoff.toml");
    let again = load(&super::tests::flags(&[], Some(&path)), &Environment::default()).unwrap();
    let [schedule] = &again.config.schedules[..] else { panic!("{shown}") };
    let spec = schedule.clone().into_spec().unwrap();
    assert_eq!(spec, loaded.config.schedules[0].clone().into_spec().unwrap(), "{shown}");
    assert_eq!(
        (spec.suite.to_string().as_str(), spec.request.params["stage"].as_str()),
        ("team/hello", "live")
    );
}

#[test]
fn a_flag_keeps_the_suites_of_the_file() {
    let dir = file("[[suites]]\nfile = \"hello.wasm\"\n");
    let path = dir.path().join("handoff.toml");
    let flags = flags(&[("runner.queue", "5")], Some(&path));
    let loaded = load(&flags, &Environment::default()).unwrap();
    assert_eq!((loaded.config.runner.queue, loaded.config.suites.len()), (5, 1));
}

#[test]
fn a_variable_that_means_nothing_is_told() {
    let environment = Environment::from([
        ("HANDOFF_RUNNER_QUEU", "1"),
        ("HANDOFF_SERVER", "http://127.0.0.1:1"),
        ("OTHER", "1"),
    ]);
    let loaded = load(&flags(&[], None), &environment).unwrap();
    assert_eq!(
        loaded.warnings,
        ["the environment variable HANDOFF_RUNNER_QUEU is no setting; \
          did you mean HANDOFF_RUNNER_QUEUE?"]
    );
}

#[test]
fn a_relative_data_directory_in_a_file_starts_at_the_file() {
    let dir = file("data_dir = \"data\"\n");
    let path = dir.path().join("handoff.toml");
    let loaded = load(&flags(&[], Some(&path)), &Environment::default()).unwrap();
    assert_eq!(loaded.config.data_dir, dir.path().join("data"));
}

#[test]
fn a_value_that_cannot_be_is_told_with_where_it_came_from() {
    let environment = Environment::from([("HANDOFF_RUNNER_CONCURRENT_RUNS", "0")]);
    let told = load(&flags(&[], None), &environment).unwrap_err().to_string();
    assert_eq!(
        told,
        "use the setting runner.concurrent_runs from the environment variable \
         HANDOFF_RUNNER_CONCURRENT_RUNS: 0 cannot be: it must be from 1 to 4294967295"
    );
    let told = load_file("[sandbox]\ntick_us = 0\n", &Environment::default()).unwrap_err();
    assert!(told.to_string().contains("handoff.toml: 0 cannot be"), "{told}");
    let suite = "[[suites]]\nfile = \"hello.wasm\"\npolicy.limits.timeout_ms = 0\n";
    let told = load_file(suite, &Environment::default()).unwrap_err().to_string();
    assert!(told.starts_with("use the setting suites.policy.limits.timeout_ms of "), "{told}");
    assert!(told.contains("hello.wasm from ") && told.contains("handoff.toml: 0"), "{told}");
}

#[test]
fn a_declared_suite_that_cannot_be_read_is_named() {
    let text = "[[suites]]\nfile = \"nothing.wasm\"\n";
    let told = load_file(text, &Environment::default()).unwrap_err().to_string();
    assert!(told.starts_with("read the component of the declared suite "), "{told}");
    assert!(told.contains("nothing.wasm: "), "{told}");
}
