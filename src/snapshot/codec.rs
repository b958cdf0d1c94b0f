//! The only file that knows `bincode`.

use crate::domain::limits::PAYLOAD_BYTES_MAX;
use crate::domain::Error;
use bincode::config::{standard, Configuration, Limit, LittleEndian, Varint};
use serde::{de::DeserializeOwned, Serialize};

type Format = Configuration<LittleEndian, Varint, Limit<PAYLOAD_BYTES_MAX>>;

const FORMAT: Format = standard().with_limit::<PAYLOAD_BYTES_MAX>();

/// Appends `value` to `out`.
pub fn encode_into<T: Serialize>(out: &mut Vec<u8>, value: &T) {
    let written = bincode::serde::encode_into_std_write(value, out, FORMAT);
    // Our own types always encode, and writing to memory does not fail. A panic here is
    // caught like any other.
    debug_assert!(written.is_ok(), "{written:?}");
}

/// Reads one value from the front of `bytes`. Returns it with the number of bytes it took. Lengths
/// are bounded before anything is allocated.
pub fn decode_prefix<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, usize), Error> {
    // The borrowing decoder returns texts and bytes in place, so an invalid length is found before
    // it costs memory.
    bincode::serde::borrow_decode_from_slice(bytes, FORMAT)
        .map_err(|error| Error::usage(format!("payload is corrupt: {error}")))
}
