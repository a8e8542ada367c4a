//! Requests on a warden's control socket.

use lazarus::warden::parse_ask;

use crate::harmless::check_refusal;

/// Reads a request; one that is understood comes back the same, one that is not is answered with a harmless line.
pub fn request(data: &[u8]) {
    match parse_ask(data) {
        Ok(ask) => {
            let line = serde_json::to_vec(&ask).expect("a request has a form");
            assert!(!line.contains(&b'\n'), "a request is one line");
            assert_eq!(parse_ask(&line).expect("a request of ours"), ask);
        }
        Err(message) => check_refusal(&message),
    }
}
