//! Tags of IEEE 802.1Q: put on where a frame leaves by a port with a VLAN, taken off where one comes in.
//!
//! Between those two gates of [`Egress`](super::Egress) nobody knows of tags. A port with a VLAN is of that VLAN alone: what
//! comes without its tag is dropped. Its MTU is the payload's; the tag is not part of it.
//!
//! Some ISPs want a priority on what keeps a session alive and none on data: discovery and every PPP protocol but IPv4 and
//! IPv6 bear the control priority of the port's [`Vlan`].

use super::Frame;
use crate::ledger::DropReason;
use crate::settings::Vlan;
use crate::wire::ethernet::{Header, ethertype};
use crate::wire::octets::u16_at;
use crate::wire::ppp::protocol;

/// Length of a tag in octets.
const TAG: usize = 4;

/// Octets in front of a tag: both addresses.
const ADDRESSES: usize = 12;

/// Bits of the tag control information that hold the identifier (IEEE 802.1Q §9.6).
const ID: u16 = 0x0fff;

/// Where a PPPoE session's frame has its PPP protocol (RFC 2516 §4).
const PPP_PROTOCOL: usize = Header::LEN + 6;

/// Puts a tag behind the addresses of a frame: the tag protocol identifier and the tag control information. False, and no
/// change, when the frame has no addresses or no headroom.
pub fn put_on(frame: &mut Frame, protocol: u16, control: u16) -> bool {
    let Some(&addresses) = frame.bytes().first_chunk::<ADDRESSES>() else { return false };
    if frame.push(TAG).is_none() {
        return false;
    }
    let ([p0, p1], [c0, c1]) = (protocol.to_be_bytes(), control.to_be_bytes());
    if let Some((front, rest)) = frame.bytes_mut().split_first_chunk_mut()
        && let Some(tag) = rest.first_chunk_mut()
    {
        *front = addresses;
        *tag = [p0, p1, c0, c1];
    }
    true
}

/// Puts the tag of `vlan` on a frame that leaves. False, and no change, when there is no room.
pub(super) fn tag(frame: &mut Frame, vlan: Vlan) -> bool {
    let priority = if is_control(frame.bytes()) { vlan.control_priority } else { 0 };
    put_on(frame, ethertype::VLAN, u16::from(priority) << 13 | vlan.id & ID)
}

/// The identifier in a frame's tag, when it has one.
pub(super) fn id(bytes: &[u8]) -> Option<u16> {
    let tagged = u16_at(bytes, ADDRESSES) == Some(ethertype::VLAN);
    u16_at(bytes, Header::LEN).filter(|_| tagged).map(|control| control & ID)
}

/// Takes the tag off a frame that came in, which must be of `vlan`, with any priority.
///
/// # Errors
/// Why the frame is to be dropped; it has not changed.
pub(super) fn untag(frame: &mut Frame, vlan: Vlan) -> Result<(), DropReason> {
    let bytes = frame.bytes();
    let (Some(&addresses), Some(protocol)) = (bytes.first_chunk::<ADDRESSES>(), u16_at(bytes, ADDRESSES))
    else {
        return Err(DropReason::EthernetTruncated);
    };
    if protocol != ethertype::VLAN {
        return Err(DropReason::VlanMismatch);
    }
    // The frame's own type follows the tag.
    let Some(control) = u16_at(bytes, Header::LEN).filter(|_| bytes.len() >= Header::LEN + TAG) else {
        return Err(DropReason::EthernetTruncated);
    };
    if control & ID != vlan.id {
        return Err(DropReason::VlanMismatch);
    }
    // What is still to be summed begins behind the headers.
    if !frame.pull(TAG) {
        return Err(DropReason::GsoMalformed);
    }
    if let Some(front) = frame.bytes_mut().first_chunk_mut() {
        *front = addresses;
    }
    Ok(())
}

/// True for what PPPoE and PPP say to keep a session: discovery, and every PPP protocol but the two of data.
fn is_control(bytes: &[u8]) -> bool {
    match u16_at(bytes, ADDRESSES) {
        Some(ethertype::PPPOE_DISCOVERY) => true,
        Some(ethertype::PPPOE_SESSION) => {
            u16_at(bytes, PPP_PROTOCOL).is_some_and(|kind| !matches!(kind, protocol::IPV4 | protocol::IPV6))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::frame::{Checksum, HEADROOM};

    const VLAN: Vlan = Vlan { id: 6, control_priority: 5 };

    fn frame(ethertype: u16, payload: &[u8]) -> Vec<u8> {
        [&[1; 6][..], &[2; 6], &ethertype.to_be_bytes(), payload].concat()
    }

    fn session(protocol: u16) -> Vec<u8> {
        frame(0x8864, &[&[0x11, 0, 0, 1, 0, 2][..], &protocol.to_be_bytes(), &[0; 40]].concat())
    }

    #[test]
    fn a_tag_stands_behind_the_addresses_and_the_checksum_follows() {
        let mut frame = Frame::from_bytes(&frame(0x0800, &[9; 46]));
        frame.offload.checksum = Checksum::Partial { start: 34, offset: 16 };
        assert!(put_on(&mut frame, 0x8100, 0x6006));
        let expected = [&[1; 6][..], &[2; 6], &[0x81, 0, 0x60, 0x06], &[8, 0], &[9; 46]].concat();
        assert_eq!(frame.bytes(), expected);
        assert_eq!(frame.offload.checksum, Checksum::Partial { start: 38, offset: 16 });
        assert_eq!(untag(&mut frame, VLAN), Ok(()));
        assert_eq!(frame.offload.checksum, Checksum::Partial { start: 34, offset: 16 });
    }

    #[test]
    fn a_frame_without_addresses_or_headroom_stays_as_it_was() {
        let mut short = Frame::from_bytes(&[0; 11]);
        assert!(!put_on(&mut short, 0x8100, 1));
        assert_eq!(short.bytes(), [0; 11]);
        let mut full = Frame::from_bytes(&[0; 20]);
        full.push(HEADROOM - TAG + 1).unwrap().fill(7);
        let before = full.bytes().to_vec();
        assert!(!tag(&mut full, VLAN));
        assert_eq!(full.bytes(), before);
    }

    /// Lesson 5: discovery and the control protocols of PPP bear the priority, data does not.
    #[test]
    fn control_frames_bear_the_priority_and_others_none() {
        let control =
            [frame(0x8863, &[0x11, 9, 0, 0, 0, 0]), session(0xc021), session(0xc223), session(0x8021)];
        let data = [session(0x0021), session(0x0057), frame(0x0800, &[0x45; 46]), frame(0x0806, &[0; 46])];
        let tci = |bytes: &[u8]| {
            let mut frame = Frame::from_bytes(bytes);
            assert!(tag(&mut frame, VLAN));
            assert_eq!(frame.bytes()[12..14], [0x81, 0]);
            u16_at(frame.bytes(), 14).unwrap()
        };
        for bytes in control {
            assert_eq!(tci(&bytes), 5 << 13 | 6, "{bytes:02x?}");
        }
        for bytes in data {
            assert_eq!(tci(&bytes), 6, "{bytes:02x?}");
        }
    }

    #[test]
    fn only_a_whole_tag_of_this_vlan_is_taken_off() {
        use DropReason::{EthernetTruncated, VlanMismatch};
        let told = |bytes: &[u8]| {
            let mut frame = Frame::from_bytes(bytes);
            let told = untag(&mut frame, VLAN);
            assert!(told.is_ok() || frame.bytes() == bytes, "a frame to drop stays as it was");
            told
        };
        let tagged =
            |protocol: u16, tci: u16| frame(protocol, &[&tci.to_be_bytes()[..], &[8, 0], &[9; 46]].concat());
        for (bytes, expected) in [
            (tagged(0x8100, 6), Ok(())),
            (tagged(0x8100, 0xf006), Ok(())),
            (tagged(0x8100, 7), Err(VlanMismatch)),
            (tagged(0x8100, 0), Err(VlanMismatch)),
            (tagged(0x8100, 0x106), Err(VlanMismatch)),
            (tagged(0x88a8, 6), Err(VlanMismatch)),
            (frame(0x0800, &[9; 46]), Err(VlanMismatch)),
        ] {
            assert_eq!(told(&bytes), expected, "{bytes:02x?}");
        }
        let whole = tagged(0x8100, 6);
        for len in 0..18 {
            assert_eq!(told(&whole[..len]), Err(EthernetTruncated), "cut at {len}");
        }
        assert_eq!(told(&whole[..18]), Ok(()));
        let mut summed = Frame::from_bytes(&whole);
        summed.offload.checksum = Checksum::Partial { start: 3, offset: 0 };
        assert_eq!(untag(&mut summed, VLAN), Err(DropReason::GsoMalformed));
        assert_eq!(summed.bytes(), whole);
    }

    proptest! {
        #[test]
        fn what_was_tagged_is_itself_again_untagged(
            bytes in prop::collection::vec(any::<u8>(), 14..200),
            start in prop::option::of(4u16..100),
            id in 1u16..=4094,
            control_priority in 0u8..=7,
        ) {
            let vlan = Vlan { id, control_priority };
            let mut frame = Frame::from_bytes(&bytes);
            if let Some(start) = start {
                frame.offload.checksum = Checksum::Partial { start, offset: 16 };
            }
            let offload = frame.offload;
            prop_assert!(tag(&mut frame, vlan));
            prop_assert_eq!(frame.len(), bytes.len() + TAG);
            let other = Vlan { id: id % 4094 + 1, ..vlan };
            prop_assert_eq!(untag(&mut frame.clone(), other), Err(DropReason::VlanMismatch));
            prop_assert_eq!(untag(&mut frame, vlan), Ok(()));
            prop_assert_eq!((frame.bytes(), frame.offload), (&bytes[..], offload));
            prop_assert_eq!(frame.headroom(), HEADROOM);
        }

        #[test]
        fn whatever_comes_in_ends_untagged_or_as_it_was(bytes in prop::collection::vec(any::<u8>(), 0..40), tagged in any::<bool>()) {
            let mut bytes = bytes;
            if tagged && bytes.len() > 16 {
                bytes[12..16].copy_from_slice(&[0x81, 0, 0, 6]);
            }
            let mut frame = Frame::from_bytes(&bytes);
            match untag(&mut frame, VLAN) {
                Ok(()) => prop_assert_eq!(frame.bytes(), &[&bytes[..12], &bytes[16..]].concat()[..]),
                Err(_) => prop_assert_eq!(frame.bytes(), &bytes[..]),
            }
        }
    }
}
