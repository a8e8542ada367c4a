//! Setting the stage, asking its canaries, and clearing it.

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use cap_std::fs::Dir;
use rustix::fs::Mode;
use serde_json::Value;

use super::{
    bystander::Bystander,
    command::{Commands, Told},
    listeners::Listeners,
    place::{Place, token},
    yard::{self, Plot},
};
use crate::{
    drill::{
        Disturbance, Ground, Request,
        error::{DrillError, stage},
        process::{FOREVER, STAND, SUBCOMMAND},
    },
    home::{ambient, make_dir},
    jail::liveness,
    policy::Report,
};

/// The variable that marks every process of an attacker's cell, so that one that outlives it is found.
pub const MARK: &str = "DRILL_MARK";
/// The operator's variable that no cell may see.
const OPERATOR_VARIABLE: &str = "DRILL_OPERATOR_SECRET";
/// How long commands that set and clear the stage may take; a busy machine is slow.
const COMMAND_WITHIN: Duration = Duration::from_secs(60);
/// How long the neighbour's cell may live: past the longest drill, and not for ever, should this drill be killed.
const NEIGHBOUR_TTL: &str = "30m";

/// What stands outside of the jails while a drill runs.
pub struct Stage {
    place: Place,
    commands: Commands,
    parts: Parts,
    plots: Mutex<BTreeMap<usize, (Plot, Plot)>>,
    weakened: bool,
}

/// What a stage is made of.
struct Parts {
    outside: Dir,
    read_only: Dir,
    listeners: Listeners,
    bystander: Bystander,
    secrets: Vec<(&'static str, String)>,
    ground: Ground,
    mark: String,
    neighbour: Neighbour,
    report: Report,
}

/// Another cell, which minds its own business.
struct Neighbour {
    cell: String,
    secret: Plot,
}

impl Parts {
    /// Makes everything that stands around the jails.
    fn make(place: &Place, commands: &Commands) -> Result<Self, DrillError> {
        let draw = || token().map_err(stage("draw a secret"));
        let part = |name: &str| make_dir(place.dir(), name).map_err(stage(format!("make {name}")));
        let mut ground = Ground::default();
        let parts = [("outside", "yard"), ("ro", "ro"), ("rw", "rw"), ("root", "root"), ("work", "work"), ("sockets", "sockets")];
        for (name, called) in parts {
            ground.set(called, place.path().join(name).to_string_lossy());
        }
        ground.set("stage", place.path().to_string_lossy());
        let (outside, read_only) = (part("outside")?, part("ro")?);
        for name in ["rw", "work", "sockets"] {
            part(name)?;
        }
        let socket = place.path().join("sockets/s");
        let listeners = Listeners::open(&socket, &draw()?[..12], &mut ground).map_err(stage("open its listeners"))?;
        let secrets = vec![("the operator's variable", commands.secret.1.clone()), ("the bystander's secret", draw()?)];
        let bystander = Bystander::start(&secrets[1].1).map_err(stage("start its bystander"))?;
        ground.set("bystander", bystander.pid().to_string());
        ground.set("drill", std::process::id().to_string());
        let (neighbour, report) = summon_neighbour(commands, &mut ground)?;
        Ok(Self { outside, read_only, listeners, bystander, secrets, ground, mark: draw()?, neighbour, report })
    }
}

impl Stage {
    /// Sets the stage below a directory for temporary files. What drills that died have left there is cleared first.
    ///
    /// # Errors
    /// Whatever cannot be made, and a canary that would not notice.
    pub fn set(request: &Request) -> Result<Self, DrillError> {
        let Request { temporary, interrupt, weakened, .. } = request;
        clear_left(temporary)?;
        let place = Place::make(temporary).map_err(stage("make its directory"))?;
        let secret = (OPERATOR_VARIABLE.to_owned(), token().map_err(stage("draw a secret"))?);
        let (root, work) = (place.path().join("root"), place.path().join("work"));
        let commands = Commands { root, work, secret, interrupt: Arc::clone(interrupt), json: true };
        match Parts::make(&place, &commands) {
            Ok(parts) => Ok(Self { place, commands, parts, plots: Mutex::default(), weakened: *weakened }),
            Err(error) => {
                clear(&place, &Commands { interrupt: Arc::default(), ..commands })?;
                Err(error)
            }
        }
    }

    pub(super) const fn place(&self) -> &Place {
        &self.place
    }

    pub(super) const fn commands(&self) -> &Commands {
        &self.commands
    }

    /// What the neighbour's cell was given by this machine's kernel: an attacker's cell is given the same.
    pub const fn report(&self) -> &Report {
        &self.parts.report
    }

    /// Furnishes what one attack has for itself, and says what its names stand for.
    ///
    /// # Errors
    /// Whatever cannot be made.
    pub fn furnish(&self, slot: usize) -> io::Result<Ground> {
        let name = format!("a{slot}");
        let outside = Plot::furnish(&self.parts.outside, &name, false)?;
        let read_only = Plot::furnish(&self.parts.read_only, &name, true)?;
        self.plots().insert(slot, (outside, read_only));
        let mut ground = self.parts.ground.clone();
        let below = |part: &str| format!("{}/{name}", ground.get(part).unwrap_or_default());
        let (outside, read_only) = (below("yard"), below("ro"));
        ground.set("outside", outside);
        ground.set("readonly", read_only);
        ground.set("stray", self.stray(slot));
        Ok(ground)
    }

    fn plots(&self) -> MutexGuard<'_, BTreeMap<usize, (Plot, Plot)>> {
        self.plots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A name that nobody else has, for what an attack may leave where all processes can find it.
    fn stray(&self, slot: usize) -> String {
        format!("drill-{}-{slot}", &self.parts.mark[..12])
    }

    /// Leaves a file where every attacker can read it, and none can change it. Returns its path.
    ///
    /// # Errors
    /// It could not be written.
    pub fn leave(&self, name: &str, content: &[u8]) -> io::Result<String> {
        yard::write(&self.parts.read_only, name, content, Mode::RUSR)?;
        Ok(format!("{}/{name}", self.parts.ground.get("ro").unwrap_or_default()))
    }

    /// Runs as [`Self::lazarus`] does, but for people: without `--json`.
    ///
    /// # Errors
    /// It could not be started.
    pub fn lazarus_for_people(&self, args: &[&str], within: Duration) -> io::Result<Told> {
        Commands { json: false, ..self.commands.clone() }.run(args, b"", within)
    }

    /// Options of `lazarus run` and `summon` for an attacker's cell.
    pub fn options(&self) -> Vec<String> {
        let mount = |name: &str, access: &str| {
            let path = self.parts.ground.get(name).unwrap_or_default();
            format!("--mount={path}:{path}:{access}")
        };
        let mut options = vec![mount("ro", "ro"), mount("rw", "rw"), format!("--env={MARK}={}", self.parts.mark)];
        if self.weakened {
            options.push(mount("yard", "rw"));
        }
        options
    }

    /// Runs a command of this very program in the stage's root, with `--json`.
    ///
    /// # Errors
    /// It could not be started.
    pub fn lazarus(&self, args: &[&str], input: &[u8], within: Duration) -> io::Result<Told> {
        self.commands.run(args, input, within)
    }

    /// What one attack has disturbed of its own: its secrets in what it wrote, and its files.
    pub fn disturbed(&self, slot: usize, wrote: &str) -> Vec<Disturbance> {
        let mut found = Vec::new();
        if let Some((outside, read_only)) = self.plots().get(&slot) {
            if wrote.contains(outside.secret()) {
                found.push(Disturbance::Leaked("a secret file outside".into()));
            }
            found.extend(outside.changed().map(|what| Disturbance::Changed(format!("{what}, outside of every grant,"))));
            found.extend(read_only.changed().map(|what| Disturbance::Changed(format!("{what}, granted for reading,"))));
        }
        for shared in ["/tmp", "/var/tmp", "/dev/shm"] {
            if ambient::is_left(Path::new(shared), &self.stray(slot)) {
                found.push(Disturbance::Changed(format!("{shared} of the machine")));
            }
        }
        found.extend(self.leaked(wrote));
        found
    }

    /// Secrets that belong to no attack in particular, in something that was written.
    pub fn leaked(&self, wrote: &str) -> Vec<Disturbance> {
        let own = self.parts.secrets.iter().map(|(what, secret)| (*what, secret.as_str()));
        let all = own.chain([("the neighbour's secret", self.parts.neighbour.secret.secret())]);
        all.filter(|(_, secret)| wrote.contains(secret)).map(|(what, _)| Disturbance::Leaked(what.to_owned())).collect()
    }

    /// What was disturbed of all that attacks have in common, since the last look: listeners, bystander, neighbour, survivors.
    pub fn disturbed_by_any(&self) -> Vec<Disturbance> {
        let mut found: Vec<Disturbance> = self.parts.listeners.reached().into_iter().map(Disturbance::Contacted).collect();
        found.extend(self.parts.bystander.touched().map(Disturbance::Touched));
        found.extend(self.parts.neighbour.secret.changed().map(|what| Disturbance::Changed(format!("{what}, in the neighbour's home,"))));
        found.extend(self.survivors().into_iter().map(|pid| Disturbance::Survived(format!("process {pid}"))));
        found
    }

    /// Processes of attackers' cells, which have ended, that live.
    pub fn survivors(&self) -> Vec<u32> {
        liveness::with_variable(MARK, &self.parts.mark).into_iter().map(|process| process.pid).collect()
    }

    /// Whether the neighbour still lives as it was summoned, and the registry is whole: what is not.
    pub fn final_look(&self) -> Vec<Disturbance> {
        let mut found = self.disturbed_by_any();
        let status = self.lazarus(&["status", &self.parts.neighbour.cell], b"", COMMAND_WITHIN);
        let state = status.ok().and_then(|told| told.value("cell")).and_then(|cell| cell.get("state").cloned());
        if state != Some(Value::from("active")) {
            found.push(Disturbance::Died(format!("the neighbour's cell ({})", state.unwrap_or_default())));
        }
        match self.lazarus(&["audit", "verify"], b"", COMMAND_WITHIN) {
            Ok(told) if told.code == Some(0) => {}
            Ok(told) => found.push(Disturbance::Changed(format!("the audit chain ({})", told.text("message")))),
            Err(error) => found.push(Disturbance::Died(format!("the registry ({error})"))),
        }
        found
    }

    /// Ends everything of the stage and removes it.
    ///
    /// # Errors
    /// Something is still there.
    pub fn clear(self) -> Result<(), DrillError> {
        let Self { place, commands, parts, .. } = self;
        // The bystander ends, and the listeners close.
        drop(parts);
        // An interruption ends the attacks, not the clearing.
        clear(&place, &Commands { interrupt: Arc::default(), ..commands })
    }
}

/// Destroys every cell of the stage's root, then removes its directory.
fn clear(place: &Place, commands: &Commands) -> Result<(), DrillError> {
    let left = |what: String| DrillError::Left { path: place.path().to_owned(), what };
    if commands.root.is_dir() {
        let listed = commands.run(&["status", "--all"], b"", COMMAND_WITHIN).map_err(stage("list its cells"))?;
        let cells = listed.value("active_cells").and_then(|list| list.as_array().cloned()).unwrap_or_default();
        let there = cells.iter().filter(|cell| cell.get("state").is_none_or(|state| state != "destroyed"));
        let ids: Vec<String> = there.filter_map(|cell| cell.get("cell_id")?.as_str().map(str::to_owned)).collect();
        for id in ids {
            let told = commands.run(&["destroy", &id, "--force"], b"", COMMAND_WITHIN).map_err(stage(format!("destroy {id}")))?;
            if told.code != Some(0) {
                return Err(left(format!("{id}: {}", told.text("message"))));
            }
        }
    }
    match place.remove().first() {
        Some(first) => Err(left(first.clone())),
        None => Ok(()),
    }
}

/// Clears what drills that were killed have left.
fn clear_left(temporary: &Path) -> Result<(), DrillError> {
    for place in Place::left(temporary).map_err(stage("look for what earlier drills left"))? {
        let commands = Commands {
            root: place.path().join("root"),
            work: place.path().to_owned(),
            secret: (OPERATOR_VARIABLE.to_owned(), String::new()),
            interrupt: Arc::default(),
            json: true,
        };
        clear(&place, &commands)?;
    }
    Ok(())
}

/// Runs a command that must succeed.
fn must(commands: &Commands, args: &[&str]) -> Result<Told, DrillError> {
    let told = commands.run(args, b"", COMMAND_WITHIN).map_err(stage(format!("run `lazarus {}`", args[0])))?;
    if told.code == Some(0) {
        return Ok(told);
    }
    let message = if told.stdout.is_empty() { told.stderr.clone() } else { told.text("message") };
    Err(DrillError::Command { command: args[0].to_owned(), message: crate::cell::text::one_line(&message, 500) })
}

/// Summons the neighbour, plants its secret, and learns where it is and what holds it.
fn summon_neighbour(commands: &Commands, ground: &mut Ground) -> Result<(Neighbour, Report), DrillError> {
    let with = ["summon", "neighbour", "drill", "--client", "--env=PATH=/nowhere", "--ttl", NEIGHBOUR_TTL];
    let rest = ["--on-expire", "destroy", "--", "lazarus", SUBCOMMAND, STAND, FOREVER];
    let told = must(commands, &[&with[..], &rest[..]].concat())?;
    let (cell, home) = (told.text("cell_id"), told.text("hermes_home"));
    let (dir, _) = ambient::open_named_dir(Path::new(&home)).map_err(stage("open the neighbour's home"))?;
    let secret = Plot::furnish(&dir, "drill", false).map_err(stage("plant the neighbour's secret"))?;
    let status = must(commands, &["status", &cell])?;
    let number = |value: Option<&Value>| value.and_then(Value::as_u64).map(|pid| pid.to_string()).unwrap_or_default();
    let record = status.value("cell").unwrap_or_default();
    ground.set("warden", number(record.get("warden").and_then(|warden| warden.get("pid"))));
    ground.set("neighbour", number(told.value("pid").as_ref()));
    ground.set("neighbour-home", format!("{home}/drill"));
    ground.set("neighbour-cell", &cell);
    let explained = must(commands, &["explain", &cell])?;
    let agents = explained.value("agents").unwrap_or_default();
    let enforcement = agents.get(0).and_then(|agent| agent.get("enforcement")).cloned().unwrap_or_default();
    let report = serde_json::from_value(enforcement).map_err(|error| stage("read the neighbour's report")(io::Error::from(error)))?;
    Ok((Neighbour { cell, secret }, report))
}
