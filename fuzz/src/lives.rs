//! A cell's life under its warden, with hostile children: each speaks for its own agents alone, and what is over stays over.

use lazarus::{
    backend::protocol::{End, FromChild, Packet, from_child},
    cell::AgentName,
    warden::by_hand::{ByHand, Next, Part, Seen, Standing},
};

/// The most that happens in one life.
const ACTS_MOST: usize = 64;

/// Lives the life that some lines tell. A line begins with who acts: `0`, `1` or `2`, a child that sends the rest of the line as a
/// packet; `x`, `y` or `z`, a child that ends; `i`, somebody who is invited, `3` and `w` their child; `s`, a signal; `a`, the rest of the
/// line on the control socket.
pub fn life(data: &[u8]) {
    let part = |agent: &str, by_events| Part { agent: agent.parse().expect("a name"), by_events };
    // A host of two agents, a host of one, and a process.
    let mut cast = vec![vec![part("a", true), part("b", true)], vec![part("c", true)], vec![part("d", false)]];
    let mut life = ByHand::new(&cast).expect("stand-ins");
    for act in data.split(|byte| *byte == b'\n').take(ACTS_MOST) {
        let Some((who, rest)) = act.split_first() else { continue };
        if *who == b'i' && cast.len() == 3 {
            cast.push(vec![part("e", false)]);
            life.invited(part("e", false)).expect("a stand-in");
        }
        let Some(next) = happens(&mut life, &cast, *who, rest) else { continue };
        let (now, all_gone) = (life.runs(), (0..cast.len()).all(|child| life.is_gone(child)));
        match next {
            Next::Activated => assert!(now.iter().all(|run| run.child == 3 || run.standing != Standing::Starting), "{now:#?}"),
            Next::Joined(child) => assert!(now.iter().all(|run| run.child != child || run.standing == Standing::Running), "{now:#?}"),
            Next::NotJoined(child) => assert!(now.iter().all(|run| run.child != child || run.standing == Standing::Over), "{now:#?}"),
            Next::Over => return assert!(all_gone && now.iter().all(|run| run.child == 3 || run.standing == Standing::Over), "{now:#?}"),
            Next::NotReady(_) => return assert!(all_gone),
            Next::Wait | Next::Closing | Next::Recorded(_) | Next::Answered(_) | Next::Other => {}
        }
    }
}

/// One thing that happens, if it can; what follows from it.
fn happens(life: &mut ByHand, cast: &[Vec<Part>], who: u8, rest: &[u8]) -> Option<Next> {
    let before = life.runs();
    let (child, packet) = match who {
        b'0'..=b'3' => (Some(usize::from(who - b'0')), true),
        b'w' => (Some(3), false),
        b'x'..=b'z' => (Some(usize::from(who - b'x')), false),
        _ => (None, false),
    };
    // A warden hears nothing of a child whose end it heard of.
    if child.is_some_and(|child| life.is_gone(child)) {
        return None;
    }
    let next = match (child, who) {
        (Some(child), _) if packet => life.packet(child, rest),
        (Some(child), _) => life.exited(child),
        (None, b's') => life.signal(),
        (None, b'a') => life.asked(rest),
        (None, _) => return None,
    };
    check_course(&before, &life.runs());
    let news = life.news();
    if let Some(child) = child.filter(|_| packet) {
        check_word(child, rest, &before, &life.runs());
        for (from, agent) in news {
            let own = |agent: &AgentName| cast[child].iter().any(|part| part.by_events && part.agent == *agent);
            assert!(from.is_none_or(|from| from == child) && agent.as_ref().is_none_or(own), "{from:?} {agent:?}");
        }
    }
    Some(next)
}

/// Runs go one way: from starting over running, perhaps a pause, to their end, which stays as it is.
fn check_course(before: &[Seen], now: &[Seen]) {
    for (before, now) in before.iter().zip(now) {
        assert_eq!((before.child, &before.agent), (now.child, &now.agent));
        assert!(before.standing <= now.standing, "{before:?} became {now:?}");
        assert_eq!(now.standing == Standing::Over, now.end.is_some());
        if before.standing == Standing::Over {
            assert_eq!(before.end, now.end, "an end changed");
        }
        if before.refusal.is_some() {
            assert_eq!(before.refusal, now.refusal, "the first reason counts");
        }
    }
}

/// What a child says changes its own agents alone; nonsense ends it, and nothing that it says after that counts.
fn check_word(child: usize, packet: &[u8], before: &[Seen], now: &[Seen]) {
    for (before, now) in before.iter().zip(now).filter(|(run, _)| run.child != child) {
        assert_eq!(before, now, "another child's agent");
    }
    let own = || before.iter().zip(now).filter(|(run, _)| run.child == child);
    let protocol = |run: &Seen| matches!(&run.decided, Some(End::Limit { limit, .. }) if limit == "protocol");
    if own().any(|(before, _)| protocol(before)) {
        return own().for_each(|(before, now)| assert_eq!(before, now, "it was not to be trusted any more"));
    }
    let said = match from_child(packet) {
        Ok(Packet::Output { .. }) => return own().for_each(|(before, now)| assert_eq!(before, now, "output changes nothing")),
        Ok(Packet::Control(said)) => Some(said),
        Err(_) => None,
    };
    let about = said.as_ref().map(FromChild::agent);
    let subject = own().find(|(run, _)| about == Some(&run.agent)).map(|(run, _)| run);
    let is_nonsense = match (&said, subject) {
        (Some(FromChild::Report { .. } | FromChild::Ready { .. }), Some(run)) => run.standing != Standing::Starting,
        (Some(FromChild::Call { .. } | FromChild::EventOver { .. } | FromChild::Idle { .. }), Some(run)) => run.child >= 2,
        (Some(FromChild::Refused { .. } | FromChild::Ended { .. } | FromChild::Limit { .. } | FromChild::Dropped { .. }), Some(_)) => false,
        (None, _) | (_, None) => true,
    };
    for (before, now) in own() {
        if is_nonsense {
            assert_eq!(before.standing, now.standing, "nonsense was acted upon");
            assert!(protocol(now) || before.decided.is_some() || before.standing == Standing::Over, "nonsense was let pass: {now:?}");
        } else if about != Some(&now.agent) {
            assert_eq!((before.standing, &before.end), (now.standing, &now.end), "a neighbour in the same host");
        }
    }
}
