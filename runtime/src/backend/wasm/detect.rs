//! What a file is, by its first bytes alone: the trusted side never parses further.

use std::io::{self, Read, Seek};

use super::super::WasmForm;

/// The largest source that is accepted: language runtimes compiled to one component reach some ten MiB.
pub const SOURCE_MOST_BYTES: u64 = 256 * 1024 * 1024;

/// Bytes that are looked at. A header is 8; a text may begin with a comment that says who wrote it.
const LOOK_BYTES: u64 = 4096;

/// What a source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    /// Component or core module.
    pub form: WasmForm,
    /// Whether it is WebAssembly text, to be converted by the compiling process.
    pub text: bool,
}

/// Why a file is not taken for WebAssembly.
#[derive(Debug, thiserror::Error)]
pub enum DetectError {
    /// It is empty.
    #[error("read a WebAssembly program: the file is empty")]
    Empty,
    /// It ends within its header.
    #[error("read a WebAssembly program: the file is truncated, it ends within the header")]
    Truncated,
    /// A version that this engine does not know.
    #[error("read a WebAssembly program: version {version} of layer {layer} is not supported")]
    Version {
        /// The version in the header.
        version: u16,
        /// 0 for core modules, 1 for components.
        layer: u16,
    },
    /// Machine code, of wasmtime or of the operating system.
    #[error("read a WebAssembly program: the file is machine code; give the component or module that it was made from")]
    MachineCode,
    /// Something else.
    #[error("read a WebAssembly program: the file is not WebAssembly")]
    Foreign,
    /// Too large.
    #[error("read a WebAssembly program: it has more than {} MiB", SOURCE_MOST_BYTES >> 20)]
    TooLarge,
    /// It could not be read.
    #[error("read a WebAssembly program")]
    Read(#[source] io::Error),
}

/// Says what a file is, reading at most its first 4 KiB. The position is then at the start.
///
/// # Errors
/// Anything but a component, a core module or WebAssembly text.
pub fn detect(source: &mut (impl Read + Seek)) -> Result<Source, DetectError> {
    let mut head = Vec::new();
    source.rewind().map_err(DetectError::Read)?;
    source.take(LOOK_BYTES).read_to_end(&mut head).map_err(DetectError::Read)?;
    source.rewind().map_err(DetectError::Read)?;
    detect_bytes(&head)
}

/// Says what the file is that begins with these bytes.
///
/// # Errors
/// As [`detect`].
pub fn detect_bytes(head: &[u8]) -> Result<Source, DetectError> {
    const MAGIC: &[u8; 4] = b"\0asm";
    const ELF: &[u8; 4] = b"\x7fELF";
    if head.is_empty() {
        return Err(DetectError::Empty);
    }
    if head.len() < 8 && MAGIC.starts_with(&head[..head.len().min(4)]) {
        return Err(DetectError::Truncated);
    }
    if head.starts_with(ELF) {
        return Err(DetectError::MachineCode);
    }
    if let [0, b'a', b's', b'm', v0, v1, l0, l1, ..] = *head {
        return match (u16::from_le_bytes([v0, v1]), u16::from_le_bytes([l0, l1])) {
            (1, 0) => Ok(Source { form: WasmForm::Module, text: false }),
            (0x0d, 1) => Ok(Source { form: WasmForm::Component, text: false }),
            (version, layer) => Err(DetectError::Version { version, layer }),
        };
    }
    text_form(head).map(|form| Source { form, text: true }).ok_or(DetectError::Foreign)
}

/// The form of WebAssembly text: after white space and comments stands `(component`, or `(` and a word of a module.
fn text_form(head: &[u8]) -> Option<WasmForm> {
    const MODULE_WORDS: [&[u8]; 12] =
        [b"module", b"type", b"import", b"func", b"table", b"memory", b"global", b"export", b"start", b"elem", b"data", b"rec"];
    let rest = skip_blanks(head).strip_prefix(b"(")?;
    let rest = skip_blanks(rest);
    let word = rest.iter().position(|b| !b.is_ascii_lowercase()).map_or(rest, |end| &rest[..end]);
    if word == b"component" {
        Some(WasmForm::Component)
    } else if MODULE_WORDS.contains(&word) {
        Some(WasmForm::Module)
    } else {
        None
    }
}

/// Skips white space, `;; line comments` and `(; block comments ;)`, which nest.
fn skip_blanks(mut text: &[u8]) -> &[u8] {
    loop {
        text = text.trim_ascii_start();
        if text.starts_with(b";;") {
            let end = text.iter().position(|b| *b == b'\n').unwrap_or(text.len());
            text = &text[end..];
        } else if text.starts_with(b"(;") {
            let (mut depth, mut at) = (0_usize, 0);
            loop {
                match text.get(at..at + 2) {
                    Some(b"(;") => (depth, at) = (depth + 1, at + 2),
                    Some(b";)") => (depth, at) = (depth - 1, at + 2),
                    Some(_) => at += 1,
                    None => return &[],
                }
                if depth == 0 {
                    break;
                }
            }
            text = &text[at..];
        } else {
            return text;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(bytes: &[u8]) -> Option<(WasmForm, bool)> {
        detect_bytes(bytes).ok().map(|source| (source.form, source.text))
    }

    #[test]
    fn programs_are_told_apart() {
        assert_eq!(found(b"\0asm\x01\0\0\0rest"), Some((WasmForm::Module, false)));
        assert_eq!(found(b"\0asm\x0d\0\x01\0rest"), Some((WasmForm::Component, false)));
        assert_eq!(found(b" ;; by me\n (; two (; nested ;) ;)\n(module)"), Some((WasmForm::Module, true)));
        assert_eq!(found(b"(component\n"), Some((WasmForm::Component, true)));
        assert_eq!(found(b"(func)"), Some((WasmForm::Module, true)));
    }

    #[test]
    fn everything_else_is_refused_by_name() {
        assert!(matches!(detect_bytes(b""), Err(DetectError::Empty)));
        assert!(matches!(detect_bytes(b"\0as"), Err(DetectError::Truncated)));
        assert!(matches!(detect_bytes(b"\0asm\x01\0"), Err(DetectError::Truncated)));
        assert!(matches!(detect_bytes(b"\0asm\x02\0\0\0"), Err(DetectError::Version { version: 2, layer: 0 })));
        assert!(matches!(detect_bytes(b"\x7fELF\x02\x01\x01\xc8"), Err(DetectError::MachineCode)));
        for foreign in [&b"#!/bin/sh\n"[..], b"PK\x03\x04", b"(defun f ())", b"(;", b";;", b"(", b"{}", b"\xff\xfe"] {
            assert!(matches!(detect_bytes(foreign), Err(DetectError::Foreign)), "{foreign:?}");
        }
    }

    #[test]
    fn detecting_leaves_the_file_at_its_start() {
        let mut file = io::Cursor::new(b"(module)".to_vec());
        file.set_position(5);
        assert!(detect(&mut file).is_ok());
        assert_eq!(file.position(), 0);
    }
}
