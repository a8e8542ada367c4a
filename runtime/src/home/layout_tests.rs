//! Making, finding and removing cells on a real file system.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
};

use super::*;
use crate::{cell::AgentName, home::Place};

fn ground() -> (tempfile::TempDir, Root) {
    let temp = tempfile::tempdir().expect("a directory");
    let root = Root::open(&temp.path().join("root")).expect("a root");
    (temp, root)
}

fn agent(name: &str) -> AgentName {
    name.parse().expect("a name")
}

#[test]
fn a_cell_is_made_once_and_is_private() {
    let (_temp, root) = ground();
    let id = CellId::from_bits(7);
    assert!(root.cell(&id).expect("looked").is_none());
    let cell = root.create_cell(&id).expect("made");
    for part in ["", "home", "shared", "logs", "run"] {
        let mode = fs::metadata(cell.path().join(part)).expect(part).permissions().mode();
        assert_eq!(mode & 0o7777, 0o700, "{part}");
    }
    assert!(matches!(root.create_cell(&id), Err(LayoutError::Occupied(_))));
    assert_eq!(root.cell(&id).expect("opened").expect("there").path(), root.cell_path(&id));
    fs::create_dir(root.path().join("cells/lost+found")).expect("made");
    assert_eq!(root.cells().expect("listed"), std::slice::from_ref(&id));
    assert!(root.remove_cell(&id).is_complete());
    assert!(root.cell(&id).expect("looked").is_none());
    assert!(root.remove_cell(&id).is_complete());
}

#[test]
fn kept_files_are_private_and_go_with_their_cell() {
    let (temp, root) = ground();
    let id = CellId::from_bits(7);
    let cell = root.create_cell(&id).expect("made");
    cell.make_home(Place::Only, &agent("scribe"), None).expect("a home");
    let home = cell.home(Place::Only, &agent("scribe")).expect("opened").expect("there");
    fs::write(cell.path().join("home/report.md"), "x").expect("written");
    let kept = cell.artifacts().expect("made");
    let mode = fs::metadata(cell.path().join("artifacts")).expect("there").permissions().mode();
    assert_eq!(mode & 0o7777, 0o700);
    crate::home::keep_file(&home, "report.md", &kept, 10).expect("kept");
    assert_eq!(cell.artifacts().expect("opened").entries().expect("read").count(), 1);
    assert!(root.remove_cell(&id).is_complete());
    assert!(!cell.path().exists());

    let planted = root.create_cell(&CellId::from_bits(8)).expect("made");
    symlink(temp.path(), planted.path().join("artifacts")).expect("linked");
    assert!(planted.artifacts().is_err());
}

#[test]
fn a_planted_name_is_neither_followed_nor_reused() {
    let (temp, root) = ground();
    let canary = temp.path().join("canary");
    fs::create_dir(&canary).expect("made");
    fs::write(canary.join("egg"), "egg").expect("written");
    let cells = root.path().join("cells");
    symlink(&canary, cells.join("laz-00000001")).expect("linked");
    symlink(temp.path().join("nowhere"), cells.join("laz-00000002")).expect("linked");
    fs::write(cells.join("laz-00000003"), "x").expect("written");
    fs::create_dir(cells.join("laz-00000004")).expect("made");
    for bits in 1..=4 {
        assert!(matches!(root.create_cell(&CellId::from_bits(bits)), Err(LayoutError::Occupied(_))), "{bits}");
    }
    for bits in 1..=3 {
        assert!(matches!(root.cell(&CellId::from_bits(bits)), Err(LayoutError::Foreign(_))), "{bits}");
        assert!(root.remove_cell(&CellId::from_bits(bits)).is_complete(), "{bits}");
    }
    assert_eq!(fs::read_dir(&canary).expect("read").count(), 1);
    assert!(!temp.path().join("nowhere").exists());
}

#[test]
fn agents_have_homes_of_their_own() {
    let (_temp, root) = ground();
    let cell = root.create_cell(&CellId::from_bits(1)).expect("made");
    let (a, b) = (agent("a"), agent("b"));
    for name in [&a, &b] {
        cell.make_home(Place::Member, name, None).expect("made");
        assert_eq!(cell.home_path(Place::Member, name), cell.hermes_home().join("profiles").join(name.as_str()));
        assert!(cell.home_path(Place::Member, name).join("config.yaml").exists());
        assert!(matches!(cell.make_home(Place::Member, name, None), Err(LayoutError::Occupied(_))));
    }
    cell.make_home(Place::Guest, &a, None).expect("made");
    assert!(cell.path().join("guests/profiles/a/SOUL.md").exists());
    assert!(matches!(cell.make_home(Place::Only, &a, None), Err(LayoutError::Occupied(_))), "home holds a team");
    assert!(cell.home(Place::Guest, &b).expect("looked").is_none());
    assert!(cell.remove_home(Place::Guest, &a).is_complete());
    assert!(cell.home(Place::Guest, &a).expect("looked").is_none());
    assert!(cell.home(Place::Member, &b).expect("looked").is_some());
}

#[test]
fn a_home_swapped_for_a_link_is_not_entered() {
    let (temp, root) = ground();
    let cell = root.create_cell(&CellId::from_bits(1)).expect("made");
    let name = agent("a");
    cell.make_home(Place::Only, &name, None).expect("made");
    fs::rename(cell.hermes_home(), temp.path().join("moved")).expect("moved");
    symlink(temp.path().join("moved"), cell.hermes_home()).expect("linked");
    assert!(matches!(cell.home(Place::Only, &name), Err(LayoutError::Foreign(_))));
    assert!(matches!(cell.make_home(Place::Member, &name, None), Err(LayoutError::Foreign(_))));
    assert!(cell.remove_home(Place::Only, &name).is_complete());
    assert!(temp.path().join("moved/SOUL.md").exists());
}

#[test]
fn a_record_is_written_and_read() {
    let (_temp, root) = ground();
    let cell = root.create_cell(&CellId::from_bits(1)).expect("made");
    assert_eq!(cell.read_record().expect("looked"), None);
    cell.write_record(b"{\"state\":\"proposed\"}").expect("written");
    cell.write_record(b"{}").expect("written");
    assert_eq!(cell.read_record().expect("read").as_deref(), Some(&b"{}"[..]));
    fs::remove_file(cell.path().join("cell.json")).expect("removed");
    symlink("/etc/passwd", cell.path().join("cell.json")).expect("linked");
    assert!(cell.read_record().is_err());
    cell.write_record(b"{}").expect("the link is replaced");
    assert_eq!(cell.read_record().expect("read").as_deref(), Some(&b"{}"[..]));
}
