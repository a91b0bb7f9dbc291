#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sesamy_mailmojo::properties::event::hold(data));
