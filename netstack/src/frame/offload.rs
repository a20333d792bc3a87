//! What a sender left for the device to do, in the terms of the virtio-net header (virtio 1.2, section 5.1.6).

/// The state of the transport checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Checksum {
    /// The packet carries its whole checksum; nobody has vouched for it.
    #[default]
    Complete,
    /// The packet carries its whole checksum and the device has verified it.
    Verified,
    /// The checksum field holds only the pseudo-header's sum. Whoever sends the frame on a real wire adds the sum of
    /// the octets from `start` to the end and stores its complement.
    Partial {
        /// Offset of the first octet to sum, from the first octet of the frame. Follows every push and pull.
        start: u16,
        /// Offset of the checksum field from `start`.
        offset: u16,
    },
}

/// Which protocol a large segment is to be cut by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GsoKind {
    /// TCP over IPv4.
    TcpV4,
    /// TCP over IPv6.
    TcpV6,
    /// UDP, each segment a datagram of its own (UDP segmentation offload).
    Udp,
}

/// A frame larger than the MTU that is to be cut into segments before it reaches a real wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gso {
    /// The protocol to cut by.
    pub kind: GsoKind,
    /// Octets of transport payload in each segment but the last. Never 0.
    pub size: u16,
    /// The TCP header carries CWR, which belongs to the first segment alone (RFC 3168 §6.1.2).
    pub ecn: bool,
}

/// All that a device left undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Offload {
    /// State of the transport checksum.
    pub checksum: Checksum,
    /// Set when the frame stands for several segments.
    pub gso: Option<Gso>,
}

impl Offload {
    /// Moves the offsets by `delta` octets: positive when octets were pushed in front. False when they would leave
    /// the frame, in which case nothing has changed.
    pub(super) fn shift(&mut self, delta: i32) -> bool {
        if let Checksum::Partial { start, .. } = &mut self.checksum {
            match i32::from(*start).checked_add(delta).and_then(|s| u16::try_from(s).ok()) {
                Some(moved) => *start = moved,
                None => return false,
            }
        }
        true
    }
}
