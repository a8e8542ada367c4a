//! The line protocol: what process agents and people say to their cell, and what a person's side believes of the answers.

use lazarus::mail::{AnswerLine, Greeting, Hello, Mark, Outcome, Reason, line_of, parse_call};
use serde::{Serialize, de::DeserializeOwned};

use crate::harmless::check_refusal;

/// Reads a line as a call, as a first line, and as an answer.
pub fn line(data: &[u8]) {
    match parse_call(data) {
        Ok(call) => {
            assert!(!matches!(&call.n, Some(Mark::Text(mark)) if mark.len() > 64));
            let line = one_line(&call);
            assert_eq!(parse_call(&line).expect("a line of ours"), call);
        }
        Err(answer) => {
            let Outcome::Refused(refusal) = &answer.outcome else { panic!("{answer:?}") };
            assert_eq!(refusal.reason, Reason::Malformed);
            check_refusal(&refusal.message);
            one_line(&answer);
        }
    }
    if let Some(hello) = comes_back::<Hello>(data) {
        let (Hello::Join(secret) | Hello::Resume(secret)) = &hello;
        assert!(!format!("{hello:?}").contains(secret.as_str()), "a secret is shown");
    }
    comes_back::<Greeting>(data);
    comes_back::<AnswerLine>(data);
}

/// A value as a line: one, with its end.
fn one_line<T: Serialize>(value: &T) -> Vec<u8> {
    let line = line_of(value);
    assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1));
    line
}

/// What is understood of some bytes is what its own line says.
fn comes_back<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(data: &[u8]) -> Option<T> {
    let value = serde_json::from_slice::<T>(data).ok()?;
    assert_eq!(serde_json::from_slice::<T>(&one_line(&value)).expect("a line of ours"), value);
    Some(value)
}
