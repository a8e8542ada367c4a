//! Any sequence of events: the registry agrees with `cell::decide`, and the chain stays whole.

use proptest::prelude::*;

use super::*;

fn event(kind: u8, text: &str) -> Event {
    let message = text.to_owned();
    match kind {
        0 => Event::Ready,
        1 => Event::Rest,
        2 => Event::Wake,
        3 => Event::Close(CloseReason::Asked { by: alice() }),
        4 => Event::Close(CloseReason::Expired),
        5 => Event::Ended,
        6 => Event::Fail(FailReason::AgentEnded { message }),
        7 => Event::Fail(FailReason::WardenDied),
        8 => Event::Resurrect,
        _ => Event::Destroy { by: alice(), receipt: Receipt { remained: vec![message], ..Receipt::default() } },
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_agrees_with_the_decision(
        // Mostly the events that lead on, so that sequences get past the first refusals.
        kinds in proptest::collection::vec((0_usize..3, 0_u8..10, "\\PC{0,12}|'; DROP TABLE cells;--"), 1..24)
    ) {
        let mut fixture = fixture();
        let cells = [1, 2, 3].map(|bits| fixture.propose(bits));
        let mut expected = [State::Proposed, State::Proposed, State::Proposed];
        let mut versions = [1_u64; 3];
        for (which, kind, text) in kinds {
            let happened = fixture.registry.transition(&cells[which], event(kind, &text), "human:alice", none());
            match decide(&expected[which], event(kind, &text)) {
                Ok(Decision::To(state)) => {
                    (expected[which], versions[which]) = (columns::tidy(state), versions[which] + 1);
                    prop_assert!(matches!(happened, Ok(Outcome::Moved(_))), "{happened:?}");
                }
                Ok(Decision::Already) => prop_assert!(matches!(happened, Ok(Outcome::Already(_))), "{happened:?}"),
                Err(refusal) => match happened {
                    Err(RegistryError::Refused { refusal: said, .. }) => prop_assert_eq!(said, refusal),
                    other => prop_assert!(false, "{other:?}"),
                },
            }
            let stored = fixture.registry.cell(&cells[which]).expect("readable").expect("there");
            prop_assert_eq!((&stored.state, stored.version), (&expected[which], versions[which]));
            prop_assert_eq!(stored.proposal.members.len(), 2);
        }
        let rows = fixture.log().len() as u64;
        prop_assert_eq!(fixture.again().audit_verify(None).expect("whole").seq, rows);
    }
}
