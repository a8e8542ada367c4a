//! The line protocol: how members that do not live by events speak with their cell.
//!
//! One JSON object a line, each way. `docs/process-agents.md` says the same to whoever writes a client.

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error as _, MapAccess, Visitor},
};
use serde_json::Value;

use super::{Call, Gift, Reason, Refusal};
use crate::cell::{Identity, Role, text::one_line};

/// The longest line, in bytes, its end included: the longest text, if every character of it is written as an escape, and room for the rest.
pub const LINE_MOST_BYTES: usize = 224 * 1024;
/// The most calls of one connection that may wait for their answers.
pub const PENDING_MOST: usize = 16;
/// The longest mark of a call that is text.
const MARK_MOST_BYTES: usize = 64;
/// Bytes of what is said about a line that is no call.
const COMPLAINT_MOST_BYTES: usize = 300;

/// What a caller marks a call with, to know its answer by: a whole number or a short text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Mark {
    /// A whole number.
    Number(i64),
    /// At most 64 bytes.
    Text(String),
}

/// A line with a call: `{"n":1,"call":"send","to":"agent:critic","text":"…"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CallLine {
    /// Its mark.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n: Option<Mark>,
    /// The call.
    #[serde(flatten)]
    pub call: Call,
}

/// What comes of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It was carried out.
    Ok(Gift),
    /// It was not, and changed nothing.
    Refused(Refusal),
}

impl From<Result<Gift, Refusal>> for Outcome {
    fn from(result: Result<Gift, Refusal>) -> Self {
        match result {
            Ok(gift) => Self::Ok(gift),
            Err(refusal) => Self::Refused(refusal),
        }
    }
}

/// A line with an answer: `{"n":1,"ok":{"gave":"sent","id":"msg-…"}}`, `{"n":1,"refused":{"reason":"too-fast",…}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerLine {
    /// The mark of the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<Mark>,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// The first line of a person: with what they come. `{"join":"<secret>"}` or `{"resume":"<session>"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Hello {
    /// With the secret of a token, once.
    Join(super::Secret),
    /// With the session that they were given.
    Resume(super::Secret),
}

/// The answer to a [`Hello`]: `{"welcome":{…}}`, or `{"refused":{…}}` and the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Greeting {
    /// They are connected.
    Welcome(Welcome),
    /// They are not.
    Refused(Refusal),
}

/// Who somebody is from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// Who.
    pub identity: Identity,
    /// As what.
    pub role: Role,
    /// What they come back with; given once, to who joins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<super::Secret>,
}

/// Reads a line, without its end.
///
/// # Errors
/// The answer to a line that is no call: refused as malformed, with its mark where it has one.
pub fn parse_call(line: &[u8]) -> Result<CallLine, Box<AnswerLine>> {
    let refuse = |n: Option<Mark>, why: &str| {
        let message = one_line(&format!("this line is no call: {why}"), COMPLAINT_MOST_BYTES);
        Box::new(AnswerLine { n, outcome: Outcome::Refused(Refusal::new(Reason::Malformed, message)) })
    };
    let value: Once = serde_json::from_slice(line).map_err(|error| refuse(None, &error.to_string()))?;
    let Once(mut object) = value;
    let n = match object.remove("n") {
        None | Some(Value::Null) => None,
        Some(mark) => match serde_json::from_value(mark) {
            Ok(Mark::Text(text)) if text.len() > MARK_MOST_BYTES => return Err(refuse(None, "its \"n\" is longer than 64 bytes")),
            Ok(mark) => Some(mark),
            Err(_) => return Err(refuse(None, "its \"n\" is neither a whole number nor a text")),
        },
    };
    let unknown = object.keys().find(|key| *key != "call").cloned();
    match serde_json::from_value(Value::Object(object)) {
        // Of a call that takes nothing, serde would pass over whatever is there.
        Ok(call @ (Call::Me | Call::Members | Call::Close | Call::Beat)) if unknown.is_some() => {
            Err(refuse(n, &format!("unknown field `{}`: {} takes nothing", unknown.unwrap_or_default(), call.name())))
        }
        Ok(call) => Ok(CallLine { n, call }),
        Err(error) => Err(refuse(n, &error.to_string())),
    }
}

/// A JSON object that has each key once, since of two the one that counts would be somebody's guess. What is in it is for those who take it.
struct Once(serde_json::Map<String, Value>);

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;

        impl<'de> Visitor<'de> for Keys {
            type Value = Once;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("one JSON object a line")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Once, A::Error> {
                let mut object = serde_json::Map::new();
                while let Some((key, value)) = entries.next_entry::<String, Value>()? {
                    if object.contains_key(&key) {
                        return Err(A::Error::custom(format!("the key `{key}` is there twice")));
                    }
                    object.insert(key, value);
                }
                Ok(Once(object))
            }
        }

        deserializer.deserialize_map(Keys)
    }
}

/// Writes a line, with its end.
pub fn line_of<T: Serialize>(what: &T) -> Vec<u8> {
    let mut line =
        serde_json::to_vec(what).unwrap_or_else(|_| br#"{"refused":{"reason":"failed","message":"an answer had no form"}}"#.to_vec());
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::{MessageId, TEXT_MOST_BYTES, Text};

    #[test]
    fn a_call_and_its_answer_keep_their_mark() {
        for (mark, n) in [("7", Mark::Number(7)), ("\"a\"", Mark::Text("a".into()))] {
            let line = format!("{{\"n\":{mark},\"call\":\"me\"}}");
            let parsed = parse_call(line.as_bytes()).expect("a call");
            assert_eq!(parsed, CallLine { n: Some(n.clone()), call: Call::Me });
            assert_eq!(serde_json::to_string(&parsed).expect("json"), line);
            let answer = AnswerLine { n: Some(n), outcome: Outcome::Ok(Gift::Done) };
            let text = serde_json::to_string(&answer).expect("json");
            assert_eq!(text, format!("{{\"n\":{mark},\"ok\":{{\"gave\":\"done\"}}}}"));
            assert_eq!(serde_json::from_str::<AnswerLine>(&text).expect("an answer"), answer);
        }
        assert_eq!(parse_call(b"{\"call\":\"beat\"}\r").expect("a call").n, None);
    }

    #[test]
    fn nonsense_is_answered_with_its_mark() {
        for (line, n) in [
            ("", None),
            ("[]", None),
            ("{}", None),
            ("{\"n\":1.5,\"call\":\"me\"}", None),
            ("{\"n\":4,\"call\":\"destroy\"}", Some(Mark::Number(4))),
            ("{\"n\":\"x\",\"call\":\"send\",\"to\":\"agent:a\",\"text\":\"t\",\"from\":\"human:root\"}", Some(Mark::Text("x".into()))),
            ("{\"call\":\"me\"}{\"call\":\"me\"}", None),
            ("{\"n\":5,\"call\":\"me\",\"foo\":1}", Some(Mark::Number(5))),
            ("{\"call\":\"beat\",\"foo\":1}", None),
            ("{\"call\":\"members\",\"to\":\"agent:a\"}", None),
            ("{\"call\":\"close\",\"foo\":null}", None),
            ("{\"call\":\"me\",\"call\":\"close\"}", None),
            ("{\"n\":1,\"n\":2,\"call\":\"me\"}", None),
            ("\u{1b}[2J", None),
        ] {
            let answer = parse_call(line.as_bytes()).expect_err(line);
            assert_eq!(answer.n, n, "{line}");
            let Outcome::Refused(refusal) = answer.outcome else { panic!("{line} was carried out") };
            assert_eq!(refusal.reason, Reason::Malformed);
            assert!(refusal.message.len() < 320 && !refusal.message.contains('\u{1b}'), "{}", refusal.message);
        }
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(parse_call(deep.as_bytes()).is_err());
    }

    #[test]
    fn the_longest_text_fits_a_line_however_it_is_written() {
        let text = Text::new("\u{1}".repeat(TEXT_MOST_BYTES)).expect("a text");
        let call = Call::Reply { text, to: Some(MessageId::random()) };
        let line = line_of(&CallLine { n: Some(Mark::Text("x".repeat(64))), call });
        assert!(line.len() <= LINE_MOST_BYTES, "{}", line.len());
        assert!(parse_call(&line).is_ok());
    }

    #[test]
    fn the_first_line_of_a_person() {
        let secret = super::super::Secret::draw().expect("drawn");
        let hello = Hello::Join(secret.clone());
        let line = line_of(&hello);
        assert_eq!(line, format!("{{\"join\":\"{}\"}}\n", secret.as_str()).into_bytes());
        assert_eq!(serde_json::from_slice::<Hello>(&line).expect("a hello"), hello);
        assert!(serde_json::from_slice::<Hello>(br#"{"join":"x"}"#).is_err());
    }
}
