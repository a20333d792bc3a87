//! What the kernel half and the program share, in Rust: `bpf/layout.h` says what each member means. A test compares the two.

use bytemuck::{Pod, Zeroable};

/// Version of the layout.
pub const LAYOUT: u32 = 1;
/// Index into the arrays of two that have one element for each version of IP.
pub const IPV4: usize = 0;
/// The same.
pub const IPV6: usize = 1;
/// The link of a port without any.
pub const NO_LINK: u16 = 0xffff;
/// Ports are found at their device's number modulo this.
pub const PORT_SLOTS: u32 = 1024;
/// Receive queues of a port that an AF_XDP socket can have.
pub const QUEUES: u32 = 16;
/// Most ports.
pub const PORTS: u32 = 64;

/// A port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Pod, Zeroable)]
#[repr(C)]
pub struct Port {
    /// See `bpf/layout.h`.
    pub ifindex: u32,
    /// See `bpf/layout.h`.
    pub number: u16,
    /// See `bpf/layout.h`.
    pub link: u16,
    /// See `bpf/layout.h`.
    pub own: [u8; 6],
    /// See `bpf/layout.h`.
    pub pppoe: u8,
    /// See `bpf/layout.h`.
    pub sampled: u8,
}

/// What tells a PPPoE session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Pod, Zeroable)]
#[repr(C)]
pub struct SessionKey {
    /// See `bpf/layout.h`.
    pub port: u16,
    /// As on the wire.
    pub id: [u8; 2],
    /// See `bpf/layout.h`.
    pub peer: [u8; 6],
    /// See `bpf/layout.h`.
    pub own: [u8; 6],
}

/// What packets come in or go out by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Pod, Zeroable)]
#[repr(C)]
pub struct Link {
    /// See `bpf/layout.h`.
    pub epoch: [u32; 2],
    /// See `bpf/layout.h`.
    pub identity: u64,
}

/// To whom packets leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Pod, Zeroable)]
#[repr(C)]
pub struct Adjacency {
    /// See `bpf/layout.h`.
    pub sequence: u32,
    /// See `bpf/layout.h`.
    pub ifindex: u32,
    /// See `bpf/layout.h`.
    pub port: u16,
    /// See `bpf/layout.h`.
    pub link: u16,
    /// See `bpf/layout.h`.
    pub mtu: u16,
    /// See `bpf/layout.h`.
    pub length: u8,
    /// See `bpf/layout.h`.
    pub flags: u8,
    /// See `bpf/layout.h`.
    pub header: [u8; 22],
    /// See `bpf/layout.h`.
    pub padding: [u8; 2],
    /// See `bpf/layout.h`.
    pub address: [u8; 16],
}

/// The other port can be reached from XDP.
pub const ADJACENT_XDP: u8 = 1;
/// Frames go to the device as if we had received them from it: it is a tap.
pub const ADJACENT_TAP: u8 = 2;
/// Partial checksums behind a PPPoE header are completed after we have sent them.
pub const ADJACENT_CHECKSUM: u8 = 4;

/// What tells a direction of an IPv4 flow. Addresses and ports as on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Pod, Zeroable)]
#[repr(C, align(4))]
pub struct Key4 {
    /// See `bpf/layout.h`.
    pub source: [u8; 4],
    /// See `bpf/layout.h`.
    pub destination: [u8; 4],
    /// See `bpf/layout.h`.
    pub ports: [[u8; 2]; 2],
    /// See `bpf/layout.h`.
    pub link: u16,
    /// See `bpf/layout.h`.
    pub protocol: u8,
    /// See `bpf/layout.h`.
    pub zero: u8,
}

/// What tells a direction of an IPv6 flow. Addresses and ports as on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Pod, Zeroable)]
#[repr(C, align(4))]
pub struct Key6 {
    /// See `bpf/layout.h`.
    pub source: [u8; 16],
    /// See `bpf/layout.h`.
    pub destination: [u8; 16],
    /// See `bpf/layout.h`.
    pub ports: [[u8; 2]; 2],
    /// See `bpf/layout.h`.
    pub link: u16,
    /// See `bpf/layout.h`.
    pub protocol: u8,
    /// See `bpf/layout.h`.
    pub zero: u8,
}

/// What every direction of a flow has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Pod, Zeroable)]
#[repr(C)]
pub struct Course {
    /// See `bpf/layout.h`.
    pub adjacency: u32,
    /// See `bpf/layout.h`.
    pub ingress_epoch: u32,
    /// See `bpf/layout.h`.
    pub egress_epoch: u32,
    /// See `bpf/layout.h`.
    pub ingress_port: u16,
    /// See `bpf/layout.h`.
    pub tick: u16,
    /// See `bpf/layout.h`.
    pub last: u32,
    /// See `bpf/layout.h`.
    pub packets: u32,
    /// See `bpf/layout.h`.
    pub octets: u32,
}

/// A direction of an IPv4 flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Pod, Zeroable)]
#[repr(C)]
pub struct Flow4 {
    /// See `bpf/layout.h`.
    pub sequence: u32,
    /// See `bpf/layout.h`.
    pub key: Key4,
    /// See `bpf/layout.h`.
    pub course: Course,
    /// See `bpf/layout.h`.
    pub source: [u8; 4],
    /// See `bpf/layout.h`.
    pub destination: [u8; 4],
    /// See `bpf/layout.h`.
    pub ports: [[u8; 2]; 2],
    /// See `bpf/layout.h`.
    pub address_delta: [u8; 2],
    /// See `bpf/layout.h`.
    pub port_delta: [u8; 2],
}

/// A direction of an IPv6 flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Pod, Zeroable)]
#[repr(C)]
pub struct Flow6 {
    /// See `bpf/layout.h`.
    pub sequence: u32,
    /// See `bpf/layout.h`.
    pub key: Key6,
    /// See `bpf/layout.h`.
    pub course: Course,
}

/// Entries of a bucket.
pub const BUCKET: usize = 16;
/// Bits of an entry that say the flow's number, plus one.
pub const NUMBER_BITS: u32 = 24;
/// Bit of the hash from which on it says where in a bucket a reader begins.
pub const FIRST_PLACE: u32 = 48;
const HASH_FACTOR: u64 = 0x9fb2_1c65_1e98_df25;

/// The hash of a key, taken as 64-bit words of the machine.
pub fn hash(seed: [u64; 2], words: impl Iterator<Item = u64>) -> u64 {
    let mixed = words.fold(seed[0], |h, word| {
        let h = (h ^ word).wrapping_mul(HASH_FACTOR);
        h ^ h >> 32
    });
    let h = (mixed ^ seed[1]).wrapping_mul(HASH_FACTOR);
    h ^ h >> 29
}

/// What a link has carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Pod, Zeroable)]
#[repr(C)]
pub struct Usage {
    /// See `bpf/layout.h`.
    pub rx_packets: u64,
    /// See `bpf/layout.h`.
    pub rx_octets: u64,
    /// See `bpf/layout.h`.
    pub tx_packets: u64,
    /// See `bpf/layout.h`.
    pub tx_octets: u64,
}

/// What became of a frame, in the order of `enum verdict`: its name for users.
pub const VERDICTS: [&str; 22] = [
    "carried",
    "not_a_port",
    "not_plain",
    "not_for_us",
    "odd_pppoe",
    "no_session",
    "ppp_control",
    "malformed",
    "options",
    "fragment",
    "hops",
    "not_carried",
    "service",
    "tcp_control",
    "no_flow",
    "stale",
    "moved",
    "too_big",
    "large_segment",
    "other_entry",
    "no_room",
    "redirect_failed",
];

/// Most octets of a frame in a sample.
pub const SAMPLE: usize = 2048;

/// The head of a sample; behind it are the frame before and after, [`SAMPLE`] octets each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Pod, Zeroable)]
#[repr(C)]
pub struct SampleHead {
    /// See `bpf/layout.h`.
    pub ingress_ifindex: u32,
    /// See `bpf/layout.h`.
    pub egress_ifindex: u32,
    /// See `bpf/layout.h`.
    pub before_length: u32,
    /// See `bpf/layout.h`.
    pub after_length: u32,
    /// See `bpf/layout.h`.
    pub flow: u32,
    /// See `bpf/layout.h`.
    pub version: u32,
    /// See `bpf/layout.h`.
    pub partial: u32,
}

#[cfg(test)]
mod tests;
