//! libFuzzer's way to the check `segment_header` of `wal-fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (wal_fuzz::target("segment_header").check)(data));
