//! Links, other names for files, and names that change while they are used.

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags};

use super::{at, done, files};

/// How long a link is swapped under a reader.
const SWAP_FOR: Duration = Duration::from_millis(300);

/// Plants a link in the attack's own place; returns its path.
fn plant(inside: &str, target: &str) -> io::Result<String> {
    let link = format!("{inside}/link");
    let _ = fs::remove_file(&link);
    symlink(target, &link)?;
    Ok(link)
}

/// `[inside, target, rest]`: plants a link to the target, and reads the rest of a path through it.
pub(in crate::drill) fn read_through_link(arguments: &[String]) -> io::Result<String> {
    let link = plant(at(arguments, 0)?, at(arguments, 1)?)?;
    files::read(&[format!("{link}{}", at(arguments, 2)?)])
}

/// `[inside, target]`: plants a link to where nothing is, and makes a file through it.
pub(in crate::drill) fn create_through_link(arguments: &[String]) -> io::Result<String> {
    files::create(&[plant(at(arguments, 0)?, at(arguments, 1)?)?])
}

/// `[inside, target]`: plants a link to a file, and writes into it.
pub(in crate::drill) fn append_through_link(arguments: &[String]) -> io::Result<String> {
    files::append(&[plant(at(arguments, 0)?, at(arguments, 1)?)?])
}

/// `[inside, target]`: plants a link to a file, and changes the mode of what it leads to.
pub(in crate::drill) fn chmod_through_link(arguments: &[String]) -> io::Result<String> {
    files::chmod(&[plant(at(arguments, 0)?, at(arguments, 1)?)?, "666".to_owned()])
}

/// `[inside, end]`: two links, where the second leads to `end`: to the first one, or to a file.
pub(in crate::drill) fn follow_loop(arguments: &[String]) -> io::Result<String> {
    let (inside, end) = (at(arguments, 0)?, at(arguments, 1)?);
    for (name, target) in [("one", "two"), ("two", end)] {
        let link = format!("{inside}/{name}");
        let _ = fs::remove_file(&link);
        symlink(target, &link)?;
    }
    files::read(&[format!("{inside}/one")])
}

/// `[from, to]`: gives a file another name.
pub(in crate::drill) fn hard_link(arguments: &[String]) -> io::Result<String> {
    done(fs::hard_link(at(arguments, 0)?, at(arguments, 1)?))
}

/// `[from, to]`: moves a file.
pub(in crate::drill) fn rename(arguments: &[String]) -> io::Result<String> {
    done(fs::rename(at(arguments, 0)?, at(arguments, 1)?))
}

/// `[directory, to]`: makes a file without a name in the directory, writes it, and gives it a name.
pub(in crate::drill) fn link_nameless(arguments: &[String]) -> io::Result<String> {
    let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
    let file = rustix::fs::openat(CWD, at(arguments, 0)?, flags, Mode::RUSR | Mode::WUSR)?;
    rustix::io::write(&file, b"attack")?;
    done(rustix::fs::linkat(&file, "", CWD, at(arguments, 1)?, AtFlags::EMPTY_PATH))
}

/// `[inside, target]`: reads `place/secret` again and again while another thread swaps `place`, a directory, with a link to the target;
/// succeeds where what was read is not what the directory holds.
pub(in crate::drill) fn swap_while_reading(arguments: &[String]) -> io::Result<String> {
    let inside = Path::new(at(arguments, 0)?);
    let (place, link) = (inside.join("place"), inside.join("swapped"));
    let _ = fs::remove_dir_all(&place).and(fs::remove_file(&link));
    fs::create_dir(&place)?;
    fs::write(place.join("secret"), "plain")?;
    symlink(at(arguments, 1)?, &link)?;
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let _ = rustix::fs::renameat_with(CWD, &place, CWD, &link, RenameFlags::EXCHANGE);
            }
        });
        let read = read_until_other(&place.join("secret"));
        over.store(true, Ordering::Relaxed);
        read
    })
}

fn read_until_other(path: &Path) -> io::Result<String> {
    let (started, mut last) = (Instant::now(), io::Error::other("the link was never met"));
    while started.elapsed() < SWAP_FOR {
        match fs::read_to_string(path) {
            Ok(content) if content != "plain" => return Ok(content),
            Ok(_) => {}
            Err(error) => last = error,
        }
    }
    Err(last)
}
