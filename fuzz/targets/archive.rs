//! Fuzzes names and links of an archive: the claim is `lazarus_fuzz::archive`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lazarus_fuzz::archive(data));
