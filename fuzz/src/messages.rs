//! Bodies of messages: bounded, otherwise as they were written, and never too large for what carries them.

use lazarus::{
    backend::protocol::{Occasion, ToChild, control, to_child},
    cell::text::printable_lines,
    mail::{Call, CallLine, LINE_MOST_BYTES, Mark, Message, MessageId, TEXT_MOST_BYTES, Text, TextError, line_of, parse_call},
};

use crate::harmless::check_line;

/// Takes bytes as the body of a message, and sends it every way that there is.
pub fn message(data: &[u8]) {
    let text = match (Text::from_bytes(data.to_vec()), std::str::from_utf8(data)) {
        (Ok(text), Ok(said)) => {
            assert!((1..=TEXT_MOST_BYTES).contains(&data.len()));
            assert_eq!(text.as_str(), said);
            text
        }
        (Err(TextError::Empty), _) => return assert!(data.is_empty()),
        (Err(TextError::TooLarge(bytes)), _) => return assert!(bytes > TEXT_MOST_BYTES),
        (Err(TextError::NotText(at)), Err(error)) => return assert_eq!(at, error.valid_up_to()),
        (taken, said) => panic!("{taken:?} of {said:?}"),
    };
    let shown = printable_lines(text.as_str());
    assert_eq!(shown.split('\n').count(), text.as_str().split('\n').count(), "as many lines as were written");
    shown.split('\n').for_each(|line| check_line(line, true));

    let id: MessageId = "msg-0123456789abcdef0123456789abcdef".parse().expect("an id");
    let message = Message {
        id: id.clone(),
        sender: "agent:a".parse().expect("an identity"),
        receiver: "human:b".parse().expect("an identity"),
        text: text.clone(),
        in_reply_to: Some(id.clone()),
        sent_at: chrono::DateTime::UNIX_EPOCH,
        attempt: u32::MAX,
    };
    let event = ToChild::Event { agent: "b".parse().expect("a name"), event: u64::MAX, occasion: Occasion::Message(message) };
    let packet = control(&event).expect("a message fits a packet, whatever it says");
    assert_eq!(to_child(&packet).expect("a packet of ours"), event);

    let call = CallLine { n: Some(Mark::Number(i64::MIN)), call: Call::Reply { text, to: Some(id) } };
    let line = line_of(&call);
    assert!(line.len() <= LINE_MOST_BYTES, "a message fits a line, whatever it says");
    assert_eq!(parse_call(&line).expect("a line of ours"), call);
}
