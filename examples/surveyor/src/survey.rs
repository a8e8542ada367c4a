//! The survey: one bounded walk over a directory, in an order that is the same everywhere.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use serde::Serialize;

use crate::markers::{self, Marker};

/// Directories below the project that are walked into: deeper trees are generated, not written.
const DEPTH_MOST: usize = 32;
/// Entries looked at in all; a project of more is reported as cut off.
const ENTRIES_MOST: u64 = 100_000;
/// Bytes of one file that are read for lines and markers; the rest counts by its size alone.
const READ_MOST_BYTES: u64 = 4 * 1024 * 1024;
/// Bytes of one line that are kept while reading: a longer one counts once for each such piece.
const LINE_MOST_BYTES: u64 = 64 * 1024;
/// Bytes at the start of a file in which a NUL says that it is not text.
const PROBE_BYTES: usize = 8 * 1024;
/// Marked lines that are listed; all are counted.
const MARKERS_MOST: usize = 200;
/// Files named as the largest.
const LARGEST_MOST: usize = 5;
/// Directories that hold what tools made or keep, not the project.
const NOT_THE_PROJECT: [&str; 3] = [".git", "node_modules", "target"];

/// What was counted, of one extension or of all files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Files.
    pub files: u64,
    /// Lines of those that are text.
    pub lines: u64,
    /// Bytes.
    pub bytes: u64,
}

/// One file and its size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sized {
    /// The file, relative to the project.
    pub file: String,
    /// Its bytes.
    pub bytes: u64,
}

/// What a survey found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Survey {
    /// All files together.
    pub total: Counts,
    /// By extension, in lower case; files without one under `(none)`.
    pub by_extension: BTreeMap<String, Counts>,
    /// The largest files, largest first.
    pub largest: Vec<Sized>,
    /// Marked lines in all.
    pub marker_count: u64,
    /// The first marked lines, by file and line.
    pub markers: Vec<Marker>,
    /// Directories walked into, the project itself included.
    pub directories: u64,
    /// Links, which are never followed, and other things that are neither file nor directory.
    pub not_followed: u64,
    /// What could not be read, relative to the project.
    pub unreadable: Vec<String>,
    /// Whether a bound of the walk was reached, so that the project is larger than this says.
    pub cut_off: bool,
}

/// Surveys a project.
///
/// # Errors
/// The directory itself cannot be read; whatever is unreadable below it is listed instead.
pub fn survey(project: &Path) -> io::Result<Survey> {
    let mut walk = Walk { survey: Survey::default(), entries: 0 };
    walk.directory(project, "", 0)?;
    let Walk { mut survey, .. } = walk;
    survey.largest.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.file.cmp(&b.file)));
    survey.largest.truncate(LARGEST_MOST);
    Ok(survey)
}

struct Walk {
    survey: Survey,
    entries: u64,
}

impl Walk {
    fn directory(&mut self, path: &Path, relative: &str, depth: usize) -> io::Result<()> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            if self.entries == ENTRIES_MOST {
                self.survey.cut_off = true;
                break;
            }
            self.entries += 1;
            entries.push(entry?);
        }
        self.survey.directories += 1;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name().to_string_lossy().into_owned();
            let below = if relative.is_empty() { name.clone() } else { format!("{relative}/{name}") };
            // The type of the entry itself, never of what a link points to.
            let outcome = entry.file_type().and_then(|kind| {
                if kind.is_dir() {
                    self.subdirectory(&entry.path(), &name, &below, depth + 1)
                } else if kind.is_file() {
                    self.file(&entry.path(), &below)
                } else {
                    self.survey.not_followed += 1;
                    Ok(())
                }
            });
            if outcome.is_err() {
                self.survey.unreadable.push(below);
            }
        }
        Ok(())
    }

    fn subdirectory(&mut self, path: &Path, name: &str, below: &str, depth: usize) -> io::Result<()> {
        if NOT_THE_PROJECT.contains(&name) {
            return Ok(());
        }
        if depth > DEPTH_MOST {
            self.survey.cut_off = true;
            return Ok(());
        }
        self.directory(path, below, depth)
    }

    fn file(&mut self, path: &Path, below: &str) -> io::Result<()> {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        let lines = self.lines(file, below)?;
        let extension = Path::new(below).extension().map_or_else(|| "(none)".to_owned(), |e| e.to_string_lossy().to_lowercase());
        for counts in [&mut self.survey.total, self.survey.by_extension.entry(extension).or_default()] {
            counts.files += 1;
            counts.lines += lines;
            counts.bytes += bytes;
        }
        self.survey.largest.push(Sized { file: below.to_owned(), bytes });
        Ok(())
    }

    /// Counts the lines of a text file, and notes the marked ones; a file with a NUL near its start has none.
    fn lines(&mut self, file: File, below: &str) -> io::Result<u64> {
        let mut reader = BufReader::with_capacity(PROBE_BYTES, file.take(READ_MOST_BYTES));
        if reader.fill_buf()?.contains(&0) {
            return Ok(0);
        }
        let mut lines = 0;
        let mut line = Vec::new();
        while (&mut reader).take(LINE_MOST_BYTES).read_until(b'\n', &mut line)? > 0 {
            lines += 1;
            if let Some(text) = markers::find(&String::from_utf8_lossy(&line)) {
                self.survey.marker_count += 1;
                if self.survey.markers.len() < MARKERS_MOST {
                    self.survey.markers.push(Marker { file: below.to_owned(), line: lines, text });
                }
            }
            line.clear();
        }
        Ok(lines)
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn counts_files_lines_bytes_and_markers() -> io::Result<()> {
        let project = tempfile::tempdir()?;
        fs::create_dir_all(project.path().join("src/deep"))?;
        fs::write(project.path().join("README"), "one\ntwo")?;
        fs::write(project.path().join("src/a.RS"), "fn a() {}\n// TODO later\n")?;
        fs::write(project.path().join("src/deep/b.rs"), "")?;
        fs::write(project.path().join("data.bin"), b"\0TODO\n\n\n")?;

        let survey = survey(project.path())?;

        assert_eq!(survey.total, Counts { files: 4, lines: 4, bytes: 7 + 24 + 8 });
        assert_eq!(survey.by_extension.get("rs"), Some(&Counts { files: 2, lines: 2, bytes: 24 }));
        assert_eq!(survey.by_extension.get("(none)"), Some(&Counts { files: 1, lines: 2, bytes: 7 }));
        assert_eq!(survey.markers, [Marker { file: "src/a.RS".into(), line: 2, text: "TODO later".into() }]);
        assert_eq!(survey.largest[0], Sized { file: "src/a.RS".into(), bytes: 24 });
        assert_eq!((survey.directories, survey.cut_off), (3, false));
        Ok(())
    }

    #[test]
    fn links_are_counted_and_never_followed() -> io::Result<()> {
        let outside = tempfile::tempdir()?;
        fs::write(outside.path().join("secret"), "TODO secret\n")?;
        let project = tempfile::tempdir()?;
        symlink(outside.path(), project.path().join("directory"))?;
        symlink(outside.path().join("secret"), project.path().join("file"))?;
        symlink(project.path(), project.path().join("loop"))?;

        let survey = survey(project.path())?;

        assert_eq!((survey.not_followed, survey.total.files, survey.marker_count), (3, 0, 0));
        Ok(())
    }

    #[test]
    fn a_tree_that_is_too_deep_is_cut_off_and_says_so() -> io::Result<()> {
        let project = tempfile::tempdir()?;
        let deep = (0..=DEPTH_MOST).fold(project.path().to_owned(), |path, _| path.join("d"));
        fs::create_dir_all(&deep)?;
        fs::write(deep.join("unseen"), "x")?;

        let survey = survey(project.path())?;

        assert!(survey.cut_off);
        assert_eq!(survey.total.files, 0);
        Ok(())
    }

    #[test]
    fn what_tools_keep_is_not_the_project() -> io::Result<()> {
        let project = tempfile::tempdir()?;
        for name in NOT_THE_PROJECT {
            fs::create_dir(project.path().join(name))?;
            fs::write(project.path().join(name).join("x"), "x")?;
        }
        assert_eq!(survey(project.path())?.total.files, 0);
        Ok(())
    }

    #[test]
    fn a_project_that_is_not_there_is_an_error() {
        assert!(survey(Path::new("/nonexistent/project")).is_err());
    }
}
