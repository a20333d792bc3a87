//! What outlives the program: a folder of the BPF file system for each state directory.
//!
//! `links/` has what is attached to devices, by network namespace and number of the device. A *generation*, `layoutL-N/`,
//! has the maps and programs of one run; `current` leads to the one in use. A run makes the next generation beside it, puts
//! its programs in the place of the old ones link by link, turns `current` over in one step and takes the old generation
//! away. So whatever is there after a crash, a later run finds its way: maps that `current` leads to, links to take over,
//! and everything else to take away.

use std::fs;
use std::hash::Hasher as _;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};

use fnv::FnvHasher;

use super::layout::LAYOUT;
use crate::sys::bpf::{self, Hook, Link};

/// Where the BPF file system is.
pub const FILE_SYSTEM: &str = "/sys/fs/bpf";
const FOLDER: &str = "genkan";
const LINKS: &str = "links";
const CURRENT: &str = "current";
const LONGEST: usize = 200;

/// The folder of a state directory. It may not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pins(PathBuf);

impl Pins {
    /// The folder of a state directory; makes both, and mounts the BPF file system where none is.
    pub fn make(state_dir: &Path) -> io::Result<Pins> {
        fs::create_dir_all(state_dir)?;
        let file_system = Path::new(FILE_SYSTEM);
        if !bpf::is_bpffs(file_system)? {
            bpf::mount_bpffs(file_system)?;
        }
        let pins = Pins::of(state_dir)?;
        fs::create_dir_all(pins.0.join(LINKS))?;
        Ok(pins)
    }

    /// The folder of a state directory, if there is one.
    pub fn find(state_dir: &Path) -> Option<Pins> {
        Pins::of(state_dir).ok().filter(|pins| pins.0.is_dir())
    }

    /// The folder of all state directories. It may not exist.
    pub fn root() -> PathBuf {
        Path::new(FILE_SYSTEM).join(FOLDER)
    }

    fn of(state_dir: &Path) -> io::Result<Pins> {
        Ok(Pins(Pins::root().join(instance(&fs::canonicalize(state_dir)?))))
    }

    /// Where the link is that attaches something to a device of this thread's network namespace.
    pub fn link(&self, index: i32, what: &str) -> io::Result<PathBuf> {
        let namespace = fs::metadata("/proc/thread-self/ns/net")?.ino();
        Ok(self.0.join(LINKS).join(format!("{namespace}-{index}-{what}")))
    }

    /// Takes away every link of a device of this thread's network namespace.
    pub fn remove_links(&self, index: i32) -> io::Result<()> {
        let beginning = self.link(index, "")?;
        let beginning = beginning.as_os_str().as_bytes();
        for path in self.links().iter().filter(|path| path.as_os_str().as_bytes().starts_with(beginning)) {
            remove_file(path)?;
        }
        Ok(())
    }

    /// Every link.
    pub fn links(&self) -> Vec<PathBuf> {
        entries(&self.0.join(LINKS))
    }

    /// Makes the folder of the next generation.
    pub fn next_generation(&self) -> io::Result<PathBuf> {
        let last = self.generations().iter().filter_map(|path| number(path)).max().unwrap_or(0);
        let path = self.0.join(format!("layout{LAYOUT}-{}", last + 1));
        fs::create_dir(&path)?;
        Ok(path)
    }

    /// The generation in use, if its layout is ours.
    pub fn current(&self) -> Option<PathBuf> {
        let name = fs::read_link(self.0.join(CURRENT)).ok()?;
        let ours = name.to_str()?.strip_prefix(&format!("layout{LAYOUT}-"))?.parse::<u64>().is_ok();
        Some(self.0.join(name)).filter(|path| ours && path.is_dir())
    }

    /// From now on this generation is in use, and there is no other one.
    pub fn turn_over(&self, generation: &Path) -> io::Result<()> {
        let name = generation.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let draft = self.0.join("next");
        remove_file(&draft)?;
        symlink(name, &draft)?;
        fs::rename(&draft, self.0.join(CURRENT))?;
        for other in self.generations() {
            if other != generation {
                fs::remove_dir_all(other)?;
            }
        }
        Ok(())
    }

    /// Takes a generation away, and the whole folder when nothing else is in it.
    pub fn discard(&self, generation: &Path) -> io::Result<()> {
        fs::remove_dir_all(generation)?;
        if fs::read_link(self.0.join(CURRENT))
            .is_ok_and(|name| Some(name.as_os_str()) == generation.file_name())
        {
            remove_file(&self.0.join(CURRENT))?;
        }
        if self.generations().is_empty() && self.links().is_empty() {
            self.remove()?;
        }
        Ok(())
    }

    /// Takes everything away: programs are detached and maps freed, unless a process has them open.
    pub fn remove(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn generations(&self) -> Vec<PathBuf> {
        entries(&self.0).into_iter().filter(|path| number(path).is_some()).collect()
    }
}

/// Takes away a name that need not be there.
pub fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// The link pinned at `path`, if it is still one to this device, with the program exchanged; otherwise a new one, pinned
/// there.
pub(crate) fn pinned_or_new(
    program: BorrowedFd<'_>,
    index: i32,
    hook: Hook,
    path: &Path,
) -> io::Result<Link> {
    if let Ok(link) = Link::pinned(path) {
        if link.device().is_ok_and(|device| device == index) && link.update(program).is_ok() {
            return Ok(link);
        }
        remove_file(path)?;
    }
    let link = Link::create(program, index, hook)?;
    link.pin(path)?;
    Ok(link)
}

/// The number of a generation, whatever its layout.
fn number(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_prefix("layout")?.split_once('-')?.1.parse().ok()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.flatten().map(|entry| entry.path()).collect()
}

/// A name for a path that a BPF file system takes, which knows no dots: each path has its own.
fn instance(path: &Path) -> String {
    let mut name = String::new();
    for octet in path.as_os_str().as_bytes().iter().skip(1) {
        match octet {
            b'/' => name.push('-'),
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'_' => name.push(char::from(*octet)),
            other => name.push_str(&format!("%{other:02x}")),
        }
    }
    if name.len() > LONGEST {
        // Too long for a file's name: the end tells more than the beginning, and a hash (FNV-1a) tells it from others.
        let mut hash = FnvHasher::default();
        hash.write(name.as_bytes());
        let hash = hash.finish();
        let end = name.split_off(name.len() - (LONGEST - 17));
        return format!("{hash:016x}-{end}");
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_has_a_name_of_its_own_that_can_be_read() {
        assert_eq!(instance(Path::new("/var/lib/genkan")), "var-lib-genkan");
        assert_eq!(instance(Path::new("/var/lib-genkan")), "var-lib%2dgenkan");
        assert_eq!(instance(Path::new("/tmp/.x%y")), "tmp-%2ex%25y");
        let long = |end: &str| instance(Path::new(&format!("/{}{end}", "a-".repeat(200))));
        assert_ne!(long("/b"), long("/c"));
        assert!(long("/b").len() <= LONGEST && long("/b").ends_with("-b"));
        assert!(long("/b").chars().all(|c| c != '.' && c != '/'));
    }

    #[test]
    fn generations_follow_each_other_and_only_those_of_this_layout_are_read() {
        let folder = std::env::temp_dir().join(format!("genkan-{}-pins", std::process::id()));
        let pins = Pins(folder.clone());
        fs::create_dir_all(folder.join(LINKS)).unwrap();
        assert_eq!(pins.current(), None);
        let first = pins.next_generation().unwrap();
        assert_eq!(pins.current(), None, "it is not in use yet");
        pins.turn_over(&first).unwrap();
        assert_eq!(pins.current(), Some(first.clone()));

        // A run that ended before it turned over leaves the one before in use.
        let second = pins.next_generation().unwrap();
        assert_eq!(pins.current(), Some(first.clone()));
        let third = pins.next_generation().unwrap();
        fs::write(folder.join("next"), "left by a crash").unwrap();
        pins.turn_over(&third).unwrap();
        assert_eq!(pins.current(), Some(third.clone()));
        assert!(!first.exists() && !second.exists());

        let other = folder.join(format!("layout{}-9", LAYOUT + 1));
        fs::create_dir(&other).unwrap();
        pins.turn_over(&other).unwrap();
        assert_eq!(pins.current(), None, "another layout");
        let next = pins.next_generation().unwrap();
        assert!(next.ends_with(format!("layout{LAYOUT}-10")), "{next:?}");
        fs::write(pins.links_folder().join("1-2-xdp"), "").unwrap();
        pins.discard(&next).unwrap();
        pins.discard(&other).unwrap();
        assert!(folder.exists(), "a link is left");
        pins.remove().unwrap();
        assert!(!folder.exists());
    }

    impl Pins {
        fn links_folder(&self) -> PathBuf {
            self.0.join(LINKS)
        }
    }
}
