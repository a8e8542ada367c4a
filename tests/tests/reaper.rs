//! Which program the reapers of an installation are: the small one beside `lazarus`; and where that is not there, or others could have put it
//! there, `lazarus` itself.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use lazarus_tests::{
    Lab,
    lab::{binary, text},
};
use serde_json::Value;

const SMALL: &str = "lazarus-jail";

/// An installation of its own.
struct Installed {
    lab: Lab,
    place: tempfile::TempDir,
}

impl Installed {
    /// Both programs, or `lazarus` alone.
    fn new(both: bool) -> Self {
        let place = tempfile::Builder::new().prefix("lazarus-installed-").tempdir().expect("a directory");
        let installed = Self { lab: Lab::new(), place };
        fs::copy(binary(), installed.path("lazarus")).expect("copied");
        if both {
            let small = binary().with_file_name(SMALL);
            fs::copy(&small, installed.path(SMALL)).unwrap_or_else(|error| panic!("{}: {error}: run `cargo build`", small.display()));
        }
        installed
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn mode(&self, path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set");
    }

    /// What a command of this installation says.
    fn json(&self, args: &[&str]) -> Value {
        let asked = self.lab.command(args);
        let mut command = Command::new(self.path("lazarus"));
        command.arg("--json").args(asked.get_args()).env_clear().current_dir(self.lab.work());
        command.envs(asked.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let output = command.output().expect("started");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    }

    fn summon(&self) -> String {
        text(&self.json(&["summon", "probe", "demo", "--", "sleep", "1000"])["cell_id"])
    }

    /// The program of a cell's reaper; `None` for an ordinary user, who may not see that.
    fn reaper(&self, cell: &str) -> Option<String> {
        let agent = self.json(&["status", cell])["probe"]["pid"].as_u64().expect("a process");
        let status = fs::read_to_string(format!("/proc/{agent}/status")).expect("it lives");
        let reaper = status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("a parent").trim();
        let command = fs::read_to_string(format!("/proc/{reaper}/cmdline")).expect("it lives");
        assert!(command.starts_with("lazarus\0__jail\0--socket\0"), "{command:?}");
        assert_eq!(fs::read_to_string(format!("/proc/{reaper}/comm")).expect("it lives"), "lazarus\n");
        // It hides from everybody but root.
        let program = fs::read_link(format!("/proc/{reaper}/exe"));
        assert!(program.is_ok() || !rustix::process::geteuid().is_root(), "{program:?}");
        Some(program.ok()?.file_name()?.to_string_lossy().into_owned())
    }

    /// Asserts what the reaper of a cell runs, and that all that its jail reported is so; then ends it.
    #[track_caller]
    fn runs(&self, wanted: &str) {
        let cell = self.summon();
        if let Some(program) = self.reaper(&cell) {
            assert_eq!(program, wanted);
        }
        self.agrees(&cell);
        assert_eq!(self.json(&["destroy", &cell])["success"], true);
    }

    #[track_caller]
    fn agrees(&self, cell: &str) {
        let explained = self.json(&["explain", cell]);
        let wrong: Vec<&Value> = explained["checks"].as_array().expect("checks").iter().filter(|check| check["agrees"] == "no").collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}

#[test]
fn a_reaper_is_the_small_program_where_that_is_beside_this_one() {
    let installed = Installed::new(true);
    installed.runs(SMALL);
    Installed::new(false).runs("lazarus");
}

#[test]
fn a_small_program_that_others_could_have_put_there_is_left_alone() {
    let installed = Installed::new(true);
    installed.mode(&installed.path(SMALL), 0o757);
    installed.runs("lazarus");
    installed.mode(&installed.path(SMALL), 0o755);
    installed.runs(SMALL);
    installed.mode(installed.place.path(), 0o1777);
    installed.runs("lazarus");
    if rustix::process::geteuid().is_root() {
        installed.mode(installed.place.path(), 0o755);
        std::os::unix::fs::chown(installed.path(SMALL), Some(4711), None).expect("given away");
        installed.runs("lazarus");
    }
}

#[test]
fn an_update_changes_nothing_for_a_cell_that_lives() {
    let installed = Installed::new(true);
    let cell = installed.summon();
    // As installers do it: another file takes the name.
    for name in ["lazarus", SMALL] {
        fs::copy(installed.path(name), installed.path("new")).expect("copied");
        fs::rename(installed.path("new"), installed.path(name)).expect("replaced");
    }
    installed.agrees(&cell);
    assert_eq!(installed.json(&["destroy", &cell])["success"], true);
    installed.runs(SMALL);
}

#[test]
fn what_is_no_reaper_starts_no_agent_and_is_said() {
    let installed = Installed::new(true);
    fs::copy("/bin/true", installed.path(SMALL)).expect("copied");
    let refused = installed.json(&["summon", "probe", "demo", "--", "sleep", "1000"]);
    assert_eq!(refused["success"], false, "{refused}");
    fs::remove_file(installed.path(SMALL)).expect("removed");
    installed.runs("lazarus");
}
