//! How runs end, in words.

use crate::backend::protocol::End;

/// How a run ended, as a phrase.
pub fn describe(end: &End) -> String {
    match end {
        End::Exited { code: 0 } => "it ended well".to_owned(),
        End::Exited { code } => format!("it exited with code {code}"),
        End::Signalled { signal } => format!("it was ended by signal {signal}"),
        End::Trapped { message } => format!("it trapped: {message}"),
        End::Limit { limit, message } => format!("limit {limit}: {message}"),
    }
}

/// Whether a run ended well: on its own, with code 0.
pub const fn is_well(end: &End) -> bool {
    matches!(end, End::Exited { code: 0 })
}
