//! Captures of lines, replayed by a gateway that a test configures.

use std::io;
use std::path::Path;

use genkan::replay::{Options, Outcome, Replay};
use genkan_config::{Config, Host, HostFile};

/// A machine that has one configuration and one password.
struct Machine<'a> {
    text: &'a str,
    password: &'a str,
}

impl Host for Machine<'_> {
    fn read(&self, path: &Path) -> io::Result<HostFile> {
        let is_it = path.extension().is_some_and(|extension| extension == "toml");
        let content = if is_it { self.text.to_owned() } else { format!("{}\n", self.password) };
        Ok(HostFile { content: content.into(), mode: 0o600 })
    }

    fn devices(&self) -> Option<Vec<String>> {
        None
    }
}

/// A configuration whose secrets are all the same.
#[track_caller]
pub fn config(text: &str, password: &str) -> Config {
    match Config::load_on("gateway.toml", &Machine { text, password }) {
        Ok(loaded) => loaded.config,
        Err(report) => panic!("{report}"),
    }
}

/// The configuration of an uplink by PPPoE at port `wan0`, and of a LAN at `lan0`.
pub fn dialled(username: &str) -> String {
    format!(
        "[port.wan0]\nnic = \"wan0\"\n[port.lan0]\nnic = \"lan0\"\n\n\
         [wan.isp]\nport = \"wan0\"\nipv6 = true\npppoe.username = {username:?}\n\
         pppoe.password-file = \"isp.secret\"\n\n\
         [lan.home]\nports = [\"lan0\"]\naddress = \"192.168.1.1/24\"\n\
         prefix = {{ from = \"isp\", subnet = 0 }}\ndhcp6 = \"off\"\n"
    )
}

/// Replays a capture to its end.
#[track_caller]
pub fn replay(config: &Config, capture: &Path, seed: u64) -> (Replay, Vec<Outcome>) {
    let options = Options { seed, ..Options::default() };
    let mut replay = Replay::open(config, capture, &options).unwrap_or_else(|error| panic!("{error}"));
    let outcomes = replay.by_ref().collect();
    (replay, outcomes)
}

/// All outcomes, a line each.
pub fn text(replay: &Replay, outcomes: &[Outcome]) -> String {
    outcomes.iter().map(|outcome| replay.text(outcome) + "\n").collect()
}
