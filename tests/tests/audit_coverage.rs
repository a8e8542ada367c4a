//! Every command that can be typed is here: it reads only, or it leaves intent and outcome in the audit, and a test sees that it does. A new
//! command without a line fails, and so does a line without its command.

use std::collections::{BTreeMap, BTreeSet};

use lazarus::{
    audit::{Action, Entry, Phase},
    registry::{AuditFilter, Registry},
};
use lazarus_tests::{Lab, guests, lab::text};

/// What a command is to the audit.
enum Duty {
    /// It changes nothing of Lazarus; the reason where that is not plain.
    Reads(&'static str),
    /// A member's call, which its cell's warden audits: `every_call_is_audited_where_it_is_denied` in runtime/src/warden/post.
    Call,
    /// It leaves rows of that action; the proof runs it for real, and sees them.
    Audited(Action, fn(&Stage)),
}
use Duty::{Audited, Call, Reads};

/// Each command of `lazarus --help`, and of the help of each.
const TABLE: [(&str, Duty); 53] = [
    ("summon", Audited(Action::Summon, summon)),
    ("team", Audited(Action::Team, team)),
    ("run", Audited(Action::Run, run)),
    ("invite", Audited(Action::Invite, invite)),
    ("revoke", Audited(Action::Revoke, revoke)),
    ("status", Reads("")),
    ("close", Audited(Action::Close, close)),
    ("destroy", Audited(Action::Destroy, destroy)),
    ("logs", Reads("")),
    ("send", Audited(Action::Send, send)),
    ("inbox", Audited(Action::Inbox, inbox)),
    ("artifacts", Reads("lists them")),
    ("artifacts get", Audited(Action::Artifact, artifacts_get)),
    ("archive", Audited(Action::Archive, archive)),
    ("extend", Audited(Action::Extend, extend)),
    ("resurrect", Audited(Action::Resurrect, resurrect)),
    ("sweep", Audited(Action::Sweep, sweep)),
    ("explain", Reads("")),
    ("why", Reads("")),
    ("join", Audited(Action::Join, join)),
    ("cell me", Call),
    ("cell members", Call),
    ("cell send", Call),
    ("cell reply", Call),
    ("cell recv", Call),
    ("cell serve", Call),
    ("cell ack", Call),
    ("cell fail", Call),
    ("cell history", Call),
    ("cell beat", Call),
    ("cell artifact", Call),
    ("cell invite", Call),
    ("cell close", Call),
    ("cell audit", Call),
    ("agent add", Audited(Action::AgentAdd, agent_add)),
    ("agent approve", Audited(Action::AgentApprove, agent_approve)),
    ("agent new", Reads("makes files where the operator says; opens no root")),
    ("agent check", Reads("")),
    ("agent list", Reads("")),
    ("agent show", Reads("")),
    ("agent remove", Audited(Action::AgentRemove, agent_remove)),
    ("audit verify", Reads("")),
    ("audit show", Reads("")),
    ("audit keygen", Audited(Action::AuditKeygen, audit_keygen)),
    ("audit head", Audited(Action::AuditHead, audit_head)),
    ("receipt", Reads("")),
    ("drill", Audited(Action::Drill, drill)),
    ("completions", Reads("")),
    // The duties of the commands that are named by a flag.
    ("inbox --ack", Audited(Action::Inbox, inbox_ack)),
    ("inbox --retry", Audited(Action::Inbox, inbox_retry)),
    ("inbox --discard", Audited(Action::Inbox, inbox_discard)),
    ("summon (a cell that fails)", Audited(Action::Summon, summon_fails)),
    ("destroy (by expiry)", Audited(Action::Destroy, destroy_by_sweep)),
];

/// Lines of the table that are not commands of their own: the command, with what makes it another duty.
fn is_variant(name: &str) -> bool {
    name.contains(" --") || name.contains('(')
}

/// A stranger, who may do nothing.
const STRANGER: [&str; 2] = ["--as", "human:stranger"];

/// A lab, and what its audit holds.
struct Stage {
    lab: Lab,
    action: Action,
}

impl Stage {
    /// Read past the program, whose every command would first tear down what is overdue.
    fn rows(&self, after: u64) -> Vec<Entry> {
        let filter = AuditFilter { after, action: Some(self.action), ..AuditFilter::default() };
        Registry::open(&self.lab.root()).expect("the registry").audit_rows(&filter).expect("rows")
    }

    fn end(&self) -> u64 {
        // Before the first command there is no root, and nothing in it.
        if !self.lab.root().exists() {
            return 0;
        }
        Registry::open(&self.lab.root()).expect("the registry").audit_head().expect("a head").seq
    }

    /// Runs a command; returns the phases of the action's rows that it left.
    #[track_caller]
    fn phases(&self, args: &[&str], code: i32) -> Vec<String> {
        let before = self.end();
        let _ = self.lab.run(args).exits(code);
        self.rows(before).iter().map(|row| row.phase.to_string()).collect()
    }

    /// Does what it is for: the intent comes first, the outcome after it.
    #[track_caller]
    fn done(&self, args: &[&str]) {
        let phases = self.phases(args, 0);
        let place = |wanted: &str| phases.iter().position(|phase| phase == wanted);
        let (intent, done) = (place("intent"), place("done"));
        assert!(intent.is_some() && done > intent, "{args:?} left {phases:?}");
        assert!(!phases.iter().any(|phase| phase == "refused" || phase == "failed"), "{args:?} left {phases:?}");
    }

    /// Is refused, and changes nothing: there is a row, and no outcome of another kind.
    #[track_caller]
    fn refused(&self, args: &[&str], code: i32) {
        let phases = self.phases(args, code);
        assert_eq!(phases.last().map(String::as_str), Some("refused"), "{args:?} left {phases:?}");
        assert!(!phases.iter().any(|phase| phase == "done"), "{args:?} left {phases:?}");
    }

    /// The same command by somebody who may not is refused.
    #[track_caller]
    fn refused_to_strangers(&self, args: &[&str]) {
        self.refused(&[&STRANGER, args].concat(), 1);
    }

    fn cell(&self) -> String {
        self.lab.summon(&["scribe", "p", "--", "sleep", "1000"])
    }

    /// A member who takes no messages, so that what is sent to it waits until it leaves.
    fn parked(&self, cell: &str) -> String {
        let _ = self.lab.run(&["invite", cell, "bot:deploy", "executor"]).exits(0);
        let id = text(&self.lab.json(&["send", cell, "--to", "bot:deploy", "x"]).exits(0).json()["id"]);
        let _ = self.lab.run(&["revoke", cell, "bot:deploy"]).exits(0);
        let _ = self.lab.run(&["invite", cell, "bot:deploy", "executor"]).exits(0);
        id
    }
}

/// A mount of what is not there: refused before anything exists.
const NO_MOUNT: [&str; 2] = ["--mount", "/nonexistent:/x"];

fn summon(stage: &Stage) {
    stage.done(&["summon", "a", "p", "--", "sleep", "1000"]);
    stage.refused(&[&["summon", "a", "p"][..], &NO_MOUNT].concat(), 1);
    stage.refused(&["summon", "a", "p", "--env", "A=1\u{1b}[2J\nforged", "--memory", "nonsense"], 2);
}

fn summon_fails(stage: &Stage) {
    let file = stage.lab.file("trap.wat", guests::TRAPS_AT_BIRTH);
    let phases = stage.phases(&["summon", "a", "p", "--component", &file.to_string_lossy()], 1);
    assert_eq!(phases, ["intent", "failed"]);
}

fn team(stage: &Stage) {
    stage.done(&["team", "a+b", "p"]);
    stage.refused(&[&["team", "a+b", "p"][..], &NO_MOUNT].concat(), 1);
}

fn run(stage: &Stage) {
    stage.done(&["run", "--", "/bin/true"]);
    stage.refused(&[&["run"][..], &NO_MOUNT, &["--", "/bin/true"]].concat(), 1);
    let phases = stage.phases(&["run", "--", "/no/such/program"], 1);
    assert_eq!((phases.first().map(String::as_str), phases.last().map(String::as_str)), (Some("intent"), Some("failed")), "{phases:?}");
}

fn invite(stage: &Stage) {
    let cell = stage.cell();
    stage.done(&["invite", &cell, "bot:deploy", "observer"]);
    stage.done(&["invite", &cell, "human:bob", "observer"]);
    stage.refused(&["invite", &cell, "bot:deploy", "observer"], 1);
    stage.refused(&["invite", "laz-00000000", "bot:deploy", "observer"], 3);
    stage.refused(&["invite", "no\u{1b}cell", "bot:deploy", "observer"], 3);
    stage.refused_to_strangers(&["invite", &cell, "bot:other", "observer"]);
}

fn revoke(stage: &Stage) {
    let cell = stage.cell();
    let _ = stage.lab.run(&["invite", &cell, "bot:deploy", "observer"]).exits(0);
    stage.refused_to_strangers(&["revoke", &cell, "bot:deploy"]);
    stage.done(&["revoke", &cell, "bot:deploy"]);
    stage.refused(&["revoke", &cell, "bot:deploy"], 3);
    stage.refused(&["revoke", &cell, "agent:scribe"], 1);
}

fn close(stage: &Stage) {
    let cell = stage.cell();
    stage.refused_to_strangers(&["close", &cell]);
    stage.done(&["close", &cell]);
    stage.refused(&["close", "laz-00000000"], 3);
}

fn destroy(stage: &Stage) {
    let cell = stage.cell();
    stage.refused_to_strangers(&["destroy", &cell]);
    stage.done(&["destroy", &cell]);
    stage.refused(&["destroy", "laz-00000000"], 3);
}

/// What nobody asks for now has its intent, and where it cannot be done, its outcome.
fn destroy_by_sweep(stage: &Stage) {
    let cell = text(&stage.lab.json(&["summon", "a", "p", "--on-expire", "destroy", "--", "sleep", "1000"]).exits(0).json()["cell_id"]);
    expire(stage, &cell);
    let before = stage.end();
    let _ = stage.lab.run(&["sweep"]).exits(0);
    let rows: Vec<String> = stage.rows(before).iter().map(|row| format!("{} {}", row.phase, row.actor)).collect();
    assert_eq!(rows, ["intent sweep", "done human:root"].map(|row| row.replace("human:root", &owner(stage, &cell))));
}

fn owner(stage: &Stage, cell: &str) -> String {
    text(&stage.lab.cell(cell)["cell"]["owner"])
}

/// Closes a cell, and sets its time back.
fn expire(stage: &Stage, cell: &str) {
    let id = cell.parse().expect("an id");
    let mut registry = Registry::open(&stage.lab.root()).expect("the registry");
    // Not yet over when the command below looks, and over when the next one does.
    registry.extend(&id, chrono::Utc::now() + chrono::TimeDelta::seconds(2), "human:clock").expect("set");
    let _ = stage.lab.run(&["close", cell]).exits(0);
    std::thread::sleep(std::time::Duration::from_secs(2));
}

fn send(stage: &Stage) {
    let cell = stage.cell();
    stage.done(&["send", &cell, "hello"]);
    stage.refused_to_strangers(&["send", &cell, "hello"]);
    stage.refused(&["send", &cell, "--to", "agent:nobody", "hello"], 3);
    stage.refused(&["send", "laz-00000000", "hello"], 3);
    stage.refused(&["send", &cell, "--reply-to", &format!("msg-{}", "0".repeat(32)), "hello"], 3);
}

fn inbox(stage: &Stage) {
    let cell = stage.cell();
    assert_eq!(stage.phases(&["inbox", &cell], 0), Vec::<String>::new(), "reading is no change");
    stage.refused_to_strangers(&["inbox", &cell]);
}

fn inbox_ack(stage: &Stage) {
    let cell = stage.cell();
    let me = owner(stage, &cell);
    let _ = stage.lab.run(&["send", &cell, "--to", &me, "a note"]).exits(0);
    stage.done(&["inbox", &cell, "--ack"]);
    stage.refused_to_strangers(&["inbox", &cell, "--ack"]);
}

fn inbox_retry(stage: &Stage) {
    let cell = stage.cell();
    let id = stage.parked(&cell);
    stage.refused_to_strangers(&["inbox", &cell, "--retry", &id]);
    stage.done(&["inbox", &cell, "--retry", &id]);
    stage.refused(&["inbox", &cell, "--retry", &id], 3);
}

fn inbox_discard(stage: &Stage) {
    let cell = stage.cell();
    let id = stage.parked(&cell);
    stage.refused_to_strangers(&["inbox", &cell, "--discard", &id]);
    stage.done(&["inbox", &cell, "--discard", &id]);
    stage.refused(&["inbox", &cell, "--discard", &id], 3);
}

fn artifacts_get(stage: &Stage) {
    // What is declared in vain, more often than there are rows for it, is meant no more than it is done.
    let in_vain = "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do lazarus cell artifact nothing report; done";
    let script = format!("{in_vain}; echo result > \"$HERMES_HOME/r\"; lazarus cell artifact r report && echo kept; exec sleep 1000");
    let script = script.as_str();
    let cell = stage.lab.summon(&["scribe", "p", "--client", "--", "/bin/sh", "-c", script]);
    lazarus_tests::lab::wait_until("it is kept", || stage.lab.logs(&cell).contains("kept"));
    let declared: Vec<String> = stage.rows(0).iter().map(|row| format!("{} {}", row.phase, row.actor)).collect();
    assert_eq!(declared, ["intent agent:scribe", "done agent:scribe"]);
    stage.refused_to_strangers(&["artifacts", &cell, "get", "report"]);
    stage.done(&["artifacts", &cell, "get", "report"]);
    stage.refused(&["artifacts", &cell, "get", "report"], 1);
    stage.refused(&["artifacts", &cell, "get", "none\u{1b}[2J"], 3);
}

fn archive(stage: &Stage) {
    let cell = stage.cell();
    let _ = stage.lab.run(&["close", &cell]).exits(0);
    stage.refused_to_strangers(&["archive", &cell, "-o", "cell.tar"]);
    stage.done(&["archive", &cell, "-o", "cell.tar"]);
    stage.refused(&["archive", "laz-00000000"], 3);
}

fn extend(stage: &Stage) {
    let cell = stage.cell();
    stage.done(&["extend", &cell, "10m"]);
    stage.refused_to_strangers(&["extend", &cell, "10m"]);
    let _ = stage.lab.run(&["close", &cell]).exits(0);
    stage.refused(&["extend", &cell, "10m"], 1);
}

fn resurrect(stage: &Stage) {
    let cell = stage.cell();
    stage.refused(&["resurrect", &cell], 1);
    let _ = stage.lab.run(&["close", &cell]).exits(0);
    stage.refused_to_strangers(&["resurrect", &cell]);
    stage.done(&["resurrect", &cell]);
}

fn sweep(stage: &Stage) {
    stage.done(&["sweep"]);
    let cell = text(&stage.lab.json(&["summon", "a", "p", "--on-expire", "destroy", "--", "sleep", "1000"]).exits(0).json()["cell_id"]);
    expire(stage, &cell);
    // Somebody else has the cell's lease, and does not let go: it cannot be torn down now.
    let lock = std::fs::File::options().write(true).open(stage.lab.cell_dir(&cell).join("run/lock")).expect("a lock");
    lock.lock().expect("held");
    let phases = stage.phases(&["sweep"], 1);
    assert_eq!(phases, ["intent", "failed"]);
    drop(lock);
}

fn join(stage: &Stage) {
    let cell = stage.cell();
    let token = text(&stage.lab.json(&["invite", &cell, "human:bob", "observer"]).exits(0).json()["token"]);
    stage.done(&["join", &token]);
    stage.refused(&["join", &token], 1);
}

fn agent_add(stage: &Stage) {
    let file = stage.lab.file("agent.toml", "[agent]\nname = \"worker\"\ncommand = [\"/bin/sleep\", \"9\"]\n");
    stage.done(&["agent", "add", &file.to_string_lossy()]);
    stage.refused(&["agent", "add", &file.to_string_lossy()], 1);
    stage.refused(&["agent", "add", "nowhere.toml"], 1);
}

fn agent_approve(stage: &Stage) {
    let file = stage.lab.file("agent.toml", "[agent]\nname = \"worker\"\ncommand = [\"/bin/sleep\", \"9\"]\n");
    let _ = stage.lab.run(&["agent", "add", &file.to_string_lossy()]).exits(0);
    stage.done(&["agent", "approve", "worker"]);
    stage.refused(&["agent", "approve", "nobody"], 3);
}

fn agent_remove(stage: &Stage) {
    let file = stage.lab.file("agent.toml", "[agent]\nname = \"worker\"\ncommand = [\"/bin/sleep\", \"9\"]\n");
    let _ = stage.lab.run(&["agent", "add", &file.to_string_lossy()]).exits(0);
    stage.done(&["agent", "remove", "worker"]);
    stage.refused(&["agent", "remove", "worker"], 3);
}

fn audit_keygen(stage: &Stage) {
    stage.refused_to_strangers(&["audit", "keygen"]);
    stage.done(&["audit", "keygen"]);
    stage.refused(&["audit", "keygen"], 1);
    stage.done(&["audit", "keygen", "--replace"]);
}

fn audit_head(stage: &Stage) {
    stage.refused(&["audit", "head"], 1);
    let _ = stage.lab.run(&["audit", "keygen"]).exits(0);
    stage.done(&["audit", "head", "-o", "head.json"]);
    stage.refused(&["audit", "head", "-o", "head.json"], 1);
    stage.refused_to_strangers(&["audit", "head"]);
}

fn drill(stage: &Stage) {
    stage.refused(&["drill", "--only", "nothing-begins-like-this"], 3);
    stage.done(&["drill", "--only", "paths/absolute"]);
}

#[test]
fn every_command_has_its_duty_and_no_duty_is_without_its_command() {
    let commands: BTreeSet<String> = lazarus::cli::leaves().into_iter().collect();
    let table: Vec<&str> = TABLE.iter().map(|(name, _)| *name).filter(|name| !is_variant(name)).collect();
    let listed: BTreeSet<String> = table.iter().map(ToString::to_string).collect();
    assert_eq!(listed.len(), table.len(), "a line is there twice");
    let missing: Vec<_> = commands.difference(&listed).collect();
    assert!(missing.is_empty(), "say in TABLE whether these only read, or how each is audited: {missing:?}");
    let stale: Vec<_> = listed.difference(&commands).collect();
    assert!(stale.is_empty(), "no such commands any more: {stale:?}");
    // What a reason is given for must be worth one: the table is read by reviewers.
    assert!(TABLE.iter().any(|(_, duty)| matches!(duty, Reads(why) if !why.is_empty())));
}

#[test]
fn each_mutating_command_leaves_intent_and_outcome() {
    for (name, duty) in TABLE {
        let Audited(action, proof) = duty else { continue };
        println!("{name}");
        let mut stage = Stage { lab: Lab::new(), action };
        stage.lab.leaves_cells();
        proof(&stage);
        each_intent_has_one_outcome(&stage.lab);
        let _ = stage.lab.json(&["audit", "verify"]).exits(0);
    }
}

/// Of one action on one cell, each intent is followed by its outcome; and what is only done after it was meant has no outcome without an intent.
fn each_intent_has_one_outcome(lab: &Lab) {
    let rows = Registry::open(&lab.root()).expect("the registry").audit_rows(&AuditFilter::default()).expect("rows");
    let mut open: BTreeMap<(&str, Option<&str>), u32> = BTreeMap::new();
    let meant: BTreeSet<&str> = rows.iter().filter(|row| row.phase == Phase::Intent).map(|row| row.action.as_str()).collect();
    for row in &rows {
        let key = (row.action.as_str(), row.cell.as_ref().map(|cell| cell.as_str()));
        let waiting = open.entry(key).or_default();
        match row.phase {
            Phase::Intent => *waiting += 1,
            Phase::Done | Phase::Refused | Phase::Failed if *waiting > 0 => *waiting -= 1,
            // Refused before it was meant.
            Phase::Refused | Phase::Failed => {}
            Phase::Done => {
                // By themselves; or, of an approval, as a part of what was meant: installing.
                let unasked = matches!(row.actor.as_str(), "warden" | "sweep") || row.action == Action::AgentApprove;
                assert!(unasked || !meant.contains(row.action.as_str()), "done and not meant: {row:?}");
            }
        }
    }
    open.retain(|_, waiting| *waiting > 0);
    assert!(open.is_empty(), "meant, and nobody says what came of it: {open:?} in {rows:#?}");
}

#[test]
fn what_only_reads_leaves_no_row() {
    let mut stage = Stage { lab: Lab::new(), action: Action::Summon };
    stage.lab.leaves_cells();
    let cell = stage.cell();
    let reads: [&[&str]; 13] = [
        &["why", &cell, "/etc/passwd"],
        &["status"],
        &["status", &cell],
        &["logs", &cell],
        &["inbox", &cell],
        &["artifacts", &cell],
        &["explain", &cell],
        &["agent", "list"],
        &["agent", "new", "fresh"],
        &["audit", "verify"],
        &["audit", "show"],
        &["completions", "bash"],
        &["--help"],
    ];
    let before = stage.end();
    for args in reads {
        let _ = stage.lab.run(args).exits(0);
        assert_eq!(stage.end(), before, "{args:?}");
    }
    let _ = stage.lab.run(&["receipt", &cell]).exits(3);
    assert_eq!(stage.end(), before, "receipt");
}
