//! libFuzzer's way to the check `look_ahead` of `wal-fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (wal_fuzz::target("look_ahead").check)(data));
