//! genkan in a guest: its cards are virtio-net, whose driver runs XDP programs, and its kernel is older than TCX.
//!
//! ```text
//!  desk eth0 ── eth0 ┐
//!                    ├ guest: genkan ── eth1 ── the ISP
//!               eth2 ┘ 192.168.1.1/24
//!               eth3
//! ```

use std::time::Duration;

use serde_json::{Value, json};

use crate::gateway::{FastPath, Wan};
use crate::guest::Guest;
use crate::lab::{GATEWAY, PASSWORD, USERNAME};
use crate::wait_for;

/// The card on the LAN. It has queues to spare for XDP.
pub const LAN: usize = 0;
/// The card to the ISP. It has queues to spare for XDP.
pub const WAN: usize = 1;
/// A card with a single queue.
pub const NARROW: usize = 2;
/// A card whose driver refuses XDP: the host may give it large segments, and it cannot tell the host to stop.
pub const STUBBORN: usize = 3;

/// An uplink by PPPoE.
pub const PPPOE: &str =
    "pppoe.password-file = \"/run/test/secret/isp\"\npppoe.echo = { interval = \"2s\", failures = 5 }\n";
/// An uplink by DHCP.
pub const DHCP: &str = "dhcp = true\n";

const CONFIG: &str = "/run/test/router.toml";
/// Loading programs takes seconds where every instruction is emulated.
const PATIENCE: Duration = Duration::from_secs(60);

/// A guest that runs genkan.
#[derive(Debug)]
pub struct Router {
    /// The guest.
    pub guest: Guest,
}

impl Router {
    /// Writes the configuration of the next run: an uplink by [`PPPOE`] or [`DHCP`], a LAN with these cards. `mode` is that
    /// of the kernel path.
    #[track_caller]
    pub fn configure(&mut self, mode: &str, uplink: &str, lan: &[usize]) {
        let mut config = format!(
            "[system]\nhostname = \"router\"\nstate-dir = \"/run/test/state\"\ncontrol = \"/run/test/router.sock\"\n\n\
             [fast-path]\nmode = \"{mode}\"\n\n[port.wan]\nnic = \"eth{WAN}\"\n\n"
        );
        for card in lan {
            config.push_str(&format!("[port.lan{card}]\nnic = \"eth{card}\"\n\n"));
        }
        let ports: Vec<String> = lan.iter().map(|card| format!("\"lan{card}\"")).collect();
        config.push_str(&format!(
            "[wan.isp]\nport = \"wan\"\n{uplink}\n[lan.home]\nports = [{}]\naddress = \"{GATEWAY}/24\"\n\
             dhcp = {{ range = \"192.168.1.100-192.168.1.199\", lease = \"12h\" }}\n",
            ports.join(", ")
        ));
        if uplink.contains("pppoe") {
            config = config
                .replace("port = \"wan\"\n", &format!("port = \"wan\"\npppoe.username = \"{USERNAME}\"\n"));
            self.guest.run("mkdir -p -m 700 /run/test/secret");
            self.guest.write("/run/test/secret/isp", PASSWORD);
            self.guest.run("chmod 600 /run/test/secret/isp");
        }
        self.guest.write(CONFIG, &config);
    }

    /// Runs genkan on the configuration that is there, and returns once its control socket answers.
    #[track_caller]
    pub fn run(&mut self) {
        self.guest.run(&format!(
            "RUST_LOG=info NO_COLOR=1 setsid genkan run {CONFIG} >>/run/test/router.log 2>&1 &"
        ));
        wait_for("the control socket of genkan in the guest", PATIENCE, || {
            if self.guest.try_run("pidof genkan").status != 0 {
                panic!("genkan ended at once: {}", self.log());
            }
            self.status().map(drop)
        });
    }

    /// What it has logged so far.
    #[track_caller]
    pub fn log(&mut self) -> String {
        self.guest.run("cat /run/test/router.log")
    }

    /// Runs another of its commands on the same configuration, and returns what that wrote.
    #[track_caller]
    pub fn command(&mut self, line: &str) -> String {
        self.guest.run(&format!("genkan {line} {CONFIG}"))
    }

    /// What `genkan status --json` says.
    #[track_caller]
    pub fn status(&mut self) -> Result<Value, String> {
        let answer = self.guest.try_run(&format!("genkan status --json {CONFIG}"));
        if answer.status != 0 {
            return Err(answer.output);
        }
        serde_json::from_str(&answer.output).map_err(|error| format!("the status is not JSON: {error}"))
    }

    /// The uplink.
    #[track_caller]
    pub fn wan(&mut self) -> Result<Wan, String> {
        Wan::read(&self.status()?, "isp")
    }

    /// The kernel path; an error when there is none.
    #[track_caller]
    pub fn fast_path(&mut self) -> Result<FastPath, String> {
        FastPath::read(&self.status()?)
    }

    /// What the kernel path has to say of the port on a card.
    #[track_caller]
    pub fn port(&mut self, card: usize) -> Value {
        let status = self.status().expect("a status");
        let name = if card == WAN { "wan".to_owned() } else { format!("lan{card}") };
        let ports = status["fast_path"]["ports"].as_array().into_iter().flatten();
        ports.into_iter().find(|port| port["port"] == name).cloned().unwrap_or_default()
    }

    /// Frames that have come by the AF_XDP sockets of all cards.
    #[track_caller]
    pub fn by_af_xdp(&mut self) -> u64 {
        let status = self.status().expect("a status");
        let ports = status["ports"].as_array().into_iter().flatten();
        ports.filter_map(|port| port["rx_xdp"].as_u64()).sum()
    }

    /// Waits until the uplink is up.
    #[track_caller]
    pub fn wait_up(&mut self) -> Wan {
        wait_for("the guest's uplink to be up", PATIENCE, || match self.wan() {
            Ok(wan) if wan.state == "up" => Ok(wan),
            Ok(wan) => Err(wan.all + &self.log()),
            Err(error) => Err(error),
        })
    }

    /// Every thread has given up what it does not need, with what this kernel has.
    #[track_caller]
    pub fn is_confined(&mut self) {
        let status = self.status().expect("a status");
        let threads = status["privileges"].as_array().expect("the status tells of the threads");
        assert_eq!(threads.len(), 5, "{threads:?}");
        for thread in threads {
            let abi = thread["landlock"].as_u64().unwrap_or(0);
            assert!(abi > 0 && thread["system_calls"].is_u64() && thread["missing"] == json!([]), "{thread}");
        }
    }

    /// Ends it at once, without a chance to say good-bye.
    #[track_caller]
    pub fn kill(&mut self) {
        self.guest.run("killall -9 genkan; while pidof genkan >/dev/null; do sleep 0.1; done");
    }

    /// Has it end everything, and waits until it has.
    #[track_caller]
    pub fn flush(&mut self) {
        self.command("stop --flush");
        self.guest.run("while pidof genkan >/dev/null; do sleep 0.1; done");
        let log = self.log();
        let fault = log.lines().find(|line| line.contains("a fault of the router"));
        assert_eq!(fault, None);
    }
}
