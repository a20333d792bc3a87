//! Captures as test data.

use std::path::{Path, PathBuf};

use genkan::capture::reader::Reader;

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
    if !path.is_file() {
        panic!("{} is no file", path.display());
    }
    // Some of the public ones are damaged from the first octet on.
    let Ok(mut reader) = Reader::open(path) else { return Vec::new() };
    std::iter::from_fn(|| reader.next_record()).map(|record| record.bytes).collect()
}
