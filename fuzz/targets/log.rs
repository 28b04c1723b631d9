//! libFuzzer's way to the check `log` of `wal-fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (wal_fuzz::target("log").check)(data));
