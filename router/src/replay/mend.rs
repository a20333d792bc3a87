//! Frames that a network card had not finished, or had put together, when they were captured.
//!
//! Checksums are completed by the sender's card and large segments are cut by it, after the capture; the receiver's card and
//! kernel put segments together before it. Neither is how the frame was on the wire, so a router that takes them at
//! their word drops them. What can be told for sure is put right: a checksum that is exactly the sum of the pseudo-header,
//! and a TCP segment longer than the port's MTU.

use std::net::IpAddr;

use genkan_netstack::frame::{Checksum, Frame, Gso, GsoKind, Offload};
use genkan_netstack::wire::octets::{u8_at, u16_at};

use super::parts::{Body, Parts, TCP, checksum_place, pseudo_header, seal};

/// How many frames were not as they were on the wire.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Mended {
    /// The checksum was still to be completed.
    pub checksums: u64,
    /// Several segments were put together.
    pub merged: u64,
    /// Larger than the port takes, and not to be cut.
    pub oversized: u64,
}

impl Mended {
    /// What was found, a sentence each.
    pub fn sentences(&self) -> Vec<String> {
        let mut sentences = Vec::new();
        let mut say = |count: u64, text: &str| {
            if count > 0 {
                let (frames, were) = if count == 1 { ("frame", "was") } else { ("frames", "were") };
                sentences.push(format!("{count} {frames} {were} {text}"));
            }
        };
        say(
            self.checksums,
            "captured before the network card had completed the checksum; it is completed here. \
             `ethtool -K DEVICE tx off` at the capture avoids it.",
        );
        say(
            self.merged,
            "put together by the card or the kernel (GRO, LRO) or not yet cut (TSO); the gateway sees them as large \
             segments. `ethtool -K DEVICE gro off lro off tso off` at the capture avoids it.",
        );
        say(
            self.oversized,
            "larger than the port's MTU and no TCP, so nothing tells how it was cut on the wire; it is replayed as it is.",
        );
        sentences
    }

    /// The frame as a port would have handed it over. The bytes change only where a checksum is completed.
    pub fn mend(&mut self, bytes: &mut [u8], mtu: u16) -> Option<Gso> {
        let parts = Parts::of(bytes)?;
        let Body::Ip { ip, session } = parts.body else { return None };
        let (at, transport_at) = (ip.at, ip.transport_at);
        let merged = bytes.len().saturating_sub(parts.at) > usize::from(mtu);
        let mut gso = None;
        if merged && ip.protocol == TCP && session.is_none() {
            let header = u8_at(ip.transport, 12).map_or(20, |octet| usize::from(octet >> 4) * 4);
            let taken = (transport_at - at).saturating_add(header);
            let size = mtu.saturating_sub(u16::try_from(taken).unwrap_or(mtu)).max(1);
            let ecn = u8_at(ip.transport, 13).is_some_and(|flags| flags & 0x80 != 0);
            let kind = if matches!(ip.source, IpAddr::V4(_)) { GsoKind::TcpV4 } else { GsoKind::TcpV6 };
            self.merged += 1;
            gso = Some(Gso { kind, size, ecn });
        } else if merged {
            self.oversized += 1;
        }
        let place = checksum_place(&ip)?;
        let stored = u16_at(ip.transport, place)?;
        let partial = pseudo_header(&ip).value();
        let is_icmp = matches!(ip.protocol, 1 | 58);
        // By chance one right checksum in 65,536 looks like this; completing it again does it no harm.
        if !is_icmp && stored == partial {
            self.checksums += 1;
            seal(bytes, at);
        }
        gso
    }
}

/// The frame for a gateway.
pub(super) fn frame(bytes: &[u8], gso: Option<Gso>) -> Frame {
    let mut frame = Frame::from_bytes(bytes);
    frame.offload = Offload { checksum: Checksum::Complete, gso };
    frame
}

#[cfg(test)]
mod tests {
    use super::super::parts::with_packet;
    use super::*;
    use genkan_netstack::wire::octets::set_u16;

    /// A TCP segment over IPv4 with a right checksum.
    fn segment(payload: usize) -> Vec<u8> {
        let mut frame = [&[2; 12][..], &[8, 0]].concat();
        let total = u16::try_from(40 + payload).unwrap().to_be_bytes();
        frame.extend([0x45, 0, total[0], total[1], 0, 1, 0, 0, 64, 6, 0, 0, 192, 0, 2, 1, 198, 51, 100, 7]);
        frame.extend([0x12, 0x34, 0, 80, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x10, 1, 0, 0, 0, 0, 0]);
        frame.resize(frame.len() + payload, 7);
        seal(&mut frame, 14);
        frame
    }

    #[test]
    fn a_checksum_that_the_card_was_to_complete_is_completed() {
        let right = segment(100);
        let mut mended = Mended::default();
        let mut whole = right.clone();
        assert_eq!(mended.mend(&mut whole, 1500), None);
        assert_eq!((whole, mended), (right.clone(), Mended::default()));
        let mut partial = right.clone();
        let parts = Parts::of(&right).unwrap();
        let Body::Ip { ip, .. } = parts.body else { panic!("{parts:?}") };
        set_u16(&mut partial, 14 + 20 + 16, pseudo_header(&ip).value());
        mended.mend(&mut partial, 1500);
        assert_eq!((partial, mended.checksums), (right, 1));
        let mut wrong = segment(100);
        wrong[50] ^= 0x55;
        let before = wrong.clone();
        mended.mend(&mut wrong, 1500);
        assert_eq!((wrong, mended.checksums), (before, 1), "a wrong checksum stays wrong");
        assert!(mended.sentences()[0].contains("ethtool"));
    }

    #[test]
    fn segments_that_were_put_together_are_told_to_be_so() {
        let mut mended = Mended::default();
        let gso = mended.mend(&mut segment(5000), 1500).unwrap();
        assert_eq!((gso.kind, gso.size), (GsoKind::TcpV4, 1460));
        assert_eq!((mended.merged, mended.oversized), (1, 0));
        assert!(mended.sentences()[0].contains("gro off"));
    }

    #[test]
    fn octets_of_any_kind_do_no_harm() {
        let whole = segment(60);
        for length in 0..whole.len() {
            let mut cut = whole[..length].to_vec();
            Mended::default().mend(&mut cut, 1500);
            for value in [0, 0x45, 0x60, 0xff] {
                let mut odd = whole.clone();
                odd[length] = value;
                Mended::default().mend(&mut odd, 20);
                with_packet(&odd, length, &cut);
            }
        }
    }
}
