//! The life of one agent between its start and its end.
//!
//! ```text
//!            refused                       ┌───── event ─────┐ done, retry, park
//!               ↑                          │                 ↓
//!  Starting ────┴─── ready ───→ Waiting ───┘←──────────── Handling
//!                                │    ↑                      │ trap, limit: the instance is gone
//!                  idle time over│    │ event: start(woken)  │
//!                                ↓    │  or start(again)     │
//!                              Dropped ←─────────────────────┘
//!
//!  told to close: Waiting → close() → ended; Dropped → ended; Handling goes on until its event or the grace is over
//! ```
//!
//! Whatever runs guest code owns the instance while it does. So an instance whose call was cut short, by a limit or by the grace, is dropped
//! with that call, and none is ever entered again after a trap.

use std::{sync::Arc, time::Duration};

use wasmtime::{Store, component::InstancePre};

use super::{
    super::{
        ends,
        guest::State,
        load::Loaded,
        meter::{CpuSpent, Metered, Ticker},
        outbox::Outbox,
    },
    Desk, EventAgentIndices,
    bindings::{EventAgent, exports::lazarus::cell::agent::Beginning},
    convert,
};
use crate::backend::{
    protocol::{End, FromChild, Occasion, Outcome},
    wasm::text::one_line,
};

/// Characters of what a guest says about why it does not start.
const WORDS_MOST: usize = 300;

/// An agent's component, linked, and where in it the functions are that are called.
#[derive(Clone)]
pub struct Linked {
    /// The component.
    pub pre: InstancePre<State>,
    /// Its functions.
    pub indices: EventAgentIndices,
}

/// An instance, and the store that it lives in.
struct Instance {
    store: Store<State>,
    exports: EventAgent,
}

/// Where an agent stands between two events.
enum Standing {
    /// Its instance waits.
    Waiting(Box<Instance>),
    /// It has none; the next will be told why it begins.
    Dropped(Beginning),
}

/// What happens to an agent that stands.
enum Next {
    Event(u64, Occasion),
    Idle,
    Close,
}

/// Why an instance does not stand.
enum Failed {
    /// It ended.
    Ended(End),
    /// It says so itself.
    Refused(String),
}

/// What a call of the guest came to, seen from outside.
enum Cut<T> {
    /// It came to its end.
    Not(T),
    /// A limit ended it.
    Limit(End),
    /// The grace is over.
    Grace,
}

/// One agent.
struct Life {
    loaded: Loaded,
    linked: Linked,
    desk: Arc<Desk>,
    ticker: Arc<Ticker>,
}

/// Runs an agent to its end, and says so.
pub async fn run(linked: Linked, loaded: Loaded, desk: Arc<Desk>, ticker: Arc<Ticker>, outbox: Arc<Outbox>) {
    let (agent, index) = (loaded.recipe.launch.agent.clone(), loaded.recipe.index);
    let strikes = Arc::clone(&loaded.recipe.member.strikes);
    let life = Life { loaded, linked, desk: Arc::clone(&desk), ticker };
    let word = match life.live().await {
        Ok(end) => FromChild::Ended { agent, end },
        Err(message) => FromChild::Refused { agent, message },
    };
    desk.end();
    strikes.tell_rest();
    outbox.say(index, &word);
}

impl Life {
    /// Until it ends; or why it never began.
    async fn live(self) -> Result<End, String> {
        let mut standing = Standing::Waiting(self.first().await?);
        self.desk.ready();
        loop {
            standing = match self.next(matches!(standing, Standing::Waiting(_))).await {
                Next::Event(number, occasion) => match self.handle(standing, occasion).await {
                    Cut::Not((after, outcome)) => {
                        self.desk.over(number, outcome);
                        after
                    }
                    Cut::Limit(end) => {
                        self.desk.over(number, Outcome::Lost { end });
                        Standing::Dropped(Beginning::Again)
                    }
                    Cut::Grace => return Ok(ends::grace()),
                },
                Next::Idle => {
                    drop(standing);
                    self.loaded.recipe.member.strikes.tell_rest();
                    self.desk.idle();
                    Standing::Dropped(Beginning::Woken)
                }
                Next::Close => return Ok(self.close(standing).await),
            }
        }
    }

    /// The first start of this run.
    async fn first(&self) -> Result<Box<Instance>, String> {
        let beginning = if self.loaded.recipe.launch.again { Beginning::Resurrected } else { Beginning::First };
        let refused = |words: &str| format!("start the agent: {words}");
        match self.bounded(ends::READY_MOST, |_| ends::not_ready(), self.begin(beginning)).await {
            Cut::Not(Ok(instance)) => Ok(instance),
            Cut::Not(Err(Failed::Refused(words))) => Err(refused(&format!("it says: {words}"))),
            Cut::Not(Err(Failed::Ended(end))) | Cut::Limit(end) => Err(refused(&ends::before_ready(&end))),
            Cut::Grace => Err(refused(&ends::before_ready(&ends::grace()))),
        }
    }

    /// Waits for whatever comes; with an instance, only for its idle time.
    async fn next(&self, with_instance: bool) -> Next {
        let mut told = self.loaded.told.clone();
        let idle = async {
            if with_instance {
                tokio::time::sleep(self.loaded.recipe.launch.policy.limits.idle).await;
            } else {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            () = told.closing() => Next::Close,
            (number, occasion) = self.desk.next() => Next::Event(number, occasion),
            () = idle => Next::Idle,
        }
    }

    /// One event, with the budgets of one.
    async fn handle(&self, standing: Standing, occasion: Occasion) -> Cut<(Standing, Outcome)> {
        self.loaded.meter.reset();
        self.loaded.recipe.member.beat();
        let cut = self.bounded(self.loaded.recipe.launch.policy.limits.event, ends::event, self.event(standing, occasion)).await;
        self.loaded.recipe.member.beat();
        cut
    }

    async fn event(&self, standing: Standing, occasion: Occasion) -> (Standing, Outcome) {
        let lost = |end| (Standing::Dropped(Beginning::Again), Outcome::Lost { end });
        let mut instance = match standing {
            Standing::Waiting(mut instance) => {
                instance.store.data_mut().next_event();
                instance
            }
            Standing::Dropped(beginning) => match self.begin(beginning).await {
                Ok(instance) => instance,
                Err(Failed::Ended(end)) => return lost(end),
                Err(Failed::Refused(words)) => return lost(End::Trapped { message: format!("its start failed: {words}") }),
            },
        };
        let Instance { store, exports } = &mut *instance;
        let agent = exports.lazarus_cell_agent();
        let returned = match occasion {
            Occasion::Message(message) => agent.call_handle_message(&mut *store, &convert::message(message)).await,
            Occasion::Tick => agent.call_tick(&mut *store).await,
        };
        match returned {
            Ok(returned) => (Standing::Waiting(instance), convert::outcome(returned)),
            Err(error) => lost(self.ended(&error, store)),
        }
    }

    /// A fresh instance, started.
    async fn begin(&self, beginning: Beginning) -> Result<Box<Instance>, Failed> {
        let mut store = self.loaded.recipe.store(&self.loaded.program.engine);
        let instance = match self.linked.pre.instantiate_async(&mut store).await {
            Ok(instance) => instance,
            Err(error) => return Err(Failed::Ended(self.ended(&error, &store))),
        };
        // Only here are the types of its functions looked at.
        let exports = self.linked.indices.load(&mut store, &instance).map_err(|error| {
            let message = format!("its export lazarus:cell/agent is not as this Lazarus knows it: {error:#}");
            Failed::Ended(End::Trapped { message: one_line(&message, WORDS_MOST) })
        })?;
        match exports.lazarus_cell_agent().call_start(&mut store, beginning).await {
            Ok(Ok(())) => Ok(Box::new(Instance { store, exports })),
            Ok(Err(words)) => Err(Failed::Refused(one_line(&words, WORDS_MOST))),
            Err(error) => Err(Failed::Ended(self.ended(&error, &store))),
        }
    }

    fn ended(&self, error: &wasmtime::Error, store: &Store<State>) -> End {
        ends::failed(error, store.data(), self.loaded.recipe.launch.policy.limits.cpu)
    }

    /// The last call. There is none for an agent without an instance.
    async fn close(&self, standing: Standing) -> End {
        let Standing::Waiting(mut instance) = standing else { return End::Exited { code: 0 } };
        self.loaded.meter.reset();
        let closing = async {
            let Instance { store, exports } = &mut *instance;
            match exports.lazarus_cell_agent().call_close(&mut *store).await {
                Ok(()) => End::Exited { code: 0 },
                Err(error) => self.ended(&error, store),
            }
        };
        // Bounded by the grace alone, which `bounded` looks at.
        match self.bounded(Duration::MAX, ends::event, closing).await {
            Cut::Not(end) | Cut::Limit(end) => end,
            Cut::Grace => ends::grace(),
        }
    }

    /// Runs guest code: with the CPU time of an event, for `most` on the wall, and no longer than the grace if it is told to close.
    async fn bounded<T: Send>(
        &self,
        most: Duration,
        too_long: impl FnOnce(Duration) -> End,
        work: impl Future<Output = T> + Send,
    ) -> Cut<T> {
        let metered = Metered::new(work, &self.loaded.meter, &self.ticker, self.loaded.program.slot);
        let mut told = self.loaded.told.clone();
        tokio::select! {
            biased;
            done = tokio::time::timeout(most, metered) => match done {
                Ok(Ok(done)) => Cut::Not(done),
                Ok(Err(CpuSpent)) => Cut::Limit(ends::cpu(self.loaded.recipe.launch.policy.limits.cpu)),
                Err(_) => Cut::Limit(too_long(most)),
            },
            () = told.over() => Cut::Grace,
        }
    }
}
