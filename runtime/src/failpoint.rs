//! Places at which a test can have the program killed, to prove that a crash there leaves the truth behind.
//!
//! Debug builds only: a release build compiles [`hit`] to nothing. A process that passes a point named in
//! `LAZARUS_FAILPOINT` kills itself with SIGKILL, as a crash or the kernel would.

/// The variable that names the point.
pub const VARIABLE: &str = "LAZARUS_FAILPOINT";

macro_rules! points {
    ($($(#[$doc:meta])* $variant:ident = $name:literal;)*) => {
        /// A point. Each is passed by exactly one of the steps of summon, close and destroy; a resurrection passes its own and, from
        /// the warden's start to `active`, those of a summon.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Point { $($(#[$doc])* $variant,)* }

        impl Point {
            /// Every point, so that a test can step through them all.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The point's name, as the variable spells it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

points! {
    /// The command: before anything is written.
    SummonStart = "summon.start";
    /// The command: the row is there, nothing else is.
    SummonProposed = "summon.proposed";
    /// The command: the warden was started.
    SummonWardenStarted = "summon.warden-started";
    /// The warden: it runs, nothing is made.
    WardenStart = "warden.start";
    /// The warden: the cell's directory and homes are made.
    WardenHome = "warden.home";
    /// The warden: the agents were started, and are not ready yet.
    WardenSpawned = "warden.spawned";
    /// The warden: the agents are ready, the registry does not know.
    WardenReady = "warden.ready";
    /// The warden: `active` is durable, the command does not know.
    WardenActive = "warden.active";
    /// The command: it knows, and has not said so.
    SummonActive = "summon.active";
    /// The command: the intent to resurrect is written.
    ResurrectIntent = "resurrect.intent";
    /// The warden: it holds the lease of a cell that lived before, and nothing is started.
    WardenAgain = "warden.again";
    /// The command: it knows that the cell lives again, and has not said so.
    ResurrectActive = "resurrect.active";
    /// The warden: `closing` is durable, the agents do not know.
    WardenClosing = "warden.closing";
    /// The warden: the agents are ended, the registry does not know.
    WardenEnded = "warden.ended";
    /// The command: the intent to destroy is written.
    DestroyIntent = "destroy.intent";
    /// The command: nothing lives any more.
    DestroyEnded = "destroy.ended";
    /// The command: the directory is gone, the registry does not know.
    DestroyRemoved = "destroy.removed";
    /// The command: the tombstone is durable, the operator does not know.
    DestroyDone = "destroy.done";
}

/// Ends the process here if the variable names this point (debug builds only).
pub fn hit(point: Point) {
    #[cfg(debug_assertions)]
    if std::env::var(VARIABLE).is_ok_and(|wanted| wanted == point.name()) {
        // A kill that fails cannot be helped; what follows then shows in the test.
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
    #[cfg(not(debug_assertions))]
    let _ = point;
}
