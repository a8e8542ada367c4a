//! What no line may hold that a person reads, and no error message.

/// The most bytes of a refusal: a few lines of a terminal.
pub const REFUSAL_MOST_BYTES: usize = 1024;

/// Whether a character acts on a terminal, or changes the order in which a line is read.
pub fn acts(c: char) -> bool {
    let u = u32::from(c);
    let control = u < 0x20 || (0x7f..0xa0).contains(&u);
    let order = matches!(u, 0x61c | 0x200e | 0x200f | 0x2028..=0x202e | 0x2066..=0x2069 | 0xfeff);
    control || order
}

/// Whether a character is not seen, or joins what stands beside it: the audit escapes these as well.
pub fn hides(c: char) -> bool {
    matches!(u32::from(c), 0xad | 0x180e | 0x200b..=0x200d | 0x2060..=0x206f | 0xfff9..=0xfffb | 0xe0000..=0xe007f)
}

/// Holds that a text is one line that does nothing but be read. Tabs may stand in it where `tabs` says so.
pub fn check_line(line: &str, tabs: bool) {
    assert!(!line.chars().any(|c| acts(c) && !(tabs && c == '\t')), "it acts: {line:?}");
}

/// Holds that a refusal can be shown to a person as it is.
pub fn check_refusal(message: &str) {
    check_line(message, false);
    assert!(message.len() <= REFUSAL_MOST_BYTES, "{} bytes: {message}", message.len());
}
