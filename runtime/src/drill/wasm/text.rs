//! Pieces of WebAssembly text.

use std::fmt::Write;

/// Bytes at an address.
pub fn data(at: usize, text: &str) -> String {
    format!("(data (i32.const {at}) \"{}\")", escaped(text))
}

/// Text as it may stand in a string of the text format, whatever it is.
pub fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut escaped, byte| {
        // Writing to a String cannot fail.
        let _ = write!(escaped, "\\{byte:02x}");
        escaped
    })
}

/// A number as a constant. What is none becomes one that no descriptor and no count has.
pub fn number(text: &str) -> String {
    format!("(i32.const {})", text.parse::<i64>().unwrap_or(-1))
}
