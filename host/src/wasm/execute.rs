//! One call of one guest, from a new store to what it left behind.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use wasmtime::component::ResourceTable;
use wasmtime::{Store, Trap, UpdateDeadline};
use wasmtime_wasi::p2::bindings::CommandPre;
use wasmtime_wasi::{I32Exit, WasiCtxBuilder};

use super::bindings::tests::SuiteDescription;
use super::context::{self, ContextCtx, Record};
use super::deadline::SharedDeadline;
use super::fixtures::FixtureFiles;
use super::fs::{FsCtx, Mount};
use super::http::{HttpCtx, HttpShared};
use super::limits::{LimitsHit, ResourceCounter};
use super::log::{FinishedLog, Live, Log, Stdio};
use super::plugin::bindings::{PluginPre, hooks};
use super::plugin::context::PluginCtx;
use super::plugin::{self, Hook, Pace, Runs, Values};
use super::prepared::{Linked, Prepared};
use super::random::RandomCtx;
use super::state::{ConfigCtx, State};
use super::tcp::TcpCtx;
use super::traffic::Traffic;
use super::trap::DeadlinePassed;
use super::{Engines, convert};
use crate::compile::Symbols;
use crate::metrics::Metrics;
use crate::model::{Exchange, Kept, Limits, LogLine, Outcome, Policy, Protocol, Stage, Value};

/// What to call, and under which terms.
pub(super) struct Terms {
    pub(super) call: Call,
    pub(super) metered: bool,
    pub(super) number: u32,
    pub(super) policy: Arc<Policy>,
    pub(super) limits: Arc<Limits>,
    pub(super) params: Arc<BTreeMap<String, String>>,
    pub(super) values: Arc<Vec<Value>>,
    pub(super) timeout: Duration,
    pub(super) not_after: Option<Instant>,
    pub(super) cancel: CancellationToken,
    pub(super) live: Option<mpsc::Sender<LogLine>>,
    /// If it is a program: how it is judged.
    pub(super) protocol: Option<Protocol>,
    /// What it brought along.
    pub(super) fixtures: Option<Arc<FixtureFiles>>,
    /// What it shares a processor's time with; none if it has all that it needs.
    pub(super) pace: Option<Arc<Pace>>,
}

/// After how much fuel a guest yields that shares its processor: some 50 µs. The clock's ticks come too late for
/// that if the guest has the very processor that the clock waits for.
const PACED_FUEL: u64 = 50_000;

/// What all calls share.
pub(super) struct Host {
    pub(super) engines: Engines,
    pub(super) http: HttpShared,
    pub(super) metrics: Metrics,
    /// No memory may be larger, whatever the limits say.
    pub(super) largest_memory: u64,
}

/// What parts of a call share with each other.
struct Shares {
    deadline: SharedDeadline,
    latest: Instant,
    hits: LimitsHit,
    traffic: Traffic,
}

/// Which of a suite's or plugin's functions, or what arguments a program gets.
pub(super) enum Call {
    Describe,
    Stage(Stage),
    /// A program that is asked for its tests.
    List(Vec<String>),
    /// A program that runs one.
    Program(Vec<String>),
    /// One of a plugin's functions, with what it keeps.
    Hook {
        hook: Hook,
        values: Arc<Values>,
        runs: Arc<dyn Runs>,
    },
}

/// What it answered.
pub(super) enum Answer {
    Description(Box<SuiteDescription>),
    Outcome(Outcome),
    /// A program ended with exit code 0.
    Done,
    Wishes(Box<Result<hooks::Wishes, String>>),
    Handled(Box<Result<Vec<hooks::Annotation>, hooks::Trouble>>),
    Gate(hooks::Verdict),
}

/// How the call ended.
pub(super) enum Ending {
    Returned(Answer),
    Failed(wasmtime::Error),
    TimedOut,
    Cancelled,
}

/// A call that has ended, and what it left behind.
pub(super) struct Execution {
    pub(super) ending: Ending,
    /// Whether the instance had been made before it ended.
    pub(super) instantiated: bool,
    pub(super) started_at: Timestamp,
    pub(super) started: Instant,
    pub(super) ended: Instant,
    /// From the start to the deadline as it was in the end.
    pub(super) timeout: Duration,
    /// Whether that deadline was the run's own, which says nothing of the test.
    pub(super) run_is_over: bool,
    pub(super) fuel_used: Option<u64>,
    pub(super) memory_limit: u64,
    pub(super) memory_peak: u64,
    pub(super) limits: Arc<Limits>,
    pub(super) hits: LimitsHit,
    pub(super) record: Record,
    /// What a plugin wants kept.
    pub(super) kept: Kept,
    pub(super) log: FinishedLog,
    pub(super) exchanges: Vec<Exchange>,
    pub(super) symbols: Arc<Symbols>,
}

/// Makes a store and an instance, calls, and takes everything down again.
pub(super) async fn execute(host: &Host, prepared: &Prepared, terms: Terms) -> Execution {
    let _ticking = host.engines.guest_runs();
    let (started_at, started) = (Timestamp::now(), Instant::now());
    let latest = latest(started, &terms);
    let first = started.checked_add(terms.timeout).map_or(latest, |at| at.min(latest));
    let deadline = SharedDeadline::new(first);
    let limits = terms.limits.clone();
    let hits = LimitsHit::default();
    let traffic = Traffic::new(limits.clone(), hits.clone(), host.metrics.clone());
    let shares = Shares { deadline, latest, hits, traffic };
    let (tcp, stopped) = tcp(host, &terms, &shares).await;
    let fuel = (terms.metered && limits.fuel > 0).then_some(limits.fuel);
    let state = state(host, &terms, &shares, tcp);
    let Shares { deadline, hits, traffic, .. } = shares;
    let mut store = Store::new(host.engines.get(terms.metered), state);
    bound(&mut store, &limits, terms.metered, &deadline);
    if terms.metered && terms.pace.is_some() {
        // Fails only on an engine that does not count fuel.
        _ = store.fuel_async_yield_interval(Some(PACED_FUEL));
    }

    let not_after = terms.not_after;
    let mut instantiated = false;
    let ending = match stopped {
        Some(ending) => ending,
        None => {
            let call = call(&mut store, prepared, terms.call, &mut instantiated);
            until_the_end(call, &deadline, &terms.cancel).await
        }
    };

    if let Ending::Failed(error) = &ending
        && let Some(Trap::StackOverflow) = error.downcast_ref()
    {
        host.metrics.server_limit_hit("sandbox.stack_bytes");
    }

    let ended = Instant::now();
    // A guest that is cut off in the midst of its code has not written down what it used since it last
    // called anything: compiled code counts in a register.
    let counted = match &ending {
        Ending::Returned(_) => true,
        Ending::Failed(error) => !error.is::<DeadlinePassed>(),
        Ending::TimedOut | Ending::Cancelled => false,
    };
    let fuel = fuel.filter(|_| counted);
    let fuel_used = fuel.map(|fuel| fuel - store.get_fuel().unwrap_or(0).min(fuel));
    let state = store.into_data();
    let (memory_limit, memory_peak) =
        (state.resources.memory_limit(), state.resources.peak_memory());
    Execution {
        ending,
        instantiated,
        started_at,
        started,
        ended,
        timeout: deadline.at().saturating_duration_since(started),
        run_is_over: not_after.is_some_and(|at| deadline.at() >= at),
        fuel_used,
        memory_limit,
        memory_peak,
        limits,
        hits,
        log: state.context.log.finish(),
        record: state.context.record,
        kept: state.plugin.kept,
        exchanges: traffic.finish(),
        symbols: prepared.symbols.clone(),
    }
}

/// The moment beyond which nothing extends the deadline.
fn latest(started: Instant, terms: &Terms) -> Instant {
    let longest = Duration::from_millis(terms.limits.max_timeout_ms);
    // A hundred years where the sum is beyond what the clock can hold.
    let far = || started + Duration::from_secs(100 * 365 * 24 * 60 * 60);
    let latest = started.checked_add(longest).unwrap_or_else(far);
    terms.not_after.map_or(latest, |not_after| latest.min(not_after))
}

/// Looks up the names that TCP connections may go to; without any, at once. Says how the call has
/// ended if it did so meanwhile.
async fn tcp(host: &Host, terms: &Terms, shares: &Shares) -> (TcpCtx, Option<Ending>) {
    let resolver = host.http.resolver();
    let ending = tokio::select! {
        biased;
        tcp = TcpCtx::new(&terms.policy, shares.traffic.clone(), resolver) => return (tcp, None),
        () = terms.cancel.cancelled() => Ending::Cancelled,
        () = tokio::time::sleep_until(shares.deadline.at().into()) => Ending::TimedOut,
    };
    let nothing = Policy::default();
    (TcpCtx::new(&nothing, shares.traffic.clone(), resolver).await, Some(ending))
}

fn state(host: &Host, terms: &Terms, shares: &Shares, tcp: TcpCtx) -> State {
    let Terms { policy, limits, params, values, live, protocol, .. } = terms;
    let Shares { deadline, latest, hits, traffic } = shares;
    let mark = protocol.and_then(Protocol::mark);
    let live = live.clone().map(|lines| Live { lines, mark });
    let log_bytes = limits.log_head_bytes.saturating_add(limits.log_tail_bytes);
    let room = usize::try_from(log_bytes).unwrap_or(usize::MAX);
    let log = Log::new(limits, policy.clone(), values.clone(), live, hits.clone())
        .read_by(protocol.map(|protocol| protocol.reader(room)));
    let mut wasi = WasiCtxBuilder::new();
    wasi.stdout(log.stream(Stdio::Stdout)).stderr(log.stream(Stdio::Stderr));
    let fixtures = terms.fixtures.clone();
    let fixtures = fixtures.map(|files| Mount { path: policy.fixtures_path().to_owned(), files });
    for (name, value) in &policy.env {
        wasi.env(name, value);
    }
    if let Call::List(arguments) | Call::Program(arguments) = &terms.call {
        wasi.args(arguments);
    }
    let mut table = ResourceTable::new();
    table.set_max_capacity(usize::try_from(limits.handles).unwrap_or(usize::MAX));
    let context = context::Terms {
        limits: limits.clone(),
        running: matches!(terms.call, Call::Stage(_) | Call::Program(_)),
        number: terms.number,
        latest: *latest,
        values: values.clone(),
    };
    let plugin = match &terms.call {
        Call::Hook { values, runs, .. } => {
            PluginCtx::new(values.clone(), runs.clone(), limits.clone(), hits.clone())
        }
        _ => PluginCtx::default(),
    };
    State {
        wasi: wasi.build(),
        table,
        config: ConfigCtx::new(policy.clone(), params.clone()),
        random: RandomCtx::new(limits, hits.clone()),
        fs: FsCtx::new(limits, fixtures, hits.clone()),
        http: HttpCtx::new(host.http.clone(), policy.clone(), traffic.clone(), deadline.clone()),
        tcp,
        context: ContextCtx::new(context, log, deadline.clone(), hits.clone()),
        plugin,
        resources: ResourceCounter::new(limits, host.largest_memory, hits.clone()),
    }
}

/// Sets every bound that the engine itself keeps.
fn bound(store: &mut Store<State>, limits: &Limits, metered: bool, deadline: &SharedDeadline) {
    let size = |limit: u64| usize::try_from(limit).unwrap_or(usize::MAX);
    store.limiter(|state| &mut state.resources);
    store.set_hostcall_fuel(size(limits.host_call_bytes));
    store.set_max_component_handles(size(limits.handles));
    if metered {
        let fuel = if limits.fuel == 0 { u64::MAX } else { limits.fuel };
        // Fails only on an engine that does not count fuel.
        _ = store.set_fuel(fuel);
    }
    let deadline = deadline.clone();
    let mut resumed = false;
    // At least one whole tick, so that a short call ends without a yield and the timers it brings.
    store.set_epoch_deadline(2);
    store.epoch_deadline_callback(move |_| {
        if deadline.remaining().is_zero() {
            return Err(DeadlinePassed.into());
        }
        // A guest that yielded is asked again as soon as it goes on, and only then has its tick: with
        // many guests on a thread, most deadlines pass while the guest waits for its turn, and a tick
        // of each would hold up those behind it.
        resumed = !resumed;
        if !resumed {
            return Ok(UpdateDeadline::Continue(1));
        }
        // Not `UpdateDeadline::Yield`: that wakes itself at once, and tokio would run it again before
        // everybody else (wasmtime#10667).
        Ok(UpdateDeadline::YieldCustom(0, Box::pin(tokio::task::yield_now())))
    });
}

async fn call(
    store: &mut Store<State>,
    prepared: &Prepared,
    call: Call,
    instantiated: &mut bool,
) -> wasmtime::Result<Answer> {
    let suite = match (&prepared.linked, &call) {
        (Linked::Program(program), Call::List(_) | Call::Program(_)) => {
            return start(store, program, instantiated).await;
        }
        (Linked::Plugin(plugin), Call::Hook { hook, .. }) => {
            return answer(store, plugin, hook, instantiated).await;
        }
        (Linked::Suite(suite), Call::Describe | Call::Stage(_)) => suite,
        _ => return Err(wasmtime::Error::msg(MISTAKEN)),
    };
    let suite = suite.instantiate_async(&mut *store).await?;
    *instantiated = true;
    let tests = suite.handoff_suite_tests();
    let outcome = match call {
        Call::Describe => {
            let description = tests.call_describe(store).await?;
            return Ok(Answer::Description(Box::new(description)));
        }
        Call::Stage(Stage::Setup) => convert::outcome(tests.call_setup(store).await?),
        Call::Stage(Stage::Test(name)) => convert::outcome(tests.call_run(store, &name).await?),
        Call::Stage(Stage::Teardown) => convert::teardown(tests.call_teardown(store).await?),
        Call::List(_) | Call::Program(_) | Call::Hook { .. } => {
            return Err(wasmtime::Error::msg(MISTAKEN));
        }
    };
    Ok(Answer::Outcome(outcome))
}

/// Why a suite is not started, and a program not called.
const MISTAKEN: &str = "the component is not what its version says it is";

/// Calls one of a plugin's functions.
async fn answer(
    store: &mut Store<State>,
    plugin: &PluginPre<State>,
    hook: &Hook,
    instantiated: &mut bool,
) -> wasmtime::Result<Answer> {
    let plugin = plugin.instantiate_async(&mut *store).await?;
    *instantiated = true;
    let hooks = plugin.handoff_plugin_hooks();
    Ok(match hook {
        Hook::Init => Answer::Wishes(Box::new(hooks.call_init(store).await?)),
        Hook::Handle { notice, attempt } => {
            let event = plugin::event(notice, *attempt);
            Answer::Handled(Box::new(hooks.call_handle(store, &event).await?))
        }
        Hook::Gate { run } => Answer::Gate(hooks.call_gate(store, run).await?),
    })
}

/// Runs a program to its end. Every end but exit code 0 is an error.
async fn start(
    store: &mut Store<State>,
    program: &CommandPre<State>,
    instantiated: &mut bool,
) -> wasmtime::Result<Answer> {
    let program = program.instantiate_async(&mut *store).await?;
    *instantiated = true;
    match program.wasi_cli_run().call_run(store).await {
        Ok(Ok(())) => Ok(Answer::Done),
        Ok(Err(())) => Err(I32Exit(1).into()),
        Err(error) => match error.downcast_ref() {
            Some(I32Exit(0)) => Ok(Answer::Done),
            _ => Err(error),
        },
    }
}

/// Drives `call` until it ends, its deadline passes or it is cancelled. Dropping it then ends a guest
/// that waits in a host call; one that computes ends in the epoch callback.
async fn until_the_end(
    call: impl Future<Output = wasmtime::Result<Answer>>,
    deadline: &SharedDeadline,
    cancel: &CancellationToken,
) -> Ending {
    let mut call = std::pin::pin!(call);
    loop {
        let at = deadline.at();
        tokio::select! {
            biased;
            result = &mut call => return result.map_or_else(Ending::Failed, Ending::Returned),
            () = cancel.cancelled() => return Ending::Cancelled,
            // The guest may have moved the deadline meanwhile.
            () = tokio::time::sleep_until(at.into()) => {
                if deadline.at() <= at {
                    return Ending::TimedOut;
                }
            }
        }
    }
}
