//! Reading `/proc`, bounded: what is larger than anything that makes sense is not read, and so unknown.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

use super::{Descriptor, NAMESPACES, Observed, Seen, Target, parse};
use crate::{
    cell::ProcessRef,
    jail::liveness::{self, Liveness},
};

/// Bytes of one file of `/proc`: the maps of a process with sixty thousand mappings.
const FILE_MOST_BYTES: u64 = 8 * 1024 * 1024;
/// Threads of a process that are looked at; more than that is unknown.
const THREADS_MOST: usize = 4096;
/// Descriptors of a process that are looked at: as many as the highest limit allows.
const DESCRIPTORS_MOST: usize = 65_536;
/// The tables of sockets that lead out of the machine, or to the kernel.
const TABLES: [&str; 10] = ["tcp", "tcp6", "udp", "udp6", "udplite", "raw", "raw6", "icmp", "packet", "netlink"];

fn why(what: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => format!("this user may not read {what}"),
        _ => format!("read {what}: {error}"),
    }
}

/// Reads a file of a process, whole or not at all. What is no UTF-8 (agents choose names) is replaced.
fn text(pid: u32, name: &str) -> Seen<String> {
    let path = format!("/proc/{pid}/{name}");
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(&path)?.take(FILE_MOST_BYTES + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|error| why(&path, &error))?;
    if bytes.len() as u64 > FILE_MOST_BYTES {
        return Err(format!("{path} has more than {FILE_MOST_BYTES} bytes"));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The numbers that a directory of a process has for names, of at most so many.
fn numbers(pid: u32, name: &str, most: usize) -> Seen<Vec<u32>> {
    let path = format!("/proc/{pid}/{name}");
    let mut found = Vec::new();
    for entry in fs::read_dir(&path).map_err(|error| why(&path, &error))? {
        let entry = entry.map_err(|error| why(&path, &error))?;
        found.extend(entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
        if found.len() > most {
            return Err(format!("{path} has more than {most} entries"));
        }
    }
    Ok(found)
}

fn link(pid: u32, name: &str) -> Seen<String> {
    let path = format!("/proc/{pid}/{name}");
    fs::read_link(&path).map(|target| target.to_string_lossy().into_owned()).map_err(|error| why(&path, &error))
}

/// Looks at a process; `None` where it is not, or no longer, the noted one.
///
/// The look is no snapshot: what the process opens or closes meanwhile is seen, or not.
pub fn observe(noted: &ProcessRef) -> Option<Observed> {
    let pid = noted.pid;
    let threads = numbers(pid, "task", THREADS_MOST).and_then(|threads| {
        threads.into_iter().map(|thread| text(pid, &format!("task/{thread}/status")).map(|text| parse::status(&text))).collect()
    });
    let descriptors = numbers(pid, "fd", DESCRIPTORS_MOST).map(|numbers| {
        // One that was closed meanwhile is no trouble.
        numbers.into_iter().filter_map(|number| descriptor(pid, number)).collect()
    });
    let maps = text(pid, "maps").and_then(|text| parse::maps(&text).ok_or_else(|| format!("/proc/{pid}/maps is not as it is documented")));
    let observed = Observed {
        threads,
        limits: text(pid, "limits").map(|text| parse::limits(&text)),
        descriptors,
        networked: networked(pid),
        maps,
        namespaces: NAMESPACES.iter().map(|name| link(pid, &format!("ns/{name}"))).collect(),
        groups: text(pid, "cgroup").map(|text| parse::memberships(&text)),
    };
    // Whatever was read is of the noted process if that lives still: its number was its own all the time.
    (liveness::probe(noted) == Liveness::Alive).then_some(observed)
}

fn descriptor(pid: u32, number: u32) -> Option<Descriptor> {
    let mut descriptor = parse::descriptor(number, &link(pid, &format!("fd/{number}")).ok()?);
    // Not through what the link says, which is a path of the process's own, but through what it leads to.
    if let Target::Path(path) = &descriptor.target
        && let Ok(file) = fs::metadata(format!("/proc/{pid}/fd/{number}"))
        && file.file_type().is_char_device()
    {
        let device = file.rdev();
        descriptor.target = Target::Device(rustix::fs::major(device), rustix::fs::minor(device), path.clone());
    }
    Some(descriptor)
}

/// The sockets of a process's network namespace that are none between processes of this machine.
fn networked(pid: u32) -> Seen<Vec<u64>> {
    let mut found = Vec::new();
    for table in TABLES {
        match text(pid, &format!("net/{table}")) {
            Ok(table) => found.extend(parse::inodes(&table)),
            // A kernel without that protocol has no table of it.
            Err(_)
                if fs::metadata(format!("/proc/{pid}/net/unix")).is_ok()
                    && !fs::exists(format!("/proc/{pid}/net/{table}")).unwrap_or(true) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// A program of this name that a process holds open, to start others from, and its inode; also one that was replaced since.
pub fn held_program(pid: u32, wanted: &str) -> Option<(PathBuf, u64)> {
    let is_it = |path: &Path| path.file_name().is_some_and(|name| parse::plain(&name.to_string_lossy()) == wanted);
    numbers(pid, "fd", DESCRIPTORS_MOST).ok()?.into_iter().find_map(|number| {
        let path = PathBuf::from(link(pid, &format!("fd/{number}")).ok()?);
        let inode = fs::metadata(format!("/proc/{pid}/fd/{number}")).ok()?.ino();
        is_it(&path).then_some((path, inode))
    })
}

/// The program that a process runs, and its inode.
///
/// # Errors
/// It cannot be read.
pub fn program(pid: u32) -> io::Result<(PathBuf, u64)> {
    let exe = format!("/proc/{pid}/exe");
    let inode = fs::metadata(&exe)?.ino();
    Ok((fs::read_link(&exe)?, inode))
}
