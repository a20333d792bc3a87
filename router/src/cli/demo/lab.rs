//! The lab: four namespaces, the cables between them, and the programs that run in them. Dropping it removes it all.

use std::fs::{self, File};
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{Step, far};
use crate::control;
use crate::sys::netns;

pub(super) const FAR_ADDRESS: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);
pub(super) const CONCENTRATOR_ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
pub(super) const ROUTER_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
pub(super) const LAN: &str = "192.168.1.0/24";
pub(super) const MIB: u64 = 1024 * 1024;

const FAR: &str = "genkan-far";
const ISP: &str = "genkan-isp";
const GATEWAY: &str = "genkan-gateway";
const CLIENT: &str = "genkan-client";
const NAMESPACES: [&str; 4] = [FAR, ISP, GATEWAY, CLIENT];

/// Tells the child of [`gain_privileges`] that it is the child.
const INSIDE: &str = "GENKAN_DEMO_INSIDE";

const ISP_TOML: &str = r#"# The demo's ISP: a concentrator on one side, the Internet on the other.
[system]
hostname  = "isp"
state-dir = "DIR/isp"
control   = "DIR/isp.sock"

[port.access0]
nic = "access0"

[port.core0]
nic = "core0"

[concentrator.bras]
port       = "access0"
ac-name    = "bras1"
pool       = "198.51.100.0/24"
dns        = ["203.0.113.2"]
users-file = "DIR/users.toml"

[lan.core]
ports   = ["core0"]
address = "203.0.113.1/24"

[[filter]]
from   = "concentrator"
to     = "lan"
action = "accept"
"#;

const USERS_TOML: &str = r#"[[user]]
name     = "demo@isp.example"
password = "PASSWORD"
"#;

const GATEWAY_TOML: &str = r#"# The demo's gateway: what a person at home would write.
[system]
hostname  = "genkan"
state-dir = "DIR/gateway"
control   = "DIR/gateway.sock"

[port.wan0]
nic = "wan0"

[port.lan0]
nic = "lan0"

[wan.isp]
port = "wan0"
pppoe.username      = "demo@isp.example"
pppoe.password-file = "DIR/isp.secret"

[lan.home]
ports   = ["lan0"]
address = "192.168.1.1/24"
dhcp    = { range = "192.168.1.100-192.168.1.199", lease = "12h" }
"#;

/// Sets up the interface as the lease says, for udhcpc and dhclient alike, and touches nothing else of the machine.
const LEASE_SCRIPT: &str = r#"#!/bin/sh
case "$1$reason" in
bound | BOUND)
    address=${ip:-$new_ip_address}
    ip address add "$address/24" dev "$interface"
    ip route add default via "${router:-$new_routers}"
    echo "$address ${router:-$new_routers} ${dns:-$new_domain_name_servers} ${lease:-$new_dhcp_lease_time}" >DIR/lease
    ;;
PREINIT) ip link set "$interface" up ;;
esac
"#;

/// Makes sure that this process may make namespaces. `Ok(None)`: it may. `Ok(Some)`: it may not, but a child in a user
/// namespace could, and has run the demo with this result. `Err`: neither, with what to do.
pub(super) fn gain_privileges() -> Result<Option<ExitCode>, String> {
    if std::env::var_os(INSIDE).is_some() || rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let refused = "the demo needs root to make network namespaces, and this kernel allows no user namespace: \
                   run it as sudo genkan demo";
    let allowed = Command::new("unshare").args(["--user", "--map-root-user", "--net", "true"]).output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        return Err(refused.into());
    }
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    // In its own mount namespace the child may hide /run and keep its namespaces' names there.
    let status = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "--mount", "sh", "-c"])
        .arg("mount -t tmpfs none /run && exec \"$@\"")
        .arg("sh")
        .arg(program)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1")
        .status()
        .map_err(|error| error.to_string())?;
    Ok(Some(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)))
}

/// A program that runs in the lab, killed when it is dropped.
struct Program {
    child: Child,
    log: PathBuf,
}

impl Program {
    fn start(namespace: &str, log: PathBuf, command: &mut Command) -> io::Result<Self> {
        let file = File::create(&log)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = netns::run(namespace, || command.spawn())??;
        Ok(Program { child, log })
    }

    fn alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Asks it to end and waits until it has.
    fn terminate(&mut self) -> io::Result<bool> {
        if let Some(process) = Pid::from_raw(self.child.id().cast_signed()) {
            kill_process(process, Signal::TERM)?;
        }
        let given_up = Instant::now() + Duration::from_secs(5);
        while Instant::now() < given_up {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status.success());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(false)
    }

    /// The last lines that it wrote, for an error.
    fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(3).collect();
        lines.into_iter().rev().map(str::trim).collect::<Vec<_>>().join(" / ")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lab.
pub(super) struct Lab {
    directory: PathBuf,
    interrupted: Arc<AtomicBool>,
    isp: Option<Program>,
    gateway: Option<Program>,
    recorder: Option<Program>,
}

impl Lab {
    /// Makes the namespaces, the cables, the far side and the files.
    pub(super) fn build(interrupted: &Arc<AtomicBool>) -> Result<Self, String> {
        let directory = std::env::temp_dir().join(format!("genkan-demo-{}", std::process::id()));
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&directory)
            .map_err(|error| format!("{}: {error}", directory.display()))?;
        let lab =
            Lab { directory, interrupted: Arc::clone(interrupted), isp: None, gateway: None, recorder: None };
        sweep();
        for name in NAMESPACES {
            netns::create(name).map_err(|error| format!("network namespace {name}: {error}"))?;
            ip(&format!("-n {name} link set lo up"))?;
        }
        cable((FAR, "far0"), (ISP, "core0"))?;
        cable((ISP, "access0"), (GATEWAY, "wan0"))?;
        cable((GATEWAY, "lan0"), (CLIENT, "eth0"))?;
        ip(&format!("-n {FAR} address add {FAR_ADDRESS}/24 dev far0"))?;
        ip(&format!("-n {FAR} route add default via 203.0.113.1"))?;
        netns::run(FAR, || far::serve(FAR_ADDRESS))
            .and_then(|served| served)
            .map_err(|error| format!("the far side's servers: {error}"))?;
        lab.write_files().map_err(|error| format!("{}: {error}", lab.directory.display()))?;
        Ok(lab)
    }

    fn write_files(&self) -> io::Result<()> {
        let mut random = [0u8; 8];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
        let password: String = random.iter().map(|octet| format!("{octet:02x}")).collect();
        let directory = self.directory.display().to_string();
        for (name, mode, text) in [
            ("isp.toml", 0o644, ISP_TOML),
            ("users.toml", 0o600, USERS_TOML),
            ("gateway.toml", 0o644, GATEWAY_TOML),
            ("isp.secret", 0o600, "PASSWORD\n"),
            ("lease.sh", 0o700, LEASE_SCRIPT),
        ] {
            let text = text.replace("DIR", &directory).replace("PASSWORD", &password);
            let mut file = fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(mode)
                .open(self.directory.join(name))?;
            io::Write::write_all(&mut file, text.as_bytes())?;
        }
        Ok(())
    }

    /// Starts the gateway, and the capture of its WAN before the first frame is sent.
    pub(super) fn start_gateway(&mut self, capture: &Path) -> Step {
        let program = self.run_genkan(GATEWAY, "gateway")?;
        self.gateway = Some(program);
        let mut command = self.genkan("capture", "gateway");
        command.args(["--at", "wan0", "--write"]).arg(capture);
        let recorder = Program::start(GATEWAY, self.directory.join("capture.log"), &mut command)
            .map_err(|error| format!("the capture: {error}"))?;
        self.recorder = Some(recorder);
        Ok("runs from a TOML file of a dozen lines, and dials".into())
    }

    /// Starts the ISP.
    pub(super) fn start_isp(&mut self) -> Step {
        let program = self.run_genkan(ISP, "isp")?;
        self.isp = Some(program);
        Ok("runs its concentrator `bras1`".into())
    }

    fn genkan(&self, subcommand: &str, name: &str) -> Command {
        // The demo is the program itself, so it can be found.
        let mut command = Command::new(std::env::current_exe().unwrap_or_else(|_| "genkan".into()));
        command.arg(subcommand).arg(self.directory.join(format!("{name}.toml"))).env("NO_COLOR", "1");
        command
    }

    /// Runs `genkan run` in a namespace and waits until it answers.
    fn run_genkan(&self, namespace: &str, name: &str) -> Result<Program, String> {
        let log = self.directory.join(format!("{name}.log"));
        let mut program = Program::start(namespace, log, &mut self.genkan("run", name))
            .map_err(|error| format!("cannot be started: {error}"))?;
        self.wait(Duration::from_secs(10), || {
            if !program.alive() {
                return Some(Err(format!("ended at once: {}", program.last_words())));
            }
            control::status(&self.socket(name)).ok().map(|_| Ok(()))
        })
        .unwrap_or_else(|| Err("does not answer on its control socket".into()))?;
        Ok(program)
    }

    fn socket(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.sock"))
    }

    /// Tries until there is a result, the time is over, or the user has had enough.
    fn wait<T>(&self, patience: Duration, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
        let given_up = Instant::now() + patience;
        loop {
            if let Some(result) = attempt() {
                return Some(result);
            }
            if Instant::now() >= given_up || self.interrupted.load(Ordering::Relaxed) {
                return None;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the gateway's uplink is up, and gives what its log says of the way there.
    pub(super) fn wait_for_session(&self, patience: Duration) -> Result<Vec<String>, String> {
        let up = self.wait(patience, || {
            let status = control::status(&self.socket("gateway")).ok()?;
            (status["wans"][0]["up"] == true).then_some(())
        });
        let log = fs::read_to_string(self.directory.join("gateway.log")).unwrap_or_default();
        let mut told = log.lines().filter_map(|line| {
            let (_, told) = line.split_once(" INFO ").or_else(|| line.split_once(" WARN "))?;
            told.contains("wan isp").then(|| told.trim().to_owned())
        });
        match up {
            Some(()) => Ok(told.collect()),
            None => Err(format!("the session did not come up: {}", told.next_back().unwrap_or_default())),
        }
    }

    pub(super) fn status(&self) -> Result<Value, String> {
        control::status(&self.socket("gateway")).map_err(|error| error.to_string())
    }

    pub(super) fn session_summary(&self) -> Step {
        let status = self.status()?;
        let wan = &status["wans"][0];
        Ok(format!("is up: address {}, MTU {}", wan["address"].as_str().unwrap_or("?"), wan["mtu"]))
    }

    /// Has the machine's own DHCP client get a lease.
    pub(super) fn lease(&self) -> Step {
        let script = self.directory.join("lease.sh");
        let (name, mut command) = dhcp_client(&script, &self.directory)
            .ok_or("no DHCP client is installed: apt-get install udhcpc, or isc-dhcp-client")?;
        let output = netns::run(CLIENT, || command.output())
            .and_then(|output| output)
            .map_err(|error| format!("{name}: {error}"))?;
        let lease = fs::read_to_string(self.directory.join("lease")).unwrap_or_default();
        match lease.split_whitespace().collect::<Vec<_>>()[..] {
            [address, router, dns, seconds, ..] => {
                Ok(format!("{address} by {name}; router {router}, DNS {dns}, for {seconds} s"))
            }
            _ => Err(format!(
                "{name} got none: {}",
                String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default()
            )),
        }
    }

    pub(super) fn ping(&self) -> Step {
        let mut command = Command::new("ping");
        command.args(["-c", "3", "-i", "0.2", "-w", "10"]).arg(FAR_ADDRESS.to_string());
        let output = netns::run(CLIENT, || command.output())
            .and_then(|output| output)
            .map_err(|error| format!("ping: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let last = text.lines().last().unwrap_or_default();
        if output.status.success() {
            let times = last.split_once("= ").map_or(last, |(_, times)| times);
            Ok(format!("{FAR_ADDRESS} answers; min/avg/max {times}"))
        } else {
            Err(format!("{FAR_ADDRESS} does not answer: {last}"))
        }
    }

    /// Runs a step as the client.
    pub(super) fn on_client(&self, step: impl FnOnce() -> Step + Send) -> Step {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err("interrupted".into());
        }
        netns::run(CLIENT, step).map_err(|error| format!("network namespace {CLIENT}: {error}"))?
    }

    /// Ends the capture and says what is in it.
    pub(super) fn finish_capture(&mut self, path: &Path) -> Step {
        let Some(mut recorder) = self.recorder.take() else { return Err("was never begun".into()) };
        if !recorder.alive() {
            return Err(format!("ended early: {}", recorder.last_words()));
        }
        recorder.terminate().map_err(|error| error.to_string())?;
        let size = fs::metadata(path).map_err(|error| format!("{}: {error}", path.display()))?.len();
        Ok(format!("{} ({size} octets): the session from its first frame, for Wireshark", path.display()))
    }

    /// Stops the gateway and looks whether the ISP has seen the session end.
    pub(super) fn stop(&mut self) -> Step {
        let Some(mut gateway) = self.gateway.take() else { return Err("the gateway does not run".into()) };
        let well = gateway.terminate().map_err(|error| error.to_string())?;
        if !well {
            return Err(format!("the gateway did not end well: {}", gateway.last_words()));
        }
        let ended = self.wait(Duration::from_secs(5), || {
            let status = control::status(&self.socket("isp")).ok()?;
            status["concentrators"][0]["sessions"].as_array()?.is_empty().then_some(())
        });
        match ended {
            Some(()) => Ok("the gateway has ended its session, and the ISP has seen it".into()),
            None => Err("the ISP still holds the session".into()),
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // In this order: each program gives its devices back before its namespace goes.
        self.recorder = None;
        for program in [&mut self.gateway, &mut self.isp] {
            if let Some(program) = program {
                let _ = program.terminate();
            }
            *program = None;
        }
        sweep();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Removes the lab's namespaces, also those that a demo left that was killed.
fn sweep() {
    for name in NAMESPACES {
        if netns::path(name).exists() {
            let _ = netns::delete(name);
        }
    }
}

fn cable((namespace, device): (&str, &str), (far_namespace, far_device): (&str, &str)) -> Result<(), String> {
    ip(&format!("-n {namespace} link add {device} type veth peer name {far_device} netns {far_namespace}"))?;
    ip(&format!("-n {namespace} link set {device} up"))?;
    ip(&format!("-n {far_namespace} link set {far_device} up"))
}

fn ip(arguments: &str) -> Result<(), String> {
    let output = Command::new("ip")
        .args(arguments.split(' '))
        .output()
        .map_err(|error| format!("cannot run ip (apt-get install iproute2): {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("ip {arguments}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

/// The machine's DHCP client, set to get one lease and end.
fn dhcp_client(script: &Path, directory: &Path) -> Option<(&'static str, Command)> {
    let present = |name: &str| {
        ["/usr/sbin", "/sbin", "/usr/bin", "/bin"]
            .iter()
            .map(|dir| Path::new(dir).join(name))
            .find(|path| path.exists())
    };
    if let Some(path) = present("udhcpc") {
        let mut command = Command::new(path);
        command.args(["-i", "eth0", "-n", "-q", "-f", "-s"]).arg(script);
        return Some(("udhcpc", command));
    }
    let path = present("dhclient")?;
    let mut command = Command::new(path);
    command.args(["-1", "-sf"]).arg(script);
    command
        .arg("-lf")
        .arg(directory.join("dhclient.leases"))
        .arg("-pf")
        .arg(directory.join("dhclient.pid"))
        .arg("eth0");
    Some(("dhclient", command))
}
