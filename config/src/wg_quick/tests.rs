use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use genkan_netstack::id::{IpCidr, Ipv4Cidr, Ipv6Cidr};
use genkan_netstack::settings::{Endpoint, VpnPeer};
use genkan_netstack::tunnel::wireguard::{PresharedKey, PublicKey};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::tunnel::network_of;
use crate::{Config, HostFile};

/// Keys of RFC 7748 §6.1: Alice's private one; Bob's public one.
const PRIVATE: &str = "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=";
const OWN_PUBLIC: &str = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=";
const PUBLIC: &str = "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=";
const PRESHARED: &str = "FpCyhws9cxwWoV4xELtfJvjJN+zQVRPISllRWgeopVE=";

/// A machine with these files.
#[derive(Default)]
struct Machine(RefCell<HashMap<String, Vec<u8>>>);

impl Machine {
    fn with(self, name: &str, content: impl AsRef<[u8]>) -> Machine {
        self.0.borrow_mut().insert(name.to_owned(), content.as_ref().to_vec());
        self
    }
}

impl Host for Machine {
    fn read(&self, path: &Path) -> io::Result<HostFile> {
        let files = self.0.borrow();
        let content = path.to_str().and_then(|path| files.get(path)).ok_or(io::ErrorKind::NotFound)?;
        Ok(HostFile { content: content.clone(), mode: 0o600 })
    }

    fn devices(&self) -> Option<Vec<String>> {
        None
    }
}

fn read(text: impl AsRef<[u8]>) -> Result<Import, Report> {
    Import::load_on("wg0.conf", None, &Machine::default().with("wg0.conf", text))
}

fn report(text: &str) -> String {
    match read(text) {
        Ok(import) => panic!("{import:?}"),
        Err(report) => report.to_string(),
    }
}

/// What `genkan check` makes of an import, in a house that has nothing else.
fn checked(import: &Import) -> Result<Config, Report> {
    let toml = format!("[port.lan0]\ntap = \"tap0\"\n{}", import.toml(true));
    let mut machine = Machine::default().with("gateway.toml", toml);
    for (name, secret) in import.secrets() {
        machine = machine.with(&name, format!("{}\n", *secret));
    }
    Config::load_on("gateway.toml", &machine).map(|loaded| loaded.config)
}

#[test]
fn everything_that_a_file_may_say_has_its_line_or_its_reason() {
    let import = read(format!(
        "# a server\n\
         [interface]\r\n\
         PrivateKey = {PRIVATE}\r\n\
         listenport=51821 # not the usual one\n\
         Address = 10.77.0.1/24, fd00:77::1/64\n\
         Address = 10.78.0.1/24\n\
         DNS = 10.77.0.1\n\
         DNS = fd00:77::1, home.arpa\n\
         MTU = 1420\n\
         Table = off\n\
         PreUp = echo {PRESHARED}\n\
         PostUp = iptables -A FORWARD -i %i -j ACCEPT # by hand\n\
         PostUp = true\n\
         PreDown = true\n\
         PostDown = true\n\
         SaveConfig = true\n\
         FwMark = 0xca6c\n\
         \n\
         # Anna's phone\n\
         [Peer]\n\
         PublicKey = {PUBLIC}\n\
         PresharedKey = {PRESHARED}\n\
         AllowedIPs = 10.77.0.2/24,  10.1.2.3\n\
         AllowedIPs = fd00:77::2\n\
         Endpoint = [2001:db8::7]:51820\n\
         PersistentKeepalive = 25\n\
         [Peer] # name: ben\n\
         PublicKey = {}\n\
         AllowedIPs =\n\
         PersistentKeepalive = off\n",
        "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
    ))
    .unwrap_or_else(|report| panic!("{report}"));
    let expected = format!(
        "# Not carried over from the wg-quick file:\n\
         #   line 6, Address: a VPN has one address of each family\n\
         #   line 7, DNS: the gateway asks the DNS servers of its uplinks, and its LANs ask the gateway\n\
         #   line 8, DNS: the gateway asks the DNS servers of its uplinks, and its LANs ask the gateway\n\
         #   line 10, Table: the routes are those of allowed-ips, and the smallest network wins\n\
         #   line 11, PreUp: the gateway runs no commands; [nat], [port-forward] and [filter] say what is translated and let through\n\
         #   line 12, PostUp: the gateway runs no commands; [nat], [port-forward] and [filter] say what is translated and let through\n\
         #   line 13, PostUp: the gateway runs no commands; [nat], [port-forward] and [filter] say what is translated and let through\n\
         #   line 14, PreDown: the gateway runs no commands; [nat], [port-forward] and [filter] say what is translated and let through\n\
         #   line 15, PostDown: the gateway runs no commands; [nat], [port-forward] and [filter] say what is translated and let through\n\
         #   line 16, SaveConfig: the gateway never writes its configuration\n\
         #   line 17, FwMark: the tunnel's own packets never go by a tunnel\n\
         [vpn.wg0]\n\
         private-key-file = \"wg0.key\"\n\
         listen-port = 51821\n\
         address = [\"10.77.0.1/24\", \"fd00:77::1/64\"]\n\
         mtu = 1420\n\
         \n\
         [[vpn.wg0.peer]]\n\
         name = \"Anna-s-phone\"\n\
         public-key = \"{PUBLIC}\"\n\
         preshared-key-file = \"wg0.Anna-s-phone.psk\"\n\
         endpoint = \"[2001:db8::7]:51820\"\n\
         allowed-ips = [\"10.77.0.0/24\", \"10.1.2.3/32\", \"fd00:77::2/128\"]\n\
         keepalive = \"25s\"\n\
         \n\
         [[vpn.wg0.peer]]\n\
         name = \"ben\"\n\
         public-key = \"xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=\"\n\
         allowed-ips = []\n"
    );
    assert_eq!(import.toml(true), expected);
    let secrets = import.secrets();
    let secrets: Vec<(&str, &str)> =
        secrets.iter().map(|(name, key)| (name.as_str(), key.as_str())).collect();
    assert_eq!(secrets, [("wg0.key", PRIVATE), ("wg0.Anna-s-phone.psk", PRESHARED)]);
    assert_eq!(checked(&import).unwrap().vpns[0].peers, import.file.peers);
}

#[test]
fn lines_without_key_files_say_what_belongs_into_them() {
    let text = format!(
        "[Interface]\nPrivateKey = {PRIVATE}\nAddress = 10.77.0.2\n\
         [Peer]\nPublicKey = {PUBLIC}\nPresharedKey = {PRESHARED}\nAllowedIPs = 0.0.0.0/0\nEndpoint = home.example:51820\n"
    );
    let import = read(&text).unwrap();
    let lines = import.toml(false);
    assert_eq!(
        lines,
        format!(
            "[vpn.wg0]\n\
             # the PrivateKey of the wg-quick file belongs into this file, mode 0600; `--out FILE` writes it\n\
             private-key-file = \"wg0.key\"\n\
             listen-port = 51820   # the wg-quick file names none\n\
             address = \"10.77.0.2/32\"\n\
             # The peer knows this address alone, so hosts of the LANs go by it, and nothing begins from the peer.\n\
             # Delete the line if the peer knows your LANs.\n\
             masquerade = true\n\
             \n\
             [[vpn.wg0.peer]]\n\
             public-key = \"{PUBLIC}\"\n\
             # this peer's PresharedKey belongs into this file, mode 0600; `--out FILE` writes it\n\
             preshared-key-file = \"wg0-1.psk\"\n\
             endpoint = \"home.example:51820\"\n\
             allowed-ips = [\"0.0.0.0/0\"]\n"
        )
    );
    assert!(checked(&import).unwrap().vpns[0].masquerade);
}

/// Who has a network of its own inside, or does not send everything there, is known by more than one address.
#[test]
fn only_the_file_of_a_provider_is_taken_for_one() {
    for (address, allowed, masquerades) in [
        ("10.77.0.2/32, fd00:77::2/128", "0.0.0.0/0, ::/0", true),
        ("10.77.0.2", "0.0.0.0/0", true),
        ("10.77.0.2/24", "0.0.0.0/0", false),
        ("10.77.0.2/32", "10.0.0.0/8, ::/0", false),
        ("fd00:77::2/128", "0.0.0.0/0, ::/0", false),
    ] {
        let text = format!(
            "[Interface]\nPrivateKey = {PRIVATE}\nAddress = {address}\n[Peer]\nPublicKey = {PUBLIC}\nAllowedIPs = {allowed}\n"
        );
        let import = read(&text).unwrap();
        let lines = import.toml(true);
        assert_eq!(lines.contains("masquerade = true"), masquerades, "{lines}");
        assert_eq!(
            lines.contains("IPv6 is not translated"),
            masquerades && allowed.contains("::/0"),
            "{lines}"
        );
        assert_eq!(checked(&import).unwrap().vpns[0].masquerade, masquerades);
    }
}

#[test]
fn a_vpn_is_called_as_its_file_or_as_one_says() {
    let text = format!("[Interface]\nPrivateKey = {PRIVATE}\nAddress = 10.77.0.2\n");
    for (path, name, called) in [
        ("wg0.conf", None, "wg0"),
        ("/etc/wireguard/Büro Köln.conf", None, "B-ro-K-ln"),
        ("...", None, "imported"),
        ("wg0.conf", Some("office"), "office"),
    ] {
        let import = Import::load_on(path, name, &Machine::default().with(path, &text)).unwrap();
        assert_eq!(import.name, called);
    }
    let report = Import::load_on("wg0.conf", Some("a]\n[b"), &Machine::default().with("wg0.conf", &text));
    assert!(report.unwrap_err().to_string().contains("cannot be the name of a VPN"));
}

#[test]
fn errors_have_their_place_and_a_suggestion() {
    let text = format!(
        "PrivateKey = {PRIVATE}\n\
         [Interface]\n\
         PrivateKey = {PRIVATE}x\n\
         Adress = 10.77.0.1/24\n\
         PublicKey = {PUBLIC}\n\
         ListenPort = 65536\n\
         MTU = -1\n\
         {PRIVATE}\n\
         [Peers]\n\
         AllowedIPs = 10.0.0.0/8\n\
         [Peer]\n\
         AllowedIPs = 10.0.0.0/33, 10.1.0.0/16,\n\
         Endpoint = 2001:db8::7\n\
         Endpoint = 192.0.2.7:1\n\
         PersistentKeepalive = on\n"
    );
    let expected = "\
error: `PrivateKey` stands in no section
 --> wg0.conf:1:1
  |
1 | PrivateKey = …
  | ^^^^^^^^^^
  = help: write [Interface] or [Peer] above it

error: [Interface] lacks `Address`
 --> wg0.conf:2:1
  |
2 | [Interface]
  | ^^^^^^^^^^^
  = help: wg-quick does without, a gateway does not: add a line such as: Address = 10.77.0.2/32

error: `PrivateKey`: this is no WireGuard key
 --> wg0.conf:3:14
  |
3 | PrivateKey = …
  |              ^
  = help: a key is 32 octets in base64: 44 characters, the last of them `=`

error: unknown key `Adress` in [Interface]
 --> wg0.conf:4:1
  |
4 | Adress = ************
  | ^^^^^^
  = help: did you mean `Address`?

error: unknown key `PublicKey` in [Interface]
 --> wg0.conf:5:1
  |
5 | PublicKey = ********************************************
  | ^^^^^^^^^
  = help: it belongs under [Peer]

error: `ListenPort`: expected a number, found \"65536\"
 --> wg0.conf:6:14
  |
6 | ListenPort = 65536
  |              ^^^^^
  = help: it may be 0 to 65535

error: `MTU`: expected a number, found \"-1\"
 --> wg0.conf:7:7
  |
7 | MTU = -1
  |       ^^
  = help: it may be 576 to 9000

error: this is no line of a wg-quick file
 --> wg0.conf:8:1
  |
8 | ********************************************
  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  = help: a line is KEY = VALUE, [Interface], [Peer] or # comment

error: this is no section of a wg-quick file
 --> wg0.conf:9:1
  |
9 | *******
  | ^^^^^^^
  = help: there are [Interface] and [Peer]

error: [Peer] lacks `PublicKey`
  --> wg0.conf:11:1
   |
11 | [Peer]
   | ^^^^^^
   = help: add a line: PublicKey = …

error: `AllowedIPs`: expected an address or a network, found \"10.0.0.0/33\"
  --> wg0.conf:12:14
   |
12 | AllowedIPs = 10.0.0.0/33, 10.1.0.0/16,
   |              ^^^^^^^^^^^
   = help: write it like 10.77.0.2/32 or fd00:77::/64

error: `AllowedIPs`: expected an address or a network, found \"\"
  --> wg0.conf:12:39
   |
12 | AllowedIPs = 10.0.0.0/33, 10.1.0.0/16,
   |                                       ^
   = help: write it like 10.77.0.2/32 or fd00:77::/64

error: `Endpoint`: expected a host and a port, found \"2001:db8::7\"
  --> wg0.conf:13:12
   |
13 | Endpoint = 2001:db8::7
   |            ^^^^^^^^^^^
   = help: write \"[2001:db8::7]:51820\"

error: `Endpoint` stands here a second time
  --> wg0.conf:14:1
   |
14 | Endpoint = 192.0.2.7:1
   | ^^^^^^^^
   = help: delete one of them

error: `PersistentKeepalive`: expected a number, found \"on\"
  --> wg0.conf:15:23
   |
15 | PersistentKeepalive = on
   |                       ^^
   = help: it may be 0 to 65535
";
    assert_eq!(report(&text), expected);
}

#[test]
fn what_cannot_work_together_is_told_as_in_our_own_files() {
    let text = format!(
        "[Interface]\nPrivateKey = {PRIVATE}\nAddress = 10.77.0.1/24, fd00:77::1/64\nMTU = 1200\n\
         [Peer]\nPublicKey = {OWN_PUBLIC}\nAllowedIPs = 10.77.0.1/32\n\
         [Peer]\n# anna\nPublicKey = {PUBLIC}\nAllowedIPs = 10.2.0.0/16\n\
         [Peer]\nPublicKey = {PUBLIC}\nAllowedIPs = 10.2.0.9/16\n"
    );
    let report = report(&text);
    for line in [
        "error: this is the public key of `vpn.wg0` itself\n --> wg0.conf:6:13",
        "error: `MTU`: 1200 is too small for IPv6\n --> wg0.conf:4:7",
        "error: 10.77.0.1 is our own address in `vpn.wg0`\n --> wg0.conf:7:14",
        "error: the peer anna has this public key already\n  --> wg0.conf:13:13",
        "error: 10.2.0.0/16 is behind the peer anna already\n  --> wg0.conf:14:14",
    ] {
        assert!(report.contains(line), "{line}\nis not in\n{report}");
    }
}

#[test]
fn a_file_without_an_interface_or_text_is_told_so() {
    assert!(report("").contains("there is no [Interface]"));
    assert!(report("[Peer]\n").contains("there is no [Interface]"));
    let report = read(b"[Interface]\n\xff").unwrap_err().to_string();
    assert!(report.starts_with("error: this octet is not UTF-8 text\n --> wg0.conf:2:1"), "{report}");
    let report = Import::load_on("lost.conf", None, &Machine::default()).unwrap_err().to_string();
    assert!(report.starts_with("error: cannot read the wg-quick file: "), "{report}");
}

/// Names in comments are for people, and a commented key is no name.
#[test]
fn a_comment_may_name_a_peer() {
    let named = |lines: &str| {
        let text = format!(
            "[Interface]\nPrivateKey = {PRIVATE}\nAddress = 10.77.0.1/24\n{}\n",
            lines.replace("KEY", &format!("PublicKey = {PUBLIC}"))
        );
        read(text).unwrap().file.peers[0].name.clone()
    };
    for lines in [
        "# anna\n[Peer]\nKEY",
        "[Peer] # anna\nKEY",
        "[Peer]\n# anna\nKEY",
        "### Client anna\n[Peer]\nKEY",
        "# friendly_name=anna\n[Peer]\nKEY",
        "[Peer]\n#Name = anna\nKEY",
    ] {
        assert_eq!(named(lines), "anna", "{lines}");
    }
    for lines in [
        "[Peer]\nKEY",
        "# anna\n\n[Peer]\nKEY",
        "[Peer]\nKEY\n# anna",
        "[Peer]\n# PersistentKeepalive = 25\nKEY",
        &format!("# {PRESHARED}\n[Peer]\nKEY"),
        "# a sentence that goes on for longer than a name may\n[Peer]\nKEY",
    ] {
        assert_eq!(named(lines), "3p7bfXt9…", "{lines}");
    }
}

fn ipv4() -> impl Strategy<Value = IpCidr> {
    (any::<[u8; 4]>(), 0..=32u8)
        .prop_map(|(address, prefix)| IpCidr::V4(Ipv4Cidr { address: address.into(), prefix }))
}

fn ipv6() -> impl Strategy<Value = IpCidr> {
    (any::<[u8; 16]>(), 0..=128u8)
        .prop_map(|(address, prefix)| IpCidr::V6(Ipv6Cidr { address: address.into(), prefix }))
}

/// One of a family, or of each.
fn addresses() -> impl Strategy<Value = Vec<IpCidr>> {
    prop_oneof![vec(ipv4(), 1), vec(ipv6(), 1), (ipv4(), ipv6()).prop_map(|(ipv4, ipv6)| vec![ipv4, ipv6])]
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    let address = (
        prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from)],
        1..=u16::MAX,
    )
        .prop_map(|(address, port)| Endpoint::Address((address, port).into()));
    let name = ("[a-z][a-z0-9]{0,9}(\\.[a-z]{1,9}){0,3}", 1..=u16::MAX)
        .prop_map(|(host, port)| Endpoint::Name { host, port });
    prop_oneof![address, name]
}

fn peer() -> impl Strategy<Value = VpnPeer> {
    (
        prop::option::of("[A-Za-z0-9_-]{1,31}"),
        any::<[u8; 32]>(),
        prop::option::of(any::<[u8; 32]>()),
        prop::option::of(endpoint()),
        vec(prop_oneof![ipv4(), ipv6()].prop_map(network_of), 0..4),
        prop::option::of(1..=65_535u64),
    )
        .prop_map(|(name, public_key, preshared, endpoint, networks, keepalive)| {
            // What stands there twice is read once.
            let mut allowed_ips = Vec::new();
            for network in networks {
                if !allowed_ips.contains(&network) {
                    allowed_ips.push(network);
                }
            }
            VpnPeer {
                name: name.unwrap_or_else(|| key::nickname(PublicKey(public_key))),
                public_key: PublicKey(public_key),
                preshared_key: preshared.map(PresharedKey::new),
                endpoint,
                allowed_ips,
                keepalive: keepalive.map(Duration::from_secs),
            }
        })
}

fn file() -> impl Strategy<Value = WgQuick> {
    (
        any::<[u8; 32]>(),
        prop::option::of(1..=u16::MAX),
        addresses(),
        vec("[a-z0-9.:]{1,9}", 0..3),
        prop::option::of(1280..=9000u16),
        vec(peer(), 0..4),
    )
        .prop_map(|(private, listen_port, addresses, dns, mtu, mut peers)| {
            // No name comes twice.
            for (number, peer) in peers.iter_mut().enumerate().filter(|(_, peer)| is_name(&peer.name)) {
                peer.name.push(char::from(b'0' + number as u8));
            }
            WgQuick { private_key: PrivateKey::new(private), listen_port, addresses, dns, mtu, peers }
        })
}

proptest! {
    /// What we write, we read; what is refused, a check of our own file would refuse, too.
    #[test]
    fn a_file_that_is_written_is_read_again(file in file()) {
        let text = file.text();
        match read(text.as_bytes()) {
            Ok(import) => {
                prop_assert_eq!(&import.file, &file);
                let config = checked(&import).map_err(|report| TestCaseError::fail(report.to_string()))?;
                let vpn = &config.vpns[0];
                prop_assert_eq!(&vpn.private_key, &file.private_key);
                prop_assert_eq!(&vpn.peers, &file.peers);
                prop_assert_eq!(vpn.mtu, file.mtu);
                let addresses: Vec<IpCidr> =
                    vpn.ipv4.map(IpCidr::V4).into_iter().chain(vpn.ipv6.map(IpCidr::V6)).collect();
                prop_assert!(file.addresses.iter().all(|address| addresses.contains(address)));
            }
            Err(report) => {
                let reasons = ["no host can have it", "no peer can have it", "larger than any network",
                    "the network itself", "broadcast address", "is behind the peer", "our own address",
                    "public key already", "all zeros"];
                for diagnostic in &report.diagnostics {
                    let is_known = reasons.iter().any(|reason| diagnostic.message.contains(reason));
                    prop_assert!(is_known, "{}\n{}", report, *text);
                }
            }
        }
    }

    /// Whatever a file says, it is read or refused; what is read is a valid configuration, and no report shows a key.
    #[test]
    fn no_file_makes_the_reader_panic(
        pieces in vec(prop_oneof![
            Just("[Interface]".to_owned()), Just("[Peer]".to_owned()), Just(" = ".to_owned()), Just("\n".to_owned()),
            Just(format!("PrivateKey = {PRIVATE}\n")), Just("Address = 10.77.0.1/24\n".to_owned()),
            Just(format!("PublicKey = {PUBLIC}\n")), Just(format!("PresharedKey={PRESHARED}\n")),
            Just("AllowedIPs = 10.0.0.0/8, ::/0\n".to_owned()), Just("#".to_owned()), Just(",".to_owned()),
            Just("Endpoint = a:1\n".to_owned()), Just("PostUp = ".to_owned()), Just(PRIVATE.to_owned()),
            "\\PC{0,12}",
        ], 0..24),
    ) {
        match read(pieces.concat()) {
            Ok(import) => {
                let lines = import.toml(false);
                prop_assert!(!lines.contains(PRIVATE) && !lines.contains(PRESHARED), "{}", lines);
                let config = checked(&import);
                prop_assert!(config.is_ok(), "{}\n{}", config.unwrap_err(), import.toml(true));
            }
            Err(report) => {
                let report = format!("{report}{report:?}");
                prop_assert!(!report.contains(PRIVATE) && !report.contains(PRESHARED), "{}", report);
            }
        }
    }
}
