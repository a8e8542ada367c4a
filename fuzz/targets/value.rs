//! Fuzzes sizes, durations, names, mounts, tokens and heads: the claim is `lazarus_fuzz::value`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lazarus_fuzz::value(data));
