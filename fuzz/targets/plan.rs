//! Fuzzes kept plans, and the names of processes: the claim is `lazarus_fuzz::plan`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lazarus_fuzz::plan(data));
