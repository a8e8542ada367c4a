//! Paths: everything that a guest may write where a path belongs.
//!
//! A guest's directories, by the numbers that preview 1 gives them: 3 its home, 4 what its cell shares, 5 `/inside` (read-write, with links and
//! other things that lead out of it: see [`super::ground`]), 6 `/kept` (read-only).

use libc::{EINVAL, ELOOP, ENAMETOOLONG, ENOENT, EPERM, EXDEV};

use super::{
    MOUNTS, component,
    preview1::{deep_name, link_and_write, on_path, on_two_paths, open, through_link},
    table::{component as by_component, preview1},
};
use crate::drill::{
    Attack,
    Death::Errno,
    Outcome::{Crash, Read, Write},
};

/// All of this class.
pub const ATTACKS: &[Attack] = &[
    preview1("paths/parent", open, MOUNTS)
        .tries("reads a file above its directory, through '..'", &["5", "{up}/secret", "read"], &["5", "file", "read"])
        .dies(&[Errno(EPERM)], Read),
    preview1("paths/parent-slash", open, MOUNTS)
        .tries(
            "reads a file above its directory, through '..' with a slash behind the name",
            &["5", "{up}/secret/", "read"],
            &["5", "file", "read"],
        )
        .dies(&[Errno(EPERM)], Read),
    preview1("paths/winding", open, MOUNTS)
        .tries("goes down and up again, once more than down", &["5", "dir/../{up}/secret", "read"], &["5", "dir/../file", "read"])
        .dies(&[Errno(EPERM)], Read),
    preview1("paths/absolute", open, MOUNTS)
        .tries("reads a file by its path on the machine", &["5", "{outside}/secret", "read"], &["5", "file", "read"])
        .dies(&[Errno(EPERM)], Read),
    preview1("paths/double-slash", open, MOUNTS)
        .tries(
            "reads a file by its path on the machine, with two slashes before it",
            &["5", "/{outside}/secret", "read"],
            &["5", "dir//file", "read"],
        )
        .dies(&[Errno(EPERM)], Read),
    preview1("paths/nothing", open, MOUNTS)
        .tries("opens a path without a name", &["5", "", "read"], &["5", "file", "read"])
        .dies(&[Errno(ENOENT)], Read),
    preview1("paths/zero-byte", open, MOUNTS)
        .tries("hides the end of a path behind a zero byte", &["5", "file\0/../{up}/secret", "read"], &["5", "file", "read"])
        .dies(&[Errno(EINVAL), Errno(libc::EILSEQ)], Read),
    preview1("paths/long-name", open, MOUNTS)
        .tries("opens a name that no file system has room for", &["5", LONG_NAME, "read"], &["5", "file", "read"])
        .dies(&[Errno(ENAMETOOLONG)], Read),
    preview1("paths/deep-name", deep_name, MOUNTS)
        .tries("makes a directory by a path of three thousand parts", &["5", "3000"], &["5", "0"])
        // Where the host resolves paths itself, it looks at them part by part: the first one that is not there ends it.
        .dies(&[Errno(ENAMETOOLONG), Errno(ENOENT)], Write),
    preview1("paths/absolute-link", open, MOUNTS)
        .tries("follows an absolute link to a file outside", &["5", "absolute", "read"], &["5", "good", "read"])
        .dies(&[Errno(EPERM)], Read),
    preview1("paths/relative-link", open, MOUNTS)
        .tries("follows a relative link to a file outside", &["5", "relative", "read"], &["5", "good", "read"])
        .dies(&[Errno(EPERM)], Read),
    preview1("paths/link-to-parent", open, MOUNTS)
        .tries("goes up through a link to '..'", &["5", "up/{above}/secret", "read"], &["5", "here/file", "read"])
        .dies(&[Errno(EPERM)], Read),
    preview1("paths/link-with-slash", open, MOUNTS)
        .tries("goes through a link whose target ends with a slash", &["5", "slash/secret", "read"], &["5", "here/file", "read"])
        .dies(&[Errno(EPERM)], Read),
    preview1("paths/link-and-slash", open, MOUNTS)
        .tries("opens a link to a file outside, with a slash behind its name", &["5", "absolute/", "read"], &["5", "good", "read"])
        .dies(&[Errno(EPERM)], Read),
    preview1("paths/link-chain", open, MOUNTS)
        .tries("follows a chain of links whose last leads outside", &["5", "chain", "read"], &["5", "good-chain", "read"])
        .dies(&[Errno(EPERM)], Read),
    preview1("paths/link-loop", open, MOUNTS)
        .tries("follows a link to itself", &["5", "loop", "read"], &["5", "good", "read"])
        .dies(&[Errno(ELOOP)], Read),
    preview1("paths/link-to-root", open, MOUNTS)
        .tries("goes through a link to /proc/self/root", &["5", "root/{outside}/secret", "read"], &["5", "here/file", "read"])
        .dies(&[Errno(EPERM)], Read),
    preview1("paths/own-link", through_link, MOUNTS)
        .tries("makes a link that leads outside, and follows it", &["5", "{up}/secret", "read"], &["5", "file", "read"])
        .dies(&[Errno(EPERM)], Read),
    preview1("paths/own-link-slash", through_link, MOUNTS)
        .tries(
            "makes a link that leads up and ends with a slash, and goes through it",
            &["5", "{up}/", "read:/secret"],
            &["5", "./", "read:/secret"],
        )
        .dies(&[Errno(EPERM)], Read),
    preview1("paths/make-absolute-link", on_two_paths, MOUNTS)
        .tries(
            "makes an absolute link, for others to follow",
            &["symlink", "5", "{outside}/secret", "5", "made"],
            &["symlink", "5", "file", "5", "made"],
        )
        .dies(&[Errno(EPERM)], Write),
    preview1("paths/create-through-link", open, MOUNTS)
        .tries(
            "creates a file outside, through a link to a name that is not there",
            &["5", "dangling", "create"],
            &["5", "created", "create"],
        )
        .dies(&[Errno(EPERM)], Write),
    preview1("paths/write-through-link", open, MOUNTS)
        .tries("writes to a file outside, through a link", &["5", "to-file", "write"], &["5", "good", "write"])
        .dies(&[Errno(EPERM)], Write),
    preview1("paths/truncate-through-link", open, MOUNTS)
        .tries("empties a file outside, through a link", &["5", "to-file", "truncate"], &["5", "good", "truncate"])
        .dies(&[Errno(EPERM)], Write),
    preview1("paths/hard-link-outside", on_two_paths, MOUNTS)
        .tries("gives a file outside a name inside", &["link", "5", "{up}/file", "5", "taken"], &["link", "5", "file", "5", "taken"])
        .dies(&[Errno(EPERM)], Read),
    preview1("paths/rename-out", on_two_paths, MOUNTS)
        .tries("moves a file out", &["rename", "5", "file", "5", "{up}/moved"], &["rename", "5", "file", "5", "moved"])
        .dies(&[Errno(EPERM)], Write),
    preview1("paths/make-directory-outside", on_path, MOUNTS)
        .tries("makes a directory outside", &["mkdir", "5", "{up}/made"], &["mkdir", "5", "made"])
        .dies(&[Errno(EPERM)], Write),
    preview1("paths/unlink-outside", on_path, MOUNTS)
        .tries("removes a file outside", &["unlink", "5", "{up}/file"], &["unlink", "5", "file"])
        .dies(&[Errno(EPERM)], Write),
    preview1("paths/times-outside", on_path, MOUNTS)
        .tries("sets the times of a file outside", &["times", "5", "{up}/file"], &["times", "5", "file"])
        .dies(&[Errno(EPERM)], Write),
    preview1("paths/read-only-write", open, MOUNTS)
        .tries("writes to a file of a read-only mount", &["6", "file", "write"], &["5", "file", "write"])
        .dies(&[Errno(EPERM)], Write),
    preview1("paths/read-only-truncate", open, MOUNTS)
        .tries("empties a file of a read-only mount", &["6", "file", "truncate"], &["5", "file", "truncate"])
        .dies(&[Errno(EPERM)], Write),
    preview1("paths/read-only-create", open, MOUNTS)
        .tries("creates a file in a read-only mount", &["6", "new", "create"], &["5", "new", "create"])
        .dies(&[Errno(EPERM)], Write),
    preview1("paths/read-only-unlink", on_path, MOUNTS)
        .tries("removes a file of a read-only mount", &["unlink", "6", "file"], &["unlink", "5", "file"])
        .dies(&[Errno(EPERM)], Write),
    preview1("paths/read-only-times", on_path, MOUNTS)
        .tries("sets the times of a file of a read-only mount", &["times", "6", "file"], &["times", "5", "file"])
        .dies(&[Errno(EPERM)], Write),
    preview1("paths/rename-across", on_two_paths, MOUNTS)
        .tries(
            "moves a file from a read-only mount to where it may write",
            &["rename", "6", "file", "5", "moved"],
            &["rename", "5", "file", "5", "moved"],
        )
        .dies(&[Errno(EPERM), Errno(EXDEV)], Write),
    preview1("paths/link-across", link_and_write, MOUNTS)
        .tries(
            "links a file of a read-only mount to where it may write, and writes",
            &["6", "file", "5", "linked"],
            &["5", "file", "5", "linked"],
        )
        .dies(&[Errno(EPERM), Errno(EXDEV)], Write),
    preview1("paths/pipe", open, MOUNTS)
        .tries("opens a pipe that nobody writes to, to make the host wait", &["5", "pipe", "read"], &["5", "file", "read"])
        .dies(&[Errno(EPERM)], Crash),
    by_component("paths/parent", component::open, MOUNTS)
        .tries("reads a file above its directory, through '..'", &["5", "{up}/secret", "read"], &["5", "file", "read"])
        .dies(&[Errno(EPERM)], Read),
    by_component("paths/absolute", component::open, MOUNTS)
        .tries("reads a file by its path on the machine", &["5", "{outside}/secret", "read"], &["5", "file", "read"])
        .dies(&[Errno(EPERM)], Read),
    by_component("paths/absolute-link", component::open, MOUNTS)
        .tries("follows an absolute link to a file outside", &["5", "absolute", "read"], &["5", "good", "read"])
        .dies(&[Errno(EPERM)], Read),
    by_component("paths/link-with-slash", component::open, MOUNTS)
        .tries("goes through a link whose target ends with a slash", &["5", "slash/secret", "read"], &["5", "here/file", "read"])
        .dies(&[Errno(EPERM)], Read),
    by_component("paths/own-link-slash", component::through_link, MOUNTS)
        .tries(
            "makes a link that leads up and ends with a slash, and goes through it",
            &["5", "{up}/", "read:/secret"],
            &["5", "./", "read:/secret"],
        )
        .dies(&[Errno(EPERM)], Read),
    by_component("paths/create-through-link", component::open, MOUNTS)
        .tries(
            "creates a file outside, through a link to a name that is not there",
            &["5", "dangling", "create"],
            &["5", "created", "create"],
        )
        .dies(&[Errno(EPERM)], Write),
    by_component("paths/hard-link-outside", component::on_two_paths, MOUNTS)
        .tries("gives a file outside a name inside", &["link", "5", "{up}/file", "5", "taken"], &["link", "5", "file", "5", "taken"])
        .dies(&[Errno(EPERM)], Read),
    by_component("paths/rename-out", component::on_two_paths, MOUNTS)
        .tries("moves a file out", &["rename", "5", "file", "5", "{up}/moved"], &["rename", "5", "file", "5", "moved"])
        .dies(&[Errno(EPERM)], Write),
    by_component("paths/make-absolute-link", component::on_two_paths, MOUNTS)
        .tries(
            "makes an absolute link, for others to follow",
            &["symlink", "5", "{outside}/secret", "5", "made"],
            &["symlink", "5", "file", "5", "made"],
        )
        .dies(&[Errno(EPERM)], Write),
    by_component("paths/read-only-write", component::open, MOUNTS)
        .tries("writes to a file of a read-only mount", &["6", "file", "write"], &["5", "file", "write"])
        .dies(&[Errno(EPERM)], Write),
    by_component("paths/rename-across", component::on_two_paths, MOUNTS)
        .tries(
            "moves a file from a read-only mount to where it may write",
            &["rename", "6", "file", "5", "moved"],
            &["rename", "5", "file", "5", "moved"],
        )
        .dies(&[Errno(EPERM), Errno(EXDEV)], Write),
    by_component("paths/link-across", component::on_two_paths, MOUNTS)
        .tries(
            "links a file of a read-only mount to where it may write",
            &["link", "6", "file", "5", "linked"],
            &["link", "5", "file", "5", "linked"],
        )
        .dies(&[Errno(EPERM), Errno(EXDEV)], Write),
];

/// 300 bytes, where names have 255 at the most.
const LONG_NAME: &str = concat!(
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
);
