//! Fuzzes programs before they are compiled: the claim is `lazarus_fuzz::program`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lazarus_fuzz::program(data));
