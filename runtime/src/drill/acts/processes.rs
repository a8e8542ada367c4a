//! Other processes, and the kernel itself.

use std::{
    io,
    process::{Command, Stdio},
};

use super::{at, done, number};
use crate::unchecked;

/// `[name, argument…]`: makes a system call; what it would take as an address is null.
pub(in crate::drill) fn call(arguments: &[String]) -> io::Result<String> {
    let mut numbers = [0; 6];
    for (index, place) in numbers.iter_mut().enumerate().take(arguments.len().saturating_sub(1)) {
        // Negative numbers are those of the kernel: -1 is all bits.
        *place = number::<i64>(arguments, index + 1)?.cast_unsigned();
    }
    unchecked::attempt_call(at(arguments, 0)?, numbers).map(|result| result.to_string())
}

/// `[process, signal]`: signals a process, by its number or a `child` of its own.
pub(in crate::drill) fn signal(arguments: &[String]) -> io::Result<String> {
    let signal: u64 = number(arguments, 1)?;
    let send = |pid: u64| done(unchecked::attempt_call("kill", [pid, signal, 0, 0, 0, 0]).map(drop));
    if at(arguments, 0)? != "child" {
        return send(number(arguments, 0)?);
    }
    let mut command = Command::new("lazarus");
    command.args([crate::drill::SUBCOMMAND, "stand", "forever"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn()?;
    let sent = send(child.id().into());
    let _ = child.kill().and_then(|()| child.wait());
    sent
}

/// `[namespace]`: leaves the cell for a namespace of its own; `none` stays.
pub(in crate::drill) fn unshare(arguments: &[String]) -> io::Result<String> {
    use rustix::thread::UnshareFlags;
    let flags = match at(arguments, 0)? {
        "user" => UnshareFlags::NEWUSER,
        "mount" => UnshareFlags::NEWNS,
        "network" => UnshareFlags::NEWNET,
        _ => return Ok(String::new()),
    };
    done(unchecked::unshare(flags))
}

/// `[name]`: reads a variable.
pub(in crate::drill) fn variable(arguments: &[String]) -> io::Result<String> {
    std::env::var(at(arguments, 0)?).map_err(|_| io::Error::from_raw_os_error(libc::ENOENT))
}

/// `[count]`: has that many processes at once.
pub(in crate::drill) fn forks(arguments: &[String]) -> io::Result<String> {
    let count: usize = number(arguments, 0)?;
    let mut children = Vec::new();
    let mut failed = None;
    while children.len() < count && failed.is_none() {
        let mut command = Command::new("lazarus");
        command.args([crate::drill::SUBCOMMAND, "stand", "forever"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        match command.spawn() {
            Ok(child) => children.push(child),
            Err(error) => failed = Some(error),
        }
    }
    for child in &mut children {
        let _ = child.kill().and_then(|()| child.wait());
    }
    failed.map_or(Ok(String::new()), Err)
}

/// `[bytes]`: lets its core dumps be that large.
pub(in crate::drill) fn allow_core(arguments: &[String]) -> io::Result<String> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let bytes = Some(number(arguments, 0)?);
    done(setrlimit(Resource::Core, Rlimit { current: bytes, maximum: bytes }))
}
