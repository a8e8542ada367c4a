//! What is asked for and an agent's backend has no use for. It is refused wherever it is written: whoever wrote it relies on it.

use std::time::Duration;

use super::{DefinedProgram, LIMIT_NAMES, ResolveError};
use crate::{
    cell::{AgentName, BackendKind},
    policy::{LimitName, Limits, Policy},
};

/// The backend that a program is for; none of the keeper, which is for either.
pub(super) const fn backend_of(program: &DefinedProgram) -> Option<BackendKind> {
    match program {
        DefinedProgram::Component { .. } => Some(BackendKind::Wasm),
        DefinedProgram::Command { .. } => Some(BackendKind::Process),
        DefinedProgram::Keeper => None,
    }
}

/// Says why a backend has no use for a grant, a limit or a tick, by its name in a definition, which is that on the command line as well; as what
/// follows that name. None where it has.
///
/// Whether a component lives by events is not known before it is looked into: what only those use is for the wasm backend.
pub fn unfit(key: &str, backend: BackendKind) -> Option<&'static str> {
    let limit = LimitName::ALL.iter().find(|name| name.as_str() == key && LIMIT_NAMES.contains(&key));
    let has_no_use = |name: &&LimitName| !name.concerns(backend, matches!(backend, BackendKind::Wasm));
    match (backend, key, limit.filter(has_no_use)) {
        (BackendKind::Wasm, "read", _) => Some("is for process agents; a component sees what `mounts` gives it"),
        (BackendKind::Wasm, "client", _) => Some("is for process agents; a component speaks with its cell through what it imports"),
        (BackendKind::Wasm, _, Some(_)) => Some("is for process agents; a component starts no process"),
        (BackendKind::Process, "tick", _) | (BackendKind::Process, _, Some(LimitName::Event | LimitName::Idle)) => {
            Some("is for agents that live by events; a process agent runs from its start to its end")
        }
        (BackendKind::Process, _, Some(_)) => Some("is for components and modules, whose engine holds it; a process agent has none"),
        (BackendKind::Wasm | BackendKind::Process, _, None) => None,
    }
}

/// Refuses a policy that has something of the other backend. `typed`: the limits that the command line names, whatever they are set to.
///
/// # Errors
/// [`ResolveError::Unfit`]: the first such thing.
pub fn must_fit(
    agent: &AgentName,
    policy: &Policy,
    typed: &[(String, String)],
    tick: Option<Duration>,
    backend: BackendKind,
) -> Result<(), ResolveError> {
    let default = Limits::default();
    let set = policy
        .limits
        .settings()
        .filter(|(name, setting)| default.setting(*name) != Some(*setting) || typed.iter().any(|(typed, _)| typed == name.as_str()));
    let others = [("read", !policy.read.is_empty()), ("client", policy.client), ("tick", tick.is_some())];
    let others = others.into_iter().filter(|(_, is_asked)| *is_asked).map(|(key, _)| key);
    let unfit = others.chain(set.map(|(name, _)| name.as_str())).find_map(|key| Some((key, unfit(key, backend)?)));
    unfit.map_or(Ok(()), |(key, why)| Err(ResolveError::Unfit { agent: agent.to_string(), key, why }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every limit is for one backend at least, and what `explain` shows of a policy is what may be asked for.
    #[test]
    fn a_limit_that_no_agent_of_a_backend_has_is_unfit_for_it() {
        for name in LIMIT_NAMES {
            let limit = LimitName::ALL.iter().find(|limit| limit.as_str() == name).expect("a limit");
            for backend in [BackendKind::Process, BackendKind::Wasm] {
                let any = [false, true].iter().any(|by_events| limit.concerns(backend, *by_events && backend == BackendKind::Wasm));
                assert_eq!(unfit(name, backend).is_none(), any, "{name} of a {backend} agent");
            }
            assert!(unfit(name, BackendKind::Process).is_none() || unfit(name, BackendKind::Wasm).is_none(), "{name}");
        }
        for (key, process, wasm) in
            [("read", true, false), ("client", true, false), ("tick", false, true), ("ttl", true, true), ("env", true, true)]
        {
            assert_eq!((unfit(key, BackendKind::Process).is_none(), unfit(key, BackendKind::Wasm).is_none()), (process, wasm), "{key}");
        }
    }

    #[test]
    fn what_is_left_at_its_default_is_not_asked_for() {
        let agent = "scribe".parse().expect("a name");
        for backend in [BackendKind::Process, BackendKind::Wasm] {
            assert_eq!(must_fit(&agent, &Policy::default(), &[], None, backend), Ok(()));
        }
        let typed = [("stack".to_owned(), "512KiB".to_owned())];
        assert!(must_fit(&agent, &Policy::default(), &typed, None, BackendKind::Process).is_err(), "also what is typed as its default");
        assert_eq!(must_fit(&agent, &Policy::default(), &typed, None, BackendKind::Wasm), Ok(()));
    }
}
