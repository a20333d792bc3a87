//! One test's world, and the address plan that the tests share.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::netns::{Namespace, sweep, text};
use crate::pins;

/// The host on the far side.
pub const WEB: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 80);
/// The ISP's router, in the far host's network 203.0.113.0/24.
pub const CORE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
/// The host on the far side, over IPv6.
pub const WEB6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 0x80);
/// The ISP's router, in the far host's network 2001:db8:ffff::/64.
pub const CORE6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1);
/// The gateway in its LAN, 192.168.1.0/24.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
/// The LAN's host with a fixed lease.
pub const NAS: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 10);
/// Its Ethernet address.
pub const NAS_MAC: &str = "52:54:00:aa:bb:cc";
/// What the subscriber calls itself.
pub const USERNAME: &str = "user@isp.example";
/// What it calls itself on a second session, for IPv6.
pub const USERNAME6: &str = "user@v6.isp.example";
/// The subscriber's password, of both.
pub const PASSWORD: &str = "correct horse battery";

static NEXT: AtomicU32 = AtomicU32::new(0);

#[track_caller]
fn require_root() {
    assert!(
        rustix::process::geteuid().is_root(),
        "this test makes network namespaces and needs root: run `make test` with sudo at hand, or as root"
    );
}

/// One test's world. There are as many at a time as this machine has processors, across processes too: labs wait most of the
/// time. Make it first, so that it is dropped last.
#[derive(Debug)]
pub struct Lab {
    name: String,
    folder: PathBuf,
    seat: usize,
    _locks: Vec<File>,
}

/// How many labs there are at a time.
pub fn seats() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(8)
}

/// Waits for one of the seats, and takes it.
fn sit() -> (usize, File) {
    loop {
        for seat in 0..seats() {
            let lock = lock(seat);
            match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return (seat, lock),
                Err(Errno::WOULDBLOCK | Errno::INTR) => {}
                Err(error) => panic!("cannot lock a file: {error}"),
            }
        }
        thread::sleep(Duration::from_millis(50));
    }
}

fn lock(seat: usize) -> File {
    File::create(format!("/run/genkan-test-{seat}.lock")).expect("root can write to /run")
}

impl Lab {
    /// Waits until there are fewer labs than [`seats`], and removes what a dead run has left.
    ///
    /// # Panics
    ///
    /// When this process is not root.
    #[track_caller]
    pub fn new(name: &str) -> Lab {
        require_root();
        let (seat, lock) = sit();
        Lab::with(name, seat, vec![lock])
    }

    /// A lab beside which there is no other: for what looks at the whole machine, or measures it.
    ///
    /// # Panics
    ///
    /// When this process is not root.
    #[track_caller]
    pub fn alone(name: &str) -> Lab {
        require_root();
        let locks = (0..seats()).map(|seat| {
            let lock = lock(seat);
            flock(&lock, FlockOperation::LockExclusive).expect("a file can be locked");
            lock
        });
        Lab::with(name, 0, locks.collect())
    }

    fn with(name: &str, seat: usize, locks: Vec<File>) -> Lab {
        sweep();
        pins::sweep();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // Short: a control socket's path has at most 107 octets.
        let folder = PathBuf::from(format!("{}{}-{number}", pins::FOLDERS, std::process::id()));
        fs::create_dir_all(&folder).expect("root can write to /run");
        let _ = fs::remove_dir_all(target().join("lab-logs").join(name));
        Lab { name: name.into(), folder, seat, _locks: locks }
    }

    /// Which of the labs of this time it is, from 0.
    pub fn seat(&self) -> usize {
        self.seat
    }

    /// A folder of this lab, removed when it ends.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where logs of this lab go. They stay when the test fails.
    pub fn logs(&self) -> PathBuf {
        let folder = target().join("lab-logs").join(&self.name);
        fs::create_dir_all(&folder).expect("the build folder can be written");
        folder
    }

    /// A log of this lab to write to; what is in it stays.
    pub fn log_file(&self, name: &str) -> File {
        let path = self.logs().join(format!("{name}.log"));
        File::options().create(true).append(true).open(&path).expect("the build folder can be written")
    }

    /// Writes a file that only its owner may read, and returns its path.
    pub fn secret(&self, name: &str, content: &str) -> PathBuf {
        self.write(name, content, 0o600)
    }

    /// Writes a script that can be run, and returns its path.
    pub fn script(&self, name: &str, content: &str) -> PathBuf {
        self.write(name, content, 0o755)
    }

    fn write(&self, name: &str, content: &str, mode: u32) -> PathBuf {
        let path = self.folder.join(name);
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&path);
        let file = file.as_mut().unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
        file.write_all(content.as_bytes()).expect("a file can be written");
        path
    }

    /// Has a real DHCP client (udhcpc) configure `device` of `client`.
    ///
    /// # Panics
    ///
    /// When there is no lease within 15 s.
    #[track_caller]
    pub fn lease(&self, client: &Namespace, device: &str) -> Lease {
        client.ip(&["link", "set", device, "up"]);
        let path = self.folder.join(format!("lease-{}-{device}", client.name()));
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("lab/udhcpc.sh");
        let mut command = client.command("busybox");
        command.args(["udhcpc", "-n", "-q", "-f", "-t", "15", "-T", "1", "-O", "ntpsrv", "-i", device, "-s"]);
        command.arg(script);
        let output =
            command.env("LEASE", &path).output().expect("busybox is installed: `make setup` does it");
        assert!(output.status.success(), "no lease on {device}: {}", text(&output));
        let lease = fs::read_to_string(&path).expect("udhcpc told of its lease");
        let word = |key: &str| {
            let line = lease.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
            line.split_whitespace().next().unwrap_or_default().to_string()
        };
        let address =
            |key: &str| word(key).parse().unwrap_or_else(|_| panic!("the lease has no {key}: {lease}"));
        Lease {
            address: address("address"),
            router: address("router"),
            dns: address("dns"),
            domain: word("domain"),
            ntp: word("ntp").parse().ok(),
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
        pins::sweep();
        let logs = target().join("lab-logs").join(&self.name);
        if std::thread::panicking() {
            eprintln!("--- logs of this test are in {}", logs.display());
        } else {
            let _ = fs::remove_dir_all(logs);
        }
    }
}

/// What a DHCP client was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Its address.
    pub address: Ipv4Addr,
    /// Its default router.
    pub router: Ipv4Addr,
    /// Its first name server.
    pub dns: Ipv4Addr,
    /// Its domain; empty when none was told.
    pub domain: String,
    /// Who tells it the time.
    pub ntp: Option<Ipv4Addr>,
}

/// The workspace's build folder.
pub fn target() -> PathBuf {
    // This program is target/PROFILE/deps/NAME or target/PROFILE/NAME.
    let program = std::env::current_exe().expect("a program knows its path");
    let found = program.ancestors().find(|folder| folder.join("CACHEDIR.TAG").exists());
    found.map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"), Path::to_path_buf)
}

/// The far host's port.
pub fn web(port: u16) -> SocketAddr {
    SocketAddr::from((WEB, port))
}

/// The far host's port, over IPv6.
pub fn web6(port: u16) -> SocketAddr {
    SocketAddr::from((WEB6, port))
}
