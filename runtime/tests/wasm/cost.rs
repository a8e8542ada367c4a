//! What a host costs: time to its first word, memory, and CPU while nothing happens.

use std::time::{Duration, Instant};

use lazarus::backend::{Launch, wasm::KEEPER_WAT};

use crate::{
    Case,
    event_wat::TROUBLE,
    fixture::{Host, LONG, at_home, launch, launch_agent, limited, message, run},
    wat,
};

pub const CASES: &[Case] = &[
    ("a_host_with_a_small_guest_is_small", a_host_with_a_small_guest_is_small),
    ("an_idle_host_uses_no_cpu", an_idle_host_uses_no_cpu),
    ("a_cached_hello_is_quick", a_cached_hello_is_quick),
    ("a_wake_is_quick", a_wake_is_quick),
    ("a_thousand_agents_fit", a_thousand_agents_fit),
];

/// Private memory of a process, in KiB.
fn private_kib(pid: u32) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let field = |name: &str| {
        let line = rollup.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    field("Private_Clean:") + field("Private_Dirty:")
}

fn a_host_with_a_small_guest_is_small() {
    let source = wat::start(wat::UNTIL_EOF);
    // Two, so that what both share of the program is not counted as private.
    let mut hosts = [(); 2].map(|()| Host::start(&[launch("small", &source)]));
    for host in &mut hosts {
        host.until_ready("small");
    }
    std::thread::sleep(Duration::from_millis(50));
    let kib = private_kib(hosts[0].spawned.process.pid);
    println!("    private memory with a small guest: {kib} KiB");
    assert!(kib <= 8 * 1024, "{kib} KiB");
    for host in hosts {
        host.close(None, LONG);
        host.finish();
    }
}

fn an_idle_host_uses_no_cpu() {
    let dropped = limited(launch_agent("dropped", TROUBLE), |limits| limits.idle = Duration::from_millis(1));
    let mut host = Host::start(&[launch("reader", &wat::start(wat::UNTIL_EOF)), launch_agent("waiting", TROUBLE), dropped]);
    host.until_ready("reader");
    host.until_ready("waiting");
    host.listen(|heard| heard["dropped"].idle == 1);
    std::thread::sleep(Duration::from_millis(100));
    let switches = |pid| {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        let of = |status: String| {
            status.lines().filter_map(|l| l.split_once("ctxt_switches:")).filter_map(|(_, n)| n.trim().parse::<u64>().ok()).sum::<u64>()
        };
        tasks.map(|task| of(std::fs::read_to_string(task.unwrap().path().join("status")).unwrap())).sum::<u64>()
    };
    let pid = host.spawned.process.pid;
    let before = switches(pid);
    std::thread::sleep(Duration::from_secs(1));
    let woken = switches(pid) - before;
    assert!(woken <= 2, "woken {woken} times in a second");
    host.close(None, LONG);
    host.finish();
}

fn a_cached_hello_is_quick() {
    for (name, source) in [("module", wat::hello("hello\n", 0)), ("component", wat::component_hello("hello\n", false))] {
        let launch = launch("hello", &source);
        let mut times: Vec<_> = (0..10)
            .map(|_| {
                let since = Instant::now();
                assert_eq!(run(launch.clone()).stdout, b"hello\n");
                since.elapsed()
            })
            .collect();
        times.sort();
        println!("    {name}: spawned, run and ended in {:?} (median; unoptimised)", times[times.len() / 2]);
        assert!(times[0] < Duration::from_secs(1));
    }
    let mut keeper = Host::start(&[launch("keeper", KEEPER_WAT)]);
    keeper.until_ready("keeper");
    keeper.close(None, LONG);
    keeper.finish();
}

/// What an event of an agent that was dropped takes longer than one of an agent that was not.
fn a_wake_is_quick() {
    let median = |idle: Duration| {
        let home = tempfile::tempdir().unwrap();
        let launch = limited(launch_agent("agent", TROUBLE), |limits| limits.idle = idle);
        let mut host = Host::start(&[at_home(launch, home.path())]);
        host.until_ready("agent");
        let mut times: Vec<_> = (1..=100)
            .map(|event| {
                host.listen(|heard| idle > LONG || heard["agent"].idle as u64 == event);
                let since = Instant::now();
                host.tell("agent", event, "hello");
                since.elapsed()
            })
            .collect();
        host.close(None, LONG);
        host.finish();
        times.sort();
        times[times.len() / 2]
    };
    let (asleep, awake) = (median(Duration::from_millis(1)), median(2 * LONG));
    println!("    an event takes {awake:?}, and {asleep:?} with waking (medians; unoptimised)");
    // Far from a millisecond where it is optimised and alone.
    assert!(asleep < awake + Duration::from_millis(20), "{asleep:?}");
}

/// A thousand agents of one program, each with a home and what they share: idle, all of them answer, and are idle again.
fn a_thousand_agents_fit() {
    const AGENTS: usize = 1000;
    let place = tempfile::tempdir().unwrap();
    let shared = place.path().join("shared");
    std::fs::create_dir(&shared).unwrap();
    let like = limited(launch_agent("agent", TROUBLE), |limits| limits.idle = Duration::from_millis(500));
    let launches: Vec<_> = (0..AGENTS)
        .map(|i| {
            let home = place.path().join(format!("{i}"));
            std::fs::create_dir(&home).unwrap();
            let env = vec![("HOME".to_owned(), "/home".to_owned()); 20];
            let launch = Launch { agent: format!("agent{i}").parse().unwrap(), shared: Some(shared.clone()), env, ..like.clone() };
            at_home(launch, &home)
        })
        .collect();
    let since = Instant::now();
    let mut host = Host::start(&launches);
    let idle = |host: &mut Host, times: usize| host.listen(|heard| heard.values().all(|heard| heard.idle == times));
    host.listen(|heard| heard.values().all(|heard| heard.ready));
    println!("    {AGENTS} agents ready after {:?} (unoptimised)", since.elapsed());
    idle(&mut host, 1);
    let before = private_kib(host.spawned.process.pid);
    let since = Instant::now();
    for i in 0..AGENTS {
        host.event(&format!("agent{i}"), 1, message("hello"));
        if i % 50 == 0 {
            host.hear(Duration::ZERO);
        }
    }
    host.listen(|heard| heard.values().all(|heard| heard.over.len() == 1));
    println!("    all woken, and done with a message, after {:?}", since.elapsed());
    let awake = private_kib(host.spawned.process.pid);
    idle(&mut host, 2);
    let files = std::fs::read_dir(format!("/proc/{}/fd", host.spawned.process.pid)).unwrap().count();
    println!(
        "    private memory: idle {before} KiB, awake {awake} KiB, idle again {} KiB; {files} descriptors",
        private_kib(host.spawned.process.pid)
    );
    assert!(private_kib(host.spawned.process.pid) < 100 * 1024 && awake < 200 * 1024);
    assert!(files < AGENTS + 50, "one a home, one for what is shared, and the host's own: {files}");
    host.close(None, LONG);
    host.finish();
}
