//! libFuzzer's entry: any bytes as a record's value.

#![no_main]

#[path = "../check.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|value: &[u8]| {
    check::value(value);
});
