//! Capture files, read one record at a time: pcap, pcapng, and either of them in gzip.
//!
//! 1. The first octets say what the file is: gzip is unpacked on the way, pcap has a link type and a resolution of time for
//!    the whole file, pcapng has them for each interface. Both come in either order of octets.
//! 2. [`Reader::next_record`] gives record after record, each with its interface, time, direction and comments where the
//!    file has them. Blocks of pcapng that hold no frame are passed over without being kept.
//! 3. Where the file ends too early or cannot be followed any further, reading ends, and [`Reader::account`] says at which
//!    octet, as it says how many frames the capturing program cut, lost or stored out of order.
//!
//! The file may be anybody's, so memory is bounded whatever it says: a record, an interface's name, a comment and the number
//! of interfaces have limits. The crate that writes our captures is not used here: it takes every time stamp for
//! nanoseconds, gives a file up for one bad option, and does not say where.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use flate2::read::MultiGzDecoder;

use super::Direction;

/// Most octets of a block that is looked into: libpcap's own limit for a frame, and room for options.
const BLOCK_MAX: usize = (256 << 10) + (64 << 10);
/// Most octets of a frame of a pcap file (libpcap's MAXIMUM_SNAPLEN).
const FRAME_MAX: usize = 256 << 10;
/// Most interfaces of a section.
const INTERFACES_MAX: usize = 1024;
/// Most octets of a name or a comment that are kept.
const TEXT_MAX: usize = 1024;

/// What the frames of an interface begin with (the LINKTYPE_ numbers of tcpdump.org).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LinkType(pub u16);

impl LinkType {
    /// An Ethernet header.
    pub const ETHERNET: LinkType = LinkType(1);
    /// An IPv4 or IPv6 header.
    pub const RAW: LinkType = LinkType(101);
}

impl fmt::Display for LinkType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 | 108 => f.write_str("loopback"),
            1 => f.write_str("Ethernet"),
            9 | 50 | 166 => f.write_str("PPP"),
            51 => f.write_str("PPPoE session"),
            101 | 12 | 228 | 229 => f.write_str("raw IP"),
            105 | 119 | 127 | 163 => f.write_str("Wi-Fi radio"),
            113 | 276 => f.write_str("Linux \"cooked\""),
            189 | 220 => f.write_str("USB"),
            number => write!(f, "link type {number}"),
        }
    }
}

/// An interface of a capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its name; empty when the file does not tell.
    pub name: String,
    /// What its frames begin with.
    pub link: LinkType,
}

/// A frame of a capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its number in the file, from 1 on, as Wireshark shows it.
    pub number: u64,
    /// Where it was captured.
    pub source: Arc<Source>,
    /// Which way it went, where the file tells.
    pub direction: Option<Direction>,
    /// Time since the Unix epoch.
    pub at: Duration,
    /// Its octets.
    pub bytes: Vec<u8>,
    /// How many octets it had on the wire.
    pub length: usize,
    /// What is said of it; several comments are joined by "; ".
    pub comment: Option<String>,
}

impl Record {
    /// The capturing program kept only its beginning.
    pub fn is_cut(&self) -> bool {
        self.bytes.len() < self.length
    }
}

/// What a capture is missing, as far as it has been read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// Frames read.
    pub frames: u64,
    /// Why reading ended before the file did, or where the file ended too early: a sentence.
    pub ended: Option<String>,
    /// Frames of which only the beginning was kept.
    pub cut: u64,
    /// Frames whose time is before that of the frame before them.
    pub disordered: u64,
    /// Frames that the capturing program says that it has lost.
    pub lost: u64,
    /// Frames of an interface that the file does not describe.
    pub homeless: u64,
}

impl Account {
    /// What is missing, a sentence each; none when all is there.
    pub fn sentences(&self) -> Vec<String> {
        let mut sentences = Vec::new();
        sentences.extend(self.ended.clone());
        let mut say = |count: u64, one: &str, many: &str| match count {
            0 => {}
            1 => sentences.push(format!("1 frame {one}.")),
            _ => sentences.push(format!("{count} frames {many}.")),
        };
        say(
            self.cut,
            "was stored only in part (snaplen): capture whole frames, with tcpdump -s 0",
            "were stored only in part (snaplen): capture whole frames, with tcpdump -s 0",
        );
        say(
            self.disordered,
            "stands behind a later one; it is taken to have come with that",
            "stand behind later ones; they are taken to have come with those",
        );
        say(
            self.lost,
            "is missing: the capturing program was too slow for it",
            "are missing: the capturing program was too slow for them",
        );
        say(
            self.homeless,
            "belongs to an interface that the file does not describe, and is left out",
            "belong to interfaces that the file does not describe, and are left out",
        );
        sentences
    }
}

/// An interface of pcapng, and how its times are to be read.
#[derive(Debug, Clone)]
struct Interface {
    source: Arc<Source>,
    /// Units of a time stamp in a second: 10^n, or 2^n.
    units: u64,
    /// Seconds to add to each time.
    offset: i64,
    snaplen: u32,
    lost: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Big,
    Little,
}

impl Order {
    fn u16(self, bytes: &[u8], at: usize) -> Option<u16> {
        let bytes = *bytes.get(at..)?.first_chunk()?;
        Some(if self == Order::Big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    fn u32(self, bytes: &[u8], at: usize) -> Option<u32> {
        let bytes = *bytes.get(at..)?.first_chunk()?;
        Some(if self == Order::Big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    fn u64(self, bytes: &[u8], at: usize) -> Option<u64> {
        let bytes = *bytes.get(at..)?.first_chunk()?;
        Some(if self == Order::Big { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) })
    }
}

#[derive(Debug)]
enum Format {
    Pcap { order: Order, nanoseconds: bool, source: Arc<Source> },
    Pcapng { order: Order, interfaces: Vec<Interface> },
}

/// Reads a capture.
pub struct Reader {
    input: Box<dyn Read + Send>,
    format: Format,
    /// Octets taken from the file, after unpacking.
    offset: u64,
    buffer: Vec<u8>,
    last: Duration,
    account: Account,
    ended: bool,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("format", &self.format)
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}

/// How the file could not be followed.
enum Halt {
    /// It ends in the middle of something.
    Short,
    /// It cannot be read.
    Unreadable(io::Error),
    /// It says what cannot be.
    Wrong(&'static str),
}

impl Reader {
    /// Opens a file. The error says why it cannot be read, or that it is no capture; it does not have the file's name.
    pub fn open(path: &Path) -> io::Result<Reader> {
        Reader::new(Box::new(File::open(path)?))
    }

    /// Reads the head of a capture.
    pub fn new(input: Box<dyn Read + Send>) -> io::Result<Reader> {
        let mut input: Box<dyn Read + Send> = Box::new(BufReader::with_capacity(64 << 10, input));
        let mut head = begin(&mut input, 4)?;
        if head.starts_with(&[0x1f, 0x8b]) {
            let whole = io::Cursor::new(head).chain(input);
            input = Box::new(BufReader::with_capacity(64 << 10, MultiGzDecoder::new(whole)));
            head = begin(&mut input, 4)?;
        }
        let magic: [u8; 4] = head.as_slice().try_into().map_err(|_| no_capture())?;
        let mut reader = Reader {
            input,
            format: Format::Pcapng { order: Order::Big, interfaces: Vec::new() },
            offset: 4,
            buffer: Vec::new(),
            last: Duration::ZERO,
            account: Account::default(),
            ended: false,
        };
        let (order, nanoseconds) = match magic {
            [0xa1, 0xb2, 0xc3, 0xd4] => (Order::Big, false),
            [0xa1, 0xb2, 0x3c, 0x4d] => (Order::Big, true),
            [0xd4, 0xc3, 0xb2, 0xa1] => (Order::Little, false),
            [0x4d, 0x3c, 0xb2, 0xa1] => (Order::Little, true),
            [0x0a, 0x0d, 0x0d, 0x0a] => {
                return match reader.block_length().and_then(|length| reader.section(length)) {
                    Ok(()) => Ok(reader),
                    Err(Halt::Unreadable(error)) => Err(error),
                    Err(Halt::Short | Halt::Wrong(_)) => Err(no_capture()),
                };
            }
            [0x34, 0xcd, 0xb2, 0xa1] | [0xa1, 0xb2, 0xcd, 0x34] => {
                let text = "it is in a variant of pcap that a patched libpcap of old wrote; \
                            convert it with `editcap -F pcapng`";
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
            _ => return Err(no_capture()),
        };
        match reader.fill(20) {
            Ok(()) => {}
            Err(Halt::Unreadable(error)) => return Err(error),
            Err(Halt::Short | Halt::Wrong(_)) => return Err(no_capture()),
        }
        // The upper half of the field tells of a frame check sequence.
        let link = order.u32(&reader.buffer, 16).unwrap_or_default() & 0xffff;
        let link = LinkType(u16::try_from(link).unwrap_or_default());
        let source = Arc::new(Source { name: String::new(), link });
        reader.format = Format::Pcap { order, nanoseconds, source };
        Ok(reader)
    }

    /// The next frame; `None` at the end, or where the file cannot be followed any further.
    pub fn next_record(&mut self) -> Option<Record> {
        if self.ended {
            return None;
        }
        let start = self.offset;
        let record = match &self.format {
            Format::Pcap { .. } => self.pcap_record(),
            Format::Pcapng { .. } => self.pcapng_record(),
        };
        let why = match record {
            Ok(Some(record)) => return Some(self.count(record)),
            Ok(None) => None,
            Err(Halt::Short) => Some(format!(
                "The file is cut at octet {}, in the middle of what begins at octet {start}: what follows is missing.",
                self.offset
            )),
            Err(Halt::Unreadable(error)) => {
                Some(format!("The file cannot be read beyond octet {}: {error}.", self.offset))
            }
            Err(Halt::Wrong(what)) => {
                Some(format!("The file is damaged at octet {start}: {what}. What follows cannot be read.",))
            }
        };
        self.account.ended = why;
        self.ended = true;
        None
    }

    /// What is missing of what has been read so far.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Counts a record, and puts its time in order.
    fn count(&mut self, mut record: Record) -> Record {
        self.account.frames += 1;
        record.number = self.account.frames;
        self.account.cut += u64::from(record.is_cut());
        self.account.disordered += u64::from(record.at < self.last);
        record.at = record.at.max(self.last);
        self.last = record.at;
        record
    }

    fn pcap_record(&mut self) -> Result<Option<Record>, Halt> {
        let Format::Pcap { order, nanoseconds, source } = &self.format else { return Ok(None) };
        let (order, nanoseconds, source) = (*order, *nanoseconds, Arc::clone(source));
        if self.is_at_end()? {
            return Ok(None);
        }
        self.fill_more(16)?;
        let field = |at| order.u32(&self.buffer, at).unwrap_or_default();
        let (seconds, fraction, stored, length) = (field(0), field(4), field(8), field(12));
        let stored = usize::try_from(stored).unwrap_or(usize::MAX);
        if stored > FRAME_MAX {
            return Err(Halt::Wrong("a frame is said to be longer than any that is captured"));
        }
        self.fill(stored)?;
        let nanos = u64::from(fraction) * if nanoseconds { 1 } else { 1000 };
        let at = Duration::from_secs(u64::from(seconds)).saturating_add(Duration::from_nanos(nanos));
        let length = usize::try_from(length).unwrap_or(usize::MAX).max(stored);
        let bytes = std::mem::take(&mut self.buffer);
        Ok(Some(Record { number: 0, source, direction: None, at, bytes, length, comment: None }))
    }

    fn pcapng_record(&mut self) -> Result<Option<Record>, Halt> {
        loop {
            if self.is_at_end()? {
                return Ok(None);
            }
            self.fill_more(4)?;
            let (order, known) = match &self.format {
                Format::Pcapng { order, interfaces } => (*order, interfaces.len()),
                Format::Pcap { .. } => return Ok(None),
            };
            let kind = order.u32(&self.buffer, 0).unwrap_or_default();
            let length = self.block_length()?;
            match kind {
                0x0a0d_0d0a => self.section(length)?,
                1 if known < INTERFACES_MAX => {
                    let interface = self.body(length, order).map(|()| interface(order, &self.buffer))?;
                    let interface =
                        interface.ok_or(Halt::Wrong("an interface's description is too short"))?;
                    if let Format::Pcapng { interfaces, .. } = &mut self.format {
                        interfaces.push(interface);
                    }
                }
                1 => return Err(Halt::Wrong("it describes more interfaces than any machine has")),
                2 | 3 | 6 => {
                    self.body(length, order)?;
                    if let Some(record) = self.packet(kind, order)? {
                        return Ok(Some(record));
                    }
                }
                5 => {
                    self.body(length, order)?;
                    self.statistics(order);
                }
                _ => self.pass(length, order)?,
            }
        }
    }

    /// A section's header, after its type and length: the order of octets from there on, and no interface yet.
    fn section(&mut self, length: [u8; 4]) -> Result<(), Halt> {
        self.fill(4)?;
        let order = match self.buffer.as_slice() {
            [0x1a, 0x2b, 0x3c, 0x4d] => Order::Big,
            [0x4d, 0x3c, 0x2b, 0x1a] => Order::Little,
            _ => return Err(Halt::Wrong("a section has no byte-order magic")),
        };
        let total = usize::try_from(order.u32(&length, 0).unwrap_or_default()).unwrap_or(usize::MAX);
        let rest = total.checked_sub(12).filter(|rest| rest % 4 == 0 && *rest >= 16);
        let rest = rest.ok_or(Halt::Wrong("a section's header has a length that cannot be"))?;
        self.skip(rest)?;
        self.format = Format::Pcapng { order, interfaces: Vec::new() };
        Ok(())
    }

    /// The length field of a block, in the section's order of octets.
    fn block_length(&mut self) -> Result<[u8; 4], Halt> {
        self.fill(4)?;
        Ok(self.buffer.first_chunk().copied().unwrap_or_default())
    }

    /// Octets of a block's body, between the two lengths.
    fn body_length(length: [u8; 4], order: Order) -> Result<usize, Halt> {
        let total = usize::try_from(order.u32(&length, 0).unwrap_or_default()).unwrap_or(usize::MAX);
        // Some programs do not round the length up; the octets are there nonetheless.
        let body = total.checked_sub(12).map(|body| body.div_ceil(4) * 4);
        body.ok_or(Halt::Wrong("a block has a length that cannot be"))
    }

    /// Reads a block's body into the buffer, and its second length.
    fn body(&mut self, length: [u8; 4], order: Order) -> Result<(), Halt> {
        let body = Reader::body_length(length, order)?;
        if body > BLOCK_MAX {
            return Err(Halt::Wrong("a block is said to be longer than any frame that is captured"));
        }
        self.fill(body + 4)?;
        let again = self.buffer.split_off(body);
        if again == length { Ok(()) } else { Err(Halt::Wrong("a block's two lengths differ")) }
    }

    /// Passes over a block that tells us nothing.
    fn pass(&mut self, length: [u8; 4], order: Order) -> Result<(), Halt> {
        self.skip(Reader::body_length(length, order)?)?;
        self.fill(4)?;
        if self.buffer == length { Ok(()) } else { Err(Halt::Wrong("a block's two lengths differ")) }
    }

    /// The frame of an Enhanced Packet Block (6), a Simple Packet Block (3) or a Packet Block (2). `None` when its interface
    /// is not described.
    fn packet(&mut self, kind: u32, order: Order) -> Result<Option<Record>, Halt> {
        let Format::Pcapng { interfaces, .. } = &mut self.format else { return Ok(None) };
        let body = self.buffer.as_slice();
        let field = |at| order.u32(body, at).ok_or(Halt::Wrong("a packet's block is too short"));
        let (number, header) = match kind {
            6 => (field(0)?, 20),
            2 => (u32::from(order.u16(body, 0).unwrap_or_default()), 20),
            _ => (0, 4),
        };
        let interface = usize::try_from(number).ok().and_then(|index| interfaces.get_mut(index));
        let Some(interface) = interface else {
            self.account.homeless += 1;
            return Ok(None);
        };
        let (at, stored, length) = if kind == 3 {
            let length = field(0)?;
            let most = if interface.snaplen == 0 { u32::MAX } else { interface.snaplen };
            (self.last, length.min(most), length)
        } else {
            let time = u64::from(field(4)?) << 32 | u64::from(field(8)?);
            (interface.time(time), field(12)?, field(16)?)
        };
        let stored = usize::try_from(stored).unwrap_or(usize::MAX);
        let bytes = body.get(header..).and_then(|rest| rest.get(..stored));
        let bytes = bytes.ok_or(Halt::Wrong("a frame is longer than its block"))?.to_vec();
        let length = usize::try_from(length).unwrap_or(usize::MAX).max(stored);
        let mut record = Record {
            number: 0,
            source: Arc::clone(&interface.source),
            direction: None,
            at,
            bytes,
            length,
            comment: None,
        };
        if kind == 2 {
            let lost = order.u16(body, 2).filter(|lost| *lost != u16::MAX);
            self.account.lost += u64::from(lost.unwrap_or_default());
        }
        if kind != 3 {
            let options = body.get(header + stored.next_multiple_of(4)..).unwrap_or_default();
            for (code, value) in options_of(order, options) {
                match code {
                    1 => {
                        let comment = record.comment.take().map_or_else(String::new, |before| before + "; ");
                        record.comment = Some(bounded(&(comment + &text(value))));
                    }
                    2 => {
                        record.direction = match order.u32(value, 0).unwrap_or_default() & 3 {
                            1 => Some(Direction::Received),
                            2 => Some(Direction::Sent),
                            _ => None,
                        };
                    }
                    4 if kind == 6 => {
                        let lost = order.u64(value, 0).unwrap_or_default();
                        self.account.lost = self.account.lost.saturating_add(lost);
                        interface.lost = interface.lost.saturating_add(lost);
                    }
                    _ => {}
                }
            }
        }
        Ok(Some(record))
    }

    /// An Interface Statistics Block: frames that were lost, beyond those that packets told of.
    fn statistics(&mut self, order: Order) {
        let Format::Pcapng { interfaces, .. } = &mut self.format else { return };
        let number = order.u32(&self.buffer, 0).and_then(|number| usize::try_from(number).ok());
        let Some(interface) = number.and_then(|number| interfaces.get_mut(number)) else { return };
        for (code, value) in options_of(order, self.buffer.get(12..).unwrap_or_default()) {
            // isb_ifdrop and isb_osdrop: by the device, and by the system for want of room. They count from the beginning.
            if matches!(code, 5 | 7) {
                let total = order.u64(value, 0).unwrap_or_default();
                let more = total.saturating_sub(interface.lost);
                interface.lost = interface.lost.saturating_add(more);
                self.account.lost = self.account.lost.saturating_add(more);
            }
        }
    }

    /// True when there is not one octet more. Otherwise the next is in the buffer, for [`Reader::fill_more`].
    fn is_at_end(&mut self) -> Result<bool, Halt> {
        self.buffer.clear();
        self.take(1)?;
        Ok(self.buffer.is_empty())
    }

    /// Reads so many octets, in place of what is in the buffer.
    fn fill(&mut self, count: usize) -> Result<(), Halt> {
        self.buffer.clear();
        self.fill_more(count)
    }

    /// Reads until so many octets are in the buffer.
    fn fill_more(&mut self, count: usize) -> Result<(), Halt> {
        self.take(count.saturating_sub(self.buffer.len()))?;
        if self.buffer.len() < count { Err(Halt::Short) } else { Ok(()) }
    }

    /// Reads up to so many octets. The buffer grows with what is there, whatever was promised.
    fn take(&mut self, count: usize) -> Result<(), Halt> {
        let most = u64::try_from(count).unwrap_or(u64::MAX);
        let before = self.buffer.len();
        let got = self.input.by_ref().take(most).read_to_end(&mut self.buffer);
        self.offset += u64::try_from(self.buffer.len() - before).unwrap_or_default();
        got.map(drop).map_err(unpacked)
    }

    fn skip(&mut self, count: usize) -> Result<(), Halt> {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        let skipped = io::copy(&mut self.input.by_ref().take(count), &mut io::sink()).map_err(unpacked)?;
        self.offset += skipped;
        if skipped < count { Err(Halt::Short) } else { Ok(()) }
    }
}

impl Interface {
    fn time(&self, time: u64) -> Duration {
        let (seconds, rest) = (time / self.units, time % self.units);
        let nanos = u128::from(rest) * 1_000_000_000 / u128::from(self.units);
        let seconds = seconds.saturating_add_signed(self.offset);
        Duration::from_secs(seconds)
            .saturating_add(Duration::from_nanos(u64::try_from(nanos).unwrap_or_default()))
    }
}

/// An Interface Description Block's body.
fn interface(order: Order, body: &[u8]) -> Option<Interface> {
    let (link, snaplen) = (order.u16(body, 0)?, order.u32(body, 4)?);
    let (mut name, mut units, mut offset) = (String::new(), 1_000_000, 0);
    for (code, value) in options_of(order, body.get(8..)?) {
        match (code, value) {
            (2, name_of) => name = text(name_of),
            (9, [resolution, ..]) => units = units_of(*resolution),
            (14, value) => offset = order.u64(value, 0).map_or(0, u64::cast_signed),
            _ => {}
        }
    }
    let source = Arc::new(Source { name, link: LinkType(link) });
    Some(Interface { source, units, offset, snaplen, lost: 0 })
}

/// Units in a second by `if_tsresol`: a power of two when its highest bit is set, of ten otherwise. What does not fit is as
/// good as the most that fits.
fn units_of(resolution: u8) -> u64 {
    let power = u32::from(resolution & 0x7f);
    let units = if resolution & 0x80 == 0 { 10u64.checked_pow(power) } else { 1u64.checked_shl(power) };
    units.unwrap_or(u64::MAX)
}

/// The options of a block, as far as they are whole.
fn options_of(order: Order, mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (code, length) = (order.u16(rest, 0)?, usize::from(order.u16(rest, 2)?));
        if code == 0 {
            return None;
        }
        let value = rest.get(4..)?.get(..length)?;
        rest = rest.get(4 + length.next_multiple_of(4)..).unwrap_or_default();
        Some((code, value))
    })
}

/// What somebody's octets say, in one line.
fn text(octets: &[u8]) -> String {
    let octets = octets.get(..TEXT_MAX).unwrap_or(octets);
    let line = String::from_utf8_lossy(octets);
    line.trim_end_matches('\0').chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn bounded(text: &str) -> String {
    text.chars().take(TEXT_MAX).collect()
}

/// The first octets of a file, as many as there are.
fn begin(input: &mut impl Read, count: u64) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    input.take(count).read_to_end(&mut head)?;
    Ok(head)
}

/// What an error of reading means: gzip says of a file that is cut that it is so.
fn unpacked(error: io::Error) -> Halt {
    if error.kind() == io::ErrorKind::UnexpectedEof { Halt::Short } else { Halt::Unreadable(error) }
}

fn no_capture() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it is neither pcap nor pcapng")
}

#[cfg(test)]
mod tests;
