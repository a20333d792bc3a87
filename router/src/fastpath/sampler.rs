//! Trust, and verify: a share of the frames that the kernel half carries is shown before and after. The Forwarder says what
//! it would have made of the first, and that must be the second. A flow for which it is not goes back to user space for good.

use std::collections::HashMap;
use std::fmt::Write as _;

use bytemuck::Zeroable as _;
use genkan_netstack::forward::offload::FlowHandle;
use genkan_netstack::frame::{Checksum, Frame};
use genkan_netstack::gateway::Gateway;
use genkan_netstack::id::{Family, PortId};
use genkan_netstack::time::Instant;
use genkan_netstack::wire::checksum::Sum;
use serde::Serialize;
use tracing::error;

use super::layout::{IPV4, SAMPLE, SampleHead};
use crate::capture::{Direction, Recorder};
use crate::clock;

/// Octets before the IP packet: of Ethernet, and with PPPoE.
const ETHERNET: usize = 14;
const PPPOE: usize = 22;

/// A frame before and after.
#[derive(Debug, Clone, Copy)]
pub struct Sample<'a> {
    head: SampleHead,
    before: &'a [u8],
    after: &'a [u8],
}

impl<'a> Sample<'a> {
    /// Reads a record of the ring `samples`; nothing when it is too short.
    pub fn read(record: &'a [u8]) -> Option<Self> {
        let (head, frames) = record.split_at_checked(size_of::<SampleHead>())?;
        let mut read = SampleHead::zeroed();
        bytemuck::bytes_of_mut(&mut read).copy_from_slice(head);
        let (before, after) = frames.split_at_checked(SAMPLE)?;
        let part = |frame: &'a [u8], len: u32| frame.get(..(len as usize).min(SAMPLE));
        Some(Sample {
            head: read,
            before: part(before, read.before_length)?,
            after: part(after, read.after_length)?,
        })
    }

    fn flow(&self) -> FlowHandle {
        let family = if self.head.version as usize == IPV4 { Family::Ipv4 } else { Family::Ipv6 };
        FlowHandle { family, id: self.head.flow >> 1 }
    }

    /// The frame before, as user space would have received it.
    fn received(&self) -> Frame {
        let mut frame = Frame::from_bytes(self.before);
        if self.head.partial != 0
            && let Some(Place { start, at, .. }) = transport_checksum(self.before)
        {
            // Both are within a sample.
            frame.offload.checksum = Checksum::Partial { start: start as u16, offset: (at - start) as u16 };
        }
        frame
    }

    /// Shows the frame before and after to whoever captures samples.
    pub fn show(&self, ports: &HashMap<u32, PortId>, recorder: &mut Recorder) {
        let at = clock::wall();
        let ends = [
            (self.head.ingress_ifindex, Direction::Received, self.before),
            (self.head.egress_ifindex, Direction::Sent, self.after),
        ];
        for (device, direction, bytes) in ends {
            if let Some(&port) = ports.get(&device) {
                recorder.show_sample(at, port, direction, bytes);
            }
        }
    }

    /// True when the sample shows the whole frames.
    fn is_whole(&self) -> bool {
        self.before.len() == self.head.before_length as usize
            && self.after.len() == self.head.after_length as usize
    }
}

/// How samples have compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Samples {
    /// Frames of which the Forwarder would have made the same.
    pub same: u64,
    /// Frames of which it would have made something else.
    pub different: u64,
    /// Frames of which nothing can be said: their flow has ended or changed since, or they are too large for a sample.
    pub skipped: u64,
}

impl Samples {
    /// Compares a sample with what the gateway would have done. `ports` are the ports by their device's number.
    pub fn compare(
        &mut self,
        sample: &Sample<'_>,
        gateway: &mut Gateway,
        now: Instant,
        ports: &HashMap<u32, PortId>,
    ) {
        let ports = |ifindex: u32| ports.get(&ifindex).copied();
        let (Some(ingress), Some(egress)) =
            (ports(sample.head.ingress_ifindex), ports(sample.head.egress_ifindex))
        else {
            self.skipped += 1;
            return;
        };
        if !sample.is_whole() {
            self.skipped += 1;
            return;
        }
        let Some((expected_egress, expected)) = gateway.rehearse(now, ingress, sample.received()) else {
            self.skipped += 1;
            return;
        };
        let expected = expected.bytes();
        if expected_egress == egress && is_same(expected, sample.after) {
            self.same += 1;
            return;
        }
        self.different += 1;
        gateway.bar(sample.flow());
        error!(
            "the kernel path and user space disagree, and the flow goes on in user space alone: a fault of the router. \
             It came in as {}, left by port {} as {}, and should have left by port {} as {}",
            shown(sample.before),
            egress.0,
            shown(sample.after),
            expected_egress.0,
            shown(expected)
        );
    }
}

/// True for the same frames, and for those that differ only in that a device has still to complete the checksum of one.
fn is_same(expected: &[u8], carried: &[u8]) -> bool {
    if expected == carried {
        return true;
    }
    let Some(place) = transport_checksum(expected) else { return false };
    let field = place.at..place.at + 2;
    let mut completed = carried.to_vec();
    match (expected.get(field.clone()), completed.get_mut(field)) {
        (Some(right), Some(partial)) => {
            let is_partial = partial == place.pseudo.to_be_bytes();
            partial.copy_from_slice(right);
            is_partial && completed == expected
        }
        _ => false,
    }
}

/// Where the header of TCP or UDP is in a frame, and its checksum, and the sum that this is begun with.
struct Place {
    start: usize,
    at: usize,
    pseudo: u16,
}

fn transport_checksum(frame: &[u8]) -> Option<Place> {
    let (start, ethertype) = front(frame)?;
    let packet = frame.get(start..)?;
    let (header, protocol, pseudo) = if ethertype == 4 {
        let &[_, _, high, low, _, _, _, _, _, protocol, _, _, s0, s1, s2, s3, d0, d1, d2, d3] =
            packet.first_chunk::<20>()?;
        let len = u16::from_be_bytes([high, low]).checked_sub(20)?;
        let pseudo = Sum::pseudo_v4([s0, s1, s2, s3].into(), [d0, d1, d2, d3].into(), protocol, len);
        (20, protocol, pseudo)
    } else {
        let fixed = packet.first_chunk::<40>()?;
        let address = |at: usize| Some(<[u8; 16]>::try_from(fixed.get(at..at + 16)?).ok()?.into());
        let len = u16::from_be_bytes([fixed[4], fixed[5]]);
        (40, fixed[6], Sum::pseudo_v6(address(8)?, address(24)?, fixed[6], u32::from(len)))
    };
    let offset = match protocol {
        6 => 16,
        17 => 6,
        _ => return None,
    };
    let start = start + header;
    Some(Place { start, at: start + offset, pseudo: pseudo.value() })
}

/// Where the IP packet begins, and its version.
fn front(frame: &[u8]) -> Option<(usize, u8)> {
    let start = match frame.get(12..ETHERNET)? {
        [0x88, 0x64] => PPPOE,
        _ => ETHERNET,
    };
    Some((start, frame.get(start)? >> 4))
}

/// The headers of a frame in hex. What they carry is nobody's business.
fn shown(frame: &[u8]) -> String {
    let headers = match front(frame) {
        Some((start, 4)) => start + 20 + 20,
        Some((start, 6)) => start + 40 + 20,
        _ => ETHERNET,
    };
    let shown = frame.iter().take(headers).fold(String::new(), |mut text, octet| {
        let _ = write!(text, "{octet:02x}");
        text
    });
    format!("{shown}… ({} octets)", frame.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A TCP segment in an Ethernet frame, its checksum complete or partial.
    fn segment(partial: bool, last: u8) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
        frame.extend([0x45, 0, 0, 44, 0, 1, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        frame.extend([0, 80, 1, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x10, 1, 0, 0, 0, 0, 0, 1, 2, 3, last]);
        let pseudo = Sum::pseudo_v4([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), 6, 24);
        let sum = if partial { pseudo.value() } else { pseudo.plus(Sum::of(&frame[34..])).checksum() };
        frame[50..52].copy_from_slice(&sum.to_be_bytes());
        frame
    }

    #[test]
    fn only_a_checksum_that_a_device_completes_may_differ() {
        assert!(is_same(&segment(false, 4), &segment(false, 4)));
        assert!(is_same(&segment(false, 4), &segment(true, 4)));
        assert!(!is_same(&segment(false, 4), &segment(false, 5)));
        assert!(!is_same(&segment(false, 4), &segment(true, 5)));
        let mut wrong = segment(false, 4);
        wrong[50] ^= 1;
        assert!(!is_same(&segment(false, 4), &wrong));
        assert!(!is_same(&segment(false, 4), &segment(false, 4)[..57]));
    }

    /// User space would have been told, too, what is left to the card.
    #[test]
    fn a_frame_whose_checksum_was_partial_is_received_as_such() {
        let frame = segment(true, 4);
        let length = frame.len() as u32;
        let received = |partial, before| {
            let head = SampleHead { before_length: length, partial, ..SampleHead::default() };
            Sample { head, before, after: &[] }.received()
        };
        let partial = Checksum::Partial { start: 34, offset: 16 };
        assert_eq!(received(1, &frame).offload.checksum, partial);
        assert_eq!(received(0, &frame).offload.checksum, Checksum::Complete);
        assert_eq!(received(1, &frame).bytes(), frame);
        // Of what is neither TCP nor UDP nothing is partial, nor of a frame without its headers.
        for cut in 0..34 {
            assert_eq!(received(1, &frame[..cut]).offload.checksum, Checksum::Complete, "{cut}");
        }
    }

    #[test]
    fn what_is_logged_of_a_frame_ends_before_its_payload() {
        let mut frame = segment(false, 4);
        frame.extend(b"secret");
        let text = shown(&frame);
        assert!(text.starts_with("020000000001020000000002080045"), "{text}");
        assert!(!text.contains("736563726574"), "{text}");
    }

    #[test]
    fn a_record_that_is_cut_is_no_sample() {
        let record = vec![0xff; size_of::<SampleHead>() + 2 * SAMPLE];
        let sample = Sample::read(&record).unwrap();
        assert_eq!((sample.before.len(), sample.is_whole()), (SAMPLE, false));
        for len in [0, 3, size_of::<SampleHead>(), record.len() / 2] {
            assert!(Sample::read(&record[..len]).is_none(), "{len}");
        }
    }
}
