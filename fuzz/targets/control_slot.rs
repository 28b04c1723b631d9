//! libFuzzer's way to the check `control_slot` of `wal-fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (wal_fuzz::target("control_slot").check)(data));
