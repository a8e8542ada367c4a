//! Documents that are genuine, and every way in which one is not.

use chrono::{SubsecRound, Utc};
use serde_json::{Value, json};

use super::*;
use crate::{
    audit::Head,
    cell::{Attempt, CellId, EndedProcess, Identity, Receipt},
    home::Root,
    registry::{Burial, Registry},
};

struct Ground {
    _temp: tempfile::TempDir,
    root: Root,
    registry: Registry,
}

fn ground() -> Ground {
    let temp = tempfile::tempdir().expect("a directory");
    let root = Root::open(&temp.path().join("root")).expect("a root");
    let registry = Registry::open(root.path()).expect("a registry");
    Ground { _temp: temp, root, registry }
}

impl Ground {
    fn signer(&mut self) -> Signer {
        Signer::ensure(&self.root, &mut self.registry, "human:alice").expect("a key")
    }

    fn head(&mut self) -> SignedHead {
        let signer = self.signer();
        SignedHead::sign(&signer, "00ff", &Head { seq: 7, hash: [0xab; 32] }, Utc::now())
    }

    fn receipt(&mut self) -> SignedReceipt {
        let signer = self.signer();
        receipt(Ok(&signer))
    }
}

fn receipt(signer: Result<&Signer, &str>) -> SignedReceipt {
    let record = crate::cell::Record {
        proposal: crate::cell::Proposal {
            cell_id: CellId::from_bits(1),
            project: "p".parse().expect("a name"),
            owner: "human:alice".parse().expect("an identity"),
            backend: crate::cell::BackendKind::Wasm,
            members: Vec::new(),
            hermes_home: "/h".into(),
            ttl: std::time::Duration::from_secs(1),
            on_expire: crate::cell::OnExpire::Close,
            team: false,
            throwaway: false,
            accept_degraded: false,
            created_at: Utc::now(),
            summoner: crate::cell::ProcessRef { pid: 1, start_ticks: 1, boot_id: "b".into() },
        },
        state: crate::cell::State::Proposed,
        state_since: Utc::now(),
        expires_at: Utc::now(),
        generation: 3,
        version: 1,
        warden: None,
    };
    let by: Identity = "human:alice".parse().expect("an identity");
    let receipt = Receipt {
        processes_ended: 2,
        files_removed: 3,
        directories_removed: 4,
        bytes_removed: 5,
        processes_verified: vec![EndedProcess { pid: 6, start_ticks: 7 }],
        home_sha256: Some("ab".repeat(32)),
        home_digest_covers: "all".into(),
        at_least: true,
        attempts: vec![Attempt {
            at: Utc::now().trunc_subsecs(6),
            actor: "human:alice".into(),
            processes_ended: 1,
            files_removed: 2,
            directories_removed: 3,
            bytes_removed: 4,
            cut_short: true,
        }],
        attempts_unlisted: 1,
        ..Receipt::default()
    };
    let burial = Burial { root_id: "00ff", record: &record, by: &by, at: Utc::now(), audit_seq: 9, receipt: &receipt };
    SignedReceipt::new(&burial, signer)
}

/// Every place in a document, as a JSON pointer: what is signed, field by field.
fn places(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| places(value, &format!("{path}/{name}"), found)),
        Value::Array(items) => items.iter().enumerate().for_each(|(at, value)| places(value, &format!("{path}/{at}"), found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => found.push(path.to_owned()),
    }
}

/// Another value of the same kind and form.
fn other(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_u64().expect("a count") + 1),
        Value::String(text) if text.starts_with("20") && text.contains('T') => json!("2001-01-01T00:00:00.000001Z"),
        Value::String(text) if text == "laz-00000001" => json!("laz-00000002"),
        Value::String(text) if text == "human:alice" => json!("human:mallory"),
        Value::String(text) => {
            let end = if text.ends_with('0') { "1" } else { "0" };
            json!(format!("{}{end}", &text[..text.len() - 1]))
        }
        Value::Null => json!("00"),
        Value::Bool(yes) => json!(!yes),
        Value::Array(_) | Value::Object(_) => panic!("{value}"),
    }
}

fn each_field_is_held<T: serde::Serialize>(document: &T, read: impl Fn(&[u8]) -> Result<(), DocumentError>) {
    let document = serde_json::to_value(document).expect("JSON");
    read(document.to_string().as_bytes()).expect("genuine");
    let mut all = Vec::new();
    places(&document, "", &mut all);
    assert!(all.len() >= 9, "{all:?}");
    for place in all {
        let mut changed = document.clone();
        let field = changed.pointer_mut(&place).expect("there");
        *field = other(field);
        assert!(read(changed.to_string().as_bytes()).is_err(), "{place} was changed to {changed}");
        let mut without = document.clone();
        let (parent, name) = place.rsplit_once('/').expect("a pointer");
        if let Some(Value::Object(fields)) = without.pointer_mut(parent) {
            fields.remove(name);
            assert!(read(without.to_string().as_bytes()).is_err(), "{place} was left out");
        }
    }
    let mut more = document.clone();
    more["note"] = json!("this was added");
    assert!(read(more.to_string().as_bytes()).is_err(), "something was added");
    for text in ["", "{}", "null", "[]", "\u{1b}[2J", "{\"kind\":\"\u{202e}\"}"] {
        let error = read(text.as_bytes()).expect_err(text).to_string();
        assert!(!error.contains('\u{1b}') && !error.contains('\u{202e}'), "{error:?}");
    }
}

#[test]
fn each_field_of_a_head_is_signed() {
    let mut ground = ground();
    let head = ground.head();
    assert_eq!(head.head(), Head { seq: 7, hash: [0xab; 32] });
    each_field_is_held(&head, |text| SignedHead::read(text).map(drop));
}

#[test]
fn each_field_of_a_receipt_is_signed() {
    let mut ground = ground();
    let receipt = ground.receipt();
    each_field_is_held(&receipt, |text| SignedReceipt::read(text).map(drop));
    let mut more = serde_json::to_value(&receipt).expect("JSON");
    more["receipt"]["note"] = json!("inside");
    assert!(SignedReceipt::read(more.to_string().as_bytes()).is_err());
}

/// As a Lazarus that knew nothing of attempts made it, in a root whose key is gone.
const OF_THE_FIRST_FORM: &str = include_str!("first_form.json");

#[test]
fn a_receipt_of_the_first_form_is_still_checked() {
    let honest: Value = serde_json::from_str(OF_THE_FIRST_FORM).expect("JSON");
    let (receipt, _) = SignedReceipt::read(OF_THE_FIRST_FORM.as_bytes()).expect("genuine");
    assert_eq!((receipt.version, receipt.receipt.at_least, receipt.receipt.attempts.len()), (1, false, 0));
    for (place, value) in [("/version", json!(2)), ("/receipt/at_least", json!(false)), ("/receipt/files_removed", json!(1))] {
        let mut forged = honest.clone();
        let (parent, name) = place.rsplit_once('/').expect("a pointer");
        forged.pointer_mut(parent).expect("there")[name] = value;
        assert!(SignedReceipt::read(forged.to_string().as_bytes()).is_err(), "{place}");
    }
}

#[test]
fn an_unsigned_receipt_says_why_and_is_not_believed() {
    let document = receipt(Err("could not use the key:\n\u{1b}[2J"));
    let text = serde_json::to_string(&document).expect("JSON");
    assert!(matches!(SignedReceipt::parse(text.as_bytes()), Ok(SignedReceipt { signature: Signature::Missing { .. }, .. })));
    let error = SignedReceipt::read(text.as_bytes()).expect_err("unsigned");
    assert!(matches!(&error, DocumentError::Unsigned(why) if why.starts_with("could not use the key") && !why.contains('\n')), "{error:?}");
}

#[test]
fn a_key_is_made_once_audited_and_replaced_only_when_asked() {
    let mut ground = ground();
    assert!(matches!(Signer::of(&ground.root), Err(SignerError::NoKey(_))));
    let head = ground.head();
    let first = head.public_key;
    assert_eq!(ground.signer().public(), first, "the same key again");
    let refused = make_key(&ground.root, &mut ground.registry, "human:alice", false);
    assert!(matches!(refused, Err(SignerError::KeyExists(there)) if there == first));
    let made = make_key(&ground.root, &mut ground.registry, "human:alice", true).expect("replaced");
    assert_eq!((made.replaced, ground.signer().public()), (Some(first), made.public));
    assert_ne!(made.public, first);
    assert_eq!(known_keys(&ground.root).expect("known"), [first, made.public]);
    SignedHead::read(serde_json::to_string(&head).expect("JSON").as_bytes()).expect("what it signed can still be checked");
    let phases: Vec<String> =
        ground.registry.audit_rows(&Default::default()).expect("rows").iter().map(|row| format!("{} {}", row.action, row.phase)).collect();
    let keygen = |phase: &str| format!("audit_keygen {phase}");
    assert_eq!(phases, ["intent", "done", "refused", "intent", "done"].map(keygen));
}

#[test]
fn keys_and_signatures_are_those_of_rfc_8032() {
    // Section 7.1, TEST 2.
    let public: PublicKey = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c".parse().expect("a key");
    let signature =
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";
    assert!(public.signed(&[0x72], signature));
    assert!(!public.signed(&[0x73], signature) && !public.signed(&[0x72], &signature.to_uppercase()) && !public.signed(&[0x72], "00"));
    // The neutral element, with which a signature can be made to fit anything; and no key at all.
    for bad in [&format!("01{}", "00".repeat(31)), &"0".repeat(64)] {
        assert_eq!(bad.parse::<PublicKey>(), Err(KeyParseError::Nobodys), "{bad}");
    }
    for bad in ["", "zz", &"3D".repeat(32)] {
        assert_eq!(bad.parse::<PublicKey>(), Err(KeyParseError::Form), "{bad}");
    }
}
