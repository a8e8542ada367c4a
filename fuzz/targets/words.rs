//! Fuzzes strangers' words in lines that people read: the claim is `lazarus_fuzz::words`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lazarus_fuzz::words(data));
