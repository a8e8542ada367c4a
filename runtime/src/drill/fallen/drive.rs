//! The trusted side of the fallen wall: a host that is started as every host is, but that attacks where its guests would run.

use std::{
    io,
    os::fd::RawFd,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::RecvFlags,
};

use crate::{
    backend::{
        Launch, Program, Stdio,
        protocol::{self, FromChild, PACKET_MOST_BYTES, Packet},
        spawned::Spawned,
        wasm,
    },
    cell::{AgentName, Role},
    drill::{Arena, Attack, Ground, Seen, Tried, catalogue, run::several, seen::parse, stage::Stage, wasm::plant},
    home::ambient,
    policy::{Access, Policy},
};

/// The hidden subcommand of a host that has fallen; behind what every host is given come the attack's name and its arguments.
pub const SUBCOMMAND: &str = "__drill-fallen";
/// How long a host may take, from its start to its end.
const HOST_WITHIN: Duration = Duration::from_secs(10);
/// Bytes of what it says that are kept.
const SAID_MOST_BYTES: usize = 16 * 1024;

/// In the host, when its jail is closed: makes one attempt, and says how it ended.
pub fn main_attack(handoff: RawFd, socket: RawFd, words: &[String]) -> ExitCode {
    let act = words.first().and_then(|name| {
        catalogue().find_map(|attack| match attack.arena {
            Arena::Fallen { act } if attack.name == name => Some(act),
            _ => None,
        })
    });
    let Some(act) = act else {
        eprintln!("error: no such attack");
        return ExitCode::from(2);
    };
    let arguments = words.get(1..).unwrap_or_default().to_vec();
    let attempt = move || serde_json::to_string(&Seen::of(act(&arguments))).unwrap_or_default();
    wasm::main_fallen(handoff, socket, Box::new(attempt))
}

/// Tries every one of these attacks that a fallen host makes; tells of each as soon as it is known.
///
/// # Errors
/// The stage failed; what an attack does is never an error.
pub fn try_all(stage: &Stage, attacks: &[(usize, &'static Attack)], tell: &mut dyn FnMut(usize, Tried)) -> io::Result<()> {
    let own = attacks.iter().copied().filter(|(_, attack)| matches!(attack.arena, Arena::Fallen { .. })).collect();
    several(stage, own, |slot, attack| tried(stage, slot, attack), tell)
}

fn tried(stage: &Stage, slot: usize, attack: &Attack) -> io::Result<Tried> {
    let started = Instant::now();
    let ground = stage.furnish(slot)?;
    let (twin, _) = fall(&plant(&ground, &format!("f{slot}-twin"), slot)?, attack.name, attack.twin)?;
    let (seen, said) = fall(&plant(&ground, &format!("f{slot}"), slot)?, attack.name, attack.attack)?;
    let disturbed = stage.disturbed(slot, &said);
    Ok(Tried { twin, attack: seen, seconds: started.elapsed().as_secs_f64(), disturbed })
}

/// Starts a host in its jail, which then attacks. Returns how that ended, and everything that it said.
fn fall(ground: &Ground, name: &str, arguments: &[&str]) -> io::Result<(Seen, String)> {
    let root = PathBuf::from(ground.get("root").unwrap_or_default());
    let (cache, _) = ambient::open_named_dir(&root.join("cache"))?;
    let keeper = wasm::ensure_bytes(&cache, wasm::KEEPER_WAT.as_bytes()).map_err(io::Error::other)?;
    let agent: AgentName = "fallen".parse().map_err(io::Error::other)?;
    let mount = |host: &str, guest: &str, access| -> io::Result<crate::policy::Mount> {
        let guest = guest.to_owned().try_into().map_err(io::Error::other)?;
        Ok(crate::policy::Mount { host: Path::new(ground.get(host).unwrap_or_default()).to_owned(), guest, access })
    };
    let policy =
        Policy { mounts: vec![mount("inside", "/inside", Access::Rw)?, mount("readonly", "/kept", Access::Ro)?], ..Policy::default() };
    let launch = Launch {
        agent,
        role: Role::Executor,
        program: Program::Compiled {
            cached: root.join("cache").join(keeper.file_name()),
            form: keeper.form,
            args: vec!["fallen".to_owned()],
        },
        policy,
        home: None,
        shared: None,
        env: Vec::new(),
        stdio: Stdio::Captured,
        tick: None,
        again: false,
    };
    let words: Vec<String> = std::iter::once(name.to_owned()).chain(ground.fill_all(arguments)).collect();
    let mut host = wasm::spawn_as(SUBCOMMAND, &words, &[launch], &cache).map_err(io::Error::other)?;
    hear(&mut host)
}

/// Hears a host to its end, or ends it.
fn hear(host: &mut Spawned) -> io::Result<(Seen, String)> {
    let deadline = Instant::now() + HOST_WITHIN;
    let (mut said, mut refused) = (Vec::new(), None);
    while let Some(packet) = next(host, deadline)? {
        match protocol::from_child(&packet) {
            Ok(Packet::Output { bytes, .. }) => said.extend(bytes.iter().take(SAID_MOST_BYTES.saturating_sub(said.len()))),
            Ok(Packet::Control(FromChild::Refused { message, .. })) => refused = Some(message),
            Ok(Packet::Control(_)) => {}
            Err(error) => refused = Some(format!("its host says what is not of the protocol: {error}")),
        }
    }
    let left = deadline.saturating_duration_since(Instant::now());
    let status = host.reap(left)?;
    if status.is_none() {
        host.kill(HOST_WITHIN)?;
        host.reap(HOST_WITHIN)?;
    }
    let words = String::from_utf8_lossy(&said).into_owned();
    let seen = match (parse(&said), status, refused) {
        (Some(seen), _, _) => seen,
        (None, None, _) => Seen::Stuck,
        (None, Some(_), Some(message)) => Seen::untold(&message),
        (None, Some(status), None) => match std::os::unix::process::ExitStatusExt::signal(&status) {
            Some(number) => Seen::Signal { number },
            None => Seen::untold(&format!("its host ended with {status}")),
        },
    };
    Ok((seen, words))
}

/// The next packet of a host; `None` at its end, or when the time is over.
fn next(host: &Spawned, deadline: Instant) -> io::Result<Option<Vec<u8>>> {
    let left = deadline.saturating_duration_since(Instant::now());
    let wait = Timespec { tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX), tv_nsec: i64::from(left.subsec_nanos()) };
    if poll(&mut [PollFd::new(&host.socket, PollFlags::IN)], Some(&wait))? == 0 {
        return Ok(None);
    }
    let mut packet = vec![0; PACKET_MOST_BYTES];
    match rustix::net::recv(&host.socket, &mut packet[..], RecvFlags::DONTWAIT) {
        Ok((0, _)) | Err(rustix::io::Errno::CONNRESET) => Ok(None),
        Ok((count, _)) => {
            packet.truncate(count);
            Ok(Some(packet))
        }
        Err(error) => Err(error.into()),
    }
}
