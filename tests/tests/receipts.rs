//! Receipts: of every way in which a cell is destroyed, checked elsewhere, and of homes that were built to get in the way.

use std::{
    os::unix::fs::{PermissionsExt, symlink},
    process::Command,
};

use lazarus_tests::{
    Lab,
    lab::{Outcome, binary, text, wait_until},
};
use serde_json::Value;
use sha2::{Digest, Sha256};

const REFUSED: i32 = 1;
const USAGE: i32 = 2;
const NOT_FOUND: i32 = 3;

fn receipt(lab: &Lab, cell: &str) -> Value {
    lab.json(&["receipt", cell]).exits(0).json()["receipt"].clone()
}

/// Somebody else, who has nothing but the file and, perhaps, a key: no root of theirs is made.
fn elsewhere(lab: &Lab, args: &[&str]) -> Outcome {
    let mut command = Command::new(binary());
    let output = command.args(args).env_clear().current_dir(lab.work()).output().expect("started");
    Outcome {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The digest of a cell's home as docs/audit.md says it is made, by another walk than the program's.
fn digest_of(lab: &Lab, cell: &str) -> String {
    use std::os::unix::{ffi::OsStrExt, fs::FileTypeExt};
    let mut lines: Vec<Vec<u8>> = Vec::new();
    let mut left: Vec<_> = ["home", "guests", "shared"].map(|name| lab.cell_dir(cell).join(name)).to_vec();
    while let Some(path) = left.pop() {
        let Ok(meta) = path.symlink_metadata() else { continue };
        let kind = meta.file_type();
        let (kind, size, digest) = if kind.is_dir() {
            left.extend(std::fs::read_dir(&path).expect("listed").map(|entry| entry.expect("read").path()));
            ("dir", 0, "-".to_owned())
        } else if kind.is_symlink() {
            let target = std::fs::read_link(&path).expect("a target");
            ("link", target.as_os_str().len() as u64, sha256(target.as_os_str().as_bytes()))
        } else if kind.is_file() {
            ("file", meta.len(), sha256(&std::fs::read(&path).expect("read")))
        } else {
            (if kind.is_fifo() { "fifo" } else { "socket" }, 0, "-".to_owned())
        };
        let below = path.strip_prefix(lab.cell_dir(cell)).expect("below");
        lines.push([below.as_os_str().as_bytes(), format!("\0{kind}\0{size}\0{digest}\n").as_bytes()].concat());
    }
    lines.sort();
    sha256(&lines.concat())
}

#[test]
fn a_receipt_is_signed_kept_and_the_same_again() {
    let lab = Lab::new();
    let cell = lab.summon(&["scribe", "apollo", "--", "/bin/sh", "-c", "echo result > $HERMES_HOME/result; exec sleep 1000"]);
    wait_until("it wrote", || lab.cell_dir(&cell).join("home/result").exists());
    assert!(lab.run(&["receipt", &cell]).exits(NOT_FOUND).stderr.contains("it is not destroyed"));
    lab.run(&["close", &cell]).exits(0);
    let pid = lab.cell(&cell)["cell"]["warden"]["pid"].clone();
    let before = digest_of(&lab, &cell);
    // No key was made: the first teardown makes one, on record.
    let destroyed = lab.json(&["destroy", &cell]).exits(0).json();
    assert_eq!((&destroyed["signed"], &destroyed["receipt"]["processes_alive"]), (&true.into(), &0.into()));
    let made = lab.json(&["audit", "show", "--action", "audit_keygen"]).exits(0).json();
    assert_eq!(made["rows"].as_array().map(Vec::len), Some(2), "{made}");

    let document = receipt(&lab, &cell);
    assert_eq!(document["receipt"], destroyed["receipt"]);
    let done = &document["receipt"];
    assert_eq!((text(&done["home_sha256"]), text(&done["home_digest_covers"])), (before, "all".to_owned()));
    assert!(done["processes_verified"].as_array().expect("a list").iter().any(|process| process["pid"] == pid), "{done}");
    assert!(done["files_removed"].as_u64() > Some(2) && done["remained"].as_array().is_some_and(Vec::is_empty), "{done}");
    assert_eq!((text(&document["project"]), &document["generation"]), ("apollo".to_owned(), &1.into()));
    let row = &lab.json(&["audit", "show", "--cell", &cell, "--action", "destroy", "--phase", "done"]).exits(0).json()["rows"][0];
    assert_eq!(row["seq"], document["audit_seq"]);
    assert!(text(&row["detail"]).contains(&text(&done["home_sha256"])), "the chain holds it too: {row}");

    let again = lab.json(&["destroy", &cell]).exits(0).json();
    assert_eq!((&again["receipt"], &again["signed"]), (&destroyed["receipt"], &true.into()));
    assert_eq!(receipt(&lab, &cell), document);
    assert!(lab.run(&["receipt", &cell]).exits(0).stdout.contains("covers     all"));
    lab.run(&["receipt", "laz-00000000"]).exits(NOT_FOUND);
    lab.run(&["--as", "human:stranger", "receipt", &cell]).exits(REFUSED);
}

#[test]
fn a_receipt_is_checked_by_whoever_has_the_key() {
    let lab = Lab::new();
    let key = text(&lab.json(&["audit", "keygen"]).exits(0).json()["public_key"]);
    let cell = lab.summon(&["scribe", "p", "--", "sleep", "1000"]);
    lab.run(&["destroy", &cell]).exits(0);
    lab.run(&["receipt", &cell, "-o", "receipt.json"]).exits(0);
    lab.run(&["receipt", &cell, "-o", "receipt.json"]).exits(REFUSED);
    let checked = elsewhere(&lab, &["--json", "receipt", "--verify", "receipt.json", "--key", &key]).exits(0).json();
    assert_eq!((&checked["pinned"], text(&checked["cell_id"])), (&true.into(), cell.clone()));
    let own = lab.json(&["receipt", "--verify", "receipt.json"]).exits(0).json();
    assert!(own["pinned"] == false && text(&own["message"]).contains("proves less"), "{own}");
    // A key that was replaced still counts in its root; another's does not.
    let new = text(&lab.json(&["audit", "keygen", "--replace"]).exits(0).json()["public_key"]);
    lab.run(&["receipt", "--verify", "receipt.json"]).exits(0);
    elsewhere(&lab, &["receipt", "--verify", "receipt.json", "--key", &new]).exits(REFUSED);
    let document = std::fs::read_to_string(lab.work().join("receipt.json")).expect("a receipt");
    let honest: Value = serde_json::from_str(&document).expect("JSON");
    for (place, value) in
        [("/receipt/files_removed", 1.into()), ("/receipt/home_sha256", "00".repeat(32).into()), ("/cell_id", "laz-00000001".into())]
    {
        let mut forged = honest.clone();
        *forged.pointer_mut(place).expect("there") = value;
        lab.file("forged.json", forged.to_string());
        let said = elsewhere(&lab, &["receipt", "--verify", "forged.json", "--key", &key]).exits(REFUSED).stderr;
        assert!(said.contains("signature does not fit"), "{place}: {said}");
    }
    lab.file("nonsense", "\u{1b}]0;x\u{7}{");
    let said = elsewhere(&lab, &["receipt", "--verify", "nonsense", "--key", &key]).exits(REFUSED).stderr;
    assert!(said.contains("not a receipt") && !said.contains('\u{7}'), "{said}");
    for args in [vec!["receipt"], vec!["receipt", "--key", &key], vec!["receipt", &cell, "--verify", "receipt.json"]] {
        elsewhere(&lab, &args).exits(USAGE);
    }
}

#[test]
fn every_way_to_an_end_leaves_a_receipt() {
    let lab = Lab::new();
    let ran = lab.json(&["run", "--", "/bin/sh", "-c", "echo x > $HERMES_HOME/x"]).exits(0).json();
    let of_run = receipt(&lab, &text(&ran["cell_id"]));
    assert!(of_run["signature"].is_string() && of_run["receipt"]["home_digest_covers"] == "all", "{of_run}");
    // Its warden destroys it at its time.
    let expired = lab.summon(&["scribe", "p", "--ttl", "2s", "--on-expire", "destroy", "--", "sleep", "1000"]);
    wait_until("it is destroyed", || lab.state(&expired) == "destroyed");
    let of_expiry = receipt(&lab, &expired);
    assert!(of_expiry["signature"].is_string() && of_expiry["receipt"]["home_sha256"].is_string(), "{of_expiry}");
    let reason = text(&lab.cell(&expired)["cell"]["reason"]);
    assert!(reason.starts_with("destroyed after its time to live was over, on the word of human:"), "nobody did it by hand: {reason}");
    // One that never came to life has nothing to digest, and says so.
    let failed = lab.json(&["summon", "scribe", "p", "--", "/no/such/program"]).exits(REFUSED).json();
    let cells = lab.json(&["status", "--all"]).exits(0).json();
    let dead = cells["active_cells"].as_array().expect("a list").iter().find(|cell| cell["state"] == "failed");
    let dead = text(&dead.unwrap_or_else(|| panic!("{failed}"))["cell_id"]);
    lab.run(&["destroy", &dead]).exits(0);
    let of_dead = receipt(&lab, &dead);
    assert!(of_dead["receipt"]["home_sha256"].is_null(), "{of_dead}");
    assert!(text(&of_dead["receipt"]["home_digest_covers"]).starts_with("nothing"), "{of_dead}");
}

#[test]
fn a_key_that_cannot_be_read_keeps_no_teardown_from_happening() {
    let lab = Lab::new();
    lab.run(&["audit", "keygen"]).exits(0);
    std::fs::write(lab.root().join("keys/signing"), "no key at all").expect("damaged");
    let cell = lab.summon(&["scribe", "p", "--", "sleep", "1000"]);
    let destroyed = lab.json(&["destroy", &cell]).exits(0).json();
    assert_eq!(destroyed["signed"], false);
    assert!(text(&destroyed["message"]).contains("its receipt is unsigned: could not use the key"), "{destroyed}");
    assert!(!lab.cell_dir(&cell).exists());
    let document = receipt(&lab, &cell);
    assert!(text(&document["unsigned_because"]).contains("keys") && document.get("signature").is_none(), "{document}");
    lab.run(&["receipt", &cell, "-o", "unsigned.json"]).exits(0);
    assert!(lab.run(&["receipt", "--verify", "unsigned.json"]).exits(REFUSED).stderr.contains("it is not signed"));
    // The key is the operator's to mend.
    lab.run(&["audit", "head"]).exits(125);
    lab.run(&["audit", "keygen", "--replace"]).exits(0);
    lab.run(&["audit", "head"]).exits(0);
}

#[test]
fn hostile_homes_are_digested_removed_and_never_followed() {
    let lab = Lab::new();
    let cell = lab.summon(&["scribe", "p", "--", "sleep", "1000"]);
    lab.run(&["close", &cell]).exits(0);
    let home = lab.cell_dir(&cell).join("home");
    let canary = lab.file("canary", "untouched");
    symlink(&canary, home.join("out")).expect("linked");
    symlink("/", home.join("everything")).expect("linked");
    symlink(lab.root(), home.join("root")).expect("linked");
    rustix::fs::mknodat(rustix::fs::CWD, home.join("fifo"), rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).expect("a fifo");
    let _socket = std::os::unix::net::UnixListener::bind(home.join("s")).expect("a socket");
    std::fs::write(home.join("a\nb\u{1b}[2J\u{202e}"), b"named badly").expect("written");
    std::fs::create_dir(home.join("locked")).expect("made");
    std::fs::write(home.join("locked/file"), b"locked").expect("written");
    std::fs::create_dir_all(home.join("d/".repeat(40))).expect("made");
    let honest = digest_of(&lab, &cell);
    std::fs::set_permissions(home.join("locked/file"), std::fs::Permissions::from_mode(0o000)).expect("set");
    std::fs::set_permissions(home.join("locked"), std::fs::Permissions::from_mode(0o000)).expect("set");
    let start = std::time::Instant::now();
    let done = lab.json(&["destroy", &cell]).exits(0).json()["receipt"].clone();
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
    assert_eq!((text(&done["home_sha256"]), text(&done["home_digest_covers"])), (honest, "all".to_owned()));
    assert_eq!(std::fs::read(&canary).expect("there"), b"untouched");
    assert!(lab.root().join("registry.db").exists() && !lab.cell_dir(&cell).exists());
}

#[test]
fn what_a_digest_leaves_out_is_said_in_the_receipt() {
    let lab = Lab::new();
    let cell = lab.summon(&["scribe", "p", "--", "sleep", "1000"]);
    lab.run(&["close", &cell]).exits(0);
    let home = lab.cell_dir(&cell).join("home");
    // Larger than any digest reads, and nothing on the disk.
    std::fs::File::create(home.join("sparse")).expect("made").set_len(1 << 40).expect("stretched");
    std::fs::create_dir_all(home.join("d/".repeat(70))).expect("made");
    let done = lab.json(&["destroy", &cell]).exits(0).json()["receipt"].clone();
    let covers = text(&done["home_digest_covers"]);
    assert!(covers.starts_with("all but the contents of 1 files of 1099511627776 bytes and what is in 1 directories"), "{covers}");
    assert!(lab.run(&["receipt", &cell]).exits(0).stdout.contains("all but the contents of 1 files"));
}

#[test]
fn a_teardown_that_was_cut_short_does_not_pass_off_the_rest_as_the_whole() {
    let lab = Lab::new();
    let cell = lab.summon(&["scribe", "p", "--", "sleep", "1000"]);
    lab.run(&["close", &cell]).exits(0);
    // As it is left by one that was killed while it removed: begun, and some of it gone.
    std::fs::set_permissions(lab.cell_dir(&cell), std::fs::Permissions::from_mode(0o1700)).expect("set");
    std::fs::remove_file(lab.cell_dir(&cell).join("plan.json")).expect("removed");
    std::fs::remove_dir_all(lab.cell_dir(&cell).join("home")).expect("removed");
    let done = lab.json(&["destroy", &cell]).exits(0).json()["receipt"].clone();
    assert!(text(&done["home_digest_covers"]).starts_with("what an earlier teardown, which was cut short, had left"), "{done}");
}

#[test]
fn a_teardown_that_was_cut_short_before_it_removed_anything_left_the_whole() {
    let lab = Lab::new();
    let cell = lab.summon(&["scribe", "p", "--", "sleep", "1000"]);
    lab.run(&["close", &cell]).exits(0);
    std::fs::set_permissions(lab.cell_dir(&cell), std::fs::Permissions::from_mode(0o1700)).expect("set");
    lab.run(&["resurrect", &cell]).exits(0);
    let done = lab.json(&["destroy", &cell]).exits(0).json()["receipt"].clone();
    assert_eq!(done["home_digest_covers"], "all", "{done}");
    assert_eq!(receipt(&lab, &cell)["generation"], 2);
}

#[test]
fn two_who_destroy_at_once_get_one_receipt() {
    let lab = Lab::new();
    let cell = lab.summon(&["scribe", "p", "--", "sleep", "1000"]);
    let both: Vec<_> =
        (0..2).map(|_| lab.command(&["--json", "destroy", &cell]).stdout(std::process::Stdio::piped()).spawn().expect("started")).collect();
    let said: Vec<Value> =
        both.into_iter().map(|child| serde_json::from_slice(&child.wait_with_output().expect("ended").stdout).expect("JSON")).collect();
    let kept = receipt(&lab, &cell);
    assert!(said.iter().all(|said| said["success"] == true && said["signed"] == true && said["receipt"] == kept["receipt"]), "{said:?}");
    let keys = std::fs::read_to_string(lab.root().join("keys/public")).expect("keys");
    assert_eq!(keys.lines().count(), 1, "one key was made");
}
