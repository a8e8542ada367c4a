//! One program's run: instantiated, entered, and ended, whatever it does.

use std::sync::Arc;

use wasmtime::{Store, TypedFunc};
use wasmtime_wasi::p2::bindings::Command;

use super::{
    ends,
    guest::State,
    load::{Linked, Loaded},
    meter::{CpuSpent, Metered, Ticker},
    outbox::Outbox,
};
use crate::backend::protocol::{End, FromChild};

/// Where a program is entered.
enum Entry {
    Start(TypedFunc<(), ()>),
    Run(Command),
}

/// Runs a program to its end, and says so. Its store is dropped then, whatever the end was.
pub async fn run(loaded: Loaded, ticker: Arc<Ticker>, outbox: Arc<Outbox>) {
    let (agent, index) = (loaded.recipe.launch.agent.clone(), loaded.recipe.index);
    let strikes = Arc::clone(&loaded.recipe.member.strikes);
    let word = match live(loaded, &ticker, &outbox).await {
        Ok(end) => FromChild::Ended { agent, end },
        Err(end) => FromChild::Refused { agent, message: format!("start the program: {}", ends::before_ready(&end)) },
    };
    strikes.tell_rest();
    outbox.say(index, &word);
}

/// The two steps: until it is ready (an end before that is an error), and until it ends.
async fn live(mut loaded: Loaded, ticker: &Arc<Ticker>, outbox: &Outbox) -> Result<End, End> {
    let (meter, slot) = (Arc::clone(&loaded.meter), loaded.program.slot);
    let budget = loaded.recipe.launch.policy.limits.cpu;
    let mut store = loaded.recipe.store(&loaded.program.engine);
    let begun = {
        let start = Metered::new(instantiate(&loaded.program.linked, &mut store), &meter, ticker, slot);
        tokio::select! {
            biased;
            done = tokio::time::timeout(ends::READY_MOST, start) => match done {
                Ok(Ok(entry)) => Ok(entry),
                Ok(Err(CpuSpent)) => Err(ends::cpu(budget)),
                Err(_) => Err(ends::not_ready()),
            },
            () = loaded.told.over() => Err(ends::grace()),
        }
    };
    let entry = begun?.map_err(|error| ends::failed(&error, store.data(), budget))?;
    outbox.say(loaded.recipe.index, &FromChild::Ready { agent: loaded.recipe.launch.agent.clone() });
    let done = {
        let body = Metered::new(enter(entry, &mut store), &meter, ticker, slot);
        tokio::select! {
            biased;
            done = body => done,
            () = loaded.told.over() => return Ok(ends::grace()),
        }
    };
    Ok(match done {
        Ok(Ok(code)) => End::Exited { code },
        Ok(Err(error)) => ends::failed(&error, store.data(), budget),
        Err(CpuSpent) => ends::cpu(budget),
    })
}

async fn instantiate(linked: &Linked, store: &mut Store<State>) -> wasmtime::Result<Entry> {
    match linked {
        Linked::Module(pre) => {
            let instance = pre.instantiate_async(&mut *store).await?;
            Ok(Entry::Start(instance.get_typed_func(store, "_start")?))
        }
        Linked::Component(pre) => Ok(Entry::Run(pre.instantiate_async(store).await?)),
        Linked::Agent(_) => Err(wasmtime::Error::msg("it lives by events")),
    }
}

async fn enter(entry: Entry, store: &mut Store<State>) -> wasmtime::Result<i32> {
    match entry {
        Entry::Start(start) => start.call_async(store, ()).await.map(|()| 0),
        // `wasi:cli/run` only says whether it succeeded.
        Entry::Run(command) => command.wasi_cli_run().call_run(store).await.map(|done| i32::from(done.is_err())),
    }
}
