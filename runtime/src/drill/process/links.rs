//! Links, other names for files, and names that change while they are used.

use super::{HIDDEN, READ_ONLY, row};
use crate::drill::{
    Attack,
    Death::{self, Errno},
    Outcome::{Crash, Read, Write},
    acts,
};

/// What cannot be given a name elsewhere: it is not there, on another mount, or not allowed to move.
const APART: &[Death] = &[Errno(libc::ENOENT), Errno(libc::EXDEV), Errno(libc::EACCES), Errno(libc::EROFS), Errno(libc::EPERM)];

/// The attacks.
#[rustfmt::skip]
pub(super) const ATTACKS: &[Attack] = &[
    row("paths/symlink-to-outside", "reads a secret outside through a link in its home", acts::read_through_link,
        &["{inside}", "{outside}/secret", ""], &["{inside}", "{inside}/secret", ""], HIDDEN, Read),
    row("paths/symlink-to-directory", "reads a secret below a link that leads to a directory outside", acts::read_through_link,
        &["{inside}", "{outside}", "/secret"], &["{inside}", "{inside}", "/secret"], HIDDEN, Read),
    row("paths/symlink-with-slash", "reads below a link whose target ends in a slash", acts::read_through_link,
        &["{inside}", "{outside}/", "/secret"], &["{inside}", "{inside}/", "/secret"], HIDDEN, Read),
    row("paths/symlink-to-root", "reads a secret through a link to the root directory", acts::read_through_link,
        &["{inside}", "/", "{outside}/secret"], &["{inside}", "/", "{inside}/secret"], HIDDEN, Read),
    row("paths/symlink-dangling", "makes a file outside through a link to where nothing is", acts::create_through_link,
        &["{inside}", "{outside}/new"], &["{inside}", "{inside}/new"], HIDDEN, Write),
    row("paths/symlink-append", "writes into a file outside through a link in its home", acts::append_through_link,
        &["{inside}", "{outside}/file"], &["{inside}", "{inside}/file"], HIDDEN, Write),
    row("paths/symlink-loop", "follows two links that lead to each other", acts::follow_loop,
        &["{inside}", "one"], &["{inside}", "secret"], &[Errno(libc::ELOOP)], Crash),
    row("paths/link-swapped", "swaps a directory with a link to outside while it reads below it", acts::swap_while_reading,
        &["{inside}", "{outside}"], &["{inside}", "{inside}"], HIDDEN, Read),
    row("paths/hard-link-to-outside", "gives a secret outside a name in its home", acts::hard_link,
        &["{outside}/secret", "{inside}/stolen"], &["{inside}/secret", "{inside}/stolen"], APART, Read),
    row("paths/hard-link-from-read-only", "gives a file that was granted for reading a writable name", acts::hard_link,
        &["{readonly}/file", "{inside}/stolen"], &["{inside}/file", "{inside}/stolen"], APART, Write),
    row("paths/rename-to-outside", "moves a file of its own to outside", acts::rename,
        &["{inside}/dir/file", "{outside}/new"], &["{inside}/dir/file", "{inside}/new"], APART, Write),
    row("paths/rename-from-outside", "moves a secret outside into its home", acts::rename,
        &["{outside}/secret", "{inside}/stolen"], &["{inside}/secret", "{inside}/stolen"], APART, Write),
    row("paths/rename-from-read-only", "moves a file that was granted for reading into its home", acts::rename,
        &["{readonly}/file", "{inside}/stolen"], &["{inside}/file", "{inside}/stolen"], APART, Write),
    row("paths/nameless-file-outside", "makes a file without a name, and gives it one outside", acts::link_nameless,
        &["{inside}", "{outside}/new"], &["{inside}", "{inside}/new"], APART, Write),
    row("paths/nameless-file-read-only", "makes a file without a name where it may only read", acts::link_nameless,
        &["{readonly}", "{inside}/new"], &["{inside}", "{inside}/new"], READ_ONLY, Write),
];
