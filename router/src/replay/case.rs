//! A capture as a test case: a folder with the capture, the configuration and what has to happen.
//!
//! | file | holds |
//! |---|---|
//! | `capture.pcapng.gz` | the frames, without secrets, at the times and ports where they were |
//! | `gateway.toml` | the configuration; the secrets that it names are not there, and none is needed |
//! | `replay.json` | how to replay: the port and the seed |
//! | `expected.txt` | what has to happen: every outcome without its time, and how the lines are at the end |
//!
//! The configuration's secrets are in files of their own and so stay behind: what a user wrote into it beside them is copied as it
//! is. Passwords are not needed: what a captured server said of one, the capture says.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use genkan_config::Report;
use genkan_netstack::wire::redact::redact;
use pcap_file::DataLink;
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use serde::{Deserialize, Serialize};

use super::{Desk, Options, Replay};
use crate::capture::Direction;
use crate::capture::reader::{LinkType, Reader, Source};

const CAPTURE: &str = "capture.pcapng.gz";
const CONFIGURATION: &str = "gateway.toml";
const OPTIONS: &str = "replay.json";
const EXPECTED: &str = "expected.txt";

/// Time stamps count 10^-9 s.
const NANOSECONDS: u8 = 9;

/// `replay.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    at: Option<String>,
    seed: u64,
}

/// Writes a case into a folder, which must not be there.
///
/// # Errors
/// Something cannot be read or written, or does not replay without its secrets.
pub fn save(folder: &Path, configuration: &Path, capture: &Path, options: &Options) -> io::Result<()> {
    fs::create_dir(folder)?;
    fs::write(folder.join(CONFIGURATION), fs::read(configuration)?)?;
    let stored = Stored { at: options.at.clone(), seed: options.seed };
    fs::write(folder.join(OPTIONS), serde_json::to_string_pretty(&stored)? + "\n")?;
    copy(capture, &folder.join(CAPTURE))?;
    fs::write(folder.join(EXPECTED), run(folder)?)
}

/// What happens in a case.
///
/// # Errors
/// The case is not whole: a sentence.
pub fn run(folder: &Path) -> io::Result<String> {
    let file = folder.join(CONFIGURATION);
    let wrong = |report: Report| io::Error::other(report.to_string());
    let config = Desk::without_secrets(&file).load().map_err(wrong)?.config;
    let stored: Stored = serde_json::from_slice(&fs::read(folder.join(OPTIONS))?)?;
    let options = Options { at: stored.at, seed: stored.seed, only: Vec::new() };
    let mut replay = Replay::open(&config, &folder.join(CAPTURE), &options).map_err(io::Error::other)?;
    let mut text = String::new();
    while let Some(outcome) = replay.next() {
        text += &replay.words(&outcome.what);
        text.push('\n');
    }
    for line in replay.state() {
        text += &line;
        text.push('\n');
    }
    Ok(text)
}

/// What has to happen in a case.
///
/// # Errors
/// It cannot be read.
pub fn expected(folder: &Path) -> io::Result<String> {
    fs::read_to_string(folder.join(EXPECTED))
}

/// Says that what happens now is what has to happen.
///
/// # Errors
/// The case is not whole, or it cannot be written.
pub fn renew(folder: &Path) -> io::Result<()> {
    fs::write(folder.join(EXPECTED), run(folder)?)
}

/// Copies the Ethernet frames of a capture without their secrets: the same interfaces, times and directions.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut sources: Vec<Arc<Source>> = Vec::new();
    let place =
        |sources: &[Arc<Source>], source: &Arc<Source>| sources.iter().position(|known| known == source);
    let mut reader = Reader::open(from)?;
    while let Some(record) = reader.next_record() {
        if record.source.link == LinkType::ETHERNET && place(&sources, &record.source).is_none() {
            sources.push(record.source);
        }
    }
    let packed = GzEncoder::new(BufWriter::new(File::create(to)?), Compression::best());
    let mut writer = PcapNgWriter::new(packed).map_err(io::Error::other)?;
    for source in &sources {
        let name = InterfaceDescriptionOption::IfName(Cow::Borrowed(&source.name));
        let mut options = vec![InterfaceDescriptionOption::IfTsResol(NANOSECONDS)];
        options.extend((!source.name.is_empty()).then_some(name));
        let block = InterfaceDescriptionBlock { linktype: DataLink::ETHERNET, snaplen: 0, options };
        writer.write_pcapng_block(block).map_err(io::Error::other)?;
    }
    let mut reader = Reader::open(from)?;
    while let Some(mut record) = reader.next_record() {
        let Some(place) = place(&sources, &record.source) else { continue };
        redact(&mut record.bytes);
        let direction = record.direction.map(|direction| match direction {
            Direction::Received => EnhancedPacketOption::Flags(1),
            Direction::Sent => EnhancedPacketOption::Flags(2),
        });
        let block = EnhancedPacketBlock {
            interface_id: u32::try_from(place).unwrap_or(u32::MAX),
            timestamp: record.at,
            original_len: u32::try_from(record.length).unwrap_or(u32::MAX),
            data: Cow::Borrowed(&record.bytes),
            options: direction.into_iter().collect(),
        };
        writer.write_pcapng_block(block).map_err(io::Error::other)?;
    }
    writer.get_mut().try_finish()?;
    writer.get_mut().get_mut().flush()
}
