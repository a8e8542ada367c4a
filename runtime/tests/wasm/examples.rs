//! The example agents in the real host: what the SDK and componentize-py make is what the host serves. The test is the warden.

use std::{env, fs, path::PathBuf, time::Duration};

use lazarus::{
    backend::{
        Launch,
        protocol::{End, Outcome},
    },
    mail::{Call, Gift, MessageId, Reason, Refusal},
    policy::ByteSize,
};
use tempfile::TempDir;

use crate::{
    Case,
    calls::facts,
    fixture::{Host, LONG, assert_lost, at_home, ended, launch_binary, limited, message},
};

pub const CASES: &[Case] = &[
    ("the_keeper_says_that_it_lives", the_keeper_says_that_it_lives),
    ("the_scribe_forgets_nothing", the_scribe_forgets_nothing),
    ("the_faulty_one_ends_alone", the_faulty_one_ends_alone),
    ("the_faulty_one_oversleeps", the_faulty_one_oversleeps),
    ("an_agent_in_python_answers", an_agent_in_python_answers),
];

/// A built example, with a home.
fn example(name: &str) -> (TempDir, Launch) {
    let beside = || {
        let test = env::current_exe().unwrap();
        test.ancestors().nth(3).expect("target/<profile>/deps").join("guests")
    };
    let guests = env::var_os("LAZARUS_GUESTS").map_or_else(beside, PathBuf::from);
    let file = guests.join(format!("{name}.wasm"));
    let source =
        fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}: run `cargo xtask guests`, or `cargo xtask test`", file.display()));
    let home = tempfile::tempdir().unwrap();
    let mut launch = at_home(launch_binary(name, &source), home.path());
    launch.env = vec![("HERMES_HOME".into(), "/home".into())];
    (home, launch)
}

/// Delivers a message; returns what the agent answers, and how the event ended. Other calls are refused.
fn ask(host: &mut Host, agent: &str, event: u64, text: &str) -> (Option<String>, Outcome) {
    host.event(agent, event, message(text));
    let mut reply = None;
    loop {
        host.listen(|heard| !heard[agent].calls.is_empty() || heard[agent].over.iter().any(|(over, _)| *over == event));
        if host.heard[agent].calls.is_empty() {
            return (reply, host.until_over(agent, event));
        }
        let (number, call) = host.asked(agent);
        let answer = match call {
            Call::Reply { text, .. } => {
                reply = Some(text.as_str().to_owned());
                Ok(Gift::Sent { id: MessageId::random() })
            }
            other => Err(Refusal::new(Reason::Failed, format!("{}: not in this test", other.name()))),
        };
        host.answer(agent, number, answer);
    }
}

#[track_caller]
fn answers(host: &mut Host, agent: &str, event: u64, text: &str, expected: &str) {
    assert_eq!(ask(host, agent, event, text), (Some(expected.to_owned()), Outcome::Done), "{}", host.log(agent));
}

fn the_keeper_says_that_it_lives() {
    let (_home, launch) = example("keeper");
    let mut host = Host::start(&[limited(launch, |limits| limits.memory = ByteSize::mib(16))]);
    host.until_ready("keeper");
    answers(&mut host, "keeper", 1, "are you there?", "alive");
    host.close(None, LONG);
    assert_eq!(ended(&host.finish(), "keeper"), End::Exited { code: 0 });
}

fn the_scribe_forgets_nothing() {
    let (home, launch) = example("scribe");
    let mut host = Host::start(&[limited(launch, |limits| limits.idle = Duration::from_millis(100))]);
    host.until_ready("scribe");
    answers(&mut host, "scribe", 1, "one", "1 written down");
    host.listen(|heard| heard["scribe"].idle > 0);
    answers(&mut host, "scribe", 2, "two\nlines", "2 written down");
    host.close(None, LONG);
    let heard = host.finish();
    let log = String::from_utf8_lossy(&heard["scribe"].stderr).into_owned();
    assert!(log.contains("First: the journal has 0 entries") && log.contains("Woken: the journal has 1 entries"), "{log}");
    assert_eq!(fs::read_to_string(home.path().join("journal")).unwrap().lines().count(), 2);
}

fn the_faulty_one_ends_alone() {
    let (_home, launch) = example("faulty");
    let mut host = Host::start(&[limited(launch, |limits| {
        limits.memory = ByteSize::mib(16);
        limits.cpu = Duration::from_millis(300);
    })]);
    host.until_ready("faulty");
    answers(&mut host, "faulty", 1, "state", "ok Some(First), 1 handled, 0 ticks");
    for (event, way) in [(2, "panic"), (3, "trap"), (4, "deep"), (5, "grow 64")] {
        let (_, outcome) = ask(&mut host, "faulty", event, way);
        assert!(matches!(outcome, Outcome::Lost { .. }), "{way}: {outcome:?}");
    }
    assert_lost(&ask(&mut host, "faulty", 6, "spin").1, "cpu");
    assert_eq!(ask(&mut host, "faulty", 7, "until 2 retry not yet").1, Outcome::Retry { why: "not yet".into() });
    assert_eq!(ask(&mut host, "faulty", 8, "park for good").1, Outcome::Park { why: "for good".into() });
    answers(&mut host, "faulty", 9, "state", "ok Some(Again), 3 handled, 0 ticks");
    answers(&mut host, "faulty", 10, "link way /etc/passwd", "error not-permitted");
    answers(&mut host, "faulty", 11, "link way journal", "ok");
    host.close(None, LONG);
    host.finish();
}

fn the_faulty_one_oversleeps() {
    let (_home, launch) = example("faulty");
    let mut host = Host::start(&[limited(launch, |limits| limits.event = Duration::from_secs(2))]);
    host.until_ready("faulty");
    assert_lost(&ask(&mut host, "faulty", 1, "sleep 60").1, "event");
    host.close(None, LONG);
    host.finish();
}

fn an_agent_in_python_answers() {
    let (home, launch) = example("python-echo");
    let mut host = Host::start(&[launch]);
    // It asks who it is when it starts.
    let (number, call) = host.asked("python-echo");
    assert_eq!(call, Call::Me);
    host.answer("python-echo", number, Ok(Gift::Facts(facts())));
    host.until_ready("python-echo");
    answers(&mut host, "python-echo", 1, "hello", "hello (message 1, from Python)");
    answers(&mut host, "python-echo", 2, "again", "again (message 2, from Python)");
    assert_eq!(ask(&mut host, "python-echo", 3, "park").1, Outcome::Park { why: "told to".into() });
    host.close(None, LONG);
    host.finish();
    assert_eq!(fs::read_to_string(home.path().join("count")).unwrap(), "2");
}
