//! What was granted to one agent: everything not named here is denied.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use super::Limits;
use crate::cell::text::quoted;

/// Bytes of a variable's name and value together, well below the kernel's limit of 128 KiB for one string.
const VARIABLE_MOST_BYTES: usize = 64 * 1024;
/// Bytes of a guest path: PATH_MAX of Linux, less room for what the guest appends.
const GUEST_PATH_MOST_BYTES: usize = 1024;

/// What programs need to run at all: what every process agent may read, where nothing else is named. Those that a machine does not have are left out.
/// Nothing of `/etc` that names people, hosts or secrets is among them.
pub const READ_BY_DEFAULT: [&str; 14] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    // Not /etc/ssl itself: its `private` holds keys, and an agent that root summons is their owner.
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/localtime",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/alternatives",
    "/etc/nsswitch.conf",
];

/// Whether a mount may be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Read only.
    Ro,
    /// Read and write.
    Rw,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ro => "ro",
            Self::Rw => "rw",
        })
    }
}

/// Why a mount was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MountError {
    /// Not `HOST:GUEST[:ro|rw]`.
    #[error("parse mount {given:?}: write HOST:GUEST, HOST:GUEST:ro or HOST:GUEST:rw")]
    Form {
        /// What was given.
        given: String,
    },
    /// What follows the guest's path is no mode.
    #[error("accept mount mode {given:?}: it is ro or rw, in small letters")]
    Mode {
        /// What was given.
        given: String,
    },
    /// A host path as a shell would write it.
    #[error("accept host path {given:?}: '~' is not expanded here; write the whole path, or ./~ for what is called that")]
    Tilde {
        /// What was given.
        given: String,
    },
    /// The guest's path is not a plain absolute path.
    #[error("accept guest path {given:?}: it must be absolute, without empty, '.' or '..' parts")]
    GuestPath {
        /// What was given.
        given: String,
    },
}

/// A path as the guest sees it: absolute, in plain parts, without `.` and `..`; `/` only in a bare run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GuestPath(String);

impl GuestPath {
    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path as a path.
    pub fn as_path(&self) -> &Path {
        Path::new(&self.0)
    }
}

impl TryFrom<String> for GuestPath {
    type Error = MountError;

    fn try_from(given: String) -> Result<Self, Self::Error> {
        let refuse = || MountError::GuestPath { given: quoted(&given, 80) };
        let text = if given.len() > 1 { given.strip_suffix('/').unwrap_or(&given) } else { given.as_str() };
        let plain = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.chars().any(char::is_control);
        let parts = text.strip_prefix('/').ok_or_else(refuse)?;
        if text.len() > GUEST_PATH_MOST_BYTES || (text != "/" && !parts.split('/').all(plain)) {
            return Err(refuse());
        }
        Ok(Self(text.to_owned()))
    }
}

impl From<GuestPath> for String {
    fn from(path: GuestPath) -> Self {
        path.0
    }
}

impl fmt::Display for GuestPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Whether a shell would make another path of this one: `~`, `~/x`, `~alice/x`. Nothing here does.
pub fn is_of_a_shell(path: &str) -> bool {
    path.starts_with('~')
}

/// A directory or file of the machine that an agent sees at a path of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// The path on the machine. As given on the command line; absolute once resolved.
    pub host: PathBuf,
    /// The path that the agent sees.
    pub guest: GuestPath,
    /// Whether it may be written to.
    pub access: Access,
}

impl FromStr for Mount {
    type Err = MountError;

    /// Parses `HOST:GUEST[:ro|rw]`; read-only unless it says otherwise. A host path may itself contain colons.
    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let form = || MountError::Form { given: quoted(given, 120) };
        let (rest, access) = match given.rsplit_once(':') {
            Some((rest, "ro")) => (rest, Access::Ro),
            Some((rest, "rw")) => (rest, Access::Rw),
            _ => (given, Access::Ro),
        };
        let (host, guest) = rest.rsplit_once(':').ok_or_else(form)?;
        if host.is_empty() || guest.is_empty() {
            return Err(form());
        }
        // Two paths were there already: what follows them cannot be a third.
        if !guest.starts_with('/') && host.rsplit_once(':').is_some_and(|(host, guest)| !host.is_empty() && guest.starts_with('/')) {
            return Err(MountError::Mode { given: quoted(guest, 40) });
        }
        if is_of_a_shell(host) {
            return Err(MountError::Tilde { given: quoted(host, 80) });
        }
        Ok(Self { host: PathBuf::from(host), guest: guest.to_owned().try_into()?, access })
    }
}

/// Why a variable was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvError {
    /// Not `NAME=VALUE`, or a name that no shell could set.
    #[error("accept variable {name:?}: a name is letters, digits and '_', and does not start with a digit")]
    Name {
        /// The name given, bounded.
        name: String,
    },
    /// A value with a NUL byte, or too long.
    #[error("accept variable {name}: its value has a NUL byte, or is longer than 64 KiB")]
    Value {
        /// The name.
        name: String,
    },
    /// A name that was given twice.
    #[error("accept variable {name} twice: say which value it has")]
    Twice {
        /// The name.
        name: String,
    },
    /// A name that Lazarus sets itself.
    #[error("accept variable {name}: Lazarus sets it for every agent, so that it points into the cell")]
    Reserved {
        /// The name.
        name: String,
    },
    /// A name of Lazarus' own.
    #[error("accept variable {name}: names that begin with LAZARUS_ are for what Lazarus tells an agent")]
    Own {
        /// The name.
        name: String,
    },
    /// A name that the dynamic loader obeys.
    #[error(
        "accept variable {name}: the loader obeys LD_ variables before a program's own code runs, and they could bring other code into it"
    )]
    Loader {
        /// The name.
        name: String,
    },
    /// A name that says where a program is.
    #[error("accept variable {name}: it says where a program is, which is in its cell")]
    Place {
        /// The name.
        name: String,
    },
}

/// Variables that the cell itself decides; letting a grant change them would point an agent out of its cell.
const RESERVED: [&str; 9] = [
    "HERMES_HOME",
    "HOME",
    "TMPDIR",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_RUNTIME_DIR",
    "XDG_STATE_HOME",
    "HERMES_GATEWAY_LOCK_DIR",
];

/// Checks one variable that was asked for.
///
/// # Errors
/// A name or value that cannot be set, or (unless `bare`) one that the cell decides itself.
pub fn validate_variable(name: &str, value: &str, bare: bool) -> Result<(), EnvError> {
    let bounded = || quoted(name, 40);
    let shaped = name.bytes().enumerate().all(|(i, b)| b == b'_' || b.is_ascii_alphabetic() || (i > 0 && b.is_ascii_digit()));
    if name.is_empty() || !shaped {
        return Err(EnvError::Name { name: bounded() });
    }
    if value.contains('\0') || name.len() + value.len() > VARIABLE_MOST_BYTES {
        return Err(EnvError::Value { name: bounded() });
    }
    match name {
        _ if bare => Ok(()),
        "PWD" | "OLDPWD" => Err(EnvError::Place { name: bounded() }),
        _ if name.starts_with("LD_") => Err(EnvError::Loader { name: bounded() }),
        _ if name.starts_with("LAZARUS_") => Err(EnvError::Own { name: bounded() }),
        _ if RESERVED.contains(&name) => Err(EnvError::Reserved { name: bounded() }),
        _ => Ok(()),
    }
}

/// What was granted to one agent. [`Policy::default`] grants nothing but the default limits:
/// no variable, no path outside its home, no mount, no network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Variables beyond those that the cell sets.
    pub env: BTreeMap<String, String>,
    /// Paths of the machine that a process agent may read and execute from. Absolute. A wasm guest has no use for them.
    pub read: Vec<PathBuf>,
    /// Mounts, in the order given; a later one shadows an earlier one.
    pub mounts: Vec<Mount>,
    /// Whether a process agent may run this program, to speak with its cell from a shell.
    #[serde(default)]
    pub client: bool,
    /// Limits.
    pub limits: Limits,
    /// Whether the operator accepts that the machine's kernel cannot enforce everything.
    pub accept_degraded: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_read_only_unless_they_say_otherwise() {
        let mount: Mount = "./project:/project".parse().expect("a mount");
        assert_eq!((mount.host.as_path(), mount.guest.as_str(), mount.access), (Path::new("./project"), "/project", Access::Ro));
        let mount: Mount = "/a:b:/c/d:rw".parse().expect("a mount");
        assert_eq!((mount.host.as_path(), mount.guest.as_str(), mount.access), (Path::new("/a:b"), "/c/d", Access::Rw));
        for text in ["", "/a", ":/a", "/a:", "/a:relative", "/a:/b/../c", "/a://b", "/a:/b/./c", "/a:/\u{1b}[2J"] {
            assert!(text.parse::<Mount>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_was_probably_meant_is_said() {
        for (mount, says) in [
            ("d:/m:RW", "it is ro or rw, in small letters"),
            ("d:/m:w", "it is ro or rw, in small letters"),
            ("d:m", "it must be absolute"),
            ("d:/m:", "write HOST:GUEST"),
            ("~/x:/m", "'~' is not expanded here"),
            ("~:/m:rw", "'~' is not expanded here"),
        ] {
            let refused = mount.parse::<Mount>().map_err(|error| error.to_string());
            assert!(refused.as_ref().is_err_and(|said| said.contains(says)), "{mount}: {refused:?}");
        }
        assert!("./~:/m".parse::<Mount>().is_ok() && "/a:/b:/m:rw".parse::<Mount>().is_ok());
    }

    #[test]
    fn variables_that_point_out_of_the_cell_are_reserved() {
        assert_eq!(validate_variable("LANG", "C.UTF-8", false), Ok(()));
        for (name, why) in [
            ("HERMES_HOME", "Lazarus sets it"),
            ("HOME", "Lazarus sets it"),
            ("LD_PRELOAD", "the loader obeys"),
            ("LAZARUS_CELL", "begin with LAZARUS_"),
            ("PWD", "where a program is"),
        ] {
            let refused = validate_variable(name, "x", false).map_err(|error| error.to_string());
            assert!(refused.as_ref().is_err_and(|said| said.contains(why)), "{name}: {refused:?}");
            assert_eq!(validate_variable(name, "x", true), Ok(()), "{name}, bare");
        }
        for name in ["", "1A", "A-B", "A B", "Ä"] {
            assert!(matches!(validate_variable(name, "x", false), Err(EnvError::Name { .. })), "{name}");
        }
        assert!(matches!(validate_variable("A", "\0", false), Err(EnvError::Value { .. })));
    }
}
