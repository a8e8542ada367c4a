//! The trusted side of guests: each attempt is a program in a throwaway cell, started as an operator starts it; what came back is looked at here.

use std::{
    io,
    path::Path,
    time::{Duration, Instant},
};

use rustix::fs::Mode;

use super::plant;
use crate::{
    drill::{
        Arena, Attack, Disturbance, Ground, Seen, Tried,
        attack::Guest,
        run::several,
        stage::{Stage, Told, write},
    },
    home::ambient,
};

/// How long one cell may take. The longest attack ends at a limit of half a second.
const CELL_WITHIN: Duration = Duration::from_secs(30);

/// Error numbers of preview 1, in its order (`wasi_snapshot_preview1`, `errno`); what Linux has no number for is EPERM (`notcapable`).
#[rustfmt::skip]
const PREVIEW_1: [i32; 77] = [
    0, libc::E2BIG, libc::EACCES, libc::EADDRINUSE, libc::EADDRNOTAVAIL, libc::EAFNOSUPPORT, libc::EAGAIN, libc::EALREADY, libc::EBADF,
    libc::EBADMSG, libc::EBUSY, libc::ECANCELED, libc::ECHILD, libc::ECONNABORTED, libc::ECONNREFUSED, libc::ECONNRESET, libc::EDEADLK,
    libc::EDESTADDRREQ, libc::EDOM, libc::EDQUOT, libc::EEXIST, libc::EFAULT, libc::EFBIG, libc::EHOSTUNREACH, libc::EIDRM, libc::EILSEQ,
    libc::EINPROGRESS, libc::EINTR, libc::EINVAL, libc::EIO, libc::EISCONN, libc::EISDIR, libc::ELOOP, libc::EMFILE, libc::EMLINK,
    libc::EMSGSIZE, libc::EMULTIHOP, libc::ENAMETOOLONG, libc::ENETDOWN, libc::ENETRESET, libc::ENETUNREACH, libc::ENFILE, libc::ENOBUFS,
    libc::ENODEV, libc::ENOENT, libc::ENOEXEC, libc::ENOLCK, libc::ENOLINK, libc::ENOMEM, libc::ENOMSG, libc::ENOPROTOOPT, libc::ENOSPC,
    libc::ENOSYS, libc::ENOTCONN, libc::ENOTDIR, libc::ENOTEMPTY, libc::ENOTRECOVERABLE, libc::ENOTSOCK, libc::EOPNOTSUPP, libc::ENOTTY,
    libc::ENXIO, libc::EOVERFLOW, libc::EOWNERDEAD, libc::EPERM, libc::EPIPE, libc::EPROTO, libc::EPROTONOSUPPORT, libc::EPROTOTYPE,
    libc::ERANGE, libc::EROFS, libc::ESPIPE, libc::ESRCH, libc::ESTALE, libc::ETIMEDOUT, libc::ETXTBSY, libc::EXDEV, libc::EPERM,
];

/// Error codes of `wasi:filesystem/types@0.2.0`, in its order.
#[rustfmt::skip]
const FILES: [i32; 37] = [
    libc::EACCES, libc::EAGAIN, libc::EALREADY, libc::EBADF, libc::EBUSY, libc::EDEADLK, libc::EDQUOT, libc::EEXIST, libc::EFBIG, libc::EILSEQ,
    libc::EINPROGRESS, libc::EINTR, libc::EINVAL, libc::EIO, libc::EISDIR, libc::ELOOP, libc::EMLINK, libc::EMSGSIZE, libc::ENAMETOOLONG,
    libc::ENODEV, libc::ENOENT, libc::ENOLCK, libc::ENOMEM, libc::ENOSPC, libc::ENOTDIR, libc::ENOTEMPTY, libc::ENOTRECOVERABLE,
    libc::EOPNOTSUPP, libc::ENOTTY, libc::ENXIO, libc::EOVERFLOW, libc::EPERM, libc::EPIPE, libc::EROFS, libc::ESPIPE, libc::ETXTBSY,
    libc::EXDEV,
];

/// Error codes of `wasi:sockets/network@0.2.0`, in its order, as far as a drill meets them: unknown, access-denied, not-supported.
const SOCKETS: [i32; 3] = [libc::EIO, libc::EACCES, libc::EOPNOTSUPP];

/// Tries every one of these attacks that a guest makes; tells of each as soon as it is known.
///
/// # Errors
/// The stage failed; what an attack does is never an error.
pub fn try_all(stage: &Stage, attacks: &[(usize, &'static Attack)], tell: &mut dyn FnMut(usize, Tried)) -> io::Result<()> {
    let of_guest = |attack: &Attack| match attack.arena {
        Arena::Component { guest, options } | Arena::Preview1 { guest, options } => Some((guest, options)),
        Arena::Process { .. } | Arena::Driven { .. } | Arena::Fallen { .. } | Arena::Trusted { .. } => None,
    };
    let own = attacks.iter().copied().filter(|(_, attack)| of_guest(attack).is_some()).collect();
    let one = |slot, attack: &'static Attack| match of_guest(attack) {
        Some((guest, options)) => tried(stage, slot, attack, guest, options),
        None => Err(io::Error::other("an attack without a guest")),
    };
    several(stage, own, one, tell)
}

/// One attack, and its twin before it, each in a cell of its own.
fn tried(stage: &Stage, slot: usize, attack: &Attack, guest: Guest, options: &[&str]) -> io::Result<Tried> {
    let started = Instant::now();
    let ground = stage.furnish(slot)?;
    let twin = run(stage, &plant(&ground, &format!("w{slot}-twin"), slot)?, guest, attack.twin, options)?;
    let told = run(stage, &plant(&ground, &format!("w{slot}"), slot)?, guest, attack.attack, options)?;
    let mut disturbed = stage.disturbed(slot, &format!("{}{}", told.stdout, told.stderr));
    if !told.late && told.code.is_none() || told.code == Some(125) {
        disturbed.push(Disturbance::Died("the cell's warden".into()));
    }
    Ok(Tried { twin: seen(&twin), attack: seen(&told), seconds: started.elapsed().as_secs_f64(), disturbed })
}

/// Runs one guest in a throwaway cell.
fn run(stage: &Stage, ground: &Ground, guest: Guest, arguments: &[&str], options: &[&str]) -> io::Result<Told> {
    let inside = ground.get("inside").unwrap_or_default();
    let text = guest(&ground.fill_all(arguments));
    let (beside, file) = (Path::new(inside).parent().unwrap_or(Path::new("/")), format!("{inside}.wat"));
    let name = Path::new(&file).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    write(&ambient::open_named_dir(beside)?.0, name, text.as_bytes(), Mode::RUSR)?;
    let options = ground.fill_all(options);
    let args: Vec<&str> = ["run", "--project=drill"].into_iter().chain(options.iter().map(String::as_str)).chain([file.as_str()]).collect();
    stage.lazarus(&args, b"", CELL_WITHIN)
}

/// How an attempt ended: by its own word, which is the last line of its kind; else by what its cell says.
fn seen(told: &Told) -> Seen {
    if told.late {
        return Seen::Stuck;
    }
    // With `--json`, a program's own output goes to standard error.
    if let Some(number) = told.stderr.lines().rev().find_map(error_number) {
        return if number == 0 { Seen::succeeded(&told.stderr) } else { Seen::Errno { number } };
    }
    let message = told.text("message");
    match message.split_once("did not end by itself: limit ").and_then(|(_, rest)| rest.split(':').next()) {
        Some(limit) => Seen::Limit { limit: limit.to_owned() },
        None if message.is_empty() => Seen::untold(&told.stderr),
        None => Seen::refused(&message),
    }
}

/// The error number in a guest's last word: 0 is success. What is no such word, and what names no error that there is, is `None`.
fn error_number(line: &str) -> Option<i32> {
    let (marker, digits) = line.split_at_checked(1)?;
    if digits.len() != 3 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: usize = digits.parse().ok()?;
    match (marker, number.checked_sub(1)) {
        ("=", _) => PREVIEW_1.get(number).copied(),
        ("~" | "^", None) => Some(0),
        ("~", Some(place)) => FILES.get(place).copied(),
        ("^", Some(place)) => SOCKETS.get(place).copied(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(message: &str, stderr: &str) -> Told {
        Told { code: Some(0), stdout: serde_json::json!({ "message": message }).to_string(), stderr: stderr.to_owned(), late: false }
    }

    #[test]
    fn a_guests_last_word_is_understood_and_nothing_else_is_taken_for_it() {
        for (line, number) in [
            ("=000", Some(0)),
            ("=063", Some(libc::EPERM)),
            ("=076", Some(libc::EPERM)),
            ("~000", Some(0)),
            ("~024", Some(libc::ENOSPC)),
            ("~032", Some(libc::EPERM)),
            ("~037", Some(libc::EXDEV)),
            ("^002", Some(libc::EACCES)),
        ] {
            assert_eq!(error_number(line), number, "{line}");
        }
        for line in ["", "=", "=77", "=077", "~038", "^004", "=0x0", "?000", "=0000", "ä00", "=+12"] {
            assert_eq!(error_number(line), None, "{line}");
        }
    }

    #[test]
    fn ends_are_told_apart() {
        assert_eq!(seen(&told("", "got it\n=000\n")), Seen::succeeded("got it\n=000\n"));
        assert_eq!(seen(&told("", "=000\n=063\n")), Seen::Errno { number: libc::EPERM }, "the last word counts");
        let limit = "the program did not end by itself: limit cpu: it used up its 200ms of CPU time";
        assert_eq!(seen(&told(limit, "")), Seen::Limit { limit: "cpu".into() });
        assert_eq!(seen(&told("it imports x", "")), Seen::refused("it imports x"));
        assert!(matches!(seen(&told("", "boom")), Seen::Untold { .. }));
        assert_eq!(seen(&Told { late: true, ..told("", "=000\n") }), Seen::Stuck);
    }
}
