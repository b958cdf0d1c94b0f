//! CRC-32 as in IEEE 802.3 (reflected polynomial 0xEDB88320), the checksum of a frame.
//!
//! Several bytes are taken at once, each with a table for its distance from the end (Kounavis and
//! Berry, "A Systematic Approach to Building High Performance Software-Based CRC Generators",
//! 2005): the payload of a large write is a MiB or more.

/// How many bytes are taken at once.
const AT_ONCE: usize = 8;

const fn tables() -> [[u32; 256]; AT_ONCE] {
    let mut tables = [[0u32; 256]; AT_ONCE];
    let mut n = 0;
    while n < 256 {
        let mut value = n as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { (value >> 1) ^ 0xEDB8_8320 } else { value >> 1 };
            bit += 1;
        }
        tables[0][n] = value;
        n += 1;
    }
    // The same byte with one more byte of zeros behind it.
    let mut at = 256;
    while at < 256 * AT_ONCE {
        let before = tables[at / 256 - 1][at % 256];
        tables[at / 256][at % 256] = (before >> 8) ^ tables[0][(before & 0xff) as usize];
        at += 1;
    }
    tables
}

static TABLES: [[u32; 256]; AT_ONCE] = tables();

/// The checksum of `bytes`.
pub fn crc32(bytes: &[u8]) -> u32 {
    let chunks = bytes.chunks_exact(AT_ONCE);
    let rest = chunks.remainder();
    let crc = chunks.fold(!0u32, |crc, chunk| {
        let mut text = [0; AT_ONCE];
        text.copy_from_slice(chunk);
        let text = (u64::from_le_bytes(text) ^ u64::from(crc)).to_le_bytes();
        let part = |at: usize| TABLES[AT_ONCE - 1 - at][usize::from(text[at])];
        part(0) ^ part(1) ^ part(2) ^ part(3) ^ part(4) ^ part(5) ^ part(6) ^ part(7)
    });
    !rest.iter().fold(crc, |crc, &byte| (crc >> 8) ^ TABLES[0][((crc ^ u32::from(byte)) & 0xff) as usize])
}

#[cfg(test)]
mod tests {
    use super::crc32;

    #[test]
    fn the_check_value_of_the_standard_comes_out() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn many_bytes_at_once_are_as_one_after_the_other() {
        let bytes: Vec<u8> = (0..1000u32).map(|n| (n * n / 7) as u8).collect();
        let bit = |crc: u32| if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
        for len in (0..100).chain([999, 1000]) {
            let plain =
                bytes[..len].iter().fold(!0, |crc: u32, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| bit(crc)));
            assert_eq!(crc32(&bytes[..len]), !plain, "{len}");
        }
    }
}
