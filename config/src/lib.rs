//! The TOML schema of genkan: what a configuration file may say, whether it makes sense, and what a change of it does.
//!
//! [`Config::load`] reads a file and the secrets that it names. It goes on after every error, so that a [`Report`] holds
//! all of them, each with its line, a marker and a suggestion. How, in order:
//!
//! 1. `toml` parses the text into tables with spans, and recovers from syntax errors;
//! 2. a reader for each table (`read`) takes its keys one by one through `reader::Table`, which complains about wrong
//!    values, missing keys and keys that nobody asked for;
//! 3. what concerns several tables (a port used twice, networks that overlap) is compared in `read::across`.
//!
//! Files of wg-quick are read and written by [`wg_quick`].
//!
//! A [`Config`] that exists is a valid one: names in it refer to something, secrets are loaded.

mod diff;
mod host;
pub mod key;
mod read;
mod reader;
mod report;
pub mod schema;
mod suggest;
mod tunnel;
mod value;
pub mod wg_quick;

use std::path::{Path, PathBuf};

pub use diff::{Change, ChangeKind, diff};
pub use host::{Host, HostFile, LARGEST_FILE, ThisHost};
pub use reader::is_name;
pub use report::{Diagnostic, Place, Report, Severity, Source};
pub use schema::Config;
pub use tunnel::{parse_endpoint, parse_network};
pub use value::parse_size;

/// A valid configuration and what there is to say about it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Warnings; no errors.
    pub warnings: Report,
}

impl Config {
    /// Reads a configuration file and the files that it names. Paths in it are relative to the directory that it is in.
    ///
    /// # Errors
    /// A report with every error of the file, and its warnings.
    pub fn load(path: impl AsRef<Path>) -> Result<Loaded, Report> {
        Self::load_on(path, &ThisHost)
    }

    /// The control socket of the gateway that runs with this file. Nothing else of the file is looked at: who asks a
    /// running gateway need not be able to read its secrets, and the file may have changed since it started.
    ///
    /// # Errors
    /// A report, when the file cannot be read or parsed or its `[system]` is wrong.
    pub fn control_socket(path: impl AsRef<Path>) -> Result<PathBuf, Report> {
        read::control_socket(path.as_ref(), &ThisHost)
    }

    /// As [`Config::load`], for another machine.
    ///
    /// # Errors
    /// A report with every error of the file, and its warnings.
    pub fn load_on(path: impl AsRef<Path>, host: &dyn Host) -> Result<Loaded, Report> {
        read::load(path.as_ref(), host)
    }
}
