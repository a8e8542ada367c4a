//! How guests end, in words.

use std::time::Duration;

use wasmtime::{Trap, WasmBacktrace, component::ResourceTableError};
use wasmtime_wasi::I32Exit;

use super::{guest::State, meter::CpuSpent};
use crate::{
    backend::{protocol::End, wasm::text::one_line},
    policy::{LimitName, format_duration},
};

/// How long a guest may take until it stands: its start functions, and host calls that these make.
pub const READY_MOST: Duration = Duration::from_secs(10);
/// Characters of what is said about a trap; names of functions are the guest's own words.
const TRAP_MOST: usize = 300;
/// Innermost functions that are named.
const FRAMES_MOST: usize = 4;

/// What wasmtime's error says, whose type is its own, where a call of a component copies more than `hostcall`.
const NO_FUEL: &str = "fuel allocated for hostcalls has been exhausted";

/// What wasmtime's error begins with, which has no type, where a store would have more instances, memories or tables than it may.
const TOO_MANY: &str = "resource limit exceeded: ";

/// A host function ended the guest, or its event, at a limit.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Exceeded {
    /// The limit.
    pub limit: LimitName,
    /// What was asked, and what there is.
    pub message: String,
}

/// It used its CPU time up.
pub fn cpu(budget: Duration) -> End {
    End::Limit { limit: "cpu".into(), message: format!("it used up its {} of CPU time", format_duration(budget)) }
}

/// It does not become ready.
pub fn not_ready() -> End {
    let message = format!("it was not ready after {} s: its start function does not return", READY_MOST.as_secs());
    End::Limit { limit: "ready".into(), message }
}

/// An event took too long.
pub fn event(most: Duration) -> End {
    End::Limit { limit: "event".into(), message: format!("the event was not over after {}", format_duration(most)) }
}

/// It was told to close, and did not.
pub fn grace() -> End {
    End::Limit { limit: "grace".into(), message: "it was told to close, and was still running when the grace was over".into() }
}

/// It trapped, exited, or a host function ended it.
pub fn failed(error: &wasmtime::Error, state: &State, budget: Duration) -> End {
    if let Some(I32Exit(code)) = error.downcast_ref::<I32Exit>() {
        return End::Exited { code: *code };
    }
    if error.downcast_ref::<CpuSpent>().is_some() {
        return cpu(budget);
    }
    if let Some(end) = exceeded(error) {
        return end;
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

/// The end at a limit that a host function found, if one did.
fn exceeded(error: &wasmtime::Error) -> Option<End> {
    let limit = |limit: LimitName, message: &str| End::Limit { limit: limit.as_str().into(), message: one_line(message, TRAP_MOST) };
    let typed = error.chain().find_map(|cause| {
        if let Some(Exceeded { limit: over, message }) = cause.downcast_ref() {
            return Some(limit(*over, message));
        }
        if matches!(cause.downcast_ref(), Some(ResourceTableError::Full)) {
            return Some(limit(LimitName::OpenFiles, "it holds more streams, pollables and files than its open files come to"));
        }
        None
    });
    // The innermost cause alone: further out are names of the guest's functions.
    typed.or_else(|| match error.root_cause().to_string() {
        said if said.ends_with(NO_FUEL) => Some(limit(LimitName::Hostcall, "one call would have copied more than it may")),
        said => said.strip_prefix(TOO_MANY).map(|which| limit(LimitName::Instances, &format!("it may not have so many: {which}"))),
    })
}

/// Why a guest was never ready: what follows "start …: ".
pub fn before_ready(end: &End) -> String {
    match end {
        End::Limit { limit, message } => match limit.as_str() {
            "ready" | "grace" | "cpu" => message.clone(),
            _ => format!("limit {limit}: {message}"),
        },
        End::Trapped { message } => message.clone(),
        End::Exited { code } => format!("it exited with code {code} before it was ready"),
        End::Signalled { signal } => format!("signal {signal}"),
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
