//! The guest: Debian's kernel with pppd and pppoe-server, in QEMU without hardware acceleration.
//!
//! The guest is started by the first test that wants it and stays for the others, also for those of another test program;
//! two minutes after the last one it switches itself off (`tests/guest/init`). Its cards end on bridges in the namespace
//! `genkan-test-guest`; [`Guest::plug`] lays a cable from a test's namespace to one. [`Guest::run`] has a shell run a script
//! in the guest.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use data_encoding::BASE64;

use crate::lab::{self, Lab};
use crate::netns::{self, Namespace};
use crate::wait_for;

/// Where the guest's cards end.
const NAMESPACE: &str = "genkan-test-guest";
/// The guest's cards: eth0 and eth1. Their bridges are br0 and br1.
const CARDS: usize = 2;
/// Ethernet payload that the guest's cards, their taps and bridges carry: enough for RFC 4638.
const MTU: &str = "1600";

/// The running guest, for one test.
#[derive(Debug)]
pub struct Guest {
    stream: BufReader<UnixStream>,
    next: u32,
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
    /// The guest, started when it is not there yet, with nothing running in it and no address on its cards.
    ///
    /// # Panics
    ///
    /// When QEMU or a package is missing, or the guest does not answer within two minutes.
    #[track_caller]
    pub fn obtain(_lab: &Lab) -> Guest {
        let folder = lab::target().join("guest");
        let stream = match connect() {
            Ok(stream) => stream,
            Err(_) => {
                start(&folder);
                wait_for("the guest to open its socket", Duration::from_secs(10), connect)
            }
        };
        // The guest boots in about ten seconds, slower on a busy machine.
        stream.set_read_timeout(Some(Duration::from_secs(120))).expect("a socket takes a timeout");
        let mut guest = Guest { stream: BufReader::new(stream), next: 0, cables: Vec::new() };
        guest.clear();
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
                panic!("the guest does not answer ({error}); its console is in {}", console().display())
            });
            assert!(got > 0, "the guest ended; its console is in {}", console().display());
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
    pub fn write(&mut self, path: &str, content: &str) {
        self.run(&format!("echo {} | base64 -d > {path}", BASE64.encode(content.as_bytes())));
    }

    /// Lays a cable from the guest's card `eth{card}` to a new device of `namespace`.
    #[track_caller]
    pub fn plug(&mut self, card: usize, namespace: &Namespace, device: &str) {
        // A namespace that was removed keeps its devices for a moment: no name comes again.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let end = format!("p{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        // The device is made in the test's namespace: the cable ends with it. Its own MTU stays 1500; who dials with more
        // has to raise it.
        namespace.ip(&["link", "add", device, "type", "veth", "peer", "name", &end, "netns", NAMESPACE]);
        namespace.ip(&["link", "set", device, "up"]);
        let bridge = format!("br{card}");
        run_ip(&["link", "set", &end, "mtu", MTU, "master", &bridge, "up"]);
        self.cables.push(end);
    }

    /// Ends what a test has started and forgets what it has configured.
    fn clear(&mut self) {
        self.run(
            "killall -9 pppoe-server pppd pppoe radvd kea-dhcp6 dhcp6c dhcp6s >/dev/null 2>&1
             while [ -d /sys/class/net/ppp0 ]; do sleep 0.1; done
             for vlan in $(cd /sys/class/net; echo eth*.*); do ip link del $vlan 2>/dev/null; done
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
        );
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // What pppd and pppoe-server wrote is half of the story of a failure.
            let logs = self.try_run("tail -n 60 /run/test/* 2>/dev/null");
            eprintln!("--- the guest's logs\n{}", logs.output);
        }
        for end in &self.cables {
            let _ =
                Command::new("ip").args(["-n", NAMESPACE, "link", "del", end]).stderr(Stdio::null()).status();
        }
        self.clear();
    }
}

/// Ends the guest, if it runs.
pub fn end() {
    let folder = lab::target().join("guest");
    if let Ok(process) = fs::read_to_string(folder.join("pid")) {
        let process = process.trim();
        let ours =
            fs::read_to_string(format!("/proc/{process}/cmdline")).is_ok_and(|line| line.contains(NAMESPACE));
        if ours {
            let _ = Command::new("kill").arg(process).status();
        }
    }
    netns::remove(NAMESPACE);
}

fn console() -> PathBuf {
    lab::target().join("guest/console")
}

/// A path to a Unix socket is at most 107 octets: too short for some build folders.
fn socket() -> PathBuf {
    Path::new("/run").join(NAMESPACE)
}

fn connect() -> Result<UnixStream, String> {
    UnixStream::connect(socket()).map_err(|error| format!("no guest at {}: {error}", socket().display()))
}

#[track_caller]
fn start(folder: &Path) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("guest/build.sh");
    let built = Command::new("sh")
        .arg(&script)
        .arg(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("cannot run {}: {error}", script.display()));
    assert!(built.status.success(), "cannot build the guest: {}", netns::text(&built));

    netns::remove(NAMESPACE);
    let _ = fs::remove_file(socket());
    let namespace = std::mem::ManuallyDrop::new(Namespace::named(NAMESPACE.into()));
    let mut qemu = namespace.command("qemu-system-x86_64");
    qemu.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-name", NAMESPACE]);
    qemu.args(["-M", "q35", "-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", "256"]);
    qemu.arg("-kernel").arg(folder.join("vmlinuz")).arg("-initrd").arg(folder.join("initramfs.gz"));
    qemu.args(["-append", "console=ttyS0 loglevel=4 panic=-1 mitigations=off"]);
    qemu.args(["-serial", &format!("file:{}", console().display()), "-pidfile"]).arg(folder.join("pid"));
    qemu.args(["-chardev", &format!("socket,id=agent,path={},server=on,wait=off", socket().display())]);
    qemu.args(["-device", "virtio-serial-pci", "-device", "virtserialport,chardev=agent,name=agent,nr=1"]);
    for card in 0..CARDS {
        let (tap, bridge) = (format!("tap{card}"), format!("br{card}"));
        namespace.ip(&["link", "add", &bridge, "type", "bridge"]);
        namespace.ip(&["tuntap", "add", &tap, "mode", "tap"]);
        namespace.ip(&["link", "set", &tap, "mtu", MTU, "master", &bridge, "up"]);
        namespace.ip(&["link", "set", &bridge, "mtu", MTU, "up"]);
        qemu.args(["-netdev", &format!("tap,id=net{card},ifname={tap},script=no,downscript=no")]);
        qemu.args(["-device", &format!("virtio-net-pci,netdev=net{card},mac=52:54:00:67:6b:0{card}")]);
    }
    // The guest outlives this process: the next test program uses it.
    let started = qemu.arg("-daemonize").output();
    let started =
        started.unwrap_or_else(|error| panic!("cannot start QEMU: {error}; `make setup` installs it"));
    assert!(
        started.status.success(),
        "cannot start QEMU (`make setup` installs it): {}",
        netns::text(&started)
    );
}

#[track_caller]
fn run_ip(arguments: &[&str]) {
    let output =
        Command::new("ip").args(["-n", NAMESPACE]).args(arguments).output().expect("iproute2 is installed");
    assert!(output.status.success(), "`ip {}` failed: {}", arguments.join(" "), netns::text(&output));
}
