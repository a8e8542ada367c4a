//! A log that is tampered with in every way that changes a row, and the few that cannot be seen from inside.

use chrono::{DateTime, Utc};
use proptest::prelude::*;

use super::*;
use crate::cell::CellId;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 123_456_789).expect("in range")
}

fn log(rows: u32) -> Vec<Entry> {
    let mut head = Head::EMPTY;
    let mut entries = Vec::new();
    for n in 0..rows {
        let cell = CellId::from_bits(n);
        let phase = Phase::ALL[n as usize % Phase::ALL.len()];
        let draft = Draft::new("human:alice", Action::Summon, phase, (n % 3 != 0).then_some(&cell), &format!("row {n}"));
        // The clock is set back at every other row: no fault.
        let entry = draft.after(&head, at(1_700_000_000 - i64::from(n % 2) * 1000));
        head = Head { seq: entry.seq, hash: entry.hash };
        entries.push(entry);
    }
    entries
}

type Tampering = (&'static str, fn(&mut Entry));

/// Each changes one field, always to something else.
const TAMPERINGS: [Tampering; 9] = [
    ("seq", |e| e.seq += 1000),
    ("at", |e| e.at += chrono::TimeDelta::microseconds(1)),
    ("actor", |e| e.actor.push('x')),
    ("action", |e| e.action = Action::Destroy),
    ("phase", |e| e.phase = if e.phase == Phase::Done { Phase::Refused } else { Phase::Done }),
    ("cell", |e| e.cell = if e.cell.is_some() { None } else { Some(CellId::from_bits(7)) }),
    ("detail", |e| e.detail = e.detail.replacen("row", "sow", 1)),
    ("previous", |e| e.previous[31] ^= 1),
    ("hash", |e| e.hash[0] ^= 0x80),
];

#[test]
fn a_whole_log_has_its_head() {
    assert_eq!(verify(Vec::<Entry>::new()), Ok(Head::EMPTY));
    let entries = log(20);
    assert_eq!(verify(&entries), Ok(Head { seq: 20, hash: entries[19].hash }));
}

#[test]
fn each_field_of_each_row_is_held() {
    for row in 0..7 {
        for (field, tamper) in TAMPERINGS {
            let mut entries = log(7);
            tamper(&mut entries[row]);
            let broken = verify(&entries).expect_err(field);
            assert_eq!(broken.seq, row as u64 + 1, "{field}: {broken}");
        }
    }
}

#[test]
fn a_row_that_is_hashed_anew_breaks_the_next() {
    let mut entries = log(5);
    entries[2].detail = "forged".into();
    entries[2].hash = content::hash_of(&entries[2]);
    assert_eq!(verify(&entries), Err(Broken { seq: 4, what: Fault::Previous }));
}

#[test]
fn a_missing_row_and_a_swapped_pair_are_named() {
    let mut entries = log(6);
    entries.remove(3);
    assert_eq!(verify(&entries), Err(Broken { seq: 4, what: Fault::Gap { found: 5 } }));

    let mut entries = log(6);
    entries.remove(0);
    assert_eq!(verify(&entries), Err(Broken { seq: 1, what: Fault::Gap { found: 2 } }));

    let mut entries = log(6);
    entries.swap(1, 2);
    assert_eq!(verify(&entries), Err(Broken { seq: 2, what: Fault::Gap { found: 3 } }));

    // The same, with the numbers put right.
    (entries[1].seq, entries[2].seq) = (2, 3);
    assert_eq!(verify(&entries), Err(Broken { seq: 2, what: Fault::Previous }));
}

#[test]
fn truncation_shows_only_against_an_expected_head() {
    let entries = log(9);
    let head = verify(&entries).expect("whole");
    let kept = &entries[..6];
    assert_eq!(verify(kept), Ok(Head { seq: 6, hash: entries[5].hash }));
    assert_eq!(verify_against(kept, head), Err(Broken { seq: 7, what: Fault::Truncated { end: 6, head: 9 } }));
    assert_eq!(verify_against(&entries, head), Ok(head));
    // A log that has grown since still contains the exported row.
    let older = Head { seq: 4, hash: entries[3].hash };
    assert_eq!(verify_against(&entries, older), Ok(head));
    // One that was written anew does not.
    let other = Head { seq: 4, hash: [9; 32] };
    assert_eq!(verify_against(&entries, other), Err(Broken { seq: 4, what: Fault::OtherHead }));
}

#[test]
fn fields_cannot_flow_into_each_other() {
    let hash = |actor: &str, detail: &str| Draft::new(actor, Action::Send, Phase::Done, None, detail).after(&Head::EMPTY, at(0)).hash;
    assert_ne!(hash("human:a", "bc"), hash("human:ab", "c"));
    assert_ne!(hash("human:a", ""), hash("", "human:a"));
}

#[test]
fn a_head_is_exported_and_read_back() {
    let head = Head { seq: 12, hash: [0xab; 32] };
    assert_eq!(head.to_string().parse::<Head>(), Ok(head));
    for text in ["", "12", "12:", "x:00", "1:zz", &format!("1:{}", "é".repeat(32)), &format!("-1:{}", "00".repeat(32))] {
        assert!(text.parse::<Head>().is_err(), "{text}");
    }
}

#[test]
fn words_are_read_back_and_are_all_different() {
    for action in Action::ALL {
        assert_eq!(action.as_str().parse::<Action>(), Ok(*action));
    }
    for phase in Phase::ALL {
        assert_eq!(phase.as_str().parse::<Phase>(), Ok(*phase));
    }
    assert!("Summon".parse::<Action>().is_err());
    let words: std::collections::BTreeSet<_> = Action::ALL.iter().map(|action| action.as_str()).collect();
    assert_eq!(words.len(), Action::ALL.len());
}

#[test]
fn what_strangers_write_becomes_one_harmless_line() {
    assert_eq!(one_line("a\nb\u{1b}[2J\0\u{202e}\u{9b}", 100), "a\\u{a}b\\u{1b}[2J\\u{0}\\u{202e}\\u{9b}");
    assert_eq!(one_line("plain, ärger, 漢字", 100), "plain, ärger, 漢字");
    assert_eq!(one_line("abcdef", 6), "abcdef");
    assert_eq!(one_line("abcdefg", 6), "abc…");
    assert_eq!(one_line("\n\n", 9), "\\u{a}…");
}

proptest! {
    #[test]
    fn lines_are_bounded_harmless_and_stable(text in "\\PC*|[\\x00-\\x{10ffff}]{0,80}", most in 3_usize..60) {
        let line = one_line(&text, most);
        prop_assert!(line.len() <= most);
        prop_assert!(!line.chars().any(char::is_control));
        prop_assert_eq!(one_line(&line, most), line);
    }
}
