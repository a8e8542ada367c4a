//! The survey, written down: for people, for programs, and in one line.
//!
//! Nothing here depends on when or behind which wall the survey was made, so that two surveys of one project agree to the byte.

use std::{fmt::Write as _, io};

use crate::survey::{Counts, Survey};

/// Writes the report for programs.
///
/// # Errors
/// The survey cannot be serialised.
pub fn json(survey: &Survey) -> io::Result<String> {
    Ok(serde_json::to_string_pretty(survey)? + "\n")
}

/// Writes the one line for the log.
pub fn summary(survey: &Survey) -> String {
    let Counts { files, lines, bytes } = survey.total;
    format!("surveyed {files} files, {lines} lines, {bytes} bytes; {} left to do", survey.marker_count)
}

/// Writes the report for people.
pub fn markdown(survey: &Survey) -> String {
    let mut text = format!("# Survey\n\n{}.\n", summary(survey));
    if survey.cut_off {
        text.push_str("\n**Cut off**: the project is larger than what was walked.\n");
    }
    text.push_str("\n## By kind\n\n| kind | files | lines | bytes |\n|---|--:|--:|--:|\n");
    let mut kinds: Vec<_> = survey.by_extension.iter().collect();
    kinds.sort_by(|(name, a), (other, b)| b.bytes.cmp(&a.bytes).then_with(|| name.cmp(other)));
    for (extension, Counts { files, lines, bytes }) in kinds {
        line(&mut text, format_args!("| {} | {files} | {lines} | {bytes} |", plain(extension)));
    }
    text.push_str("\n## Largest files\n\n");
    for sized in &survey.largest {
        line(&mut text, format_args!("- {} ({} bytes)", plain(&sized.file), sized.bytes));
    }
    text.push_str("\n## Left to do\n\n");
    for marker in &survey.markers {
        line(&mut text, format_args!("- {}:{}: {}", plain(&marker.file), marker.line, plain(&marker.text)));
    }
    let unlisted = survey.marker_count - survey.markers.len() as u64;
    if unlisted > 0 {
        line(&mut text, format_args!("- and {unlisted} more"));
    } else if survey.markers.is_empty() {
        text.push_str("Nothing is marked.\n");
    }
    if !survey.unreadable.is_empty() {
        text.push_str("\n## Not readable\n\n");
        survey.unreadable.iter().for_each(|file| line(&mut text, format_args!("- {}", plain(file))));
    }
    text
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{arguments}");
}

/// Makes a project's own words harmless in Markdown: they are data, and never a link, markup or a line of their own.
fn plain(words: &str) -> String {
    let mut safe = String::with_capacity(words.len());
    for c in words.chars() {
        match c {
            c if c.is_control() => safe.push(' '),
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '!' => safe.extend(['\\', c]),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{markers::Marker, survey::Sized};

    fn sample() -> Survey {
        let counts = Counts { files: 1, lines: 2, bytes: 30 };
        Survey {
            total: counts,
            by_extension: [("rs".to_owned(), counts)].into(),
            largest: vec![Sized { file: "a_b.rs".into(), bytes: 30 }],
            marker_count: 3,
            markers: vec![Marker { file: "a_b.rs".into(), line: 2, text: "TODO [x](http://y)".into() }],
            directories: 1,
            ..Survey::default()
        }
    }

    #[test]
    fn the_summary_is_one_line() {
        assert_eq!(summary(&sample()), "surveyed 1 files, 2 lines, 30 bytes; 3 left to do");
    }

    #[test]
    fn a_projects_words_stay_words() {
        let text = markdown(&sample());
        assert!(text.contains("- a\\_b.rs:2: TODO \\[x\\](http://y)\n"), "{text}");
        assert!(text.contains("- and 2 more\n"), "{text}");
        assert_eq!(plain("a\nb|c"), "a b\\|c");
    }

    #[test]
    fn the_json_is_the_survey() -> io::Result<()> {
        let value: serde_json::Value = serde_json::from_str(&json(&sample())?)?;
        assert_eq!(value["total"]["bytes"], 30);
        assert_eq!(value["markers"][0]["line"], 2);
        assert_eq!(value["cut_off"], false);
        Ok(())
    }
}
