//! What one event may cost, and that nobody but the one who spends it pays.

use std::time::{Duration, Instant};

use lazarus::{
    backend::{
        Launch,
        protocol::{End, Outcome},
    },
    mail::{Gift, MessageId},
    policy::{ByteSize, Limits},
};

use crate::{
    Case,
    event_wat::{Agent, DIARY, ECHO, QUIET, TROUBLE},
    fixture::{Host, LONG, assert_limit, assert_lost, ended, launch_agent, limited, message, refusal},
};

pub const CASES: &[Case] = &[
    ("an_event_has_its_cpu_time_for_itself", an_event_has_its_cpu_time_for_itself),
    ("an_event_has_its_wall_time_host_calls_included", an_event_has_its_wall_time_host_calls_included),
    ("an_event_has_its_memory", an_event_has_its_memory),
    ("a_start_that_never_returns_is_ended", a_start_that_never_returns_is_ended),
    ("a_start_that_waits_for_ever_is_refused", a_start_that_waits_for_ever_is_refused),
    ("a_wake_counts_into_the_event", a_wake_counts_into_the_event),
    ("a_close_that_never_returns_is_ended", a_close_that_never_returns_is_ended),
    ("a_handler_outlives_no_grace", a_handler_outlives_no_grace),
    ("a_spinner_does_not_delay_its_twin", a_spinner_does_not_delay_its_twin),
    ("a_flood_of_log_lines_does_not_silence_a_neighbour", a_flood_of_log_lines_does_not_silence_a_neighbour),
];

const HALF_A_SECOND: Duration = Duration::from_millis(500);

fn trouble(change: impl FnOnce(&mut Limits)) -> Launch {
    limited(launch_agent("trouble", TROUBLE), change)
}

fn an_event_has_its_cpu_time_for_itself() {
    let mut host = Host::start(&[trouble(|limits| limits.cpu = HALF_A_SECOND)]);
    host.until_ready("trouble");
    // Some 40 ms each: together far more than one may have.
    for event in 1..60 {
        assert_eq!(host.tell("trouble", event, "compute"), Outcome::Done, "{event}");
    }
    let since = Instant::now();
    assert_lost(&host.tell("trouble", 60, "spin"), "cpu");
    assert!(since.elapsed() >= HALF_A_SECOND);
    assert_eq!(host.tell("trouble", 61, "fine"), Outcome::Done, "a fresh instance, and a fresh budget");
    assert!(host.log("trouble").ends_with("again      \n"));
    host.close(None, LONG);
    assert_eq!(ended(&host.finish(), "trouble"), End::Exited { code: 0 });
}

fn an_event_has_its_wall_time_host_calls_included() {
    let mut host = Host::start(&[trouble(|limits| limits.event = HALF_A_SECOND)]);
    host.until_ready("trouble");
    // One waits for an answer that never comes, the other computes.
    for (event, text) in [(1, "wait"), (3, "spin")] {
        let since = Instant::now();
        assert_lost(&host.tell("trouble", event, text), "event");
        assert!((HALF_A_SECOND..LONG).contains(&since.elapsed()), "{:?}", since.elapsed());
        assert_eq!(host.tell("trouble", event + 1, "fine"), Outcome::Done);
    }
    // And one that sleeps, in a call of WASI.
    let sleeper = Agent { message: "(call $block (call $subscribe (i64.const 3600000000000))) (call $ok)", ..QUIET };
    let mut other = Host::start(&[limited(launch_agent("sleeper", sleeper), |limits| limits.event = HALF_A_SECOND)]);
    other.until_ready("sleeper");
    assert_lost(&other.tell("sleeper", 1, "good night"), "event");
    other.close(None, LONG);
    other.finish();
    // The answer comes after all: too late, and nobody's.
    let (late, _) = host.asked("trouble");
    host.answer("trouble", late, Ok(Gift::Sent { id: MessageId::random() }));
    host.event("trouble", 5, message("wait"));
    let (number, _) = host.asked("trouble");
    assert_ne!(number, late);
    host.answer("trouble", number, Ok(Gift::Sent { id: MessageId::random() }));
    assert_eq!(host.until_over("trouble", 5), Outcome::Done);
    host.close(None, LONG);
    host.finish();
}

fn an_event_has_its_memory() {
    let mut host = Host::start(&[trouble(|limits| limits.memory = ByteSize::mib(8))]);
    host.until_ready("trouble");
    for event in [1, 3] {
        assert_lost(&host.tell("trouble", event, "bomb"), "memory");
        assert_eq!(host.tell("trouble", event + 1, "fine"), Outcome::Done);
    }
    host.close(None, LONG);
    host.finish();
}

fn a_start_that_never_returns_is_ended() {
    let endless = Agent { start: "(loop $more (br $more)) (unreachable)", ..QUIET };
    let message = refusal(limited(launch_agent("endless", endless), |limits| limits.cpu = HALF_A_SECOND));
    assert_eq!(message, "start the agent: it used up its 500ms of CPU time");
}

fn a_start_that_waits_for_ever_is_refused() {
    let waits = Agent { start: "(call $receive (i32.const 64)) (call $ok)", ..QUIET };
    let message = refusal(launch_agent("waits", waits));
    assert!(message.starts_with("start the agent: it was not ready after 10 s"), "{message}");
}

fn a_wake_counts_into_the_event() {
    for (start, expected) in [("(call $receive (i32.const 64))", "event"), ("(loop $more (br $more))", "cpu")] {
        let start = format!("(if (local.get $beginning) (then {start})) (call $ok)");
        let agent = Agent { start: &start, ..QUIET };
        let launch = limited(launch_agent("sleepy", agent), |limits| {
            (limits.idle, limits.cpu) = (Duration::from_millis(5), HALF_A_SECOND);
            limits.event = if expected == "event" { HALF_A_SECOND } else { LONG };
        });
        let mut host = Host::start(&[launch]);
        host.listen(|heard| heard["sleepy"].idle == 1);
        assert_lost(&host.tell("sleepy", 1, "wake up"), expected);
        host.close(None, LONG);
        assert_eq!(ended(&host.finish(), "sleepy"), End::Exited { code: 0 });
    }
}

fn a_close_that_never_returns_is_ended() {
    for close in ["(loop $more (br $more))", "(call $receive (i32.const 64))"] {
        let mut host = Host::start(&[launch_agent("clingy", Agent { close, ..QUIET }), launch_agent("diary", DIARY)]);
        host.until_ready("clingy");
        host.until_ready("diary");
        let told = Instant::now();
        host.close(None, Duration::from_millis(300));
        let heard = host.finish();
        assert!((Duration::from_millis(300)..Duration::from_secs(20)).contains(&told.elapsed()), "{:?}", told.elapsed());
        assert_limit(&ended(&heard, "clingy"), "grace");
        assert_eq!(ended(&heard, "diary"), End::Exited { code: 0 });
    }
    let traps = Agent { close: "unreachable", ..QUIET };
    let mut host = Host::start(&[launch_agent("clumsy", traps)]);
    host.until_ready("clumsy");
    host.close(None, LONG);
    assert!(matches!(ended(&host.finish(), "clumsy"), End::Trapped { .. }));
}

fn a_handler_outlives_no_grace() {
    for text in ["wait", "spin"] {
        let mut host = Host::start(&[trouble(|_| {})]);
        host.until_ready("trouble");
        host.event("trouble", 1, message(text));
        // In the middle of it.
        host.listen(|heard| !heard["trouble"].calls.is_empty() || heard["trouble"].stderr.ends_with(b"spin\n"));
        host.close(None, Duration::from_millis(300));
        let heard = host.finish();
        assert_limit(&ended(&heard, "trouble"), "grace");
        assert!(heard["trouble"].over.is_empty());
    }
    // Its twin: the event ends in time, then comes the close.
    let mut host = Host::start(&[trouble(|_| {})]);
    host.until_ready("trouble");
    host.event("trouble", 1, message("wait"));
    let (number, _) = host.asked("trouble");
    host.close(None, LONG);
    host.answer("trouble", number, Ok(Gift::Sent { id: MessageId::random() }));
    let heard = host.finish();
    assert_eq!((ended(&heard, "trouble"), heard["trouble"].over.clone()), (End::Exited { code: 0 }, vec![(1, Outcome::Done)]));
    assert!(heard["trouble"].stderr.ends_with(b"close\n"));
}

/// The same program with the same stack: they share an engine, and with it the epoch.
fn a_spinner_does_not_delay_its_twin() {
    let twins = ["trouble", "calm"].map(|name| limited(launch_agent(name, TROUBLE), |limits| limits.cpu = Duration::from_secs(600)));
    let mut host = Host::start(&twins);
    host.until_ready("trouble");
    host.until_ready("calm");
    host.event("trouble", 1, message("spin"));
    let since = Instant::now();
    for event in 1..=20 {
        assert_eq!(host.tell("calm", event, "fine"), Outcome::Done);
    }
    let took = since.elapsed();
    println!("    20 events beside a spinner: {took:?}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert!(host.heard["trouble"].over.is_empty());
    host.close(None, Duration::ZERO);
    assert_limit(&ended(&host.finish(), "trouble"), "grace");
}

fn a_flood_of_log_lines_does_not_silence_a_neighbour() {
    let flood = trouble(|limits| (limits.cpu, limits.event) = (Duration::from_secs(600), LONG));
    let mut host = Host::start(&[flood, launch_agent("echo", ECHO)]);
    host.until_ready("trouble");
    host.until_ready("echo");
    host.event("trouble", 1, message("log"));
    host.event("echo", 1, message("hello"));
    let (number, _) = host.asked("echo");
    host.answer("echo", number, Ok(Gift::Sent { id: MessageId::random() }));
    assert_eq!(host.until_over("echo", 1), Outcome::Done);
    assert!(host.heard["trouble"].over.is_empty());
    host.close(None, Duration::ZERO);
    let heard = host.finish();
    let log = &heard["trouble"].stderr;
    assert!(log.split(|byte| *byte == b'\n').all(|line| line.len() < 40_000));
    assert_limit(&ended(&heard, "trouble"), "grace");
}
