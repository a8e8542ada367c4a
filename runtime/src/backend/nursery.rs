//! A thread that children are born in, and that stays until they are gone.
//!
//! A child asks the kernel to be killed when its parent *thread* ends, and a pid namespace is made by a thread for its next
//! child: both need a thread of their own, whichever thread asked for the child. It does nothing but wait.

use std::{
    io,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::Builder,
};

/// The stack of a nursery thread: it opens files and starts one process.
const STACK_BYTES: usize = 512 * 1024;

/// A parked thread. Letting go of it ends the thread, and with it whatever was born there; nobody waits for that.
#[derive(Debug)]
pub struct Nursery {
    _hold: SyncSender<()>,
}

impl Nursery {
    /// Runs `birth` in a new thread, which then stays; where it fails, the thread ends.
    ///
    /// # Errors
    /// Of `birth`, and where no thread can be made.
    pub fn raise<T: Send + 'static, E: From<io::Error> + Send + 'static>(
        birth: impl FnOnce() -> Result<T, E> + Send + 'static,
    ) -> Result<(Self, T), E> {
        Self::raise_while(|| Ok((birth()?, || ())), || ())
    }

    /// As [`Self::raise`], and does something else meanwhile, in the calling thread. The thread itself does what `birth` leaves it to do, before it
    /// parks: nobody waits for that.
    ///
    /// # Errors
    /// As [`Self::raise`].
    pub fn raise_while<T: Send + 'static, E: From<io::Error> + Send + 'static, F: FnOnce()>(
        birth: impl FnOnce() -> Result<(T, F), E> + Send + 'static,
        meanwhile: impl FnOnce(),
    ) -> Result<(Self, T), E> {
        let (hold, held) = sync_channel::<()>(0);
        let (tell, told) = sync_channel(1);
        Builder::new().name("nursery".to_owned()).stack_size(STACK_BYTES).spawn(move || live(birth, &tell, &held))?;
        let nursery = Self { _hold: hold };
        meanwhile();
        match told.recv() {
            Ok(born) => born.map(|born| (nursery, born)),
            Err(_) => Err(E::from(io::Error::other("the nursery thread ended early"))),
        }
    }
}

fn live<T, E, F: FnOnce()>(birth: impl FnOnce() -> Result<(T, F), E>, tell: &SyncSender<Result<T, E>>, held: &Receiver<()>) {
    let (born, then) = birth().map_or_else(|error| (Err(error), None), |(born, then)| (Ok(born), Some(then)));
    if tell.send(born).is_ok()
        && let Some(then) = then
    {
        then();
        // Nothing is ever sent: it fails when the other end is dropped.
        let _ = held.recv();
    }
}
