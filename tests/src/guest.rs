//! Guests: Debian's kernel in QEMU, without hardware acceleration. One has pppd and pppoe-server, the other one genkan.
//!
//! A guest is started by the first test that wants it and stays for the others; two minutes after the last one it switches
//! itself off (`tests/guest/init`). That with the real peers stays also for other test programs. Labs of the same time have
//! guests of their own. A guest's cards end on bridges in a namespace of its own; [`Guest::plug`] lays a cable from a test's
//! namespace to one, [`Guest::join`] one to another guest. [`Guest::run`] has a shell run a script in the guest.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use data_encoding::BASE64;

use crate::gateway::program;
use crate::lab::{self, Lab};
use crate::netns::{self, Namespace};
use crate::wait_for;

/// Ethernet payload that the guests' cards, their taps and bridges carry: enough for RFC 4638.
const MTU: &str = "1600";

/// A kind of guest.
#[derive(Debug)]
struct Machine {
    /// What its namespaces are called first.
    name: &'static str,
    /// Its files, in `target/guest`: what it starts from, its consoles and its processes.
    folder: &'static str,
    /// It has the program under test.
    program: bool,
    processors: u32,
    /// In megabytes.
    memory: u32,
    /// The fifth octet of its cards' addresses.
    mac: &'static str,
    /// eth0 and so on. Their bridges are br0 and so on.
    cards: &'static [Card],
    /// A script that ends what a test has started and forgets what it has configured.
    clear: &'static str,
}

/// A virtio-net card.
#[derive(Debug)]
struct Card {
    /// Pairs of queues.
    queues: u32,
    /// More of QEMU's options.
    options: &'static str,
}

/// The real peers.
const PEERS: Machine = Machine {
    name: "genkan-test-guest",
    folder: "",
    program: false,
    processors: 1,
    memory: 256,
    mac: "6b",
    cards: &[Card { queues: 1, options: "" }, Card { queues: 1, options: "" }],
    clear: "killall -9 pppoe-server pppd pppoe radvd kea-dhcp6 dhcp6c dhcp6s >/dev/null 2>&1
            while [ -d /sys/class/net/ppp0 ]; do sleep 0.1; done
            for vlan in $(cd /sys/class/net; echo eth*.*) br0 vx0 wg0; do ip link del $vlan 2>/dev/null; done
            for card in eth0 eth1; do
                ip link set $card down; ip address flush dev $card
                for key in accept_ra accept_dad; do echo 0 > /proc/sys/net/ipv6/conf/$card/$key; done
                ip link set $card mtu 1500 up
            done
            ip route flush table main
            echo 1 > /proc/sys/net/ipv4/ip_forward
            echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
            rm -rf /etc/ppp /run/test /run/kea /var/lib/dhcpv6
            mkdir -p /etc/ppp /run/test /run/kea /var/lib/dhcpv6",
};

/// The host gives such a card no large segment and no checksum that is still to be completed.
const WHOLE_FRAMES: &str = ",guest_csum=off,guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off";

/// A router: two cards with twice as many queues as there are processors, as XDP wants it, of which one has to tell the host
/// to send whole frames; one with a single queue; and one whose driver refuses XDP, for it cannot tell the host.
const ROUTER: Machine = Machine {
    name: "genkan-test-router",
    folder: "router",
    program: true,
    processors: 2,
    memory: 384,
    mac: "6c",
    cards: &[
        Card { queues: 4, options: WHOLE_FRAMES },
        Card { queues: 4, options: "" },
        Card { queues: 1, options: WHOLE_FRAMES },
        Card { queues: 4, options: ",ctrl_guest_offloads=off" },
    ],
    clear: "for config in /run/test/*.toml; do
                [ ! -e $config ] || genkan stop --flush $config >/dev/null 2>&1
            done
            killall -9 genkan >/dev/null 2>&1
            rm -rf /run/test
            mkdir -p /run/test",
};

/// A guest of a kind. One of each may run for each of the labs of a time.
#[derive(Debug, Clone, Copy)]
struct Instance {
    machine: &'static Machine,
    /// That of the lab.
    seat: usize,
}

/// The running guest, for one test.
#[derive(Debug)]
pub struct Guest {
    instance: Instance,
    stream: BufReader<UnixStream>,
    next: u32,
    /// Ends of cables in the guest's namespace.
    cables: Vec<String>,
}

/// What a script in the guest came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Exit status of the shell.
    pub status: i32,
    /// What it wrote to standard output and standard error.
    pub output: String,
}

impl Guest {
    /// That with the real peers, started when it is not there yet, with nothing running in it and no address on its cards.
    ///
    /// # Panics
    ///
    /// When QEMU or a package is missing, or the guest does not answer within two minutes.
    #[track_caller]
    pub fn obtain(lab: &Lab) -> Guest {
        Guest::of(Instance { machine: &PEERS, seat: lab.seat() })
    }

    /// That with the program under test, which does not run yet. This process boots it anew once.
    ///
    /// # Panics
    ///
    /// As [`Guest::obtain`], and when the program has not been built.
    #[track_caller]
    pub fn router(lab: &Lab) -> Guest {
        static BOOTED: Mutex<BTreeSet<usize>> = Mutex::new(BTreeSet::new());
        let instance = Instance { machine: &ROUTER, seat: lab.seat() };
        if BOOTED.lock().unwrap_or_else(PoisonError::into_inner).insert(lab.seat()) {
            instance.end();
        }
        Guest::of(instance)
    }

    #[track_caller]
    fn of(instance: Instance) -> Guest {
        let stream = match instance.connect() {
            Ok(stream) => stream,
            Err(_) => {
                instance.start();
                wait_for("the guest to open its socket", Duration::from_secs(10), || instance.connect())
            }
        };
        // The guest boots in about ten seconds, slower on a busy machine.
        stream.set_read_timeout(Some(Duration::from_secs(120))).expect("a socket takes a timeout");
        let mut guest = Guest { instance, stream: BufReader::new(stream), next: 0, cables: Vec::new() };
        guest.run(instance.machine.clear);
        guest
    }

    /// Runs a shell script in the guest. What it starts in the background must have its output redirected.
    ///
    /// # Panics
    ///
    /// When the guest does not answer.
    #[track_caller]
    pub fn try_run(&mut self, script: &str) -> Answer {
        self.next += 1;
        let id = format!("{}-{}", std::process::id(), self.next);
        let request = format!("{id} {}\n", BASE64.encode(script.as_bytes()));
        self.stream.get_mut().write_all(request.as_bytes()).expect("the guest takes requests");
        loop {
            let mut line = String::new();
            let got = self.stream.read_line(&mut line).unwrap_or_else(|error| {
                panic!("the guest does not answer ({error}); its console is in {}", self.console().display())
            });
            assert!(got > 0, "the guest ended; its console is in {}", self.console().display());
            let mut words = line.split_whitespace();
            // An answer to a test that is gone.
            if words.next() != Some(&id) {
                continue;
            }
            let status = words.next().and_then(|word| word.parse().ok()).expect("an answer has a status");
            let output =
                BASE64.decode(words.next().unwrap_or_default().as_bytes()).expect("an answer is in base64");
            return Answer { status, output: String::from_utf8_lossy(&output).into_owned() };
        }
    }

    /// Runs a shell script in the guest and returns what it wrote.
    ///
    /// # Panics
    ///
    /// When it fails.
    #[track_caller]
    pub fn run(&mut self, script: &str) -> String {
        let answer = self.try_run(script);
        assert_eq!(answer.status, 0, "in the guest, `{script}` wrote: {}", answer.output);
        answer.output
    }

    /// Writes a file in the guest.
    #[track_caller]
    pub fn write(&mut self, path: &str, content: &(impl AsRef<[u8]> + ?Sized)) {
        self.run(&format!("echo {} | base64 -d > {path}", BASE64.encode(content.as_ref())));
    }

    /// Lays a cable from the guest's card `eth{card}` to a new device of `namespace`.
    #[track_caller]
    pub fn plug(&mut self, card: usize, namespace: &Namespace, device: &str) {
        self.lay(card, namespace.name(), device);
    }

    /// Lays a cable from the guest's card `eth{card}` to another guest's.
    #[track_caller]
    pub fn join(&mut self, card: usize, other: &mut Guest, other_card: usize) {
        let device = end_name();
        self.lay(card, &other.instance.namespace(), &device);
        other.instance.bridge(other_card, &device);
        other.cables.push(device);
    }

    #[track_caller]
    fn lay(&mut self, card: usize, namespace: &str, device: &str) {
        let end = end_name();
        let own = &self.instance.namespace();
        // The device is made in the test's namespace: the cable ends with it. Its own MTU stays 1500; who dials with more
        // has to raise it.
        run_ip(namespace, &["link", "add", device, "type", "veth", "peer", "name", &end, "netns", own]);
        run_ip(namespace, &["link", "set", device, "up"]);
        self.instance.bridge(card, &end);
        self.cables.push(end);
    }

    /// Has its end of each cable take in frames that are redirected into the other one: a veth does so only where packets are
    /// merged, or a program is.
    #[track_caller]
    pub fn take_redirected(&self) {
        for end in &self.cables {
            let namespace = self.instance.namespace();
            let output = Command::new("ip")
                .args(["netns", "exec", &namespace, "ethtool", "-K", end, "gro", "on"])
                .output()
                .expect("iproute2 is installed");
            assert!(output.status.success(), "{}", netns::text(&output));
        }
    }

    /// Processor time that QEMU has taken: for the guest's processors, and for all else, which is its cards.
    #[track_caller]
    pub fn processor_time(&self) -> [Duration; 2] {
        let process = fs::read_to_string(self.instance.pid_file()).expect("the guest runs");
        let threads = fs::read_dir(format!("/proc/{}/task", process.trim())).expect("the guest runs");
        let mut times = [Duration::ZERO; 2];
        for thread in threads.flatten() {
            let read = |file| fs::read_to_string(thread.path().join(file)).unwrap_or_default();
            let spent = read("schedstat").split(' ').next().and_then(|number| number.parse().ok());
            times[usize::from(!read("comm").starts_with("CPU "))] += Duration::from_nanos(spent.unwrap_or(0));
        }
        times
    }

    fn console(&self) -> PathBuf {
        self.instance.console()
    }
}

/// A new name for the end of a cable. A namespace that was removed keeps its devices for a moment: no name comes again.
fn end_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("p{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

impl Drop for Guest {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // What pppd and pppoe-server wrote is half of the story of a failure.
            let logs = self.try_run("tail -n 60 /run/test/* 2>/dev/null");
            eprintln!("--- the guest's logs\n{}", logs.output);
        }
        let namespace = self.instance.namespace();
        for end in &self.cables {
            let _ = Command::new("ip")
                .args(["-n", &namespace, "link", "del", end])
                .stderr(Stdio::null())
                .status();
        }
        self.run(self.instance.machine.clear);
    }
}

/// Ends the guests that run.
pub fn end() {
    for seat in 0..lab::seats() {
        for machine in [&PEERS, &ROUTER] {
            Instance { machine, seat }.end();
        }
    }
}

impl Instance {
    /// Where its cards end, and what QEMU calls it.
    fn namespace(self) -> String {
        format!("{}-{}", self.machine.name, self.seat)
    }

    fn folder(self) -> PathBuf {
        lab::target().join("guest").join(self.machine.folder)
    }

    fn console(self) -> PathBuf {
        self.folder().join(format!("console-{}", self.seat))
    }

    fn pid_file(self) -> PathBuf {
        self.folder().join(format!("pid-{}", self.seat))
    }

    /// A path to a Unix socket is at most 107 octets: too short for some build folders.
    fn socket(self) -> PathBuf {
        Path::new("/run").join(self.namespace())
    }

    fn connect(self) -> Result<UnixStream, String> {
        let socket = self.socket();
        UnixStream::connect(&socket).map_err(|error| format!("no guest at {}: {error}", socket.display()))
    }

    fn end(self) {
        if let Ok(process) = fs::read_to_string(self.pid_file()) {
            let process = process.trim();
            let runs = || {
                fs::read_to_string(format!("/proc/{process}/cmdline"))
                    .is_ok_and(|line| line.contains(&self.namespace()))
            };
            if runs() {
                let _ = Command::new("kill").arg(process).status();
                // Until it is gone, its socket still takes connections.
                wait_for("the guest to end", Duration::from_secs(20), || {
                    if runs() { Err("it runs".into()) } else { Ok(()) }
                });
            }
        }
        netns::remove(&self.namespace());
        let _ = fs::remove_file(self.socket());
    }

    #[track_caller]
    fn start(self) {
        // Two at a time would write the same files.
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let Machine { program: has_program, processors, memory, mac, cards, .. } = self.machine;
        let build = lab::target().join("guest");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("guest/build.sh");
        let mut command = Command::new("sh");
        command.arg(&script).arg(&build).stdin(Stdio::null());
        if *has_program {
            command.arg(program());
        }
        let built =
            command.output().unwrap_or_else(|error| panic!("cannot run {}: {error}", script.display()));
        assert!(built.status.success(), "cannot build the guest: {}", netns::text(&built));

        netns::remove(&self.namespace());
        let _ = fs::remove_file(self.socket());
        let namespace = std::mem::ManuallyDrop::new(Namespace::named(self.namespace()));
        let mut qemu = namespace.command("qemu-system-x86_64");
        qemu.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
        // Its threads tell what they are for ([`Guest::processor_time`]).
        qemu.args(["-name", &format!("{},debug-threads=on", self.namespace())]);
        qemu.args(["-M", "q35", "-accel", "tcg", "-cpu", "max"]);
        qemu.args(["-smp", &processors.to_string(), "-m", &memory.to_string()]);
        let folder = self.folder();
        qemu.arg("-kernel").arg(build.join("vmlinuz")).arg("-initrd").arg(folder.join("initramfs.gz"));
        qemu.args(["-append", "console=ttyS0 loglevel=4 panic=-1 mitigations=off"]);
        qemu.args(["-serial", &format!("file:{}", self.console().display()), "-pidfile"])
            .arg(self.pid_file());
        let socket = self.socket();
        qemu.args(["-chardev", &format!("socket,id=agent,path={},server=on,wait=off", socket.display())]);
        qemu.args([
            "-device",
            "virtio-serial-pci",
            "-device",
            "virtserialport,chardev=agent,name=agent,nr=1",
        ]);
        for (number, card) in cards.iter().enumerate() {
            let (tap, bridge) = (format!("tap{number}"), format!("br{number}"));
            namespace.ip(&["link", "add", &bridge, "type", "bridge"]);
            let mut make = vec!["tuntap", "add", &tap, "mode", "tap"];
            let (mut queues, mut options) = (String::new(), String::new());
            if card.queues > 1 {
                make.push("multi_queue");
                queues = format!(",queues={}", card.queues);
                // An interrupt for each queue of a pair, and two more.
                options = format!(",mq=on,vectors={}", card.queues * 2 + 2);
            }
            namespace.ip(&make);
            namespace.ip(&["link", "set", &tap, "mtu", MTU, "up"]);
            namespace.ip(&["link", "set", &bridge, "mtu", MTU, "up"]);
            self.bridge(number, &tap);
            let netdev = format!("tap,id=net{number},ifname={tap},script=no,downscript=no{queues}");
            let mac = format!("52:54:00:67:{mac}:0{number}");
            let device = format!("virtio-net-pci,netdev=net{number},mac={mac}{options}{}", card.options);
            qemu.args(["-netdev", &netdev, "-device", &device]);
        }
        // The guest outlives this process: the next test uses it.
        let started = qemu.arg("-daemonize").output();
        let started =
            started.unwrap_or_else(|error| panic!("cannot start QEMU: {error}; `make setup` installs it"));
        assert!(
            started.status.success(),
            "cannot start QEMU (`make setup` installs it): {}",
            netns::text(&started)
        );
    }

    /// Connects a device of the namespace with a card.
    #[track_caller]
    fn bridge(self, card: usize, device: &str) {
        let bridge = format!("br{card}");
        run_ip(&self.namespace(), &["link", "set", device, "mtu", MTU, "master", &bridge, "up"]);
    }
}

#[track_caller]
fn run_ip(namespace: &str, arguments: &[&str]) {
    let output =
        Command::new("ip").args(["-n", namespace]).args(arguments).output().expect("iproute2 is installed");
    assert!(output.status.success(), "`ip {}` failed: {}", arguments.join(" "), netns::text(&output));
}
