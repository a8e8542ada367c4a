//! A thread that children are born in, and that stays until they are gone.
//!
//! A child asks the kernel to be killed when its parent *thread* ends, and a pid namespace is made by a thread for its next
//! child: both need a thread of their own, whichever thread asked for the child. It does nothing but wait.

use std::{
    io,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::{Builder, JoinHandle},
};

/// The stack of a nursery thread: it opens files and starts one process.
const STACK_BYTES: usize = 512 * 1024;

/// A parked thread. Letting go of it ends the thread, and with it whatever was born there.
#[derive(Debug)]
pub struct Nursery {
    hold: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Nursery {
    /// Runs `birth` in a new thread, which then stays; where it fails, the thread ends.
    ///
    /// # Errors
    /// Of `birth`, and where no thread can be made.
    pub fn raise<T: Send + 'static, E: From<io::Error> + Send + 'static>(
        birth: impl FnOnce() -> Result<T, E> + Send + 'static,
    ) -> Result<(Self, T), E> {
        let (hold, held) = sync_channel::<()>(0);
        let (tell, told) = sync_channel(1);
        let thread = Builder::new().name("nursery".to_owned()).stack_size(STACK_BYTES).spawn(move || live(birth, &tell, &held))?;
        let nursery = Self { hold: Some(hold), thread: Some(thread) };
        match told.recv() {
            Ok(born) => born.map(|born| (nursery, born)),
            Err(_) => Err(E::from(io::Error::other("the nursery thread ended early"))),
        }
    }
}

fn live<T, E>(birth: impl FnOnce() -> Result<T, E>, tell: &SyncSender<Result<T, E>>, held: &Receiver<()>) {
    let born = birth();
    let stay = born.is_ok();
    if tell.send(born).is_ok() && stay {
        // Nothing is ever sent: it fails when the other end is dropped.
        let _ = held.recv();
    }
}

impl Drop for Nursery {
    fn drop(&mut self) {
        self.hold = None;
        if let Some(thread) = self.thread.take() {
            // It cannot panic after the birth; and a panic in the birth was told as an error.
            let _ = thread.join();
        }
    }
}
