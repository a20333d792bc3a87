//! Two gateways back to back, each behind a NAT: one behind another genkan, one behind Linux.
//!
//! ```text
//!  desk eth0 ── lan0 west wan0 ── lan0 upstream: genkan wan0 ── access0 isp
//!                                                                        │ friend0
//!  desk eth0 ── lan0 east wan0 ── inside0 cgn: Linux, masquerading ──────┘ eth0
//! ```
//!
//! | | outside | by which the other knows it | inside | LAN |
//! |---|---|---|---|---|
//! | west | 192.168.1.10 | 198.51.100.2:51820, a port forward | 10.77.0.1 | 192.168.10.0/24 |
//! | east | 100.64.0.2 | whatever the NAT gives it | 10.77.0.2 | 192.168.20.0/24 |

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use genkan_tests::client::transfers;
use genkan_tests::ethernet_isp::{EthernetIsp, ROUTER};
use genkan_tests::friends::{OUTER, PORT, seen_at};
use genkan_tests::gateway::Genkan;
use genkan_tests::internet::Internet;
use genkan_tests::lab::{Lab, NAS, NAS_MAC, WEB};
use genkan_tests::netns::{Namespace, text, veth};
use genkan_tests::peers::Keys;
use genkan_tests::wait_for;

const PATIENCE: Duration = Duration::from_secs(20);
const LENGTH: u64 = 5_000_000;
/// The NAT in front of east.
const CGN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// A gateway at the end of the line, and a host on its LAN.
struct Site {
    gateway: Genkan,
    desk: Namespace,
    _router: Namespace,
}

/// Where a site is, and what it is told of the other.
struct Plan<'a> {
    name: &'a str,
    /// The line of `[wan.isp]` that says where addresses come from.
    uplink: String,
    lan: &'a str,
    inner: Ipv4Addr,
    keys: &'a Keys,
    other: &'a Keys,
    /// Lines of the peer's table.
    peer: String,
    /// Lines of the VPN's table.
    vpn: &'a str,
}

impl Site {
    /// `lay` lays the cable to `wan0`.
    #[track_caller]
    fn start(lab: &Lab, plan: Plan<'_>, lay: impl FnOnce(&Namespace)) -> Site {
        let Plan { name, uplink, lan, inner, keys, other, peer, vpn } = plan;
        let (router, desk) = (Namespace::new(name), Namespace::new(&format!("{name}-desk")));
        lay(&router);
        veth((&router, "lan0"), (&desk, "eth0"));
        let key = lab.secret(&format!("{name}.key"), &keys.private);
        let config = format!(
            "[port.wan0]\nnic = \"wan0\"\n\n[port.lan0]\nnic = \"lan0\"\n\n[wan.isp]\nport = \"wan0\"\n{uplink}\n\n\
             [lan.home]\nports = [\"lan0\"]\naddress = \"{lan}.{}/24\"\ndhcp = {{ range = \"{lan}.{}\" }}\n\n\
             [vpn.friends]\nprivate-key-file = {:?}\naddress = \"{inner}/24\"\n{vpn}\n\
             [[vpn.friends.peer]]\nname = \"other\"\npublic-key = \"{}\"\n{peer}\n\
             [[filter]]\nfrom = \"vpn\"\nto = \"lan\"\naction = \"accept\"\n",
            // On one LAN both are there, with an address and a pool of their own.
            if name == "west" { 1 } else { 2 },
            if name == "west" { format!("100-{lan}.149") } else { format!("150-{lan}.199") },
            key.display().to_string(),
            other.public,
        );
        let gateway = Genkan::start(lab, &router, name, &config);
        gateway.wait_up("isp", PATIENCE);
        Site { gateway, desk, _router: router }
    }
}

struct Pair {
    west: Site,
    east: Site,
    cgn: Namespace,
    _upstream: (Genkan, Namespace),
    _isp: EthernetIsp,
    lab: Lab,
}

impl Pair {
    /// `lans` begin the addresses of both sites' LANs. `allowed` is what each lets the other speak for besides its own
    /// address, `vpn` are more lines of both VPNs.
    #[track_caller]
    fn new(name: &str, lans: [&str; 2], routed: bool, vpn: &str) -> Pair {
        let lab = Lab::new(name);
        let (upstream, cgn) = (Namespace::new("upstream"), Namespace::new("cgn"));
        let isp = EthernetIsp::new(&upstream);
        veth((&isp.namespace, "friend0"), (&cgn, "eth0"));
        isp.namespace.ip(&["address", "add", "192.0.2.1/28", "dev", "friend0"]);
        cgn.ip(&["address", "add", &format!("{CGN}/28"), "dev", "eth0"]);
        cgn.ip(&["route", "add", "default", "via", "192.0.2.1"]);
        cgn.sysctl("net.ipv4.ip_forward", "1");
        masquerade(&cgn, "");
        let config = format!(
            "[port.wan0]\nnic = \"wan0\"\n\n[port.lan0]\nnic = \"lan0\"\n\n\
             [wan.isp]\nport = \"wan0\"\nstatic = {{ address = \"{OUTER}/24\", gateway = \"{ROUTER}\", dns = [\"{WEB}\"] }}\n\n\
             [lan.home]\nports = [\"lan0\"]\naddress = \"192.168.1.1/24\"\ndhcp = {{ range = \"192.168.1.100-192.168.1.199\" }}\n\n\
             [[lan.home.host]]\nname = \"west\"\nmac = \"{NAS_MAC}\"\nipv4 = \"{NAS}\"\n\n\
             [[port-forward]]\nwan = \"isp\"\nprotocol = \"udp\"\nport = {PORT}\nto = \"{NAS}:{PORT}\"\n"
        );
        let (ours, theirs) = (Keys::generate(), Keys::generate());
        let inner = [1, 2].map(|last| Ipv4Addr::new(10, 77, 0, last));
        let allowed = |inner: Ipv4Addr, lan: &str| match routed {
            true => format!("allowed-ips = [\"{inner}/32\", \"{lan}.0/24\"]\n"),
            false => format!("allowed-ips = [\"{inner}/32\"]\n"),
        };
        let mut outer = None;
        let west = Plan {
            name: "west",
            uplink: "dhcp = true".into(),
            lan: lans[0],
            inner: inner[0],
            keys: &ours,
            other: &theirs,
            peer: allowed(inner[1], lans[1]),
            vpn,
        };
        let west = Site::start(&lab, west, |router| {
            veth((&upstream, "lan0"), (router, "wan0"));
            router.ip(&["link", "set", "wan0", "address", NAS_MAC]);
            outer = Some(Genkan::start(&lab, &upstream, "upstream", &config));
        });
        let east = Plan {
            name: "east",
            uplink: "static = { address = \"100.64.0.2/24\", gateway = \"100.64.0.1\" }".into(),
            lan: lans[1],
            inner: inner[1],
            keys: &theirs,
            other: &ours,
            peer: allowed(inner[0], lans[0])
                + &format!("endpoint = \"{OUTER}:{PORT}\"\nkeepalive = \"2s\"\n"),
            vpn,
        };
        let east = Site::start(&lab, east, |router| {
            veth((&cgn, "inside0"), (router, "wan0"));
            cgn.ip(&["address", "add", "100.64.0.1/24", "dev", "inside0"]);
        });
        let outer = outer.expect("the cable was laid");
        Pair { west, east, cgn, _upstream: (outer, upstream), _isp: isp, lab }
    }

    fn end(self) {
        self.west.gateway.end();
        self.east.gateway.end();
    }
}

/// Has Linux translate what leaves; `ports` is ":40000-40009", or nothing to keep them.
#[track_caller]
fn masquerade(cgn: &Namespace, ports: &str) {
    let translation = match ports {
        "" => "masquerade".to_string(),
        ports => format!("meta l4proto udp masquerade to {ports}"),
    };
    let rules = format!(
        "table ip nat\ndelete table ip nat\ntable ip nat {{\nchain out {{\ntype nat hook postrouting priority 100\n\
         oifname eth0 {translation}\n}}\n}}\n"
    );
    let output = cgn.inside(|| {
        use std::io::Write;
        use std::process::{Command, Stdio};
        let mut nft =
            Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        nft.stdin.take().expect("it was asked for").write_all(rules.as_bytes())?;
        nft.wait_with_output()
    });
    let output =
        output.unwrap_or_else(|error| panic!("cannot run nft: {error}; `make setup-test` installs it"));
    assert!(output.status.success(), "{rules}: {}", text(&output));
}

#[test]
fn two_gateways_behind_nat_join_their_lans() {
    let pair = Pair::new("wireguard-pair", ["192.168.10", "192.168.20"], true, "");
    let [west, east] = [&pair.west, &pair.east].map(|site| pair.lab.lease(&site.desk, "eth0").address);
    // East's keepalives open the way, so that west can begin.
    wait_for("east to answer west", PATIENCE, || pair.west.desk.pings(east));
    wait_for("west to answer east", PATIENCE, || pair.east.desk.pings(west));
    assert_eq!(seen_at(&pair.west.gateway, "other").map(|seen| seen.ip()), Ok(IpAddr::from(CGN)));
    let _servers = [Internet::start(&pair.west.desk, west), Internet::start(&pair.east.desk, east)];
    transfers(&pair.west.desk, (east, 80).into(), LENGTH);
    transfers(&pair.east.desk, (west, 80).into(), LENGTH);

    // The NAT forgets east, and gives it another port: west follows with the next keepalive.
    masquerade(&pair.cgn, ":40000-40009");
    pair.cgn.ip(&["link", "set", "eth0", "down"]);
    pair.cgn.ip(&["link", "set", "eth0", "up"]);
    pair.cgn.ip(&["route", "replace", "default", "via", "192.0.2.1"]);
    wait_for("west to see east at its new port", Duration::from_secs(5), || {
        match seen_at(&pair.west.gateway, "other")?.port() {
            40_000..=40_009 => Ok(()),
            other => Err(format!("at port {other}")),
        }
    });
    wait_for("east to answer west", Duration::from_secs(5), || pair.west.desk.pings(east));
    pair.end();
}

#[test]
fn two_gateways_behind_nat_carry_one_lan() {
    let bridge = "bridge = { lan = \"home\", vni = 42, isolate-dhcp = true }\n";
    // Each has an address of its own in the common network: the second LAN is the first one's.
    let pair = Pair::new("wireguard-pair-lan", ["192.168.30", "192.168.30"], false, bridge);
    let [west, east] = [&pair.west, &pair.east].map(|site| pair.lab.lease(&site.desk, "eth0").address);
    assert_ne!(west, east);
    wait_for("east to answer west", PATIENCE, || pair.west.desk.pings(east));
    pair.west.desk.run(&format!("ping -c 2 -i 0.2 -W 2 -M do -s 1472 {east}"));
    let said = text(&pair.east.desk.try_run(&format!("busybox arping -f -c 5 -w 5 -I eth0 {west}")));
    assert!(said.to_lowercase().contains(&pair.west.desk.fact("eth0", "address")), "{said}");
    let _server = Internet::start(&pair.east.desk, east);
    transfers(&pair.west.desk, (east, 80).into(), LENGTH);
    pair.end();
}
