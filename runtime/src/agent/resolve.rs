//! Two keys: what the definition asks for, and what the operator's word allows, become one policy.

use std::{
    collections::BTreeSet,
    path::{Component, Path, PathBuf},
};

use super::{
    definition::{DefinedProgram, Definition},
    limits::{LimitError, set_limit},
};
use crate::policy::{EnvError, GuestPath, LimitsError, Mount, Overlap, Policy, overlap, validate_variable};

/// Mounts of one agent, all together: each is a descriptor and a rule of the jail.
const MOST_MOUNTS: usize = 256;
/// Bytes of all variables together: the kernel passes at most a quarter of the stack's limit, 2 MiB by default.
const ENVIRONMENT_MOST_BYTES: usize = 1024 * 1024;

/// What the operator grants and sets on the command line. The default grants nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Variables (`--env NAME=VALUE`); they win over the definition's.
    pub env: Vec<(String, String)>,
    /// Paths that a process agent may read and execute from (`--read PATH`).
    pub read: Vec<PathBuf>,
    /// Mounts (`--mount`), after the definition's; one at the same guest path replaces it.
    pub mounts: Vec<Mount>,
    /// Limits by name (`--memory 64MiB`); they win over the definition's, in either direction.
    pub limits: Vec<(String, String)>,
    /// Whether a process agent gets the client (`--client`).
    pub client: bool,
    /// Whether to go on where the kernel cannot enforce everything.
    pub accept_degraded: bool,
    /// Nothing but what the command line names: no definition, and no names that the cell keeps for itself.
    pub bare: bool,
}

/// Why a definition and options make no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// A variable.
    #[error(transparent)]
    Env(#[from] EnvError),
    /// Variables too large for the kernel to pass on.
    #[error("accept the environment: it is larger than 1 MiB")]
    EnvironmentTooLarge,
    /// A limit's name or value.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// A limit out of its range.
    #[error(transparent)]
    Limits(#[from] LimitsError),
    /// A mount where the cell has its own.
    #[error("accept a mount at {0}: the cell has its own there; choose another path, such as /project")]
    OwnPlace(String),
    /// Mounts that contradict each other.
    #[error(transparent)]
    Overlap(#[from] Overlap),
    /// Too many mounts.
    #[error("accept {0} mounts: the most is 256")]
    Mounts(usize),
    /// A path to read that is not absolute, or the whole machine.
    #[error("accept read path {0:?}: it must be absolute, below '/', without '..', and not /run, where the cell has its own")]
    Read(PathBuf),
    /// Something that is for agents of the other backend.
    #[error("accept {key} for agent {agent}: it {why}")]
    Unfit {
        /// The agent.
        agent: String,
        /// What was asked for, as definitions and command lines call it.
        key: &'static str,
        /// Why it is of no use, behind "it".
        why: &'static str,
    },
    /// A definition in a bare run.
    #[error("run {0} bare: a bare run has no definition")]
    BareDefinition(String),
}

/// Where the cell itself puts something: what is mounted there would hide it.
const OWN_PLACES: [&str; 3] = ["/", "/home", "/run"];
/// Trees of which all is the cell's: what the team shares, what belongs to the cell's talk, and what a kernel shows.
const OWN_TREES: [&str; 5] = ["/shared", "/run/lazarus", "/proc", "/sys", "/dev"];
/// Where a wasm guest sees its home: a mount below it would hide a part of that.
const WASM_HOME: &str = "/home";

/// Whether the cell has its own at a guest path. `wasm`: also a home at `/home`; that of a process agent is elsewhere.
pub fn is_own_place(guest: &GuestPath, wasm: bool) -> bool {
    let path = guest.as_path();
    OWN_PLACES.contains(&guest.as_str()) || OWN_TREES.iter().any(|tree| path.starts_with(tree)) || (wasm && path.starts_with(WASM_HOME))
}

/// Whether a path may be asked for to be read: absolute, below `/`, without `..`, and not /run, where the cell has its own.
pub(super) fn is_readable_path(path: &Path) -> bool {
    let plain = |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
    path.is_absolute() && path.components().all(plain) && path != Path::new("/") && path != Path::new("/run")
}

/// Makes the policy of an agent. Nothing is in it that is neither in the definition, which the operator installed, nor in the
/// options. Host paths stay as they are written: [`crate::home::Sources`] has the last word on them.
///
/// # Errors
/// The first thing that is not accepted.
pub fn resolve(definition: Option<&Definition>, options: &Options) -> Result<Policy, ResolveError> {
    if let (Some(definition), true) = (definition, options.bare) {
        return Err(ResolveError::BareDefinition(definition.name.to_string()));
    }
    let mut policy = definition.map_or_else(Policy::default, |definition| Policy {
        env: definition.env.clone(),
        read: definition.read.clone(),
        mounts: definition.mounts.clone(),
        client: definition.client,
        limits: definition.limits.clone(),
        accept_degraded: false,
    });
    let mut typed = BTreeSet::new();
    for (name, value) in &options.env {
        validate_variable(name, value, options.bare)?;
        if !typed.insert(name) {
            return Err(EnvError::Twice { name: name.clone() }.into());
        }
        policy.env.insert(name.clone(), value.clone());
    }
    if policy.env.iter().map(|(name, value)| name.len() + value.len() + 2).sum::<usize>() > ENVIRONMENT_MOST_BYTES {
        return Err(ResolveError::EnvironmentTooLarge);
    }
    for path in &options.read {
        if !is_readable_path(path) {
            return Err(ResolveError::Read(path.clone()));
        }
        if !policy.read.contains(path) {
            policy.read.push(path.clone());
        }
    }
    if !options.bare {
        // What is typed replaces what the definition has at the same place; of two that are typed, neither is meant.
        policy.mounts.retain(|other| options.mounts.iter().all(|mount| mount.guest != other.guest));
    }
    policy.mounts.extend(options.mounts.iter().cloned());
    if policy.mounts.len() > MOST_MOUNTS {
        return Err(ResolveError::Mounts(policy.mounts.len()));
    }
    let wasm = definition.is_some_and(|definition| matches!(definition.program, DefinedProgram::Component { .. }));
    // In a bare run, a later mount is seen in place of an earlier one: nothing of the cell's is there, and the order says what is meant.
    if !options.bare {
        if let Some(mount) = policy.mounts.iter().find(|mount| is_own_place(&mount.guest, wasm)) {
            return Err(ResolveError::OwnPlace(mount.guest.to_string()));
        }
        if let Some((_, overlap)) = overlap(&policy.mounts) {
            return Err(overlap.into());
        }
    }
    policy.client |= options.client;
    for (name, value) in &options.limits {
        set_limit(&mut policy.limits, name, value)?;
    }
    policy.limits.check()?;
    policy.accept_degraded = options.accept_degraded;
    Ok(policy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{ByteSize, Limits};

    fn definition(text: &str) -> Definition {
        Definition::parse("agent.toml", text.as_bytes()).expect("a definition")
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn mounts(texts: &[&str]) -> Vec<Mount> {
        texts.iter().map(|text| text.parse().expect("a mount")).collect()
    }

    const SCRIBE: &str = r#"
        [agent]
        name = "scribe"
        command = ["scribe"]
        [grants]
        env = { LANG = "de_DE.UTF-8", MODE = "quiet" }
        read = ["/usr"]
        mounts = [{ host = "project", guest = "/project" }]
        [limits]
        memory = "64MiB"
    "#;

    #[test]
    fn nothing_asked_for_is_nothing_granted() {
        assert_eq!(resolve(None, &Options::default()), Ok(Policy::default()));
        let keeper = definition("[agent]\nname = \"k\"");
        assert_eq!(resolve(Some(&keeper), &Options::default()), Ok(Policy::default()));
        let policy = Policy::default();
        assert!(policy.env.is_empty() && policy.read.is_empty() && policy.mounts.is_empty() && !policy.accept_degraded);
    }

    #[test]
    fn the_definition_asks_and_the_operator_adds_and_overrides() {
        let scribe = definition(SCRIBE);
        let options = Options {
            env: pairs(&[("MODE", "loud"), ("EXTRA", "1")]),
            read: vec!["/opt/scribe".into(), "/usr".into()],
            mounts: mounts(&["/other:/project:rw", "/data:/data"]),
            limits: pairs(&[("memory", "32MiB"), ("cpu", "5s")]),
            client: true,
            accept_degraded: true,
            bare: false,
        };
        let policy = resolve(Some(&scribe), &options).expect("a policy");
        let env: Vec<_> = policy.env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(env, [("EXTRA", "1"), ("LANG", "de_DE.UTF-8"), ("MODE", "loud")]);
        assert_eq!(policy.read, [PathBuf::from("/usr"), PathBuf::from("/opt/scribe")]);
        assert_eq!(policy.mounts, mounts(&["/other:/project:rw", "/data:/data"]));
        assert_eq!(policy.limits.memory, ByteSize::mib(32));
        assert_eq!(policy.limits.home, Limits::default().home);
        assert!(policy.accept_degraded && policy.client);
    }

    #[test]
    fn what_is_not_accepted() {
        let scribe = definition(SCRIBE);
        let with = |change: fn(&mut Options)| {
            let mut options = Options::default();
            change(&mut options);
            resolve(Some(&scribe), &options)
        };
        let cases: [(&str, Result<Policy, ResolveError>); 16] = [
            ("accept variable A twice", with(|options| options.env = pairs(&[("A", "1"), ("A", "1")]))),
            ("accept a second mount at /x", with(|options| options.mounts = mounts(&["/a:/x", "/b:/x"]))),
            ("accept /a read-only beside /a read-write", with(|options| options.mounts = mounts(&["/a:/x", "/a:/y:rw"]))),
            ("accept /project/x (rw) inside of /project (ro)", with(|options| options.mounts = mounts(&["/x:/project/x:rw"]))),
            ("accept a mount at /shared/x", with(|options| options.mounts = mounts(&["/x:/shared/x"]))),
            ("accept a mount at /dev/x", with(|options| options.mounts = mounts(&["/x:/dev/x"]))),
            ("accept variable HOME", with(|options| options.env = pairs(&[("HOME", "/root")]))),
            ("accept variable LD_PRELOAD", with(|options| options.env = pairs(&[("LD_PRELOAD", "x.so")]))),
            ("accept variable \"A=B\"", with(|options| options.env = pairs(&[("A=B", "")]))),
            ("accept a mount at /home", with(|options| options.mounts = mounts(&["/x:/home"]))),
            ("accept a mount at /", with(|options| options.mounts = mounts(&["/x:/"]))),
            ("accept read path \"/\"", with(|options| options.read = vec!["/".into()])),
            ("accept read path \"/usr/../root\"", with(|options| options.read = vec!["/usr/../root".into()])),
            ("set limit \"fuel\"", with(|options| options.limits = pairs(&[("fuel", "1")]))),
            ("accept limit stack = 64 MiB", with(|options| options.limits = pairs(&[("stack", "64MiB")]))),
            ("run scribe bare", with(|options| options.bare = true)),
        ];
        for (start, outcome) in cases {
            let error = outcome.expect_err(start).to_string();
            assert!(error.starts_with(start), "{error}");
        }
        let much = Options { env: (0..20).map(|i| (format!("V{i}"), "x".repeat(60_000))).collect(), ..Options::default() };
        assert_eq!(resolve(None, &much), Err(ResolveError::EnvironmentTooLarge));
        let many = Options { mounts: (0..257).map(|i| format!("/x:/m{i}").parse().expect("a mount")).collect(), ..Options::default() };
        assert_eq!(resolve(None, &many), Err(ResolveError::Mounts(257)));
    }

    #[test]
    fn a_bare_run_has_what_the_command_line_names_in_its_order() {
        let options =
            Options { env: pairs(&[("HOME", "/")]), mounts: mounts(&["/a:/", "/b:/home", "/c:/"]), bare: true, ..Options::default() };
        let policy = resolve(None, &options).expect("a policy");
        assert_eq!(policy.mounts, options.mounts);
        assert_eq!(policy.env.len(), 1);
    }
}
