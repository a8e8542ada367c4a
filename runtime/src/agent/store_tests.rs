//! Installing, loading, replacing and removing definitions on a real file system.

use std::{fs, os::unix::fs::symlink};

use super::*;

struct Ground {
    temp: tempfile::TempDir,
    root: Root,
}

fn ground() -> Ground {
    let temp = tempfile::tempdir().expect("a directory");
    let root = Root::open(&temp.path().join("root")).expect("a root");
    fs::create_dir_all(temp.path().join("src/template/memories")).expect("made");
    fs::write(temp.path().join("src/scribe.wasm"), "component one").expect("written");
    fs::write(temp.path().join("src/template/SOUL.md"), "soul").expect("written");
    fs::write(temp.path().join("src/template/auth.json"), "secret").expect("written");
    Ground { temp, root }
}

const SCRIBE: &str = r#"[agent]
name = "scribe"
component = "scribe.wasm"
template = "./template"
[grants]
mounts = [{ host = "./project", guest = "/project" }]
"#;

impl Ground {
    fn write(&self, text: &str) -> PathBuf {
        let file = self.temp.path().join("src/agent.toml");
        fs::write(&file, text).expect("written");
        file
    }

    fn add(&self, text: &str, replace: bool) -> Result<Added, AgentError> {
        add(&self.root, &self.write(text), replace)
    }

    fn installed(&self, name: &str) -> PathBuf {
        self.root.agents_path().join(name)
    }

    /// What is below `agents`, names of the installed and the unfinished.
    fn entries(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.root.agents_path())
            .expect("read")
            .map(|entry| entry.expect("read").file_name().into_string().expect("text"))
            .collect();
        names.sort();
        names
    }
}

fn scribe() -> AgentName {
    "scribe".parse().expect("a name")
}

#[test]
fn what_is_added_is_loaded_without_its_source() {
    let ground = ground();
    let added = ground.add(SCRIBE, false).expect("added");
    assert!(!added.replaced);
    assert_eq!(
        added.template.as_ref().map(|seeded| (seeded.files, seeded.skipped.clone())),
        Some((1, vec!["auth.json: never carried over".into()]))
    );
    fs::remove_dir_all(ground.temp.path().join("src")).expect("removed");
    let mut installed = load(&ground.root, &scribe()).expect("loaded").expect("there");
    assert_eq!(installed.text, SCRIBE);
    assert_eq!(installed.definition.mounts[0].host, ground.temp.path().join("src/project"));
    let component = installed.component.as_mut().expect("a component");
    assert_eq!(Some((component.sha256, component.bytes)), added.component);
    let mut content = String::new();
    std::io::Read::read_to_string(&mut component.file, &mut content).expect("read");
    assert_eq!(content, "component one");
    assert!(installed.template.expect("a template").exists("SOUL.md"));
    assert_eq!(list(&ground.root).expect("listed"), [scribe()]);
    assert!(load(&ground.root, &"critic".parse().expect("a name")).expect("looked").is_none());
}

#[test]
fn replacing_needs_a_word_and_is_whole() {
    let ground = ground();
    ground.add(SCRIBE, false).expect("added");
    assert!(matches!(ground.add(SCRIBE, false), Err(AgentError::Exists(_))));
    let bad = SCRIBE.replace("scribe.wasm", "missing.wasm");
    assert!(matches!(ground.add(&bad, true), Err(AgentError::Part { what: "component", .. })));
    assert_eq!(load(&ground.root, &scribe()).expect("loaded").expect("there").text, SCRIBE, "a failed replacement changes nothing");
    // Left by a command that crashed.
    fs::create_dir_all(ground.installed(".new-scribe/half")).expect("made");
    let changed = "[agent]\nname = \"scribe\"\n";
    let added = ground.add(changed, true).expect("replaced");
    assert!(added.replaced && added.component.is_none());
    assert_eq!(load(&ground.root, &scribe()).expect("loaded").expect("there").text, changed);
    assert_eq!(ground.entries(), ["scribe"]);
}

#[test]
fn a_pin_decides() {
    let ground = ground();
    let digest = digest_of(b"component one").to_string();
    let pinned = |digest: &str| SCRIBE.replace("[grants]", &format!("sha256 = \"{digest}\"\n[grants]"));
    assert!(matches!(ground.add(&pinned(&"0".repeat(64)), false), Err(AgentError::Pin { .. })));
    assert_eq!(ground.entries(), Vec::<String>::new());
    ground.add(&pinned(&digest), false).expect("added");
}

#[test]
fn what_changed_where_it_lies_shows() {
    let ground = ground();
    ground.add(SCRIBE, false).expect("added");
    let now = || load(&ground.root, &scribe()).map(|found| found.expect("there"));
    let before = now().expect("loaded");
    assert!(before.as_locked);
    let differs = |what: &str, widens: bool| {
        let found = super::super::differences(&before.terms, &now().expect(what).terms);
        assert!(found.iter().any(|difference| difference.line.starts_with(what) && difference.widens == widens), "{what}: {found:?}");
    };
    let (definition, component) = (ground.installed("scribe/agent.toml"), ground.installed("scribe/component.wasm"));
    fs::write(&component, "component two").expect("written");
    differs("component sha256", true);
    assert!(!now().expect("loaded").as_locked);
    fs::remove_file(&component).expect("removed");
    symlink("/etc/passwd", &component).expect("linked");
    assert_eq!(now().expect_err("a link").to_string(), "keep agent scribe");
    fs::remove_file(&component).expect("removed");
    fs::write(&component, "component one").expect("written");
    assert_eq!(now().expect("loaded").terms, before.terms);
    fs::write(ground.installed("scribe/template/SOUL.md"), "another").expect("written");
    differs("template sha256", true);
    fs::write(ground.installed("scribe/template/SOUL.md"), "soul").expect("written");
    fs::write(&definition, SCRIBE.replace("guest = \"/project\"", "guest = \"/project\", access = \"rw\"")).expect("written");
    differs("definition sha256", false);
    // Relative paths still mean the directory that it came from.
    let project = ground.temp.path().join("src/project");
    differs(&format!("mount {0} at /project (ro) → {0} at /project (rw)", project.display()), true);
    fs::write(&definition, SCRIBE.replace("\"scribe\"", "\"other\"")).expect("written");
    assert!(matches!(now(), Err(AgentError::Renamed { .. })));
    fs::write(&definition, SCRIBE).expect("written");
    let lock = fs::read_to_string(ground.installed("scribe/lock.json")).expect("read");
    let tampered = lock.replace(&project.display().to_string(), "/etc");
    assert_ne!(tampered, lock);
    fs::write(ground.installed("scribe/lock.json"), tampered).expect("written");
    differs("mount", true);
    fs::write(ground.installed("scribe/lock.json"), lock.replace("\"version\": 1", "\"version\": 2")).expect("written");
    assert!(now().expect_err("newer").to_string().contains("writes version 2"));
    fs::write(ground.installed("scribe/lock.json"), lock.replace("\"source\"", "\"sauce\"")).expect("written");
    assert_eq!(now().expect_err("garbled").to_string(), "keep agent scribe");
}

#[test]
fn a_planted_name_is_not_followed() {
    let ground = ground();
    let canary = ground.temp.path().join("canary");
    fs::create_dir(&canary).expect("made");
    fs::write(canary.join("agent.toml"), SCRIBE).expect("written");
    symlink(&canary, ground.installed("scribe")).expect("linked");
    symlink(&canary, ground.installed(".new-scribe")).expect("linked");
    assert!(matches!(load(&ground.root, &scribe()), Err(AgentError::Keep { .. })));
    assert!(matches!(ground.add(SCRIBE, false), Err(AgentError::Exists(_))));
    ground.add(SCRIBE, true).expect("replaced");
    assert_eq!(ground.entries(), ["scribe"]);
    assert!(load(&ground.root, &scribe()).expect("loaded").is_some());
    assert_eq!(fs::read_dir(&canary).expect("read").count(), 1);
}

#[test]
fn removing_leaves_nothing() {
    let ground = ground();
    assert!(remove(&ground.root, &scribe()).expect("looked").is_none());
    ground.add(SCRIBE, false).expect("added");
    let removed = remove(&ground.root, &scribe()).expect("removed").expect("there");
    assert!(removed.is_complete());
    assert_eq!((removed.files, removed.dirs), (4, 3));
    assert_eq!(ground.entries(), Vec::<String>::new());
}

#[test]
fn installations_at_once_do_not_mix() {
    let ground = ground();
    let file = ground.write(SCRIBE);
    let added = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| add(&ground.root, &file, false).is_ok())).collect();
        threads.into_iter().map(|thread| thread.join().expect("it ends well")).filter(|added| *added).count()
    });
    assert_eq!(added, 1);
    assert_eq!(ground.entries(), ["scribe"]);
    assert!(load(&ground.root, &scribe()).expect("loaded").is_some());
}
