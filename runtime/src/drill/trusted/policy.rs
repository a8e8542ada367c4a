//! Grants that would give the machine away, asked for by whoever writes a command line or a definition.

use std::io;

use super::{COMMAND_WITHIN, seen};
use crate::drill::{
    Attack,
    Death::{self, Refused},
    Outcome::Escape,
    SUBCOMMAND, Seen, Stage,
    process::STAND,
};

/// A row of this table: the option that is refused, one that is not, and words of the refusal.
const fn row(
    name: &'static str,
    what: &'static str,
    attack: &'static [&'static str],
    twin: &'static [&'static str],
    dies: &'static [Death],
) -> Attack {
    super::row(name, what, granted, attack, twin, dies, Escape)
}

/// A grant that is allowed.
const ALLOWED: &[&str] = &["--mount={ro}:{ro}"];

/// The attacks.
#[rustfmt::skip]
pub(super) const ATTACKS: &[Attack] = &[
    row("paths/grant-of-everything", "asks for the root directory",
        &["--mount=/:{ro}"], ALLOWED, &[Refused("exit 1: could not grant /: ")]),
    row("paths/grant-over-everything", "has something mounted over all that it sees",
        &["--mount={ro}:/"], ALLOWED, &[Refused("exit 1: could not accept a mount at /")]),
    row("paths/grant-of-the-root", "asks for the directory that the registry is in",
        &["--mount={root}:{root}"], ALLOWED, &[Refused("inside a Lazarus root")]),
    row("paths/grant-around-the-root", "asks for the directory that the root is in",
        &["--mount={stage}:{stage}"], ALLOWED, &[Refused("a Lazarus root")]),
    row("paths/grant-of-another-cell", "asks for another cell's home",
        &["--mount={neighbour-home}:{neighbour-home}"], ALLOWED, &[Refused("inside a Lazarus root")]),
    row("paths/grant-of-processes", "asks for /proc", &["--read=/proc"], &["--read={ro}"], &[Refused("could not grant /proc")]),
    row("paths/grant-of-a-socket", "asks for a socket of this machine",
        &["--mount={socket}:{socket}"], ALLOWED, &[Refused("neither a directory nor a")]),
    row("paths/grant-by-dot-dot", "asks for a path that climbs where it is seen",
        &["--mount={ro}:{ro}/../x"], ALLOWED, &[Refused("exit 2: invalid value")]),
    row("environment/preload", "has a library of its own loaded into what runs",
        &["--env=LD_PRELOAD=/tmp/x.so"], &["--env=PRELOAD=/tmp/x.so"], &[Refused("could not accept variable LD_PRELOAD")]),
    row("environment/home-elsewhere", "has its home said to be elsewhere",
        &["--env=HERMES_HOME=/"], &["--env=ANY_HOME=/"], &[Refused("could not accept variable HERMES_HOME")]),
    row("memory/no-limit", "asks for no limit of memory by the number 0",
        &["--memory=0"], &["--memory=256MiB"], &[Refused("zero is not a limit")]),
    row("cpu/no-limit", "asks for more of the processor than numbers hold",
        &["--cpu=99999999999999999999s"], &["--cpu=10s"], &[Refused("larger than Lazarus can count")]),
    row("disk/no-limit", "asks for a home of a negative size",
        &["--home=-1"], &["--home=16MiB"], &[Refused("could not set limit home")]),
];

/// `[option]`: runs a program that does nothing, with this option.
fn granted(stage: &Stage, arguments: &[String]) -> io::Result<Seen> {
    let option = arguments.first().map_or("", String::as_str);
    let words = ["run", "--client", "--env=PATH=/nowhere", option, "--", "lazarus", SUBCOMMAND, STAND];
    Ok(seen(&stage.lazarus(&words, b"", COMMAND_WITHIN)?))
}
