//! The configuration of a guest: found where it is offered, checked, and put in force in one step.
//!
//! 1. Sources are looked into in turn (`offer.rs`); the first that has a configuration counts, be it right or wrong.
//! 2. It is checked as `genkan check` does, with the secrets that lie beside it (`candidate.rs`).
//! 3. When it is right, all of its files replace all of those in force at once (`install.rs`); what was in force stays in
//!    `DIR.previous`. When it is wrong, nothing changes, and the reasons are kept in [`REFUSED`].
//! 4. With nothing offered and nothing in force there is a default for the cards of this machine (`guest.rs`).
//!
//! Beside the configuration lies a stamp that says what was taken. The same offer is taken once: what is edited in the guest
//! afterwards stays, until something else is offered.

mod candidate;
mod cloud;
mod guest;
mod install;
mod offer;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use blake2::{Blake2s256, Digest as _};
use data_encoding::HEXLOWER;
use genkan_config::Report;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use candidate::Candidate;
use offer::Offer;

/// The configuration in a configuration directory, and in a source.
pub const GATEWAY: &str = "gateway.toml";
/// Why what is offered is not in force, in a configuration directory.
pub const REFUSED: &str = "refused.txt";
/// The hash of the console's password (crypt(3)).
pub const CONSOLE_PASSWORD: &str = "console.password";
/// Who may come in by ssh.
pub const AUTHORIZED_KEYS: &str = "authorized_keys";
/// What was taken.
const STAMP: &str = ".provisioned.json";

/// What a configuration directory is called inside the guest, and so in configurations that were written for it.
const NAMES: [&str; 2] = ["/etc/genkan", "/var/lib/genkan/config"];

/// A file's content, wiped when it is no longer needed.
type Content = Zeroizing<Vec<u8>>;
/// Files by their path within a configuration directory.
type Files = BTreeMap<PathBuf, Content>;

/// A configuration directory.
#[derive(Debug, Clone)]
pub struct Place {
    directory: PathBuf,
    /// Where the kernel tells of devices: `/sys`.
    sys: PathBuf,
}

/// What has become of an attempt to provision.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What happened, a sentence each.
    pub told: Vec<String>,
    /// Why what is offered is not in force.
    pub refused: Option<String>,
    /// A configuration stands.
    pub stands: bool,
}

/// Who made the configuration in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Origin {
    /// It was offered.
    Offered,
    /// It is the default, without an uplink.
    Default,
    /// It is the default with what was asked for on the console.
    Asked,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Stamp {
    origin: Origin,
    /// The digest of the last offer that was taken.
    seen: Option<String>,
    /// The digest of the configuration as it was written.
    written: String,
}

/// Whether the uplink's credentials can be given on the console.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credentials {
    /// The default waits for them.
    Wanted,
    /// They were given there, and may be given anew.
    Given,
    /// The configuration is somebody's own: they stand in it.
    Elsewhere,
}

impl Place {
    /// The configuration directory that is there or is to be.
    ///
    /// # Errors
    /// It is the root, or a link to nowhere.
    pub fn new(directory: &Path) -> io::Result<Place> {
        // A link is followed: what it leads to is replaced, not the link.
        let directory = match fs::canonicalize(directory) {
            Ok(directory) => directory,
            Err(error) if error.kind() == io::ErrorKind::NotFound => std::path::absolute(directory)?,
            Err(error) => return Err(error),
        };
        if directory.parent().is_none() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the root cannot be a configuration directory",
            ));
        }
        Ok(Place { directory, sys: PathBuf::from("/sys") })
    }

    /// The configuration directory of a configuration file.
    ///
    /// # Errors
    /// As [`Place::new`].
    pub fn of(file: &Path) -> io::Result<Place> {
        let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty());
        Place::new(directory.unwrap_or(Path::new(".")))
    }

    /// The configuration in force.
    pub fn file(&self) -> PathBuf {
        self.directory.join(GATEWAY)
    }

    /// Why what was offered last is not in force.
    pub fn refused(&self) -> Option<String> {
        fs::read_to_string(self.directory.join(REFUSED)).ok()
    }

    /// Puts in force what is offered, or else the default when nothing is.
    ///
    /// # Errors
    /// A file could not be read or written. What was in force still is.
    pub fn provision(&self, from: &[PathBuf]) -> io::Result<Outcome> {
        let _lock = install::lock(&self.directory)?;
        let mut outcome = Outcome::default();
        match offer::first(from, &mut outcome.told) {
            Ok(Some(offer)) => self.take(&offer, &mut outcome)?,
            Ok(None) => self.stand_alone(&mut outcome)?,
            Err((source, why)) => self.refuse(&source, &why, &mut outcome)?,
        }
        outcome.stands = self.file().exists();
        Ok(outcome)
    }

    /// Goes back to what was in force before; what is in force now can be come back to in the same way.
    ///
    /// # Errors
    /// There is no earlier configuration, it is not right, or a file could not be read or written.
    pub fn roll_back(&self) -> io::Result<Outcome> {
        let _lock = install::lock(&self.directory)?;
        let earlier = install::previous(&self.directory);
        let Some(offer) = Offer::of(&earlier)?.filter(|offer| offer.is_folder()) else {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("there is no earlier configuration in {}", earlier.display()),
            ));
        };
        let mut outcome = Outcome::default();
        let before = stamp(&earlier);
        match Candidate::check(&offer, &self.directory) {
            Ok(candidate) => {
                // What is offered was seen, and is not what is wanted.
                let seen = self.stamp().and_then(|stamp| stamp.seen);
                let origin = before.map_or(Origin::Offered, |stamp| stamp.origin);
                self.install(candidate.files, origin, seen)?;
                outcome.told.push("the configuration before the one in force is in force again".into());
            }
            Err(why) => self.refuse(&earlier, &why, &mut outcome)?,
        }
        outcome.stands = self.file().exists();
        Ok(outcome)
    }

    /// Whether the console may ask for the uplink's credentials.
    pub fn credentials(&self) -> Credentials {
        match self.unchanged() {
            Some(Stamp { origin: Origin::Default, .. }) => Credentials::Wanted,
            Some(Stamp { origin: Origin::Asked, .. }) => Credentials::Given,
            _ => Credentials::Elsewhere,
        }
    }

    /// What cards the default lacks on this machine, in a sentence.
    pub fn missing_cards(&self) -> Option<String> {
        let default = self.unchanged().is_some_and(|stamp| stamp.origin != Origin::Offered);
        let cards = if default { guest::cards(&self.sys) } else { return None };
        (cards.len() < 2).then(|| guest::about(&cards))
    }

    /// Completes the default by what was asked for.
    ///
    /// # Errors
    /// Why not, in a sentence.
    pub fn give_credentials(&self, username: &str, password: &str) -> Result<(), String> {
        let _lock = install::lock(&self.directory).map_err(|error| error.to_string())?;
        let stamp = self.unchanged().filter(|stamp| stamp.origin != Origin::Offered);
        let Some(stamp) = stamp else {
            return Err("the configuration is no longer the default; write the credentials into it".into());
        };
        let cards = guest::cards(&self.sys);
        if cards.is_empty() {
            return Err(guest::about(&cards));
        }
        let text = guest::configuration(&cards, Some(username));
        let mut password = Zeroizing::new(password.as_bytes().to_vec());
        password.push(b'\n');
        let files = Files::from([
            (GATEWAY.into(), Zeroizing::new(text.into_bytes())),
            (guest::PASSWORD_FILE.into(), password),
        ]);
        let offer = Offer::given(self.directory.clone(), files);
        let candidate = Candidate::check(&offer, &self.directory)
            .map_err(|why| first_error(&why).unwrap_or("the configuration would not be right").to_owned())?;
        self.install(candidate.files, Origin::Asked, stamp.seen).map_err(|error| error.to_string())
    }

    /// Puts an offer in force, unless it was taken before.
    fn take(&self, offer: &Offer, outcome: &mut Outcome) -> io::Result<()> {
        let source = offer.source();
        let candidate = match Candidate::check(offer, &self.directory) {
            Ok(candidate) => candidate,
            Err(why) => return self.refuse(source, &why, outcome),
        };
        let digest = digest(&candidate.offered);
        let taken = self.stamp().is_some_and(|stamp| stamp.seen.as_ref() == Some(&digest));
        if taken && self.is_right() {
            outcome.told.push(format!("{}: it was taken before; nothing changes", source.display()));
            return self.forget_refusal();
        }
        outcome.told.extend(candidate.warnings);
        self.install(relative(candidate.files), Origin::Offered, Some(digest))?;
        outcome.told.push(format!("{}: its configuration is in force", source.display()));
        Ok(())
    }

    /// With nothing offered: the default, when there is nothing else or the cards of an untouched one have changed.
    fn stand_alone(&self, outcome: &mut Outcome) -> io::Result<()> {
        let in_force = self.file().exists();
        let untouched = self.unchanged().is_some_and(|stamp| stamp.origin == Origin::Default);
        self.forget_refusal()?;
        if in_force && !untouched {
            outcome.told.push("nothing is offered; the configuration in force stays".into());
            return Ok(());
        }
        let cards = guest::cards(&self.sys);
        let text = guest::configuration(&cards, None).into_bytes();
        if in_force && fs::read(self.file())? == text {
            outcome.told.push("nothing is offered; the default stays".into());
            return Ok(());
        }
        let offer = Offer::given(self.directory.clone(), [(GATEWAY.into(), Zeroizing::new(text))].into());
        let candidate = Candidate::check(&offer, &self.directory).map_err(io::Error::other)?;
        self.install(candidate.files, Origin::Default, None)?;
        outcome.told.push(format!("nothing is offered; the default is in force: {}", guest::about(&cards)));
        Ok(())
    }

    /// Keeps the reasons where the console finds them. What is in force stays.
    fn refuse(&self, source: &Path, why: &str, outcome: &mut Outcome) -> io::Result<()> {
        let stays = if self.file().exists() {
            "the configuration in force stays"
        } else {
            "there is no other configuration"
        };
        let text = format!("{}: what it offers is refused; {stays}\n\n{why}", source.display());
        install::write_beside(&self.directory, REFUSED, text.as_bytes())?;
        outcome.refused = Some(text);
        Ok(())
    }

    fn forget_refusal(&self) -> io::Result<()> {
        match fs::remove_file(self.directory.join(REFUSED)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn install(&self, mut files: Files, origin: Origin, seen: Option<String>) -> io::Result<()> {
        let written = files.get(Path::new(GATEWAY)).map(|text| hash(text)).unwrap_or_default();
        let stamp = Stamp { origin, seen, written };
        files.insert(STAMP.into(), Zeroizing::new(serde_json::to_vec(&stamp)?));
        install::install(&self.directory, &files)
    }

    /// True when the configuration in force passes the check.
    fn is_right(&self) -> bool {
        let offer = Offer::of(&self.directory).ok().flatten().filter(Offer::is_folder);
        offer.is_some_and(|offer| Candidate::check(&offer, &self.directory).is_ok())
    }

    fn stamp(&self) -> Option<Stamp> {
        stamp(&self.directory)
    }

    /// The stamp, while the configuration is as it was written.
    fn unchanged(&self) -> Option<Stamp> {
        let stamp = self.stamp()?;
        let text = fs::read(self.file()).ok()?;
        (hash(&text) == stamp.written).then_some(stamp)
    }
}

fn stamp(directory: &Path) -> Option<Stamp> {
    serde_json::from_slice(&fs::read(directory.join(STAMP)).ok()?).ok()
}

fn hash(octets: &[u8]) -> String {
    HEXLOWER.encode(&Blake2s256::digest(octets))
}

/// What tells one offer from another.
fn digest(files: &Files) -> String {
    let mut hasher = Blake2s256::new();
    for (name, content) in files {
        let name = name.as_os_str().as_encoded_bytes();
        for part in [name, content.as_slice()] {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
    }
    HEXLOWER.encode(&hasher.finalize())
}

/// Files in which paths of the configuration directory are relative to it: what was written for `/etc/genkan` works wherever
/// it is installed.
fn relative(mut files: Files) -> Files {
    for (name, content) in &mut files {
        let Some(text) =
            std::str::from_utf8(content).ok().filter(|_| name.extension() == Some("toml".as_ref()))
        else {
            continue;
        };
        let mut text = Zeroizing::new(text.to_owned());
        for root in NAMES {
            // A path stands at the beginning of a string.
            for quote in ['"', '\''] {
                text = Zeroizing::new(text.replace(&format!("{quote}{root}/"), &quote.to_string()));
            }
        }
        *content = Zeroizing::new(text.as_bytes().to_vec());
    }
    files
}

/// A report as it is kept: whole, with its last line.
fn report(report: &Report) -> String {
    format!("{}\n{}\n", report.render(false), report.summary())
}

/// The first error of a report that is kept.
fn first_error(report: &str) -> Option<&str> {
    report.lines().find_map(|line| line.strip_prefix("error: "))
}

/// A path that leads to a file below a folder and never out of it, without its dots.
fn inside(path: &Path) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::CurDir => {}
            _ => return None,
        }
    }
    (!clean.as_os_str().is_empty()).then_some(clean)
}

#[cfg(test)]
mod tests;
