//! What processes hold in a directory that has no name there any more: a file that was removed while it was open, or that never had a name,
//! takes its room until the last of them lets go of it.
//!
//! Read from `/proc/<thread>/fd`, and from the maps for what is mapped alone. One table of descriptors a process is enough: agents cannot make
//! threads with tables of their own (see [`super::seccomp`]).

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File},
    io::{self, Read},
    os::{
        fd::{AsFd, AsRawFd},
        unix::{
            ffi::{OsStrExt, OsStringExt},
            fs::MetadataExt,
        },
    },
    path::{Path, PathBuf},
};

use rustix::{
    io::Errno,
    process::{Pid, test_kill_process},
};

use super::liveness::parse_stat;

/// Descriptors, threads and mappings that are looked at; a cell that has more is not known.
const LOOKS_MOST: usize = 1 << 20;
/// Bytes of the maps of one process: sixty thousand mappings.
const MAPS_MOST_BYTES: u64 = 8 * 1024 * 1024;
/// What the kernel adds to the name of what has none any more.
const REMOVED: &[u8] = b" (deleted)";
/// Bytes of one block, as `stat` counts them.
const BLOCK_BYTES: u64 = 512;

/// What is held without a name.
#[derive(Debug, Default)]
pub struct Nameless {
    /// What the files take on the disk, or have as their sizes where that is more.
    pub bytes: u64,
    /// How many they are.
    pub files: u64,
    /// Why there may be more.
    pub unseen: Option<String>,
    looks: usize,
    /// Device and inode of what was counted.
    counted: HashSet<(u64, u64)>,
    /// Of what is only mapped, and whose size nobody tells: how much is, by inode.
    mapped: HashMap<u64, u64>,
}

/// Looks for what processes hold without a name in a directory, which they see at any of these places.
pub fn nameless(processes: &[u32], places: &[PathBuf]) -> Nameless {
    let mut found = Nameless::default();
    for pid in processes {
        if let Err(error) = found.look(*pid, places)
            && !(is_gone(&error) && is_ended(*pid))
        {
            found.unseen = Some(format!("what process {pid} holds open cannot be seen ({error})"));
        }
    }
    let counted: HashSet<u64> = found.counted.iter().map(|(_, inode)| *inode).collect();
    for (inode, bytes) in std::mem::take(&mut found.mapped) {
        if !counted.contains(&inode) {
            found.add(bytes);
        }
    }
    found
}

/// The path of an open directory, as this process sees it.
///
/// # Errors
/// `/proc` cannot be read.
pub fn path_of(dir: impl AsFd) -> io::Result<PathBuf> {
    fs::read_link(format!("/proc/self/fd/{}", dir.as_fd().as_raw_fd()))
}

/// It ended meanwhile, or was closed.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

/// Whether there is no such process: where `/proc` hides processes (`hidepid`), that it does not show one says nothing.
fn is_ended(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_none_or(|pid| test_kill_process(pid) == Err(Errno::SRCH))
}

/// A thread of a process that still has what the process holds: the first one may have ended before the others.
fn living_thread(pid: u32) -> io::Result<Option<u32>> {
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let Some(thread) = task?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if is_alive(thread) {
            return Ok(Some(thread));
        }
    }
    Ok(None)
}

fn is_alive(thread: u32) -> bool {
    let stat = fs::read(format!("/proc/{thread}/stat")).ok().and_then(|text| parse_stat(&text));
    stat.is_some_and(|stat| !matches!(stat.state, b'Z' | b'X' | b'x'))
}

/// Whether what is called so had its name in one of the places.
fn was_in(name: &[u8], places: &[PathBuf]) -> bool {
    let below = |place: &PathBuf| name.strip_prefix(place.as_os_str().as_bytes()).is_some_and(|rest| rest.starts_with(b"/"));
    name.ends_with(REMOVED) && places.iter().any(below)
}

impl Nameless {
    fn add(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.files += 1;
    }

    fn look(&mut self, pid: u32, places: &[PathBuf]) -> io::Result<()> {
        let Some(thread) = living_thread(pid)? else { return Ok(()) };
        let looked = self.look_at_descriptors(thread, places).and_then(|()| self.look_at_maps(thread, places));
        // Of one that is ending, nothing can be seen any more.
        looked.or_else(|error| if is_alive(thread) { Err(error) } else { Ok(()) })
    }

    fn spend(&mut self) -> io::Result<()> {
        self.looks += 1;
        if self.looks > LOOKS_MOST { Err(io::Error::other(format!("more than {LOOKS_MOST} are open"))) } else { Ok(()) }
    }

    fn look_at_descriptors(&mut self, thread: u32, places: &[PathBuf]) -> io::Result<()> {
        for entry in fs::read_dir(format!("/proc/{thread}/fd"))? {
            self.spend()?;
            let link = entry?.path();
            // Its name first: that asks no file system, of which one could keep this waiting.
            match fs::read_link(&link) {
                Ok(name) if was_in(name.as_os_str().as_bytes(), places) => self.count(&link)?,
                Ok(_) => {}
                // Deeper than a path can say.
                Err(error) if error.raw_os_error() == Some(libc::ENAMETOOLONG) => self.count(&link)?,
                Err(error) if is_gone(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Counts what a link of `/proc` leads to, once.
    fn count(&mut self, link: &Path) -> io::Result<()> {
        match fs::metadata(link) {
            Ok(file) if file.nlink() == 0 => {
                if self.counted.insert((file.dev(), file.ino())) {
                    self.add(file.len().max(file.blocks().saturating_mul(BLOCK_BYTES)));
                }
                Ok(())
            }
            // It has another name, where it is measured.
            Ok(_) => Ok(()),
            Err(error) if is_gone(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn look_at_maps(&mut self, thread: u32, places: &[PathBuf]) -> io::Result<()> {
        let mut maps = Vec::new();
        File::open(format!("/proc/{thread}/maps"))?.take(MAPS_MOST_BYTES + 1).read_to_end(&mut maps)?;
        if maps.len() as u64 > MAPS_MOST_BYTES {
            return Err(io::Error::other(format!("its maps have more than {MAPS_MOST_BYTES} bytes")));
        }
        for line in maps.split(|byte| *byte == b'\n').filter(|line| line.ends_with(REMOVED)) {
            self.spend()?;
            let Some(mapping) = Mapping::parse(line).filter(|mapping| was_in(&mapping.name, places)) else { continue };
            match self.count(&PathBuf::from(format!("/proc/{thread}/map_files/{:x}-{:x}", mapping.start, mapping.end))) {
                Ok(()) => {}
                // Only who may restore checkpoints on this machine sees these.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    let reached = mapping.offset.saturating_add(mapping.end.saturating_sub(mapping.start));
                    let most = self.mapped.entry(mapping.inode).or_default();
                    *most = reached.max(*most);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// A mapping of a file: a line of `/proc/<pid>/maps` (proc_pid_maps(5)).
#[derive(Debug, PartialEq, Eq)]
struct Mapping {
    start: u64,
    end: u64,
    offset: u64,
    inode: u64,
    name: Vec<u8>,
}

impl Mapping {
    fn parse(line: &[u8]) -> Option<Self> {
        // The name begins at the first slash: nothing before it has one.
        let slash = line.iter().position(|byte| *byte == b'/')?;
        let fields: Vec<&str> = std::str::from_utf8(&line[..slash]).ok()?.split_ascii_whitespace().collect();
        let [range, _, offset, _, inode] = fields.as_slice() else { return None };
        let (start, end) = range.split_once('-')?;
        let hex = |text: &str| u64::from_str_radix(text, 16).ok();
        let name = unescaped(&line[slash..]);
        Some(Self { start: hex(start)?, end: hex(end)?, offset: hex(offset)?, inode: inode.parse().ok()?, name })
    }
}

/// A name as it is: of all characters, the kernel writes a newline alone as an escape here.
fn unescaped(name: &[u8]) -> Vec<u8> {
    let text = std::ffi::OsString::from_vec(name.to_vec());
    match text.to_str() {
        Some(text) if text.contains("\\012") => text.replace("\\012", "\n").into_bytes(),
        Some(_) | None => text.into_vec(),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        process::{Child, Command, Stdio},
    };

    use super::*;

    /// A process that holds what a script of Python opens below a directory.
    fn holder(dir: &Path, script: &str) -> Child {
        let script = format!("import mmap,os,sys\nos.chdir(sys.argv[1])\n{script}\nprint('held',flush=True)\nsys.stdin.read()");
        let mut child = Command::new("python3")
            .args(["-c", &script])
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is there");
        let mut said = [0; 4];
        child.stdout.as_mut().expect("piped").read_exact(&mut said).expect("it holds them");
        child
    }

    fn held(dir: &Path, script: &str) -> Nameless {
        let mut child = holder(dir, script);
        let found = nameless(&[child.id()], &[dir.to_owned()]);
        child.stdin.take().expect("piped").flush().expect("flushed");
        child.wait().expect("it ends");
        found
    }

    const REMOVE: &str = "
def hold(name, size):
    f = os.open(name, os.O_RDWR | os.O_CREAT)
    os.write(f, b'x' * size)
    os.unlink(name)
    return f
";

    #[test]
    fn what_was_removed_and_is_open_is_counted_once_and_what_has_a_name_is_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let found = held(dir.path(), &format!("{REMOVE}\nf = hold('a', 100000)\nos.dup(f)\ng = hold('b', 1)\nopen('named', 'w')"));
        assert_eq!((found.files, found.unseen), (2, None));
        assert!((100_000..200_000).contains(&found.bytes), "{}", found.bytes);
        // The twins: a name elsewhere in the directory, and a file of another directory.
        let found = held(dir.path(), "f = os.open('c', os.O_RDWR | os.O_CREAT)\nos.link('c', 'd')\nos.unlink('c')");
        assert_eq!((found.files, found.bytes), (0, 0));
        let other = tempfile::tempdir().expect("a directory");
        let mut child = holder(other.path(), &format!("{REMOVE}\nf = hold('a', 100000)"));
        assert_eq!(nameless(&[child.id()], &[dir.path().to_owned()]).files, 0);
        drop(child.stdin.take());
        child.wait().expect("it ends");
    }

    #[test]
    fn what_never_had_a_name_and_what_is_only_mapped_is_counted() {
        let dir = tempfile::tempdir().expect("a directory");
        let found = held(dir.path(), "f = os.open('.', os.O_RDWR | os.O_TMPFILE)\nos.write(f, b'x' * 70000)");
        assert_eq!(found.files, 1);
        assert!(found.bytes >= 70_000, "{}", found.bytes);
        let found = held(dir.path(), &format!("{REMOVE}\nf = hold('a', 70000)\nm = mmap.mmap(f, 70000)\nos.close(f)\n"));
        assert_eq!(found.files, 1);
        assert!(found.bytes >= 70_000, "{}", found.bytes);
    }

    #[test]
    fn a_process_whose_first_thread_has_ended_is_looked_at_all_the_same() {
        let dir = tempfile::tempdir().expect("a directory");
        let script = format!("{REMOVE}\nf = hold('a', 70000)\n");
        // The first thread ends by the bare system call, which is exit(2) of one thread; another one waits for the end of the input.
        let ending = "import ctypes,threading\nthreading.Thread(target=lambda: (sys.stdin.read(), os._exit(0))).start()\n\
                      print('held',flush=True)\nctypes.CDLL(None).syscall(60, 0)";
        let mut child = holder(dir.path(), &(script + ending));
        let mut found = Nameless::default();
        for _ in 0..200 {
            found = nameless(&[child.id()], &[dir.path().to_owned()]);
            if !is_alive(child.id()) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        assert!(!is_alive(child.id()), "its first thread has ended");
        assert_eq!((found.files, found.unseen), (1, None));
        drop(child.stdin.take());
        child.wait().expect("it ends");
    }

    #[test]
    fn names_are_compared_whole() {
        let places = [PathBuf::from("/a/home")];
        assert!(was_in(b"/a/home/x (deleted)", &places) && was_in(b"/a/home/#12 (deleted)", &places));
        assert!(!was_in(b"/a/home/x", &places) && !was_in(b"/a/home2/x (deleted)", &places) && !was_in(b"/memfd:x (deleted)", &places));
    }

    #[test]
    fn a_line_of_maps_is_read() {
        let line = b"7f00-8f00 rw-s 00001000 fe:00 1234                /a/ho\\012me/x y (deleted)";
        let mapping = Mapping { start: 0x7f00, end: 0x8f00, offset: 0x1000, inode: 1234, name: b"/a/ho\nme/x y (deleted)".to_vec() };
        assert_eq!(Mapping::parse(line), Some(mapping));
        assert_eq!(Mapping::parse(b"7f00-8f00 rw-s 00001000 fe:00 1234"), None);
        assert_eq!(Mapping::parse(b"nonsense /x (deleted)"), None);
    }
}
