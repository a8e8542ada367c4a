//! Running other programs, with errors that name the command.

use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

/// The cargo that runs this, so that one toolchain builds everything.
pub fn cargo(root: &Path) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    command
}

/// Runs a command in the open: its output is the caller's.
///
/// # Errors
/// It does not start, or does not succeed.
pub fn step(command: &mut Command) -> Result<()> {
    let words = words(command);
    eprintln!("   xtask: {words}");
    let status = command.status().with_context(|| format!("start {words}"))?;
    if !status.success() {
        bail!("{words}: {status}");
    }
    Ok(())
}

/// Runs a command and returns what it wrote to standard output.
///
/// # Errors
/// It does not start, does not succeed (the last lines of its talk are in the error), or writes no text.
pub fn output(command: &mut Command) -> Result<String> {
    let words = words(command);
    let output = command.output().with_context(|| format!("start {words}"))?;
    if !output.status.success() {
        bail!("{words}: {}: {}", output.status, last_lines(&String::from_utf8_lossy(&output.stderr)));
    }
    String::from_utf8(output.stdout).with_context(|| format!("read the output of {words}"))
}

/// The program of that name in PATH, if there is one.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|directory| directory.join(program)).find(|file| file.is_file())
}

/// A command as one would type it.
pub fn words(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    std::iter::once(program).chain(command.get_args()).map(quoted).collect::<Vec<_>>().join(" ")
}

/// One word as a shell needs it.
pub fn quoted(word: &OsStr) -> String {
    let text = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=+,@%~".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text.into_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

fn last_lines(talk: &str) -> String {
    /// Lines of a failed command's talk: the error is at the end.
    const LINES: usize = 12;
    let lines: Vec<_> = talk.trim_end().lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_needs_it() {
        let mut command = Command::new("/usr/bin/lazarus");
        command.args(["summon", "--mount=a:/b", "two words", "it's", ""]);
        assert_eq!(words(&command), r"lazarus summon --mount=a:/b 'two words' 'it'\''s' ''");
    }

    #[test]
    fn a_failure_names_the_command_and_its_last_words() {
        let error = output(Command::new("sh").args(["-c", "echo cause >&2; exit 3"])).map_err(|e| e.to_string());
        assert_eq!(error, Err("sh -c 'echo cause >&2; exit 3': exit status: 3: cause".to_owned()));
        assert!(output(&mut Command::new("no-such-program-here")).is_err());
    }
}
