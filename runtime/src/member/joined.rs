//! What a person keeps of the cells that they joined: `$XDG_STATE_HOME/lazarus/joined/<cell>.json`, for their eyes only.

use std::{ffi::OsString, io};

use serde::{Deserialize, Serialize};

use crate::{
    cell::{CellId, Identity, Role},
    home::ambient,
    mail::Secret,
};

/// Bytes of one record: a few short words and a secret.
const RECORD_MOST_BYTES: u64 = 4096;

/// A cell that somebody joined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    /// The cell.
    pub cell: CellId,
    /// The user id of its operator.
    pub uid: u32,
    /// Who this person is there.
    pub identity: Identity,
    /// As what, when they joined.
    pub role: Role,
    /// What they come back with.
    pub session: Secret,
}

fn name(cell: &CellId) -> String {
    format!("{cell}.json")
}

/// Makes sure that something can be kept: to be asked before a token is used up.
///
/// # Errors
/// No such place, or it cannot be written to.
pub fn ready(variable: impl Fn(&str) -> Option<OsString>) -> io::Result<()> {
    ambient::open_joined(variable, true).map(drop)
}

/// Keeps a cell that was joined, in the place of what was kept of it before.
///
/// # Errors
/// What the system says.
pub fn keep(joined: &Joined, variable: impl Fn(&str) -> Option<OsString>) -> io::Result<()> {
    let Some(dir) = ambient::open_joined(variable, true)? else { return Err(io::ErrorKind::NotFound.into()) };
    crate::home::replace_file(&dir, &name(&joined.cell), &serde_json::to_vec(joined)?)
}

/// What was kept of a cell; `None` where it was not joined.
///
/// # Errors
/// It cannot be read, or is no such record.
pub fn find(cell: &CellId, variable: impl Fn(&str) -> Option<OsString>) -> io::Result<Option<Joined>> {
    let Some(dir) = ambient::open_joined(variable, false)? else { return Ok(None) };
    match crate::home::read_file(&dir, name(cell).as_str(), RECORD_MOST_BYTES) {
        Ok(json) => Ok(Some(serde_json::from_slice(&json)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Forgets a cell: its session is over.
///
/// # Errors
/// What the system says. One that is forgotten already is no error.
pub fn forget(cell: &CellId, variable: impl Fn(&str) -> Option<OsString>) -> io::Result<()> {
    let Some(dir) = ambient::open_joined(variable, false)? else { return Ok(()) };
    match dir.remove_file(name(cell)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_kept_comes_back_and_is_private() {
        let home = tempfile::tempdir().expect("a directory");
        let variable = |name: &str| (name == "HOME").then(|| home.path().into());
        let cell = CellId::from_bits(1);
        assert_eq!(find(&cell, variable).expect("nothing"), None);
        assert!(!home.path().join(".local").exists(), "looking makes nothing");
        ready(variable).expect("ready");
        let joined = Joined {
            cell: cell.clone(),
            uid: 7,
            identity: "human:alice".parse().expect("an identity"),
            role: Role::Observer,
            session: Secret::draw().expect("drawn"),
        };
        keep(&joined, variable).expect("kept");
        keep(&joined, variable).expect("kept again");
        assert_eq!(find(&cell, variable).expect("read"), Some(joined));
        let dir = home.path().join(".local/state/lazarus/joined");
        let mode = |path: &std::path::Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode(&dir), mode(&dir.join("laz-00000001.json"))), (0o700, 0o600));
        forget(&cell, variable).expect("forgotten");
        forget(&cell, variable).expect("forgotten already");
        assert_eq!(find(&cell, variable).expect("nothing"), None);
        assert!(find(&cell, |_| None).expect("nowhere").is_none());
        assert!(ready(|_| None).is_err());
    }
}
