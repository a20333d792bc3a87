//! What a virtio card and the machine below it have agreed on (OASIS Virtual I/O Device, section 5.1.3).

use std::fs;

// Numbers of feature bits.
const GUEST_CSUM: usize = 1;
const CTRL_GUEST_OFFLOADS: usize = 2;
const GUEST_TSO4: usize = 7;
const GUEST_TSO6: usize = 8;
const GUEST_ECN: usize = 9;
const GUEST_UFO: usize = 10;

/// The host gives the card large segments and checksums that are still to be completed, and cannot be told not to. False when
/// nothing says so.
pub fn gives_unfinished(device: &str) -> bool {
    // A digit for each bit, the lowest one first.
    fs::read_to_string(format!("/sys/class/net/{device}/device/features"))
        .is_ok_and(|features| is_unfinished(features.trim()))
}

fn is_unfinished(features: &str) -> bool {
    let has = |bit: &usize| features.as_bytes().get(*bit) == Some(&b'1');
    !has(&CTRL_GUEST_OFFLOADS) && [GUEST_CSUM, GUEST_TSO4, GUEST_TSO6, GUEST_ECN, GUEST_UFO].iter().any(has)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offloads_that_cannot_be_switched_off_leave_frames_unfinished() {
        let features = |bits: &[usize]| {
            (0..64).map(|bit| if bits.contains(&bit) { '1' } else { '0' }).collect::<String>()
        };
        assert!(is_unfinished(&features(&[GUEST_TSO4, 17])));
        assert!(is_unfinished(&features(&[GUEST_CSUM])));
        assert!(!is_unfinished(&features(&[GUEST_TSO4, GUEST_CSUM, CTRL_GUEST_OFFLOADS])));
        assert!(!is_unfinished(&features(&[0, 5, 17])));
        assert!(!is_unfinished(""));
    }
}
