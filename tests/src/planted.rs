//! Homes as hostile agents leave them, and canaries outside that nothing may open, change or remove.
//!
//! Used by the tests of the whole program, and, as the same file, by the unit tests of `runtime/src/home`.

#![allow(dead_code, reason = "compiled into two packages, each of which needs a part of it")]

use std::{
    ffi::{CString, OsStr},
    fs,
    io::Write,
    mem::MaybeUninit,
    os::{
        fd::{AsFd, OwnedFd},
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            fs::{PermissionsExt, symlink},
            net::{SocketAddr, UnixListener},
        },
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, FileType, IFlags, Mode, OFlags, Timespec, Timestamps, inotify},
    io::Errno,
};

/// What a canary's files hold: to be found in nothing that a walker makes.
pub const EGG: &[u8] = b"the egg of a canary";
/// What secrets hold.
pub const SECRET: &[u8] = b"the secret of a home";
/// What an allowed file holds.
pub const PLAIN: &[u8] = b"plain text";
/// Names that hold secrets, or say what runs.
pub const SECRETS: [&str; 8] =
    [".env", "auth.json", "auth.lock", ".credentials.json", "gateway.pid", "gateway_state.json", "processes.json", "active_profile"];
/// Names that are allowed, and that nobody should write to a terminal or take for an option.
pub const NAMES: [&[u8]; 10] = [b"a\nb", b"\x1b[2J\x07", b"\xff\xfe", b"-rf", b" ", b"*", b"...", b"..x", b"c:\\d", &[b'n'; 255]];
/// Apparent bytes of the huge file, where the file system has such large ones.
pub const HUGE_BYTES: u64 = 1 << 40;

/// A directory that no walker of a home may touch. The kernel says whether one did: opening is enough.
pub struct Canary {
    path: PathBuf,
    watch: OwnedFd,
    names: Vec<(i32, String)>,
}

impl Canary {
    /// Makes one; `path` is not there yet.
    pub fn new(path: &Path) -> Self {
        fs::create_dir_all(path.join("nest")).expect("made");
        for name in ["egg", "nest/egg", "hard"] {
            fs::write(path.join(name), EGG).expect("written");
        }
        let watch = watch();
        // Who opens is seen. What is closed without that was opened before the watch: by a child that another test of this process forked
        // while these files were written, and that has not yet become its program.
        let touched = inotify::WatchFlags::ALL_EVENTS - inotify::WatchFlags::CLOSE;
        // Its other name goes with the home: the number of its names may change.
        let hard = touched - inotify::WatchFlags::ATTRIB;
        let watched = [(".", touched), ("egg", touched), ("nest", touched), ("nest/egg", touched), ("hard", hard)];
        let add = |(name, flags): (&str, _)| {
            let at = inotify::add_watch(&watch, path.join(name), flags).expect("watched");
            (at, name.to_owned())
        };
        let names = watched.into_iter().map(add).collect();
        Self { path: path.to_owned(), watch, names }
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What was touched since the last time.
    pub fn touched(&self) -> Vec<String> {
        let name = |at| self.names.iter().find(|(there, _)| *there == at).map_or("?", |(_, name)| name);
        let touched = |(at, what, of)| format!("{}: {what:?} {of:?}", name(at));
        events(&self.watch).into_iter().map(touched).collect()
    }

    /// Asserts that nothing was opened, changed or removed.
    #[track_caller]
    pub fn assert_untouched(&self) {
        assert_eq!(self.touched(), Vec::<String>::new());
        self.assert_whole();
    }

    /// Asserts that nothing was opened, changed or removed, but that the file of which the home has another name may have been read: by the
    /// digest of what a cell held.
    #[track_caller]
    pub fn assert_untouched_but_read_by_its_other_name(&self) {
        let reading = ["OPEN", "ACCESS"].map(|what| format!("hard: ReadFlags({what}) None"));
        let touched: Vec<String> = self.touched().into_iter().filter(|event| !reading.contains(event)).collect();
        assert_eq!(touched, Vec::<String>::new());
        self.assert_whole();
    }

    /// Asserts that everything is there as it was.
    #[track_caller]
    pub fn assert_whole(&self) {
        for name in ["egg", "nest/egg", "hard"] {
            assert_eq!(fs::read(self.path.join(name)).expect("the canary lives"), EGG, "{name}");
        }
        self.touched();
    }
}

/// What a watch has seen since the last time: where, what, and of which name there.
fn events(watch: &OwnedFd) -> Vec<(i32, inotify::ReadFlags, Option<CString>)> {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut reader = inotify::Reader::new(watch, &mut buffer);
    let mut events = Vec::new();
    loop {
        match reader.next() {
            Ok(event) => events.push((event.wd(), event.events(), event.file_name().map(ToOwned::to_owned))),
            Err(Errno::AGAIN) => return events,
            Err(error) => panic!("inotify: {error}"),
        }
    }
}

fn watch() -> OwnedFd {
    inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC).expect("inotify")
}

/// How many files (all that is no directory) and directories were planted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Planted {
    /// Files, links and everything else that is no directory.
    pub files: u64,
    /// Directories.
    pub dirs: u64,
}

/// Plants things below one directory, and counts them.
pub struct Planter {
    top: PathBuf,
    planted: Planted,
    sockets: Vec<UnixListener>,
    specials: OwnedFd,
}

impl Planter {
    /// Plants below an empty directory that is there.
    pub fn new(top: &Path) -> Self {
        Self { top: top.to_owned(), planted: Planted::default(), sockets: Vec::new(), specials: watch() }
    }

    /// What was planted so far.
    pub fn planted(&self) -> Planted {
        self.planted
    }

    /// The path of a name.
    pub fn at(&self, name: &str) -> PathBuf {
        self.top.join(name)
    }

    fn dir(&mut self, name: &str) -> PathBuf {
        fs::create_dir(self.at(name)).expect("made");
        self.planted.dirs += 1;
        self.at(name)
    }

    fn file(&mut self, path: &Path, content: &[u8]) {
        fs::File::create_new(path).and_then(|mut file| file.write_all(content)).expect("written");
        self.planted.files += 1;
    }

    fn link(&mut self, text: impl AsRef<Path>, path: &Path) {
        symlink(text, path).expect("linked");
        self.planted.files += 1;
    }

    /// Everything that can be planted without privileges, and, as root of the machine, devices.
    pub fn everything(&mut self, canary: &Canary, devices: bool) {
        self.plain();
        self.links(canary);
        self.specials(devices);
        self.names();
        self.modes();
        self.times();
        self.huge();
        self.secrets();
    }

    /// The allowed twin: files, a link to one of them, two names of one file.
    pub fn plain(&mut self) {
        let plain = self.dir("plain");
        self.file(&plain.join("file"), PLAIN);
        fs::hard_link(plain.join("file"), plain.join("same")).expect("linked");
        self.planted.files += 1;
        self.link("file", &plain.join("link"));
        self.link("../plain/./file", &plain.join("around"));
    }

    /// Links to outside, chains, loops, and the two that lead out together though neither does alone.
    pub fn links(&mut self, canary: &Canary) {
        let links = self.dir("links");
        let outside = canary.path();
        for (name, text) in [
            ("dir", outside.to_owned()),
            ("file", outside.join("egg")),
            ("slash", outside.join("nest/")),
            ("zero", "/dev/zero".into()),
            ("memory", "/proc/self/mem".into()),
            ("root", "/".into()),
            ("dangling", "/nowhere/at/all".into()),
            ("climbing", "../../../../../../../../../../../../../../etc".into()),
            ("loop", "loop".into()),
            ("pong", "ping".into()),
            ("ping", "pong".into()),
            ("long", "x/".repeat(2000).into()),
        ] {
            self.link(text, &links.join(name));
        }
        for (name, text) in [("1", "2"), ("2", "3"), ("3", "dir")] {
            self.link(text, &links.join(name));
        }
        // `up` stays inside; behind it, `..` climbs from where it leads, and not from where it stands.
        self.link("../..", &links.join("up"));
        self.link("up/../..", &links.join("together"));
        fs::hard_link(outside.join("hard"), links.join("hard")).expect("linked: the canary is on the same file system");
        self.planted.files += 1;
    }

    /// A FIFO, a socket that somebody listens on and its abstract neighbour, and devices.
    pub fn specials(&mut self, devices: bool) {
        let specials = self.dir("specials");
        rustix::fs::mkfifoat(CWD, specials.join("fifo"), Mode::RUSR | Mode::WUSR).expect("a fifo");
        // Addresses of sockets are short: it is bound through a short name of its directory.
        let dir = rustix::fs::openat(CWD, &specials, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).expect("opened");
        let number = std::os::fd::AsRawFd::as_raw_fd(&dir);
        self.sockets.push(UnixListener::bind(format!("/proc/self/fd/{number}/socket")).expect("bound"));
        let address = SocketAddr::from_abstract_name(specials.as_os_str().as_bytes().iter().rev().take(90).copied().collect::<Vec<u8>>());
        self.sockets.push(UnixListener::bind_addr(&address.expect("an address")).expect("bound"));
        self.planted.files += 2;
        if devices {
            let device = |name: &str, kind, major, minor| {
                let number = rustix::fs::makedev(major, minor);
                rustix::fs::mknodat(CWD, specials.join(name), kind, Mode::RUSR | Mode::WUSR, number).expect("a device (as root)");
            };
            device("null", FileType::CharacterDevice, 1, 3);
            device("zero", FileType::CharacterDevice, 1, 5);
            device("disk", FileType::BlockDevice, 7, 0);
            self.planted.files += 3;
        }
        inotify::add_watch(&self.specials, &specials, inotify::WatchFlags::OPEN).expect("watched");
    }

    /// Which of the FIFO, the sockets and the devices were opened since the last time: to open one can wake its driver.
    pub fn opened_specials(&self) -> Vec<CString> {
        events(&self.specials).into_iter().filter_map(|(_, _, name)| name).collect()
    }

    /// Files of every name that Linux allows and a program trips over, and a directory of the longest one.
    pub fn names(&mut self) {
        let names = self.dir("names");
        for name in NAMES {
            self.file(&names.join(OsStr::from_bytes(name)), PLAIN);
        }
        fs::create_dir(names.join(OsStr::from_bytes(&[b'd'; 255]))).expect("made");
        self.planted.dirs += 1;
    }

    /// What its owner may not open, and what should never be started with somebody else's rights.
    pub fn modes(&mut self) {
        let modes = self.dir("modes");
        self.file(&modes.join("shut"), PLAIN);
        self.file(&modes.join("set-user-id"), PLAIN);
        for name in ["shut-dir", "blind-dir"] {
            let dir = self.dir(&format!("modes/{name}"));
            self.file(&dir.join("inside"), PLAIN);
        }
        for (name, mode) in [("shut", 0), ("set-user-id", 0o6755), ("shut-dir", 0), ("blind-dir", 0o111)] {
            fs::set_permissions(modes.join(name), fs::Permissions::from_mode(mode)).expect("set");
        }
    }

    /// Times before 1970, after 2242, 2262 and 2446, and the first and the last that there are.
    pub fn times(&mut self) {
        let times = self.dir("times");
        for (name, seconds) in TIMES {
            self.file(&times.join(name), PLAIN);
            set_time(&times.join(name), seconds);
        }
    }

    /// A file that takes nothing and has a tebibyte.
    pub fn huge(&mut self) {
        self.file(&self.at("huge"), b"");
        let file = fs::File::options().write(true).open(self.at("huge")).expect("opened");
        file.set_len(HUGE_BYTES).or_else(|_| file.set_len(HUGE_BYTES >> 10)).expect("stretched");
    }

    /// Secrets, at the top and further down.
    pub fn secrets(&mut self) {
        let nested = self.dir("nested");
        for name in SECRETS {
            self.file(&self.at(name), SECRET);
            self.file(&nested.join(name), SECRET);
        }
    }

    /// A directory of many entries.
    pub fn wide(&mut self, entries: u64) {
        let wide = self.dir("wide");
        let dir = rustix::fs::openat(CWD, &wide, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).expect("opened");
        for i in 0..entries {
            let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
            rustix::fs::openat(&dir, format!("entry-{i}"), flags, Mode::RUSR | Mode::WUSR).expect("made");
        }
        self.planted.files += entries;
    }

    /// A tree that is deeper than a path can be, with a link out at its end.
    pub fn deep(&mut self, levels: u64) {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut at = rustix::fs::openat(CWD, self.dir("deep"), flags, Mode::empty()).expect("opened");
        for _ in 0..levels {
            rustix::fs::mkdirat(&at, "deeper", Mode::RWXU).expect("made");
            at = rustix::fs::openat(&at, "deeper", flags, Mode::empty()).expect("opened");
        }
        rustix::fs::symlinkat("/", &at, "root").expect("linked");
        self.planted.dirs += levels;
        self.planted.files += 1;
    }
}

/// Names of files, and the times that they are given.
pub const TIMES: [(&str, i64); 7] = [
    ("1901", -2_147_483_648),
    ("1969", -1),
    ("2020", 1_577_836_800),
    ("2242", 0o77_777_777_777 + 1),
    ("2300", 10_413_792_000),
    ("first", i64::MIN),
    ("last", i64::MAX),
];

/// Gives a file a time: the nearest that its file system has.
pub fn set_time(path: &Path, seconds: i64) {
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).expect("set");
}

/// A file that nobody can change or remove, until this is dropped.
pub struct Immutable(OwnedFd);

impl Immutable {
    /// Makes a file immutable; `None` where the file system, or this user, cannot.
    pub fn make(path: &Path) -> Option<Self> {
        let file = OwnedFd::from(fs::File::open(path).expect("opened"));
        let flags = rustix::fs::ioctl_getflags(&file).ok()?;
        rustix::fs::ioctl_setflags(&file, flags | IFlags::IMMUTABLE).ok()?;
        Some(Self(file))
    }
}

impl Drop for Immutable {
    fn drop(&mut self) {
        if let Ok(flags) = rustix::fs::ioctl_getflags(self.0.as_fd()) {
            let _ = rustix::fs::ioctl_setflags(self.0.as_fd(), flags - IFlags::IMMUTABLE);
        }
    }
}

/// Whether bytes hold a piece.
pub fn holds(bytes: &[u8], piece: &[u8]) -> bool {
    bytes.windows(piece.len()).any(|window| window == piece)
}

/// A rollback journal of SQLite that undoes nothing and names a super-journal: whoever opens its database removes that file.
pub fn super_journal(victim: &Path) -> Vec<u8> {
    let name = victim.as_os_str().as_bytes();
    let sum: u32 = name.iter().map(|byte| u32::from(*byte)).sum();
    let magic = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
    let words = |values: &[u32]| values.iter().flat_map(|value| value.to_be_bytes()).collect::<Vec<u8>>();
    let mut journal = magic.to_vec();
    journal.extend(words(&[0, 0, 2, 512, 4096]));
    journal.resize(512, 0);
    journal.extend(words(&[u32::MAX]));
    journal.extend(name);
    journal.extend(words(&[u32::try_from(name.len()).expect("short"), sum]));
    journal.extend(magic);
    journal
}
