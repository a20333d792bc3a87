//! A VPN with the kernel's WireGuard, in the guest: routed, and as the far end of a LAN by the kernel's VXLAN.
//!
//! ```text
//!  desk eth0 ── lan1 router: genkan wan0 ── eth0 guest: wg0, vx0 ── br0 ── eth1 ── eth0 island
//!                    198.51.100.2                198.51.100.1
//! ```

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use genkan_tests::client::transfers;
use genkan_tests::client6::Client6;
use genkan_tests::friends::{BEHIND, INNER, INNER6, INVITED, LAN6, OUTER, OUTER6, PORT, peer_status, vpn};
use genkan_tests::gateway::Genkan;
use genkan_tests::guest::Guest;
use genkan_tests::internet::Internet;
use genkan_tests::lab::Lab;
use genkan_tests::netns::{Namespace, text};
use genkan_tests::peers::{Keys, Peer, WireGuardGo};
use genkan_tests::topology::{House, Port};
use genkan_tests::wait_for;

const PATIENCE: Duration = Duration::from_secs(30);
/// Every instruction of the guest's is emulated.
const LENGTH: u64 = 1_000_000;
const FAR: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);

struct Line {
    gateway: Genkan,
    guest: Guest,
    island: Namespace,
    house: House,
    lab: Lab,
}

impl Line {
    /// `bridge` are more lines of the gateway's VPN.
    #[track_caller]
    fn new(name: &str, bridge: &str) -> Line {
        let lab = Lab::new(name);
        let mut guest = Guest::obtain(&lab);
        let (house, island) = (House::new(Port::Nic, Port::Nic), Namespace::new("island"));
        guest.plug(0, &house.router, "wan0");
        guest.plug(1, &island, "eth0");
        let (ours, theirs) = (Keys::generate(), Keys::generate());
        equip(&mut guest, &theirs, &ours);
        let uplink = format!(
            "[wan.isp]\nport = \"wan0\"\nipv6 = true\nstatic = {{ address = \"{OUTER}/24\", gateway = \"198.51.100.1\", \
             address6 = \"{OUTER6}/64\", gateway6 = \"2001:db8:fffe::1\", prefix6 = \"2001:db8:100::/56\", \
             dns = [\"198.51.100.1\"] }}\n"
        );
        let tables = vpn(&lab, &ours, bridge)
            + &format!(
                "[[vpn.friends.peer]]\nname = \"kernel\"\npublic-key = \"{}\"\nendpoint = \"198.51.100.1:{PORT}\"\n\
                 allowed-ips = [\"{FAR}/32\", \"2001:db8:77::2/128\"]\n\n",
                theirs.public
            )
            + INVITED;
        let gateway = house.run(&lab, &uplink, "prefix = { from = \"isp\", subnet = 1 }\n", &tables);
        gateway.wait_up("isp", PATIENCE);
        Line { gateway, guest, island, house, lab }
    }

    #[track_caller]
    fn desk(&self) -> Ipv4Addr {
        let desk = Client6::slaac(&self.house.desk);
        let leased = self.lab.lease(&self.house.desk, "eth0").address;
        desk.wait_address_in(LAN6, 64, PATIENCE);
        leased
    }
}

/// Makes the guest a friend: addresses on its first card, and the kernel's WireGuard.
#[track_caller]
fn equip(guest: &mut Guest, keys: &Keys, gateway: &Keys) {
    guest.write("/run/test/key", &keys.private);
    guest.run(&format!(
        "ip address add 198.51.100.1/24 dev eth0; ip address add 2001:db8:fffe::1/64 dev eth0
         /usr/sbin/ip link add wg0 type wireguard
         wg set wg0 listen-port {PORT} private-key /run/test/key peer {} allowed-ips {BEHIND}
         ip address add {FAR}/32 dev wg0; ip address add 2001:db8:77::2/128 dev wg0
         ip link set wg0 mtu 1440 up
         for network in 10.77.0.0/24 192.168.1.0/24 2001:db8:77::/64 2001:db8:100::/56; do
             /usr/sbin/ip route add $network dev wg0
         done",
        gateway.public
    ));
}

/// Has the guest carry the Ethernet of its second card, by the kernel's VXLAN.
#[track_caller]
fn carry(guest: &mut Guest) {
    guest.run(&format!(
        "/usr/sbin/ip link add vx0 type vxlan id 42 local {FAR} remote {INNER} dstport 4789
         /usr/sbin/ip link add br0 type bridge
         for device in vx0 eth1; do /usr/sbin/ip link set $device mtu 1500 master br0 up; done
         ip link set br0 up"
    ));
}

/// The friends among themselves: what fails here is no fault of genkan's.
#[test]
fn the_kernel_and_wireguard_go_reach_each_other() {
    let lab = Lab::new("wireguard-kernel-friends");
    let mut guest = Guest::obtain(&lab);
    let (host, island) = (Namespace::new("friend"), Namespace::new("island"));
    guest.plug(0, &host, "eth0");
    guest.plug(1, &island, "eth0");
    host.ip(&["address", "add", &format!("{OUTER}/24"), "dev", "eth0"]);
    island.ip(&["address", "add", "192.168.9.2/24", "dev", "eth0"]);
    let go = WireGuardGo::start(&lab, &host, PORT, 1440);
    host.ip(&["address", "add", &format!("{INNER}/24"), "dev", &go.device]);
    let theirs = Keys::generate();
    equip(&mut guest, &theirs, &go.keys);
    let endpoint = Some(SocketAddr::from(([198, 51, 100, 1], PORT)));
    let allowed = format!("{FAR}/32");
    go.meet(
        &lab,
        Peer { public: &theirs.public, preshared: None, endpoint, allowed: &allowed, keepalive: 0 },
    );
    wait_for("the kernel to answer", PATIENCE, || host.pings(FAR));
    // Frames of 1,500 octets in packets of 1,440.
    carry(&mut guest);
    let vxlan = format!("link add vx0 type vxlan id 42 local {INNER} remote {FAR} dstport 4789");
    host.ip(&vxlan.split(' ').collect::<Vec<_>>());
    host.ip(&["address", "add", "192.168.9.1/24", "dev", "vx0"]);
    host.ip(&["link", "set", "vx0", "mtu", "1500", "up"]);
    wait_for("the island to answer", PATIENCE, || host.pings("192.168.9.2"));
    host.run("ping -c 2 -i 0.3 -W 3 -M do -s 1472 192.168.9.2");
}

#[test]
fn the_kernels_wireguard_is_a_friend_like_any_other() {
    let mut line = Line::new("wireguard-kernel", "");
    let desk = line.desk();
    let inner: [IpAddr; 2] = [FAR.into(), "2001:db8:77::2".parse().expect("an address")];
    for to in inner {
        wait_for("the kernel to answer", PATIENCE, || line.house.desk.pings(to));
        let own = if to.is_ipv4() { 28 } else { 48 };
        line.house.desk.run(&format!("ping -c 2 -i 0.3 -W 3 -M do -s {} {to}", 1440 - own));
    }
    for to in [INNER.to_string(), INNER6.to_string(), desk.to_string()] {
        line.guest.run(&format!("ping -c 2 -W 3 {to}"));
    }
    let shown = line.guest.run("wg show wg0 dump");
    let words: Vec<_> = shown.lines().nth(1).unwrap_or_default().split('\t').collect();
    assert_eq!(words.get(2), Some(&format!("{OUTER}:{PORT}").as_str()), "{shown}");

    // The kernel calls from another port, and forgets its session: the gateway follows.
    line.guest.run("wg set wg0 listen-port 40001");
    line.guest.run(&format!("ping -c 2 -W 3 {INNER}"));
    wait_for("the kernel to be seen at its new port", PATIENCE, || {
        let peer = peer_status(&line.gateway, "kernel")?;
        if peer["endpoint"] == "198.51.100.1:40001" { Ok(()) } else { Err(peer.to_string()) }
    });
    wait_for("the kernel to answer", PATIENCE, || line.house.desk.pings(FAR));
    line.gateway.end();
}

/// ARP, DHCP, SLAAC, and frames of 1,500 octets, by the kernel's VXLAN.
#[test]
fn the_kernels_vxlan_carries_a_lan() {
    let mut line = Line::new("wireguard-kernel-lan", "bridge = { lan = \"home\", vni = 42 }\n");
    carry(&mut line.guest);
    let desk = line.desk();
    let six = Client6::slaac(&line.island);
    let lease = line.lab.lease(&line.island, "eth0");
    let six = six.wait_address_in(LAN6, 64, PATIENCE).address;
    let said = text(&line.island.try_run(&format!("busybox arping -f -c 5 -w 5 -I eth0 {desk}")));
    assert!(said.to_lowercase().contains(&line.house.desk.fact("eth0", "address")), "{said}");
    for to in [IpAddr::from(lease.address), six.into()] {
        let own = if to.is_ipv4() { 28 } else { 48 };
        line.house.desk.run(&format!("ping -c 2 -i 0.3 -W 3 -M do -s {} {to}", 1500 - own));
    }
    let _internet = Internet::start(&line.island, lease.address);
    for to in [IpAddr::from(lease.address), six.into()] {
        transfers(&line.house.desk, (to, 80).into(), LENGTH);
    }
    line.gateway.end();
}
