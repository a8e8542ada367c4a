//! What a member can ask of its cell, and what comes back.

use serde::{Deserialize, Serialize};

use super::{Message, MessageId, Text};
use crate::cell::{CellId, Identity, ProjectName, Role};

/// The most messages, and the most audit rows, that one call gives.
pub const HISTORY_MOST: u32 = 200;

/// What is asked. As JSON: `{"call":"send","to":"agent:critic","text":"…"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Call {
    /// Where am I, and as whom?
    Me,
    /// Who is here?
    Members,
    /// Send a message.
    Send {
        /// To whom.
        to: Identity,
        /// What.
        text: Text,
    },
    /// Answer a message.
    Reply {
        /// What.
        text: Text,
        /// The message; the one that is being handled where it is left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<MessageId>,
    },
    /// Take the next waiting message.
    Receive {
        /// How long to wait for one, in milliseconds. Only where the caller is not in the middle of an event.
        #[serde(default)]
        wait_ms: u64,
    },
    /// A message that was received is done with. Only for those who do not live by events.
    Acknowledge {
        /// The message.
        id: MessageId,
    },
    /// A message that was received cannot be handled: it comes again later, or is parked.
    Fail {
        /// The message.
        id: MessageId,
        /// Why: one line.
        why: String,
        /// Whether it never will be.
        #[serde(default)]
        park: bool,
    },
    /// Show messages that were sent.
    History {
        /// The last one that is known already.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<MessageId>,
        /// How many, at the most; never more than [`HISTORY_MOST`].
        most: u32,
    },
    /// Let somebody in.
    Invite {
        /// Who.
        guest: Identity,
        /// As what.
        role: Role,
    },
    /// Close the cell.
    Close,
    /// Show the newest audit rows.
    Audit {
        /// How many, at the most; never more than [`HISTORY_MOST`].
        most: u32,
    },
    /// I am alive.
    Beat,
    /// Keep a file of the caller's home.
    Declare {
        /// The file, relative to the home.
        path: String,
        /// Under which name.
        name: String,
    },
}

/// Declares a closed enum of calls by their names.
macro_rules! call_kinds {
    ($($(#[$doc:meta])* $kind:ident = $name:literal,)+) => {
        /// Which call it is, without what it says.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum CallKind {
            $($(#[$doc])* $kind,)+
        }

        impl CallKind {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$kind,)+];

            /// The call as it is named in the line protocol, in refusals and in the audit.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)+
                }
            }
        }
    };
}

call_kinds! {
    /// [`Call::Me`].
    Me = "me",
    /// [`Call::Members`].
    Members = "members",
    /// [`Call::Send`].
    Send = "send",
    /// [`Call::Reply`].
    Reply = "reply",
    /// [`Call::Receive`].
    Receive = "receive",
    /// [`Call::Acknowledge`].
    Acknowledge = "acknowledge",
    /// [`Call::Fail`].
    Fail = "fail",
    /// [`Call::History`].
    History = "history",
    /// [`Call::Invite`].
    Invite = "invite",
    /// [`Call::Close`].
    Close = "close",
    /// [`Call::Audit`].
    Audit = "audit",
    /// [`Call::Beat`].
    Beat = "beat",
    /// [`Call::Declare`].
    Declare = "declare",
}

impl Call {
    /// Which call it is.
    pub const fn kind(&self) -> CallKind {
        match self {
            Self::Me => CallKind::Me,
            Self::Members => CallKind::Members,
            Self::Send { .. } => CallKind::Send,
            Self::Reply { .. } => CallKind::Reply,
            Self::Receive { .. } => CallKind::Receive,
            Self::Acknowledge { .. } => CallKind::Acknowledge,
            Self::Fail { .. } => CallKind::Fail,
            Self::History { .. } => CallKind::History,
            Self::Invite { .. } => CallKind::Invite,
            Self::Close => CallKind::Close,
            Self::Audit { .. } => CallKind::Audit,
            Self::Beat => CallKind::Beat,
            Self::Declare { .. } => CallKind::Declare,
        }
    }

    /// The call as it is named in refusals and in the audit.
    pub const fn name(&self) -> &'static str {
        self.kind().as_str()
    }
}

/// Where a caller is, and as whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The cell.
    pub cell: CellId,
    /// Its project.
    pub project: ProjectName,
    /// The caller.
    pub identity: Identity,
    /// Its role.
    pub role: Role,
    /// Seconds until the time to live is over; none where it has no end.
    pub ttl_left: Option<u64>,
}

/// Somebody in the cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Other {
    /// Who.
    pub identity: Identity,
    /// As what.
    pub role: Role,
}

/// A file that was kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Its name.
    pub name: String,
    /// The SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
    /// Its size.
    pub bytes: u64,
}

/// What comes of a call that was carried out. As JSON: `{"gave":"sent","id":"msg-…"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "gave", rename_all = "kebab-case")]
pub enum Gift {
    /// Of `me`.
    Facts(Facts),
    /// Of `members`.
    Members {
        /// Everyone, in the order in which they came.
        members: Vec<Other>,
    },
    /// Of `send` and `reply`.
    Sent {
        /// The new message.
        id: MessageId,
    },
    /// Of `receive`.
    Received {
        /// The message, if there was one in time.
        message: Option<Message>,
    },
    /// Of `history`.
    History {
        /// In the order in which they were accepted. Fewer than asked for where they would not fit one answer: ask again.
        messages: Vec<Message>,
    },
    /// Of `invite`.
    Invited {
        /// What a human joins with.
        token: Option<String>,
    },
    /// Of `audit`.
    Audit {
        /// One line a row, the oldest first.
        rows: Vec<String>,
    },
    /// Of `declare`.
    Kept(Artifact),
    /// Of every other.
    Done,
}

/// Why a call is refused: the words of `lazarus:cell/types.reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// The role does not allow it.
    NotGranted,
    /// Nobody of that identity is in the cell.
    NoSuchMember,
    /// No message of that id is there for the caller.
    NoSuchMessage,
    /// Larger than it may be.
    TooLarge,
    /// No such thing.
    Malformed,
    /// No room; later, perhaps.
    Full,
    /// Too often; later.
    TooFast,
    /// Not now.
    WrongTime,
    /// Lazarus itself failed.
    Failed,
}

/// A call that was not carried out, and changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// One line for people.
    pub message: String,
    /// The grant or role that it would need.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs: Option<String>,
}

impl Refusal {
    /// A refusal that no grant would change.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), needs: None }
    }

    /// A refusal for want of a role or a grant.
    pub fn needs(needs: impl Into<String>, message: impl Into<String>) -> Self {
        Self { reason: Reason::NotGranted, message: message.into(), needs: Some(needs.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_have_their_form() {
        let call: Call = serde_json::from_str(r#"{"call":"send","to":"agent:critic","text":"hello"}"#).expect("a call");
        assert!(matches!(&call, Call::Send { to, .. } if to.to_string() == "agent:critic"));
        assert!(matches!(serde_json::from_str(r#"{"call":"receive"}"#), Ok(Call::Receive { wait_ms: 0 })));
        for bad in [
            "{}",
            r#"{"call":"destroy"}"#,
            r#"{"call":"send","to":"critic","text":"x"}"#,
            r#"{"call":"send","to":"agent:critic","text":""}"#,
            r#"{"call":"send","to":"agent:critic","text":"x","from":"human:root"}"#,
            r#"{"call":"reply","text":"x","to":"1"}"#,
        ] {
            assert!(serde_json::from_str::<Call>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn gifts_and_refusals_come_back_as_they_were() {
        let gift = Gift::Received { message: None };
        assert_eq!(serde_json::from_str::<Gift>(&serde_json::to_string(&gift).expect("json")).expect("gift"), gift);
        let refusal = Refusal::needs("role director", "close: only a director may");
        let json = serde_json::to_string(&refusal).expect("json");
        assert_eq!(json, r#"{"reason":"not-granted","message":"close: only a director may","needs":"role director"}"#);
        assert_eq!(serde_json::from_str::<Refusal>(&json).expect("refusal"), refusal);
    }
}
