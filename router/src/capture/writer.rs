//! pcapng files (draft-ietf-opsawg-pcapng): an interface for each point, time stamps in nanoseconds, directions.

use std::borrow::Cow;
use std::io::{self, Write};

use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};
use pcap_file::{DataLink, Endianness, PcapError};

use super::{Direction, Packet};

/// Time stamps count 10^-9 s.
const NANOSECONDS: u8 = 9;

/// `epb_flags`: the two lowest bits are the direction.
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;

/// An interface of a capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// The point's name.
    pub name: String,
    /// What it is, for a reader.
    pub description: String,
}

/// Writes captured frames as pcapng.
pub struct Writer<W: Write> {
    inner: PcapNgWriter<W>,
}

impl<W: Write> Writer<W> {
    /// Begins a capture of `interfaces`, in the order of their numbers, of which as a whole the `remarks` are to be said.
    pub fn new(to: W, interfaces: &[Interface], remarks: &[String]) -> io::Result<Self> {
        let program = concat!("genkan ", env!("CARGO_PKG_VERSION"));
        let mut options = vec![SectionHeaderOption::UserApplication(Cow::Borrowed(program))];
        options.extend(remarks.iter().map(|remark| SectionHeaderOption::Comment(Cow::Owned(remark.clone()))));
        let section = SectionHeaderBlock {
            endianness: Endianness::native(),
            major_version: 1,
            minor_version: 0,
            section_length: -1,
            options,
        };
        let mut inner = PcapNgWriter::with_section_header(to, section).map_err(into_io)?;
        for interface in interfaces {
            let block = InterfaceDescriptionBlock {
                linktype: DataLink::ETHERNET,
                snaplen: 0,
                options: vec![
                    InterfaceDescriptionOption::IfName(Cow::Owned(interface.name.clone())),
                    InterfaceDescriptionOption::IfDescription(Cow::Owned(interface.description.clone())),
                    InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
                ],
            };
            inner.write_pcapng_block(block).map_err(into_io)?;
        }
        Ok(Writer { inner })
    }

    /// Writes a frame. Its interface must be one of the capture's.
    pub fn write(&mut self, packet: &Packet) -> io::Result<()> {
        let direction = match packet.direction {
            Direction::Received => INBOUND,
            Direction::Sent => OUTBOUND,
        };
        let mut options = vec![EnhancedPacketOption::Flags(direction)];
        if packet.lost_before > 0 {
            options.push(EnhancedPacketOption::DropCount(packet.lost_before));
        }
        let comments = packet.comments.iter();
        options.extend(comments.map(|comment| EnhancedPacketOption::Comment(Cow::Borrowed(comment))));
        let block = EnhancedPacketBlock {
            interface_id: u32::from(packet.interface),
            timestamp: packet.at,
            original_len: u32::try_from(packet.length).unwrap_or(u32::MAX),
            data: Cow::Borrowed(&packet.bytes),
            options,
        };
        self.inner.write_pcapng_block(block).map_err(into_io).map(drop)
    }

    /// Where it is written to: to flush it, or to take what has been written.
    pub fn get_mut(&mut self) -> &mut W {
        self.inner.get_mut()
    }
}

fn into_io(error: PcapError) -> io::Error {
    match error {
        PcapError::IoError(error) => error,
        other => io::Error::other(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pcap_file::pcapng::{Block, PcapNgReader};

    use super::*;

    fn packet(interface: u16) -> Packet {
        Packet {
            interface,
            direction: Direction::Sent,
            at: Duration::from_nanos(1_700_000_000_123_456_789),
            bytes: vec![7; 61],
            length: 80,
            lost_before: 5,
            comments: vec!["said".into(), "and more".into()],
        }
    }

    #[test]
    fn a_capture_reads_back_with_times_directions_and_losses() {
        let interfaces =
            ["wan0", "lan0"].map(|name| Interface { name: name.into(), description: "a port".into() });
        let mut writer = Writer::new(Vec::new(), &interfaces, &["of the whole".into()]).unwrap();
        writer.write(&packet(1)).unwrap();
        let bytes = std::mem::take(writer.get_mut());
        let mut reader = PcapNgReader::new(&bytes[..]).unwrap();
        let mut names = Vec::new();
        let mut packets = 0;
        while let Some(block) = reader.next_block() {
            match block.unwrap() {
                Block::InterfaceDescription(interface) => {
                    names.push(interface.options.first().cloned().map(|o| format!("{o:?}")))
                }
                Block::EnhancedPacket(read) => {
                    packets += 1;
                    assert_eq!((read.interface_id, read.timestamp), (1, packet(1).at));
                    assert_eq!(*read.data, packet(1).bytes);
                    assert!(read.options.contains(&EnhancedPacketOption::Flags(OUTBOUND)));
                    assert!(read.options.contains(&EnhancedPacketOption::DropCount(5)));
                    assert_eq!(read.original_len, 80);
                    let is_comment = |option: &&_| matches!(option, EnhancedPacketOption::Comment(_));
                    assert_eq!(read.options.iter().filter(is_comment).count(), 2);
                }
                _ => {}
            }
        }
        assert_eq!((names.len(), packets), (2, 1));
    }

    #[test]
    fn a_frame_of_an_interface_that_is_not_there_is_an_error() {
        let mut writer = Writer::new(Vec::new(), &[], &[]).unwrap();
        assert!(writer.write(&packet(0)).is_err());
    }
}
