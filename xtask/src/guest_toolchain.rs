//! The target wasm32-wasip2: found, fetched or made, once.
//!
//! ```text
//! the toolchain has it ──yes──→ Installed
//!        │ no
//! made here before ─────yes──→ Private
//!        │ no
//! rustup adds it ───────yes──→ Installed
//!        │ no
//! from Debian's sources ─yes─→ Private          (target/guest-toolchain/<release>-<commit>)
//!        │ no
//! an error that says what is missing
//! ```
//!
//! A target made here never touches the installed toolchain: it stands in a system root of its own below the target
//! directory, complete or not at all, and guests are compiled against it with `--sysroot`.

mod apt;
mod from_source;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{run, workspace::Workspace};

/// The target that guests are compiled to.
pub const TARGET: &str = "wasm32-wasip2";

/// The one command that mends a missing target wherever rustup's server can be reached.
const MEND: &str = "rustup target add wasm32-wasip2";

/// A way to compile guests that works.
pub enum GuestToolchain {
    /// The active toolchain has the target.
    Installed,
    /// The target stands in a system root of its own.
    Private {
        /// That system root.
        sysroot: PathBuf,
    },
}

impl GuestToolchain {
    /// Lets a cargo command that names the target find it.
    pub fn apply(&self, cargo: &mut Command) {
        if let Some(flags) = self.flags() {
            cargo.env("CARGO_ENCODED_RUSTFLAGS", flags);
        }
    }

    /// What the compiler needs to find the target, if anything, as `CARGO_ENCODED_RUSTFLAGS` has it: in the encoded form, since a path may
    /// hold spaces. With `--target` it does not reach build scripts and macros.
    pub fn flags(&self) -> Option<String> {
        match self {
            Self::Installed => None,
            Self::Private { sysroot } => Some(format!("--sysroot\u{1f}{}", sysroot.display())),
        }
    }
}

/// The active compiler.
struct Compiler {
    /// Its release, such as `1.95.0`.
    release: String,
    /// The commit that it was built from; what one commit compiled, another cannot link.
    commit: String,
    /// The machine that it runs on.
    host: String,
    /// Its system root.
    sysroot: PathBuf,
}

impl Compiler {
    fn ask() -> Result<Self> {
        let version = run::output(rustc().arg("-vV"))?;
        let field = |name: &str| {
            let value = version.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            value.map(str::to_owned).with_context(|| format!("find {name} in the compiler's version"))
        };
        let sysroot = run::output(rustc().args(["--print", "sysroot"]))?;
        Ok(Self { release: field("release")?, commit: field("commit-hash")?, host: field("host")?, sysroot: sysroot.trim_end().into() })
    }
}

fn rustc() -> Command {
    Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
}

/// Finds, fetches or makes the target, and says which. With `from_source`, only a target made here will do.
///
/// # Errors
/// No way worked; the error says what each of them lacked, and the one command that mends it elsewhere.
pub fn ensure(workspace: &Workspace, from_source: bool) -> Result<GuestToolchain> {
    let compiler = Compiler::ask()?;
    if !from_source && has_target(&compiler.sysroot) {
        eprintln!("   xtask: {TARGET} is part of the active toolchain ({})", compiler.release);
        return Ok(GuestToolchain::Installed);
    }
    let commit = compiler.commit.get(..9).unwrap_or(&compiler.commit);
    let sysroot = workspace.target.join("guest-toolchain").join(format!("{}-{commit}", compiler.release));
    if has_target(&sysroot) {
        from_source::link_host(&compiler, &sysroot)?;
        eprintln!("   xtask: {TARGET} was made before, in {}", sysroot.display());
        return Ok(GuestToolchain::Private { sysroot });
    }
    let rustup = if from_source {
        "not asked".to_owned()
    } else {
        match rustup(&compiler) {
            Ok(()) => return Ok(GuestToolchain::Installed),
            Err(error) => format!("{error:#}"),
        }
    };
    eprintln!("   xtask: rustup: {rustup}");
    eprintln!("   xtask: making {TARGET} from Debian's sources of Rust {} (about a minute, once)", compiler.release);
    from_source::make(&compiler, &sysroot).with_context(|| {
        format!(
            "make {TARGET} for Rust {} (rustup: {rustup}). Where rustup's server can be reached, one command mends this: {MEND}. What failed here",
            compiler.release
        )
    })?;
    eprintln!("   xtask: {TARGET} is ready in {}; the installed toolchain is untouched", sysroot.display());
    Ok(GuestToolchain::Private { sysroot })
}

fn rustup(compiler: &Compiler) -> Result<()> {
    run::output(Command::new("rustup").args(["target", "add", TARGET]))?;
    // rustup may have been asked about another toolchain than the one that compiles (RUSTC, a distribution's compiler).
    anyhow::ensure!(
        has_target(&compiler.sysroot),
        "rustup added {TARGET}, but not to the active compiler in {}",
        compiler.sysroot.display()
    );
    eprintln!("   xtask: rustup added {TARGET} to the active toolchain ({})", compiler.release);
    Ok(())
}

/// Where a system root keeps the libraries of the target.
fn target_libraries(sysroot: &Path) -> PathBuf {
    sysroot.join("lib/rustlib").join(TARGET).join("lib")
}

fn has_target(sysroot: &Path) -> bool {
    let Ok(entries) = fs::read_dir(target_libraries(sysroot)) else { return false };
    entries.flatten().any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with("libstd-") && name.ends_with(".rlib")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_without_its_standard_library_is_none() -> Result<()> {
        let sysroot = tempfile::tempdir()?;
        assert!(!has_target(sysroot.path()));
        fs::create_dir_all(target_libraries(sysroot.path()))?;
        fs::write(target_libraries(sysroot.path()).join("libcore-1.rlib"), "")?;
        assert!(!has_target(sysroot.path()));
        fs::write(target_libraries(sysroot.path()).join("libstd-1.rlib"), "")?;
        assert!(has_target(sysroot.path()));
        Ok(())
    }

    #[test]
    fn a_private_system_root_reaches_the_compiler_whatever_its_path() {
        let mut cargo = Command::new("cargo");
        GuestToolchain::Private { sysroot: "/a b/c".into() }.apply(&mut cargo);
        let flags = cargo.get_envs().find(|(name, _)| *name == "CARGO_ENCODED_RUSTFLAGS").and_then(|(_, value)| value);
        assert_eq!(flags, Some(std::ffi::OsStr::new("--sysroot\u{1f}/a b/c")));
    }
}
