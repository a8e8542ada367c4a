//! For plain programs: the cell that this program runs in, as its environment describes it.
//!
//! A plain program (`fn main`, or `wasi:cli/run`) lives until it ends. It has no messages and no events, and is told about its cell by
//! environment variables and a heartbeat file; it is the same for `wasm32-wasip2` and for a native build.
//!
//! | variable | what it holds | without it |
//! |---|---|---|
//! | `HERMES_HOME` | the agent's own home, read-write | the role has no home (auditor), or the run is bare |
//! | `LAZARUS_CELL` | the cell's id | the program does not run in a cell |
//! | `LAZARUS_AGENT` | the agent's name in the cell | the same |
//! | `LAZARUS_ROLE` | its role, which decides what it may write | the same |
//! | `LAZARUS_PROJECT` | the project's name: a label, no path | the same |
//! | `LAZARUS_SHARED` | what the members of a team share | nobody shares |
//! | `LAZARUS_HEARTBEAT` | the file whose age is the agent's last sign of life | nobody watches |
//!
//! ```
//! use lazarus_guest::plain::Cell;
//!
//! match Cell::from_env() {
//!     Ok(cell) => {
//!         println!("{} works on {} as {}", cell.agent(), cell.project(), cell.role());
//!         cell.beat().expect("the heartbeat file is in the agent's own home");
//!     }
//!     Err(outside) => eprintln!("{outside}"),
//! }
//! ```

use std::{
    error::Error,
    ffi::OsString,
    fmt, fs, io,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{Role, RoleError};

/// The names of the variables that Lazarus sets for every agent.
pub mod variable {
    /// The agent's own home.
    pub const HOME: &str = "HERMES_HOME";
    /// The cell's id.
    pub const CELL: &str = "LAZARUS_CELL";
    /// The agent's name.
    pub const AGENT: &str = "LAZARUS_AGENT";
    /// The agent's role.
    pub const ROLE: &str = "LAZARUS_ROLE";
    /// The project's name.
    pub const PROJECT: &str = "LAZARUS_PROJECT";
    /// What the members of a team share.
    pub const SHARED: &str = "LAZARUS_SHARED";
    /// The heartbeat file.
    pub const HEARTBEAT: &str = "LAZARUS_HEARTBEAT";
}

/// Why the environment does not describe a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CellError {
    /// A variable that every cell sets is absent or empty: the program was not started by Lazarus, or runs bare.
    Missing(&'static str),
    /// A variable that names something is not text.
    NotText(&'static str),
    /// The role is not one that this SDK knows.
    Role(RoleError),
}

impl fmt::Display for CellError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(name) => write!(f, "find the cell: {name} is not set, so this program does not run in one"),
            Self::NotText(name) => write!(f, "read {name}: it is not valid UTF-8"),
            Self::Role(_) => write!(f, "read {}", variable::ROLE),
        }
    }
}

impl Error for CellError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Missing(_) | Self::NotText(_) => None,
            Self::Role(error) => Some(error),
        }
    }
}

/// What an agent knows about its cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    id: String,
    agent: String,
    role: Role,
    project: String,
    home: Option<PathBuf>,
    shared: Option<PathBuf>,
    heartbeat: Option<PathBuf>,
}

impl Cell {
    /// Reads the cell from the environment of this program.
    ///
    /// # Errors
    /// The first variable that is missing or cannot be read; a program that also runs outside of cells treats that as "no cell".
    pub fn from_env() -> Result<Self, CellError> {
        Self::from_vars(std::env::var_os)
    }

    /// Reads the cell from any source of variables, so that an agent can be tested without touching its environment.
    ///
    /// # Errors
    /// As [`Cell::from_env`].
    pub fn from_vars(var: impl Fn(&'static str) -> Option<OsString>) -> Result<Self, CellError> {
        let given = |name| var(name).filter(|value| !value.is_empty());
        let text = |name| given(name).ok_or(CellError::Missing(name))?.into_string().map_err(|_| CellError::NotText(name));
        Ok(Self {
            id: text(variable::CELL)?,
            agent: text(variable::AGENT)?,
            role: text(variable::ROLE)?.parse().map_err(CellError::Role)?,
            project: text(variable::PROJECT)?,
            home: given(variable::HOME).map(PathBuf::from),
            shared: given(variable::SHARED).map(PathBuf::from),
            heartbeat: given(variable::HEARTBEAT).map(PathBuf::from),
        })
    }

    /// Returns the cell's id, such as `laz-0a1b2c3d`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the agent's own name in the cell.
    pub fn agent(&self) -> &str {
        &self.agent
    }

    /// Returns the agent's role.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Returns the project's name; it is a label, and says nothing about paths.
    pub fn project(&self) -> &str {
        &self.project
    }

    /// Returns the agent's home: the one place that outlives the run. `None` for roles without one.
    pub fn home(&self) -> Option<&Path> {
        self.home.as_deref()
    }

    /// Returns what the members of a team share. `None` where nobody shares; [`Role::writes_shared`] says whether it may be written to.
    pub fn shared(&self) -> Option<&Path> {
        self.shared.as_deref()
    }

    /// Gives a sign of life: `lazarus status` shows the age of the last one.
    ///
    /// The file's time of change is what counts; for human readers it also holds the time, in seconds since 1970. Without
    /// `LAZARUS_HEARTBEAT` nobody watches, and this does nothing.
    ///
    /// # Errors
    /// The file cannot be written, for instance because the home's quota is used up.
    pub fn beat(&self) -> io::Result<()> {
        let Some(file) = &self.heartbeat else { return Ok(()) };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        fs::write(file, format!("{now}\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vars<'a>(pairs: &'a [(&'a str, &'a str)]) -> impl Fn(&'static str) -> Option<OsString> + 'a {
        move |name| pairs.iter().find(|(given, _)| *given == name).map(|(_, value)| OsString::from(value))
    }

    const COMPLETE: [(&str, &str); 7] = [
        ("HERMES_HOME", "/home"),
        ("LAZARUS_CELL", "laz-0a1b2c3d"),
        ("LAZARUS_AGENT", "scribe"),
        ("LAZARUS_ROLE", "observer"),
        ("LAZARUS_PROJECT", "demo"),
        ("LAZARUS_SHARED", "/shared"),
        ("LAZARUS_HEARTBEAT", "/home/heartbeat"),
    ];

    #[test]
    fn a_complete_environment_is_a_cell() -> Result<(), CellError> {
        let cell = Cell::from_vars(vars(&COMPLETE))?;
        assert_eq!((cell.id(), cell.agent(), cell.role(), cell.project()), ("laz-0a1b2c3d", "scribe", Role::Observer, "demo"));
        assert_eq!((cell.home(), cell.shared()), (Some(Path::new("/home")), Some(Path::new("/shared"))));
        Ok(())
    }

    #[test]
    fn each_missing_or_empty_name_is_named() {
        for name in ["LAZARUS_CELL", "LAZARUS_AGENT", "LAZARUS_ROLE", "LAZARUS_PROJECT"] {
            let without: Vec<_> = COMPLETE.into_iter().filter(|(given, _)| *given != name).collect();
            assert_eq!(Cell::from_vars(vars(&without)), Err(CellError::Missing(name)));
            let empty: Vec<_> = COMPLETE.into_iter().map(|(given, value)| (given, if given == name { "" } else { value })).collect();
            assert_eq!(Cell::from_vars(vars(&empty)), Err(CellError::Missing(name)));
        }
    }

    #[test]
    fn an_unknown_role_is_refused_and_not_guessed() {
        let odd: Vec<_> =
            COMPLETE.into_iter().map(|(given, value)| (given, if given == "LAZARUS_ROLE" { "king" } else { value })).collect();
        assert!(matches!(Cell::from_vars(vars(&odd)), Err(CellError::Role(_))));
    }

    #[test]
    fn home_and_shared_may_be_absent() -> Result<(), CellError> {
        let cell = Cell::from_vars(vars(&COMPLETE[1..5]))?;
        assert_eq!((cell.home(), cell.shared()), (None, None));
        assert!(cell.beat().is_ok(), "nobody watches");
        Ok(())
    }

    #[test]
    fn a_beat_makes_the_file_and_renews_it() -> Result<(), Box<dyn Error>> {
        let file = std::env::temp_dir().join(format!("lazarus-guest-beat-{}", std::process::id()));
        let path = file.to_str().ok_or("the temporary directory is text")?.to_owned();
        let mut pairs = COMPLETE.to_vec();
        pairs[6].1 = &path;
        let cell = Cell::from_vars(vars(&pairs))?;

        cell.beat()?;
        let long_ago = UNIX_EPOCH + std::time::Duration::from_secs(1);
        fs::File::options().write(true).open(&file)?.set_modified(long_ago)?;
        cell.beat()?;
        let renewed = fs::metadata(&file)?.modified()?;
        let text = fs::read_to_string(&file)?;
        fs::remove_file(&file)?;
        assert!(renewed > long_ago);
        assert!(text.trim_end().parse::<u64>()? > 1);
        Ok(())
    }

    #[test]
    fn a_beat_that_cannot_be_written_is_an_error() -> Result<(), CellError> {
        let mut pairs = COMPLETE.to_vec();
        pairs[6].1 = "/nonexistent/heartbeat";
        assert!(Cell::from_vars(vars(&pairs))?.beat().is_err());
        Ok(())
    }
}
