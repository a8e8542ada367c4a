//! Fuzzes the packets of host and warden: the claim is `lazarus_fuzz::packet`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lazarus_fuzz::packet(data));
