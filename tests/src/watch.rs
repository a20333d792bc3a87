//! A look at every frame that arrives somewhere: is each checksum right, does each frame fit?
//!
//! A packet socket with the virtio-net header (PACKET_VNET_HDR) tells, with each frame, what the kernel would still do
//! before a wire: complete a checksum, cut a large segment. So a frame is judged by what would be on the wire: a checksum
//! left to the device must hold the right pseudo-header sum at the right place, and a large segment must be cut into
//! pieces that fit. Everything else must be right as it is.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crate::netns::Namespace;

/// The frames that arrive at a device, until [`Watch::finish`].
#[derive(Debug)]
pub struct Watch {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<Report>>,
}

/// The largest packets that may arrive.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Octets of a packet straight on Ethernet, or of a PPPoE payload with its header.
    pub ethernet: usize,
    /// Octets of an IP packet inside PPPoE.
    pub pppoe: usize,
}

/// What a [`Watch`] saw.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// IPv4 packets, with and without PPPoE.
    pub packets: u64,
    /// Of these, large segments that the kernel would cut.
    pub large: u64,
    /// Of these, with a checksum that the device would complete.
    pub partial: u64,
    /// Packets that the watch itself was too slow to see.
    pub missed: u64,
    /// What was wrong, and how often.
    pub faults: BTreeMap<String, u64>,
}

impl Report {
    /// # Panics
    ///
    /// When anything was wrong, or fewer than `least` packets were seen.
    #[track_caller]
    pub fn assert_clean(&self, place: &str, least: u64) {
        assert!(self.faults.is_empty(), "frames that arrived at {place} are wrong: {:#?}", self.faults);
        let seen = self.packets + self.missed;
        assert!(seen >= least, "only {seen} packets arrived at {place}, {least} were to be checked");
    }
}

impl Watch {
    /// Watches what arrives at `device` of `namespace`.
    pub fn start(namespace: &Namespace, device: &str, limits: Limits) -> Watch {
        let ended = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&ended);
        let socket =
            namespace.inside(|| sys::PacketSocket::open(&CString::new(device).expect("a device's name")));
        let socket = socket.unwrap_or_else(|error| panic!("cannot watch {device}: {error}"));
        let thread = std::thread::spawn(move || {
            let mut report = Report::default();
            let mut buffer = vec![0; 1 << 17];
            while let Some(frame) = socket.receive(&mut buffer, &until) {
                look(frame, limits, &mut report);
            }
            report.missed = socket.missed();
            report
        });
        Watch { ended, thread: Some(thread) }
    }

    /// Ends the watch and says what it saw.
    pub fn finish(mut self) -> Report {
        self.ended.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("a watch finishes once");
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

/// What the kernel says of a frame (`struct virtio_net_hdr`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Hints {
    /// Where the checksum that is to be completed starts, from the frame's first octet, and where it goes from there.
    partial: Option<(usize, usize)>,
    /// Octets of payload in each piece of a large segment.
    piece: Option<usize>,
}

const HINTS: usize = 10;

impl Hints {
    fn parse(octets: &[u8]) -> Hints {
        let word = |at: usize| usize::from(u16::from_ne_bytes([octets[at], octets[at + 1]]));
        const NEEDS_CSUM: u8 = 1;
        Hints {
            partial: (octets[0] & NEEDS_CSUM != 0).then(|| (word(6), word(8))),
            piece: (octets[1] & 0x7f != 0).then(|| word(4)),
        }
    }
}

fn look(received: &[u8], limits: Limits, report: &mut Report) {
    if received.len() < HINTS + 14 {
        return;
    }
    let (hints, frame) = received.split_at(HINTS);
    let hints = Hints::parse(hints);
    let (start, limit) = match u16::from_be_bytes([frame[12], frame[13]]) {
        0x0800 => (14, limits.ethernet),
        // Version and type 1, code 0, and PPP's protocol is IPv4.
        0x8864 if frame.len() >= 22 && frame[14..16] == [0x11, 0] && frame[20..22] == [0x00, 0x21] => {
            let length = usize::from(u16::from_be_bytes([frame[18], frame[19]]));
            if 6 + length > limits.ethernet {
                *report.faults.entry(format!("a PPPoE payload of {length} octets")).or_default() += 1;
            }
            (22, limits.pppoe)
        }
        _ => return,
    };
    report.packets += 1;
    report.large += u64::from(hints.piece.is_some());
    report.partial += u64::from(hints.partial.is_some());
    if let Err(fault) = judge(frame, start, limit, hints) {
        *report.faults.entry(fault).or_default() += 1;
    }
}

/// Judges the IPv4 packet that starts at `start` of `frame`.
fn judge(frame: &[u8], start: usize, limit: usize, hints: Hints) -> Result<(), String> {
    let packet = &frame[start..];
    let header = usize::from(packet.first().copied().unwrap_or(0) & 0x0f) * 4;
    if packet.len() < 20 || header < 20 || packet[0] >> 4 != 4 {
        return Err("an IPv4 header that is none".into());
    }
    let length = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
    if length < header || length > packet.len() {
        return Err("a total length beyond the frame".into());
    }
    let packet = &packet[..length];
    if sum(&packet[..header]) != 0xffff {
        return Err("a wrong IPv4 header checksum".into());
    }
    let protocol = packet[9];
    let name = match protocol {
        1 => "ICMP",
        6 => "TCP",
        17 => "UDP",
        _ => "other",
    };
    let body = &packet[header..];
    match hints.piece {
        None if length > limit => {
            return Err(format!("a {name} packet of {length} octets where {limit} fit"));
        }
        Some(piece) => {
            let inner =
                if protocol == 6 { usize::from(body.get(12).copied().unwrap_or(0) >> 4) * 4 } else { 8 };
            let each = header + inner + piece;
            if start != 14 {
                return Err("a large segment inside PPPoE".into());
            }
            if each > limit {
                return Err(format!(
                    "a large {name} segment cut into packets of {each} octets where {limit} fit"
                ));
            }
        }
        None => {}
    }
    let fragment = u16::from_be_bytes([packet[6], packet[7]]) & 0x3fff != 0;
    if fragment || protocol == 17 && body.get(6..8) == Some(&[0, 0]) {
        return Ok(());
    }
    let place = match protocol {
        1 => return if sum(body) == 0xffff { Ok(()) } else { Err("a wrong ICMP checksum".into()) },
        6 => 16,
        17 => 6,
        _ => return Ok(()),
    };
    let Some(field) = body.get(place..place + 2) else { return Err(format!("a {name} header that is cut")) };
    let mut pseudo = packet[12..20].to_vec();
    pseudo.extend([0, protocol]);
    pseudo.extend(u16::try_from(body.len()).unwrap_or(u16::MAX).to_be_bytes());
    match hints.partial {
        Some((from, offset)) if from != start + header || offset != place => Err(format!(
            "a {name} checksum to be completed at {from}+{offset}, not at {}+{place}",
            start + header
        )),
        Some(_) if sum(&pseudo) != u16::from_be_bytes([field[0], field[1]]) => {
            Err(format!("a {name} checksum to be completed from a wrong pseudo-header sum"))
        }
        Some(_) => Ok(()),
        None => {
            pseudo.extend(body);
            if sum(&pseudo) == 0xffff { Ok(()) } else { Err(format!("a wrong {name} checksum")) }
        }
    }
}

/// The ones' complement sum of RFC 1071, not complemented.
fn sum(octets: &[u8]) -> u16 {
    let mut sum = 0_u64;
    for pair in octets.chunks(2) {
        sum += u64::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// The system calls: a packet socket has no safe wrapper.
mod sys {
    use std::ffi::CStr;
    use std::io;
    use std::mem;
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
    use std::sync::atomic::{AtomicBool, Ordering};

    /// A packet socket on one device, with virtio-net headers.
    #[derive(Debug)]
    pub(super) struct PacketSocket(OwnedFd);

    impl PacketSocket {
        pub(super) fn open(device: &CStr) -> io::Result<PacketSocket> {
            let protocol = (libc::ETH_P_ALL as u16).to_be();
            // SAFETY: no memory is involved.
            let raw = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
            if raw < 0 {
                return Err(io::Error::last_os_error());
            }
            // SAFETY: the descriptor was just opened and nobody else has it.
            let socket = PacketSocket(unsafe { OwnedFd::from_raw_fd(raw) });
            socket.set(libc::SOL_PACKET, libc::PACKET_VNET_HDR, &1_i32)?;
            socket.set(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &(512_i32 << 20))?;
            socket.set(
                libc::SOL_SOCKET,
                libc::SO_RCVTIMEO,
                &libc::timeval { tv_sec: 0, tv_usec: 100_000 },
            )?;
            // SAFETY: the name ends with a zero octet.
            let index = unsafe { libc::if_nametoindex(device.as_ptr()) };
            if index == 0 {
                return Err(io::Error::last_os_error());
            }
            // SAFETY: a sockaddr_ll of zeroes is a valid one.
            let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
            address.sll_family = libc::AF_PACKET as u16;
            address.sll_protocol = protocol;
            address.sll_ifindex = index as i32;
            let length = mem::size_of_val(&address) as libc::socklen_t;
            // SAFETY: `address` lives through the call and `length` is its size.
            let bound = unsafe { libc::bind(socket.0.as_raw_fd(), (&raw const address).cast(), length) };
            if bound == 0 { Ok(socket) } else { Err(io::Error::last_os_error()) }
        }

        fn set<T>(&self, level: i32, option: i32, value: &T) -> io::Result<()> {
            let length = mem::size_of::<T>() as libc::socklen_t;
            // SAFETY: `value` lives through the call and `length` is its size.
            let result = unsafe {
                libc::setsockopt(self.0.as_raw_fd(), level, option, (&raw const *value).cast(), length)
            };
            if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
        }

        /// The next frame that arrives, its virtio-net header first. `None` once `ended` is set and the queue is empty.
        pub(super) fn receive<'a>(&self, buffer: &'a mut [u8], ended: &AtomicBool) -> Option<&'a [u8]> {
            loop {
                // SAFETY: a sockaddr_ll of zeroes is a valid one.
                let mut from: libc::sockaddr_ll = unsafe { mem::zeroed() };
                let mut length = mem::size_of_val(&from) as libc::socklen_t;
                // SAFETY: the kernel writes at most `buffer.len()` octets to `buffer` and `length` octets to `from`.
                let got = unsafe {
                    libc::recvfrom(
                        self.0.as_raw_fd(),
                        buffer.as_mut_ptr().cast(),
                        buffer.len(),
                        0,
                        (&raw mut from).cast(),
                        &raw mut length,
                    )
                };
                match usize::try_from(got) {
                    Ok(_) if from.sll_pkttype == libc::PACKET_OUTGOING => {}
                    Ok(got) => return Some(&buffer[..got]),
                    Err(_) if ended.load(Ordering::Relaxed) => return None,
                    Err(_) => {}
                }
            }
        }

        /// Frames that did not fit in the socket's queue.
        pub(super) fn missed(&self) -> u64 {
            let mut statistics = [0_u32; 2];
            let mut length = mem::size_of_val(&statistics) as libc::socklen_t;
            // SAFETY: the kernel writes at most `length` octets to `statistics`.
            let result = unsafe {
                libc::getsockopt(
                    self.0.as_raw_fd(),
                    libc::SOL_PACKET,
                    libc::PACKET_STATISTICS,
                    statistics.as_mut_ptr().cast(),
                    &raw mut length,
                )
            };
            if result == 0 { u64::from(statistics[1]) } else { 0 }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { ethernet: 1500, pppoe: 1492 };

    /// A UDP datagram on Ethernet, its checksums right.
    fn datagram(payload: usize) -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 198, 51, 100, 7];
        packet[2..4].copy_from_slice(&u16::try_from(28 + payload).unwrap().to_be_bytes());
        let check = !sum(&packet);
        packet[10..12].copy_from_slice(&check.to_be_bytes());
        let length = u16::try_from(8 + payload).unwrap().to_be_bytes();
        let mut body = vec![0x12, 0x34, 0, 7, length[0], length[1], 0, 0];
        body.extend((0..payload).map(|index| index.to_le_bytes()[0]));
        let mut whole = packet[12..20].to_vec();
        whole.extend([0, 17, length[0], length[1]]);
        whole.extend(&body);
        let check = !sum(&whole);
        body[6..8].copy_from_slice(&check.to_be_bytes());
        let mut frame = vec![2; 12];
        frame.extend([0x08, 0x00]);
        frame.extend(packet);
        frame.extend(body);
        frame
    }

    fn faults(hints: [u8; HINTS], frame: &[u8]) -> Vec<String> {
        let mut report = Report::default();
        look(&[&hints, frame].concat(), LIMITS, &mut report);
        assert_eq!(report.packets, 1);
        report.faults.into_keys().collect()
    }

    #[test]
    fn a_right_packet_has_no_fault() {
        assert!(faults([0; HINTS], &datagram(1472)).is_empty());
        assert!(faults([0; HINTS], &datagram(5)).is_empty());
    }

    #[test]
    fn every_octet_that_is_changed_is_noticed() {
        let frame = datagram(9);
        for at in 14..frame.len() {
            let mut frame = frame.clone();
            frame[at] ^= 0x10;
            // Octets of the UDP length are covered by the checksum, too.
            assert_ne!(faults([0; HINTS], &frame), Vec::<String>::new(), "octet {at}");
        }
    }

    #[test]
    fn a_packet_over_the_mtu_is_noticed() {
        assert_eq!(faults([0; HINTS], &datagram(1473)), ["a UDP packet of 1501 octets where 1500 fit"]);
    }

    #[test]
    fn a_checksum_left_to_the_device_is_judged_by_its_pseudo_header_sum() {
        let mut frame = datagram(100);
        let mut hints = [0; HINTS];
        hints[0] = 1;
        hints[6..8].copy_from_slice(&34_u16.to_ne_bytes());
        hints[8..10].copy_from_slice(&6_u16.to_ne_bytes());
        assert_eq!(faults(hints, &frame), ["a UDP checksum to be completed from a wrong pseudo-header sum"]);
        let mut pseudo = frame[26..34].to_vec();
        pseudo.extend([0, 17, 0, 108]);
        let partial = sum(&pseudo).to_be_bytes();
        frame[40..42].copy_from_slice(&partial);
        assert!(faults(hints, &frame).is_empty());
        hints[8] = 16;
        assert_eq!(faults(hints, &frame), ["a UDP checksum to be completed at 34+16, not at 34+6"]);
    }
}
