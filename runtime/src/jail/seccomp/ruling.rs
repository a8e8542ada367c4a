//! What becomes of a system call, by its name: read from the very lists that the filters are made of.

use seccompiler::SeccompAction;

use super::{List, compiler, host, names::number_of, process};
use crate::jail::{Profile, SeccompError};

/// Whether a system call is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Whatever its arguments.
    Always,
    /// With some arguments.
    Sometimes,
    /// Never.
    Never,
    /// Held, and led to the agent's own cell alone.
    Led,
    /// Held, and made for the agent where it may write.
    Made,
}

/// What becomes of a system call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyscallRuling {
    /// Its name.
    pub name: &'static str,
    /// Whether a list of the profile names it; else it is as all are that none names.
    pub listed: bool,
    /// Whether it is carried out.
    pub verdict: Verdict,
    /// What happens where it is not: `it fails with EPERM`.
    pub otherwise: Option<&'static str>,
}

/// Says what becomes of a system call of this name; `None` where there is no such call.
///
/// # Errors
/// The lists cannot be made on this processor.
pub fn ruling(profile: Profile, own_namespaces: bool, speaks: bool, name: &str) -> Result<Option<SyscallRuling>, SeccompError> {
    let Some((name, number)) = number_of(name) else { return Ok(None) };
    let lists = match profile {
        Profile::Process => process::lists(own_namespaces, speaks)?,
        Profile::WasmHost => host::lists()?,
        Profile::Compiler => compiler::lists()?,
    };
    let listed = lists.iter().any(|list| list.rules.contains_key(&number));
    if profile == Profile::Process && speaks && number == process::HELD {
        return Ok(Some(SyscallRuling { name, listed: true, verdict: Verdict::Led, otherwise: Some("it fails with EACCES") }));
    }
    if profile == Profile::Process && !own_namespaces && process::MARKS.iter().any(|(_, mark)| *mark == number) {
        return Ok(Some(SyscallRuling { name, listed: true, verdict: Verdict::Made, otherwise: Some("it fails with EPERM") }));
    }
    // The strictest answer of all lists wins, as in the kernel.
    let strictness = |verdict| match verdict {
        Verdict::Always | Verdict::Led | Verdict::Made => 0,
        Verdict::Sometimes => 1,
        Verdict::Never => 2,
    };
    let mut found = SyscallRuling { name, listed, verdict: Verdict::Always, otherwise: None };
    for list in &lists {
        let (verdict, otherwise) = of(list, number);
        if strictness(verdict) > strictness(found.verdict) {
            found = SyscallRuling { verdict, otherwise, ..found };
        }
    }
    Ok(Some(found))
}

/// What one list makes of a call.
fn of(list: &List, number: i64) -> (Verdict, Option<&'static str>) {
    let (on, off) = (refusal(&list.on), refusal(&list.off));
    match list.rules.get(&number) {
        None => (if off.is_some() { Verdict::Never } else { Verdict::Always }, off),
        Some(rules) if rules.is_empty() => (if on.is_some() { Verdict::Never } else { Verdict::Always }, on),
        Some(_) => (if on.is_some() || off.is_some() { Verdict::Sometimes } else { Verdict::Always }, on.or(off)),
    }
}

/// What an action does to a call that it does not let pass.
fn refusal(action: &SeccompAction) -> Option<&'static str> {
    match action {
        SeccompAction::Allow | SeccompAction::Log => None,
        SeccompAction::Errno(number) => Some(match i32::try_from(*number) {
            Ok(libc::EPERM) => "it fails with EPERM",
            Ok(libc::EACCES) => "it fails with EACCES",
            Ok(libc::ENOSYS) => "it fails with ENOSYS",
            _ => "it fails",
        }),
        SeccompAction::KillProcess | SeccompAction::KillThread | SeccompAction::Trace(_) | SeccompAction::Trap => {
            Some("the process is ended")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(profile: Profile, own_namespaces: bool, speaks: bool, name: &str) -> (Verdict, Option<&'static str>) {
        let ruling = ruling(profile, own_namespaces, speaks, name).expect("lists").unwrap_or_else(|| panic!("there is no {name}"));
        assert_eq!(ruling.name, name);
        (ruling.verdict, ruling.otherwise)
    }

    #[test]
    fn rulings_are_what_the_lists_say() {
        let process = |name| said(Profile::Process, true, true, name);
        for name in ["ptrace", "mount", "io_uring_setup", "quotactl_fd", "bpf", "unshare"] {
            assert_eq!(process(name), (Verdict::Never, Some("it fails with EPERM")), "{name}");
        }
        assert_eq!(process("socket"), (Verdict::Sometimes, Some("it fails with EACCES")));
        assert_eq!(process("bind"), (Verdict::Never, Some("it fails with EACCES")));
        assert_eq!(process("connect").0, Verdict::Led);
        assert_eq!(said(Profile::Process, true, false, "connect"), (Verdict::Never, Some("it fails with EACCES")));
        assert_eq!(said(Profile::Process, true, false, "socket"), (Verdict::Never, Some("it fails with EACCES")));
        assert_eq!(process("clone3"), (Verdict::Never, Some("it fails with ENOSYS")));
        assert_eq!(process("clone"), (Verdict::Sometimes, Some("it fails with EPERM")));
        assert_eq!(process("read"), (Verdict::Always, None));
        assert_eq!(process("shmget"), (Verdict::Always, None));
        assert_eq!(said(Profile::Process, false, true, "shmget"), (Verdict::Never, Some("it fails with EPERM")));
        for name in ["chmod", "fchmodat", "utimensat", "setxattr", "fchown"] {
            assert_eq!(said(Profile::Process, false, true, name), (Verdict::Made, Some("it fails with EPERM")), "{name}");
        }
        assert_eq!(process("utimensat"), (Verdict::Always, None));
        assert_eq!(process("chmod").0, Verdict::Sometimes, "not with a set-user-id bit");
        assert_eq!(said(Profile::Process, false, true, "setxattrat"), (Verdict::Never, Some("it fails with ENOSYS")));
        let host = |name| said(Profile::WasmHost, false, false, name);
        assert_eq!(host("ptrace"), (Verdict::Never, Some("the process is ended")));
        assert_eq!(host("socket"), (Verdict::Never, Some("it fails with EPERM")));
        assert_eq!(host("mmap").0, Verdict::Sometimes);
        assert_eq!(host("read"), (Verdict::Always, None));
        assert!(ruling(Profile::Process, true, true, "no_such_call").expect("lists").is_none());
        // What no list names: a process agent may make it, a host may not.
        for name in ["chdir", "getppid", "landlock_create_ruleset", "mseal"] {
            assert_eq!((process(name), host(name)), ((Verdict::Always, None), (Verdict::Never, Some("it fails with EPERM"))), "{name}");
            assert!(!ruling(Profile::WasmHost, false, false, name).expect("lists").expect("a call").listed, "{name}");
        }
        assert!(ruling(Profile::WasmHost, false, false, "read").expect("lists").expect("a call").listed);
    }

    #[test]
    fn every_call_that_a_rule_names_can_be_asked_about() {
        let named: Vec<i64> = super::super::names::all().map(|(_, number)| number).collect();
        let lists = [process::lists(false, true), process::lists(true, false), host::lists(), compiler::lists()];
        for number in lists.into_iter().flat_map(|lists| lists.expect("lists")).flat_map(|list| list.rules.into_keys()) {
            assert!(named.contains(&number), "{number}");
        }
    }
}
