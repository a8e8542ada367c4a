//! The cache of compiled programs: `<key>.cwasm`, the key naming source, engine, settings and processor; `<key>.agent.cwasm` where the
//! program was found to be an agent that lives by events, which its header does not tell.
//!
//! What lies here is machine code, and is run without being looked at again. So the directory belongs to the trusted side alone (0700, out of
//! every jail's reach), entries are written by this module only (a temporary file, synced, then renamed; 0600), and an entry that is not a
//! plain file of ours that only we can write is refused, as it means that someone else writes here. Whoever can write here as us already is
//! us: a checksum beside the file would be theirs to change too, so there is none; a torn or truncated file is told by its structure.

use std::{
    fs::File,
    io::{self, Read, Seek, Write},
    os::{fd::AsRawFd, unix::fs::MetadataExt},
    time::{Duration, SystemTime},
};

use cap_std::fs::Dir;
use rustix::{
    fs::{AtFlags, MemfdFlags, Mode, OFlags, SealFlags},
    io::Errno,
};
use sha2::{Digest, Sha256};
use wasmtime::{Engine, Precompiled};

use super::{
    compile::{CompileError, compile},
    detect::{DetectError, SOURCE_MOST_BYTES, detect},
    engine::{Purpose, cache_key, engine},
    text::hex,
};
use crate::backend::WasmForm;

/// What ends the name of an entry.
const SUFFIX: &str = ".cwasm";
/// What ends the name of an entry that is an agent.
const AGENT_SUFFIX: &str = ".agent.cwasm";
/// What ends the name of a file that is being written.
const UNFINISHED: &str = ".part";
/// Age at which an unfinished file is what a crash left: no compilation lasts a tenth of it.
const UNFINISHED_MOST: Duration = Duration::from_secs(600);
/// One read while hashing.
const PIECE_BYTES: usize = 64 * 1024;

/// Why a program is not in the cache.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The source is not WebAssembly, or not readable.
    #[error(transparent)]
    Detect(#[from] DetectError),
    /// The source is not a plain file.
    #[error("read a WebAssembly program: it is not a regular file")]
    NotRegular,
    /// The source is not the one that was pinned.
    #[error("accept the program: its sha256 is {found}, and {expected} is pinned")]
    Pin {
        /// What was found.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// The compiler refused it.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The engine could not be made.
    #[error("make the compiling engine: {0}")]
    Engine(String),
    /// An entry that someone else could have written.
    #[error("use the cache: {name} {what}; remove it, and look who can write to the cache")]
    Untrusted {
        /// The entry.
        name: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The compiler made something that is not an artefact of this program.
    #[error("use the cache: the compiled program is damaged right after it was made")]
    Damaged,
    /// The file system failed.
    #[error("use the cache: {what}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

fn failed<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> CacheError {
    move |source| CacheError::Io { what, source: source.into() }
}

/// A compiled program, opened.
#[derive(Debug)]
pub struct Cached {
    /// Its key: also its file's name, without the suffix.
    pub key: String,
    /// What the source was.
    pub form: WasmForm,
    /// The source's SHA-256, in lower-case hexadecimal.
    pub source_sha256: String,
    /// The artefact, read-only.
    pub file: File,
    /// Its bytes.
    pub size: u64,
    /// Whether it had to be compiled.
    pub compiled: bool,
}

impl Cached {
    /// The name of the entry in the cache.
    pub fn file_name(&self) -> String {
        entry_name(&self.key, self.form)
    }
}

/// Returns the compiled form of `source`, compiling it where the cache does not have it.
///
/// With `expected_sha256`, a source with another digest is refused. What is hashed is what is compiled, even if the file changes meanwhile.
///
/// # Errors
/// A source that is not WebAssembly, not the pinned one, or that the compiler refuses; a cache that cannot be used or trusted.
pub fn ensure(cache: &Dir, source: &mut File, expected_sha256: Option<&str>) -> Result<Cached, CacheError> {
    if !source.metadata().map_err(DetectError::Read)?.is_file() {
        return Err(CacheError::NotRegular);
    }
    let form = detect(source)?.form;
    let digest = pinned(digest_into(source, &mut io::sink())?, expected_sha256)?;
    let engine = engine(Purpose::Compile).map_err(|error| CacheError::Engine(error.to_string()))?;
    let key = cache_key(&digest, &engine);
    for form in forms(form) {
        if let Some((file, size)) = lookup(cache, &entry_name(&key, *form), *form)? {
            return Ok(Cached { key, form: *form, source_sha256: hex(&digest), file, size, compiled: false });
        }
    }
    sweep(cache);
    // The source may be replaced or written to while we work: a sealed copy is what is hashed again, and compiled.
    let (mut copy, digest) = sealed_copy(source)?;
    let digest = pinned(digest, expected_sha256)?;
    let header = detect(&mut copy)?.form;
    let key = cache_key(&digest, &engine);
    let form = fill(cache, &key, copy, header)?;
    let (file, size) = lookup(cache, &entry_name(&key, form), form)?.ok_or(CacheError::Damaged)?;
    Ok(Cached { key, form, source_sha256: hex(&digest), file, size, compiled: true })
}

/// The forms that a source with this header can have.
const fn forms(header: WasmForm) -> &'static [WasmForm] {
    match header {
        WasmForm::Module => &[WasmForm::Module],
        WasmForm::Component | WasmForm::Agent => &[WasmForm::Component, WasmForm::Agent],
    }
}

fn entry_name(key: &str, form: WasmForm) -> String {
    let suffix = match form {
        WasmForm::Module | WasmForm::Component => SUFFIX,
        WasmForm::Agent => AGENT_SUFFIX,
    };
    format!("{key}{suffix}")
}

/// As [`ensure`], for a program that is part of Lazarus itself.
///
/// # Errors
/// As [`ensure`].
pub fn ensure_bytes(cache: &Dir, source: &[u8]) -> Result<Cached, CacheError> {
    let (mut copy, _) = sealed_copy(&mut io::Cursor::new(source))?;
    ensure(cache, &mut copy, None)
}

/// Opens an entry by its file name, for [`super::spawn`].
///
/// # Errors
/// An entry that is not there, or not to be trusted.
pub fn open(cache: &Dir, name: &str, form: WasmForm) -> Result<File, CacheError> {
    let missing = || CacheError::Io { what: "open a compiled program", source: io::ErrorKind::NotFound.into() };
    lookup(cache, name, form)?.map(|(file, _)| file).ok_or_else(missing)
}

/// Returns the name of the entry that a source of this SHA-256 (lower-case hexadecimal) has under this engine, if the cache has it.
///
/// # Errors
/// A cache that cannot be used or trusted. What is no digest has no entry.
pub fn find(cache: &Dir, source_sha256: &str, form: WasmForm) -> Result<Option<String>, CacheError> {
    let mut digest = [0; 32];
    let pairs = source_sha256.as_bytes().chunks_exact(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    let bytes: Option<Vec<u8>> = pairs.collect();
    match bytes {
        Some(bytes) if bytes.len() == digest.len() && source_sha256.len() == 64 => digest.copy_from_slice(&bytes),
        Some(_) | None => return Ok(None),
    }
    let engine = engine(Purpose::Compile).map_err(|error| CacheError::Engine(error.to_string()))?;
    let name = entry_name(&cache_key(&digest, &engine), form);
    Ok(lookup(cache, &name, form)?.map(|_| name))
}

/// Removes an entry that an engine refused; the next [`ensure`] compiles it again.
///
/// # Errors
/// When it cannot be removed. One that is not there is removed.
pub fn forget(cache: &Dir, name: &str) -> Result<(), CacheError> {
    match rustix::fs::unlinkat(cache, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(failed("remove a compiled program")(error)),
    }
}

fn pinned(digest: [u8; 32], expected: Option<&str>) -> Result<[u8; 32], CacheError> {
    match expected {
        Some(expected) if !expected.eq_ignore_ascii_case(&hex(&digest)) => {
            Err(CacheError::Pin { found: hex(&digest), expected: super::text::one_line(expected, 64) })
        }
        Some(_) | None => Ok(digest),
    }
}

/// Hashes a source from its start, and writes it to `sink`.
fn digest_into(source: &mut (impl Read + Seek), sink: &mut impl Write) -> Result<[u8; 32], CacheError> {
    source.rewind().map_err(DetectError::Read)?;
    let (mut sha, mut piece, mut total) = (Sha256::new(), vec![0; PIECE_BYTES], 0_u64);
    loop {
        let count = match source.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(DetectError::Read(error).into()),
        };
        total += count as u64;
        if total > SOURCE_MOST_BYTES {
            return Err(DetectError::TooLarge.into());
        }
        sha.update(&piece[..count]);
        sink.write_all(&piece[..count]).map_err(failed("copy the source"))?;
    }
    Ok(sha.finalize().into())
}

/// Copies a source into memory that nobody can change any more.
pub(super) fn sealed_copy(source: &mut (impl Read + Seek)) -> Result<(File, [u8; 32]), CacheError> {
    let memory = rustix::fs::memfd_create("lazarus-source", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING);
    let mut copy = File::from(memory.map_err(failed("copy the source"))?);
    let digest = digest_into(source, &mut copy)?;
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&copy, seals).map_err(failed("seal the source"))?;
    copy.rewind().map_err(failed("copy the source"))?;
    Ok((copy, digest))
}

/// Opens an entry, if it is there and whole; one that is torn is removed.
fn lookup(cache: &Dir, name: &str, form: WasmForm) -> Result<Option<(File, u64)>, CacheError> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = match rustix::fs::openat(cache, name, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP) => return Err(untrusted(name, "is a link")),
        Err(error) => return Err(failed("open a compiled program")(error)),
    };
    let meta = file.metadata().map_err(failed("look at a compiled program"))?;
    if !meta.is_file() {
        return Err(untrusted(name, "is not a regular file"));
    }
    if meta.uid() != rustix::process::geteuid().as_raw() {
        return Err(untrusted(name, "belongs to another user"));
    }
    if meta.mode() & 0o022 != 0 {
        return Err(untrusted(name, "can be written to by others"));
    }
    // Reads the headers of sections, which stand at the file's end; the artefact's own contents are not parsed here.
    let place = format!("/proc/self/fd/{}", file.as_raw_fd());
    let whole = match Engine::detect_precompiled_file(place) {
        Ok(Some(Precompiled::Module)) => form == WasmForm::Module,
        Ok(Some(Precompiled::Component)) => matches!(form, WasmForm::Component | WasmForm::Agent),
        Ok(None) | Err(_) => false,
    };
    if whole {
        return Ok(Some((file, meta.len())));
    }
    forget(cache, name)?;
    Ok(None)
}

fn untrusted(name: &str, what: &'static str) -> CacheError {
    CacheError::Untrusted { name: super::text::one_line(name, 100), what }
}

/// Compiles into a temporary file, and gives it its name when it is whole and on the disk; returns what the source is. Two at once both
/// succeed: the last one stays.
fn fill(cache: &Dir, key: &str, source: File, header: WasmForm) -> Result<WasmForm, CacheError> {
    let bytes = source.metadata().map_err(failed("look at the source"))?.len();
    let part = format!(".{key}{SUFFIX}.{}{UNFINISHED}", uuid::Uuid::new_v4().simple());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let made = rustix::fs::openat(cache, &part, flags, Mode::RUSR | Mode::WUSR);
    let mut file = File::from(made.map_err(failed("make a file for the compiled program"))?);
    let filled = compile(source, bytes, header, &mut file).map_err(CacheError::from).and_then(|form| {
        file.sync_all().map_err(failed("sync the compiled program"))?;
        rustix::fs::renameat(cache, &part, cache, entry_name(key, form)).map_err(failed("name the compiled program"))?;
        sync(cache).map_err(failed("sync the cache"))?;
        Ok(form)
    });
    if filled.is_err() {
        // Best effort: what stays is removed by a later sweep.
        let _ = forget(cache, &part);
    }
    filled
}

/// Brings the directory itself to the disk. A `Dir` may hold it without any right, with which that is not possible: it is opened again.
fn sync(cache: &Dir) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::fsync(rustix::fs::openat(cache, ".", flags, Mode::empty())?)
}

/// Removes what crashes left half written. Failing to is not worth failing for.
fn sweep(cache: &Dir) {
    let Ok(entries) = cache.entries() else { return };
    let old = |meta: &cap_std::fs::Metadata| {
        let modified = meta.modified().map(cap_std::time::SystemTime::into_std);
        modified.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age > UNFINISHED_MOST))
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if name.ends_with(UNFINISHED) && entry.metadata().is_ok_and(|meta| meta.is_file() && old(&meta)) {
            let _ = forget(cache, name);
        }
    }
}
