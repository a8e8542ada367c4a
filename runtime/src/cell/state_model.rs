//! The state machine against a model of four booleans: any sequence of events.

use proptest::prelude::*;

use super::*;

/// What a sceptic would keep in mind of a cell, and nothing else.
#[derive(Debug, Clone, Copy, Default)]
struct Model {
    started: bool,
    idle: bool,
    closing: bool,
    over: bool,
    destroyed: bool,
}

fn alice() -> Identity {
    Identity::Human("alice".into())
}

fn event(kind: u8) -> Event {
    match kind {
        0 => Event::Ready,
        1 => Event::Rest,
        2 => Event::Wake,
        3 => Event::Close(CloseReason::Asked { by: alice() }),
        4 => Event::Ended,
        5 => Event::Fail(FailReason::WardenDied),
        6 => Event::Resurrect,
        _ => Event::Destroy { by: alice(), receipt: Receipt::default() },
    }
}

impl Model {
    /// Applies an event; says whether it must be allowed.
    fn apply(&mut self, kind: u8) -> bool {
        let live = self.started && !self.over;
        match kind {
            0 if !self.started && !self.over => self.started = true,
            1 if live && !self.idle && !self.closing => self.idle = true,
            2 if live && self.idle && !self.closing => self.idle = false,
            3 if live => (self.closing, self.idle) = (true, false),
            4 if live => (self.over, self.idle) = (true, false),
            5 if !self.over && !self.closing => (self.over, self.idle) = (true, false),
            6 if self.over && !self.destroyed => *self = Self { started: true, ..Self::default() },
            7 if self.over => self.destroyed = true,
            _ => return false,
        }
        true
    }

    fn agrees(self, state: &State) -> bool {
        match state {
            State::Proposed => !self.started && !self.over,
            State::Active => self.started && !self.over && !self.idle && !self.closing,
            State::Idle => self.started && !self.over && self.idle && !self.closing,
            State::Closing { .. } => self.started && !self.over && self.closing,
            State::Closed { .. } | State::Failed { .. } => self.over && !self.destroyed,
            State::Destroyed { .. } => self.over && self.destroyed,
        }
    }
}

proptest! {
    #[test]
    fn any_sequence_agrees_with_the_model(kinds in proptest::collection::vec(0_u8..8, 0..40)) {
        let mut state = State::Proposed;
        let mut model = Model::default();
        for kind in kinds {
            let allowed = model.apply(kind);
            match decide(&state, event(kind)) {
                Ok(Decision::To(next)) => { prop_assert!(allowed, "{state:?} took {kind}"); state = next; }
                Ok(Decision::Already) => prop_assert!(allowed, "{state:?} had {kind} already"),
                Err(refusal) => { prop_assert!(!allowed, "{state:?} refused {kind}"); prop_assert_eq!(refusal.state, state.name()); }
            }
            prop_assert!(model.agrees(&state), "{state:?} is not {model:?}");
        }
    }

    #[test]
    fn destroyed_is_final(kinds in proptest::collection::vec(0_u8..8, 0..20)) {
        let mut state = State::Destroyed { by: alice(), receipt: Receipt::default() };
        for kind in kinds {
            if let Ok(Decision::To(next)) = decide(&state, event(kind)) { state = next; }
            prop_assert_eq!(state.name(), "destroyed");
        }
    }
}

#[test]
fn a_closing_cell_keeps_its_reason() {
    let closing = State::Closing { reason: CloseReason::Expired };
    assert_eq!(decide(&closing, Event::Ended), Ok(Decision::To(State::Closed { reason: CloseReason::Expired })));
}

#[test]
fn a_cell_is_expired_from_its_last_moment_on() {
    let at = DateTime::from_timestamp(1_000, 0);
    assert!(!is_expired(at, DateTime::from_timestamp(999, 0).expect("in range")));
    assert!(is_expired(at, DateTime::from_timestamp(1_000, 0).expect("in range")));
    assert!(!is_expired(None, DateTime::<Utc>::MAX_UTC));
}
