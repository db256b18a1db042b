//! The name of a configuration: equal for equal configurations, across processes and restarts.

use serde::Serialize;

/// Sixteen hexadecimal digits that name a spec as meant, whatever way it was written.
#[must_use]
pub fn of(spec: &impl Serialize) -> String {
    // What is made of strings, numbers and lists of them is always written.
    format!("{:016x}", checksum(&serde_json::to_vec(spec).unwrap_or_default()))
}

/// A number made of bytes (FNV-1a), against accidents, not against malice.
#[must_use]
pub fn checksum(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_specs_have_one_name_and_others_another() {
        assert_eq!(checksum(b"a"), 0xaf63_dc4c_8601_ec8c, "FNV-1a, as published");
        assert_eq!(of(&[1, 2]), of(&vec![1, 2]));
        assert_ne!(of(&[1, 2]), of(&[2, 1]));
        assert_eq!(of(&"").len(), 16);
    }
}
