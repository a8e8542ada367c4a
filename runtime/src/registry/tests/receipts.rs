//! Receipts and the root's name, as they are kept.

use super::*;

fn sealed(fixture: &mut Fixture, cell: &CellId, document: &str) -> Result<Buried, RegistryError> {
    let receipt = Receipt { files_removed: 3, ..Receipt::default() };
    fixture.registry.bury(cell, None, &alice(), receipt, "human:alice", |burial| {
        assert_eq!(burial.record.proposal.cell_id, *cell);
        Ok(document.replace("SEQ", &burial.audit_seq.to_string()))
    })
}

#[test]
fn a_tombstone_and_its_receipt_are_one_commit_and_the_first_stands() {
    let mut fixture = fixture();
    let cell = fixture.active(1);
    let error = sealed(&mut fixture, &cell, "{}").expect_err("it lives");
    assert!(matches!(error, RegistryError::Refused { .. }), "{error}");
    assert_eq!(fixture.registry.receipt(&cell).expect("read"), None);

    fixture.happens(&cell, Event::Fail(FailReason::WardenDied));
    // What cannot be kept leaves no tombstone either.
    for bad in ["{", &format!("\"{}\"", "x".repeat(70_000))] {
        assert!(sealed(&mut fixture, &cell, bad).is_err());
        assert!(matches!(fixture.registry.cell(&cell).expect("read").expect("there").state, State::Failed { .. }));
    }
    let buried = sealed(&mut fixture, &cell, "{\"seq\":SEQ}").expect("buried");
    let head = fixture.registry.audit_head().expect("a head");
    assert_eq!(buried.document, Some(format!("{{\"seq\":{}}}", head.seq)));
    let again = sealed(&mut fixture, &cell, "{\"another\":true}").expect("nothing to do");
    assert_eq!((again.document, again.record.state), (buried.document.clone(), buried.record.state));
    assert_eq!(fixture.again().receipt(&cell).expect("read"), buried.document);
    let connection = Connection::open(fixture.root.path().join(FILE_NAME)).expect("a connection");
    for sql in ["UPDATE receipts SET document = '{}'", "DELETE FROM receipts"] {
        assert!(connection.execute_batch(sql).is_err(), "{sql}");
    }
}

#[test]
fn a_root_keeps_its_name_and_no_two_share_one() {
    let one = fixture();
    let name = one.registry.root_id().expect("a name");
    assert_eq!(one.again().root_id().expect("a name"), name);
    assert_ne!(fixture().registry.root_id().expect("a name"), name);
    assert!(name.len() == 32 && name.bytes().all(|b| b.is_ascii_hexdigit()), "{name}");
}
