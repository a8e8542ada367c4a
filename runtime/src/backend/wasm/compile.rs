//! Compiling, in a jailed process of its own: Cranelift and the text parser never meet hostile bytes in a trusted one.
//!
//! ```text
//!  trusted side                     lazarus __compile (jail: no file, no network, no environment)
//!   sealed copy of the source ─ stdin ──→ detect → look into it → validate, Cranelift
//!   temp file in the cache   ←─ stdout ── one letter for what it is, then the artefact   (bounded)
//!   one line of an error     ←─ stderr ── why not                                        (bounded, made harmless)
//!        │ deadline: killed
//! ```
//!
//! Whoever parsed hostile bytes may have been taken over by them, so that its letter is only believed as far as the source's header allows.
//! A component that is called an agent, or the other way round, hurts itself: the host finds no such export, and refuses it.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::{fd::AsFd, unix::process::CommandExt},
    process::{Child, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec};

use super::{
    confine,
    detect::{DetectError, SOURCE_MOST_BYTES, detect_bytes},
    engine::{Purpose, engine},
    inspect::{Facts, possible},
    look::{LookError, look},
    text::one_line,
};
use crate::{backend::WasmForm, cell::text::with_causes};

/// The hidden subcommand that runs [`main_compile`].
pub const COMPILE_COMMAND: &str = "__compile";

/// What follows the subcommand where the program is only looked into, and the facts are written instead of an artefact.
pub const INSPECT_FLAG: &str = "--inspect";

/// This very program, also when its file was replaced since it was started.
const OWN_PROGRAM: &str = "/proc/self/exe";
/// How long a compilation may take. A 10 MiB language runtime takes some ten seconds; bombs take for ever.
const COMPILE_MOST: Duration = Duration::from_secs(60);
/// Bytes of machine code a byte of source: three to four is usual, small modules with many exports reach ten.
const OUTPUT_FACTOR: u64 = 32;
/// The least bound of an artefact: an empty component has some ten KiB.
const OUTPUT_LEAST_BYTES: u64 = 4 * 1024 * 1024;
/// The most of an artefact, whatever its source.
const OUTPUT_MOST_BYTES: u64 = 1024 * 1024 * 1024;
/// What is kept of the compiler's words.
const WORDS_MOST_BYTES: usize = 16 * 1024;
/// Characters of the message made of them.
const MESSAGE_MOST: usize = 400;
/// One read of the artefact.
const PIECE_BYTES: usize = 64 * 1024;

/// Why a source was not compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The source is not WebAssembly, or not readable.
    #[error(transparent)]
    Source(#[from] DetectError),
    /// The compiler refused it.
    #[error("compile the program: {message}")]
    Refused {
        /// Its words: one line, bounded, without control characters.
        message: String,
    },
    /// It took too long.
    #[error("compile the program: it took longer than {} s", COMPILE_MOST.as_secs())]
    TooSlow,
    /// The artefact is too large.
    #[error("compile the program: its machine code has more than {most} bytes")]
    TooLarge {
        /// The bound.
        most: u64,
    },
    /// The compiling process died.
    #[error("compile the program: the compiling process ended abnormally ({how})")]
    Died {
        /// How.
        how: String,
    },
    /// The compiling process could not be started, or not be talked to.
    #[error("compile the program: talk to the compiling process")]
    Process(#[source] io::Error),
    /// The artefact could not be written.
    #[error("compile the program: write the machine code")]
    Write(#[source] io::Error),
}

/// Compiles `source` (a file at its start, of `bytes` bytes, with the header of this form) in a process of this same program, and writes
/// the artefact to `sink`. Returns what the source is.
///
/// # Errors
/// What the compiler refuses, with its words; a compilation past its bounds. What was written to `sink` is then worthless.
pub fn compile(source: File, bytes: u64, header: WasmForm, sink: &mut File) -> Result<WasmForm, CompileError> {
    let most = bytes.saturating_mul(OUTPUT_FACTOR).clamp(OUTPUT_LEAST_BYTES, OUTPUT_MOST_BYTES);
    let mut sink = Lettered { letter: None, sink };
    run(source, None, most, &mut sink)?;
    let form = sink.letter.and_then(form_of).filter(|form| possible(*form, header));
    form.ok_or_else(|| CompileError::Died { how: "it did not say what it compiled".into() })
}

/// The first byte that is written, apart from those that follow.
struct Lettered<'a> {
    letter: Option<u8>,
    sink: &'a mut File,
}

impl Write for Lettered<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match (self.letter, bytes) {
            (None, [letter, ..]) => {
                self.letter = Some(*letter);
                Ok(1)
            }
            (None | Some(_), _) => self.sink.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

const fn letter_of(form: WasmForm) -> u8 {
    match form {
        WasmForm::Module => b'm',
        WasmForm::Component => b'c',
        WasmForm::Agent => b'a',
    }
}

const fn form_of(letter: u8) -> Option<WasmForm> {
    match letter {
        b'm' => Some(WasmForm::Module),
        b'c' => Some(WasmForm::Component),
        b'a' => Some(WasmForm::Agent),
        _ => None,
    }
}

/// Runs the jailed process on a source (a file at its start), and writes what it answers, at most `most` bytes, to `sink`.
///
/// # Errors
/// What it refuses, with its words; anything past its bounds.
pub fn run(source: File, flag: Option<&str>, most: u64, sink: &mut impl Write) -> Result<(), CompileError> {
    let mut child = Command::new(OWN_PROGRAM)
        .arg0("lazarus")
        .arg(COMPILE_COMMAND)
        .args(flag)
        .env_clear()
        .current_dir("/")
        .stdin(source)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(CompileError::Process)?;
    let outcome = receive(&mut child, sink, most);
    if outcome.is_err() {
        // Already gone is as good as killed; it is waited for either way.
        let _ = child.kill();
    }
    let status = child.wait().map_err(CompileError::Process)?;
    let (written, words) = outcome?;
    if status.success() && written > 0 {
        return Ok(());
    }
    let message = one_line(&String::from_utf8_lossy(&words), MESSAGE_MOST);
    if status.code() == Some(1) && !message.is_empty() {
        return Err(CompileError::Refused { message });
    }
    let how = if message.is_empty() { status.to_string() } else { format!("{status}: {message}") };
    Err(CompileError::Died { how })
}

/// Copies the child's output to `sink` and keeps its words, until both streams end.
fn receive(child: &mut Child, sink: &mut impl Write, most: u64) -> Result<(u64, Vec<u8>), CompileError> {
    let missing = || CompileError::Process(io::ErrorKind::BrokenPipe.into());
    let mut output = Some(child.stdout.take().ok_or_else(missing)?);
    let mut errors = Some(child.stderr.take().ok_or_else(missing)?);
    let deadline = Instant::now() + COMPILE_MOST;
    let (mut written, mut words, mut piece) = (0_u64, Vec::new(), vec![0; PIECE_BYTES]);
    while output.is_some() || errors.is_some() {
        let ready = wait(output.as_ref().map(AsFd::as_fd), errors.as_ref().map(AsFd::as_fd), deadline)?;
        if ready.0
            && let Some(stream) = &mut output
        {
            let count = read(stream, &mut piece)?;
            written += count as u64;
            if written > most {
                return Err(CompileError::TooLarge { most });
            }
            sink.write_all(&piece[..count]).map_err(CompileError::Write)?;
            if count == 0 {
                output = None;
            }
        }
        if ready.1
            && let Some(stream) = &mut errors
        {
            let count = read(stream, &mut piece)?;
            // What is past the bound is read and thrown away, so that the child is not stuck.
            let room = WORDS_MOST_BYTES.saturating_sub(words.len()).min(count);
            words.extend_from_slice(&piece[..room]);
            if count == 0 {
                errors = None;
            }
        }
    }
    Ok((written, words))
}

/// Reads what is there; 0 at the end.
fn read(stream: &mut impl Read, piece: &mut [u8]) -> Result<usize, CompileError> {
    loop {
        match stream.read(piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other.map_err(CompileError::Process),
        }
    }
}

/// Waits until one of the streams has something, or has ended.
fn wait(
    output: Option<std::os::fd::BorrowedFd<'_>>,
    errors: Option<std::os::fd::BorrowedFd<'_>>,
    deadline: Instant,
) -> Result<(bool, bool), CompileError> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(CompileError::TooSlow);
    }
    let timeout = Timespec { tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX), tv_nsec: i64::from(left.subsec_nanos()) };
    let mut polled: Vec<_> = output.iter().chain(errors.iter()).map(|stream| PollFd::from_borrowed_fd(*stream, PollFlags::IN)).collect();
    match rustix::event::poll(&mut polled, Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(CompileError::Process(error.into())),
    }
    let mut answers = polled.iter().map(|one| !one.revents().is_empty());
    let first = output.is_some() && answers.next().unwrap_or(false);
    let second = errors.is_some() && answers.next().unwrap_or(false);
    Ok((first, second))
}

/// Why the compiling process gives up. Its display is what the trusted side will show.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Confine(#[from] crate::jail::JailError),
    #[error("read the source")]
    Read(#[source] io::Error),
    #[error(transparent)]
    Detect(#[from] DetectError),
    #[error("{0}")]
    Engine(String),
    #[error("tell what was found")]
    Tell(#[source] serde_json::Error),
    #[error("write the machine code")]
    Write(#[source] io::Error),
}

/// The hidden subcommand `__compile [--inspect]`: confines itself, then reads a source from stdin and writes the artefact, or what was found
/// in it, to stdout.
pub fn main_compile() -> ExitCode {
    let inspect_only = std::env::args_os().nth(2).is_some_and(|flag| flag == INSPECT_FLAG);
    match answer_stdin(inspect_only) {
        Ok(()) => ExitCode::SUCCESS,
        Err(refusal) => {
            // Nobody is left to tell if this fails.
            let _ = writeln!(io::stderr(), "{}", one_line(&with_causes(&refusal), MESSAGE_MOST));
            ExitCode::FAILURE
        }
    }
}

fn answer_stdin(inspect_only: bool) -> Result<(), Refusal> {
    confine::compiler()?;
    let mut source = Vec::new();
    io::stdin().lock().take(SOURCE_MOST_BYTES + 1).read_to_end(&mut source).map_err(Refusal::Read)?;
    if source.len() as u64 > SOURCE_MOST_BYTES {
        return Err(DetectError::TooLarge.into());
    }
    let what = detect_bytes(&source)?;
    let binary = wat::parse_bytes(&source).map_err(|error| words(&error.to_string()))?;
    let facts = look(&binary, what.form).map_err(|error| match error {
        LookError::Parse(_) => words(&error.to_string()),
        other => Refusal::Engine(other.to_string()),
    })?;
    if inspect_only { tell(&facts) } else { translate(&binary, facts.form) }
}

fn tell(facts: &Facts) -> Result<(), Refusal> {
    let text = serde_json::to_vec(facts).map_err(Refusal::Tell)?;
    let mut out = io::stdout().lock();
    out.write_all(&text).and_then(|()| out.flush()).map_err(Refusal::Write)
}

fn translate(binary: &[u8], form: WasmForm) -> Result<(), Refusal> {
    let said = |error: wasmtime::Error| words(&format!("{error:#}"));
    let engine = engine(Purpose::Compile).map_err(said)?;
    let artefact = match form {
        WasmForm::Module => engine.precompile_module(binary),
        WasmForm::Component | WasmForm::Agent => engine.precompile_component(binary),
    };
    let artefact = artefact.map_err(said)?;
    let mut out = io::stdout().lock();
    out.write_all(&[letter_of(form)]).and_then(|()| out.write_all(&artefact)).and_then(|()| out.flush()).map_err(Refusal::Write)
}

/// What a parser or the engine said; a source that ends early is called by its name.
fn words(said: &str) -> Refusal {
    let early = ["unexpected end", "unexpected EOF", "section out of bounds"].iter().any(|sign| said.contains(sign));
    Refusal::Engine(if early { format!("the file is truncated or damaged: {said}") } else { said.to_owned() })
}
