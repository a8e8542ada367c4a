//! Whatever guests write, on whatever way it comes into the audit: one harmless line in the row where it belongs, and no other row.

use proptest::prelude::*;

use super::*;
use crate::{
    audit::{Action, DETAIL_MOST_BYTES, Draft, Phase},
    mail::{Artifact, Draft as Letter, MessageId, Text},
};

/// What must not stand in a row: it acts on a terminal, ends a line, turns its order, or is not seen.
fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

/// Every way on which a guest's text becomes part of a row. Each returns how many rows it must have made.
type Way = (&'static str, fn(&mut Fixture, &CellId, &str) -> usize);

const WAYS: [Way; 8] = [
    ("a denied call", |fixture, cell, text| {
        fixture.registry.audit(Draft::new("agent:scribe", Action::Denied, Phase::Refused, Some(cell), text)).expect("stored");
        1
    }),
    ("a limit", |fixture, cell, text| {
        fixture.registry.audit(Draft::new(text, Action::Limit, Phase::Refused, Some(cell), text)).expect("stored");
        1
    }),
    ("the end of a run", |fixture, cell, text| {
        fixture.registry.add_run(cell, &run("scribe"), "warden").expect("it runs");
        let end = RunEnd { at: Utc::now(), well: false, how: text.to_owned() };
        fixture.registry.end_run(cell, &"scribe".parse().expect("a name"), &end, "warden").expect("ended");
        2
    }),
    ("a message that was parked", |fixture, cell, text| {
        let id = MessageId::random();
        let body: Text = "x".to_owned().try_into().expect("a text");
        let scribe: Identity = "agent:scribe".parse().expect("an identity");
        let letter = Letter { id: id.clone(), sender: alice(), receiver: scribe.clone(), text: body, in_reply_to: None };
        fixture.registry.accept(cell, &[letter], 10_000, "human:alice").expect("accepted");
        let failed = FailedDelivery { id, why: text.to_owned(), retry_at: None };
        let settlement = Settlement { failed: vec![failed], ..Settlement::default() };
        fixture.registry.settle(cell, &scribe, &settlement, "agent:scribe").expect("settled");
        3
    }),
    ("an artifact's name", |fixture, cell, text| {
        let artifact = Artifact { name: text.to_owned(), sha256: "ab".repeat(32), bytes: 1 };
        // One that is a name is kept; all others are refused, in a row that quotes them.
        let _ = fixture.registry.keep_artifact(cell, &"scribe".parse().expect("a name"), &artifact, "agent:scribe");
        1
    }),
    ("an artifact that is fetched", |fixture, cell, text| {
        let _ = fixture.registry.artifact_fetched(cell, &"critic".parse().expect("a name"), text, "human:alice");
        1
    }),
    ("an actor", |fixture, cell, text| {
        let later = Utc::now() + TimeDelta::hours(1);
        fixture.registry.extend(cell, later, text).expect("extended");
        1
    }),
    ("why a cell failed", |fixture, _, text| {
        let bits = u32::try_from(rows(fixture).len()).expect("few") + 1000;
        let other = fixture.active(bits);
        fixture.happens(&other, Event::Fail(FailReason::AgentEnded { message: text.to_owned() }));
        // Its proposal, that it is ready, that the summoning is done, that it failed.
        4
    }),
];

fn rows(fixture: &Fixture) -> Vec<crate::audit::Entry> {
    fixture.registry.audit_rows(&AuditFilter::default()).expect("rows")
}

fn check(fixture: &mut Fixture, cell: &CellId, text: &str) {
    for (way, go) in WAYS {
        let before = rows(fixture).len();
        let made = go(fixture, cell, text);
        let all = rows(fixture);
        assert_eq!(all.len(), before + made, "{way}: rows that nobody wrote, from {text:?}");
        for row in &all[before..] {
            for part in [&row.detail, &row.actor] {
                assert!(!part.chars().any(is_harmful), "{way}: {part:?}");
                assert!(part.len() <= DETAIL_MOST_BYTES, "{way}: {} bytes", part.len());
            }
        }
    }
    fixture.registry.audit_verify(None).expect("whole");
}

#[test]
fn texts_that_are_meant_badly_become_harmless_lines() {
    let mut fixture = fixture();
    let cell = fixture.active(1);
    let forged = "x\n99\u{2028}2026-01-01 00:00:00  human:root  destroy  done  laz-00000001  all is well";
    for text in [
        "\u{1b}]0;owned\u{7}\u{1b}[2J",
        forged,
        "\u{202e}txt.exe\u{2066}",
        "\u{9b}31m",
        "a\0b\r\u{8}",
        "\u{e0041}\u{200b}",
        &"ß".repeat(5000),
    ] {
        check(&mut fixture, &cell, text);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn no_text_does_any_harm(text in "[\\x00-\\x{10ffff}]{1,60}|[\\x00-\\x20\\x7f-\\xa0\\u{2000}-\\u{2070}\\u{e0000}-\\u{e0080}]{1,40}") {
        let mut fixture = fixture();
        let cell = fixture.active(1);
        check(&mut fixture, &cell, &text);
    }
}
