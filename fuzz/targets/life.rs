//! Fuzzes what hostile children say to their warden, as a life of a cell: the claim is `lazarus_fuzz::life`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lazarus_fuzz::life(data));
