//! The double keeps what it promises.

use std::{cell::Cell as Slot, fs};

use super::{Outcome, TestCell};
use crate::{Agent, Beginning, Cell, Failure, Level, Message, Reason, Role, SENDS_MOST, TEXT_MOST_BYTES};

/// Does what a message says, and notes how it began.
#[derive(Default)]
struct Puppet {
    handled: u32,
}

type Act = fn(&mut Puppet, &Cell, &Message) -> Result<(), Failure>;
type Start = fn(Beginning) -> Result<(), Failure>;

thread_local! {
    static ACT: Slot<Option<Act>> = const { Slot::new(None) };
    static START: Slot<Option<Start>> = const { Slot::new(None) };
}

impl Agent for Puppet {
    fn start(&mut self, cell: &Cell, beginning: Beginning) -> Result<(), Failure> {
        cell.info(&format!("{beginning:?}"));
        START.get().map_or(Ok(()), |start| start(beginning))
    }

    fn message(&mut self, cell: &Cell, message: &Message) -> Result<(), Failure> {
        self.handled += 1;
        ACT.get().map_or(Ok(()), |act| act(self, cell, message))
    }

    fn tick(&mut self, cell: &Cell) -> Result<(), Failure> {
        cell.send("human:owner", "tick")?;
        Ok(())
    }

    fn close(&mut self, cell: &Cell) {
        cell.info("closing");
    }
}

fn acts(act: Act) {
    ACT.set(Some(act));
}

fn beginnings(cell: &TestCell<Puppet>) -> Vec<String> {
    cell.log().into_iter().map(|(_, line)| line).collect()
}

#[test]
fn what_fails_has_sent_nothing_and_is_sent_once_when_it_is_tried_again() {
    acts(|_, cell, message| {
        cell.reply("half")?;
        cell.send("human:owner", "done")?;
        if message.attempt == 1 { Err(Failure::retry("not yet")) } else { Ok(()) }
    });
    let mut cell = TestCell::<Puppet>::new();
    let first = cell.message("human:owner", "go");
    assert_eq!((first.outcome(), first.reply(), first.sent().len()), (&Outcome::Retry("not yet".to_owned()), None, 0));
    let second = cell.again(&first).done();
    assert_eq!((second.reply(), second.sent_to("human:owner")), (Some("half"), vec!["half", "done"]));
    assert_eq!(second.message().map(|m| &m.id), first.message().map(|m| &m.id));
    assert_eq!(beginnings(&cell), ["First"], "a failure that was returned costs no memory");
}

#[test]
fn a_panic_costs_the_instance() {
    acts(|puppet, cell, message| {
        assert!(message.text != "panic", "told to");
        cell.reply(&puppet.handled.to_string())?;
        Ok(())
    });
    let mut cell = TestCell::<Puppet>::new();
    assert_eq!(cell.message("human:owner", "one").reply(), Some("1"));
    assert!(matches!(cell.message("human:owner", "panic").outcome(), Outcome::Lost(why) if why.contains("told to")));
    assert_eq!(cell.message("human:owner", "two").reply(), Some("1"));
    assert_eq!(beginnings(&cell), ["First", "Again"]);
}

#[test]
fn the_home_outlives_idleness_and_death() {
    acts(|_, cell, message| {
        let file = cell.home()?.join("journal");
        let before = fs::read_to_string(&file).unwrap_or_default();
        fs::write(file, format!("{before}{};", message.text))?;
        cell.reply(&format!("<{before}>"))?;
        Ok(())
    });
    let mut cell = TestCell::<Puppet>::new();
    cell.message("human:owner", "a").done();
    cell.idle();
    cell.message("human:owner", "b").done();
    cell.resurrect();
    assert_eq!(cell.message("human:owner", "c").reply(), Some("<a;b;>"));
    cell.idle();
    cell.idle();
    cell.close().done();
    assert!(cell.is_closing());
    assert_eq!(beginnings(&cell), ["First", "Woken", "Resurrected"], "who is idle is not asked to close");
}

#[test]
fn a_start_that_fails_loses_the_event() {
    START.set(Some(|beginning| if beginning == Beginning::First { Ok(()) } else { Err(Failure::retry("home is gone")) }));
    let mut cell = TestCell::<Puppet>::new();
    cell.start().done();
    cell.idle();
    assert_eq!(*cell.tick().outcome(), Outcome::Lost("start: home is gone".to_owned()));
    assert_eq!(*cell.tick().outcome(), Outcome::Lost("start: home is gone".to_owned()));
    assert_eq!(beginnings(&cell), ["First", "Woken", "Again"]);
}

#[test]
fn the_limits_hold() {
    acts(|_, cell, _| {
        let reason = |done: Result<String, crate::Refusal>| done.map_err(|refusal| refusal.reason);
        assert_eq!(reason(cell.send("human:owner", "")), Err(Reason::Malformed));
        assert_eq!(reason(cell.send("human:owner", &"x".repeat(TEXT_MOST_BYTES + 1))), Err(Reason::TooLarge));
        assert_eq!(reason(cell.send("agent:nobody", "x")), Err(Reason::NoSuchMember));
        assert_eq!(reason(cell.send("nobody", "x")), Err(Reason::Malformed));
        for _ in 0..SENDS_MOST {
            cell.send("human:owner", &"x".repeat(TEXT_MOST_BYTES))?;
        }
        assert_eq!(reason(cell.send("human:owner", "x")), Err(Reason::TooFast));
        Ok(())
    });
    let mut cell = TestCell::<Puppet>::new();
    assert_eq!(cell.message("human:owner", "go").done().sent().len(), SENDS_MOST);
    assert_eq!(cell.audit().len(), 5, "each refusal is on record: {:?}", cell.audit());
}

#[test]
fn roles_do_what_the_table_says() {
    acts(|_, cell, _| {
        let granted = |name: &str, refused: Option<Reason>| match refused {
            None => cell.info(name),
            Some(reason) => assert_eq!(reason, Reason::NotGranted, "{name}"),
        };
        granted("home", cell.home().err().map(|e| e.reason));
        granted("receive", cell.receive().err().map(|e| e.reason));
        granted("executor", cell.send("agent:other", "x").err().map(|e| e.reason));
        granted("director", cell.send("human:owner", "x").err().map(|e| e.reason));
        granted("reply", cell.reply("x").err().map(|e| e.reason));
        granted("invite", cell.invite("human:guest", Role::Observer).err().map(|e| e.reason));
        granted("audit", cell.audit(1).err().map(|e| e.reason));
        granted("close", cell.close().err().map(|e| e.reason));
        Ok(())
    });
    for (role, expected) in [
        (Role::Executor, &["home", "receive", "executor", "director", "reply"][..]),
        (Role::Observer, &["home", "receive", "director", "reply"]),
        (Role::Director, &["home", "receive", "executor", "director", "reply", "invite", "audit", "close"]),
        (Role::Auditor, &["audit"]),
    ] {
        let mut cell = TestCell::<Puppet>::new().role(role).member("agent:other", Role::Executor);
        cell.message("agent:other", "go").done();
        assert_eq!(beginnings(&cell)[1..], *expected, "{role}");
        assert_eq!(cell.is_closing(), role == Role::Director);
    }
}

#[test]
fn a_batch_is_handled_or_waits_as_a_whole() {
    acts(|_, cell, message| {
        let mut taken = 0;
        while cell.receive()?.is_some() {
            taken += 1;
        }
        if message.attempt == 1 {
            return Err(Failure::retry("again"));
        }
        cell.reply(&taken.to_string())?;
        Ok(())
    });
    let mut cell = TestCell::<Puppet>::new();
    cell.waiting("human:owner", "one");
    cell.waiting("human:owner", "two");
    let failed = cell.message("human:owner", "go");
    assert_eq!(cell.again(&failed).reply(), Some("2"));
    assert_eq!(cell.message("human:owner", "go").outcome(), &Outcome::Retry("again".to_owned()));
}

#[test]
fn the_history_is_ones_own_unless_one_leads() {
    acts(|_, cell, _| {
        let all = cell.history(None, 10)?;
        let rest = cell.history(Some(&all[0].id), 10)?;
        assert_eq!(rest.len() + 1, all.len());
        assert_eq!(cell.history(Some("msg-0"), 1).map_err(|e| e.reason), Err(Reason::NoSuchMessage));
        cell.reply(&all.len().to_string())?;
        Ok(())
    });
    let mut cell = TestCell::<Puppet>::new();
    assert_eq!(cell.message("human:owner", "one").reply(), Some("1"));
    assert_eq!(cell.message("human:owner", "two").reply(), Some("3"), "what was sent is part of it");
}

#[test]
fn artifacts_are_regular_files_of_the_home() {
    acts(|_, cell, _| {
        let home = cell.home()?;
        fs::create_dir_all(home.join("out"))?;
        fs::write(home.join("out/report"), "abc")?;
        std::os::unix::fs::symlink(home.join("out"), home.join("link"))?;
        let kept = cell.declare("out/report", "report.md")?;
        assert_eq!((kept.bytes, &kept.sha256[..8]), (3, "ba7816bf"));
        for path in ["", "out", "../x", "/etc/hostname", "link/report", "out/../out/report", "none"] {
            assert_eq!(cell.declare(path, "x").map_err(|e| e.reason), Err(Reason::Malformed), "{path}");
        }
        for name in ["", ".hidden", "a/b", "a b", &"x".repeat(65)] {
            assert_eq!(cell.declare("out/report", name).map_err(|e| e.reason), Err(Reason::Malformed), "{name}");
        }
        fs::write(home.join("out/report"), "abcd")?;
        cell.declare("out/report", "report.md")?;
        Ok(())
    });
    let mut cell = TestCell::<Puppet>::new();
    cell.message("human:owner", "go").done();
    assert_eq!(cell.artifacts().iter().map(|kept| kept.bytes).collect::<Vec<_>>(), [4], "the later replaces the earlier");
}

#[test]
fn lines_are_plain_and_bounded() {
    acts(|_, cell, _| {
        cell.log(Level::Warn, "a\nb\u{1b}[31m");
        cell.log(Level::Debug, &"é".repeat(crate::LINE_MOST_BYTES));
        Ok(())
    });
    let mut cell = TestCell::<Puppet>::new();
    cell.message("human:owner", "go").done();
    let log = cell.log();
    assert_eq!(log[1], (Level::Warn, "a\\nb\\u{1b}[31m".to_owned()));
    assert_eq!(log[2].1.len(), crate::LINE_MOST_BYTES);
}

#[test]
fn homes_are_removed_with_their_cell() {
    let mut cell = TestCell::<Puppet>::new();
    acts(|_, _, _| Ok(()));
    cell.message("human:owner", "go").done();
    let home = cell.home();
    assert!(home.is_dir());
    drop(cell);
    assert!(!home.exists());
}
