//! Who joins with a token, and which results are kept.

use super::*;
use crate::mail::Artifact;

fn hash(byte: u8) -> [u8; 32] {
    [byte; 32]
}

fn hour() -> DateTime<Utc> {
    Utc::now() + TimeDelta::hours(1)
}

impl Fixture {
    /// Invites human:bob, with the token whose digest is all of that byte.
    fn invite(&mut self, cell: &CellId, secret: u8, until: DateTime<Utc>) {
        let bob = member("human:bob", Role::Observer);
        self.registry.issue_token(cell, &bob, hash(secret), until, "human:alice").expect("issued");
    }

    fn fault(&mut self, cell: &CellId, secret: u8) -> TokenFault {
        match self.registry.redeem_token(cell, hash(secret), hash(200)) {
            Err(RegistryError::TokenRefused { fault, .. }) => fault,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_token_lets_its_person_in_once() {
    let mut fixture = fixture();
    let cell = fixture.active(1);
    let bob = member("human:bob", Role::Observer);
    let record = fixture.registry.issue_token(&cell, &bob, hash(1), hour(), "human:alice").expect("issued");
    assert!(record.proposal.members.iter().any(|member| member.identity == bob.identity));
    assert_eq!(fixture.again().cell(&cell).expect("readable"), Some(record));
    let joined = fixture.registry.redeem_token(&cell, hash(1), hash(101)).expect("joined");
    assert_eq!((&joined.identity, joined.role), (&bob.identity, Role::Observer));
    assert_eq!(fixture.again().session_member(&cell, hash(101)).expect("readable"), Some(joined));
    let error = fixture.registry.redeem_token(&cell, hash(1), hash(102)).expect_err("twice");
    assert_eq!(error.to_string(), format!("Cell {cell} does not take this token: it was used already; ask for a new invitation"));
    for session in [1, 102, 200] {
        assert_eq!(fixture.registry.session_member(&cell, hash(session)).expect("readable"), None);
    }
    assert_eq!(fixture.log()[3..], ["invite done", "join intent", "join done", "join refused"]);
    let rows = fixture.registry.audit_rows(&AuditFilter { newest: Some(2), ..AuditFilter::default() }).expect("a log");
    assert_eq!((rows[0].actor.as_str(), rows[0].detail.as_str()), ("human:bob", "human:bob as observer, invited by human:alice"));
    assert_eq!(rows[1].actor, "somebody with a token");
}

#[test]
fn unknown_late_revoked_and_foreign_tokens_let_nobody_in() {
    let mut fixture = fixture();
    let cell = fixture.active(1);
    let other = fixture.active(2);
    assert_eq!(fixture.fault(&cell, 1), TokenFault::Unknown);
    fixture.invite(&cell, 1, Utc::now() - TimeDelta::microseconds(1));
    assert_eq!(fixture.fault(&cell, 1), TokenFault::Late);
    assert_eq!(fixture.fault(&other, 1), TokenFault::Unknown);
    fixture.registry.revoke_member(&cell, &"human:bob".parse().expect("an identity"), "human:alice").expect("revoked");
    assert_eq!(fixture.fault(&cell, 1), TokenFault::Revoked);
    // A new invitation does not bring the old token back.
    fixture.invite(&cell, 2, hour());
    assert_eq!(fixture.fault(&cell, 1), TokenFault::Revoked);
    fixture.registry.redeem_token(&cell, hash(2), hash(102)).expect("the allowed twin");
    assert!(fixture.log().iter().filter(|row| *row == "join refused").count() == 5);
}

#[test]
fn a_session_ends_with_the_membership_and_does_not_come_back() {
    let mut fixture = fixture();
    let cell = fixture.active(1);
    let other = fixture.active(2);
    let bob: Identity = "human:bob".parse().expect("an identity");
    fixture.invite(&cell, 1, hour());
    fixture.registry.redeem_token(&cell, hash(1), hash(101)).expect("joined");
    assert_eq!(fixture.registry.session_member(&other, hash(101)).expect("readable"), None);
    fixture.registry.revoke_member(&cell, &bob, "human:alice").expect("revoked");
    assert_eq!(fixture.registry.session_member(&cell, hash(101)).expect("readable"), None);
    fixture.invite(&cell, 2, hour());
    assert_eq!(fixture.registry.session_member(&cell, hash(101)).expect("readable"), None);
    assert_eq!(fixture.fault(&cell, 1), TokenFault::Revoked);
}

#[test]
fn tokens_are_for_people_who_can_join() {
    let mut fixture = fixture();
    let cell = fixture.active(1);
    for identity in ["agent:scout", "bot:deploy"] {
        let guest = member(identity, Role::Observer);
        let error = fixture.registry.issue_token(&cell, &guest, hash(1), hour(), "human:alice").expect_err(identity);
        assert!(matches!(error, RegistryError::TokenNotForHuman { .. }), "{error}");
    }
    fixture.invite(&cell, 1, hour());
    let again = fixture.registry.issue_token(&cell, &member("human:bob", Role::Observer), hash(2), hour(), "human:alice");
    assert!(matches!(again, Err(RegistryError::AlreadyMember { .. })));
    assert_eq!(fixture.fault(&cell, 2), TokenFault::Unknown);
    fixture.happens(&cell, Event::Close(CloseReason::Expired));
    let error = fixture.registry.redeem_token(&cell, hash(1), hash(101)).expect_err("closing");
    assert_eq!(error.to_string(), format!("Cell {cell} cannot be joined (state=closing)"));
    fixture.happens(&cell, Event::Ended);
    let guest = member("human:carol", Role::Observer);
    let error = fixture.registry.issue_token(&cell, &guest, hash(3), hour(), "human:alice").expect_err("closed");
    assert!(matches!(error, RegistryError::NotAcceptingInvites { .. }));
    assert!(matches!(fixture.registry.redeem_token(&CellId::from_bits(9), hash(1), hash(1)), Err(RegistryError::NotFound(_))));
}

#[test]
fn a_token_is_not_used_up_by_two_at_once() {
    let mut fixture = fixture();
    let cell = fixture.active(1);
    fixture.invite(&cell, 1, hour());
    let root = fixture.root.path().to_owned();
    let joined: Vec<_> = std::thread::scope(|scope| {
        let (root, cell) = (&root, &cell);
        let join = |session| move || Registry::open(root).expect("the registry").redeem_token(cell, hash(1), hash(session));
        let threads = [101, 102, 103].map(|session| scope.spawn(join(session)));
        threads.map(|thread| thread.join().expect("no panic")).into_iter().collect()
    });
    assert_eq!(joined.iter().filter(|joined| joined.is_ok()).count(), 1, "{joined:?}");
    let sessions = [101, 102, 103].map(|session| fixture.registry.session_member(&cell, hash(session)).expect("readable"));
    assert_eq!(sessions.iter().flatten().count(), 1);
}

fn artifact(name: &str, byte: u8, bytes: u64) -> Artifact {
    Artifact { name: name.into(), sha256: format!("{byte:02x}").repeat(32), bytes }
}

fn agent(name: &str) -> AgentName {
    name.parse().expect("a name")
}

#[test]
fn an_artifact_is_kept_replaced_and_fetched() {
    let mut fixture = fixture();
    let cell = fixture.active(1);
    let scribe = agent("scribe");
    let first = artifact("report.md", 1, 10);
    assert_eq!(fixture.registry.keep_artifact(&cell, &scribe, &first, "agent:scribe").expect("kept"), None);
    let listed = fixture.again().artifacts(&cell).expect("readable");
    assert_eq!((&listed[0].agent, &listed[0].artifact, listed[0].fetched_at), (&scribe, &first, None));
    fixture.registry.artifact_fetched(&cell, &scribe, "report.md", "human:alice").expect("fetched");
    let fetched = fixture.registry.artifacts(&cell).expect("readable")[0].fetched_at;
    assert!(fetched.is_some());
    fixture.registry.artifact_fetched(&cell, &scribe, "report.md", "human:alice").expect("fetched again");
    // The same bytes were fetched; others were not.
    assert_eq!(fixture.registry.keep_artifact(&cell, &scribe, &first, "agent:scribe").expect("kept"), None);
    assert_eq!(fixture.registry.artifacts(&cell).expect("readable")[0].fetched_at, fetched);
    let second = artifact("report.md", 2, 20);
    assert_eq!(fixture.registry.keep_artifact(&cell, &scribe, &second, "agent:scribe").expect("kept"), Some(first.sha256.clone()));
    let listed = fixture.registry.artifacts(&cell).expect("readable");
    assert_eq!((listed.len(), &listed[0].artifact, listed[0].fetched_at), (1, &second, None));
    // A digest that another artifact has stays.
    fixture.registry.keep_artifact(&cell, &agent("critic"), &artifact("copy", 2, 20), "agent:critic").expect("kept");
    assert_eq!(fixture.registry.keep_artifact(&cell, &scribe, &first, "agent:scribe").expect("kept"), None);
    let error = fixture.registry.artifact_fetched(&cell, &scribe, "../x\n", "human:alice").expect_err("none");
    assert_eq!(error.to_string(), format!("Cell {cell} keeps no artifact ../x\\u{{a}} of scribe; `lazarus artifacts {cell}` lists them"));
    let words = ["artifact intent", "artifact done", "artifact refused"];
    assert!(fixture.log()[3..].iter().all(|row| words.contains(&row.as_str())), "{:?}", fixture.log());
}

#[test]
fn artifacts_are_named_and_bounded() {
    let mut fixture = fixture();
    let cell = fixture.active(1);
    let scribe = agent("scribe");
    let long = "x".repeat(65);
    for name in ["", ".", "..", ".hidden", "-rf", "_x", "a/b", "../x", "a b", "ä", "a\n", &long] {
        let error = fixture.registry.keep_artifact(&cell, &scribe, &artifact(name, 1, 1), "agent:scribe").expect_err(name);
        assert!(matches!(error, RegistryError::ArtifactName { .. }), "{error}");
    }
    for number in 0..ARTIFACTS_MOST {
        fixture.registry.keep_artifact(&cell, &scribe, &artifact(&format!("{number}.A_b-c"), 1, 1), "agent:scribe").expect("kept");
    }
    let error = fixture.registry.keep_artifact(&cell, &scribe, &artifact("more", 1, 1), "agent:scribe").expect_err("full");
    assert!(matches!(error, RegistryError::ArtifactsFull { most: ARTIFACTS_MOST, .. }), "{error}");
    fixture.registry.keep_artifact(&cell, &scribe, &artifact("0.A_b-c", 2, 1), "agent:scribe").expect("replaced");
    fixture.registry.keep_artifact(&cell, &agent("critic"), &artifact("more", 1, 1), "agent:critic").expect("another's");
    fixture.happens(&cell, Event::Ended);
    let error = fixture.registry.keep_artifact(&cell, &scribe, &artifact("late", 1, 1), "agent:scribe").expect_err("closed");
    assert_eq!(error.to_string(), format!("Cell {cell} cannot keep artifacts (state=closed)"));
    // They survive the close, and can be fetched; not the destruction.
    fixture.registry.artifact_fetched(&cell, &scribe, "1.A_b-c", "human:alice").expect("fetched");
    assert_eq!(fixture.registry.artifacts(&cell).expect("readable").len(), ARTIFACTS_MOST as usize + 1);
    fixture.happens(&cell, Event::Destroy { by: alice(), receipt: Receipt::default() });
    assert_eq!(fixture.registry.artifacts(&cell).expect("readable"), []);
}

#[test]
fn a_destroyed_cell_knows_no_tokens() {
    let mut fixture = fixture();
    let cell = fixture.active(1);
    fixture.invite(&cell, 1, hour());
    fixture.registry.redeem_token(&cell, hash(1), hash(101)).expect("joined");
    fixture.happens(&cell, Event::Ended);
    fixture.happens(&cell, Event::Destroy { by: alice(), receipt: Receipt::default() });
    assert_eq!(fixture.registry.session_member(&cell, hash(101)).expect("readable"), None);
    for table in ["tokens", "sessions"] {
        let count = |sql: &str| raw(fixture.root.path()).query_row(sql, [], |row| row.get::<_, i64>(0)).expect("a count");
        assert_eq!(count(&format!("SELECT count(*) FROM {table}")), 0, "{table}");
    }
    fixture.registry.audit_verify(None).expect("whole");
}
