//! What a source offers: a folder with a configuration in it, or the user data of a NoCloud seed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use genkan_config::{Host as _, ThisHost};
use zeroize::Zeroizing;

use super::{Content, Files, GATEWAY, NAMES, cloud, inside};

/// The file of a NoCloud seed that is cloud-init's configuration.
const USER_DATA: &str = "user-data";

/// A configuration that somebody offers.
#[derive(Debug)]
pub(super) struct Offer {
    /// The source, for people.
    source: PathBuf,
    /// What its files' paths begin with, in messages and where they name each other.
    root: PathBuf,
    files: Kind,
    /// What else it wants to be written, by path.
    left_out: Vec<String>,
}

#[derive(Debug)]
enum Kind {
    /// They lie there.
    Folder,
    /// They are known.
    Given(Files),
}

/// The first source that has a configuration. Those that are not there are passed over.
///
/// # Errors
/// The source that counts, and why it cannot be used.
pub(super) fn first(from: &[PathBuf], told: &mut Vec<String>) -> Result<Option<Offer>, (PathBuf, String)> {
    for source in from {
        if let Err(error) = fs::metadata(source)
            && error.kind() == io::ErrorKind::NotFound
        {
            continue;
        }
        match Offer::of(source) {
            Ok(Some(offer)) => {
                let left_out =
                    |path| format!("{}: {path} is none of ours and is left out", offer.source.display());
                told.extend(offer.left_out.iter().map(left_out));
                return Ok(Some(offer));
            }
            Ok(None) => told.push(format!(
                "{}: it has neither {GATEWAY} nor a {USER_DATA} that writes one; going on",
                source.display()
            )),
            Err(error) => return Err((source.clone(), format!("{error}\n"))),
        }
    }
    Ok(None)
}

impl Offer {
    /// What a folder offers, if anything.
    ///
    /// # Errors
    /// It cannot be read, or is not what it says it is.
    pub(super) fn of(folder: &Path) -> io::Result<Option<Offer>> {
        let is_there = |name: &str| fs::metadata(folder.join(name)).is_ok_and(|found| found.is_file());
        if is_there(GATEWAY) {
            return Ok(Some(Offer {
                source: folder.to_owned(),
                root: folder.to_owned(),
                files: Kind::Folder,
                left_out: Vec::new(),
            }));
        }
        if !is_there(USER_DATA) {
            return Ok(None);
        }
        let path = folder.join(USER_DATA);
        let text = Zeroizing::new(ThisHost.read(&path)?.content);
        let data = cloud::read(&text).map_err(|why| io::Error::other(format!("{}{why}", path.display())))?;
        if !data.files.contains_key(Path::new(GATEWAY)) {
            return Ok(None);
        }
        let root = PathBuf::from(NAMES[0]);
        Ok(Some(Offer { source: path, root, files: Kind::Given(data.files), left_out: data.left_out }))
    }

    /// An offer of files that are known.
    pub(super) fn given(root: PathBuf, files: Files) -> Offer {
        Offer { source: root.clone(), root, files: Kind::Given(files), left_out: Vec::new() }
    }

    pub(super) fn source(&self) -> &Path {
        &self.source
    }

    pub(super) fn is_folder(&self) -> bool {
        matches!(self.files, Kind::Folder)
    }

    /// The configuration's path, for messages.
    pub(super) fn gateway(&self) -> PathBuf {
        self.root.join(GATEWAY)
    }

    /// The path within the offer of what a configuration calls `path`; `None` for what is no part of any configuration
    /// directory.
    pub(super) fn within(&self, path: &Path, directory: &Path) -> Option<PathBuf> {
        let roots = [self.root.as_path(), directory].into_iter().chain(NAMES.iter().map(Path::new));
        let name = roots.filter_map(|root| path.strip_prefix(root).ok()).next()?;
        inside(name)
    }

    /// One of its files.
    ///
    /// # Errors
    /// It is not there, or cannot be read.
    pub(super) fn read(&self, name: &Path) -> io::Result<Content> {
        match &self.files {
            Kind::Folder => ThisHost.read(&self.root.join(name)).map(|file| Zeroizing::new(file.content)),
            Kind::Given(files) => files.get(name).cloned().ok_or_else(|| io::ErrorKind::NotFound.into()),
        }
    }
}
