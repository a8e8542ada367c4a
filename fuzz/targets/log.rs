//! Fuzzes the output of agents: the claim is `lazarus_fuzz::log`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lazarus_fuzz::log(data));
