//! Who joins and leaves; which agents run.

use super::*;

#[test]
fn a_member_joins_once_leaves_and_may_come_back() {
    let mut fixture = fixture();
    let cell = fixture.active(1);
    let guest = member("bot:deploy", Role::Observer);
    let record = fixture.registry.add_member(&cell, &guest, "human:alice").expect("invited");
    assert_eq!(fixture.again().cell(&cell).expect("readable"), Some(record.clone()));
    assert_eq!(record.proposal.members[2].identity, guest.identity);

    let twice = fixture.registry.add_member(&cell, &Member { role: Role::Director, ..guest.clone() }, "human:alice");
    assert_eq!(twice.expect_err("twice").to_string(), format!("Cell {cell} already has bot:deploy as a member"));

    let record = fixture.registry.revoke_member(&cell, &guest.identity, "human:alice").expect("revoked");
    assert_eq!(record.proposal.members.len(), 2);
    let absent = fixture.registry.revoke_member(&cell, &guest.identity, "human:alice");
    assert!(matches!(absent, Err(RegistryError::NotMember { .. })));
    fixture.registry.add_member(&cell, &guest, "human:alice").expect("invited again");
    // Nobody is forgotten.
    let rows: i64 = raw(fixture.root.path())
        .query_row(
            "SELECT count(*) FROM members WHERE identity = 'bot:deploy' AND (revoked_at IS NULL OR revoked_by = 'human:alice')",
            [],
            |row| row.get(0),
        )
        .expect("a count");
    assert_eq!(rows, 2);
    let log = ["invite done", "invite refused", "revoke done", "revoke refused", "invite done"];
    assert_eq!(fixture.log()[3..], log);
}

#[test]
fn only_active_and_idle_cells_take_members() {
    let mut fixture = fixture();
    let guest = member("human:bob", Role::Auditor);
    let asked = || Event::Close(CloseReason::Asked { by: alice() });
    let cases: [(Vec<Event>, Option<&str>); 6] = [
        (vec![], Some("proposed")),
        (vec![Event::Ready], None),
        (vec![Event::Ready, Event::Rest], None),
        (vec![Event::Ready, asked()], Some("closing")),
        (vec![Event::Ready, Event::Ended], Some("closed")),
        (vec![Event::Fail(FailReason::SummonerDied)], Some("failed")),
    ];
    for (bits, (events, refused)) in (1..).zip(cases) {
        let cell = fixture.propose(bits);
        fixture.registry.transition_many(&cell, events, "warden", none()).expect("allowed");
        let said = fixture.registry.add_member(&cell, &guest, "human:alice").err().map(|error| error.to_string());
        assert_eq!(said, refused.map(|state| format!("Cell {cell} is not accepting invites (state={state})")));
    }
    let absent = fixture.registry.add_member(&CellId::from_bits(99), &guest, "human:alice");
    assert!(matches!(absent, Err(RegistryError::NotFound(_))));
}

#[test]
fn an_expired_cell_takes_no_members_even_before_the_sweep() {
    let mut fixture = fixture();
    let old = Proposal { created_at: Utc::now() - TimeDelta::hours(2), ..proposal(1) };
    let cell = fixture.registry.propose(&old, "human:alice").expect("a new cell").proposal.cell_id;
    fixture.happens(&cell, Event::Ready);
    let guest = member("human:bob", Role::Observer);
    let error = fixture.registry.add_member(&cell, &guest, "human:alice").expect_err("expired");
    assert_eq!(error.to_string(), format!("Cell {cell} is not accepting invites (state=active, expired)"));
    fixture.registry.extend(&cell, Utc::now() + TimeDelta::hours(1), "human:alice").expect("extended");
    fixture.registry.add_member(&cell, &guest, "human:alice").expect("the allowed twin");
}

#[test]
fn a_proposal_that_names_somebody_twice_is_refused() {
    let mut fixture = fixture();
    let mut twice = proposal(1);
    twice.members.push(member("human:alice", Role::Observer));
    let error = fixture.registry.propose(&twice, "human:alice").expect_err("twice");
    assert!(matches!(error, RegistryError::AlreadyMember { .. }), "{error}");
    assert_eq!(fixture.registry.cell(&twice.cell_id).expect("readable"), None);
    assert_eq!(fixture.log(), ["summon refused"]);
}

#[test]
fn an_identity_that_could_not_be_read_back_is_not_stored() {
    let mut fixture = fixture();
    let hostile = Identity::Human("x'); DROP TABLE cells;--".into());
    let error = fixture.registry.propose(&Proposal { owner: hostile, ..proposal(1) }, "human:alice").expect_err("no identity");
    assert!(matches!(error, RegistryError::Identity(_)), "{error}");
    assert_eq!(fixture.registry.cells(CellFilter::All).expect("readable"), []);
}

#[test]
fn an_agent_has_one_life_at_a_time() {
    let mut fixture = fixture();
    let cell = fixture.active(1);
    let scribe: AgentName = "scribe".parse().expect("a name");
    fixture.registry.add_run(&cell, &run("scribe"), "warden").expect("it runs");
    let twice = fixture.registry.add_run(&cell, &run("scribe"), "warden");
    assert_eq!(twice.expect_err("twice").to_string(), format!("Cell {cell} already runs scribe"));
    let end = RunEnd { at: columns::kept(Utc::now()), well: false, how: "exit code 3".into() };
    assert!(fixture.registry.end_run(&cell, &scribe, &end, "warden").expect("stored"));
    assert!(!fixture.registry.end_run(&cell, &scribe, &end, "warden").expect("nothing to end"));
    fixture.registry.add_run(&cell, &run("scribe"), "warden").expect("restarted");
    let runs = fixture.again().runs(&cell).expect("runs");
    assert_eq!(runs.iter().map(|run| run.ended.clone()).collect::<Vec<_>>(), [Some(end), None]);
    assert_eq!(runs[0].report, run("scribe").report);

    fixture.happens(&cell, Event::Fail(FailReason::WardenDied));
    let runs = fixture.registry.runs(&cell).expect("runs");
    assert!(runs[1].ended.as_ref().is_some_and(|end| !end.well && end.how.contains("warden died")), "{:?}", runs[1]);
    let late = fixture.registry.add_run(&cell, &run("scribe"), "warden").expect_err("failed");
    assert_eq!(late.to_string(), format!("Cell {cell} cannot run an agent (state=failed)"));
    let log = ["run_started done", "run_started refused", "run_ended failed", "run_started done", "failed done", "run_started refused"];
    assert_eq!(fixture.log()[3..], log);
}

#[test]
fn a_warden_is_written_down_until_the_cell_is_destroyed() {
    let mut fixture = fixture();
    let cell = fixture.propose(1);
    let record = fixture.registry.record_warden(&cell, &process(5), "human:alice").expect("recorded");
    assert_eq!((&record.warden, record.version), (&Some(process(5)), 1));
    assert_eq!(fixture.again().cell(&cell).expect("readable"), Some(record));
    fixture.happens(&cell, Event::Fail(FailReason::WardenDied));
    fixture.happens(&cell, Event::Destroy { by: alice(), receipt: Receipt::default() });
    let error = fixture.registry.record_warden(&cell, &process(6), "human:alice").expect_err("destroyed");
    assert_eq!(error.to_string(), format!("Cell {cell} cannot be given a warden (state=destroyed)"));
    let error = fixture.registry.revoke_member(&cell, &alice(), "human:alice").expect_err("destroyed");
    assert!(matches!(error, RegistryError::Refused { .. }));
}
