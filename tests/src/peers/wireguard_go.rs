//! wireguard-go in a namespace, and `wg` to configure it and to look at it.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::lab::Lab;
use crate::netns::{Namespace, stop, text};
use crate::wait_for;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A key pair in base64, as `wg` makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// The private half.
    pub private: String,
    /// The public half.
    pub public: String,
}

impl Keys {
    /// A new pair.
    #[track_caller]
    pub fn generate() -> Keys {
        let private = wg(&["genkey"], "");
        Keys { public: wg(&["pubkey"], &private), private }
    }

    /// A new preshared key in base64.
    #[track_caller]
    pub fn preshared() -> String {
        wg(&["genpsk"], "")
    }
}

/// Whom it talks to.
#[derive(Debug, Clone, Copy)]
pub struct Peer<'a> {
    /// Public key in base64.
    pub public: &'a str,
    /// Preshared key in base64.
    pub preshared: Option<&'a str>,
    /// Where it is called; `None` waits for its call.
    pub endpoint: Option<SocketAddr>,
    /// The networks behind it, with commas between them.
    pub allowed: &'a str,
    /// Seconds between keepalives; 0 sends none.
    pub keepalive: u16,
}

/// What `wg show dump` says of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Its public key.
    pub public: String,
    /// Where it is.
    pub endpoint: Option<SocketAddr>,
    /// Seconds since 1970 at the last handshake; 0 when there was none.
    pub handshake: u64,
    /// Octets that came from it.
    pub received: u64,
    /// Octets that went to it.
    pub sent: u64,
}

/// wireguard-go in a namespace, until dropped.
#[derive(Debug)]
pub struct WireGuardGo {
    /// The tunnel's device; its addresses and routes are the caller's matter.
    pub device: String,
    /// Its key pair.
    pub keys: Keys,
    child: Child,
}

impl WireGuardGo {
    /// Starts it with a new key pair; its device is up, with this MTU, and listens on this port.
    #[track_caller]
    pub fn start(lab: &Lab, namespace: &Namespace, port: u16, mtu: u16) -> WireGuardGo {
        WireGuardGo::other(lab, namespace, &["wireguard-go", "-f"], port, mtu)
    }

    /// The same with another program that takes `wg`'s commands, in the place of wireguard-go. The last of its words will be
    /// the device's name.
    #[track_caller]
    pub fn other(lab: &Lab, namespace: &Namespace, words: &[&str], port: u16, mtu: u16) -> WireGuardGo {
        // The name is that of a socket in /run/wireguard, too, which all namespaces share.
        let device = format!("wg{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let child = namespace
            .command(words[0])
            .args(&words[1..])
            .arg(&device)
            .env("LOG_LEVEL", "verbose")
            .stdout(lab.log_file(&device))
            .stderr(lab.log_file(&device))
            .spawn();
        let child = child.unwrap_or_else(|error| {
            panic!("cannot start {}: {error}; `make setup-test` installs it", words[0])
        });
        let mut go = WireGuardGo { device, keys: Keys::generate(), child };
        // Between the birth of its socket and the first who may call there, `wg` would remove that as a dead one's.
        let socket = Path::new("/run/wireguard").join(format!("{}.sock", go.device));
        let mut seen = false;
        wait_for(&format!("{} to take commands", words[0]), Duration::from_secs(10), || {
            if !std::mem::replace(&mut seen, socket.exists()) {
                return Err(format!("there is no {}", socket.display()));
            }
            let output = Command::new("wg").args(["show", &go.device, "dump"]).output();
            let output = output.map_err(|error| error.to_string())?;
            if output.status.success() { Ok(()) } else { Err(text(&output)) }
        });
        go.take(lab, go.keys.clone());
        go.listen(port);
        namespace.ip(&["link", "set", &go.device, "mtu", &mtu.to_string(), "up"]);
        go
    }

    /// Its process.
    pub fn process(&self) -> u32 {
        // `ip netns exec` becomes the program.
        self.child.id()
    }

    /// Gives it another key pair. Sessions of the old one end.
    #[track_caller]
    pub fn take(&mut self, lab: &Lab, keys: Keys) {
        let file = lab.secret(&self.device, &keys.private);
        self.set(&["private-key", &file.display().to_string()]);
        self.keys = keys;
    }

    /// Has it listen on another port.
    #[track_caller]
    pub fn listen(&self, port: u16) {
        self.set(&["listen-port", &port.to_string()]);
    }

    /// Tells it of a peer. What it knows of that peer, its session with it included, is forgotten.
    #[track_caller]
    pub fn meet(&self, lab: &Lab, peer: Peer<'_>) {
        self.forget(peer.public);
        let secret = format!("{}-preshared", self.device);
        let preshared = peer.preshared.map(|key| lab.secret(&secret, key).display().to_string());
        let endpoint = peer.endpoint.map(|endpoint| endpoint.to_string());
        let keepalive = peer.keepalive.to_string();
        let mut words = vec!["peer", peer.public, "allowed-ips", peer.allowed];
        words.extend(["persistent-keepalive", &keepalive]);
        words.extend(preshared.iter().flat_map(|file| ["preshared-key", file]));
        words.extend(endpoint.iter().flat_map(|endpoint| ["endpoint", endpoint]));
        self.set(&words);
    }

    /// Has it call a peer somewhere else from now on.
    #[track_caller]
    pub fn call(&self, public: &str, endpoint: SocketAddr) {
        self.set(&["peer", public, "endpoint", &endpoint.to_string()]);
    }

    /// Has it forget a peer.
    #[track_caller]
    pub fn forget(&self, public: &str) {
        self.set(&["peer", public, "remove"]);
    }

    /// Reads a configuration as `wg setconf` takes it; what it was told before is forgotten.
    #[track_caller]
    pub fn read(&self, path: &Path) {
        wg(&["setconf", &self.device, &path.display().to_string()], "");
    }

    /// What it says of a peer.
    #[track_caller]
    pub fn shown(&self, public: &str) -> Shown {
        let dump = wg(&["show", &self.device, "dump"], "");
        let line = dump.lines().skip(1).find(|line| line.starts_with(public));
        let words: Vec<_> =
            line.unwrap_or_else(|| panic!("no peer {public} in {dump}")).split('\t').collect();
        let number =
            |at: usize| words[at].parse().unwrap_or_else(|_| panic!("no number at {at} of {words:?}"));
        Shown {
            public: words[0].into(),
            endpoint: words[2].parse().ok(),
            handshake: number(4),
            received: number(5),
            sent: number(6),
        }
    }

    #[track_caller]
    fn set(&self, words: &[&str]) {
        wg(&[&["set", &self.device], words].concat(), "");
    }
}

impl Drop for WireGuardGo {
    fn drop(&mut self) {
        stop(&mut self.child, Duration::from_secs(2));
    }
}

/// Runs `wg`. It finds wireguard-go by a socket, from any namespace.
#[track_caller]
fn wg(words: &[&str], input: &str) -> String {
    let child = Command::new("wg")
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child =
        child.unwrap_or_else(|error| panic!("cannot run wg: {error}; `make setup-test` installs it"));
    let mut stdin = child.stdin.take().expect("it was asked for");
    // A program that reads nothing may be gone already.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("a child can be waited for");
    assert!(output.status.success(), "`wg {}` failed: {}", words.join(" "), text(&output));
    text(&output).trim().to_string()
}
