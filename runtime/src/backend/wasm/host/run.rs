//! One guest's run: instantiated, entered, and ended, whatever it does.

use std::{sync::Arc, time::Duration};

use wasmtime::{Store, Trap, TypedFunc, WasmBacktrace};
use wasmtime_wasi::{I32Exit, p2::bindings::Command};

use super::{
    guest::State,
    load::{Linked, Loaded},
    meter::{CpuSpent, Metered, Ticker},
    outbox::Outbox,
};
use crate::{
    backend::{
        protocol::{End, FromChild},
        wasm::text::one_line,
    },
    policy::format_duration,
};

/// How long a guest may take until it stands: its start functions, and host calls that these make.
const READY_MOST: Duration = Duration::from_secs(10);
/// Characters of what is said about a trap; names of functions are the guest's own words.
const TRAP_MOST: usize = 300;
/// Innermost functions that are named.
const FRAMES_MOST: usize = 4;

/// Where a guest is entered.
enum Entry {
    Start(TypedFunc<(), ()>),
    Run(Command),
}

/// How guest code came back.
enum Outcome {
    /// It returned, with this code.
    Returned(i32),
    /// It trapped, exited, or a host function ended it.
    Failed(wasmtime::Error),
    /// Its CPU time was used up.
    Spent,
    /// It did not become ready in time.
    NotReady,
    /// It was told to close, and the grace is over.
    GraceOver,
}

/// Runs a guest to its end, and says so; its engine is the ticker's `slot`th. Its store is dropped then, whatever the end was.
pub async fn run(loaded: Loaded, slot: usize, ticker: Arc<Ticker>, outbox: Arc<Outbox>) {
    let agent = loaded.launch.agent.clone();
    let index = loaded.index;
    let word = live(loaded, slot, &ticker, &outbox)
        .await
        .map_or_else(|message| FromChild::Refused { agent: agent.clone(), message }, |end| FromChild::Ended { agent: agent.clone(), end });
    outbox.say(index, &word);
}

/// The two steps: until it is ready (else the refusal's text), and until it ends.
async fn live(mut loaded: Loaded, slot: usize, ticker: &Arc<Ticker>, outbox: &Outbox) -> Result<End, String> {
    let (meter, index) = (Arc::clone(&loaded.meter), loaded.index);
    let cpu = format_duration(loaded.launch.policy.limits.cpu);
    let begun = {
        let start = Metered::new(instantiate(&loaded.linked, &mut loaded.store), &meter, ticker, slot);
        tokio::select! {
            biased;
            done = tokio::time::timeout(READY_MOST, start) => match done {
                Ok(Ok(Ok(entry))) => Ok(entry),
                Ok(Ok(Err(error))) => Err(Outcome::Failed(error)),
                Ok(Err(CpuSpent)) => Err(Outcome::Spent),
                Err(_) => Err(Outcome::NotReady),
            },
            () = loaded.told.over() => Err(Outcome::GraceOver),
        }
    };
    let entry = begun.map_err(|outcome| refusal(&outcome, loaded.store.data(), &cpu))?;
    outbox.say(index, &FromChild::Ready { agent: loaded.launch.agent.clone() });
    let outcome = {
        let body = Metered::new(enter(entry, &mut loaded.store), &meter, ticker, slot);
        tokio::select! {
            biased;
            done = body => match done {
                Ok(Ok(code)) => Outcome::Returned(code),
                Ok(Err(error)) => Outcome::Failed(error),
                Err(CpuSpent) => Outcome::Spent,
            },
            () = loaded.told.over() => Outcome::GraceOver,
        }
    };
    Ok(end(&outcome, loaded.store.data(), &cpu))
}

async fn instantiate(linked: &Linked, store: &mut Store<State>) -> wasmtime::Result<Entry> {
    match linked {
        Linked::Module(pre) => {
            let instance = pre.instantiate_async(&mut *store).await?;
            Ok(Entry::Start(instance.get_typed_func(store, "_start")?))
        }
        Linked::Component(pre) => Ok(Entry::Run(pre.instantiate_async(store).await?)),
    }
}

async fn enter(entry: Entry, store: &mut Store<State>) -> wasmtime::Result<i32> {
    match entry {
        Entry::Start(start) => start.call_async(store, ()).await.map(|()| 0),
        // `wasi:cli/run` only says whether it succeeded.
        Entry::Run(command) => command.wasi_cli_run().call_run(store).await.map(|done| i32::from(done.is_err())),
    }
}

/// The end of a guest that was ready.
fn end(outcome: &Outcome, state: &State, cpu: &str) -> End {
    match outcome {
        Outcome::Returned(code) => End::Exited { code: *code },
        Outcome::Spent => cpu_end(cpu),
        Outcome::NotReady => End::Limit { limit: "ready".into(), message: not_ready() },
        Outcome::GraceOver => {
            End::Limit { limit: "grace".into(), message: "it was told to close, and was still running when the grace was over".into() }
        }
        Outcome::Failed(error) => {
            if let Some(I32Exit(code)) = error.downcast_ref::<I32Exit>() {
                return End::Exited { code: *code };
            }
            if error.downcast_ref::<CpuSpent>().is_some() {
                return cpu_end(cpu);
            }
            let message = describe(error);
            // A guest that was refused memory and then died, died of it, as far as anyone can tell from outside.
            match state.limiter.hit() {
                Some(hit) => End::Limit {
                    limit: hit.limit().into(),
                    message: one_line(&format!("it was refused more than its limit, and then: {message}"), TRAP_MOST),
                },
                None => End::Trapped { message },
            }
        }
    }
}

fn cpu_end(cpu: &str) -> End {
    End::Limit { limit: "cpu".into(), message: format!("it used up its {cpu} of CPU time") }
}

fn not_ready() -> String {
    format!("it was not ready after {} s: its start function does not return", READY_MOST.as_secs())
}

/// Why a guest was never ready.
fn refusal(outcome: &Outcome, state: &State, cpu: &str) -> String {
    match end(outcome, state, cpu) {
        End::Limit { limit, message } => match outcome {
            Outcome::NotReady | Outcome::GraceOver | Outcome::Spent => format!("start the program: {message}"),
            Outcome::Failed(_) | Outcome::Returned(_) => format!("start the program: limit {limit}: {message}"),
        },
        End::Trapped { message } => format!("start the program: {message}"),
        End::Exited { code } => format!("start the program: it exited with code {code} before it was ready"),
        End::Signalled { signal } => format!("start the program: signal {signal}"),
    }
}

/// One line about a trap: its kind, and the innermost functions that have names.
fn describe(error: &wasmtime::Error) -> String {
    let kind = error.downcast_ref::<Trap>().map_or_else(
        // Host functions say why they end a guest in the innermost cause; the outer ones are its backtrace.
        || error.root_cause().to_string(),
        ToString::to_string,
    );
    let frames = error.downcast_ref::<WasmBacktrace>().map(WasmBacktrace::frames).unwrap_or_default();
    let names: Vec<_> = frames.iter().filter_map(|frame| frame.func_name()).take(FRAMES_MOST).map(|name| one_line(name, 60)).collect();
    let place = if names.is_empty() { String::new() } else { format!(" (in {})", names.join(", called by ")) };
    one_line(&format!("{kind}{place}"), TRAP_MOST)
}
