//! What attackers do: single, raw attempts. Run in a jail, by a process of their own; each returns what it got, or the error of the
//! very call that was refused. Whatever they need first they make below their own place, `{inside}`.

mod descriptors;
mod files;
mod links;
mod network;
mod place;
mod processes;
mod resources;

pub(super) use descriptors::{exhaust, held, reopen};
pub(super) use files::{
    append, chmod, chmod_open, chown, create, execute, list, make_long, mknod, read, remove, set_time, set_xattr, truncate,
};
pub(super) use links::{
    append_through_link, chmod_through_link, create_through_link, follow_loop, hard_link, link_nameless, read_through_link, rename,
    swap_while_reading,
};
pub(super) use network::{connect, send_descriptors, socket};
pub(super) use place::make_place;
pub(super) use processes::{allow_core, call, forks, signal, unshare, variable};
pub(super) use resources::{deep_tree, fill, grow, grow_together, many_files, schedule, sleep, sparse, spin};

use std::io;

/// An argument; its lack is a mistake in the catalogue, and is said as one.
fn at(arguments: &[String], index: usize) -> io::Result<&str> {
    arguments.get(index).map(String::as_str).ok_or_else(|| io::Error::other("the catalogue gives this act too few arguments"))
}

/// An argument that is a number.
fn number<T: std::str::FromStr>(arguments: &[String], index: usize) -> io::Result<T> {
    at(arguments, index)?.parse().map_err(|_| io::Error::other("the catalogue gives this act a word where it wants a number"))
}

/// What an act says that gained nothing but that it went through.
fn done<E: Into<io::Error>>(result: Result<(), E>) -> io::Result<String> {
    result.map(|()| String::new()).map_err(Into::into)
}
