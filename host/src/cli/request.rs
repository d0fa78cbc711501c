//! Options that say which tests run and how, the same for a run on a server and one without.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use serde_json::{Map, Value, json};

use super::exit::{Exit, Failure};
use crate::config::{Environment, read_policy};
use crate::model::{
    Cause, HostPattern, OnFlaky, Policy, RunRequest, Shard, Tags, TcpTarget, Wait, retried,
};

/// Which tests run, and how.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct RequestArgs {
    /// Run only tests whose names match this regular expression
    #[arg(value_name = "FILTER")]
    pattern: Option<String>,
    /// The same as an option
    #[arg(long, value_name = "REGEX", conflicts_with = "pattern", help_heading = "Selection")]
    filter: Option<String>,
    /// Run only tests with one of these tags
    #[arg(long = "tag", value_name = "TAG", help_heading = "Selection")]
    tags: Vec<String>,
    /// Leave out tests with one of these tags
    #[arg(long = "skip-tag", value_name = "TAG", help_heading = "Selection")]
    skip_tags: Vec<String>,
    /// Run one part of the suite, such as `2/5` for the second of five; which part a test is in
    /// follows from its name alone
    #[arg(long, value_name = "I/N", help_heading = "Selection")]
    shard: Option<Shard>,
    /// Give the suite a parameter
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = pair, help_heading = "Execution")]
    params: Vec<(String, String)>,
    /// Say what is being tested, such as a commit
    #[arg(long, value_name = "TEXT", help_heading = "Execution")]
    reference: Option<String>,
    /// The deadline of the whole run, such as `10m`
    #[arg(long, value_name = "TIME", value_parser = milliseconds, help_heading = "Execution")]
    timeout: Option<u64>,
    /// The deadline of each attempt at a test
    #[arg(long, value_name = "TIME", value_parser = milliseconds, help_heading = "Execution")]
    test_timeout: Option<u64>,
    /// How often each test is tried at most
    #[arg(long, value_name = "N", help_heading = "Execution")]
    attempts: Option<u32>,
    /// How long to wait before a further attempt; `100ms..10s` doubles it each time
    #[arg(long, value_name = "TIME[..MAX]", value_parser = wait, help_heading = "Execution")]
    retry_wait: Option<Wait>,
    /// Try a test again only after a failure of this cause, such as timeout; may be given more than once
    #[arg(long, value_name = "CAUSE", value_parser = retried, help_heading = "Execution")]
    retry_on: Vec<Cause>,
    /// How long further attempts and the waits before them may take in sum
    #[arg(long, value_name = "TIME", value_parser = milliseconds, help_heading = "Execution")]
    retry_budget: Option<u64>,
    /// What becomes of the run if a test passed only when it was tried again: pass or fail
    #[arg(long, value_name = "VERDICT", help_heading = "Execution")]
    on_flaky: Option<OnFlaky>,
    /// How many tests may run at the same time
    #[arg(long, short = 'j', value_name = "N", help_heading = "Execution")]
    parallelism: Option<u32>,
    /// Run the tests in another order, drawn or given by a seed
    #[arg(
        long,
        value_name = "SEED",
        num_args = 0..=1,
        require_equals = true,
        help_heading = "Execution"
    )]
    shuffle: Option<Option<u64>>,
    /// How many rounds of all tests to run, between one setup and one teardown
    #[arg(long, value_name = "N", help_heading = "Execution")]
    pub(crate) repeat: Option<u32>,
    /// Run rounds of all tests for so long, such as `8h`; --repeat says how many at most
    #[arg(long, value_name = "TIME", value_parser = milliseconds, help_heading = "Execution")]
    repeat_for: Option<u64>,
    /// Run rounds of all tests until one fails; --repeat says how many at most
    #[arg(long, help_heading = "Execution")]
    repeat_until_failure: bool,
    /// Stop the run at the first failure that counts; teardown still runs
    #[arg(long, help_heading = "Execution")]
    fail_fast: bool,
    /// Stop the run at the N-th failure that counts
    #[arg(
        long,
        value_name = "N",
        value_parser = at_least_one,
        conflicts_with = "fail_fast",
        help_heading = "Execution"
    )]
    max_failures: Option<NonZeroU32>,
    /// End with code 101 if a test passed only when it was tried again
    #[arg(long, help_heading = "Execution")]
    pub(crate) fail_on_flaky: bool,
}

impl RequestArgs {
    /// What is asked for.
    pub(crate) fn request(&self) -> RunRequest {
        // A seed is a word for people to repeat: five digits are enough orders.
        let seed = || rand::random_range(0..100_000);
        RunRequest {
            version: None,
            filter: self.pattern.clone().or_else(|| self.filter.clone()),
            tags: Tags { include: self.tags.clone(), exclude: self.skip_tags.clone() },
            shard: self.shard,
            reference: self.reference.clone(),
            initiated_by: None,
            params: self.params.iter().cloned().collect(),
            timeout_ms: self.timeout,
            test_timeout_ms: self.test_timeout,
            max_attempts: self.attempts,
            retry_wait: self.retry_wait.unwrap_or_default(),
            parallelism: self.parallelism,
            shuffle_seed: self.shuffle.map(|given| given.unwrap_or_else(seed)),
            repeat: self.repeat,
            retry_on: self.retry_on.clone(),
            retry_budget_ms: self.retry_budget,
            on_flaky: self.on_flaky.unwrap_or_default(),
            repeat_for_ms: self.repeat_for,
            repeat_until_failure: self.repeat_until_failure,
            max_failures: self
                .max_failures
                .or(self.fail_fast.then_some(NonZeroU32::MIN))
                .map(u32::from),
            ..RunRequest::default()
        }
    }
}

/// What is asked for as the body of a POST; what was not said is left out.
pub(crate) fn body(request: &RunRequest) -> Value {
    let mut body = Map::new();
    if let Value::Object(fields) = json!(request) {
        body.extend(fields.into_iter().filter(|(_, value)| !value.is_null()));
    }
    Value::Object(body)
}

/// The fields of a run that is started later which are given: less what the command line always says. Fails if
/// something was said that is of use to whoever follows a run alone.
pub(crate) fn run_fields(request: &RequestArgs) -> Result<Map<String, Value>, Failure> {
    if request.fail_on_flaky {
        let told =
            "--fail-on-flaky is the exit code of a command that follows a run: say --on-flaky fail";
        return Err(Failure::told(Exit::Usage, told));
    }
    let (Value::Object(given), Value::Object(nothing)) =
        (body(&request.request()), body(&RequestArgs::default().request()))
    else {
        return Ok(Map::new());
    };
    Ok(given.into_iter().filter(|(name, value)| nothing.get(name) != Some(value)).collect())
}

/// What a suite is granted.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct PolicyArgs {
    /// Read the grant from a file with the keys of a suite's policy in handoff.toml
    #[arg(long = "policy", value_name = "FILE", help_heading = "Grant")]
    policy_file: Option<PathBuf>,
    /// Allow HTTP requests there, such as `https://api.example.com` or `http://localhost:*`
    #[arg(long, value_name = "URL", help_heading = "Grant")]
    allow_http: Vec<HostPattern>,
    /// Allow TCP connections there
    #[arg(long, value_name = "HOST:PORT", help_heading = "Grant")]
    allow_tcp: Vec<TcpTarget>,
    /// Set a configuration value that the suite reads
    #[arg(long = "config", value_name = "NAME=VALUE", value_parser = pair, help_heading = "Grant")]
    config: Vec<(String, String)>,
    /// Set an environment variable of the suite
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = pair, help_heading = "Grant")]
    env: Vec<(String, String)>,
    /// Give a test program an argument; each `--args` is one
    #[arg(long, value_name = "ARG", allow_hyphen_values = true, help_heading = "Grant")]
    args: Vec<String>,
    /// Where the suite finds its fixtures [default: /, where relative paths start]
    #[arg(long, value_name = "PATH", help_heading = "Grant")]
    fixtures_path: Option<String>,
    /// Set a secret; other users of this machine may see it, better use --secret-env
    #[arg(long = "secret", value_name = "NAME=VALUE", value_parser = secret, help_heading = "Grant")]
    secrets: Vec<Secret>,
    /// Take a secret from an environment variable of this command
    #[arg(long = "secret-env", value_name = "NAME[=VARIABLE]", help_heading = "Grant")]
    secrets_env: Vec<String>,
    /// Take a secret from a file, less a line break at its end
    #[arg(long = "secret-file", value_name = "NAME=FILE", value_parser = pair, help_heading = "Grant")]
    secrets_file: Vec<(String, String)>,
}

/// A secret's name and value. Its `Debug` hides the value.
#[derive(Clone)]
struct Secret(String, String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} (hidden)", self.0)
    }
}

impl PolicyArgs {
    /// The grant: the file's, and on top of it what the options say.
    pub(crate) fn policy(&self, environment: &Environment) -> Result<Policy, Failure> {
        let mut policy = match &self.policy_file {
            Some(path) => read_policy(path)?,
            None => Policy::default(),
        };
        policy.allow_http.extend(self.allow_http.iter().cloned());
        policy.allow_tcp.extend(self.allow_tcp.iter().cloned());
        policy.config.extend(self.config.iter().cloned());
        policy.env.extend(self.env.iter().cloned());
        policy.args.extend(self.args.iter().cloned());
        policy.fixtures_path = self.fixtures_path.clone().or(policy.fixtures_path);
        policy.secrets.extend(self.secrets.iter().map(|s| (s.0.clone(), s.1.clone())));
        policy.secrets.extend(self.secrets_in(environment)?);
        policy.secrets.extend(self.secrets_in_files()?);
        Ok(policy)
    }

    /// Whether anything was said of a grant.
    pub(crate) fn is_empty(&self) -> bool {
        let lists = [self.allow_http.len(), self.allow_tcp.len(), self.config.len()];
        let secrets = self.secrets.len() + self.secrets_env.len() + self.secrets_file.len();
        let more = [self.env.len(), self.args.len(), secrets];
        let nothing = self.policy_file.is_none() && self.fixtures_path.is_none();
        nothing && lists.iter().chain(&more).all(|length| *length == 0)
    }

    fn secrets_in(&self, environment: &Environment) -> Result<BTreeMap<String, String>, Failure> {
        let read = |given: &String| {
            let (name, variable) = given.split_once('=').unwrap_or((given, given));
            let value = environment.get(variable).ok_or_else(|| {
                let why = format!("the environment variable {variable} is not set");
                Failure::told(Exit::Usage, format!("the secret {name:?} cannot be read: {why}"))
            })?;
            Ok((name.to_owned(), value.to_owned()))
        };
        self.secrets_env.iter().map(read).collect()
    }

    fn secrets_in_files(&self) -> Result<BTreeMap<String, String>, Failure> {
        let read = |(name, path): &(String, String)| {
            let value = read_secret(Path::new(path)).map_err(anyhow::Error::new);
            let value = value.with_context(|| format!("read the secret {name:?} from {path}"));
            Ok((name.clone(), value.map_err(Failure::usage)?))
        };
        self.secrets_file.iter().map(read).collect()
    }
}

/// No secret is larger: what is named by mistake, such as a device, is not read to its end.
const SECRET_BYTES: u64 = 1 << 20;

/// A secret in a file, or on standard input if that is called `-`, less a line break at its end.
pub(crate) fn read_secret(path: &Path) -> io::Result<String> {
    let from: Box<dyn Read> = match path.as_os_str() == "-" {
        true => Box::new(io::stdin()),
        false => Box::new(File::open(path)?),
    };
    let mut text = String::new();
    from.take(SECRET_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > SECRET_BYTES {
        return Err(io::Error::other(format!("it has more than {SECRET_BYTES} bytes")));
    }
    let ended = text.strip_suffix('\n').map(|text| text.strip_suffix('\r').unwrap_or(text));
    Ok(ended.unwrap_or(&text).to_owned())
}

pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".into()),
    }
}

fn secret(text: &str) -> Result<Secret, String> {
    pair(text).map(|(name, value)| Secret(name, value))
}

/// A time as people write it, in milliseconds.
pub(crate) fn milliseconds(text: &str) -> Result<u64, String> {
    let time = duration(text)?;
    u64::try_from(time.as_millis()).map_err(|_| "that is too long".into())
}

fn at_least_one(text: &str) -> Result<NonZeroU32, String> {
    text.parse().map_err(|_| "write a whole number from 1 on".into())
}

/// A time as people write it.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let told = |error| format!("{error}: write a time such as `30s` or `1m 30s`");
    humantime::parse_duration(text).map_err(told)
}

fn wait(text: &str) -> Result<Wait, String> {
    match text.split_once("..") {
        Some((initial, max)) => {
            Ok(Wait::Exponential { initial_ms: milliseconds(initial)?, max_ms: milliseconds(max)? })
        }
        None => Ok(Wait::Fixed { wait_ms: milliseconds(text)? }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Given {
        #[command(flatten)]
        request: RequestArgs,
        #[command(flatten)]
        policy: PolicyArgs,
    }

    fn given(line: &str) -> Given {
        Given::try_parse_from(std::iter::once("x").chain(line.split_whitespace())).unwrap()
    }

    #[test]
    fn what_was_not_said_is_not_sent() {
        let empty = body(&given("").request.request());
        assert_eq!(
            empty,
            json!({
                "params": {}, "retry_wait": {"kind": "none"}, "tags": {"exclude": [], "include": []},
            })
        );
    }

    #[test]
    fn options_become_a_request() {
        let line = "log.in --tag a --tag b --skip-tag c --shard 2/5 --param x=1=2 --timeout 1m --test-timeout 2s \
                    --attempts 3 --retry-wait 100ms..10s -j 4 --shuffle=42 --repeat 2";
        let request = given(line).request.request();
        assert_eq!(request.filter.as_deref(), Some("log.in"));
        assert_eq!(request.tags.include, ["a", "b"]);
        assert_eq!(request.tags.exclude, ["c"]);
        assert_eq!(request.shard, "2/5".parse().ok());
        assert_eq!(request.params["x"], "1=2");
        assert_eq!((request.timeout_ms, request.test_timeout_ms), (Some(60_000), Some(2_000)));
        assert_eq!(request.retry_wait, Wait::Exponential { initial_ms: 100, max_ms: 10_000 });
        assert_eq!((request.shuffle_seed, request.repeat), (Some(42), Some(2)));
        assert!(given("--shuffle").request.request().shuffle_seed.is_some());
        assert_eq!(given("").request.request(), RunRequest::default());
    }

    #[test]
    fn secrets_come_from_the_environment_and_are_not_in_debug_output() {
        let environment = Environment::from([("API_TOKEN", "hunter2")]);
        let args = given("--secret-env token=API_TOKEN --secret-env API_TOKEN --secret a=b").policy;
        let policy = args.policy(&environment).unwrap();
        assert_eq!(policy.secrets["token"], "hunter2");
        assert_eq!(policy.secrets["API_TOKEN"], "hunter2");
        assert_eq!(policy.secrets["a"], "b");
        assert!(!format!("{:?}", given("--secret a=hunter2").policy).contains("hunter2"));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "hunter3\n").unwrap();
        let line = format!("--secret-file token={}", path.display());
        assert_eq!(given(&line).policy.policy(&environment).unwrap().secrets["token"], "hunter3");
        let missing = given("--secret-file token=/no/such/file").policy;
        let error = missing.policy(&environment).unwrap_err();
        assert!(error.exit.code() == 2 && error.to_string().contains("/no/such/file"), "{error}");
        let error = args.policy(&Environment::default()).unwrap_err();
        assert_eq!(error.exit.code(), 2);
        assert!(error.to_string().ends_with("variable API_TOKEN is not set"), "{error}");
    }

    #[test]
    fn options_add_to_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("policy.toml");
        std::fs::write(&path, "allow_http = [\"https://a\"]\n[config]\nx = \"1\"\n").unwrap();
        let line = format!("--policy {} --allow-http https://b --config x=2", path.display());
        let policy = given(&line).policy.policy(&Environment::default()).unwrap();
        assert_eq!(policy.allow_http.len(), 2);
        assert_eq!(policy.config["x"], "2");
    }
}
