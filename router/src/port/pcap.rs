//! A port made of capture files: frames come from one and go to another, without a device or a privilege.

use std::fs::File;
use std::io::{self, BufWriter};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::Duration;

use genkan_netstack::frame::{Batch, Frame, Pool};
use genkan_netstack::id::Mac;
use pcap::{Capture, Linktype, Offline, Precision};

use super::slot::MAX_FRAME;
use super::{Spec, Stats, fd_of};
use crate::capture::{self, Direction, Interface, Writer};
use crate::sys::poll::EventFd;

/// The port's address unless the configuration names one.
const DEFAULT_MAC: Mac = Mac([0x02, 0x67, 0x65, 0x6e, 0x6b, 0x61]);

/// What comes after the frame received last.
enum Next {
    /// A frame, and its time since the Unix epoch.
    Frame(Duration, Frame),
    /// A record that is damaged: what follows it cannot be found.
    Damaged(io::Error),
    /// Nothing.
    End,
}

/// Open capture files.
pub struct Pcap {
    input: Capture<Offline>,
    name: String,
    mac: Mac,
    mtu: u16,
    next: Next,
    /// Time of the frame received last; frames sent carry it.
    now: Duration,
    output: Option<Writer<BufWriter<File>>>,
    /// Readable until the capture has ended.
    more: EventFd,
    stats: Stats,
}

impl std::fmt::Debug for Pcap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pcap").field("name", &self.name).field("now", &self.now).finish_non_exhaustive()
    }
}

impl Pcap {
    pub(super) fn open(spec: &Spec, read: &Path, write: Option<&Path>) -> io::Result<Self> {
        let name = read.display().to_string();
        let bad = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
        // libpcap's own words are poor when a file cannot be opened.
        File::open(read)
            .map_err(|error| io::Error::new(error.kind(), format!("cannot read {name}: {error}")))?;
        let input = Capture::from_file_with_precision(read, Precision::Nano)
            .map_err(|error| bad(format!("{name} is not a capture: {}", capture::words(&error))))?;
        if input.get_datalink() != Linktype::ETHERNET {
            let kind = input.get_datalink().get_name().unwrap_or_else(|_| "unknown".to_owned());
            return Err(bad(format!("{name} holds {kind} frames; only Ethernet captures can be replayed")));
        }
        let output = match write {
            Some(path) => {
                let file = File::create(path).map_err(|error| {
                    io::Error::new(error.kind(), format!("cannot write {}: {error}", path.display()))
                })?;
                let interface =
                    Interface { name: spec.name.clone(), description: format!("replay of {name}") };
                Some(Writer::new(BufWriter::new(file), &[interface], &[])?)
            }
            None => None,
        };
        let mut port = Pcap {
            input,
            name,
            mac: spec.mac.unwrap_or(DEFAULT_MAC),
            mtu: spec.wanted_mtu.unwrap_or(1500),
            next: Next::End,
            now: Duration::ZERO,
            output,
            more: EventFd::new()?,
            stats: Stats::default(),
        };
        port.more.set();
        port.next = port.read(&mut Pool::default());
        Ok(port)
    }

    /// When the next frame was captured, since the Unix epoch; `None` at the end of the capture.
    pub fn next_time(&self) -> Option<Duration> {
        match &self.next {
            Next::Frame(time, _) => Some(*time),
            Next::Damaged(_) | Next::End => None,
        }
    }

    fn read(&mut self, pool: &mut Pool) -> Next {
        loop {
            let packet = match self.input.next_packet() {
                Ok(packet) => packet,
                Err(pcap::Error::NoMorePackets) => {
                    self.more.clear();
                    return Next::End;
                }
                Err(error) => {
                    let text = format!("reading {}: {}", self.name, capture::words(&error));
                    return Next::Damaged(io::Error::new(io::ErrorKind::InvalidData, text));
                }
            };
            // With nanosecond precision the field for microseconds holds nanoseconds.
            let seconds = u64::try_from(packet.header.ts.tv_sec).unwrap_or(0);
            let nanoseconds = u32::try_from(packet.header.ts.tv_usec).unwrap_or(0).min(999_999_999);
            if packet.data.len() > MAX_FRAME {
                self.stats.rx_dropped += 1;
                continue;
            }
            let mut frame = pool.take(packet.data.len());
            frame.extend(packet.data);
            return Next::Frame(Duration::new(seconds, nanoseconds), frame);
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn mac(&self) -> Mac {
        self.mac
    }

    pub(super) fn mtu(&self) -> u16 {
        self.mtu
    }

    pub(super) fn offload(&self) -> bool {
        false
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        fd_of(&self.more)
    }

    pub(super) fn receive(&mut self, batch: &mut Batch, pool: &mut Pool, max: usize) -> io::Result<usize> {
        let mut count = 0;
        while count < max {
            match std::mem::replace(&mut self.next, Next::End) {
                Next::Frame(time, frame) => {
                    self.now = time;
                    self.stats.received(&frame);
                    batch.push_back(frame);
                    count += 1;
                    self.next = self.read(pool);
                }
                Next::Damaged(error) if count == 0 => {
                    self.more.clear();
                    return Err(error);
                }
                // What came before the damage is delivered first.
                Next::Damaged(error) => {
                    self.next = Next::Damaged(error);
                    break;
                }
                Next::End => break,
            }
        }
        Ok(count)
    }

    pub(super) fn transmit(&mut self, queue: &mut Batch, pool: &mut Pool) -> io::Result<()> {
        while let Some(frame) = queue.pop_front() {
            if let Some(output) = &mut self.output {
                output.write(&capture::Packet::of(0, Direction::Sent, self.now, &frame, true))?;
            }
            self.stats.sent(&frame);
            pool.give(frame);
        }
        Ok(())
    }

    pub(super) fn stats(&mut self) -> Stats {
        self.stats
    }
}
