//! Compiling and the cache.

use std::{
    fs::{File, Permissions},
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    time::{Duration, Instant},
};

use lazarus::backend::{
    WasmForm,
    wasm::{self, CacheError, KEEPER_WAT},
};
use sha2::{Digest, Sha256};

use crate::{
    Case,
    fixture::{compile, new_cache},
    wat,
};

pub const CASES: &[Case] = &[
    ("sources_are_told_apart", sources_are_told_apart),
    ("bad_sources_are_refused_in_one_line", bad_sources_are_refused_in_one_line),
    ("a_pin_is_kept", a_pin_is_kept),
    ("a_hit_is_fast_and_compiles_nothing", a_hit_is_fast_and_compiles_nothing),
    ("a_torn_entry_is_compiled_again", a_torn_entry_is_compiled_again),
    ("an_entry_of_others_is_refused", an_entry_of_others_is_refused),
    ("two_at_once_both_succeed", two_at_once_both_succeed),
    ("a_crash_leaves_nothing_for_ever", a_crash_leaves_nothing_for_ever),
    ("what_was_pinned_is_what_is_compiled", what_was_pinned_is_what_is_compiled),
];

const EMPTY_MODULE: &[u8] = b"\0asm\x01\0\0\0";
const EMPTY_COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

fn sources_are_told_apart() {
    for (source, form) in [
        (EMPTY_MODULE, WasmForm::Module),
        (EMPTY_COMPONENT, WasmForm::Component),
        (b"(module)", WasmForm::Module),
        (b";; mine\n(component)", WasmForm::Component),
        (KEEPER_WAT.as_bytes(), WasmForm::Module),
    ] {
        assert_eq!(compile(source).unwrap().form, form);
    }
}

fn bad_sources_are_refused_in_one_line() {
    let truncated = [EMPTY_MODULE, b"\x01\x7f\x00"].concat();
    for (source, expected) in [
        (&b""[..], "empty"),
        (b"\0asm\x01", "truncated"),
        (b"#!/bin/sh\necho hello\n", "not WebAssembly"),
        (b"\x7fELF\x02\x01\x01\xc8\0\0\0\0", "machine code"),
        (&truncated, "truncated or damaged"),
        (b"(module (func (result i32)))", "type mismatch"),
        (b"(module\n  (func\n    (\x1b[2Jnonsense)))", "compile the program: "),
        (b"(module (memory 1 1 shared))", "compile the program: "),
    ] {
        let error = compile(source).expect_err("refused");
        assert!(error.contains(expected), "{error}");
        assert!(!error.chars().any(char::is_control) && error.len() < 600, "{error:?}");
    }
}

fn a_pin_is_kept() {
    let (_place, cache) = new_cache();
    let source = wat::start("");
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(source.as_bytes()).unwrap();
    let digest: String = Sha256::digest(source.as_bytes()).iter().map(|b| format!("{b:02x}")).collect();
    let cached = wasm::ensure(&cache, &mut file, Some(&digest.to_uppercase())).unwrap();
    assert_eq!(cached.source_sha256, digest);
    let wrong = digest.replace(|c: char| c.is_ascii_digit(), "f");
    assert!(matches!(wasm::ensure(&cache, &mut file, Some(&wrong)), Err(CacheError::Pin { found, .. }) if found == digest));
}

fn a_hit_is_fast_and_compiles_nothing() {
    let (place, cache) = new_cache();
    // 150 KB of source, as a small program of an ordinary language has.
    let mut file = tempfile::tempfile().unwrap();
    let filler: String =
        (0..1500).map(|i| format!("(func (result i32) (i32.add (i32.const {i}) (i32.const {i})))\n;; {:40}\n", "")).collect();
    file.write_all(format!("(module {filler})").as_bytes()).unwrap();
    let first = wasm::ensure(&cache, &mut file, None).unwrap();
    assert!(first.compiled);
    let meta = std::fs::metadata(place.path().join(first.file_name())).unwrap();
    assert_eq!((meta.mode() & 0o777, meta.len()), (0o600, first.size));
    let times: Vec<_> = (0..20)
        .map(|_| {
            let start = Instant::now();
            let hit = wasm::ensure(&cache, &mut file, None).unwrap();
            assert!(!hit.compiled && hit.key == first.key && hit.size == first.size);
            start.elapsed()
        })
        .collect();
    let best = times.iter().min().unwrap();
    println!("    cached in {best:?}, {} KB of source", file.metadata().unwrap().len() / 1024);
    // The aim is a millisecond; unoptimised and beside other work, it is not far from that.
    assert!(*best < Duration::from_millis(5), "{best:?}");
}

fn a_torn_entry_is_compiled_again() {
    let (place, cache) = new_cache();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(wat::start("").as_bytes()).unwrap();
    let first = wasm::ensure(&cache, &mut file, None).unwrap();
    let entry = place.path().join(first.file_name());
    for damage in [0, 10, 1000, first.size - 1] {
        File::options().write(true).open(&entry).unwrap().set_len(damage).unwrap();
        let again = wasm::ensure(&cache, &mut file, None).unwrap();
        assert!(again.compiled && again.size == first.size, "cut to {damage}");
        assert!(!wasm::ensure(&cache, &mut file, None).unwrap().compiled, "once");
    }
    wasm::forget(&cache, &first.file_name()).unwrap();
    wasm::forget(&cache, &first.file_name()).unwrap();
    assert!(wasm::ensure(&cache, &mut file, None).unwrap().compiled);
}

fn an_entry_of_others_is_refused() {
    let (place, cache) = new_cache();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(wat::start("").as_bytes()).unwrap();
    let entry = place.path().join(wasm::ensure(&cache, &mut file, None).unwrap().file_name());
    std::fs::set_permissions(&entry, Permissions::from_mode(0o620)).unwrap();
    assert!(matches!(wasm::ensure(&cache, &mut file, None), Err(CacheError::Untrusted { .. })), "writable by a group");
    std::fs::set_permissions(&entry, Permissions::from_mode(0o600)).unwrap();
    assert!(wasm::ensure(&cache, &mut file, None).is_ok(), "the twin");
    let elsewhere = place.path().join("elsewhere");
    std::fs::rename(&entry, &elsewhere).unwrap();
    symlink(&elsewhere, &entry).unwrap();
    assert!(matches!(wasm::ensure(&cache, &mut file, None), Err(CacheError::Untrusted { .. })), "a link");
    std::fs::remove_file(&entry).unwrap();
    std::fs::create_dir(&entry).unwrap();
    assert!(matches!(wasm::ensure(&cache, &mut file, None), Err(CacheError::Untrusted { .. })), "a directory");
    std::fs::remove_dir(&entry).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, &entry, 0o600.into()).unwrap();
    assert!(matches!(wasm::ensure(&cache, &mut file, None), Err(CacheError::Untrusted { .. })), "a pipe, without waiting for it");
}

fn two_at_once_both_succeed() {
    let (place, cache) = new_cache();
    let source = wat::start("(call $sleep (i32.const 1))");
    let keys: Vec<_> = std::thread::scope(|scope| {
        let one = || wasm::ensure_bytes(&cache, source.as_bytes()).unwrap().key;
        let threads = [scope.spawn(one), scope.spawn(one)];
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(keys[0], keys[1]);
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1, "nothing half written stays");
}

fn a_crash_leaves_nothing_for_ever() {
    let (place, cache) = new_cache();
    let (old, young, foreign) = (place.path().join(".x.cwasm.1.part"), place.path().join(".y.cwasm.2.part"), place.path().join("notes"));
    for file in [&old, &young, &foreign] {
        File::create(file).unwrap();
    }
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(7200);
    for file in [&old, &foreign] {
        File::options().write(true).open(file).unwrap().set_modified(long_ago).unwrap();
    }
    assert!(wasm::ensure_bytes(&cache, b"(module (func (nop)))").unwrap().compiled);
    assert!(!old.exists() && young.exists() && foreign.exists());
}

/// While it is hashed and compiled, the file is swapped again and again between two programs: the answer is always of one of them.
fn what_was_pinned_is_what_is_compiled() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("guest.wat");
    let [a, b] = [3, 4].map(|code| format!("{:width$}", wat::start(&format!("(call $exit (i32.const {code}))")), width = 60_000));
    let pin: String = Sha256::digest(a.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    std::fs::write(&path, &a).unwrap();
    let (tell, told) = std::sync::mpsc::channel::<()>();
    let swapper = std::thread::spawn({
        let (path, a) = (path.clone(), a.clone());
        move || {
            let file = File::options().write(true).open(&path).unwrap();
            while told.try_recv() != Err(std::sync::mpsc::TryRecvError::Disconnected) {
                for text in [&b, &a] {
                    std::os::unix::fs::FileExt::write_all_at(&file, text.as_bytes(), 0).unwrap();
                }
            }
        }
    });
    let mut accepted = 0;
    for _ in 0..30 {
        let (_cache_place, cache) = new_cache();
        if let Ok(cached) = wasm::ensure(&cache, &mut File::open(&path).unwrap(), Some(&pin)) {
            accepted += 1;
            assert_eq!(cached.source_sha256, pin);
            let expected = wasm::ensure_bytes(&cache, a.as_bytes()).unwrap();
            assert!(!expected.compiled && expected.key == cached.key);
        }
    }
    drop(tell);
    swapper.join().unwrap();
    println!("    {accepted} of 30 were caught whole");
}
