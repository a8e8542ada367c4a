//! Whether what was seen of a process agrees with what its jail reported: pure.

use std::path::{Component, Path, PathBuf};

use super::{
    Bounds, Descriptor, Mapping, Membership, NAMESPACES, Observed, Resource, Seen, Status, Target,
    check::{Check, Checks, Expected, Part},
    parse::plain,
};
use crate::{
    jail::{GAINS_NO_CAPABILITY, LOCKED, NO_CORE_DUMP, NO_PRIORITY, NO_REALTIME, QUEUES, SIGNALS},
    policy::{Enforcer, Entry, LimitName, Subject},
};

/// How many things that should not be there are named.
const NAMED_MOST: usize = 5;
/// Where the libraries of a system are.
const LIBRARIES: [&str; 5] = ["/lib", "/lib32", "/lib64", "/usr/lib", "/usr/local/lib"];
/// What looks like a file of the root in `maps`, and is memory of the kernel's making.
const NO_FILES: [&str; 3] = ["/memfd:", "/SYSV", "/[aio]"];
/// Devices that hold nothing of anyone's: null, zero, full, random and urandom (admin-guide/devices.rst).
const HARMLESS_DEVICES: [(u32, u32); 5] = [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9)];
/// What no jailed process has, though it looks like an event loop's own.
const NEVER_ANONYMOUS: [&str; 4] = ["io_uring", "bpf", "perf_event", "userfaultfd"];

/// Compares.
pub fn compare(expected: &Expected<'_>, observed: &Observed) -> Vec<Check> {
    let mut checks = Checks { who: &expected.who, all: Vec::new() };
    statuses(expected, &observed.threads, &mut checks);
    limits(expected, &observed.limits, &mut checks);
    descriptors(expected, observed, &mut checks);
    memory(expected, &observed.maps, &mut checks);
    namespaces(expected, &observed.namespaces, &mut checks);
    groups(expected, &observed.groups, &mut checks);
    checks.all
}

fn statuses(expected: &Expected<'_>, threads: &Seen<Vec<Status>>, checks: &mut Checks<'_>) {
    let filters = expected.filters();
    let asked = [
        ("no_new_privs", "1, in every thread".to_owned()),
        ("seccomp", "2 (filters), in every thread".to_owned()),
        ("seccomp filters", filters.map_or_else(|| "some".to_owned(), |filters| format!("{filters} more than the warden has"))),
        ("capabilities", "none, in every set and thread".to_owned()),
    ];
    let seen = match threads {
        Ok(threads) if threads.is_empty() => Err("it has no threads any more"),
        Ok(threads) => Ok(threads),
        Err(because) => Err(because.as_str()),
    };
    let threads = match seen {
        Ok(threads) => threads,
        Err(because) => {
            for (what, wanted) in asked.into_iter().chain([("user and groups", "those of the warden".to_owned())]) {
                checks.unknown(what, wanted, because);
            }
            return;
        }
    };
    let [no_new_privs, seccomp, filtered, capabilities] = asked;
    each(no_new_privs, threads, |thread| thread.no_new_privs, |value| value == 1, checks);
    each(seccomp, threads, |thread| thread.seccomp, |value| value == 2, checks);
    match (filters, expected.warden.and_then(|warden| warden.filters)) {
        (Some(filters), Some(before)) => each(filtered, threads, |thread| thread.filters, |value| value >= before + filters, checks),
        _ => checks.unknown(filtered.0, filtered.1, "neither the kernel nor the report says how many"),
    }
    each(capabilities, threads, |thread| thread.capabilities, |value| value == 0, checks);
    if expected.all_say(|entry| entry.promise == GAINS_NO_CAPABILITY) {
        let asked = ("bounding set of capabilities", "empty, in every thread".to_owned());
        each(asked, threads, |thread| thread.bounding, |value| value == 0, checks);
    }
    ids(expected, threads, checks);
}

/// Compares a number of every thread; the first that does not agree is what was found.
fn each(
    (what, expected): (&'static str, String),
    threads: &[Status],
    number: impl Fn(&Status) -> Option<u64>,
    agrees: impl Fn(u64) -> bool,
    checks: &mut Checks<'_>,
) {
    let numbers: Vec<Option<u64>> = threads.iter().map(number).collect();
    let wrong = numbers.iter().flatten().find(|found| !agrees(**found));
    match (wrong, numbers.first()) {
        (Some(wrong), _) => checks.is(what, expected, &format!("{wrong:#x}"), false),
        (None, Some(Some(found))) if numbers.iter().all(Option::is_some) => {
            checks.is(what, expected, &format!("{found} in {} threads", numbers.len()), true);
        }
        (None, _) => checks.unknown(what, expected, "this kernel does not say"),
    }
}

/// One of the lists of ids of a thread.
type Ids = fn(&Status) -> &Vec<u32>;

/// Users and groups: those of the warden, all four alike, in every thread.
fn ids(expected: &Expected<'_>, threads: &[Status], checks: &mut Checks<'_>) {
    let show = |ids: &[u32]| match ids {
        [] => "none".to_owned(),
        ids => ids.iter().map(u32::to_string).collect::<Vec<_>>().join(" "),
    };
    let Some(warden) = expected.warden else {
        checks.unknown("user and groups", "those of the warden", "the warden's own could not be read");
        return;
    };
    let parts: [(&str, Ids); 3] =
        [("user", |status| &status.users), ("group", |status| &status.groups), ("supplementary groups", |status| &status.supplementary)];
    for (what, part) in parts {
        let wanted = part(warden);
        let wrong = threads.iter().map(part).find(|found| *found != wanted);
        checks.is(what, format!("{}, as the warden", show(wanted)), &show(wrong.unwrap_or(wanted)), wrong.is_none());
    }
}

/// Limits that nobody asks for, by what is promised of them.
const OF_WALLS: [(&str, Resource); 6] = [
    (NO_CORE_DUMP, Resource::Core),
    (LOCKED, Resource::Locked),
    (QUEUES, Resource::Queues),
    (SIGNALS, Resource::Signals),
    (NO_PRIORITY, Resource::Nice),
    (NO_REALTIME, Resource::Realtime),
];

/// The resource that an entry with a number is about.
fn resource(entry: &Entry) -> Option<Resource> {
    if entry.enforcer != Enforcer::Rlimit {
        return None;
    }
    match &entry.subject {
        Subject::Limit { name, .. } => match name {
            LimitName::OpenFiles => Some(Resource::OpenFiles),
            LimitName::Home => Some(Resource::FileSize),
            LimitName::Cpu => Some(Resource::Cpu),
            LimitName::Memory => Some(Resource::Data),
            LimitName::Processes => Some(Resource::Processes),
            LimitName::Stack => Some(Resource::Stack),
            LimitName::TableElements
            | LimitName::Instances
            | LimitName::Event
            | LimitName::Idle
            | LimitName::Messages
            | LimitName::Hostcall
            | LimitName::Random
            | LimitName::Files
            | LimitName::Log
            | LimitName::Ttl
            | LimitName::Timeout => None,
        },
        Subject::Wall { .. } => OF_WALLS.iter().find(|(promise, _)| entry.promise == *promise).map(|(_, resource)| *resource),
        Subject::Path { .. } | Subject::Variable { .. } | Subject::Address { .. } | Subject::Unnamed => None,
    }
}

fn limits(expected: &Expected<'_>, seen: &Seen<Vec<(String, Bounds)>>, checks: &mut Checks<'_>) {
    let mut done: Vec<Resource> = Vec::new();
    for entry in expected.entries() {
        let (Some(resource), Some(set)) = (resource(entry), entry.set) else { continue };
        if done.contains(&resource) {
            continue;
        }
        done.push(resource);
        let granted = expected.granted.iter().find(|(granted, _)| *granted == resource).map(|(_, most)| *most);
        let most = granted.map_or(set, |granted| granted.min(set));
        let (what, wanted) = (format!("limit: {}", resource.name()), format!("at most {most}"));
        let lines = match seen {
            Ok(lines) => lines,
            Err(because) => {
                checks.unknown(what, wanted, because);
                continue;
            }
        };
        let Some((_, (soft, hard))) = lines.iter().find(|(name, _)| name == resource.name()) else {
            checks.unknown(what, wanted, "this kernel has no such limit");
            continue;
        };
        // At its hard limit of CPU time, one second later, a process is killed: until then it can hear that it has reached the soft one.
        let grace = u64::from(resource == Resource::Cpu);
        let within = |bound: &Option<u64>, most: u64| bound.is_some_and(|bound| bound <= most);
        let show = |bound: &Option<u64>| bound.map_or_else(|| "unlimited".to_owned(), |bound| bound.to_string());
        let agrees = within(soft, most) && within(hard, most.saturating_add(grace));
        checks.is(what, wanted, &format!("{} (hard {})", show(soft), show(hard)), agrees);
    }
}

fn is_below(path: &str, places: &[PathBuf]) -> bool {
    let path = Path::new(plain(path));
    // The kernel writes no such path: whatever did is not believed.
    let leads_up = path.components().any(|part| part == Component::ParentDir);
    !leads_up && places.iter().any(|place| path.starts_with(place))
}

fn named(wrong: &[String]) -> String {
    let more = wrong.len().saturating_sub(NAMED_MOST);
    let shown = wrong.iter().take(NAMED_MOST).cloned().collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

fn descriptors(expected: &Expected<'_>, observed: &Observed, checks: &mut Checks<'_>) {
    let (what, wanted) = ("descriptors", "sockets of this machine, pipes, and files that were granted");
    let descriptors = match &observed.descriptors {
        Ok(descriptors) => descriptors,
        Err(because) => return checks.unknown(what, wanted, because),
    };
    let is_own_stream = |descriptor: &&Descriptor| expected.own_streams && descriptor.number <= 2;
    let mut wrong = Vec::new();
    let mut sockets = 0_usize;
    for Descriptor { number, target } in descriptors.iter().filter(|descriptor| !is_own_stream(descriptor)) {
        match target {
            Target::Socket(inode) => {
                sockets += 1;
                if observed.networked.as_ref().is_ok_and(|networked| networked.contains(inode)) {
                    wrong.push(format!("{number}: a socket of a network"));
                }
            }
            Target::Pipe | Target::Memory => {}
            Target::Anonymous(name) => {
                if NEVER_ANONYMOUS.iter().any(|never| name.contains(never)) {
                    wrong.push(format!("{number}: {name}"));
                }
            }
            Target::Device(major, minor, path) => {
                if !HARMLESS_DEVICES.contains(&(*major, *minor)) {
                    wrong.push(format!("{number}: {path}"));
                }
            }
            Target::Path(path) => {
                if path != "/" && !is_below(path, &expected.places) && !is_below(path, &expected.code) {
                    wrong.push(format!("{number}: {path}"));
                }
            }
        }
    }
    match (&observed.networked, wrong.is_empty()) {
        (_, false) => checks.is(what, wanted, &named(&wrong), false),
        (Err(because), true) if sockets > 0 => checks.unknown(what, wanted, because),
        (_, true) => checks.is(what, wanted, &format!("{} descriptors, {sockets} of them sockets", descriptors.len()), true),
    }
}

/// Whether a mapping is code of the process's own program, by its file, wherever that is seen.
fn is_program(expected: &Expected<'_>, mapping: &Mapping) -> bool {
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let mapped = Path::new(plain(&mapping.path));
    expected.program.is_some_and(|(path, inode)| {
        let path = path.to_string_lossy().into_owned();
        mapping.inode == *inode && name(Path::new(plain(&path))) == name(mapped)
    })
}

fn is_library(expected: &Expected<'_>, path: &str) -> bool {
    let path = Path::new(plain(path));
    let is_shared = path.file_name().is_some_and(|name| {
        let name = name.to_string_lossy();
        name.ends_with(".so") || name.contains(".so.")
    });
    // A reaper's were mapped from a root that is gone since: they are seen from wherever they were mounted.
    is_shared && (expected.who.part == Part::Reaper || LIBRARIES.iter().any(|place| path.starts_with(place)))
}

fn memory(expected: &Expected<'_>, maps: &Seen<Vec<Mapping>>, checks: &mut Checks<'_>) {
    let trusted = match expected.who.part {
        Part::Reaper | Part::Host => true,
        Part::Agent => false,
    };
    let pages = ("memory that is both writable and executable", "none");
    let files = match expected.who.part {
        Part::Reaper => ("mapped code", "the program of reapers and the system's libraries"),
        Part::Host => ("mapped code", "this program, the system's libraries, and compiled programs of the cache"),
        Part::Agent => ("mapped files", "inside of what was granted"),
    };
    let maps = match maps {
        Ok(maps) => maps,
        Err(because) => {
            if trusted {
                checks.unknown(pages.0, pages.1, because);
            }
            return checks.unknown(files.0, files.1, because);
        }
    };
    if trusted {
        let both = maps.iter().filter(|mapping| mapping.writable && mapping.executable).count();
        checks.is(pages.0, pages.1, &format!("{both} such mappings"), both == 0);
    }
    let is_file = |mapping: &&Mapping| mapping.path.starts_with('/') && !NO_FILES.iter().any(|not| mapping.path.starts_with(not));
    let looked_at: Vec<&Mapping> = maps.iter().filter(is_file).filter(|mapping| !trusted || mapping.executable).collect();
    let fits = |mapping: &Mapping| {
        let code = is_below(&mapping.path, &expected.code);
        match expected.who.part {
            Part::Reaper | Part::Host => code || is_program(expected, mapping) || is_library(expected, &mapping.path),
            Part::Agent => code || is_below(&mapping.path, &expected.places),
        }
    };
    let mut wrong: Vec<String> = looked_at.iter().filter(|mapping| !fits(mapping)).map(|mapping| mapping.path.clone()).collect();
    wrong.dedup();
    let found = if wrong.is_empty() { format!("{} such mappings", looked_at.len()) } else { named(&wrong) };
    checks.is(files.0, files.1, &found, wrong.is_empty());
}

fn namespaces(expected: &Expected<'_>, seen: &Seen<Vec<String>>, checks: &mut Checks<'_>) {
    if !expected.all_say(|entry| entry.enforcer == Enforcer::Namespace) {
        return;
    }
    let (what, wanted) = ("namespaces", "others than the warden's");
    match (seen, expected.warden_namespaces) {
        (Ok(own), Some(warden)) if own.len() == NAMESPACES.len() && warden.len() == NAMESPACES.len() => {
            let same: Vec<String> = own.iter().zip(warden).filter(|(own, warden)| own == warden).map(|(own, _)| own.clone()).collect();
            let found = if same.is_empty() { own.join(", ") } else { format!("the warden's own {}", named(&same)) };
            checks.is(what, wanted, &found, same.is_empty());
        }
        (Err(because), _) => checks.unknown(what, wanted, because),
        (Ok(_), _) => checks.unknown(what, wanted, "the warden's own could not be read"),
    }
}

fn groups(expected: &Expected<'_>, seen: &Seen<Vec<Membership>>, checks: &mut Checks<'_>) {
    let Some(group) = &expected.group else { return };
    let held = |entry: &&Entry| entry.enforcer == Enforcer::Cgroup;
    for entry in expected.entries().filter(held) {
        let controller = match &entry.subject {
            Subject::Limit { name: LimitName::Memory, .. } => "memory",
            Subject::Limit { name: LimitName::Processes, .. } => "pids",
            // Counted there, or in any group of version 2, whatever controllers it has.
            Subject::Limit { name: LimitName::Cpu, .. } => "cpuacct",
            Subject::Limit { .. }
            | Subject::Path { .. }
            | Subject::Variable { .. }
            | Subject::Address { .. }
            | Subject::Wall { .. }
            | Subject::Unnamed => continue,
        };
        let (what, wanted) = (format!("control group for {controller}"), group.clone());
        let memberships = match seen {
            Ok(memberships) => memberships,
            Err(because) => {
                checks.unknown(what, wanted, because);
                continue;
            }
        };
        // Version 1 has a line for the controller; version 2 one line for all, without a name.
        let of = |membership: &&Membership| membership.controllers.iter().any(|name| name == controller);
        let unified = |membership: &&Membership| membership.controllers.is_empty();
        let is_it = |path: &str| Path::new(path).components().any(|part| part.as_os_str() == group.as_str());
        let counted = |membership: &&Membership| controller == "cpuacct" && unified(membership) && is_it(&membership.path);
        let found = memberships.iter().find(counted).or_else(|| memberships.iter().find(of)).or_else(|| memberships.iter().find(unified));
        let path = found.map_or("none", |membership| membership.path.as_str());
        checks.is(what, wanted, path, is_it(path));
    }
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;
