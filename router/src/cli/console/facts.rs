//! What the console shows, gathered.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use genkan_config::Config;
use serde_json::Value;

use crate::cli::status::{count, list, text};
use crate::control;
use crate::explain::Question;
use crate::provision::{Credentials, Place};

/// Most lines of the log that are kept.
const LOG_LINES: usize = 12;

/// Everything known at one moment.
#[derive(Debug)]
pub(super) struct Facts {
    /// The gateway's status, or why there is none.
    pub(super) status: Result<Value, String>,
    /// Its diagnosis of each uplink; `null` when there is none.
    pub(super) diagnosis: Value,
    /// Octets per second in and out of each uplink, by name, once it was seen twice.
    pub(super) rates: HashMap<String, (u64, u64)>,
    /// What is wrong with the configuration of a gateway that does not run, a sentence a line.
    pub(super) errors: Vec<String>,
    /// The end of the log of a gateway that does not run.
    pub(super) log: Vec<String>,
    /// Why what was offered is not in force.
    pub(super) refused: Option<String>,
    /// Why nothing outlives this run of the machine.
    pub(super) not_kept: Option<String>,
    /// Whether credentials are to be asked for.
    pub(super) credentials: Credentials,
    /// What cards the default lacks.
    pub(super) missing_cards: Option<String>,
    /// The machine's memory in kB: used, and in all.
    pub(super) memory: Option<(u64, u64)>,
}

/// Looks again and again.
pub(super) struct Watch<'a> {
    file: &'a Path,
    log: &'a Path,
    /// What each uplink had carried, in and out, and when.
    before: HashMap<String, (Instant, u64, u64)>,
}

impl<'a> Watch<'a> {
    pub(super) fn new(file: &'a Path, log: &'a Path) -> Watch<'a> {
        Watch { file, log, before: HashMap::new() }
    }

    pub(super) fn look(&mut self) -> Facts {
        let socket = Config::control_socket(self.file);
        let status = match &socket {
            Ok(socket) => control::status(socket).map_err(|error| error.to_string()),
            Err(_) => Err("no gateway is running: its configuration is wrong".to_owned()),
        };
        let diagnosis = match (&socket, &status) {
            (Ok(socket), Ok(_)) => {
                control::explain(socket, &Question::Wan { name: None }).map(|(_, value)| value).ok()
            }
            _ => None,
        };
        let runs = status.is_ok();
        let errors = if runs { Vec::new() } else { errors(self.file) };
        let log = if runs || !errors.is_empty() { Vec::new() } else { log(self.log) };
        let place = Place::of(self.file).ok();
        let not_kept =
            socket.ok().and_then(|socket| fs::read_to_string(socket.with_file_name("not-kept")).ok());
        Facts {
            rates: status.as_ref().map(|status| self.rates(status, Instant::now())).unwrap_or_default(),
            status,
            diagnosis: diagnosis.unwrap_or_default(),
            errors,
            log,
            refused: place.as_ref().and_then(Place::refused),
            not_kept,
            credentials: place.as_ref().map_or(Credentials::Elsewhere, Place::credentials),
            missing_cards: place.as_ref().and_then(Place::missing_cards),
            memory: memory(),
        }
    }

    /// What each uplink carries a second, from what it has carried.
    fn rates(&mut self, status: &Value, now: Instant) -> HashMap<String, (u64, u64)> {
        let mut rates = HashMap::new();
        for wan in list(&status["wans"]) {
            let name = text(&wan["name"]).to_owned();
            let (rx, tx) = (count(&wan["usage"]["rx_octets"]), count(&wan["usage"]["tx_octets"]));
            if let Some((then, rx_then, tx_then)) = self.before.insert(name.clone(), (now, rx, tx)) {
                let millis = u64::try_from(now.duration_since(then).as_millis()).unwrap_or(u64::MAX).max(1);
                // A gateway that was started anew counts from nothing.
                let rate = |new: u64, old: u64| new.saturating_sub(old).saturating_mul(1000) / millis;
                rates.insert(name, (rate(rx, rx_then), rate(tx, tx_then)));
            }
        }
        rates
    }
}

/// What is wrong with a configuration, as far as it keeps a gateway from running.
fn errors(file: &Path) -> Vec<String> {
    match Config::load(file) {
        Ok(_) => Vec::new(),
        Err(report) => report.lines().collect(),
    }
}

/// The end of the log.
fn log(program: &Path) -> Vec<String> {
    let printed = Command::new(program).stdin(Stdio::null()).stderr(Stdio::null()).output();
    let printed = printed.map(|output| output.stdout).unwrap_or_default();
    let text = String::from_utf8_lossy(&printed);
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("genkan")).collect();
    lines.iter().skip(lines.len().saturating_sub(LOG_LINES)).map(|line| (*line).to_owned()).collect()
}

/// The machine's memory in kB: used, and in all (proc(5)).
fn memory() -> Option<(u64, u64)> {
    let text = fs::read_to_string(PathBuf::from("/proc/meminfo")).ok()?;
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    let all = value("MemTotal:")?;
    Some((all.saturating_sub(value("MemAvailable:")?), all))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn rates_are_what_was_carried_since_the_last_look() {
        let mut watch = Watch::new(Path::new(""), Path::new(""));
        let status = |rx: u64, tx: u64| serde_json::json!({ "wans": [{ "name": "isp", "usage": { "rx_octets": rx, "tx_octets": tx } }] });
        let start = Instant::now();
        assert!(watch.rates(&status(1000, 5), start).is_empty());
        let rates = watch.rates(&status(5000, 5), start + Duration::from_secs(2));
        assert_eq!(rates["isp"], (2000, 0));
        let rates = watch.rates(&status(0, 0), start + Duration::from_secs(4));
        assert_eq!(rates["isp"], (0, 0), "a gateway that was started anew");
    }

    #[test]
    fn this_machine_tells_its_memory() {
        let (used, all) = memory().unwrap();
        assert!(used > 0 && used < all);
    }
}
