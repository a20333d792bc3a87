//! Big-endian numbers at an offset of a buffer, checked.

/// The octet at `at`.
pub fn u8_at(bytes: &[u8], at: usize) -> Option<u8> {
    bytes.get(at).copied()
}

/// The 16-bit number at `at`.
pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_be_bytes)
}

/// The 32-bit number at `at`.
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_be_bytes)
}

/// Writes an octet at `at`. False, and no change, when it lies beyond the buffer.
pub fn set_u8(bytes: &mut [u8], at: usize, value: u8) -> bool {
    set(bytes, at, [value])
}

/// Writes a 16-bit number at `at`. False, and no change, when it does not fit in the buffer.
pub fn set_u16(bytes: &mut [u8], at: usize, value: u16) -> bool {
    set(bytes, at, value.to_be_bytes())
}

/// Writes a 32-bit number at `at`. False, and no change, when it does not fit in the buffer.
pub fn set_u32(bytes: &mut [u8], at: usize, value: u32) -> bool {
    set(bytes, at, value.to_be_bytes())
}

fn set<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) -> bool {
    match bytes.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        Some(place) => {
            *place = value;
            true
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_and_written_within_the_buffer_only() {
        let mut bytes = [1, 2, 3, 4, 5];
        assert_eq!(u8_at(&bytes, 4), Some(5));
        assert_eq!(u8_at(&bytes, 5), None);
        assert_eq!(u16_at(&bytes, 3), Some(0x0405));
        assert_eq!(u16_at(&bytes, 4), None);
        assert_eq!(u32_at(&bytes, 1), Some(0x0203_0405));
        assert_eq!(u32_at(&bytes, usize::MAX), None);
        assert!(!set_u32(&mut bytes, 2, 0));
        assert!(!set_u16(&mut bytes, 4, 0));
        assert!(!set_u8(&mut bytes, 5, 0));
        assert_eq!(bytes, [1, 2, 3, 4, 5]);
        assert!(set_u32(&mut bytes, 1, 0x0a0b_0c0d));
        assert!(set_u16(&mut bytes, 0, 0x0e0f));
        assert!(set_u8(&mut bytes, 4, 9));
        assert_eq!(bytes, [14, 15, 11, 12, 9]);
    }
}
