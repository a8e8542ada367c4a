//! Fuzzes the line protocol of members: the claim is `lazarus_fuzz::line`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lazarus_fuzz::line(data));
