//! Rows that make no sense, and a log that somebody edited.

use super::*;
use crate::audit::{Broken, Fault};

/// Each is a row that no code of ours writes; the CHECKs would refuse most of them.
const CORRUPTIONS: [&str; 21] = [
    "UPDATE cells SET state = 'undead'",
    "UPDATE cells SET state = 'closing'",
    "UPDATE cells SET state = 'closed', why = 'asked'",
    "UPDATE cells SET state = 'closed', why = 'asked', by_whom = 'nobody'",
    "UPDATE cells SET state = 'closed', why = 'finished', by_whom = 'human:alice'",
    "UPDATE cells SET state = 'failed', why = 'warden_died', message = 'x'",
    "UPDATE cells SET state = 'failed', why = 'not_ready'",
    "UPDATE cells SET state = 'destroyed', by_whom = 'human:alice'",
    "UPDATE cells SET state = 'destroyed', by_whom = 'human:alice', receipt = '{'",
    "UPDATE cells SET receipt = '{}'",
    "UPDATE cells SET backend = 'docker'",
    "UPDATE cells SET on_expire = ''",
    "UPDATE cells SET owner = 'alice'",
    "UPDATE cells SET project = '../..'",
    "UPDATE cells SET throwaway = 7",
    "UPDATE cells SET generation = -1",
    "UPDATE cells SET warden_pid = 5",
    "UPDATE cells SET warden_pid = -5, warden_start = 1, warden_boot = 'b'",
    "UPDATE cells SET expires_at = 9223372036854775807",
    "UPDATE members SET role = 'king'",
    "UPDATE members SET identity = 'x' WHERE member_id = 1",
];

#[test]
fn a_corrupt_row_is_corruption_and_names_its_cell() {
    for sql in CORRUPTIONS {
        let mut fixture = fixture();
        let cell = fixture.active(0xc0_ffee);
        raw(fixture.root.path()).execute_batch(sql).expect(sql);
        let check = |error: RegistryError| {
            assert!(matches!(&error, RegistryError::Corrupt { cell: named, .. } if *named == cell.to_string()), "{sql}: {error}");
        };
        check(fixture.registry.cell(&cell).expect_err(sql));
        check(fixture.registry.cells(CellFilter::All).expect_err(sql));
        check(fixture.registry.transition(&cell, Event::Rest, "warden", none()).expect_err(sql));
    }
}

#[test]
fn the_file_itself_refuses_what_its_checks_name() {
    let mut fixture = fixture();
    fixture.active(1);
    let connection = raw(fixture.root.path());
    connection.execute_batch("PRAGMA ignore_check_constraints = OFF").expect("a pragma");
    // What only our types know: identities, project names, receipts' contents, times.
    let only_ours = ["'nobody'", "'{'", "owner", "project", "9223372036854775807", "warden_pid = -5"];
    for sql in CORRUPTIONS.into_iter().filter(|sql| !only_ours.iter().any(|part| sql.contains(part))) {
        let error = connection.execute_batch(sql).expect_err(sql);
        assert!(error.to_string().contains("CHECK constraint failed"), "{sql}: {error}");
    }
    for sql in ["UPDATE audit SET actor = 'x'", "DELETE FROM audit"] {
        assert!(connection.execute_batch(sql).is_err(), "{sql}");
    }
}

#[test]
fn corrupt_runs_are_corruption() {
    for sql in [
        "UPDATE runs SET report = '{'",
        "UPDATE runs SET ended_at = 5",
        "UPDATE runs SET pid = -1",
        "UPDATE runs SET agent = '../x'",
        "UPDATE runs SET generation = 4294967296",
    ] {
        let mut fixture = fixture();
        let cell = fixture.active(1);
        fixture.registry.add_run(&cell, &run("scribe"), "warden").expect("it runs");
        raw(fixture.root.path()).execute_batch(sql).expect(sql);
        let error = fixture.registry.runs(&cell).expect_err(sql);
        assert!(matches!(&error, RegistryError::Corrupt { cell: named, .. } if *named == cell.to_string()), "{sql}: {error}");
    }
}

#[test]
fn corrupt_messages_tokens_and_artifacts_are_corruption() {
    use crate::mail::{Artifact, Draft, MessageId, Text};
    let hostile = [
        "UPDATE messages SET state = 'lost'",
        "UPDATE messages SET state = 'handled'",
        "UPDATE messages SET why = 'x'",
        "UPDATE messages SET not_before = 9223372036854775807, why = 'x'",
        "UPDATE messages SET failures = -1",
        "UPDATE messages SET text = ''",
        "UPDATE messages SET in_reply_to = 'msg-'",
        "UPDATE messages SET message_id = 'msg-../../x'",
        "UPDATE messages SET sender = 'nobody'",
        "UPDATE members SET role = 'king' WHERE identity = 'human:bob'",
        "UPDATE sessions SET identity = 'x'",
        "UPDATE artifacts SET sha256 = '../../x'",
        "UPDATE artifacts SET name = '../x'",
        "UPDATE artifacts SET agent = '../x'",
        "UPDATE artifacts SET fetched_at = 9223372036854775807",
    ];
    for sql in hostile {
        let mut fixture = fixture();
        let cell = fixture.active(0xc0_ffee);
        let text = Text::new("x".into()).expect("a text");
        let receiver = "agent:scribe".parse().expect("an identity");
        let draft = Draft { id: MessageId::random(), sender: alice(), receiver, text, in_reply_to: None };
        fixture.registry.accept(&cell, &[draft], 9, "human:alice").expect("accepted");
        let until = Utc::now() + TimeDelta::hours(1);
        fixture.registry.issue_token(&cell, &member("human:bob", Role::Observer), [1; 32], until, "human:alice").expect("issued");
        fixture.registry.redeem_token(&cell, [1; 32], [2; 32]).expect("joined");
        let artifact = Artifact { name: "a".into(), sha256: "ab".repeat(32), bytes: 1 };
        fixture.registry.keep_artifact(&cell, &"scribe".parse().expect("a name"), &artifact, "agent:scribe").expect("kept");
        raw(fixture.root.path()).execute_batch(sql).expect(sql);
        let registry = &fixture.registry;
        let read = [
            registry.inbox(&cell, None, InboxFilter::All).err(),
            registry.session_member(&cell, [2; 32]).err(),
            registry.artifacts(&cell).err(),
        ];
        let errors: Vec<RegistryError> = read.into_iter().flatten().collect();
        let named = |error: &RegistryError| matches!(error, RegistryError::Corrupt { cell: named, .. } if *named == cell.to_string());
        assert!(errors.len() == 1 && errors.iter().all(named), "{sql}: {errors:?}");
    }
}

/// Applies an edit to the stored log, and returns the first broken row.
fn broken_by(sql: &str) -> Broken {
    let mut fixture = fixture();
    let cell = fixture.active(1);
    fixture.happens(&cell, Event::Rest);
    fixture.happens(&cell, Event::Wake);
    let head = fixture.registry.audit_verify(None).expect("whole");
    assert_eq!(head.seq, 5);
    let connection = raw(fixture.root.path());
    connection.execute_batch("DROP TRIGGER audit_is_never_changed; DROP TRIGGER audit_is_never_shortened").expect("no triggers");
    connection.execute_batch(sql).expect(sql);
    match fixture.registry.audit_verify(Some(head)) {
        Err(RegistryError::AuditBroken(broken)) => broken,
        other => panic!("{sql}: {other:?}"),
    }
}

#[test]
fn an_edited_log_is_found_at_the_row() {
    for column in ["at = at + 1", "actor = 'x'", "action = 'drill'", "phase = 'failed'", "cell_id = NULL", "detail = ''"] {
        assert_eq!(broken_by(&format!("UPDATE audit SET {column} WHERE seq = 2")), Broken { seq: 2, what: Fault::Hash }, "{column}");
    }
    assert_eq!(broken_by("UPDATE audit SET previous = zeroblob(32) WHERE seq = 3").what, Fault::Previous);
    assert_eq!(broken_by("UPDATE audit SET hash = zeroblob(32) WHERE seq = 3"), Broken { seq: 3, what: Fault::Hash });
    assert_eq!(broken_by("DELETE FROM audit WHERE seq = 2"), Broken { seq: 2, what: Fault::Gap { found: 3 } });
    assert_eq!(broken_by("UPDATE audit SET seq = 40 WHERE seq = 5"), Broken { seq: 5, what: Fault::Gap { found: 40 } });
    let swap = "UPDATE audit SET seq = 40 WHERE seq = 2; UPDATE audit SET seq = 2 WHERE seq = 3; UPDATE audit SET seq = 3 WHERE seq = 40";
    assert_eq!(broken_by(swap), Broken { seq: 2, what: Fault::Previous });
    for unreadable in ["action = 'nothing'", "cell_id = 'x'", "hash = x'00'", "at = 9223372036854775807"] {
        let broken = broken_by(&format!("UPDATE audit SET {unreadable} WHERE seq = 2"));
        assert!(matches!(broken, Broken { seq: 2, what: Fault::Unreadable(_) }), "{broken}");
    }
    assert_eq!(broken_by("DELETE FROM audit WHERE seq = 5"), Broken { seq: 5, what: Fault::Truncated { end: 4, head: 5 } });
}
