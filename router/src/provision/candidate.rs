//! An offer on trial: read as `genkan check` would read it once it is in force.
//!
//! Secrets are looked for in the offer, whatever its configuration calls the configuration directory, and then in the
//! directory itself: what an offer lacks is kept. The files that were asked for are what is installed, nothing else.
//! Modes count for nothing, as a FAT file system has none; every installed file is its owner's alone.

use std::cell::RefCell;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use genkan_config::{Config, Host, HostFile, ThisHost};
use zeroize::Zeroizing;

use super::offer::Offer;
use super::{AUTHORIZED_KEYS, CONSOLE_PASSWORD, Content, Files, report};

/// A configuration that is right, and its files.
#[derive(Debug)]
pub(super) struct Candidate {
    /// All files that are to lie in the configuration directory.
    pub(super) files: Files,
    /// Those of them that were offered.
    pub(super) offered: Files,
    /// What there is to say about it, a sentence each.
    pub(super) warnings: Vec<String>,
}

impl Candidate {
    /// Checks an offer for a configuration directory.
    ///
    /// # Errors
    /// The report of everything that is wrong.
    pub(super) fn check(offer: &Offer, directory: &Path) -> Result<Candidate, String> {
        let trial = Trial { offer, directory, found: RefCell::default() };
        let loaded = Config::load_on(offer.gateway(), &trial).map_err(|errors| report(&errors))?;
        for name in [CONSOLE_PASSWORD, AUTHORIZED_KEYS] {
            match trial.file(Path::new(name)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(format!("{name}: cannot be read: {error}\n")),
                Ok(content) if name == CONSOLE_PASSWORD && !is_hash(&content) => {
                    return Err(format!(
                        "{name}: this is no hash of a password (crypt(3)), one line that begins with `$`; \
                         `openssl passwd -6` makes one\n"
                    ));
                }
                Ok(_) => {}
            }
        }
        let found = trial.found.into_inner();
        Ok(Candidate {
            files: found.all,
            offered: found.offered,
            warnings: loaded.warnings.lines().collect(),
        })
    }
}

/// True for one line as crypt(3) makes it, fit for /etc/shadow.
fn is_hash(content: &[u8]) -> bool {
    let line = content.strip_suffix(b"\n").unwrap_or(content);
    let fits = |octet: &u8| octet.is_ascii_graphic() && *octet != b':';
    line.starts_with(b"$")
        && line.iter().filter(|octet| **octet == b'$').count() >= 3
        && line.iter().all(fits)
}

/// This machine as it would be with the offer in force.
struct Trial<'a> {
    offer: &'a Offer,
    directory: &'a Path,
    found: RefCell<Found>,
}

#[derive(Default)]
struct Found {
    all: Files,
    offered: Files,
}

impl Trial<'_> {
    /// A file of the configuration directory as it would be.
    fn file(&self, name: &Path) -> io::Result<Content> {
        let (content, offered) = match self.offer.read(name) {
            Ok(content) => (content, true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (self.kept(name)?, false),
            Err(error) => return Err(error),
        };
        let mut found = self.found.borrow_mut();
        found.all.insert(name.to_owned(), content.clone());
        if offered {
            found.offered.insert(name.to_owned(), content.clone());
        }
        Ok(content)
    }

    fn kept(&self, name: &Path) -> io::Result<Content> {
        let path: PathBuf = self.directory.join(name);
        fs::metadata(&path)?;
        ThisHost.read(&path).map(|file| Zeroizing::new(file.content))
    }
}

impl Host for Trial<'_> {
    fn read(&self, path: &Path) -> io::Result<HostFile> {
        match self.offer.within(path, self.directory) {
            Some(name) => self.file(&name).map(|content| HostFile { content: content.to_vec(), mode: 0o600 }),
            None => ThisHost.read(path),
        }
    }

    fn devices(&self) -> Option<Vec<String>> {
        ThisHost.devices()
    }
}
