//! The cases. Each gets a fresh world, and leaves nothing alive in it.

use std::time::Duration;

use lazarus::cell::Role;

use super::world::{Answer, Behaviour, Wish, World};

/// Long enough for an agent that listens, on a slow machine.
const GRACE: Duration = Duration::from_secs(20);
/// For those that do not.
const SHORT: Duration = Duration::from_millis(300);
const HOUR: Duration = Duration::from_secs(3600);

/// Asserts that a world refused, in the contract's words, and changed nothing.
#[track_caller]
fn refused<T: std::fmt::Debug>(answer: Answer<T>, starts: &str, holds: &str) {
    let refused = answer.expect_err("it must be refused");
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.message.starts_with(starts) && refused.message.contains(holds), "{refused:?}: {starts}…{holds}");
}

/// Destroys what a case has left.
#[track_caller]
fn done(world: &mut dyn World, cell: &str) {
    let torn = world.destroy(cell).expect("destroyed");
    assert_eq!((torn.alive, torn.remained), (0, 0));
    assert_eq!(world.see(cell).state, "destroyed");
}

pub fn summoning_makes_an_active_cell(world: &mut dyn World) {
    let cell = world.one(Behaviour::Stays);
    let seen = world.see(&cell);
    assert_eq!((seen.state.as_str(), seen.reason.as_deref(), seen.expired), ("active", None, false));
    assert_eq!(seen.members.get("agent:scribe"), Some(&Role::Executor), "{seen:?}");
    // Three separate facts: the process, its pid, the cell's age.
    assert_eq!((seen.process.as_str(), seen.has_pid), ("alive", true));
    assert!((0.0..60.0).contains(&seen.age_seconds), "{seen:?}");
    let home = seen.agents["scribe"].home.clone().expect("it has a home");
    assert!(world.home_is_there(&home));
    done(world, &cell);
    assert!(!world.home_is_there(&home));
    assert_eq!(world.see(&cell).process, "dead");
}

pub fn an_agent_that_ends_well_closes_its_cell(world: &mut dyn World) {
    let cell = world.one(Behaviour::EndsWell);
    let seen = world.until_state(&cell, "closed");
    assert_eq!(seen.reason.as_deref(), Some("every agent ended well"));
    assert_eq!(seen.process, "dead");
    let home = seen.agents["scribe"].home.clone().expect("it has a home");
    assert!(world.home_is_there(&home), "the home of a closed cell stays");
    assert_eq!(world.logs(&cell), ["done"]);
    done(world, &cell);
}

pub fn an_agent_that_ends_badly_fails_its_cell(world: &mut dyn World) {
    let cell = world.one(Behaviour::EndsBadly);
    let seen = world.until_state(&cell, "failed");
    assert_eq!(seen.reason.as_deref(), Some("agent scribe: it exited with code 7"));
    assert_eq!(seen.process, "dead");
    done(world, &cell);
}

pub fn closing_tells_the_agent(world: &mut dyn World) {
    let cell = world.one(Behaviour::Stays);
    world.until_said(&cell, "here");
    world.close(&cell, GRACE).expect("closed");
    let seen = world.see(&cell);
    assert_eq!((seen.state.as_str(), seen.process.as_str()), ("closed", "dead"));
    assert!(seen.reason.as_deref().is_some_and(|reason| reason.starts_with("closed by ")), "{seen:?}");
    assert_eq!(world.logs(&cell), ["here", "told"]);
    done(world, &cell);
}

pub fn closing_ends_who_does_not_listen(world: &mut dyn World) {
    let cell = world.one(Behaviour::Stubborn);
    world.until_said(&cell, "here");
    world.close(&cell, SHORT).expect("closed");
    let seen = world.see(&cell);
    assert_eq!((seen.state.as_str(), seen.process.as_str()), ("closed", "dead"));
    assert_eq!(world.logs(&cell), ["here"]);
    done(world, &cell);
}

pub fn what_is_over_is_not_closed_again(world: &mut dyn World) {
    for (behaviour, state) in [(Behaviour::EndsWell, "closed"), (Behaviour::EndsBadly, "failed")] {
        let cell = world.one(behaviour);
        world.until_state(&cell, state);
        refused(world.close(&cell, GRACE), &format!("Cell {cell} "), &format!("(state={state})"));
        assert_eq!(world.see(&cell).state, state);
        done(world, &cell);
        refused(world.close(&cell, GRACE), &format!("Cell {cell} "), "(state=destroyed)");
        assert_eq!(world.see(&cell).state, "destroyed");
    }
}

pub fn every_state_can_be_destroyed(world: &mut dyn World) {
    let active = world.one(Behaviour::Stays);
    let stubborn = world.one(Behaviour::Stubborn);
    let closed = world.one(Behaviour::EndsWell);
    let failed = world.one(Behaviour::EndsBadly);
    world.until_state(&closed, "closed");
    world.until_state(&failed, "failed");
    for cell in [active, stubborn, closed, failed] {
        let homes: Vec<String> = world.see(&cell).agents.into_values().filter_map(|agent| agent.home).collect();
        let torn = world.destroy(&cell).expect("destroyed");
        assert_eq!((torn.alive, torn.remained), (0, 0), "{cell}");
        assert!(torn.files > 0, "{cell}: the home was furnished");
        let seen = world.see(&cell);
        assert_eq!(seen.state, "destroyed");
        assert!(seen.process != "alive" && seen.agents.values().all(|agent| !agent.lives), "{seen:?}");
        assert_eq!(homes.len(), 1, "{cell}");
        assert!(homes.iter().all(|home| !world.home_is_there(home)), "{cell}: {homes:?}");
    }
}

pub fn destroying_the_destroyed_is_success(world: &mut dyn World) {
    let cell = world.one(Behaviour::EndsWell);
    world.until_state(&cell, "closed");
    let first = world.destroy(&cell).expect("destroyed");
    let second = world.destroy(&cell).expect("nothing to do is success");
    assert_eq!(first, second, "the receipt of who did it");
}

pub fn what_is_not_over_is_listed(world: &mut dyn World) {
    let active = world.one(Behaviour::Stays);
    let failed = world.one(Behaviour::EndsBadly);
    let closed = world.one(Behaviour::EndsWell);
    world.until_state(&failed, "failed");
    world.until_state(&closed, "closed");
    assert_eq!(world.listed(), [active.clone(), failed.clone()]);
    for cell in [&active, &failed, &closed] {
        done(world, cell);
    }
    assert!(world.listed().is_empty());
}

pub fn people_are_invited_once(world: &mut dyn World) {
    let cell = world.one(Behaviour::Stays);
    world.invite(&cell, "human:alice", Role::Observer).expect("invited");
    refused(world.invite(&cell, "human:alice", Role::Director), "human:alice", "already a member");
    refused(world.invite(&cell, "agent:scribe", Role::Executor), "agent:scribe", "already a member");
    world.invite(&cell, "bot:deploy", Role::Auditor).expect("invited, without a definition");
    let members: Vec<(String, Role)> = world.see(&cell).members.into_iter().collect();
    let expected = [("agent:scribe", Role::Executor), ("bot:deploy", Role::Auditor), ("human:alice", Role::Observer)];
    assert_eq!(members, expected.map(|(who, role)| (who.to_owned(), role)));
    done(world, &cell);
}

pub fn nobody_is_invited_after_the_end(world: &mut dyn World) {
    for (behaviour, state) in [(Behaviour::EndsWell, "closed"), (Behaviour::EndsBadly, "failed")] {
        let cell = world.one(behaviour);
        world.until_state(&cell, state);
        let words = format!("Cell {cell} is not accepting invites (state=");
        refused(world.invite(&cell, "human:alice", Role::Observer), &words, state);
        done(world, &cell);
        refused(world.invite(&cell, "human:alice", Role::Observer), &words, "destroyed");
        assert_eq!(world.see(&cell).members.len(), 1);
    }
}

pub fn an_invited_agent_has_a_home_of_its_own(world: &mut dyn World) {
    world.define("critic", Behaviour::Stays);
    let cell = world.one(Behaviour::Stays);
    world.invite(&cell, "agent:critic", Role::Observer).expect("invited, and started");
    let seen = world.see(&cell);
    assert_eq!(seen.members.get("agent:critic"), Some(&Role::Observer));
    let homes: Vec<String> = ["critic", "scribe"].map(|agent| seen.agents[agent].home.clone().expect("a home")).to_vec();
    assert!(seen.agents.values().all(|agent| agent.lives), "{seen:?}");
    assert!(homes.iter().all(|home| world.home_is_there(home)));
    apart(&homes);
    world.close(&cell, GRACE).expect("closed");
    assert!(world.see(&cell).agents.values().all(|agent| !agent.lives), "an invited agent ends with its cell");
    done(world, &cell);
    assert!(homes.iter().all(|home| !world.home_is_there(home)));
}

/// Asserts that no home is another, nor inside another.
#[track_caller]
fn apart(homes: &[String]) {
    for (at, home) in homes.iter().enumerate() {
        for (other_at, other) in homes.iter().enumerate() {
            assert!(at == other_at || !(format!("{home}/").starts_with(&format!("{other}/"))), "{homes:?}");
        }
    }
}

pub fn an_expired_cell_takes_no_invites(world: &mut dyn World) {
    let wish = Wish { ttl: Some(Duration::from_secs(1)), keep: true, mount: false };
    let cell = world.one_with(Behaviour::Stays, &wish);
    world.wait(Duration::from_millis(1100));
    let seen = world.see(&cell);
    assert_eq!((seen.state.as_str(), seen.expired, seen.process.as_str()), ("active", true, "alive"), "kept, as asked");
    refused(world.invite(&cell, "human:alice", Role::Observer), &format!("Cell {cell} is not accepting invites (state="), "expired");
    world.extend(&cell, HOUR).expect("extended");
    assert!(!world.see(&cell).expired);
    world.invite(&cell, "human:alice", Role::Observer).expect("it has time again");
    done(world, &cell);
}

pub fn an_expired_cell_is_closed(world: &mut dyn World) {
    let wish = Wish { ttl: Some(Duration::from_secs(1)), ..Wish::default() };
    let cell = world.one_with(Behaviour::Stays, &wish);
    let seen = world.until_state(&cell, "closed");
    assert_eq!(seen.reason.as_deref(), Some("time to live over"));
    assert!(!seen.expired, "what is over no longer expires");
    done(world, &cell);
}

pub fn extending_gives_time(world: &mut dyn World) {
    let wish = Wish { ttl: Some(Duration::from_secs(2)), ..Wish::default() };
    let cell = world.one_with(Behaviour::Stays, &wish);
    world.extend(&cell, HOUR).expect("extended");
    world.wait(Duration::from_millis(2500));
    let seen = world.see(&cell);
    assert_eq!((seen.state.as_str(), seen.expired, seen.process.as_str()), ("active", false, "alive"));
    done(world, &cell);
}

pub fn what_is_over_is_not_extended(world: &mut dyn World) {
    let cell = world.one(Behaviour::EndsWell);
    world.until_state(&cell, "closed");
    refused(world.extend(&cell, HOUR), &format!("Cell {cell} "), "(state=closed)");
    done(world, &cell);
    refused(world.extend(&cell, HOUR), &format!("Cell {cell} "), "(state=destroyed)");
}

pub fn the_members_of_a_team_have_their_own_homes(world: &mut dyn World) {
    let names = ["critic", "courier", "scribe"];
    for name in names {
        world.define(name, Behaviour::Stays);
    }
    let cell = world.summon(&names, &Wish::default()).expect("summoned");
    let seen = world.see(&cell);
    let homes: Vec<String> = names.map(|agent| seen.agents[agent].home.clone().expect("a home")).to_vec();
    assert!(homes.iter().all(|home| world.home_is_there(home)), "{homes:?}");
    apart(&homes);
    assert!(names.iter().all(|name| seen.members.get(&format!("agent:{name}")) == Some(&Role::Executor)), "{seen:?}");
    done(world, &cell);
}

pub fn one_agent_ending_leaves_the_others(world: &mut dyn World) {
    world.define("critic", Behaviour::EndsBadly);
    world.define("scribe", Behaviour::Stays);
    let cell = world.summon(&["critic", "scribe"], &Wish::default()).expect("summoned");
    let seen = world.until(&cell, |seen| !seen.agents["critic"].lives);
    assert!(seen.agents["scribe"].lives, "{seen:?}");
    assert_eq!((seen.state.as_str(), seen.process.as_str()), ("active", "alive"));
    world.until_said(&cell, "here");
    world.close(&cell, GRACE).expect("closed");
    assert_eq!(world.see(&cell).state, "closed");
    done(world, &cell);
}

pub fn a_read_only_mount_is_read_and_not_written(world: &mut dyn World) {
    let cell = world.one_with(Behaviour::UsesMount, &Wish { mount: true, ..Wish::default() });
    world.until_state(&cell, "closed");
    assert_eq!(world.logs(&cell), ["given", "refused"]);
    done(world, &cell);
}

pub fn nothing_of_the_operators_environment_is_seen(world: &mut dyn World) {
    let cell = world.one(Behaviour::TellsVariables);
    world.until_state(&cell, "closed");
    let lines = world.logs(&cell);
    let (name, value) = world.variable_of_the_operator();
    assert!(!lines.iter().any(|line| line.contains(&name) || line.contains(&value)), "{lines:?}");
    for expected in [format!("LAZARUS_CELL={cell}"), "LAZARUS_AGENT=scribe".into(), "LAZARUS_ROLE=executor".into()] {
        assert!(lines.contains(&expected), "{expected}: {lines:?}");
    }
    assert!(lines.iter().any(|line| line.starts_with("HERMES_HOME=/")), "{lines:?}");
    done(world, &cell);
}

pub fn logs_keep_what_was_written_and_make_it_harmless(world: &mut dyn World) {
    let cell = world.one(Behaviour::WritesEscapes);
    world.until_state(&cell, "closed");
    assert_eq!(world.logs(&cell), ["\\x1b]0;x\\x07hello"]);
    done(world, &cell);
    assert!(world.logs(&cell).is_empty(), "nothing is left, logs neither");
}

pub fn an_unknown_cell_is_not_found(world: &mut dyn World) {
    let cell = "laz-00000000";
    let refusals = [
        world.status(cell).map(drop),
        world.close(cell, GRACE),
        world.destroy(cell).map(drop),
        world.extend(cell, HOUR),
        world.invite(cell, "human:alice", Role::Observer),
    ];
    for answer in refusals {
        let refused = answer.expect_err("it must be refused");
        assert_eq!((refused.code, refused.message.as_str()), (3, "Cell laz-00000000 not found"));
    }
}
