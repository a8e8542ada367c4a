//! CPU time: measured around every poll of a guest, and cut short by epochs.
//!
//! ```text
//!  poll of guest ──┬─ ticker told: this engine is on the CPU ──→ every 2 ms, or as the warden says something: its epoch goes up
//!                  ├─ guest code reaches its epoch deadline → budget spent? end it : yield to the others
//!                  └─ the poll's CPU time is added to the guest's
//! ```
//!
//! Everybody's guests run on one thread, so that thread's CPU time around a poll is what the guest used, host calls included. The ticker
//! sleeps while no guest is on the CPU.
//!
//! Guests of one program share an engine, and with it the epoch. That is no more than a shared clock: each store has its own deadline, one
//! tick after it was last looked at, and its own callback, which asks its own guest's account. Since all run on one thread, only the guest
//! on the CPU can reach a deadline. A tick that fell due while a neighbour ran makes a guest yield once more, right after it is entered; it is never
//! charged for it, and the deadline after that is again a tick away. So a spinner takes its turns, and ends when its own budget is spent.
//!
//! What the warden says is for somebody: an event, or an answer that a neighbour waits for. It passes through several tasks before that
//! neighbour's code runs, each of which would wait for a whole tick of a guest that computes, or that writes without end. Hence the ticker
//! listens too, and a guest that yields lets so many turns pass.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    thread::{self, Thread},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    time::{ClockId, clock_gettime},
};
use wasmtime::{Engine, UpdateDeadline};

use super::outbox::Outbox;

/// How often a guest that computes yields to its neighbours and to the host's own work.
const TICK: Duration = Duration::from_millis(2);
/// Turns of the event loop that a guest lets pass when it yields: from the socket to the one who listens, from there to the neighbour. A turn
/// in which nobody has anything to do takes a microsecond or two.
const TURNS: usize = 4;
/// How long the ticker leaves a guest alone that it interrupted for the warden's words: until they are read, they are there to be read.
const HEARD_PAUSE: Duration = Duration::from_micros(200);
/// The ticker only counts and sleeps.
const TICKER_STACK_BYTES: usize = 64 * 1024;

/// The guest used its CPU time up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its CPU time is used up")]
pub struct CpuSpent;

/// CPU time that this thread has used, in nanoseconds.
fn thread_cpu() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0))
}

/// The CPU account of one guest. Its atomics only serve to share it with the store's callback: all of it happens on one thread.
#[derive(Debug)]
pub struct Meter {
    budget: u64,
    used: AtomicU64,
    entered: AtomicU64,
}

impl Meter {
    /// An account with a budget. Reads the clock once: the first reading looks at `/proc`, which the jail does not allow later.
    pub fn new(budget: Duration) -> Arc<Self> {
        thread_cpu();
        let budget = u64::try_from(budget.as_nanos()).unwrap_or(u64::MAX);
        Arc::new(Self { budget, used: AtomicU64::new(0), entered: AtomicU64::new(0) })
    }

    /// Begins a new account with the same budget: an event is not charged for those before it.
    pub fn reset(&self) {
        self.used.store(0, Ordering::Relaxed);
    }

    fn enter(&self) {
        self.entered.store(thread_cpu(), Ordering::Relaxed);
    }

    fn leave(&self) {
        self.used.store(self.total(), Ordering::Relaxed);
        self.enter();
    }

    /// What was used, during a poll.
    fn total(&self) -> u64 {
        let since = thread_cpu().saturating_sub(self.entered.load(Ordering::Relaxed));
        self.used.load(Ordering::Relaxed).saturating_add(since)
    }

    /// What a guest's store does at each tick: end the guest, or let the others run.
    ///
    /// # Errors
    /// [`CpuSpent`], which ends the guest as a trap does.
    pub fn tick(&self) -> wasmtime::Result<UpdateDeadline> {
        if self.total() >= self.budget { Err(CpuSpent.into()) } else { Ok(UpdateDeadline::YieldCustom(1, Box::pin(give_way()))) }
    }
}

/// Lets the others run until what the host has heard has reached them.
async fn give_way() {
    for _ in 0..TURNS {
        tokio::task::yield_now().await;
    }
}

/// What the ticker and the polls share.
#[derive(Debug)]
struct Shared {
    engines: Vec<Engine>,
    outbox: Arc<Outbox>,
    /// 0: nobody is on the CPU; otherwise the index of the engine, plus 1.
    on_cpu: AtomicUsize,
    asleep: AtomicBool,
    ended: AtomicBool,
}

/// Raises the epoch of the engine whose guest is on the CPU. The thread ends with this value.
#[derive(Debug)]
pub struct Ticker {
    shared: Arc<Shared>,
    thread: Thread,
}

impl Ticker {
    /// Starts the thread; `outbox` has the socket that it looks at. The jail must hold by now: it binds the threads that are started after it.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(engines: Vec<Engine>, outbox: Arc<Outbox>) -> std::io::Result<Arc<Self>> {
        let shared = Shared { engines, outbox, on_cpu: AtomicUsize::new(0), asleep: AtomicBool::new(false), ended: AtomicBool::new(false) };
        let shared = Arc::new(shared);
        let theirs = Arc::clone(&shared);
        let handle = thread::Builder::new().name("ticker".into()).stack_size(TICKER_STACK_BYTES).spawn(move || tick(&theirs))?;
        Ok(Arc::new(Self { shared, thread: handle.thread().clone() }))
    }

    fn enter(&self, engine: usize) {
        self.shared.on_cpu.store(engine + 1, Ordering::SeqCst);
        // Stored before it is read, and the other way round in the ticker: one of the two sees the other.
        if self.shared.asleep.swap(false, Ordering::SeqCst) {
            self.thread.unpark();
        }
    }

    fn leave(&self) {
        self.shared.on_cpu.store(0, Ordering::SeqCst);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

fn tick(shared: &Shared) {
    while !shared.ended.load(Ordering::SeqCst) {
        if shared.on_cpu.load(Ordering::SeqCst) == 0 {
            shared.asleep.store(true, Ordering::SeqCst);
            if shared.on_cpu.load(Ordering::SeqCst) == 0 {
                thread::park();
                continue;
            }
            shared.asleep.store(false, Ordering::SeqCst);
        }
        let heard = waits_to_be_heard(&shared.outbox);
        if let Some(engine) = shared.on_cpu.load(Ordering::SeqCst).checked_sub(1).and_then(|index| shared.engines.get(index)) {
            engine.increment_epoch();
        }
        if heard {
            thread::sleep(HEARD_PAUSE);
        }
    }
}

/// Waits for a tick, or until the warden has said something.
fn waits_to_be_heard(outbox: &Outbox) -> bool {
    let most = Timespec { tv_sec: 0, tv_nsec: i64::from(TICK.subsec_nanos()) };
    match poll(&mut [PollFd::new(outbox.socket(), PollFlags::IN)], Some(&most)) {
        Ok(ready) => ready > 0,
        Err(_) => {
            // Nothing to poll with just now: the tick alone has to do.
            thread::sleep(TICK);
            false
        }
    }
}

/// A guest's future, metered.
#[must_use = "futures do nothing unless polled"]
pub struct Metered<'a, T> {
    inner: Pin<Box<dyn Future<Output = T> + Send + 'a>>,
    meter: Arc<Meter>,
    ticker: Arc<Ticker>,
    engine: usize,
}

impl<'a, T> Metered<'a, T> {
    /// Meters `inner`, which runs code of a guest whose engine is the ticker's `engine`th.
    pub fn new(inner: impl Future<Output = T> + Send + 'a, meter: &Arc<Meter>, ticker: &Arc<Ticker>, engine: usize) -> Self {
        Self { inner: Box::pin(inner), meter: Arc::clone(meter), ticker: Arc::clone(ticker), engine }
    }
}

impl<T> Future for Metered<'_, T> {
    type Output = Result<T, CpuSpent>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.meter.enter();
        self.ticker.enter(self.engine);
        let answer = self.inner.as_mut().poll(cx);
        self.ticker.leave();
        self.meter.leave();
        match answer {
            Poll::Ready(value) => Poll::Ready(Ok(value)),
            // A guest that only makes host calls may never be at an epoch check when the budget runs out.
            Poll::Pending if self.meter.used.load(Ordering::Relaxed) >= self.meter.budget => Poll::Ready(Err(CpuSpent)),
            Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An outbox, and the warden's end of it.
    fn outbox() -> (Arc<Outbox>, std::os::fd::OwnedFd) {
        let (own, warden) = crate::backend::packets::pair().expect("a pair");
        rustix::io::ioctl_fionbio(&own, true).expect("it does not block");
        (Arc::new(Outbox::new(own, None).expect("an outbox")), warden)
    }

    fn burn(time: Duration) {
        let until = thread_cpu() + u64::try_from(time.as_nanos()).expect("short");
        while thread_cpu() < until {
            std::hint::spin_loop();
        }
    }

    #[test]
    fn a_budget_is_the_sum_of_polls_and_nothing_between_them() {
        let meter = Meter::new(Duration::from_millis(30));
        for _ in 0..2 {
            meter.enter();
            burn(Duration::from_millis(10));
            assert!(matches!(meter.tick(), Ok(UpdateDeadline::YieldCustom(1, _))));
            meter.leave();
            burn(Duration::from_millis(20));
        }
        meter.enter();
        burn(Duration::from_millis(11));
        assert!(meter.tick().is_err_and(|error| error.downcast_ref::<CpuSpent>().is_some()));
    }

    #[tokio::test]
    async fn a_future_that_never_checks_an_epoch_is_ended_after_its_poll() {
        let (outbox, _warden) = outbox();
        let ticker = Ticker::start(Vec::new(), outbox).expect("ticker");
        let meter = Meter::new(Duration::from_millis(20));
        let hungry = std::future::poll_fn(|cx| {
            burn(Duration::from_millis(7));
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        });
        let mut metered = Metered::new(hungry, &meter, &ticker, 0);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let polls = (1..10).find(|_| Pin::new(&mut metered).poll(&mut cx) == Poll::Ready(Err(CpuSpent)));
        assert_eq!(polls, Some(3));
    }

    #[tokio::test]
    async fn epochs_pass_only_while_a_guest_is_on_the_cpu() {
        use crate::backend::wasm::engine::{Purpose, config};
        let engine = Engine::new(&config(Purpose::Compile)).expect("engine");
        let module = wasmtime::Module::new(&engine, "(module (func (export \"f\") (loop (br 0))))").expect("module");
        let (outbox, _warden) = outbox();
        let ticker = Ticker::start(vec![engine.clone()], outbox).expect("ticker");
        thread::sleep(3 * TICK);
        assert!(ticker.shared.asleep.load(Ordering::SeqCst), "nobody is on the CPU");
        let mut store = wasmtime::Store::new(&engine, ());
        store.set_epoch_deadline(1);
        let run = wasmtime::Instance::new(&mut store, &module, &[]).expect("instance");
        let run = run.get_typed_func::<(), ()>(&mut store, "f").expect("function");
        ticker.enter(0);
        let trap = run.call(&mut store, ()).expect_err("interrupted").downcast::<wasmtime::Trap>();
        ticker.leave();
        assert_eq!(trap.ok(), Some(wasmtime::Trap::Interrupt));
    }
    /// One guest computes, with no ticks but those of the warden's words; another task waits for such a word.
    #[tokio::test]
    async fn what_the_warden_says_reaches_its_task_before_the_next_turn_of_a_guest_that_computes() {
        let (outbox, warden) = outbox();
        let heard = Arc::new(AtomicUsize::new(0));
        let (tell, mut told) = tokio::sync::mpsc::channel(1);
        let listening = tokio::spawn({
            let outbox = Arc::clone(&outbox);
            async move {
                outbox.socket().readable().await.expect("readable");
                tell.send(()).await.expect("somebody listens");
            }
        });
        let neighbour = tokio::spawn({
            let heard = Arc::clone(&heard);
            async move {
                told.recv().await.expect("a word");
                heard.store(1, Ordering::Relaxed);
            }
        });
        tokio::task::yield_now().await;
        assert!(!waits_to_be_heard(&outbox), "nothing was said");
        rustix::net::send(&warden, b"x", rustix::net::SendFlags::empty()).expect("sent");
        assert!(waits_to_be_heard(&outbox));
        give_way().await;
        assert_eq!(heard.load(Ordering::Relaxed), 1, "both the listener and the neighbour ran meanwhile");
        listening.await.expect("no panic");
        neighbour.await.expect("no panic");
    }
}
