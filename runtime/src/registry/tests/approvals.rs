//! Approvals: a history of which the newest word counts.

use super::*;
use crate::agent::{Definition, Digest, Grants, Terms};

fn scribe() -> AgentName {
    "scribe".parse().expect("a name")
}

fn terms(seed: u8) -> Terms {
    let text = "[agent]\nname = \"scribe\"\ncommand = [\"scribe\"]\n[grants]\nenv = { TOKEN = \"very secret\" }\n";
    let definition = Definition::parse("agent.toml", text.as_bytes()).expect("a definition");
    let digest = Digest::new([seed; 32]);
    Terms { definition: digest, component: Some(digest), template: None, grants: Grants::of(&definition) }
}

#[test]
fn the_newest_word_counts_and_the_history_stays() {
    let mut fixture = fixture();
    assert_eq!(fixture.registry.standing(&scribe()).expect("readable"), None);
    fixture.registry.approve(&scribe(), &terms(1), ApprovedBy::Adding, "human:alice").expect("approved");
    fixture.registry.approve(&scribe(), &terms(2), ApprovedBy::Word, "human:bob").expect("approved");
    let Some(Standing::Approved { terms: found, by, .. }) = fixture.again().standing(&scribe()).expect("readable") else {
        panic!("approved")
    };
    assert_eq!((*found, by.as_str()), (terms(2), "human:bob"));
    fixture.registry.forget_approval(&scribe(), "human:bob").expect("forgotten");
    assert_eq!(fixture.registry.standing(&scribe()).expect("readable"), Some(Standing::Removed));
    assert_eq!(fixture.registry.standing(&"other".parse().expect("a name")).expect("readable"), None);
    let connection = raw(fixture.root.path());
    let count: i64 = connection.query_row("SELECT count(*) FROM approvals", [], |row| row.get(0)).expect("counted");
    assert_eq!(count, 3);
    for sql in ["UPDATE approvals SET actor = 'x'", "DELETE FROM approvals"] {
        assert!(connection.execute_batch(sql).is_err_and(|error| error.to_string().contains("approvals are never")), "{sql}");
    }
    let kept: String = connection.query_row("SELECT group_concat(ifnull(grants, '')) FROM approvals", [], |row| row.get(0)).expect("read");
    assert!(kept.contains("TOKEN") && !kept.contains("very secret"), "{kept}");
    let rows = fixture.registry.audit_rows(&AuditFilter::default()).expect("readable");
    let actions: Vec<_> = rows.iter().map(|row| (row.action, row.phase)).collect();
    assert_eq!(actions, [(Action::AgentApprove, Phase::Done), (Action::AgentApprove, Phase::Done), (Action::AgentRemove, Phase::Done)]);
    assert!(rows[1].detail.contains(&Digest::new([2; 32]).to_string()), "{}", rows[1].detail);
    fixture.registry.audit_verify(None).expect("whole");
}

#[test]
fn a_row_that_makes_no_sense_approves_nothing() {
    let digest = "'".to_owned() + &"0".repeat(64) + "'";
    let good = serde_json::to_string(&terms(1).grants).expect("json");
    for (how, definition, grants) in [
        ("add", "NULL", format!("'{good}'")),
        ("add", digest.as_str(), "NULL".to_owned()),
        ("add", digest.as_str(), "'{}'".to_owned()),
        ("add", digest.as_str(), format!("'{}'", good.replacen('{', "{\"more\":1,", 1))),
        ("add", "'xyz'", format!("'{good}'")),
        ("remove", digest.as_str(), format!("'{good}'")),
        ("believe", digest.as_str(), format!("'{good}'")),
    ] {
        let fixture = fixture();
        let sql = format!(
            "INSERT INTO approvals (agent, at, actor, how, definition, grants) VALUES ('scribe', 1, 'human:alice', '{how}', {definition}, {grants})"
        );
        raw(fixture.root.path()).execute_batch(&sql).expect("planted");
        let error = fixture.registry.standing(&scribe()).expect_err(&sql);
        assert!(matches!(error, RegistryError::CorruptApproval { .. }), "{error}");
        if how != "believe" && grants != "'{}'" && !grants.contains("more") {
            // Without a hand that ignores them, the checks refuse it at once.
            let checked = Connection::open(fixture.root.path().join(FILE_NAME)).expect("a connection");
            assert!(checked.execute_batch(&sql).is_err(), "{sql}");
        }
    }
}
