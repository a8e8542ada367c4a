//! What a jailed child and its warden say to each other.
//!
//! One `SOCK_SEQPACKET` socketpair a child; one message a packet: a tag byte, then JSON (control) or
//! raw bytes (output). The child's side is hostile once guest code runs: the warden bounds a packet
//! before it parses it, treats a malformed one as the end of that child, and never acts on a child's
//! word about any agent but its own.

use serde::{Deserialize, Serialize};

use crate::{
    cell::AgentName,
    mail::{Call, Gift, Message, Refusal},
    policy::{LimitName, Report},
};

/// The largest packet, both ways. A larger one is a protocol fault. A message's text fits whatever it is made of: JSON writes a control
/// character in six bytes.
pub const PACKET_MOST_BYTES: usize = 224 * 1024;

/// Bytes of a piece of a report, so that it fits a packet with all around it.
pub const REPORT_PIECE_BYTES: usize = PACKET_MOST_BYTES / 2;

/// How the run of one agent ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "how")]
pub enum End {
    /// The program returned or exited with a code.
    Exited {
        /// The code; 0 is success.
        code: i32,
    },
    /// The program was ended by a signal.
    Signalled {
        /// The signal's number.
        signal: i32,
    },
    /// The guest trapped (wasm).
    Trapped {
        /// What the engine said, bounded, one line.
        message: String,
    },
    /// A limit was reached.
    Limit {
        /// The limit, as the definition calls it: `cpu`, `memory`, `home`, `timeout`, …
        limit: String,
        /// What happened, one line.
        message: String,
    },
}

/// Child → warden.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "say")]
pub enum FromChild {
    /// What the jail and the engine really enforce for an agent. Sent before guest code runs, in as many pieces as it takes.
    Report {
        /// The agent.
        agent: AgentName,
        /// The report.
        report: Report,
    },
    /// The agent is ready: its program was executed, or its instance stands and is entered.
    Ready {
        /// The agent.
        agent: AgentName,
    },
    /// The agent could not be made ready. One line; the cause first.
    Refused {
        /// The agent.
        agent: AgentName,
        /// Why.
        message: String,
    },
    /// The agent's run ended.
    Ended {
        /// The agent.
        agent: AgentName,
        /// How.
        end: End,
    },
    /// The agent asks something of its cell. It waits for the answer: an agent has one call at a time.
    Call {
        /// The agent.
        agent: AgentName,
        /// Which call: the answer repeats it.
        number: u64,
        /// What is asked.
        call: Call,
    },
    /// An event is over, and the agent waits for the next.
    EventOver {
        /// The agent.
        agent: AgentName,
        /// Which event.
        event: u64,
        /// How it ended.
        outcome: Outcome,
    },
    /// The agent had nothing to do for its idle time, and its memory was dropped.
    Idle {
        /// The agent.
        agent: AgentName,
    },
    /// The agent was refused something for a limit, and lives on.
    Limit {
        /// The agent.
        agent: AgentName,
        /// The limit.
        limit: LimitName,
        /// How often, since it was last said.
        count: u64,
    },
    /// Output that was dropped past the rate, or because the warden did not read fast enough, since it was last said.
    Dropped {
        /// The agent.
        agent: AgentName,
        /// Bytes.
        bytes: u64,
        /// How many writes they belonged to.
        writes: u64,
    },
}

impl FromChild {
    /// The agent that it is about.
    pub const fn agent(&self) -> &AgentName {
        match self {
            Self::Report { agent, .. }
            | Self::Ready { agent }
            | Self::Refused { agent, .. }
            | Self::Ended { agent, .. }
            | Self::Call { agent, .. }
            | Self::EventOver { agent, .. }
            | Self::Idle { agent }
            | Self::Limit { agent, .. }
            | Self::Dropped { agent, .. } => agent,
        }
    }
}

/// Warden → child.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "say")]
pub enum ToChild {
    /// Tell the agents to end; those that live after the grace are ended by the warden.
    Close {
        /// One agent, or all.
        agent: Option<AgentName>,
        /// The grace, in milliseconds.
        grace_ms: u64,
    },
    /// Something happened that an agent lives by. It has one event at a time.
    Event {
        /// The agent.
        agent: AgentName,
        /// Which event: its end repeats it. Never 0, which is the start of the run.
        event: u64,
        /// What happened.
        occasion: Occasion,
    },
    /// What comes of a call.
    Answer {
        /// The agent.
        agent: AgentName,
        /// Which call.
        number: u64,
        /// What is given, or why nothing is.
        answer: Result<Gift, Refusal>,
    },
}

/// What an agent is woken for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "occasion")]
pub enum Occasion {
    /// Somebody wrote.
    Message(Message),
    /// Its time has come round.
    Tick,
}

/// How an event ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "how")]
pub enum Outcome {
    /// Well: what it sent is sent, what it was sent is handled.
    Done,
    /// The agent says that it may succeed later.
    Retry {
        /// Why: one line.
        why: String,
    },
    /// The agent says that it never will.
    Park {
        /// Why: one line.
        why: String,
    },
    /// It trapped, reached a limit, or could not be started: the instance is gone. Counts as `Retry`.
    Lost {
        /// Why.
        end: End,
    },
}

/// The tag of a control packet: JSON of a [`FromChild`] or [`ToChild`].
const TAG_CONTROL: u8 = b'c';
/// The tag of an output packet: a byte for the stream, the guest's index in 16 bits (little endian), the bytes.
const TAG_OUTPUT: u8 = b'o';
/// Bytes before the output itself.
const OUTPUT_HEAD_BYTES: usize = 4;
/// Bytes of output that fit one packet.
pub const OUTPUT_MOST_BYTES: usize = PACKET_MOST_BYTES - OUTPUT_HEAD_BYTES;

/// Which stream output was written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A packet from a child, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// A message.
    Control(FromChild),
    /// Output of an agent of a wasm host.
    Output {
        /// The agent: its place among the launches of the host. The reader checks that it exists.
        guest: u16,
        /// The stream.
        stream: Stream,
        /// What was written. Hostile.
        bytes: &'a [u8],
    },
}

/// Why a packet was not understood: the end of that child.
#[derive(Debug, thiserror::Error)]
pub enum ProtocolError {
    /// A packet that is empty, too large, of an unknown tag, or cut short.
    #[error("read a packet: it is not of the protocol")]
    Form,
    /// A message that is not one.
    #[error("read a message")]
    Json(#[source] serde_json::Error),
    /// A message that does not fit a packet.
    #[error("write a message: it has more than {PACKET_MOST_BYTES} bytes")]
    TooLarge,
}

/// Makes a control packet of a message, either way.
///
/// # Errors
/// A message that does not fit.
pub fn control<M: Serialize>(message: &M) -> Result<Vec<u8>, ProtocolError> {
    let mut packet = vec![TAG_CONTROL];
    serde_json::to_writer(&mut packet, message).map_err(ProtocolError::Json)?;
    if packet.len() > PACKET_MOST_BYTES { Err(ProtocolError::TooLarge) } else { Ok(packet) }
}

/// Makes an output packet. What does not fit [`OUTPUT_MOST_BYTES`] is left out: the caller cuts output into pieces.
pub fn output(guest: u16, stream: Stream, bytes: &[u8]) -> Vec<u8> {
    let bytes = &bytes[..bytes.len().min(OUTPUT_MOST_BYTES)];
    let [low, high] = guest.to_le_bytes();
    let mut packet = Vec::with_capacity(OUTPUT_HEAD_BYTES + bytes.len());
    packet.extend_from_slice(&[TAG_OUTPUT, number_of(stream), low, high]);
    packet.extend_from_slice(bytes);
    packet
}

/// Adds to an output packet what its guest wrote next, if it is one, of this stream, and stays within `most` bytes.
pub fn append_output(packet: &mut Vec<u8>, stream: Stream, bytes: &[u8], most: usize) -> bool {
    let fits = packet.len() + bytes.len() <= most.min(PACKET_MOST_BYTES) && packet.starts_with(&[TAG_OUTPUT, number_of(stream)]);
    if fits {
        packet.extend_from_slice(bytes);
    }
    fits
}

const fn number_of(stream: Stream) -> u8 {
    match stream {
        Stream::Stdout => 1,
        Stream::Stderr => 2,
    }
}

/// Takes a packet of a child apart.
///
/// # Errors
/// Anything that is not of the protocol.
pub fn from_child(packet: &[u8]) -> Result<Packet<'_>, ProtocolError> {
    match packet {
        long if long.len() > PACKET_MOST_BYTES => Err(ProtocolError::Form),
        [TAG_CONTROL, json @ ..] => serde_json::from_slice(json).map(Packet::Control).map_err(ProtocolError::Json),
        [TAG_OUTPUT, stream @ (1 | 2), low, high, bytes @ ..] => {
            let stream = if *stream == 1 { Stream::Stdout } else { Stream::Stderr };
            Ok(Packet::Output { guest: u16::from_le_bytes([*low, *high]), stream, bytes })
        }
        _ => Err(ProtocolError::Form),
    }
}

/// Takes a packet of the warden apart.
///
/// # Errors
/// Anything that is not of the protocol.
pub fn to_child(packet: &[u8]) -> Result<ToChild, ProtocolError> {
    match packet {
        long if long.len() > PACKET_MOST_BYTES => Err(ProtocolError::Form),
        [TAG_CONTROL, json @ ..] => serde_json::from_slice(json).map_err(ProtocolError::Json),
        _ => Err(ProtocolError::Form),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_come_back_as_they_were_made() {
        let message = FromChild::Dropped { agent: "scribe".parse().expect("a name"), bytes: 7, writes: 2 };
        let packet = control(&message).expect("packet");
        assert_eq!(from_child(&packet).expect("control"), Packet::Control(message));
        let close = ToChild::Close { agent: None, grace_ms: 5 };
        assert_eq!(to_child(&control(&close).expect("packet")).expect("control"), close);
        let packet = output(258, Stream::Stderr, b"x\0y");
        assert_eq!(from_child(&packet).expect("output"), Packet::Output { guest: 258, stream: Stream::Stderr, bytes: b"x\0y" });
        let mut packet = packet;
        assert!(!append_output(&mut packet, Stream::Stdout, b"z", 100), "another stream");
        assert!(!append_output(&mut packet, Stream::Stderr, b"z", 7), "too much");
        assert!(append_output(&mut packet, Stream::Stderr, b"z", 8));
        assert_eq!(from_child(&packet).expect("output"), Packet::Output { guest: 258, stream: Stream::Stderr, bytes: b"x\0yz" });
        assert!(!append_output(&mut control(&close).expect("packet"), Stream::Stdout, b"z", 100), "not output");
    }

    #[test]
    fn packets_are_bounded_and_checked() {
        assert_eq!(output(0, Stream::Stdout, &[0; 2 * PACKET_MOST_BYTES]).len(), PACKET_MOST_BYTES);
        let long = FromChild::Refused { agent: "scribe".parse().expect("a name"), message: "x".repeat(PACKET_MOST_BYTES) };
        assert!(matches!(control(&long), Err(ProtocolError::TooLarge)));
        for packet in [&b""[..], b"c", b"c{}", b"o\x01\0", b"o\x03\0\0x", b"x{}", &[b'o'; PACKET_MOST_BYTES + 1]] {
            assert!(from_child(packet).is_err(), "{packet:?}");
        }
        assert!(to_child(&output(0, Stream::Stdout, b"{}")).is_err());
    }
}
