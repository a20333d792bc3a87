//! Capture files as the client writes them: the gateway's pcapng, block by block, into one file or a ring of them.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The Enhanced Packet Block: a frame.
const FRAME: u32 = 6;
/// Octets around a block's body: its type and its length, before and after.
const AROUND: usize = 12;
/// Largest block that a gateway writes: a frame of 64 KiB, and what is said of it.
const LARGEST: usize = 1 << 20;

/// A block of pcapng.
#[derive(Debug)]
pub struct Block(Vec<u8>);

impl Block {
    /// True for a frame; otherwise the block belongs to the head of the file.
    pub fn is_frame(&self) -> bool {
        self.0.first_chunk().copied().map(u32::from_ne_bytes) == Some(FRAME)
    }
}

/// What a gateway sends until some time: there it ends.
#[derive(Debug)]
pub struct Timed {
    stream: BufReader<UnixStream>,
    end: Option<Instant>,
}

impl Timed {
    /// What comes until `end`, or until the gateway stops.
    pub fn new(stream: BufReader<UnixStream>, end: Option<Instant>) -> Self {
        Timed { stream, end }
    }
}

impl Read for Timed {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        if let Some(end) = self.end
            && self.stream.buffer().is_empty()
        {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(0);
            }
            // The system takes no time of less than a microsecond.
            self.stream.get_ref().set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        }
        match self.stream.read(room) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            read => read,
        }
    }
}

/// The blocks of a gateway's capture, which has the order of octets of this machine.
#[derive(Debug)]
pub struct Blocks(Timed);

impl Blocks {
    /// Those of a stream.
    pub fn new(stream: Timed) -> Self {
        Blocks(stream)
    }

    /// True when the next one has not come yet.
    pub fn is_drained(&self) -> bool {
        self.0.stream.buffer().is_empty()
    }

    /// The next block; `None` when the gateway has stopped, or the time is over.
    pub fn next_block(&mut self) -> io::Result<Option<Block>> {
        let mut block = vec![0; 8];
        if !self.fill(&mut block)? {
            return Ok(None);
        }
        let length = block.last_chunk().copied().map_or(0, u32::from_ne_bytes) as usize;
        if !(AROUND..=LARGEST).contains(&length) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the gateway does not send a capture"));
        }
        block.resize(length, 0);
        let (_, body) = block.split_at_mut(8);
        match self.fill(body)? {
            true => Ok(Some(Block(block))),
            false => Ok(None),
        }
    }

    /// Reads so many octets. False when they do not come.
    fn fill(&mut self, mut room: &mut [u8]) -> io::Result<bool> {
        while !room.is_empty() {
            match self.0.read(room) {
                Ok(0) => return Ok(false),
                Ok(count) => room = &mut std::mem::take(&mut room)[count..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

/// Where blocks go.
pub struct Output {
    file: Box<dyn Write>,
    ring: Option<Ring>,
}

/// Files that take turns.
struct Ring {
    path: PathBuf,
    files: u32,
    size: u64,
    /// Number of the file that is written, from 1.
    number: u32,
    written: u64,
    /// What every file begins with.
    head: Vec<u8>,
}

impl Output {
    /// Into a stream.
    pub fn stream(stream: impl Write + 'static) -> Output {
        Output { file: Box::new(BufWriter::new(stream)), ring: None }
    }

    /// Into one file, created or overwritten.
    pub fn file(path: &Path) -> io::Result<Output> {
        Ok(Output::stream(File::create(path)?))
    }

    /// Into `files` files in turn, each of at most `size` octets unless a single frame is larger.
    pub fn ring(path: &Path, files: u32, size: u64) -> io::Result<Output> {
        let ring = Ring { path: path.to_owned(), files, size, number: 1, written: 0, head: Vec::new() };
        Ok(Output { file: Box::new(ring.open()?), ring: Some(ring) })
    }

    /// Writes a block.
    pub fn write(&mut self, block: &Block) -> io::Result<()> {
        if let Some(ring) = &mut self.ring {
            if !block.is_frame() {
                ring.head.extend(&block.0);
            }
            let head = ring.head.len() as u64;
            let next = ring.written + block.0.len() as u64;
            if block.is_frame() && next > ring.size && ring.written > head {
                self.file.flush()?;
                ring.number = ring.number % ring.files + 1;
                self.file = Box::new(ring.open()?);
                self.file.write_all(&ring.head)?;
                ring.written = head;
            }
            ring.written += block.0.len() as u64;
        }
        self.file.write_all(&block.0)
    }

    /// Has what is written reach the file.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Ring {
    fn open(&self) -> io::Result<BufWriter<File>> {
        let ending = self.path.extension().map_or("pcapng".into(), |ending| ending.to_string_lossy());
        let path = self.path.with_extension(format!("{}.{ending}", self.number));
        File::create(path).map(BufWriter::new)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{Direction, Interface, Packet, Writer};
    use super::*;

    fn capture(frames: usize) -> Vec<u8> {
        let interface = Interface { name: "port.wan0".into(), description: String::new() };
        let mut writer = Writer::new(Vec::new(), &[interface], &[]).unwrap();
        for number in 0..frames {
            let packet = Packet {
                interface: 0,
                direction: Direction::Sent,
                at: Duration::from_secs(1_700_000_000),
                bytes: vec![number as u8; 400],
                length: 400,
                lost_before: 0,
                comments: vec![],
            };
            writer.write(&packet).unwrap();
        }
        std::mem::take(writer.get_mut())
    }

    fn blocks(bytes: &[u8], end: Option<Instant>) -> (Blocks, UnixStream) {
        let (ours, mut gateway) = UnixStream::pair().unwrap();
        gateway.write_all(bytes).unwrap();
        (Blocks::new(Timed::new(BufReader::new(ours), end)), gateway)
    }

    #[test]
    fn each_file_of_a_ring_is_a_capture_and_the_oldest_gives_way() {
        let folder = std::env::temp_dir().join(format!("genkan-ring-files-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (mut blocks, gateway) = blocks(&capture(7), None);
        drop(gateway);
        let mut output = Output::ring(&folder.join("line.pcapng"), 2, 1200).unwrap();
        while let Some(block) = blocks.next_block().unwrap() {
            output.write(&block).unwrap();
        }
        output.flush().unwrap();
        let mut kept = Vec::new();
        for number in [1, 2] {
            let bytes = std::fs::read(folder.join(format!("line.{number}.pcapng"))).unwrap();
            assert!(bytes.len() <= 1200, "{}", bytes.len());
            let mut reader = pcap_file::pcapng::PcapNgReader::new(&bytes[..]).unwrap();
            while let Some(block) = reader.next_block() {
                if let pcap_file::pcapng::Block::EnhancedPacket(packet) = block.unwrap() {
                    kept.push(packet.data[0]);
                }
            }
        }
        kept.sort_unstable();
        assert_eq!(kept, [4, 5, 6], "the last ones: two in a file, and one");
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn the_end_comes_in_time_though_the_line_is_silent() {
        let (mut blocks, _gateway) = blocks(&capture(2), Some(Instant::now() + Duration::from_millis(50)));
        let mut frames = 0;
        while let Some(block) = blocks.next_block().unwrap() {
            frames += usize::from(block.is_frame());
        }
        assert_eq!(frames, 2);
    }

    #[test]
    fn what_is_no_capture_is_not_written() {
        let (mut blocks, _gateway) = blocks(b"not a capture at all", None);
        assert!(blocks.next_block().is_err());
    }
}
