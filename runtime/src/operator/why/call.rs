//! Hosts and calls: answered from the tables that the warden, the linkers and the seccomp filters are made of.

use super::{Ground, Ruling, question::Talk};
use crate::{
    backend::{
        Launch, Program, WasmForm,
        process::CELL_SOCKET,
        wasm::imports::{self, Needs},
    },
    cell::text::one_line,
    jail::{JailError, MARKS, Profile, Verdict, ruling},
    mail::{self, CallKind},
    policy::Enforcer,
};

/// Bytes of an import in a rule.
const IMPORT_MOST_BYTES: usize = 200;

/// A wasm program's form; `None` of a command.
const fn form_of(launch: &Launch) -> Option<WasmForm> {
    match &launch.program {
        Program::Command { .. } => None,
        Program::Compiled { form, .. } => Some(*form),
    }
}

/// Says why no host is reached.
pub(super) fn host(launch: &Launch, ground: &Ground) -> Ruling {
    let mut enforcers = match form_of(launch) {
        None if ground.own_root => vec![Enforcer::Namespace, Enforcer::Seccomp],
        None => vec![Enforcer::Seccomp],
        Some(_) => vec![Enforcer::Wasm, Enforcer::Seccomp],
    };
    if ground.landlock_tcp {
        enforcers.push(Enforcer::Landlock);
    }
    let mut why = "this version of Lazarus grants no network: no address and no name is reached, whatever the port".to_owned();
    match form_of(launch) {
        None if ground.speaks => why.push_str(&format!("; its cell's own talk ({CELL_SOCKET}) is no network, and stays open")),
        None => {}
        Some(WasmForm::Agent) => why.push_str("; its cell's own talk (lazarus:cell) is no network, and stays open"),
        Some(WasmForm::Component | WasmForm::Module) => {}
    }
    Ruling::new(&Err(why), &enforcers)
}

/// Says whether a call of the cell's talk is answered: the very sentence that the caller is told.
pub(super) fn talk(launch: &Launch, ground: &Ground, talk: Talk) -> Ruling {
    let denied = |why: String, enforcer| Ruling::new(&Err(why), &[enforcer]);
    match (form_of(launch), talk) {
        (None, Talk::Log) => {
            let rule = "log: what it writes to standard output and standard error is its log".to_owned();
            Ruling::new(&Ok(rule), &[Enforcer::Warden])
        }
        (None, Talk::Call(_)) if !ground.speaks => {
            denied("a throwaway cell has no talk: nobody is there to be talked to".to_owned(), Enforcer::Seccomp)
        }
        (None, Talk::Call(call)) => by_role(launch, call),
        (Some(WasmForm::Module), _) => denied("a core module is given nothing of lazarus:cell".to_owned(), Enforcer::Wasm),
        (Some(WasmForm::Component | WasmForm::Agent), Talk::Log) => {
            Ruling::new(&Ok("log: every component may write to its log".to_owned()), &[Enforcer::Wasm])
        }
        (Some(WasmForm::Component | WasmForm::Agent), Talk::Call(CallKind::Beat)) => {
            Ruling::new(&Ok("beat: every component may give signs of life".to_owned()), &[Enforcer::Wasm])
        }
        (Some(WasmForm::Component), Talk::Call(call)) => denied(format!("{}: {}", call.as_str(), Needs::Events.phrase()), Enforcer::Wasm),
        (Some(WasmForm::Agent), Talk::Call(call)) => match mail::by_events(call) {
            Some(why) => denied(why, Enforcer::Warden),
            None => by_role(launch, call),
        },
    }
}

fn by_role(launch: &Launch, call: CallKind) -> Ruling {
    let said = mail::may(launch.role, call).map(str::to_owned).map_err(|refusal| refusal.message);
    Ruling::new(&said, &[Enforcer::Warden])
}

/// Says whether an import is linked, and what it needs.
pub(super) fn import(launch: &Launch, import: &str) -> Ruling {
    let name = one_line(import, IMPORT_MOST_BYTES);
    let Some(form) = form_of(launch) else {
        let why = format!("{name}: a process agent imports nothing; it makes system calls");
        return Ruling::new(&Err(why), &[Enforcer::Seccomp]);
    };
    let needs = imports::needs(import, form);
    let rule = format!("{name} {}", needs.phrase());
    let said = match needs {
        Needs::Nothing | Needs::Files | Needs::Variables | Needs::Role => Ok(rule),
        // It is linked, so that programs that never use it start; what it is for is denied.
        Needs::Each => Ok(rule),
        Needs::Network | Needs::Events | Needs::Module | Needs::Component | Needs::Version | Needs::Broker | Needs::Missing => Err(rule),
    };
    Ruling::new(&said, &[Enforcer::Wasm])
}

/// Says what becomes of a system call; `None` where there is no such call.
///
/// # Errors
/// The lists cannot be made on this processor.
pub(super) fn syscall(launch: &Launch, ground: &Ground, name: &str) -> Result<Option<Ruling>, JailError> {
    let (profile, whose) = match form_of(launch) {
        None => (Profile::Process, "a process agent's list"),
        Some(_) => (Profile::WasmHost, "the list of its host, since a wasm agent makes no system calls itself"),
    };
    // In a root of its own, calls that change marks are held as well where its streams are files of the machine.
    let unheld = !(ground.marks && MARKS.iter().any(|(mark, _)| *mark == name));
    let Some(found) = ruling(profile, ground.own_root && unheld, ground.speaks, name).map_err(JailError::Seccomp)? else { return Ok(None) };
    let otherwise = found.otherwise.unwrap_or_default();
    let name = found.name;
    let said = match found.verdict {
        Verdict::Always if !found.listed => Ok(format!("{name}(2) is let pass: {whose} has what is refused, and not this")),
        Verdict::Never if !found.listed => {
            Err(format!("{name}(2) is refused: it is not on {whose}, which has what is needed; {otherwise}"))
        }
        Verdict::Always => Ok(format!("{name}(2) is let pass by {whose}")),
        Verdict::Sometimes if name == "socket" => {
            Ok(format!("{name}(2) is let pass by {whose} for UNIX stream sockets alone, which lead to its own cell; else {otherwise}"))
        }
        Verdict::Sometimes => Ok(format!("{name}(2) is let pass by {whose} with some arguments; with others {otherwise}")),
        Verdict::Led => {
            Ok(format!("{name}(2) is held, and leads to its own cell's talk ({CELL_SOCKET}) alone; to anything else {otherwise}"))
        }
        Verdict::Made if !ground.marks => Ok(format!(
            "{name}(2) is let pass by {whose}: there is no mount namespace, and nobody could decide about it here, so that what it changes may be any \
             file of its user"
        )),
        Verdict::Made => Ok(format!("{name}(2) is held, and made for the agent on what lies where it may write; elsewhere {otherwise}")),
        Verdict::Never => Err(format!("{name}(2) is refused by {whose}: {otherwise}")),
    };
    Ok(Some(Ruling::new(&said, &[Enforcer::Seccomp])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{backend::Stdio, cell::Role, policy::Policy};

    const GROUND: Ground = Ground { own_root: true, landlock: true, landlock_tcp: true, speaks: true, marks: false };

    fn launch(form: Option<WasmForm>, role: Role) -> Launch {
        let program = match form {
            None => Program::Command { argv: vec!["scribe".into()] },
            Some(form) => Program::Compiled { cached: "/cache/x".into(), form, args: Vec::new() },
        };
        Launch {
            agent: "scribe".parse().expect("a name"),
            role,
            program,
            policy: Policy::default(),
            home: Some("/cells/laz-0/home".into()),
            shared: Some("/cells/laz-0/shared".into()),
            env: Vec::new(),
            stdio: Stdio::Captured,
            tick: None,
            again: false,
        }
    }

    #[test]
    fn each_role_is_told_of_each_call_what_the_warden_says() {
        for role in Role::ALL {
            for call in CallKind::ALL {
                let said = mail::may(role, *call);
                let expected = said.map(str::to_owned).map_err(|refusal| refusal.message);
                let process = talk(&launch(None, role), &GROUND, Talk::Call(*call));
                assert_eq!(process, Ruling::new(&expected, &[Enforcer::Warden]), "{role} {call:?}");
                let agent = talk(&launch(Some(WasmForm::Agent), role), &GROUND, Talk::Call(*call));
                match (mail::by_events(*call), call) {
                    (Some(why), _) => assert_eq!((agent.allowed, agent.rule), (false, why)),
                    (None, CallKind::Beat) => assert!(agent.allowed),
                    (None, _) => assert_eq!(agent, process, "{role} {call:?}"),
                }
                let component = talk(&launch(Some(WasmForm::Component), role), &GROUND, Talk::Call(*call));
                assert_eq!(component.allowed, *call == CallKind::Beat, "{call:?}: {component:?}");
                assert!(!talk(&launch(Some(WasmForm::Module), role), &GROUND, Talk::Call(*call)).allowed);
                let silent = Ground { speaks: false, ..GROUND };
                assert!(!talk(&launch(None, role), &silent, Talk::Call(*call)).allowed);
            }
        }
    }

    #[test]
    fn no_host_is_reached_by_anyone() {
        for form in [None, Some(WasmForm::Agent), Some(WasmForm::Component), Some(WasmForm::Module)] {
            let ruling = host(&launch(form, Role::Director), &GROUND);
            assert!(!ruling.allowed && ruling.enforcer.contains("seccomp") && ruling.enforcer.contains("landlock"), "{ruling:?}");
        }
        let bare = Ground { own_root: false, landlock: false, landlock_tcp: false, speaks: true, marks: false };
        assert_eq!(host(&launch(None, Role::Executor), &bare).enforcer, "seccomp", "what the machine did not give enforces nothing");
    }

    /// What is said of a call that changes files' marks is what the report says was had: nobody looks, the reaper decides, or nobody can.
    #[test]
    fn marks_of_files_are_as_the_report_has_them() {
        let said = |own_root, marks| {
            let ground = Ground { own_root, marks, ..GROUND };
            syscall(&launch(None, Role::Executor), &ground, "utimensat").expect("lists").expect("named").rule
        };
        assert!(said(true, false).contains("is let pass: a process agent's list has what is refused"));
        assert!(said(false, true).contains("is held, and made for the agent on what lies where it may write"));
        assert!(said(false, false).contains("may be any file of its user"));
    }
}
