//! A LAN that is carried to friends: Ethernet by VXLAN inside the tunnel. Each friend has wireguard-go, the kernel's VXLAN and
//! an island: a host that is on the LAN by them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::time::{Duration, Instant};

use genkan_tests::client::{datagrams, transfers};
use genkan_tests::client6::Client6;
use genkan_tests::friends::{Friend, Friends, INNER, LAN6, OUTER, PORT};
use genkan_tests::gateway::Genkan;
use genkan_tests::internet::Internet;
use genkan_tests::lab::{GATEWAY, WEB};
use genkan_tests::netns::{Namespace, text, veth};
use genkan_tests::peers::{Delegation, Dhcp4, Radvd};
use genkan_tests::wait_for;

const PATIENCE: Duration = Duration::from_secs(20);
const LENGTH: u64 = 5_000_000;

/// A bridged VPN with anna and ben; `options` are more keys of the bridge.
#[track_caller]
fn bridged(friends: &Friends, options: &str) -> Genkan {
    let Friends { anna, ben, keys, lab, .. } = friends;
    let bridge = format!("bridge = {{ lan = \"home\", vni = 42{options} }}\n");
    let gateway = friends.run(&bridge, &(anna.table("") + &ben.table("")), WEB);
    for friend in [anna, ben] {
        friend.meet(lab, keys, None, Some((OUTER, PORT).into()));
        wait_for("the tunnel", PATIENCE, || friend.host.pings(INNER));
    }
    gateway
}

/// Has a friend carry Ethernet to the gateway, by the kernel's VXLAN inside the tunnel, and returns a host whose `eth0` is on
/// that network. Frames of the host's have this MTU, whatever the tunnel's is.
#[track_caller]
fn island_of(friend: &Friend, role: &str, mtu: u16) -> Namespace {
    let (island, local) = (Namespace::new(role), friend.inner());
    let vxlan = format!("link add vx0 type vxlan id 42 local {local} remote {INNER} dstport 4789");
    friend.host.ip(&vxlan.split(' ').collect::<Vec<_>>());
    friend.host.ip(&["link", "add", "br0", "type", "bridge"]);
    veth((&friend.host, "island0"), (&island, "eth0"));
    let mtu = mtu.to_string();
    for device in ["vx0", "island0"] {
        friend.host.ip(&["link", "set", device, "mtu", &mtu, "master", "br0", "up"]);
    }
    friend.host.ip(&["link", "set", "br0", "up"]);
    island.ip(&["link", "set", "eth0", "mtu", &mtu]);
    island
}

/// Both on one Ethernet: a question by ARP is answered by the one that is asked, with its own address.
#[track_caller]
fn neighbours(host: &Namespace, other: (&Namespace, Ipv4Addr)) {
    let said = text(&host.try_run(&format!("busybox arping -f -c 5 -w 5 -I eth0 {}", other.1)));
    let mac = other.0.fact("eth0", "address");
    assert!(said.to_lowercase().contains(&mac), "{} asked for {}, {mac}: {said}", host.name(), other.1);
}

/// What `to` hears on a port after `from` has said it, and that an answer comes back.
#[track_caller]
fn called(from: (&Namespace, SocketAddr), to: &Namespace, group: SocketAddr) {
    let index = |host: &Namespace| host.fact("eth0", "ifindex").parse::<u32>().expect("an index is a number");
    let hearer = to.inside(|| {
        let any: IpAddr =
            if group.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((any, group.port())).expect("a socket");
        match group.ip() {
            IpAddr::V4(group) if group.is_multicast() => {
                socket.join_multicast_v4(&group, &Ipv4Addr::UNSPECIFIED).expect("a group");
            }
            IpAddr::V6(group) => socket.join_multicast_v6(&group, index(to)).expect("a group"),
            IpAddr::V4(_) => {}
        }
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        socket
    });
    let (host, own) = from;
    let caller = host.inside(|| {
        let socket = UdpSocket::bind(own).expect("a socket");
        socket.set_broadcast(true).expect("a broadcast");
        socket.set_read_timeout(Some(Duration::from_secs(1))).expect("a timeout");
        socket
    });
    let group = match group {
        SocketAddr::V6(group) => SocketAddrV6::new(*group.ip(), group.port(), 0, index(host)).into(),
        group => group,
    };
    let mut buffer = [0; 64];
    caller.send_to(b"who plays?", group).expect("a datagram leaves");
    let (length, caller_seen) =
        hearer.recv_from(&mut buffer).unwrap_or_else(|error| panic!("{group}: {error}"));
    assert_eq!(&buffer[..length], b"who plays?");
    hearer.send_to(b"I do", caller_seen).expect("a datagram leaves");
    let (length, _) =
        caller.recv_from(&mut buffer).unwrap_or_else(|error| panic!("no answer to {group}: {error}"));
    assert_eq!(&buffer[..length], b"I do");
}

/// Anna's island gets all it needs from the gateway, as if it were in the house.
#[test]
fn a_friends_island_is_on_the_lan() {
    let friends = Friends::new("wireguard-island");
    let Friends { anna, house, lab, .. } = &friends;
    let gateway = bridged(&friends, "");
    let island = island_of(anna, "island", 1500);
    let (desk, _) = friends.desk();
    let six = Client6::slaac(&island);
    let lease = lab.lease(&island, "eth0");
    assert_eq!(lease.router, GATEWAY, "{lease:?}");
    let six = six.wait_address_in(LAN6, 64, PATIENCE).address;

    neighbours(&island, (&house.desk, desk));
    neighbours(&house.desk, (&island, lease.address));
    island.run(&format!("ping -c 2 -i 0.2 -W 2 {desk}"));
    house.desk.run(&format!("ping -c 2 -i 0.2 -W 2 {six}"));
    // Frames of every size, whole: those of 1,500 octets are larger than what the tunnel takes.
    for size in [1300, 1391, 1412, 1440, 1472] {
        house.desk.run(&format!("ping -c 2 -i 0.2 -W 2 -M do -s {size} {}", lease.address));
    }
    let internet = Internet::start(&island, lease.address);
    for server in [IpAddr::from(lease.address), six.into()] {
        transfers(&house.desk, (server, 80).into(), LENGTH);
    }
    // A datagram in pieces on the LAN, each of which is in pieces in the tunnel.
    let whole =
        house.desk.inside(|| datagrams((lease.address, 7).into(), 32, 4000)).expect("UDP can be sent");
    assert_eq!(whole, 32);
    drop(internet);

    // Games and printers are found, from either side: a broadcast query, mDNS over both families.
    let dns = |group: IpAddr| SocketAddr::from((group, 5353));
    let groups: [SocketAddr; 3] = [
        (Ipv4Addr::BROADCAST, 27_015).into(),
        dns(Ipv4Addr::new(224, 0, 0, 251).into()),
        dns(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb).into()),
    ];
    for group in groups {
        let any = |address: Ipv4Addr| match group {
            SocketAddr::V4(_) => SocketAddr::from((address, 0)),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        called((&island, any(lease.address)), &house.desk, group);
        called((&house.desk, any(desk)), &island, group);
    }
    gateway.end();
}

/// The far side's server serves the LAN, or each side its own; so do its routers.
#[test]
fn dhcp_and_routers_of_the_far_side_pass_or_not() {
    let friends = Friends::new("wireguard-guard");
    let Friends { anna, house, lab, .. } = &friends;
    let island = island_of(anna, "island", 1500);
    let own = Ipv4Addr::new(192, 168, 1, 2);
    island.ip(&["address", "add", &format!("{own}/24"), "dev", "eth0"]);
    island.speak_ipv6("eth0");
    let far = Ipv6Addr::new(0x2001, 0xdb8, 0x200, 0, 0, 0, 0, 0);
    let _radvd = Radvd::start(lab, &island, "eth0", Delegation { link: Some(far), ..Delegation::default() });
    let (first, last) = (Ipv4Addr::new(192, 168, 1, 30), Ipv4Addr::new(192, 168, 1, 39));
    let _dhcp = Dhcp4::start(lab, &island, "eth0", own, first, last);
    // A server may ask for some seconds whether somebody has the address.
    let asked = |host: &Namespace| {
        host.ip(&["address", "flush", "dev", "eth0"]);
        text(&host.try_run("busybox udhcpc -n -q -f -t 10 -T 1 -A 1 -i eth0 -s /bin/true"))
    };
    let desk = &house.desk;
    let routers = |expected: bool| {
        let six = Client6::slaac(desk);
        let found = six.wait_address_in(LAN6, 64, PATIENCE);
        if expected {
            six.wait_address_in(far, 64, PATIENCE);
        } else {
            // The far side has been asked, too, and more than once.
            std::thread::sleep(Duration::from_secs(3));
            assert!(six.address_in(far, 64).is_err(), "an address of the far side's, beside {found:?}");
        }
    };

    // Both servers offer; dnsmasq on the island is one of them.
    let gateway = bridged(&friends, ", isolate-dhcp = false, ra-guard = false");
    routers(true);
    let offers =
        text(&desk.try_run("busybox udhcpc -n -q -f -t 10 -T 1 -i eth0 -r 192.168.1.35 -s /bin/true"));
    assert!(offers.contains("192.168.1."), "{offers}");
    let log = lab.logs().join("dnsmasq.log");
    let mac = desk.fact("eth0", "address");
    wait_for("the island's server to hear the desk", Duration::from_secs(5), || {
        let log = std::fs::read_to_string(&log).unwrap_or_default();
        if log.contains(&mac) { Ok(()) } else { Err(log) }
    });
    gateway.end();

    let heard = || std::fs::read_to_string(&log).unwrap_or_default().matches(&mac).count();
    let gateway = bridged(&friends, ", isolate-dhcp = true, ra-guard = true");
    routers(false);
    let before = heard();
    let said = asked(desk);
    assert!(said.contains("192.168.1.1"), "the house's own server answers: {said}");
    let said = asked(&anna_desk(&friends));
    assert!(said.contains(&own.to_string()), "the island's own server answers there: {said}");
    assert_eq!(heard(), before, "the desk is not heard on the island");
    gateway.end();
}

/// Another host on anna's island.
fn anna_desk(friends: &Friends) -> Namespace {
    let host = Namespace::new("cabin");
    veth((&friends.anna.host, "island1"), (&host, "eth0"));
    friends.anna.host.ip(&["link", "set", "island1", "master", "br0"]);
    host
}

/// Friends who know each other send their frames themselves, so the gateway does not; a hub does.
#[test]
fn frames_of_a_friend_go_to_another_by_a_hub_alone() {
    let friends = Friends::new("wireguard-hub");
    let Friends { anna, ben, lab, .. } = &friends;
    let islands = [island_of(anna, "island-anna", 1500), island_of(ben, "island-ben", 1500)];
    let gateway = bridged(&friends, "");
    let leases = [0, 1].map(|number: usize| lab.lease(&islands[number], "eth0").address);
    let said = islands[0].try_run(&format!("busybox arping -c 3 -w 3 -I eth0 {}", leases[1]));
    assert!(!said.status.success(), "{}", text(&said));
    gateway.end();

    let gateway = bridged(&friends, ", hub = true");
    for (from, to) in [(0, 1), (1, 0)] {
        neighbours(&islands[from], (&islands[to], leases[to]));
        // With DF a Linux friend tells its own island what its tunnel carries.
        islands[from].run(&format!("ping -c 2 -i 0.2 -W 2 -M dont -s 1472 {}", leases[to]));
    }
    gateway.end();
}

/// Somebody lays a second cable between the island and the house. The storm ends, is named, and the LAN goes on.
#[test]
fn a_loop_made_on_purpose_is_stopped_and_named() {
    let friends = Friends::new("wireguard-loop");
    let Friends { anna, house, .. } = &friends;
    let gateway = bridged(&friends, "");
    let _island = island_of(anna, "island", 1500);
    let (desk, _) = friends.desk();
    house.desk.run(&format!("ping -c 1 -W 2 {GATEWAY}"));
    // The house's other cable ends in a switch, and so does one from the island.
    veth((&anna.host, "shortcut"), (&house.nas, "eth1"));
    house.nas.ip(&["link", "add", "br0", "type", "bridge"]);
    for device in ["eth0", "eth1"] {
        house.nas.ip(&["link", "set", device, "master", "br0"]);
    }
    house.nas.ip(&["link", "set", "br0", "up"]);
    anna.host.ip(&["link", "set", "shortcut", "master", "br0"]);
    house.desk.try_run("busybox arping -q -c 3 -w 4 -I eth0 192.168.1.250");
    let named = Instant::now();
    gateway.wait_log("the loop", PATIENCE, |line| line.contains("loop"));
    println!("named after {} ms", named.elapsed().as_millis());
    let troubles = gateway.status().expect("a status")["lans"][0]["troubles"].clone();
    assert!(
        troubles[0]["blocked_for_s"].as_u64().is_some_and(|left| (50..=60).contains(&left)),
        "{troubles}"
    );
    let shown = text(&gateway.command("status", &[]));
    assert!(shown.contains("there is a loop: nothing passes by "), "{shown}");
    // It is quiet now: few frames pass in a second.
    wait_for("the storm to end", PATIENCE, || {
        let count = || house.nas.fact("eth1", "statistics/rx_packets").parse::<u64>().unwrap_or(0);
        let before = count();
        std::thread::sleep(Duration::from_secs(1));
        let more = count() - before;
        if more < 200 { Ok(()) } else { Err(format!("{more} frames in a second")) }
    });
    wait_for("the gateway to answer", PATIENCE, || house.desk.pings(GATEWAY));
    println!("{desk}");
    gateway.end();
}

/// Frames of 9,000 octets pass where every device takes them.
#[test]
fn jumbo_frames_pass() {
    let friends = Friends::new("wireguard-jumbo");
    let Friends { anna, house, lab, .. } = &friends;
    for device in ["lan0", "lan1"] {
        house.router.ip(&["link", "set", device, "mtu", "9000"]);
    }
    house.desk.ip(&["link", "set", "eth0", "mtu", "9000"]);
    let gateway = bridged(&friends, "");
    let island = island_of(anna, "island", 9000);
    friends.desk();
    let lease = lab.lease(&island, "eth0");
    for host in [&island, &house.desk] {
        host.ip(&["link", "set", "eth0", "mtu", "9000"]);
    }
    house.desk.run(&format!("ping -c 3 -i 0.2 -W 2 -M do -s 8972 {}", lease.address));
    gateway.end();
}
