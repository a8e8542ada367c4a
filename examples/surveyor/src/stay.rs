//! How the surveyor lives on after its work, until it is told to end.

use std::time::Duration;

pub use target::listen;

/// How often a sign of life is given.
const BEAT_EVERY: Duration = Duration::from_secs(1);

#[cfg(unix)]
mod target {
    use std::{
        io,
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
        thread,
        time::{Duration, Instant},
    };

    use signal_hook::{consts::SIGTERM, flag};

    /// How long after SIGTERM the program still sleeps at most.
    const LOOK_EVERY: Duration = Duration::from_millis(50);

    /// The word to end: SIGTERM.
    pub struct Stop(Arc<AtomicBool>);

    /// Listens from here on, so that a word said during the work is heard after it.
    pub fn listen() -> io::Result<Stop> {
        let told = Arc::new(AtomicBool::new(false));
        flag::register(SIGTERM, Arc::clone(&told))?;
        Ok(Stop(told))
    }

    impl Stop {
        /// Waits for the word, and calls `beat` each second.
        pub fn wait(self, beat: impl Fn()) {
            let mut last = Instant::now();
            while !self.0.load(Ordering::Relaxed) {
                thread::sleep(LOOK_EVERY);
                if last.elapsed() >= super::BEAT_EVERY {
                    beat();
                    last = Instant::now();
                }
            }
        }
    }
}

#[cfg(target_os = "wasi")]
mod target {
    use std::io;

    use wasip2::{
        cli::stdin::{InputStream, get_stdin},
        clocks::monotonic_clock::subscribe_duration,
        io::poll::poll,
    };

    /// Bytes of standard input thrown away at a time.
    const DISCARD_BYTES: u64 = 4096;

    /// The word to end: the end of standard input.
    pub struct Stop(InputStream);

    /// Takes standard input; there is nothing to set up.
    pub fn listen() -> io::Result<Stop> {
        Ok(Stop(get_stdin()))
    }

    impl Stop {
        /// Waits for the word, and calls `beat` each second. One poll waits for both: a component has no threads.
        pub fn wait(self, beat: impl Fn()) {
            let input = self.0.subscribe();
            let next_beat = || subscribe_duration(super::BEAT_EVERY.as_nanos().try_into().unwrap_or(u64::MAX));
            let mut timer = next_beat();
            loop {
                let ready = poll(&[&input, &timer]);
                let mut beat_due = ready.contains(&1);
                if ready.contains(&0) {
                    match self.0.read(DISCARD_BYTES) {
                        // Ready, and yet nothing to read: without this, the loop would spin until the next beat.
                        Ok(bytes) if bytes.is_empty() && !beat_due => {
                            timer.block();
                            beat_due = true;
                        }
                        Ok(_) => (),
                        Err(_closed_or_broken) => return,
                    }
                }
                if beat_due {
                    beat();
                    timer = next_beat();
                }
            }
        }
    }
}
