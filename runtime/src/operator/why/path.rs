//! Paths: the longest grant that contains one decides, as in the jail and in wasmtime.

use std::path::{Path, PathBuf};

use super::{Ground, Ruling, proc};
use crate::{
    backend::{
        Launch, Program,
        process::CELL_SOCKET,
        reach::{self, CLIENT_DIRECTORY, MADE_UP, Origin, Reached, STREAMS},
    },
    cell::text::one_line,
    jail::SCRATCH,
    policy::{Access, Enforcer},
};

/// Bytes of a path of the machine in a rule.
const PATH_MOST_BYTES: usize = 400;

/// Something that a path can lie in, and what it means for whoever asks.
struct Place {
    at: PathBuf,
    /// Only this very path, and nothing below it.
    exact: bool,
    /// Whether there is a file or a directory: what leads to it is there then, too.
    is_there: bool,
    read: Result<String, String>,
    write: Result<String, String>,
}

fn shown(path: &Path) -> String {
    one_line(&path.to_string_lossy(), PATH_MOST_BYTES)
}

/// Says whether an agent may read and write a path, and by which rule.
pub(super) fn rule(launch: &Launch, ground: &Ground, path: &Path) -> (Ruling, Ruling) {
    let granted = reach::reached(launch, ground.own_root);
    let mut places =
        if matches!(launch.program, Program::Command { .. }) { of_the_cell(launch, ground, &granted, path) } else { Vec::new() };
    places.extend(granted.iter().map(|granted| place(launch, granted)));
    let contains = |place: &&Place| if place.exact { path == place.at } else { path.starts_with(&place.at) };
    // Of two at one place, the later is seen.
    let found = places.iter().filter(contains).max_by_key(|place| place.at.components().count());
    let enforcers = enforcers(launch, ground);
    let ruling = |said: &Result<String, String>| Ruling::new(said, &enforcers);
    match found {
        Some(place) => {
            let (mut read, mut write) = (ruling(&place.read), ruling(&place.write));
            if let Some(alias) = alias_of(&granted, path) {
                [&mut read, &mut write].into_iter().for_each(|ruling| ruling.rule.push_str(&alias));
            }
            (read, write)
        }
        None => {
            // The root itself holds what leads to a place, where the agent has a root of its own.
            let leads_on = ground.own_root && places.iter().any(|place| place.is_there && place.at.starts_with(path));
            let (read, write) = if leads_on {
                let way = "it is on the way to what was granted, and holds nothing else".to_owned();
                (Ok(way), Err("it is on the way to what was granted, and read-only".to_owned()))
            } else {
                let why = outside(launch, &granted, path);
                (Err(why.clone()), Err(why))
            };
            (ruling(&read), ruling(&write))
        }
    }
}

/// Who holds the files of an agent: as its jail reported it.
fn enforcers(launch: &Launch, ground: &Ground) -> Vec<Enforcer> {
    let first = match launch.program {
        Program::Compiled { .. } => Some(Enforcer::Wasm),
        Program::Command { .. } => ground.own_root.then_some(Enforcer::Namespace),
    };
    first.into_iter().chain(ground.landlock.then_some(Enforcer::Landlock)).collect()
}

fn place(launch: &Launch, granted: &Reached) -> Place {
    let Reached { origin, host, guest, access } = granted;
    let (host, at) = (shown(host), shown(guest));
    let rule = match origin {
        Origin::System => format!("the system's own programs and libraries, which it reads where nothing else is named: {at}"),
        Origin::Read => format!("read path {at}"),
        Origin::Home if host == at => format!("its home, {at}"),
        Origin::Home => format!("its home, {host} at {at}"),
        Origin::Shared => format!("its role ({}): what the cell shares, at {at} ({access})", launch.role),
        Origin::Mount(_) => format!("mount {host} at {at} ({access})"),
        Origin::Device => format!("device {at}, which holds nothing of anyone's"),
    };
    let write = match (access, origin) {
        (Access::Rw, _) => Ok(rule.clone()),
        (Access::Ro, Origin::Mount(_)) => Err(format!("that mount is read-only: {host} at {at}")),
        (Access::Ro, Origin::Shared) => Err(format!("what the cell shares is read-only for an {}", launch.role)),
        (Access::Ro, Origin::System | Origin::Read | Origin::Home | Origin::Device) => {
            Err(format!("{at} is granted for reading and executing alone"))
        }
    };
    Place {
        at: guest.clone(),
        exact: matches!(origin, Origin::Device),
        is_there: matches!(launch.program, Program::Command { .. }),
        read: Ok(rule),
        write,
    }
}

/// What a process agent's cell has of its own.
fn of_the_cell(launch: &Launch, ground: &Ground, granted: &[Reached], path: &Path) -> Vec<Place> {
    let mut places = Vec::new();
    let mut own = |at: &str, exact, is_there, read: String, write| {
        let write = if write { Ok(read.clone()) } else { Err(format!("{at} is there for reading alone")) };
        places.push(Place { at: at.into(), exact, is_there, read: Ok(read), write });
    };
    if ground.speaks {
        let rule = "the cell's own talk: a connection to it leads to the warden and nowhere else; there is no file".to_owned();
        own(CELL_SOCKET, true, false, rule, true);
    }
    if !ground.own_root {
        return places;
    }
    for path in SCRATCH {
        own(path, false, true, format!("a {path} of its own, in memory and empty at first; nothing of the machine's is in it"), true);
    }
    // These lie in the root itself: what is granted with a directory above them is seen in their place.
    let is_hidden = |path: &str| granted.iter().any(|granted| Path::new(path).starts_with(&granted.guest));
    for path in MADE_UP.into_iter().filter(|path| !is_hidden(path)) {
        own(path, true, true, format!("a {path} that is made up and names the agent alone; the machine's is not there"), false);
    }
    for (path, number) in STREAMS.into_iter().filter(|(path, _)| !is_hidden(path)) {
        own(path, true, true, format!("a link to its own streams, /proc/self/fd{number}"), true);
    }
    if launch.policy.client {
        own(CLIENT_DIRECTORY, false, true, "the client: this program, for `lazarus cell`".to_owned(), false);
    }
    let write = Err("/proc is there for reading alone".to_owned());
    places.push(Place { at: "/proc".into(), exact: false, is_there: true, read: proc::read(path), write });
    places
}

/// What is asked about may be the machine's own name for something that the agent sees elsewhere: then where, as the end of a sentence.
fn alias_of(granted: &[Reached], path: &Path) -> Option<String> {
    let seen = granted.iter().filter_map(|granted| path.strip_prefix(&granted.host).ok().map(|rest| (granted, rest)));
    let (granted, rest) = seen.max_by_key(|(granted, _)| granted.host.components().count())?;
    let alias = granted.guest.join(rest);
    (alias != path).then(|| format!("; what the machine calls that, the agent sees at {}", shown(&alias)))
}

/// Why a path that no grant contains is out of reach.
fn outside(launch: &Launch, granted: &[Reached], path: &Path) -> String {
    let mut why = match launch.home {
        None if matches!(launch.program, Program::Compiled { .. }) && path.starts_with(reach::WASM_HOME) => match launch.role.has_home() {
            true => "it was given no home".to_owned(),
            false => format!("an {} has no home", launch.role),
        },
        Some(ref home) if matches!(launch.program, Program::Command { .. }) && path.starts_with(reach::WASM_HOME) => {
            format!("nothing that it was granted contains it; a process agent has its home at its real path, {}", shown(home))
        }
        Some(_) | None => "nothing that it was granted contains it".to_owned(),
    };
    if let Some(alias) = alias_of(granted, path) {
        why.push_str(&alias);
    }
    // Without a root of its own, a process agent has what is shared where it really lies.
    if let (Ok(rest), Some(shared)) = (
        path.strip_prefix(reach::SHARED),
        granted.iter().find(|granted| granted.origin == Origin::Shared && !path.starts_with(&granted.guest)),
    ) {
        why.push_str(&format!("; what its cell shares, it has at its real path (LAZARUS_SHARED): {}", shown(&shared.guest.join(rest))));
    }
    why
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        backend::{Stdio, WasmForm},
        cell::Role,
        policy::{Mount, Policy},
    };

    fn launch(wasm: bool, role: Role, mounts: &[&str]) -> Launch {
        let program = match wasm {
            true => Program::Compiled { cached: "/cache/x".into(), form: WasmForm::Component, args: Vec::new() },
            false => Program::Command { argv: vec!["scribe".into()] },
        };
        let mounts: Vec<Mount> = mounts.iter().map(|mount| mount.parse().expect("a mount")).collect();
        Launch {
            agent: "scribe".parse().expect("a name"),
            role,
            program,
            policy: Policy { mounts, ..Policy::default() },
            home: role.has_home().then(|| "/root/cells/laz-0/home".into()),
            shared: Some("/root/cells/laz-0/shared".into()),
            env: Vec::new(),
            stdio: Stdio::Captured,
            tick: None,
            again: false,
        }
    }

    fn said(launch: &Launch, own_root: bool, path: &str) -> (bool, bool, String, String) {
        let ground = Ground { own_root, landlock: true, landlock_tcp: true, speaks: true, marks: false };
        let (read, write) = rule(launch, &ground, Path::new(path));
        (read.allowed, write.allowed, read.rule, write.rule)
    }

    #[test]
    fn the_longest_grant_decides() {
        let nested = launch(true, Role::Executor, &["/srv/a:/x", "/srv/b:/x/y", "/srv/c:/out:rw"]);
        for (path, read, write, rule) in [
            ("/x/z", true, false, "mount /srv/a at /x (ro)"),
            ("/x/y", true, false, "mount /srv/b at /x/y (ro)"),
            ("/x/y/z", true, false, "mount /srv/b at /x/y (ro)"),
            ("/x/yz", true, false, "mount /srv/a at /x (ro)"),
            ("/xy", false, false, "nothing that it was granted contains it"),
            ("/out/deep/er", true, true, "mount /srv/c at /out (rw)"),
            ("/srv/c/file", false, false, "the agent sees at /out/file"),
            ("/home", true, true, "its home"),
            ("/", false, false, "nothing that it was granted contains it"),
        ] {
            let (may_read, may_write, read_rule, _) = said(&nested, true, path);
            assert_eq!((may_read, may_write), (read, write), "{path}: {read_rule}");
            assert!(read_rule.contains(rule), "{path}: {read_rule}");
        }
    }

    #[test]
    fn roles_and_roots_decide_what_there_is() {
        for role in Role::ALL {
            for wasm in [true, false] {
                let agent = launch(wasm, role, &[]);
                let (read, write, _, _) = said(&agent, true, "/shared/x");
                assert_eq!((read, write), (true, role.writes_shared()), "{role}");
                let home = if wasm { "/home/x" } else { "/root/cells/laz-0/home/x" };
                let (read, write, why, _) = said(&agent, true, home);
                assert_eq!((read, write), (role.has_home(), role.has_home()), "{role}: {why}");
            }
        }
        assert!(said(&launch(true, Role::Auditor, &[]), true, "/home").2.contains("an auditor has no home"));
        // Without a mount namespace there is no root of its own: what is shared is at its real path, and nothing is made up.
        let process = launch(false, Role::Executor, &[]);
        for (path, own, machines) in [
            ("/shared", (true, true), (false, false)),
            ("/root/cells/laz-0/shared", (false, false), (true, true)),
            ("/tmp", (true, true), (false, false)),
            ("/etc/passwd", (true, false), (false, false)),
            ("/proc/1", (true, false), (false, false)),
            ("/etc", (true, false), (false, false)),
            ("/usr/bin", (true, false), (true, false)),
            ("/dev/null", (true, true), (true, true)),
            ("/dev/stdout", (true, true), (false, false)),
            ("/run/lazarus/cell.sock", (true, true), (true, true)),
            ("/run", (false, false), (false, false)),
        ] {
            for (own_root, expected) in [(true, own), (false, machines)] {
                let (read, write, why, _) = said(&process, own_root, path);
                assert_eq!((read, write), expected, "{path}, own root: {own_root}: {why}");
            }
        }
        let (.., why, _) = said(&process, false, "/shared/x");
        assert!(why.contains("at its real path (LAZARUS_SHARED): /root/cells/laz-0/shared/x"), "{why}");
        // What is granted above a file that would be made up is seen in its place.
        let mut reads_etc = process;
        reads_etc.policy.read = vec!["/etc".into()];
        assert!(said(&reads_etc, true, "/etc/passwd").2.contains("read path /etc"));
    }
}
