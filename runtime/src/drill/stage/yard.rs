//! A directory for each attack: a secret that it must not get, and files that must stay as they are to the last attribute.

use std::{
    fmt::Write,
    io::{self, Write as _},
};

use cap_std::fs::Dir;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, StatxFlags};

use super::place::token;

/// Bytes of a canary's content that are compared; canaries are short, and one that grew has another size.
const CONTENT_MOST_BYTES: usize = 4096;
/// What a canary says.
const CANARY: &[u8] = b"canary\n";
/// How deep what an attack may have left is looked at.
const DEPTH_MOST: usize = 8;

/// One attack's directory, and how it looked before.
pub struct Plot {
    dir: Dir,
    secret: String,
    before: Vec<String>,
}

impl Plot {
    /// Furnishes a new directory: `secret`, `file`, `program` and `dir/file`.
    pub(super) fn furnish(parent: &Dir, name: &str, secret_readable: bool) -> io::Result<Self> {
        rustix::fs::mkdirat(parent, name, Mode::RWXU)?;
        let dir = open_dir(parent, name)?;
        let secret = format!("secret-{}", token()?);
        let said = if secret_readable { "granted" } else { secret.as_str() };
        write(&dir, "secret", said.as_bytes(), Mode::RUSR | Mode::WUSR)?;
        write(&dir, "file", CANARY, Mode::RUSR | Mode::WUSR)?;
        write(&dir, "program", b"#!/bin/sh\necho ran\n", Mode::RWXU)?;
        rustix::fs::mkdirat(&dir, "dir", Mode::RWXU)?;
        write(&open_dir(&dir, "dir")?, "file", CANARY, Mode::RUSR | Mode::WUSR)?;
        let before = look(&dir)?;
        Ok(Self { dir, secret, before })
    }

    /// Its secret.
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// What is not as it was, as a name; `None` where all is.
    pub(super) fn changed(&self) -> Option<String> {
        let now = match look(&self.dir) {
            Ok(now) => now,
            Err(error) => return Some(format!("the canary directory ({error})")),
        };
        let new = now.iter().find(|line| !self.before.contains(line));
        let gone = self.before.iter().find(|line| !now.contains(line));
        new.or(gone).map(|line| line.split('\0').next().unwrap_or_default().to_owned())
    }
}

fn open_dir(parent: &Dir, name: &str) -> io::Result<Dir> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(Dir::from(rustix::fs::openat(parent, name, flags, Mode::empty())?))
}

/// Writes a new file for the operator alone.
pub(in crate::drill) fn write(dir: &Dir, name: &str, content: &[u8], mode: Mode) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    std::fs::File::from(rustix::fs::openat(dir, name, flags, mode)?).write_all(content)
}

/// Everything below a directory: names, what the kernel knows of them but for the time of reading, and short contents.
pub(super) fn look(dir: &Dir) -> io::Result<Vec<String>> {
    let mut lines = vec![line(dir, ".", ".")?];
    below(dir, "", 0, &mut lines)?;
    lines.sort();
    Ok(lines)
}

fn below(dir: &Dir, above: &str, depth: usize, lines: &mut Vec<String>) -> io::Result<()> {
    for entry in rustix::fs::Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == "." || name == ".." {
            continue;
        }
        let path = format!("{above}{name}");
        lines.push(line(dir, &name, &path)?);
        if entry.file_type() == FileType::Directory && depth < DEPTH_MOST {
            below(&open_dir(dir, &name)?, &format!("{path}/"), depth + 1, lines)?;
        }
    }
    Ok(())
}

/// One entry as a line: its path, a NUL, and everything that must not change.
fn line(dir: &Dir, name: &str, path: &str) -> io::Result<String> {
    let stat = rustix::fs::statx(dir, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS)?;
    let mut line = format!("{path}\0");
    // The time of a change (ctime) tells of attributes, owners, links and times that were set back.
    let _ = write!(
        line,
        "{} {:o} {}:{} {} {} {}.{} {}.{}",
        stat.stx_ino,
        stat.stx_mode,
        stat.stx_uid,
        stat.stx_gid,
        stat.stx_nlink,
        stat.stx_size,
        stat.stx_mtime.tv_sec,
        stat.stx_mtime.tv_nsec,
        stat.stx_ctime.tv_sec,
        stat.stx_ctime.tv_nsec
    );
    if FileType::from_raw_mode(stat.stx_mode.into()) == FileType::RegularFile {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(dir, name, flags, Mode::empty())?;
        let mut content = vec![0; CONTENT_MOST_BYTES];
        let read = rustix::io::read(&file, &mut content)?;
        let _ = write!(line, " {:?}", &content[..read]);
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_change_is_seen() {
        let temp = tempfile::tempdir().expect("tempdir");
        let parent = Dir::open_ambient_dir(temp.path(), cap_std::ambient_authority()).expect("open");
        let at = |path: &str| temp.path().join(path);
        type Change<'a> = (&'a str, &'a dyn Fn(&str));
        let changes: [Change<'_>; 7] = [
            ("content", &|plot| std::fs::write(at(&format!("{plot}/file")), "CANARY\n").expect("write")),
            ("new", &|plot| std::fs::write(at(&format!("{plot}/dir/new")), "").expect("write")),
            ("gone", &|plot| std::fs::remove_file(at(&format!("{plot}/program"))).expect("remove")),
            ("link", &|plot| std::fs::hard_link(at(&format!("{plot}/file")), at(&format!("{plot}-link"))).expect("link")),
            ("mode", &|plot| rustix::fs::chmod(at(&format!("{plot}/file")), Mode::RWXU).expect("chmod")),
            ("swapped", &|plot| {
                std::fs::remove_file(at(&format!("{plot}/file"))).expect("remove");
                std::os::unix::fs::symlink("secret", at(&format!("{plot}/file"))).expect("symlink");
            }),
            ("directory", &|plot| rustix::fs::chmod(at(plot), Mode::RUSR | Mode::XUSR).expect("chmod")),
        ];
        let quiet = Plot::furnish(&parent, "quiet", false).expect("furnished");
        for (name, change) in changes {
            let plot = Plot::furnish(&parent, name, false).expect("furnished");
            assert_eq!(plot.changed(), None, "{name}");
            change(name);
            assert!(plot.changed().is_some(), "{name} is not seen");
        }
        assert_eq!(quiet.changed(), None);
        assert_ne!(quiet.secret(), Plot::furnish(&parent, "other", false).expect("furnished").secret());
    }
}
