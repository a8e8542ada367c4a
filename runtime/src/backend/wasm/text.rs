//! Words that came out of guests and compilers, made fit for one line of a message.

use crate::cell::text::acts;

/// Ends a text that was cut.
const CUT: char = '…';

/// Returns `text` as one line of at most `most` characters: runs of white space become one space, unfit characters `?`.
pub fn one_line(text: &str, most: usize) -> String {
    let mut line = String::with_capacity(text.len().min(most));
    let (mut count, mut gap) = (0, false);
    for c in text.chars() {
        if c.is_whitespace() {
            gap = count > 0;
            continue;
        }
        if count + usize::from(gap) >= most {
            // The last character gives way to the mark.
            line.pop();
            line.push(CUT);
            break;
        }
        if gap {
            line.push(' ');
            count += 1;
            gap = false;
        }
        line.push(if acts(c, line.chars().next_back()) { '?' } else { c });
        count += 1;
    }
    line
}

/// Returns bytes in lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
    bytes.iter().flat_map(|b| [digit(b >> 4), digit(*b)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_one_bounded_and_harmless() {
        assert_eq!(one_line("  a\n\t b \r\n", 80), "a b");
        assert_eq!(one_line("x\u{1b}[2Jy\u{202e}z\0", 80), "x?[2Jy?z?");
        assert_eq!(one_line("abcdef", 4), "abc…");
        assert_eq!(one_line("abcd", 4), "abcd");
        assert_eq!(one_line("ab cd", 4), "ab …");
        assert!(one_line(&"é".repeat(1000), 100).chars().count() <= 100);
    }

    #[test]
    fn hexadecimal() {
        assert_eq!(hex(&[0, 15, 160, 255]), "000fa0ff");
    }
}
