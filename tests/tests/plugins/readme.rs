//! The commands in the plugins' READMEs do what is said of them, but for those that reach a service.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use handoff_tests::{Handoff, Server, binary_directory, target_directory};

/// A value that fits as any secret.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// What reaches the service, which a test must not.
const ELSEWHERE: &str = "handoff plugins test ";

fn plugins() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("plugins")
}

fn names() -> BTreeSet<String> {
    let entries = fs::read_dir(plugins()).unwrap();
    entries.map(|entry| entry.unwrap().file_name().to_str().unwrap().to_owned()).collect()
}

/// The commands in a README's consoles, each with what belongs to it.
fn commands(plugin: &str) -> Vec<String> {
    let text = fs::read_to_string(plugins().join(plugin).join("README.md")).unwrap();
    let text = text.replace("\\\n", " ");
    let consoles = text.split("```console\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let lines = consoles.flat_map(str::lines).filter_map(|line| line.strip_prefix("$ "));
    lines.map(str::to_owned).collect()
}

#[tokio::test]
async fn each_plugin_is_installed_and_enabled_by_the_command_in_its_readme() {
    let server = Server::start().await;
    for plugin in names() {
        let mut installed = 0;
        for line in commands(&plugin).iter().filter(|line| !line.starts_with(ELSEWHERE)) {
            let path = format!("{}:/usr/bin:/bin", binary_directory().display());
            // As somebody in a shell has it, where the component was downloaded to.
            let mut shell = Handoff::of(Path::new("/bin/sh"), &["-euc", line])
                .directory(&target_directory().join("guests"))
                .variable("PATH", &path)
                .variable("HANDOFF_SERVER", server.url());
            for (_, rest) in
                line.match_indices("--secret-env ").map(|(at, it)| line.split_at(at + it.len()))
            {
                let (_, name) = rest.split_whitespace().next().unwrap().split_once('=').unwrap();
                shell = shell.variable(name, SECRET);
            }
            let told = shell.run().await.expect(0);
            assert!(told.contains(" is enabled"), "{line}\n{told}");
            installed += 1;
        }
        assert!(installed > 0, "the README of {plugin} installs it");
    }
}

#[test]
fn each_plugin_is_on_the_page_of_plugins_and_in_the_table_of_cases() {
    let page = fs::read_to_string(plugins().join("../docs/plugins.md")).unwrap();
    let cases = include_str!("cases.rs");
    for plugin in names() {
        assert!(
            page.contains(&format!("../plugins/{plugin}/README.md")),
            "docs/plugins.md: {plugin}"
        );
        assert!(cases.contains(&format!("component: \"{plugin}\"")), "cases.rs: {plugin}");
    }
}
