//! Makes the target from Debian's source of the compiler's own release, and Debian's C library for WASI.
//!
//! Both packages are only downloaded and unpacked, never installed. Everything happens in a temporary directory beside the
//! destination; the finished system root is renamed into place, so that a half-made one is never found.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

use super::{
    Compiler, TARGET,
    apt::{Archive, Suite},
    has_target, target_libraries,
};
use crate::run;

/// What the linker takes from the C library.
const C_OBJECTS: [&str; 3] = ["crt1-command.o", "crt1-reactor.o", "libc.a"];
/// The empty library that is built only so that the standard library is.
const SCRATCH: &str = "guest_toolchain_scratch";

/// Makes the system root `destination` for a compiler.
///
/// # Errors
/// A tool or a package is missing, or the build failed; nothing is left at `destination` then.
pub fn make(compiler: &Compiler, destination: &Path) -> Result<()> {
    let missing: Vec<_> = ["apt-get", "apt-cache", "dpkg-deb"].into_iter().filter(|tool| run::find(tool).is_none()).collect();
    ensure!(missing.is_empty(), "this machine has no {}: not a Debian", missing.join(", no "));
    let linker = compiler.sysroot.join("lib/rustlib").join(&compiler.host).join("bin/wasm-component-ld");
    ensure!(linker.is_file(), "the active toolchain has no wasm-component-ld, which comes with rustup's toolchains");

    let beside = destination.parent().context("find the directory of the guest toolchain")?;
    fs::create_dir_all(beside)?;
    let scratch = tempfile::Builder::new().prefix(".making-").tempdir_in(beside)?;
    let mut archive = Archive::open(&scratch.path().join("apt"))?;
    let (suite, source) = fetch_source(&mut archive, compiler, &scratch.path().join("rust-src"))?;
    let c_library = fetch_c_library(&mut archive, suite, &scratch.path().join("wasi-libc"))?;
    let built = build(&source, &scratch.path().join("build"))?;
    let sysroot = scratch.path().join("sysroot");
    assemble(compiler, &built, &c_library, &sysroot)?;
    match fs::rename(&sysroot, destination) {
        Ok(()) => Ok(()),
        // Somebody else was quicker, with the same result.
        Err(_) if has_target(destination) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("move the finished target to {}", destination.display())),
    }
}

/// Fetches the standard library's source, of exactly the compiler's release.
fn fetch_source(archive: &mut Archive, compiler: &Compiler, to: &Path) -> Result<(Suite, PathBuf)> {
    for suite in archive.suites() {
        let Some(found) = archive.versions(&suite, "rust-src").into_iter().find(|version| is_release(version, &compiler.release)) else {
            continue;
        };
        archive.unpack(&suite, "rust-src", &found, to)?;
        let library = to.join(format!("usr/src/rustc-{}/library", compiler.release));
        ensure!(library.join("std/Cargo.toml").is_file(), "rust-src {found} holds no {}", library.display());
        eprintln!("   xtask: rust-src {found} from {suite}");
        return Ok((suite, library));
    }
    bail!("no suite has rust-src {}; looked in {}", compiler.release, archive.looked_in())
}

/// Fetches the C library. Any version that knows the target serves; one of the same suite as the source is nearest to it.
fn fetch_c_library(archive: &mut Archive, nearest: Suite, to: &Path) -> Result<PathBuf> {
    for suite in std::iter::once(nearest).chain(archive.suites()) {
        for version in archive.versions(&suite, "wasi-libc") {
            let unpacked = to.join(suite.name()).join(&version);
            archive.unpack(&suite, "wasi-libc", &version, &unpacked)?;
            let objects = unpacked.join("usr/lib").join(TARGET);
            if C_OBJECTS.iter().all(|object| objects.join(object).is_file()) {
                eprintln!("   xtask: wasi-libc {version} from {suite}");
                return Ok(objects);
            }
        }
    }
    bail!("no suite has a wasi-libc for {TARGET}; looked in {}", archive.looked_in())
}

/// Whether a Debian version is of that upstream release, and not of a pre-release of it.
fn is_release(version: &str, release: &str) -> bool {
    version.strip_prefix(release).is_some_and(|rest| rest.starts_with(['+', '-']))
}

/// Builds the standard library, through an empty library (a program would have to be linked, which nothing can yet).
fn build(source: &Path, at: &Path) -> Result<PathBuf> {
    fs::create_dir_all(at.join("src"))?;
    fs::write(at.join("src/lib.rs"), "")?;
    fs::write(at.join("Cargo.toml"), format!("[package]\nname = \"{SCRATCH}\"\nedition = \"2024\"\n\n[workspace]\n"))?;
    let mut cargo = run::cargo(at);
    // Nothing of the caller's settings may reach the standard library.
    for name in ["RUSTFLAGS", "CARGO_BUILD_TARGET", "CARGO_TARGET_DIR", "RUSTC_WRAPPER"] {
        cargo.env_remove(name);
    }
    // As in the released libraries: guests that are optimised as a whole (LTO) need it.
    cargo.env("CARGO_ENCODED_RUSTFLAGS", "-Cembed-bitcode=yes");
    // The released compiler builds its own standard library, from source that is not rustup's.
    cargo.env("RUSTC_BOOTSTRAP", "1").env("__CARGO_TESTS_ONLY_SRC_ROOT", source);
    cargo.args(["build", "--quiet", "--release", "-Zbuild-std=std,panic_abort", "--target", TARGET, "--target-dir"]);
    run::step(cargo.arg(at.join("target")))?;
    Ok(at.join("target").join(TARGET).join("release/deps"))
}

/// Puts the system root together: the target's libraries, and for all else links into the toolchain's own.
fn assemble(compiler: &Compiler, built: &Path, c_library: &Path, sysroot: &Path) -> Result<()> {
    let libraries = target_libraries(sysroot);
    let self_contained = libraries.join("self-contained");
    fs::create_dir_all(&self_contained)?;
    for entry in fs::read_dir(built)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".rlib") && !name.starts_with(&format!("lib{SCRATCH}-")) {
            fs::copy(entry.path(), libraries.join(&name)).with_context(|| format!("copy {name}"))?;
        }
    }
    for object in C_OBJECTS {
        fs::copy(c_library.join(object), self_contained.join(object)).with_context(|| format!("copy {object}"))?;
    }
    ensure!(has_target(sysroot), "the build made no standard library");
    link_host(compiler, sysroot)?;
    try_out(compiler, sysroot)
}

/// Links the toolchain's own part for this machine into the system root: the linker, and the libraries of build scripts.
/// Done at each use, since the toolchain that was there when the target was made may stand elsewhere now.
///
/// # Errors
/// The link cannot be made.
pub fn link_host(compiler: &Compiler, sysroot: &Path) -> Result<()> {
    let rustlib = sysroot.join("lib/rustlib");
    let own = compiler.sysroot.join("lib/rustlib").join(&compiler.host);
    let new = rustlib.join(format!(".{}.{}", compiler.host, std::process::id()));
    symlink(&own, &new)
        .and_then(|()| fs::rename(&new, rustlib.join(&compiler.host)))
        .with_context(|| format!("link {} into {}", own.display(), rustlib.display()))
}

/// Compiles and links programs against the finished system root, as guests are: what cannot do that is not finished.
fn try_out(compiler: &Compiler, sysroot: &Path) -> Result<()> {
    let at = sysroot.with_extension("try");
    fs::create_dir_all(&at)?;
    fs::write(at.join("try.rs"), "fn main() { println!(\"{:?}\", std::fs::read_dir(\"/\").map(Iterator::count)); }\n")?;
    for whole in [&[][..], &["-Clto=fat", "-Copt-level=s", "-Cpanic=abort"]] {
        let mut rustc: Command = super::rustc();
        rustc
            .current_dir(&at)
            .args(["--edition=2024", "--target", TARGET, "try.rs", "-o", "try.wasm"])
            .args(whole)
            .arg("--sysroot")
            .arg(sysroot);
        run::output(&mut rustc).with_context(|| format!("link a program for {TARGET} with Rust {}", compiler.release))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_release_matches() {
        for version in ["1.95.0+dfsg1-2~bpo13+1", "1.95.0-1"] {
            assert!(is_release(version, "1.95.0"), "{version}");
        }
        for version in ["1.95.0~beta.2+dfsg1-1", "1.95.01-1", "1.95.1+dfsg1-1", "1.195.0-1", ""] {
            assert!(!is_release(version, "1.95.0"), "{version}");
        }
    }
}
