//! libFuzzer's way to the check `record` of `wal-fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (wal_fuzz::target("record").check)(data));
