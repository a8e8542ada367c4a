//! The reviewer: an observer.
//!
//! The one idea: a role is a wall, not a label. The reviewer reads what others put into `/shared`; it tries to write there, as a reviewer
//! that was talked into something would; the write fails, and it tells the director.
//!
//! What it was granted: the role `observer`: `/shared` read-only, its home, messages to directors. As an executor it says that the wall is
//! missing.

use std::{fs, io, path::Path};

use lazarus_guest::{Agent, Cell, Failure, Message, Role};

/// Looks at the file below `/shared` that a message names.
#[derive(Default)]
pub struct Reviewer;

impl Agent for Reviewer {
    fn message(&mut self, cell: &Cell, message: &Message) -> Result<(), Failure> {
        let shared = cell.shared()?;
        let lines = read(shared, &message.text).map_err(Failure::park)?.lines().count();
        let wall = tell(fs::write(shared.join(".reviewed"), &message.id));
        let leads = cell.members()?.into_iter().find(|member| member.role == Role::Director);
        let report = format!("{}: {lines} lines; {wall}", message.text);
        cell.info(&report);
        if let Some(director) = leads.filter(|director| director.identity != message.sender) {
            cell.send(&director.identity, &report)?;
        }
        cell.reply(&report)?;
        Ok(())
    }
}

/// Reads a file that somebody named, if it is one name and no way out.
fn read(shared: &Path, name: &str) -> io::Result<String> {
    let plain = !name.starts_with('.') && !name.contains('/');
    if plain { fs::read_to_string(shared.join(name)) } else { Err(io::Error::other("not the name of a file")) }
}

/// What came of the attempt to write, in words.
fn tell(attempt: io::Result<()>) -> String {
    match attempt {
        Ok(()) => "WARNING: a reviewer could write to /shared".to_owned(),
        Err(error) => format!("a reviewer cannot write to /shared ({:?})", error.kind()),
    }
}

lazarus_guest::export!(Reviewer);

#[cfg(test)]
mod tests {
    use lazarus_guest::testing::{Outcome, TestCell};

    use super::*;

    #[test]
    fn a_refused_write_is_told_to_the_director() {
        let mut cell = TestCell::<Reviewer>::new().member("agent:writer", Role::Executor).role(Role::Observer);
        let shared = cell.shared();
        // Whoever runs the tests as root may write everywhere: a directory in place of the file stops root, too.
        let made = fs::metadata(&shared).map(|metadata| metadata.permissions());
        let open = made.expect("there").readonly();
        assert!(open, "an observer's /shared is read-only");
        make_writable(&shared);
        fs::write(shared.join("plan.md"), "one\ntwo\n").expect("written");
        fs::create_dir(shared.join(".reviewed")).expect("made");

        let event = cell.message("agent:writer", "plan.md").done();

        let report = "plan.md: 2 lines; a reviewer cannot write to /shared (IsADirectory)";
        assert_eq!((event.reply(), event.sent_to("human:owner")), (Some(report), vec![report]));
    }

    #[test]
    fn a_missing_wall_is_told_too() {
        let mut cell = TestCell::<Reviewer>::new();
        fs::write(cell.shared().join("plan.md"), "one\n").expect("written");
        let event = cell.message("human:owner", "plan.md").done();
        assert_eq!(event.reply(), Some("plan.md: 1 lines; WARNING: a reviewer could write to /shared"));
    }

    #[test]
    fn names_lead_nowhere_else() {
        for name in ["../home/secret", "/etc/passwd", ".", "none"] {
            let event = TestCell::<Reviewer>::new().message("human:owner", name);
            assert!(matches!(event.outcome(), Outcome::Park(_)), "{name}");
        }
    }

    fn make_writable(directory: &Path) {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).expect("ours");
    }
}
