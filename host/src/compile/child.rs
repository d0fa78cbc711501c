//! The server's side of the child process: starts it, feeds it, bounds it, and says why it ended.

use std::ffi::OsStr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use rustix::process::Signal;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{ChildStdin, Command};

use super::error::{CompileError, shown};
use super::order::{COMMAND, Header, Job, Order, Refusal};

/// The limit on time by the clock, the one that depends on the machine's load.
pub(super) const WALL: &str = "compile.wall_ms";
const CPU: &str = "compile.cpu_ms";
const MEMORY: &str = "compile.memory_bytes";
const COMPILED: &str = "compile.compiled_bytes";
const INSPECT: &str = "compile.inspect_ms";

/// How much of the child's stderr is kept.
const STDERR_BYTES: u64 = 8 << 10;

/// What Rust prints before it aborts because memory ran out.
const OUT_OF_MEMORY: &str = "memory allocation of";

/// What the parent enforces, beside what the child does itself.
pub(super) struct Bounds {
    pub(super) wall_ms: u64,
    pub(super) answer_bytes: u64,
}

/// Runs one order and gives the child's answer. Dropping the future kills the child.
pub(super) async fn run(
    exe: &Path,
    order: &Order,
    input: &Bytes,
    bounds: &Bounds,
) -> Result<Vec<u8>, CompileError> {
    let argument = serde_json::to_string(order).context("write the order")?;
    let mut child = Command::new(exe)
        .args([COMMAND, &argument])
        .env_clear()
        .current_dir(OsStr::new("/"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Ctrl-C at the terminal is for the server, which then decides.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("start {} as a child process", exe.display()))?;
    let (Some(stdin), Some(stdout), Some(stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(anyhow!("the child process has no pipes").into());
    };
    let talk = async {
        let (stdin, answer, stderr) =
            tokio::join!(feed(stdin, input), read_answer(stdout, bounds), read_some(stderr));
        let status = child.wait().await?;
        // Until here: the child ends itself when its stdin closes.
        drop(stdin);
        Ok::<_, std::io::Error>((answer, stderr, status))
    };
    let (answer, stderr, status) =
        match tokio::time::timeout(Duration::from_millis(bounds.wall_ms), talk).await {
            Ok(ended) => ended.context("wait for the child process")?,
            Err(_) => {
                // Also reaps it.
                child.kill().await.context("end the child process")?;
                let name = if order.job == Job::Inspect { INSPECT } else { WALL };
                return Err(limit(name, milliseconds(bounds.wall_ms)));
            }
        };
    match answer {
        Answer::Done(payload) if status.success() => Ok(payload),
        Answer::Refused(refusal) if status.success() => Err(match refusal {
            Refusal::Rejected(rejection) => rejection.into(),
            Refusal::Failed(message) => CompileError::Failed(message),
            Refusal::Memory => limit(MEMORY, bytes(order.memory_bytes)),
        }),
        // The child could not write it and ended.
        Answer::TooLarge => Err(limit(COMPILED, bytes(bounds.answer_bytes))),
        _ => Err(explain(status, &stderr, order)),
    }
}

/// Gives stdin back, open. A child that ends early is judged by how it ended, not by this.
async fn feed(mut stdin: ChildStdin, input: &[u8]) -> ChildStdin {
    let _ = stdin.write_all(input).await;
    let _ = stdin.flush().await;
    stdin
}

enum Answer {
    Done(Vec<u8>),
    Refused(Refusal),
    TooLarge,
    /// Nothing, half an answer, or not ours.
    Broken,
}

async fn read_answer(mut stdout: impl AsyncRead + Unpin, bounds: &Bounds) -> Answer {
    let mut header = [0; Header::BYTES];
    if stdout.read_exact(&mut header).await.is_err() {
        return Answer::Broken;
    }
    let Some(header) = Header::parse(&header) else { return Answer::Broken };
    if header.length > bounds.answer_bytes {
        return Answer::TooLarge;
    }
    let mut payload = Vec::new();
    let read = stdout.take(header.length).read_to_end(&mut payload).await;
    if read.is_err() || payload.len() as u64 != header.length {
        return Answer::Broken;
    }
    if blake3::hash(&payload) != header.hash {
        return Answer::Broken;
    }
    if header.done {
        return Answer::Done(payload);
    }
    serde_json::from_slice(&payload).map_or(Answer::Broken, Answer::Refused)
}

/// Reads to the end, so that the writer is never blocked, and keeps the beginning.
async fn read_some(stderr: impl AsyncRead + Unpin) -> String {
    let mut kept = Vec::new();
    let mut stderr = stderr.take(STDERR_BYTES);
    let _ = stderr.read_to_end(&mut kept).await;
    let _ = tokio::io::copy(&mut stderr.into_inner(), &mut tokio::io::sink()).await;
    String::from_utf8_lossy(&kept).into_owned()
}

/// Why a child ended without an answer.
fn explain(status: ExitStatus, stderr: &str, order: &Order) -> CompileError {
    let Some(signal) = status.signal() else {
        return anyhow!("the child process ended with {status}: {}", shown(stderr)).into();
    };
    let is = |expected: Signal| signal == expected.as_raw();
    if is(Signal::XCPU) {
        let name = if order.job == Job::Inspect { INSPECT } else { CPU };
        return limit(name, milliseconds(order.cpu_ms));
    }
    if is(Signal::ABORT) && stderr.contains(OUT_OF_MEMORY) {
        return limit(MEMORY, bytes(order.memory_bytes));
    }
    let crash = [Signal::ABORT, Signal::SEGV, Signal::BUS, Signal::ILL, Signal::FPE, Signal::SYS];
    if crash.into_iter().any(is) {
        let words = shown(stderr.trim());
        return CompileError::Failed(format!("the compiler crashed ({status}): {words}"));
    }
    anyhow!(
        "the child process was ended from outside ({status}); if nobody did, the machine is short of \
         memory"
    )
    .into()
}

fn limit(name: &'static str, limit: String) -> CompileError {
    CompileError::Limit { name, limit }
}

fn milliseconds(ms: u64) -> String {
    if ms.is_multiple_of(1_000) { format!("{} s", ms / 1_000) } else { format!("{ms} ms") }
}

fn bytes(bytes: u64) -> String {
    if bytes.is_multiple_of(1 << 20) {
        format!("{} MiB", bytes >> 20)
    } else {
        format!("{bytes} bytes")
    }
}
