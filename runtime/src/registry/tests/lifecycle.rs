//! Cells from proposal to tombstone, and what is refused on the way.

use super::*;
use crate::audit::{Draft, Head};

#[test]
fn a_proposal_is_stored_whole_with_its_intent() {
    let mut fixture = fixture();
    let proposed = proposal(1);
    let stored = fixture.registry.propose(&proposed, "human:alice").expect("a new cell");
    let read = fixture.again().cell(&proposed.cell_id).expect("readable").expect("there");
    assert_eq!(read, stored);
    assert_eq!((&read.state, read.generation, read.version, &read.warden), (&State::Proposed, 1, 1, &None));
    assert_eq!(read.expires_at, columns::kept(proposed.created_at) + TimeDelta::hours(1));
    assert_eq!(read.proposal.hermes_home, proposed.hermes_home);
    assert_eq!(fixture.log(), ["summon intent"]);
}

#[test]
fn the_log_tells_summon_from_team_from_run() {
    let mut fixture = fixture();
    fixture.propose(1);
    let mut team = proposal(2);
    team.members.push(member("agent:critic", Role::Observer));
    fixture.registry.propose(&team, "human:alice").expect("a team");
    fixture.registry.propose(&Proposal { throwaway: true, ..proposal(3) }, "human:alice").expect("a throwaway cell");
    assert_eq!(fixture.log(), ["summon intent", "team intent", "run intent"]);
}

#[test]
fn a_taken_id_is_refused_and_the_first_cell_stays() {
    let mut fixture = fixture();
    let cell = fixture.active(1);
    let before = fixture.registry.cell(&cell).expect("readable");
    let error = fixture.registry.propose(&proposal(1), "human:bob").expect_err("taken");
    assert!(matches!(error, RegistryError::IdTaken(id) if id == cell));
    assert_eq!(fixture.registry.cell(&cell).expect("readable"), before);
    assert_eq!(fixture.log(), ["summon intent", "ready done", "summon done", "summon refused"]);
}

#[test]
fn a_life_and_a_second_one() {
    let mut fixture = fixture();
    let cell = fixture.propose(1);
    let extras = TransitionExtras { warden: Some(process(99)), runs: vec![run("scribe")], ..none() };
    let record = fixture.registry.transition(&cell, Event::Ready, "warden", extras).expect("ready").into_record();
    assert_eq!((&record.state, record.version, &record.warden), (&State::Active, 2, &Some(process(99))));
    assert_eq!(fixture.registry.runs(&cell).expect("runs"), [run_as_stored(&fixture, &cell)]);

    fixture.happens(&cell, Event::Rest);
    fixture.happens(&cell, Event::Wake);
    fixture.happens(&cell, Event::Close(CloseReason::Asked { by: alice() }));
    let closed = fixture.happens(&cell, Event::Ended);
    assert_eq!(closed.state, State::Closed { reason: CloseReason::Asked { by: alice() } });
    let ended = fixture.registry.runs(&cell).expect("runs")[0].ended.clone().expect("ended with its cell");
    assert!(!ended.well && ended.how.contains("closed by human:alice"), "{ended:?}");

    let later = Utc::now() + TimeDelta::hours(9);
    let extras = TransitionExtras { expires_at: Some(later), ..none() };
    let record = fixture.registry.transition(&cell, Event::Resurrect, "human:alice", extras).expect("back").into_record();
    assert_eq!((&record.state, record.generation, &record.warden), (&State::Active, 2, &None));
    assert_eq!(record.expires_at, columns::kept(later));

    fixture.happens(&cell, Event::Fail(FailReason::AgentEnded { message: "scribe: signal 9\n\u{1b}[2J".into() }));
    let receipt = Receipt { files_removed: 3, remained: vec![], ..Receipt::default() };
    let tombstone = fixture.happens(&cell, Event::Destroy { by: alice(), receipt: receipt.clone() });
    assert_eq!(tombstone.state, State::Destroyed { by: alice(), receipt });
    let again = Event::Destroy { by: alice(), receipt: Receipt::default() };
    let outcome = fixture.registry.transition(&cell, again, "human:alice", none()).expect("nothing to do");
    assert_eq!(outcome, Outcome::Already(tombstone.clone()));
    assert_eq!(fixture.again().cell(&cell).expect("readable"), Some(tombstone));
    fixture.registry.audit_verify(None).expect("whole");
}

fn run_as_stored(fixture: &Fixture, cell: &CellId) -> Run {
    let started_at = fixture.registry.runs(cell).expect("runs")[0].started_at;
    Run { started_at, ..run("scribe") }
}

#[test]
fn every_state_is_read_as_it_was_written() {
    let reasons = [CloseReason::Asked { by: alice() }, CloseReason::Finished, CloseReason::Expired];
    let message = || "it's; DROP TABLE cells;--".to_owned();
    let failures = [
        FailReason::NotReady { message: message() },
        FailReason::AgentEnded { message: message() },
        FailReason::WardenDied,
        FailReason::SummonerDied,
        FailReason::Internal { message: message() },
    ];
    let mut fixture = fixture();
    let mut bits = 0;
    let mut check = |events: Vec<Event>| {
        bits += 1;
        let cell = fixture.propose(bits);
        let outcome = fixture.registry.transition_many(&cell, events, "warden", none()).expect("allowed");
        assert_eq!(fixture.registry.cell(&cell).expect("readable").as_ref(), Some(outcome.record()));
        outcome.into_record().state
    };
    for reason in reasons {
        let state = check(vec![Event::Ready, Event::Close(reason.clone())]);
        assert_eq!(state, State::Closing { reason: reason.clone() });
        let state = check(vec![Event::Ready, Event::Close(reason.clone()), Event::Ended]);
        assert_eq!(state, State::Closed { reason });
    }
    for reason in failures {
        assert_eq!(check(vec![Event::Fail(reason.clone())]), State::Failed { reason });
    }
    assert_eq!(check(vec![Event::Ready]), State::Active);
    assert_eq!(check(vec![Event::Ready, Event::Rest]), State::Idle);
    let receipt = Receipt { remained: vec!["home/it's \\u{a}".into()], ..Receipt::default() };
    let events = vec![Event::Fail(FailReason::WardenDied), Event::Destroy { by: alice(), receipt: receipt.clone() }];
    assert_eq!(check(events), State::Destroyed { by: alice(), receipt });
}

#[test]
fn what_is_refused_changes_nothing_but_the_log() {
    let mut fixture = fixture();
    let cell = fixture.active(1);
    let before = fixture.registry.cell(&cell).expect("readable");
    let error = fixture.registry.transition(&cell, Event::Resurrect, "human:bob", none()).expect_err("it lives");
    assert_eq!(error.to_string(), format!("Cell {cell} cannot be resurrected (state=active)"));
    // The first event alone would be allowed: all or none.
    let error = fixture.registry.transition_many(&cell, vec![Event::Rest, Event::Ready], "human:bob", none());
    assert!(matches!(error, Err(RegistryError::Refused { .. })));
    let error = fixture.registry.transition(&CellId::from_bits(9), Event::Ready, "human:bob", none()).expect_err("absent");
    assert_eq!(error.to_string(), "Cell laz-00000009 not found");
    let stale = TransitionExtras { expected_version: Some(1), ..none() };
    let error = fixture.registry.transition(&cell, Event::Rest, "human:bob", stale).expect_err("it moved");
    assert!(matches!(error, RegistryError::VersionMoved { expected: 1, found: 2, .. }));
    assert_eq!(fixture.again().cell(&cell).expect("readable"), before);
    assert_eq!(fixture.log()[3..], ["resurrect refused", "ready refused", "ready refused"]);
    let last = fixture.registry.audit_rows(&AuditFilter { newest: Some(1), ..AuditFilter::default() }).expect("a log");
    assert_eq!((last[0].actor.as_str(), last[0].detail.as_str()), ("human:bob", "Cell laz-00000009 not found"));
}

#[test]
fn of_two_that_start_from_one_version_exactly_one_wins() {
    let mut fixture = fixture();
    let cell = fixture.active(1);
    let version = fixture.registry.cell(&cell).expect("readable").expect("there").version;
    let root = fixture.root.path().to_owned();
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let attempt = || {
            let mut registry = Registry::open(&root).expect("the registry");
            let extras = TransitionExtras { expected_version: Some(version), ..none() };
            registry.transition(&cell, Event::Close(CloseReason::Expired), "warden", extras)
        };
        let threads = [scope.spawn(attempt), scope.spawn(attempt)];
        threads.map(|thread| thread.join().expect("no panic")).into_iter().collect()
    });
    assert_eq!(outcomes.iter().filter(|outcome| matches!(outcome, Ok(Outcome::Moved(_)))).count(), 1);
    assert_eq!(outcomes.iter().filter(|outcome| matches!(outcome, Err(RegistryError::VersionMoved { .. }))).count(), 1);
}

#[test]
fn whoever_ends_a_cell_for_its_old_time_is_told_of_the_new() {
    let mut fixture = fixture();
    let cell = fixture.active(1);
    let read = fixture.registry.cell(&cell).expect("readable").expect("there");
    let later = columns::kept(Utc::now() + TimeDelta::hours(5));
    let extended = fixture.registry.extend(&cell, later, "human:alice").expect("extended");
    assert_eq!((extended.expires_at, fixture.again().cell(&cell).expect("readable")), (later, Some(extended)));
    let extras = TransitionExtras { expected_version: Some(read.version), ..none() };
    let error = fixture.registry.transition(&cell, Event::Close(CloseReason::Expired), "warden", extras);
    assert!(matches!(error, Err(RegistryError::VersionMoved { .. })));
    fixture.happens(&cell, Event::Ended);
    let error = fixture.registry.extend(&cell, later, "human:alice").expect_err("closed");
    assert_eq!(error.to_string(), format!("Cell {cell} cannot be extended (state=closed)"));
    assert_eq!(fixture.log()[3..], ["extend done", "ended done", "extend refused"]);
}

#[test]
fn each_filter_finds_its_cells() {
    let mut fixture = fixture();
    let now = Utc::now();
    let ago = |hours| now - TimeDelta::hours(hours);
    let mut make = |bits, created_at, on_expire, throwaway, events: Vec<Event>| {
        let proposal = Proposal { created_at, on_expire, throwaway, ..proposal(bits) };
        let cell = fixture.registry.propose(&proposal, "human:alice").expect("a new cell").proposal.cell_id;
        fixture.registry.transition_many(&cell, events, "warden", none()).expect("allowed");
    };
    let fail = || Event::Fail(FailReason::WardenDied);
    make(1, ago(9), OnExpire::Close, false, vec![]);
    make(2, ago(8), OnExpire::Keep, false, vec![Event::Ready]);
    make(3, now, OnExpire::Close, false, vec![Event::Ready, Event::Rest]);
    make(4, ago(7), OnExpire::Close, false, vec![Event::Ready, Event::Close(CloseReason::Expired)]);
    make(5, ago(6), OnExpire::Close, false, vec![Event::Ready, Event::Ended]);
    make(6, ago(5), OnExpire::Destroy, false, vec![Event::Ready, Event::Ended]);
    make(7, now, OnExpire::Destroy, false, vec![fail()]);
    make(8, now, OnExpire::Close, true, vec![fail()]);
    make(9, ago(4), OnExpire::Destroy, true, vec![fail(), Event::Destroy { by: alice(), receipt: Receipt::default() }]);
    let registry = &fixture.registry;
    let bits = |records: Result<Vec<Record>, RegistryError>| {
        let mut ids: Vec<_> = records.expect("readable").iter().map(|record| record.proposal.cell_id.clone()).collect();
        ids.sort();
        ids
    };
    let ids = |bits: &[u32]| bits.iter().copied().map(CellId::from_bits).collect::<Vec<_>>();
    assert_eq!(bits(registry.cells(CellFilter::All)), ids(&[1, 2, 3, 4, 5, 6, 7, 8, 9]));
    assert_eq!(bits(registry.cells(CellFilter::NotOver)), ids(&[1, 2, 3, 4, 7, 8]));
    assert_eq!(bits(registry.live_cells()), ids(&[1, 2, 3, 4]));
    assert_eq!(bits(registry.expired(now)), ids(&[1, 2, 4]));
    assert_eq!(bits(registry.leftovers(now)), ids(&[6, 8]));
    for record in registry.cells(CellFilter::All).expect("readable") {
        assert_eq!(record.state.may_live(), ids(&[1, 2, 3, 4]).contains(&record.proposal.cell_id));
        assert_eq!(record.proposal.members.len(), 2, "{}", record.proposal.cell_id);
    }
    let oldest_first: Vec<DateTime<Utc>> =
        registry.cells(CellFilter::All).expect("readable").iter().map(|record| record.proposal.created_at).collect();
    assert!(oldest_first.is_sorted());
}

#[test]
fn the_frequent_queries_use_their_indexes() {
    use super::read::Filter;
    let fixture = fixture();
    let cell = CellId::from_bits(1);
    let now = Utc::now();
    for (filter, index) in [
        (Filter::NotOver, "cells_not_over"),
        (Filter::Live, "cells_not_over"),
        (Filter::Expired(now), "cells_not_over"),
        (Filter::Leftover(now), "cells_leftover"),
        (Filter::One(&cell), "PRIMARY KEY"),
    ] {
        for (sql, table, by) in [(filter.cells_sql(), "cells", index), (filter.members_sql(), "members", "members_present")] {
            let mut explain = fixture.registry.connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect("a plan");
            let parameters = explain.parameter_count();
            let rows = explain.query_map(rusqlite::params_from_iter(vec![0; parameters]), |row| row.get::<_, String>(3)).expect("a plan");
            let plan: Vec<String> = rows.collect::<Result<_, _>>().expect("a plan");
            let step = plan.iter().find(|step| step.contains(&format!(" {table} "))).unwrap_or_else(|| panic!("{plan:?}"));
            assert!(step.contains(by), "{filter:?}: {plan:?}");
        }
    }
}

#[test]
fn the_log_takes_what_happens_outside() {
    let mut fixture = fixture();
    assert_eq!(fixture.registry.audit_head().expect("readable"), Head::EMPTY);
    let cell = CellId::from_bits(3);
    for (action, phase) in Action::ALL.iter().flat_map(|action| Phase::ALL.iter().map(move |phase| (*action, *phase))) {
        let draft = Draft::new("warden", action, phase, Some(&cell), "x\n'; DROP TABLE audit;--");
        let entry = fixture.registry.audit(draft).expect("stored");
        let newest = fixture.registry.audit_rows(&AuditFilter { newest: Some(1), ..AuditFilter::default() }).expect("a log");
        assert_eq!(newest, [entry]);
    }
    let entry = fixture.registry.audit(Draft::new("warden", Action::Sweep, Phase::Done, None, &"ß".repeat(5000))).expect("stored");
    assert_eq!(entry.cell, None);
    let rows = |filter| fixture.registry.audit_rows(&filter).expect("a log");
    let all = rows(AuditFilter::default());
    assert_eq!(all.len(), Action::ALL.len() * Phase::ALL.len() + 1);
    assert_eq!(rows(AuditFilter { cell: Some(cell), ..AuditFilter::default() }).len(), all.len() - 1);
    assert_eq!(rows(AuditFilter { after: 98, newest: Some(2), ..AuditFilter::default() }), all[all.len() - 2..]);
    assert_eq!(rows(AuditFilter { after: entry.seq, ..AuditFilter::default() }), []);
    let head = fixture.registry.audit_verify(None).expect("whole");
    assert_eq!((head, head), (fixture.registry.audit_head().expect("readable"), Head { seq: entry.seq, hash: entry.hash }));
}
