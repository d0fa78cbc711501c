//! The examples in the documentation: what stands in a fence of YAML says in its first line which file
//! it is, and is checked as that.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};

use super::tools::{Tools, output_of};
use crate::workspace::Workspace;

/// The pages that show how something is deployed.
const PAGES: [&str; 2] = ["docs/ci.md", "deploy/README.md"];
/// Our action, as the examples call it.
const ACTION: &str = "handoff-tests/handoff@v1";

/// An example.
pub(super) struct Example {
    /// The file that it is, as its first line says.
    pub(super) name: String,
    /// What it says.
    pub(super) text: String,
}

/// The examples of all pages.
pub(super) fn examples(workspace: &Workspace) -> Result<Vec<Example>> {
    let mut examples = Vec::new();
    for page in PAGES {
        let page = workspace.root.join(page);
        let text = fs::read_to_string(&page)
            .with_context(|| format!("failed to read {}", page.display()))?;
        examples.extend(in_page(&text).with_context(|| page.display().to_string())?);
    }
    ensure!(!examples.is_empty(), "the pages have no examples");
    Ok(examples)
}

fn in_page(text: &str) -> Result<Vec<Example>> {
    let fences = text.split("\n```yaml\n").skip(1);
    let examples = fences.map(|rest| {
        let (text, _) = rest.split_once("\n```").context("a fence has no end")?;
        let name = text.lines().next().and_then(|line| line.strip_prefix("# "));
        let name = name.with_context(|| format!("an example has no name:\n{text}"))?.to_owned();
        Ok(Example { name, text: format!("{text}\n") })
    });
    examples.collect()
}

/// Checks workflows of GitHub and jobs of GitLab against their schemas. Values of the chart are the
/// chart's to check.
pub(super) fn check_schemas(tools: &Tools, examples: &[Example]) -> Result<()> {
    for (number, example) in examples.iter().enumerate() {
        let schema = match example.name.as_str() {
            "values.yaml" => continue,
            ".gitlab-ci.yml" => "vendor.gitlab-ci",
            name if name.starts_with(".github/workflows/") => "vendor.github-workflows",
            name => bail!("nobody knows what the example {name} is"),
        };
        let file = tools.file("examples", &format!("{number}.yml"), &example.text)?;
        let mut check = tools.python("check-jsonschema").context("there is no check-jsonschema")?;
        output_of(check.args(["--builtin-schema", schema]).arg(&file), "")?;
    }
    Ok(())
}

/// Has actionlint read the workflows in a repository where our action is a local one, so that the names
/// of its inputs and outputs are checked too.
pub(super) fn lint_workflows(
    tools: &Tools,
    workspace: &Workspace,
    examples: &[Example],
) -> Result<()> {
    let action = fs::read_to_string(workspace.root.join("action.yml"));
    tools.file("repository", "action.yml", &action.context("failed to read action.yml")?)?;
    // By this it knows the root of a repository.
    tools.file("repository", ".git/HEAD", "ref: refs/heads/main\n")?;
    let mut workflows: Vec<PathBuf> = Vec::new();
    for example in examples.iter().filter(|example| example.name.starts_with(".github/")) {
        ensure!(example.text.contains(ACTION), "{} does not use our action", example.name);
        let text = example.text.replace(ACTION, "./");
        workflows.push(tools.file("repository", &example.name, &text)?);
    }
    ensure!(!workflows.is_empty(), "there is no workflow to check");
    let mut lint = tools.of_go("actionlint").context("there is no actionlint")?;
    lint.args(["-no-color", "-shellcheck="]).args(workflows);
    output_of(lint.current_dir(tools.work.join("repository")), "").map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_is_named_by_its_first_line() {
        let page = "a\n```yaml\n# a.yml\nb: c\n```\nd\n```console\n$ e\n```\n```yaml\n# f\n```\n";
        let examples = in_page(page).unwrap();
        let read: Vec<_> = examples.iter().map(|e| (e.name.as_str(), e.text.as_str())).collect();
        assert_eq!(read, [("a.yml", "# a.yml\nb: c\n"), ("f", "# f\n")]);
        assert!(in_page("\n```yaml\nb: c\n```\n").is_err(), "it has no name");
        assert!(in_page("\n```yaml\n# a\n").is_err(), "it has no end");
    }
}
