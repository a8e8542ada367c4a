//! Fuzzes requests on the control socket: the claim is `lazarus_fuzz::request`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lazarus_fuzz::request(data));
