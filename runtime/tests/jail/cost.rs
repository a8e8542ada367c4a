//! What the whole jail costs, beside a bare process. Printed; the bound is one that no working jail comes near.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use crate::{
    Case,
    fixture::{World, no_namespaces},
};

pub const CASES: &[Case] = &[("the_jail_costs_milliseconds", cost)];

/// A jail that takes longer than this has lost its way, whatever else the machine is doing.
const MOST: Duration = Duration::from_secs(2);

fn median(mut run: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..15)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() / 2]
}

fn cost() {
    let bare = median(|| assert!(Command::new("true").env_clear().status().unwrap().success()));
    let mut world = World::new();
    let own = median(|| assert!(world.run(&["true"]).ready));
    world.namespaces = no_namespaces();
    let shared = median(|| assert!(world.run(&["true"]).ready));
    println!("bare {bare:?}; jailed with namespaces {own:?}, without {shared:?}");
    assert!(own < MOST && shared < MOST);
}
