//! Fuzzes agent definitions: the claim is `lazarus_fuzz::definition`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lazarus_fuzz::definition(data));
