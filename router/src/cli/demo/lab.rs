//! The lab: four namespaces, the cables between them, and the programs that run in them. Dropping it removes it all.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{Step, far};
use crate::control;
use crate::sys::{netns, random};

pub(super) const FAR_ADDRESS: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);
pub(super) const FAR_ADDRESS_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 2);
pub(super) const CONCENTRATOR_ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
pub(super) const ROUTER_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
pub(super) const LAN: &str = "192.168.1.0/24";
pub(super) const MIB: u64 = 1024 * 1024;

/// Longest time for a step of the client's.
const PATIENCE: Duration = Duration::from_secs(60);

const FAR: &str = "genkan-far";
const ISP: &str = "genkan-isp";
const GATEWAY: &str = "genkan-gateway";
const CLIENT: &str = "genkan-client";
const NAMESPACES: [&str; 4] = [FAR, ISP, GATEWAY, CLIENT];

/// What the name of a demo's directory begins with; its process follows.
const DIRECTORY: &str = "genkan-demo-";

/// A name in the abstract socket space that a running demo holds: its namespaces are not another demo's to sweep.
const ONLY_ONE: &str = "genkan-demo";

const ISP_TOML: &str = r#"# The demo's ISP: a concentrator on one side, the Internet on the other.
[system]
hostname  = "isp"
state-dir = "DIR/isp"
control   = "DIR/isp.sock"

[port.access0]
nic = "access0"

[port.core0]
nic = "core0"

[port.core6]
nic = "core6"

[concentrator.bras]
port       = "access0"
ac-name    = "bras1"
pool       = "198.51.100.0/24"
dns        = ["203.0.113.2"]
users-file = "DIR/users.toml"
prefix-pool = { prefix = "2001:db8:100::/40", delegate = 56 }

[lan.core]
ports   = ["core0"]
address = "203.0.113.1/24"

# Over IPv6 the pool is routed to the ISP by its own provider.
[wan.transit]
port = "core6"
static = { address6 = "2001:db8:ffff::1/64", gateway6 = "2001:db8:ffff::2", prefix6 = "2001:db8:100::/40" }
ipv4 = false
ipv6 = true

[[filter]]
from   = "concentrator"
to     = "lan"
action = "accept"

[[filter]]
from   = "concentrator"
to     = "wan"
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
ipv6 = true

[lan.home]
ports   = ["lan0"]
address = "192.168.1.1/24"
dhcp    = { range = "192.168.1.100-192.168.1.199", lease = "12h" }
prefix  = { from = "isp" }
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

/// Makes sure that this process may make namespaces: root may, and anybody else becomes root of namespaces of its own
/// where the kernel allows that. The error says what to do.
pub(super) fn gain_privileges() -> Result<(), String> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    netns::become_root_of_own().map_err(|error| format!("the demo cannot make its lab: {error}"))
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
    _only_one: UnixListener,
}

impl Lab {
    /// Makes the namespaces, the cables, the far side and the files.
    pub(super) fn build(interrupted: &Arc<AtomicBool>) -> Result<Self, String> {
        let only_one = SocketAddr::from_abstract_name(ONLY_ONE)
            .and_then(|name| UnixListener::bind_addr(&name))
            .map_err(|_| "another demo is running on this machine")?;
        let directory = std::env::temp_dir().join(format!("{DIRECTORY}{}", std::process::id()));
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&directory)
            .map_err(|error| format!("{}: {error}", directory.display()))?;
        let lab = Lab {
            directory,
            interrupted: Arc::clone(interrupted),
            isp: None,
            gateway: None,
            recorder: None,
            _only_one: only_one,
        };
        sweep();
        for name in NAMESPACES {
            netns::create(name).map_err(|error| match error.kind() {
                io::ErrorKind::PermissionDenied => {
                    format!("network namespace {name}: {error}; a container must be a privileged one")
                }
                _ => format!("network namespace {name}: {error}"),
            })?;
            ip(&format!("-n {name} link set lo up"))?;
        }
        cable((FAR, "far0"), (ISP, "core0"))?;
        cable((FAR, "far6"), (ISP, "core6"))?;
        cable((ISP, "access0"), (GATEWAY, "wan0"))?;
        cable((GATEWAY, "lan0"), (CLIENT, "eth0"))?;
        ip(&format!("-n {FAR} address add {FAR_ADDRESS}/24 dev far0"))?;
        ip(&format!("-n {FAR} route add default via 203.0.113.1"))?;
        ip(&format!("-n {FAR} address add {FAR_ADDRESS_V6}/64 dev far6 nodad"))?;
        ip(&format!("-n {FAR} route add 2001:db8:100::/40 via 2001:db8:ffff::1"))?;
        netns::run(FAR, || far::serve(FAR_ADDRESS, FAR_ADDRESS_V6))
            .and_then(|served| served)
            .map_err(|error| format!("the far side's servers: {error}"))?;
        lab.write_files().map_err(|error| format!("{}: {error}", lab.directory.display()))?;
        Ok(lab)
    }

    fn write_files(&self) -> io::Result<()> {
        let password: String = random::<8>()?.iter().map(|octet| format!("{octet:02x}")).collect();
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
            let wan = &status["wans"][0];
            let is_up = wan["address"].is_string() && !wan["ipv6"]["prefixes"].as_array()?.is_empty();
            is_up.then_some(())
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
        let word = |value: &Value| value.as_str().unwrap_or("?").to_owned();
        let (address, prefix) = (word(&wan["address"]), word(&wan["ipv6"]["prefixes"][0]["prefix"]));
        Ok(format!("is up: address {address}, prefix {prefix}, MTU {}", wan["mtu"]))
    }

    /// Has the machine's own DHCP client get a lease.
    pub(super) fn lease(&self) -> Step {
        let script = self.directory.join("lease.sh");
        let (name, mut command) = dhcp_client(&script, &self.directory)
            .ok_or("no DHCP client is installed: apt-get install udhcpc, or isc-dhcp-client")?;
        // It stays in the foreground, and ends with this step.
        let mut client = Program::start(CLIENT, self.directory.join("client.log"), &mut command)
            .map_err(|error| format!("{name}: {error}"))?;
        let lease = self.wait(Duration::from_secs(20), || {
            let alive = client.alive();
            let lease = fs::read_to_string(self.directory.join("lease")).unwrap_or_default();
            match lease.split_whitespace().collect::<Vec<_>>()[..] {
                [address, router, dns, seconds, ..] => {
                    Some(Ok(format!("{address} by {name}; router {router}, DNS {dns}, for {seconds} s")))
                }
                _ if !alive => Some(Err(format!("{name} got none: {}", client.last_words()))),
                _ => None,
            }
        });
        lease.unwrap_or_else(|| Err(format!("{name} got none: {}", client.last_words())))
    }

    /// Waits until the client's kernel has an address from the router's advertisements.
    pub(super) fn slaac(&self) -> Step {
        let words = |what: &str, after: &str| {
            let mut command = Command::new("ip");
            command.args(["-o", "-6"]).args(what.split(' ')).args(["dev", "eth0"]);
            let output = self.output(&mut command).ok()?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            // An address that the kernel still asks its neighbours about is not one yet.
            let line = text.lines().find(|line| line.contains("2001:db8:") || line.contains("default"))?;
            let mut words = line.split_whitespace().skip_while(|word| *word != after).skip(1);
            words.next().filter(|_| !line.contains("tentative")).map(str::to_owned)
        };
        let found = self.wait(Duration::from_secs(20), || {
            Some((words("address show scope global", "inet6")?, words("route show default", "via")?))
        });
        match found {
            Some((address, router)) => {
                Ok(format!("{address} by the router's advertisements; router {router}"))
            }
            None => Err("the client has no address by the router's advertisements".into()),
        }
    }

    pub(super) fn ping(&self) -> Step {
        let mut command = Command::new("ping");
        command.args(["-c", "3", "-i", "0.2", "-w", "10"]).arg(FAR_ADDRESS.to_string());
        let output = self.output(&mut command).map_err(|error| format!("ping: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let last = text.lines().last().unwrap_or_default();
        if output.status.success() {
            let times = last.split_once("= ").map_or(last, |(_, times)| times);
            Ok(format!("{FAR_ADDRESS} answers; min/avg/max {times}"))
        } else {
            Err(format!("{FAR_ADDRESS} does not answer: {last}"))
        }
    }

    /// Runs a command that says little as the client.
    fn output(&self, command: &mut Command) -> io::Result<Output> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = netns::run(CLIENT, || command.spawn())??;
        let ended = self.wait(PATIENCE, || child.try_wait().transpose());
        if ended.is_none() {
            child.kill()?;
        }
        child.wait_with_output()
    }

    /// Runs a step as the client. It is left behind when the user has had enough.
    pub(super) fn on_client(&self, step: impl FnOnce() -> Step + Send + 'static) -> Step {
        let (done, result) = mpsc::channel();
        thread::Builder::new()
            .name("client".into())
            .spawn(move || {
                let outcome = netns::run(CLIENT, step)
                    .unwrap_or_else(|error| Err(format!("network namespace {CLIENT}: {error}")));
                // Nobody listens any more after an interruption.
                let _ = done.send(outcome);
            })
            .map_err(|error| error.to_string())?;
        let outcome = self.wait(PATIENCE, || match result.try_recv() {
            Err(mpsc::TryRecvError::Empty) => None,
            Ok(outcome) => Some(outcome),
            Err(mpsc::TryRecvError::Disconnected) => Some(Err("ended with a panic".into())),
        });
        outcome.unwrap_or_else(|| Err(format!("not done within {} s", PATIENCE.as_secs())))
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

/// Removes the lab's namespaces and what runs in them, also what a demo has left that was killed.
fn sweep() {
    for name in NAMESPACES {
        for process in netns::processes(name).unwrap_or_default() {
            if let Some(process) = Pid::from_raw(process) {
                let _ = kill_process(process, Signal::KILL);
            }
        }
        if netns::path(name).exists() {
            let _ = netns::delete(name);
        }
    }
    for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(DIRECTORY));
        if owner.is_some_and(|owner| !Path::new("/proc").join(owner).exists()) {
            let _ = fs::remove_dir_all(entry.path());
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

/// The machine's DHCP client, set to get a lease and to stay in the foreground.
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
    command.args(["-d", "-1", "-sf"]).arg(script);
    command
        .arg("-lf")
        .arg(directory.join("dhclient.leases"))
        .arg("-pf")
        .arg(directory.join("dhclient.pid"))
        .arg("eth0");
    Some(("dhclient", command))
}
