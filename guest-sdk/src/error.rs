//! Why something was not done: a call ([`Refusal`]), or an event ([`Failure`]).

use std::{any::Any, error::Error, fmt};

/// Why a call was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The role does not allow it; [`Refusal::needs`] says what would.
    NotGranted,
    /// Nobody of that identity is in the cell.
    NoSuchMember,
    /// No message of that id is there for this agent.
    NoSuchMessage,
    /// It is larger than it may be.
    TooLarge,
    /// What was given is no such thing: an identity without a kind, an empty text, a path that leads out.
    Malformed,
    /// There is no room; later there may be.
    Full,
    /// Too many calls in too short a time.
    TooFast,
    /// Not now: no message is being handled, or the cell is closing.
    WrongTime,
    /// Lazarus itself failed; nothing was done.
    Failed,
}

impl Reason {
    /// Tells whether the same call may succeed later.
    ///
    /// ```
    /// use lazarus_guest::Reason;
    ///
    /// assert!(Reason::Full.may_pass());
    /// assert!(!Reason::NotGranted.may_pass());
    /// ```
    pub const fn may_pass(self) -> bool {
        match self {
            Self::Full | Self::TooFast | Self::WrongTime | Self::Failed => true,
            Self::NotGranted | Self::NoSuchMember | Self::NoSuchMessage | Self::TooLarge | Self::Malformed => false,
        }
    }

    /// Returns the reason as the WIT spells it.
    ///
    /// ```
    /// assert_eq!(lazarus_guest::Reason::TooFast.as_str(), "too-fast");
    /// ```
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotGranted => "not-granted",
            Self::NoSuchMember => "no-such-member",
            Self::NoSuchMessage => "no-such-message",
            Self::TooLarge => "too-large",
            Self::Malformed => "malformed",
            Self::Full => "full",
            Self::TooFast => "too-fast",
            Self::WrongTime => "wrong-time",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A call that was not carried out, and changed nothing. The cell's audit has it, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// One line for people.
    pub message: String,
    /// The role or grant that it would need, such as `role director`; none where no grant would help.
    pub needs: Option<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.needs {
            Some(needs) => write!(f, "{} ({}; needs {needs})", self.message, self.reason),
            None => write!(f, "{} ({})", self.message, self.reason),
        }
    }
}

impl Error for Refusal {}

/// Why an event was not done. What the event had sent was not sent.
///
/// `?` turns any error into one. A [`Refusal`] that may pass by itself ([`Reason::may_pass`]) becomes a retry, and any other refusal is parked,
/// since it would be refused again; every other error, such as one of the file system, becomes a retry.
///
/// ```
/// use lazarus_guest::{Failure, Reason, Refusal};
///
/// fn refused(reason: Reason) -> Result<(), Failure> {
///     Err(Refusal { reason, message: "send".into(), needs: None })?;
///     Ok(())
/// }
/// assert!(matches!(refused(Reason::Full), Err(Failure::Retry(_))));
/// assert!(matches!(refused(Reason::NotGranted), Err(Failure::Park(_))));
///
/// fn count(text: &str) -> Result<u64, Failure> {
///     text.parse().map_err(Failure::park) // It will not become a number.
/// }
/// assert!(matches!(count("seven"), Err(Failure::Park(_))));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// It may succeed later: the message is delivered again after a pause, a few times, and then parked.
    Retry(String),
    /// It never will: the message is parked at once, with this reason.
    Park(String),
}

impl Failure {
    /// Makes a failure that may pass by itself.
    pub fn retry(why: impl fmt::Display) -> Self {
        Self::Retry(why.to_string())
    }

    /// Makes a failure that will not.
    pub fn park(why: impl fmt::Display) -> Self {
        Self::Park(why.to_string())
    }

    /// Returns why.
    pub fn why(&self) -> &str {
        match self {
            Self::Retry(why) | Self::Park(why) => why,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.why())
    }
}

// `Failure` is no `Error` itself: it is what an event returns to Lazarus, and this conversion could not be otherwise.
impl<E: Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let refusal = (&error as &dyn Any).downcast_ref::<Refusal>();
        if refusal.is_some_and(|refusal| !refusal.reason.may_pass()) { Self::park(error) } else { Self::Retry(chain(&error)) }
    }
}

/// An error with its causes, in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_become_failures_by_what_may_pass() {
        let gone = std::io::Error::other("gone");
        assert_eq!(Failure::from(gone), Failure::Retry("gone".to_owned()));
        let refusal = Refusal { reason: Reason::NotGranted, message: "close: no".to_owned(), needs: Some("role director".to_owned()) };
        assert_eq!(Failure::from(refusal), Failure::Park("close: no (not-granted; needs role director)".to_owned()));
    }

    #[test]
    fn causes_are_told() {
        let error = "king".parse::<crate::Role>().map_err(crate::plain::CellError::Role);
        let Err(error) = error else { panic!("no such role") };
        assert!(Failure::from(error).why().starts_with("read LAZARUS_ROLE: accept role"));
    }
}
