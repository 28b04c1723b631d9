//! libFuzzer's way to the check `canary` of `wal-fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (wal_fuzz::target("canary").check)(data));
