//! Paths: the longest grant that contains one decides, as in the jail and in wasmtime.

use std::path::{Path, PathBuf};

use super::{Ground, Ruling};
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
    let mut places = if matches!(launch.program, Program::Command { .. }) { of_the_cell(launch, ground, &granted) } else { Vec::new() };
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
fn of_the_cell(launch: &Launch, ground: &Ground, granted: &[Reached]) -> Vec<Place> {
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
    own("/proc", false, true, "a /proc of its own, which shows its own processes alone".to_owned(), false);
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
        _ => "nothing that it was granted contains it".to_owned(),
    };
    if let Some(alias) = alias_of(granted, path) {
        why.push_str(&alias);
    }
    why
}
