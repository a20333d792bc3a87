//! What a check asks of the machine, apart from the configuration file: files with secrets in them, and which network
//! devices there are. Tests answer in its place.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The machine that a configuration is for.
pub trait Host {
    /// The content and the permission bits of a regular file of at most [`LARGEST_FILE`] octets.
    fn read(&self, path: &Path) -> io::Result<HostFile>;

    /// The names of its network devices; `None` when it cannot tell.
    fn devices(&self) -> Option<Vec<String>>;
}

/// Largest file that is read, in octets.
pub const LARGEST_FILE: u64 = 16 << 20;

/// A file's content and who may read it.
pub struct HostFile {
    /// Its content.
    pub content: Vec<u8>,
    /// Its permission bits, the low twelve of `st_mode`.
    pub mode: u32,
}

/// This machine.
pub struct ThisHost;

impl Host for ThisHost {
    fn read(&self, path: &Path) -> io::Result<HostFile> {
        // Asked before opening: opening a FIFO would wait for its other end.
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
        }
        let file = fs::File::open(path)?;
        let mode = file.metadata()?.mode() & 0o7777;
        let mut content = Vec::new();
        file.take(LARGEST_FILE + 1).read_to_end(&mut content)?;
        if content.len() as u64 > LARGEST_FILE {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is too large"));
        }
        Ok(HostFile { content, mode })
    }

    fn devices(&self) -> Option<Vec<String>> {
        // Unlike /sys/class/net this tells of the caller's own network namespace.
        let table = fs::read_to_string("/proc/thread-self/net/dev").ok()?;
        let name = |line: &str| line.split_once(':').map(|(name, _)| name.trim().to_owned());
        Some(table.lines().skip(2).filter_map(name).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn this_machine_tells_a_files_content_and_mode() {
        let path = std::env::temp_dir().join(format!("genkan-config-{}", std::process::id()));
        fs::write(&path, "secret\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let file = ThisHost.read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!((file.content.as_slice(), file.mode), (&b"secret\n"[..], 0o640));
        assert_eq!(ThisHost.read(&path).err().map(|e| e.kind()), Some(io::ErrorKind::NotFound));
    }

    #[test]
    fn what_is_no_regular_file_is_refused() {
        for path in ["/", "/dev/zero"] {
            assert_eq!(
                ThisHost.read(Path::new(path)).err().map(|e| e.kind()),
                Some(io::ErrorKind::InvalidInput)
            );
        }
    }

    #[test]
    fn this_machine_has_a_loopback_device() {
        assert!(ThisHost.devices().unwrap().contains(&"lo".to_owned()));
    }
}
