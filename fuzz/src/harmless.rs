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

/// Whether a character is not seen, joins what stands beside it, or is nobody's.
pub fn hides(c: char) -> bool {
    let u = u32::from(c);
    let format = matches!(u, 0xad | 0x600..=0x605 | 0x6dd | 0x70f | 0x890..=0x891 | 0x8e2 | 0x180b..=0x180f | 0x200b..=0x200d | 0x2060..=0x206f
        | 0xfff0..=0xfffb | 0x110bd | 0x110cd | 0x13430..=0x1343f | 0x1bca0..=0x1bca3 | 0x1d173..=0x1d17a | 0xe0000..=0xe0fff);
    let blank = matches!(u, 0x34f | 0x115f..=0x1160 | 0x17b4..=0x17b5 | 0x2800 | 0x3164 | 0xfe00..=0xfe0f | 0xffa0);
    let nobodys = matches!(u, 0xe000..=0xf8ff | 0xfdd0..=0xfdef) || u >= 0xf_0000 || u & 0xfffe == 0xfffe;
    format || blank || nobodys
}

/// Whether a character may be a mark that combines with what stands before it: whether it stays depends on that.
pub fn combines(c: char) -> bool {
    matches!(u32::from(c), 0x300..=0x36f | 0x483..=0x489 | 0x591..=0x5bd | 0x610..=0x65f | 0x1ab0..=0x1aff | 0x1dc0..=0x1dff | 0x20d0..=0x20ff
        | 0x302a..=0x302f | 0x3099..=0x309a | 0xfe20..=0xfe2f)
}

/// Holds that a text is one line that does nothing but be read. Tabs may stand in it where `tabs` says so.
pub fn check_line(line: &str, tabs: bool) {
    assert!(!line.chars().any(|c| acts(c) && !(tabs && c == '\t')), "it acts: {line:?}");
    assert!(!line.chars().any(hides), "something in it is not seen: {line:?}");
    assert!(!line.chars().next().is_some_and(combines), "it begins with a mark: {line:?}");
}

/// Holds that a refusal can be shown to a person as it is.
pub fn check_refusal(message: &str) {
    check_line(message, false);
    assert!(message.len() <= REFUSAL_MOST_BYTES, "{} bytes: {message}", message.len());
}
