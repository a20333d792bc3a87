//! The ring: the last seconds of what passed the ports, kept in memory for when something goes wrong.
//!
//! The data thread hands it every frame as it comes and as it leaves. Two rings share the octets that the configuration
//! gives: control traffic (discovery, PPP's protocols, ARP, Neighbor Discovery, DHCP) in full, and dropped frames, have one half; of
//! data the other half keeps the first [`HEAD`] octets of each frame, of [`BURST`] frames in [`SLICE`] at most, so that
//! a flood costs next to nothing and does not push out the seconds before it. Secrets are overwritten before a frame is kept.
//!
//! [`Ring::snapshot`] puts both in order, for [`super::Keeper`] to write.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::time::Duration;

use genkan_netstack::frame::Frame;
use genkan_netstack::ledger::DropReason;
use genkan_netstack::sight::{Fact, Sighting};
use genkan_netstack::wire::octets::u16_at;
use genkan_netstack::wire::redact::redact;

use super::{Direction, Interface, Packet, Points, Writer, direction, on_the_wire};

/// Octets that are kept of a frame of data.
pub const HEAD: usize = 128;
/// Octets that are kept of any frame.
const WHOLE: usize = 2048;
/// Frames of data that are kept in a slice of time.
pub const BURST: u32 = 500;
/// A slice.
pub const SLICE: Duration = Duration::from_millis(100);
/// Octets that a frame costs beside its own.
const RECORD: usize = size_of::<Record>();

/// A frame that is kept. Its octets follow those of the one before.
#[derive(Debug, Clone, Copy)]
struct Record {
    at: Duration,
    interface: u16,
    sent: bool,
    /// Why it was dropped, if it was.
    dropped: Option<DropReason>,
    redacted: bool,
    kept: u16,
    length: u32,
}

/// Frames in the order in which they came, bounded by octets.
#[derive(Debug, Default, Clone)]
struct Part {
    records: VecDeque<Record>,
    octets: VecDeque<u8>,
    limit: usize,
}

impl Part {
    fn push(&mut self, record: Record, octets: &[u8]) {
        if RECORD + octets.len() > self.limit {
            return;
        }
        while self.records.len() * RECORD + self.octets.len() + RECORD + octets.len() > self.limit {
            let Some(oldest) = self.records.pop_front() else { break };
            self.octets.drain(..usize::from(oldest.kept));
        }
        self.records.push_back(record);
        self.octets.extend(octets);
    }

    fn packets(&self) -> Vec<Packet> {
        let (front, back) = self.octets.as_slices();
        let octets = [front, back].concat();
        let mut rest = octets.as_slice();
        let packet = |record: &Record| {
            let (bytes, after) = rest.split_at(rest.len().min(record.kept.into()));
            rest = after;
            let bytes = bytes.to_vec();
            let redacted = record.redacted.then(|| "secret overwritten".to_owned());
            let dropped = record.dropped.map(|reason| Fact::Dropped(reason).to_string());
            Packet {
                interface: record.interface,
                direction: if record.sent { Direction::Sent } else { Direction::Received },
                at: record.at,
                bytes,
                length: record.length as usize,
                lost_before: 0,
                comments: redacted.into_iter().chain(dropped).collect(),
            }
        };
        self.records.iter().map(packet).collect()
    }
}

/// What passed the ports in the last seconds.
#[derive(Debug)]
pub struct Ring {
    points: Points,
    control: Part,
    data: Part,
    slice: Duration,
    left: u32,
    /// Frames of data that were passed over since the last that was kept.
    skipped: u64,
    scratch: Vec<u8>,
}

impl Ring {
    /// A ring of at most `octets`; `None` when that is 0.
    pub fn new(points: Points, octets: u64) -> Option<Ring> {
        let limit = usize::try_from(octets / 2).unwrap_or(usize::MAX);
        let part = || Part { limit, ..Part::default() };
        let ring = || Ring {
            points,
            control: part(),
            data: part(),
            slice: Duration::ZERO,
            left: BURST,
            skipped: 0,
            scratch: Vec::new(),
        };
        (octets > 0).then(ring)
    }

    /// Keeps what is to be kept of frames that passed `port` at the time `at` since the Unix epoch.
    pub fn take<'a>(
        &mut self,
        port: u16,
        direction: Direction,
        at: Duration,
        frames: impl Iterator<Item = &'a Frame>,
    ) {
        for frame in frames {
            let is_control = is_control(frame.bytes());
            if is_control || self.may_keep(at) {
                self.keep(port, direction, at, frame, is_control);
            }
        }
    }

    /// Whether one more frame of data may be kept now.
    fn may_keep(&mut self, at: Duration) -> bool {
        if at.abs_diff(self.slice) >= SLICE {
            (self.slice, self.left) = (at, BURST);
        }
        let may = self.left > 0;
        match may {
            true => self.left -= 1,
            false => self.skipped += 1,
        }
        may
    }

    fn keep(&mut self, port: u16, direction: Direction, at: Duration, frame: &Frame, is_control: bool) {
        let bytes = frame.bytes();
        let most = if is_control { WHOLE } else { HEAD };
        self.scratch.clear();
        match is_control && bytes.len() <= WHOLE {
            true => self.scratch.extend(on_the_wire(frame)),
            false => self.scratch.extend(bytes.get(..most).unwrap_or(bytes)),
        }
        let redacted = redact(&mut self.scratch);
        let record = Record {
            at,
            interface: port,
            sent: direction == Direction::Sent,
            dropped: None,
            redacted,
            // At most WHOLE.
            kept: self.scratch.len() as u16,
            length: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
        };
        if is_control { &mut self.control } else { &mut self.data }.push(record, &self.scratch);
    }

    /// Keeps the head of a frame that was dropped, with the reason.
    pub fn take_drop(&mut self, at: Duration, sighting: &Sighting) {
        let Some(Fact::Dropped(reason)) = sighting.facts.last() else { return };
        let Ok(interface) = u16::try_from(self.points.number(sighting.point)) else { return };
        if !self.may_keep(at) {
            return;
        }
        let bytes = sighting.frame.bytes();
        let most = if is_control(bytes) { WHOLE } else { HEAD };
        self.scratch.clear();
        self.scratch.extend(bytes.get(..most).unwrap_or(bytes));
        let redacted = redact(&mut self.scratch);
        let record = Record {
            at,
            interface,
            sent: direction(sighting) == Direction::Sent,
            dropped: Some(*reason),
            redacted,
            kept: self.scratch.len() as u16,
            length: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
        };
        self.data.push(record, &self.scratch);
    }

    /// A copy of what it holds.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            interfaces: self.points.interfaces().to_vec(),
            parts: [self.control.clone(), self.data.clone()],
            skipped: self.skipped,
        }
    }
}

/// What a ring held at a moment.
#[derive(Debug)]
pub struct Snapshot {
    interfaces: Vec<Interface>,
    parts: [Part; 2],
    skipped: u64,
}

impl Snapshot {
    /// Writes it as pcapng, in the order of time. `why` is said of the whole.
    pub fn write(&self, to: impl Write, why: &str) -> io::Result<()> {
        let mut packets: Vec<Packet> = self.parts.iter().flat_map(Part::packets).collect();
        packets.sort_by_key(|packet| packet.at);
        let kept = format!(
            "the gateway's ring: control traffic in full, the first {HEAD} octets of data; {} frames of data were passed over since \
             the start; secrets overwritten",
            self.skipped
        );
        let mut writer = Writer::new(to, &self.interfaces, &[why.to_owned(), kept])?;
        packets.iter().try_for_each(|packet| writer.write(packet))?;
        writer.get_mut().flush()
    }
}

/// True for what keeps lines and LANs going, rather than passes over them.
fn is_control(frame: &[u8]) -> bool {
    let Some(mut ethertype) = u16_at(frame, 12) else { return false };
    let mut at = 14;
    if matches!(ethertype, 0x8100 | 0x88a8) {
        (ethertype, at) = (u16_at(frame, 16).unwrap_or(0), 18);
    }
    match ethertype {
        0x8863 | 0x0806 => true,
        0x8864 => match u16_at(frame, at + 6) {
            Some(0x0021) => is_control4(frame, at + 8),
            Some(0x0057) => is_control6(frame, at + 8),
            _ => true,
        },
        0x0800 => is_control4(frame, at),
        0x86dd => is_control6(frame, at),
        _ => false,
    }
}

/// DHCP.
fn is_control4(frame: &[u8], at: usize) -> bool {
    frame.get(at + 9) == Some(&17) && matches!(u16_at(frame, at + 22), Some(67 | 68))
}

/// Neighbor and Multicast Listener Discovery, and DHCPv6. MLD has an option of the hop-by-hop header before it.
fn is_control6(frame: &[u8], at: usize) -> bool {
    match frame.get(at + 6) {
        Some(58) => matches!(frame.get(at + 40), Some(130..=137 | 143)),
        Some(17) => matches!(u16_at(frame, at + 42), Some(546 | 547)),
        Some(0) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
