//! Strangers' words in lines that people read: logs, tables, errors, the audit.

use lazarus::{audit, backend::wasm, cell::text};

use crate::harmless::{acts, check_line, combines, hides};

/// Makes any bytes harmless in each way that there is. The first byte says how much room there is.
pub fn words(data: &[u8]) {
    let (most, bytes) = data.split_first().map_or((3, data), |(first, rest)| (usize::from(*first).max(3), rest));
    let given = String::from_utf8_lossy(bytes);
    let is_plain = |text: &str| !text.chars().any(|c| acts(c) || hides(c) || combines(c));

    let mut printable = String::new();
    text::push_printable(&mut printable, bytes);
    check_line(&printable, true);
    if let Ok(plain) = std::str::from_utf8(bytes)
        && is_plain(plain)
    {
        assert_eq!(printable, plain, "what is harmless stays as it is");
    }

    let line = text::one_line(&given, most);
    check_line(&line, true);
    assert!(line.len() <= most, "{} of {most}", line.len());
    assert_eq!(text::one_line(&line, most), line, "twice changes nothing");

    let row = audit::one_line(&given, most);
    check_line(&row, false);
    assert!(row.len() <= most, "{} of {most}", row.len());
    assert_eq!(audit::one_line(&row, most), row, "twice changes nothing");
    if given.len() <= most && is_plain(&given) {
        assert_eq!(row, given, "what is harmless and short stays as it is");
    }

    let name = wasm::text::one_line(&given, most);
    check_line(&name, false);
    assert!(name.chars().count() <= most, "{} of {most}", name.chars().count());
    assert_eq!(wasm::text::one_line(&name, most), name, "twice changes nothing");
}
