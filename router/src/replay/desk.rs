//! The configuration of a line, read where the line is not: on a desk that lacks its cards and, mostly, its secrets.
//!
//! No secret is needed to replay: what a captured server said of one, the capture says. Where one is missing, another stands in for it.

use std::io;
use std::path::{Path, PathBuf};

use genkan_config::{Config, Host, HostFile, Loaded, Report, ThisHost};

/// Stands for every secret: as a password it is as good as any, and it is a key, too.
const STAND_IN: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAEA=";

/// A desk, and the configuration on it.
#[derive(Debug)]
pub struct Desk {
    file: PathBuf,
    /// The configuration, when it is in no file.
    text: Option<String>,
    /// The secrets that are here are used.
    trusted: bool,
}

impl Desk {
    /// This machine: the secrets that it has are used.
    pub fn here(file: &Path) -> Desk {
        Desk { file: file.into(), text: None, trusted: true }
    }

    /// A machine without any secret: what happens is the same everywhere.
    pub fn without_secrets(file: &Path) -> Desk {
        Desk { file: file.into(), text: None, trusted: false }
    }

    /// A configuration that is in no file.
    pub fn made_up(text: &str) -> Desk {
        Desk { file: "gateway.toml".into(), text: Some(text.into()), trusted: false }
    }

    /// Reads the configuration.
    ///
    /// # Errors
    /// What `genkan check` says of it, but for cards and secrets that are not there.
    pub fn load(&self) -> Result<Loaded, Report> {
        Config::load_on(&self.file, self)
    }
}

impl Host for Desk {
    fn read(&self, path: &Path) -> io::Result<HostFile> {
        if path == self.file {
            return match &self.text {
                Some(text) => Ok(HostFile { content: text.clone().into(), mode: 0o600 }),
                None => ThisHost.read(path),
            };
        }
        // Whoever may read them, nothing goes out by a line that is not here.
        if let Some(found) = self.trusted.then(|| ThisHost.read(path)).and_then(Result::ok) {
            return Ok(HostFile { mode: 0o600, ..found });
        }
        let users = format!("[[user]]\nname = \"user\"\npassword = {STAND_IN:?}\n");
        let is_users = path.extension().is_some_and(|extension| extension == "toml");
        let content = if is_users { users } else { format!("{STAND_IN}\n") };
        Ok(HostFile { content: content.into(), mode: 0o600 })
    }

    fn devices(&self) -> Option<Vec<String>> {
        None
    }
}
