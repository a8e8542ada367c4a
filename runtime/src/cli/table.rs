//! Aligned columns for people. Contents are ASCII by construction (ids, names, states, numbers).

use std::fmt::Write;

/// Lays rows out under headings, two spaces between columns, nothing after the last.
pub fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = headings.iter().map(|heading| heading.len()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(visible(cell));
        }
    }
    let mut text = String::new();
    let headings: Vec<String> = headings.iter().map(ToString::to_string).collect();
    for row in std::iter::once(&headings).chain(rows) {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            let padding = width.saturating_sub(visible(cell)) + 2;
            let _ = write!(line, "{cell}{:padding$}", "");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Cuts each line to so many columns. For tables whose last column is text of others; those lines hold no colour.
pub fn cut(text: &str, columns: usize) -> String {
    let mut cut = String::new();
    for line in text.lines() {
        match line.char_indices().nth(columns) {
            None => cut.push_str(line),
            Some(_) => {
                cut.extend(line.chars().take(columns.saturating_sub(1)));
                cut.push('…');
            }
        }
        cut.push('\n');
    }
    cut
}

/// How wide a cell is on the terminal: colour takes no room.
fn visible(cell: &str) -> usize {
    let mut width = 0;
    let mut escaped = false;
    for c in cell.chars() {
        match (escaped, c) {
            (false, '\u{1b}') => escaped = true,
            (true, 'm') => escaped = false,
            (false, _) => width += 1,
            (true, _) => {}
        }
    }
    width
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_between_characters() {
        assert_eq!(cut("äöü\nabcd\n", 3), "äöü\nab…\n");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = vec![vec!["laz-00000001".to_owned(), "x".to_owned()], vec!["y".to_owned(), "zz".to_owned()]];
        assert_eq!(table(&["CELL", "B"], &rows), "CELL          B\nlaz-00000001  x\ny             zz\n");
    }
}
