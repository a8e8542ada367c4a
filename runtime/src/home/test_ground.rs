//! What tests of walkers need of the machine: a place where they may mount (root mounts as it is, an ordinary user in a user and mount
//! namespace of their own), limits and rights to lose, and somebody who changes a tree meanwhile.

use std::{
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

/// Set in the namespace, so that the test knows that it is there.
const INSIDE: &str = "LAZARUS_TEST_NAMESPACE";

/// Whether this process may mount: as root, or in a namespace that [`elsewhere`] made.
fn may_mount() -> bool {
    rustix::process::geteuid().is_root()
}

/// Runs the named test again where it may mount. True where that was done (and it passed): the caller has nothing left to do.
///
/// Needs `unshare` of util-linux, which every distribution has, and user namespaces, which Lazarus wants as well.
pub fn elsewhere(module: &str, test: &str) -> bool {
    if may_mount() {
        return false;
    }
    assert!(std::env::var_os(INSIDE).is_none(), "a namespace whose root may not mount");
    let path = module.split_once("::").map_or(module, |(_, path)| path);
    let own = std::env::current_exe().expect("a test has a path");
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "--"]).arg(own).args(["--exact", &format!("{path}::{test}"), "--nocapture"]);
    let output = command.env(INSIDE, "1").output().expect("unshare, of util-linux, is needed");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    true
}

/// Set in a process that runs one test alone.
const ALONE: &str = "LAZARUS_TEST_ALONE";

/// Runs the named test again in a process of its own, whose limits it may lower. True where that was done (and it passed).
pub fn with_few(module: &str, test: &str) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return false;
    }
    let path = module.split_once("::").map_or(module, |(_, path)| path);
    let own = std::env::current_exe().expect("a test has a path");
    let output = Command::new(own).args(["--exact", &format!("{path}::{test}"), "--nocapture"]).env(ALONE, "1").output().expect("started");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    true
}

/// Whether uids other than the own one can be given to files: by root of the machine, not of a namespace.
pub fn may_give_away() -> bool {
    may_mount() && std::env::var_os(INSIDE).is_none()
}

/// Does `again` over and over in another thread while `body` runs. A body that fails ends the other thread as well, so that its message is
/// seen: a scope waits for its threads before it lets a panic out.
pub fn meanwhile<T>(again: impl Fn() + Sync, body: impl FnOnce() -> T) -> T {
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                again();
            }
        });
        let _stop = Stop(&over);
        body()
    })
}

/// Runs something in a thread without the capabilities that let root pass every permission.
pub fn without_override<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let mut sets = capabilities(None).expect("read");
            sets.effective -= CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH | CapabilitySet::FOWNER;
            set_capabilities(None, sets).expect("dropped");
            act()
        });
        thread.join().expect("the thread ends well")
    })
}
