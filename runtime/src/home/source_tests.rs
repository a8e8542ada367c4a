//! Paths that are never granted, whatever they are called and whatever is mounted where.

use std::{fs, os::unix::fs::symlink};

use super::*;

#[test]
fn what_is_never_granted() {
    let temp = tempfile::tempdir().expect("a directory");
    let at = |name: &str| temp.path().join(name);
    for name in ["data/root/cells", "home/.hermes/hermes-agent", "home/project", "other"] {
        fs::create_dir_all(at(name)).expect("made");
    }
    fs::write(at("other/file"), "x").expect("written");
    fs::write(at("home/.hermes/auth.json"), "secret").expect("written");
    symlink(at("data/root/cells"), at("other/link")).expect("linked");
    rustix::fs::mkfifoat(rustix::fs::CWD, at("other/fifo"), rustix::fs::Mode::RUSR).expect("a fifo");
    let (root, hermes) = (at("data/root"), at("home/.hermes"));
    let sources = Sources::kept(vec![root], Some(hermes));
    let mount = |path: &Path| sources.mount(path);
    let read = |path: &Path| sources.check(path, Use::Read);

    for name in ["other", "other/file", "home/project"] {
        assert_eq!(mount(&at(name)).expect(name), at(name).canonicalize().expect("canonical"));
        assert!(read(&at(name)).is_ok());
    }
    let leads = at("home/project");
    assert!(matches!(mount(&at("other/../home/project")), Err(SourceError::Parent { leads: found, .. }) if found == leads));
    assert!(mount(&at("./other/./file")).is_ok());
    symlink(&leads, at("straight")).expect("linked");
    fs::create_dir(leads.join("below")).expect("made");
    for name in ["straight", "straight/below"] {
        assert!(matches!(mount(&at(name)), Err(SourceError::Link { leads: found, .. }) if found.starts_with(&leads)), "{name}");
        assert!(matches!(read(&at(name)), Err(SourceError::Link { .. })), "{name}");
    }
    for name in ["/sys", "/sys/kernel", "/dev", "/dev/shm"] {
        assert!(matches!(mount(Path::new(name)), Err(SourceError::System(_))), "{name}");
        assert!(matches!(read(Path::new(name)), Err(SourceError::System(_))), "{name}");
    }
    for name in ["data", "data/root", "data/root/cells", "other/link"] {
        assert!(matches!(mount(&at(name)), Err(SourceError::LazarusRoot(_))), "{name}");
        assert!(matches!(read(&at(name)), Err(SourceError::LazarusRoot(_))), "{name}");
    }
    for name in ["home", "home/.hermes", "home/.hermes/hermes-agent"] {
        assert!(matches!(mount(&at(name)), Err(SourceError::Hermes(_))), "{name}");
    }
    assert!(read(&at("home/.hermes/hermes-agent")).is_ok());
    for name in ["home/.hermes", "home/.hermes/auth.json", "home"] {
        assert!(matches!(read(&at(name)), Err(SourceError::Hermes(_))), "{name}");
    }
    assert!(matches!(mount(Path::new("/")), Err(SourceError::WholeMachine)));
    assert!(matches!(mount(Path::new("/../")), Err(SourceError::WholeMachine)));
    assert!(matches!(read(Path::new("/")), Err(SourceError::WholeMachine)));
    assert!(matches!(mount(Path::new("/proc/self")), Err(SourceError::Proc(_))));
    assert!(matches!(read(Path::new("/proc")), Err(SourceError::Proc(_))));
    assert!(matches!(mount(&at("other/fifo")), Err(SourceError::Kind(_))));
    assert!(matches!(mount(Path::new("/dev/null")), Err(SourceError::Kind(_))));
    assert!(matches!(read(Path::new("/dev/null")), Err(SourceError::Device(_))), "every process agent has it");
    assert!(matches!(mount(&at("nothing")), Err(SourceError::Missing { .. })));
}

#[test]
fn a_bind_mount_does_not_hide_the_root() {
    if crate::home::test_ground::elsewhere(module_path!(), "a_bind_mount_does_not_hide_the_root") {
        return;
    }
    let temp = tempfile::tempdir().expect("a directory");
    let (root, alias) = (temp.path().join("root"), temp.path().join("alias"));
    fs::create_dir_all(root.join("cells")).expect("made");
    fs::create_dir(&alias).expect("made");
    let run = |program: &str, args: &[&std::ffi::OsStr]| {
        assert!(std::process::Command::new(program).args(args).status().expect("it runs").success(), "{program} (run as root)");
    };
    run("mount", &["--bind".as_ref(), root.as_os_str(), alias.as_os_str()]);
    let sources = Sources::kept(vec![root.clone()], None);
    let found = ["alias", "alias/cells"].map(|name| sources.mount(&temp.path().join(name)));
    run("umount", &[alias.as_os_str()]);
    for refused in found {
        assert!(matches!(refused, Err(SourceError::LazarusRoot(_))), "{refused:?}");
    }
}

fn run(program: &str, args: &[&str], points: &[&Path]) {
    let status = std::process::Command::new(program).args(args).args(points).status().expect("it runs");
    assert!(status.success(), "{program} {args:?} {points:?} (run as root)");
}

#[test]
fn what_is_mounted_below_a_path_must_be_files_and_nothing_that_is_kept() {
    if crate::home::test_ground::elsewhere(module_path!(), "what_is_mounted_below_a_path_must_be_files_and_nothing_that_is_kept") {
        return;
    }
    let temp = tempfile::tempdir().expect("a directory");
    let at = |name: &str| temp.path().join(name);
    for name in ["data/root/cells", "me/.hermes", "build/in/point", "build/own"] {
        fs::create_dir_all(at(name)).expect("made");
    }
    let (build, point, own) = (at("build"), at("build/in/point"), at("build/own"));
    // A table is read once for each.
    let check = |path: &Path| Sources::kept(vec![at("data/root")], Some(at("me/.hermes"))).mount(path);
    assert!(check(&build).is_ok());
    run("mount", &["-t", "tmpfs", "none"], &[&own]);
    fs::create_dir(own.join("deep")).expect("made");
    let files = check(&build);
    let mut refused = Vec::new();
    run("mount", &["-t", "proc", "proc"], &[&own.join("deep")]);
    refused.push((check(&build), "proc"));
    run("umount", &[], &[&own.join("deep")]);
    for (source, says) in [("data", "root"), ("data/root", "root"), ("data/root/cells", "root"), ("me", ".hermes")] {
        run("mount", &["--bind"], &[&at(source), &point]);
        refused.push((check(&build), says));
        run("umount", &[], &[&point]);
    }
    // A part of what is kept, under another name, which is itself what is asked for.
    fs::create_dir_all(at("data/root/cells/x/home")).expect("made");
    fs::write(at("me/.hermes/auth"), "x").expect("written");
    fs::write(at("file"), "").expect("written");
    for (source, point, ask) in [("data/root/cells/x", &point, point.join("home")), ("me/.hermes/auth", &at("file"), at("file"))] {
        run("mount", &["--bind"], &[&at(source), point]);
        let found = check(&ask);
        run("umount", &[], &[point]);
        assert!(matches!(found, Err(SourceError::Shown { .. })), "{source}: {found:?}");
    }
    assert!(check(&at("file")).is_ok());
    // A part of what is kept that is a file system of its own.
    let cells = at("data/root/cells");
    run("mount", &["-t", "tmpfs", "none"], &[&cells]);
    run("mount", &["--bind"], &[&cells, &point]);
    refused.push((check(&build), "root"));
    run("umount", &[], &[&point, &cells, &own]);
    assert!(files.is_ok(), "a file system with files: {files:?}");
    for (index, (found, says)) in refused.iter().enumerate() {
        let told = found.as_ref().expect_err("it is refused").to_string();
        assert!(told.contains(&*build.to_string_lossy()) && told.contains(says), "{index}: {told}");
    }
    assert!(check(&build).is_ok());
}

#[test]
fn another_root_is_kept_as_well() {
    let temp = tempfile::tempdir().expect("a directory");
    let at = |name: &str| temp.path().join(name);
    for name in ["other/cells/x/home", "nearly/cells"] {
        fs::create_dir_all(at(name)).expect("made");
    }
    fs::write(at("other/registry.db"), "x").expect("written");
    let sources = Sources::kept(vec![at("root")], None);
    for name in ["other", "other/cells", "other/cells/x/home"] {
        assert!(matches!(sources.mount(&at(name)), Err(SourceError::LazarusRoot(_))), "{name}");
    }
    assert!(sources.mount(&at("nearly/cells")).is_ok());
}

#[test]
fn a_root_among_the_systems_own_is_not_read_by_default() {
    let sources = Sources::kept(vec!["/usr/local/somewhere".into()], None);
    assert!(matches!(sources.read_by_default(), Err(SourceError::LazarusRoot(path)) if path == Path::new("/usr")));
    let found = Sources::kept(vec!["/nowhere".into()], None).read_by_default().expect("granted");
    assert!(found.iter().any(|(named, host)| named == Path::new("/usr") && named == host));
}

#[test]
fn a_link_may_lead_to_the_systems_own_and_nowhere_else() {
    let temp = tempfile::tempdir().expect("a directory");
    let (link, sources) = (temp.path().join("link"), Sources::kept(Vec::new(), None));
    for (leads, allowed) in [("/usr/bin", true), ("/usr", true), ("/etc", false), ("/usr/..", false), (".", false)] {
        symlink(leads, &link).expect("linked");
        let found = sources.read(&link);
        assert_eq!(found.is_ok(), allowed, "{leads}: {found:?}");
        fs::remove_file(&link).expect("removed");
    }
}
