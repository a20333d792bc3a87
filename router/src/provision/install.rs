//! Files that replace others all at once.
//!
//! A new directory is made beside the one in force, and it and all in it are brought to the disk. Then the two change
//! places, which the file system does in one step: after a power cut at any moment the directory has all the old files or all
//! the new ones. What was in force is kept in `DIR.previous`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};

use super::{Files, GATEWAY};

/// Where what was in force before lies.
pub(super) fn previous(directory: &Path) -> PathBuf {
    beside(directory, "previous")
}

/// Where the next one is made; otherwise absent.
fn next(directory: &Path) -> PathBuf {
    beside(directory, "next")
}

fn beside(directory: &Path, suffix: &str) -> PathBuf {
    let mut name = directory.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(suffix);
    directory.with_file_name(name)
}

/// Keeps others from installing until the result is dropped. The directory's parent is made if need be.
pub(super) fn lock(directory: &Path) -> io::Result<File> {
    let parent = directory.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(parent)?;
    let parent = File::open(parent)?;
    flock(&parent, FlockOperation::LockExclusive)?;
    Ok(parent)
}

/// Has a directory hold these files and no others.
pub(super) fn install(directory: &Path, files: &Files) -> io::Result<()> {
    steps(directory, files).iter().try_for_each(Step::take)
}

/// Writes or replaces one file of a directory, which is made if need be.
pub(super) fn write_beside(directory: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    if !directory.exists() {
        Step::MakeDirectory(directory.to_owned()).take()?;
    }
    let new = directory.join(format!(".{name}.new"));
    Step::Remove(new.clone()).take()?;
    Step::Write(new.clone(), content).take()?;
    Step::Rename(new, directory.join(name)).take()?;
    Step::Sync(directory.to_owned()).take()
}

/// One call of the system's. Between any two of them the power may fail.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// Remove a file, or a directory with all in it, if it is there.
    Remove(PathBuf),
    /// Make a directory that its owner alone may enter.
    MakeDirectory(PathBuf),
    /// Write a new file that its owner alone may read, and bring it to the disk.
    Write(PathBuf, &'a [u8]),
    /// Bring a directory's entries to the disk.
    Sync(PathBuf),
    /// Have two directories change places.
    Exchange(PathBuf, PathBuf),
    /// Give something a new name.
    Rename(PathBuf, PathBuf),
}

impl Step<'_> {
    pub(super) fn take(&self) -> io::Result<()> {
        let (path, taken) = match self {
            Step::Remove(path) => (path, remove(path)),
            Step::MakeDirectory(path) => (path, fs::DirBuilder::new().mode(0o700).create(path)),
            Step::Write(path, content) => (path, write(path, content)),
            Step::Sync(path) => (path, File::open(path).and_then(|directory| directory.sync_all())),
            Step::Exchange(one, other) => {
                let exchanged = renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE);
                (other, exchanged.map_err(io::Error::from))
            }
            Step::Rename(from, to) => (to, fs::rename(from, to)),
        };
        taken.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
    }
}

fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// How `directory` comes to hold `files`, from what lies there now.
pub(super) fn steps<'a>(directory: &Path, files: &'a Files) -> Vec<Step<'a>> {
    let (next, previous) = (next(directory), previous(directory));
    let parent = directory.parent().unwrap_or(Path::new("/")).to_owned();
    let mut folders: Vec<PathBuf> = (files.keys())
        .flat_map(|name| name.ancestors().skip(1))
        .filter(|folder| !folder.as_os_str().is_empty())
        .map(|folder| next.join(folder))
        .collect();
    // A folder comes before what is in it.
    folders.sort();
    folders.dedup();
    folders.insert(0, next.clone());
    let mut steps = vec![Step::Remove(next.clone())];
    steps.extend(folders.iter().cloned().map(Step::MakeDirectory));
    steps.extend(files.iter().map(|(name, content)| Step::Write(next.join(name), content)));
    steps.extend(folders.into_iter().rev().map(Step::Sync));
    if !directory.exists() {
        steps.push(Step::Rename(next, directory.to_owned()));
        steps.push(Step::Sync(parent));
        return steps;
    }
    steps.push(Step::Exchange(next.clone(), directory.to_owned()));
    steps.push(Step::Sync(parent.clone()));
    // What was in force has the name of the next one now. An empty directory is not worth keeping.
    if directory.join(GATEWAY).exists() {
        if previous.exists() {
            steps.push(Step::Exchange(next.clone(), previous));
        } else {
            steps.push(Step::Rename(next.clone(), previous));
        }
    }
    steps.push(Step::Remove(next));
    steps.push(Step::Sync(parent));
    steps
}
