//! Fuzzes the bodies of messages: the claim is `lazarus_fuzz::message`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lazarus_fuzz::message(data));
