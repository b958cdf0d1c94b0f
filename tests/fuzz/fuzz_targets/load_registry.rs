#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ltmc_fuzz::targets::load::<ltmc::domain::registry::Registry>(bytes));
