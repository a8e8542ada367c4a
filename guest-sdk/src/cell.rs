//! The cell of an agent that lives by events: everything that the agent can ask for.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{Artifact, Level, Member, Message, Reason, Refusal, Role};

/// What carries the calls: the host of a component, or the double of a test.
pub(crate) trait Host {
    fn me(&self) -> Member;
    fn id(&self) -> String;
    fn project(&self) -> String;
    fn ttl_left(&self) -> Option<Duration>;
    fn members(&self) -> Result<Vec<Member>, Refusal>;
    fn invite(&self, guest: &str, role: Role) -> Result<Option<String>, Refusal>;
    fn close(&self) -> Result<(), Refusal>;
    fn audit(&self, most: u32) -> Result<Vec<String>, Refusal>;
    fn send(&self, receiver: &str, text: &str) -> Result<String, Refusal>;
    fn reply(&self, text: &str) -> Result<String, Refusal>;
    fn receive(&self) -> Result<Option<Message>, Refusal>;
    fn history(&self, after: Option<&str>, most: u32) -> Result<Vec<Message>, Refusal>;
    fn write(&self, level: Level, text: &str);
    fn beat(&self);
    fn declare(&self, path: &str, name: &str) -> Result<Artifact, Refusal>;
}

/// The cell that an agent is in, as each of its events is given it.
///
/// A call that the agent's role does not allow is an ordinary error, changes nothing, and is written to the cell's audit. Every call may
/// also be refused with [`Reason::Failed`], where Lazarus itself failed. The examples below are handlers' bodies, run against the double in
/// [`testing`](crate::testing).
pub struct Cell {
    host: Box<dyn Host>,
    home: Option<PathBuf>,
    shared: Option<PathBuf>,
}

impl fmt::Debug for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cell").field("home", &self.home).field("shared", &self.shared).finish_non_exhaustive()
    }
}

/// Where the agent is, and who is with it.
impl Cell {
    pub(crate) fn new(host: Box<dyn Host>, home: Option<PathBuf>, shared: Option<PathBuf>) -> Self {
        Self { host, home, shared }
    }

    /// Returns who this agent is. Every role.
    ///
    /// ```
    /// # lazarus_guest::testing::in_a_cell(|cell, _| {
    /// assert_eq!(cell.me().identity, "agent:tested");
    /// # Ok(()) });
    /// ```
    pub fn me(&self) -> Member {
        self.host.me()
    }

    /// Returns the cell's id: `laz-` and 8 hexadecimal digits. Every role.
    ///
    /// ```
    /// # lazarus_guest::testing::in_a_cell(|cell, _| {
    /// assert!(cell.id().starts_with("laz-"));
    /// # Ok(()) });
    /// ```
    pub fn id(&self) -> String {
        self.host.id()
    }

    /// Returns the project's name: a label, no path. Every role.
    ///
    /// ```
    /// # lazarus_guest::testing::in_a_cell(|cell, _| {
    /// cell.info(&format!("at work on {}", cell.project()));
    /// # Ok(()) });
    /// ```
    pub fn project(&self) -> String {
        self.host.project()
    }

    /// Returns how long the cell still lives, as it was last told; none where it has no end. Every role.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # lazarus_guest::testing::in_a_cell(|cell, _| {
    /// let hurry = cell.ttl_left().is_some_and(|left| left < Duration::from_secs(60));
    /// # assert!(!hurry);
    /// # Ok(()) });
    /// ```
    pub fn ttl_left(&self) -> Option<Duration> {
        self.host.ttl_left()
    }

    /// Returns the directory that outlives the instance and the run: read-write, `/home` in a component.
    ///
    /// # Errors
    /// [`Reason::NotGranted`] for an auditor, who has none.
    ///
    /// ```
    /// # lazarus_guest::testing::in_a_cell(|cell, _| {
    /// std::fs::write(cell.home()?.join("seen"), "1")?;
    /// # Ok(()) });
    /// ```
    pub fn home(&self) -> Result<&Path, Refusal> {
        self.home.as_deref().ok_or_else(|| Refusal {
            reason: Reason::NotGranted,
            message: "find the home: an auditor has none".to_owned(),
            needs: Some("role executor".to_owned()),
        })
    }

    /// Returns the directory that the members of the cell share: `/shared` in a component. Executors and directors write to it; for others a
    /// write fails as on a read-only file system ([`Role::writes_shared`]).
    ///
    /// # Errors
    /// [`Reason::NotGranted`] where nothing is shared.
    ///
    /// ```
    /// # lazarus_guest::testing::in_a_cell(|cell, _| {
    /// std::fs::write(cell.shared()?.join("job-1"), "to be done")?;
    /// # Ok(()) });
    /// ```
    pub fn shared(&self) -> Result<&Path, Refusal> {
        self.shared.as_deref().ok_or_else(|| Refusal {
            reason: Reason::NotGranted,
            message: "find what is shared: nothing is in this cell".to_owned(),
            needs: None,
        })
    }

    /// Returns who is in the cell, its owner first (who counts as a director), then the others in the order in which they came. Every role.
    ///
    /// # Errors
    /// [`Reason::Failed`] alone.
    ///
    /// ```
    /// # use lazarus_guest::Role;
    /// # lazarus_guest::testing::in_a_cell(|cell, _| {
    /// let leads = cell.members()?.into_iter().find(|member| member.role == Role::Director);
    /// # assert!(leads.is_some());
    /// # Ok(()) });
    /// ```
    pub fn members(&self) -> Result<Vec<Member>, Refusal> {
        self.host.members()
    }

    /// Lets somebody in, as `lazarus invite` does: an agent or bot that has a definition is started. Returns the token that a human joins
    /// with; none for others. Directors only.
    ///
    /// # Errors
    /// [`Reason::NotGranted`] without `role director`; [`Reason::Malformed`] for what is no identity; [`Reason::Failed`] with what
    /// `lazarus invite` said.
    ///
    /// ```
    /// # use lazarus_guest::{Reason, Role};
    /// # lazarus_guest::testing::in_a_cell(|cell, _| {
    /// let refused = cell.invite("agent:helper", Role::Executor).unwrap_err(); // An executor asks.
    /// assert_eq!((refused.reason, refused.needs.as_deref()), (Reason::NotGranted, Some("role director")));
    /// # Ok(()) });
    /// ```
    pub fn invite(&self, guest: &str, role: Role) -> Result<Option<String>, Refusal> {
        self.host.invite(guest, role)
    }

    /// Closes the cell when this event has ended, as `lazarus close` does. Directors only.
    ///
    /// # Errors
    /// [`Reason::NotGranted`] without `role director`.
    ///
    /// ```
    /// # lazarus_guest::testing::in_a_cell(|cell, _| {
    /// if let Err(refused) = cell.close() {
    ///     cell.warn(&refused.to_string());
    /// }
    /// # Ok(()) });
    /// ```
    pub fn close(&self) -> Result<(), Refusal> {
        self.host.close()
    }

    /// Returns the newest audit rows of this cell, oldest first, one line each; at most [`AUDIT_MOST`](crate::AUDIT_MOST). Directors and
    /// auditors.
    ///
    /// # Errors
    /// [`Reason::NotGranted`] without `role director` or `role auditor`.
    ///
    /// ```
    /// # lazarus_guest::testing::in_a_cell(|cell, _| {
    /// assert!(cell.audit(10).is_err()); // An executor asks.
    /// # Ok(()) });
    /// ```
    pub fn audit(&self, most: u32) -> Result<Vec<String>, Refusal> {
        self.host.audit(most)
    }
}

/// Messages: kept on disk, delivered at least once, in order for each pair of sender and receiver.
///
/// What an event sends is accepted together with the event's success: an event that fails has sent nothing, and the same event, tried again,
/// sends it once.
impl Cell {
    /// Sends a message; returns its id. Executors and directors write to everyone, observers to directors, auditors to nobody.
    ///
    /// # Errors
    /// [`Reason::NotGranted`], [`Reason::NoSuchMember`], [`Reason::Malformed`] (an empty text), [`Reason::TooLarge`] (more than
    /// [`TEXT_MOST_BYTES`](crate::TEXT_MOST_BYTES)), [`Reason::Full`] (its waiting messages), [`Reason::TooFast`] (also after
    /// [`SENDS_MOST`](crate::SENDS_MOST) in one event).
    ///
    /// ```
    /// # lazarus_guest::testing::in_a_cell(|cell, _| {
    /// let id = cell.send("human:owner", "the report is in /shared/report.md")?;
    /// # assert!(id.starts_with("msg-"));
    /// # Ok(()) });
    /// ```
    pub fn send(&self, receiver: &str, text: &str) -> Result<String, Refusal> {
        self.host.send(receiver, text)
    }

    /// Answers the message that is being handled, once; returns the answer's id. Everyone but auditors; observers, too, answer whoever wrote
    /// to them.
    ///
    /// # Errors
    /// As [`Cell::send`], and [`Reason::WrongTime`] where no message is being handled or it was answered already.
    ///
    /// ```
    /// # lazarus_guest::testing::in_a_cell(|cell, message| {
    /// cell.reply(&format!("you said {}", message.text))?;
    /// assert_eq!(cell.reply("and again").unwrap_err().reason, lazarus_guest::Reason::WrongTime);
    /// # Ok(()) });
    /// ```
    pub fn reply(&self, text: &str) -> Result<String, Refusal> {
        self.host.reply(text)
    }

    /// Takes the next waiting message beside the one being handled, if there is one; it counts as handled when this event succeeds. Every
    /// role but the auditor.
    ///
    /// # Errors
    /// [`Reason::NotGranted`] for an auditor.
    ///
    /// ```
    /// # lazarus_guest::testing::in_a_cell(|cell, _| {
    /// let mut batch = Vec::new();
    /// while let Some(more) = cell.receive()? {
    ///     batch.push(more.text);
    /// }
    /// # Ok(()) });
    /// ```
    pub fn receive(&self) -> Result<Option<Message>, Refusal> {
        self.host.receive()
    }

    /// Returns messages in the order in which they were accepted, from the one after `after` on; at most
    /// [`HISTORY_MOST`](crate::HISTORY_MOST). Directors and auditors see the whole cell's; others those that they sent or were sent.
    ///
    /// # Errors
    /// [`Reason::NoSuchMessage`] for an `after` that is not one of them.
    ///
    /// ```
    /// # lazarus_guest::testing::in_a_cell(|cell, _| {
    /// let said: Vec<String> = cell.history(None, 10)?.into_iter().map(|message| message.text).collect();
    /// # Ok(()) });
    /// ```
    pub fn history(&self, after: Option<&str>, most: u32) -> Result<Vec<Message>, Refusal> {
        self.host.history(after, most)
    }
}

/// Log, signs of life, results.
impl Cell {
    /// Writes one line to the agent's log, which `lazarus logs` prints. Control characters become escapes, and what is longer than
    /// [`LINE_MOST_BYTES`](crate::LINE_MOST_BYTES) is cut. Never fails: past the log's rate lines are dropped and counted. Every role.
    ///
    /// ```
    /// # use lazarus_guest::Level;
    /// # lazarus_guest::testing::in_a_cell(|cell, _| {
    /// cell.log(Level::Debug, "three left");
    /// # Ok(()) });
    /// ```
    pub fn log(&self, level: Level, text: &str) {
        self.host.write(level, text);
    }

    /// Writes what was done to the log. As [`Cell::log`].
    ///
    /// ```
    /// # lazarus_guest::testing::in_a_cell(|cell, _| {
    /// cell.info("the report is written");
    /// # Ok(()) });
    /// ```
    pub fn info(&self, text: &str) {
        self.log(Level::Info, text);
    }

    /// Writes what may be wrong to the log. As [`Cell::log`].
    ///
    /// ```
    /// # lazarus_guest::testing::in_a_cell(|cell, _| {
    /// cell.warn("the journal has a line that is no entry");
    /// # Ok(()) });
    /// ```
    pub fn warn(&self, text: &str) {
        self.log(Level::Warn, text);
    }

    /// Says that this agent is alive, in the middle of an event that takes long: one that begins or ends is a sign by itself. Never fails;
    /// more than one a second counts as one. Every role.
    ///
    /// ```
    /// # lazarus_guest::testing::in_a_cell(|cell, _| {
    /// for _chapter in 0..3 {
    ///     cell.beat();
    /// }
    /// # Ok(()) });
    /// ```
    pub fn beat(&self) {
        self.host.beat();
    }

    /// Keeps a copy of a file of the agent's home, as it is now, under a name of `[A-Za-z0-9._-]{1,64}` that begins with a letter or a digit;
    /// an earlier artifact of this agent with that name is replaced. `path` is relative to the home, and no part of it is a link. `lazarus
    /// artifacts` lists and fetches what was kept, also after the cell is closed. Executors, observers and directors.
    ///
    /// # Errors
    /// [`Reason::NotGranted`] for an auditor; [`Reason::Malformed`] for a bad name or path, or no regular file; [`Reason::TooLarge`] past
    /// [`ARTIFACT_MOST_BYTES`](crate::ARTIFACT_MOST_BYTES); [`Reason::Full`] past [`ARTIFACTS_MOST`](crate::ARTIFACTS_MOST).
    ///
    /// ```
    /// # lazarus_guest::testing::in_a_cell(|cell, _| {
    /// std::fs::write(cell.home()?.join("report.md"), "# Done\n")?;
    /// let kept = cell.declare("report.md", "report.md")?;
    /// assert_eq!(kept.bytes, 7);
    /// # Ok(()) });
    /// ```
    pub fn declare(&self, path: &str, name: &str) -> Result<Artifact, Refusal> {
        self.host.declare(path, name)
    }
}
