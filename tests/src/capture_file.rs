//! Captures as test data.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::{Block, PcapNgReader};

/// True when the file's name says that it is a capture.
fn is_one(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "pcap" || extension == "pcapng")
}

/// Where the public captures are to be: in `GENKAN_CAPTURES`, or in the folder beside the checkout.
pub fn folder() -> PathBuf {
    std::env::var_os("GENKAN_CAPTURES")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/captures"), PathBuf::from)
}

/// The public captures, sorted by name.
///
/// # Panics
/// When they are not there: a test that cannot run must not pass.
pub fn public() -> Vec<PathBuf> {
    let folder = folder();
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| {
        panic!("{}: {error}; name the captures' folder in GENKAN_CAPTURES", folder.display())
    });
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("the folder can be listed").path())
        .filter(|path| is_one(path))
        .collect();
    files.sort();
    assert!(files.len() > 400, "{} holds only {} captures", folder.display(), files.len());
    files
}

/// The frames of a capture, as far as it can be read.
///
/// # Panics
/// When the file cannot be opened.
pub fn frames(path: &Path) -> Vec<Vec<u8>> {
    let mut file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut frames = Vec::new();
    if let Ok(mut reader) = PcapReader::new(bytes.as_slice()) {
        while let Some(Ok(packet)) = reader.next_raw_packet() {
            frames.push(packet.data.into_owned());
        }
    } else if let Ok(mut reader) = PcapNgReader::new(bytes.as_slice()) {
        while let Some(Ok(block)) = reader.next_block() {
            match block {
                Block::EnhancedPacket(packet) => frames.push(packet.data.into_owned()),
                Block::SimplePacket(packet) => frames.push(packet.data.into_owned()),
                _ => {}
            }
        }
    }
    frames
}
