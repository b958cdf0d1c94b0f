#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ltmc_fuzz::targets::decode::<ltmc::domain::session::Session>(bytes));
