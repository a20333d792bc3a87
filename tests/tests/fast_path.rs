//! The kernel path under traffic: what it carries is right, what happens beside it does not harm the traffic, and what it
//! loses comes back through user space.
//!
//! Cards are ends of virtual cables, so the kernel half sits at their ingress (tc), and hosts leave checksums, and the
//! cutting of segments, to their cards. `tests/equivalence.rs` compares it with user space frame by frame; every other lab
//! runs with it, too.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use genkan_netstack::id::Mac;
use genkan_netstack::wire::checksum::Sum;
use genkan_tests::client::{Bulk, datagrams, open};
use genkan_tests::client6::Client6;
use genkan_tests::ethernet_isp::EthernetIsp;
use genkan_tests::gateway::{FastPath, Genkan};
use genkan_tests::lab::{Lab, WEB, web, web6};
use genkan_tests::netns::{text, veth};
use genkan_tests::recording::code;
use genkan_tests::topology::{Dial, House, Isp, Port, Terms};
use genkan_tests::wait_for;
use genkan_tests::wire::Wire;

const LENGTH: u64 = 20_000_000;

/// A house online, its ISP a genkan.
struct Line {
    gateway: Genkan,
    house: House,
    isp: Genkan,
    provider: Isp,
    lab: Lab,
}

impl Line {
    #[track_caller]
    fn new(name: &str) -> Line {
        Line::with(name, Isp::default(), Dial::default(), Terms::default())
    }

    /// With IPv6, too.
    #[track_caller]
    fn dual_stack(name: &str) -> Line {
        let dial = Dial {
            wan: "ipv6 = true\nprefix-delegation = { length = 56 }\n",
            lan: "prefix = { from = \"isp\", subnet = 1 }\n",
            ..Dial::default()
        };
        let terms = Terms { ipv6: true, ..Terms::default() };
        Line::with(name, Isp::default().with_ipv6(), dial, terms)
    }

    #[track_caller]
    fn with(name: &str, provider: Isp, dial: Dial<'_>, terms: Terms<'_>) -> Line {
        let lab = Lab::new(name);
        let house = House::new(Port::Nic, Port::Nic);
        veth((&house.router, "wan0"), (&provider.namespace, "access0"));
        let gateway = house.start(&lab, dial, "");
        let isp = provider.start(&lab, terms);
        gateway.wait_up("isp", Duration::from_secs(30));
        lab.lease(&house.desk, "eth0");
        let offloads = house.desk.run("ethtool -k eth0");
        for offload in ["tx-checksumming: on", "tcp-segmentation-offload: on"] {
            assert!(offloads.contains(offload), "{offloads}");
        }
        Line { gateway, house, isp, provider, lab }
    }

    /// Packets that the kernel half has sent by the uplink, and received.
    #[track_caller]
    fn kernel(&self) -> [u64; 2] {
        let status = self.gateway.status().expect("a status");
        let kernel = &status["wans"][0]["kernel"];
        ["tx_packets", "rx_packets"].map(|key| kernel[key].as_u64().expect("a number"))
    }

    /// Waits until the kernel half has sent and received so many more than `before`.
    #[track_caller]
    fn wait_kernel(&self, before: [u64; 2], more: [u64; 2]) -> [u64; 2] {
        wait_for("packets of both directions in the kernel path", Duration::from_secs(5), || {
            let now = self.kernel();
            let is_there = (0..2).all(|way| now[way] >= before[way] + more[way]);
            if is_there { Ok(now) } else { Err(format!("{before:?} before, {now:?} now, {more:?} wanted")) }
        })
    }

    fn fast_path(&self) -> FastPath {
        self.gateway.fast_path().expect("there is a kernel path")
    }

    #[track_caller]
    fn transfer(&self, way: Bulk) {
        way.transfer(&self.house.desk, web(80), LENGTH);
    }

    /// Waits until the kernel half has carried so many packets more than `before`.
    #[track_caller]
    fn wait_carried(&self, before: &FastPath, more: u64) -> FastPath {
        wait_carried(&self.gateway, before, more)
    }

    #[track_caller]
    fn end(self) {
        let fast_path = self.fast_path();
        assert_eq!(fast_path.different, 0, "{}", fast_path.all);
        assert!(fast_path.same > 0, "no sample was compared: {}", fast_path.all);
        self.gateway.end();
        self.isp.end();
    }
}

#[track_caller]
fn wait_carried(gateway: &Genkan, before: &FastPath, more: u64) -> FastPath {
    wait_for("packets in the kernel path", Duration::from_secs(10), || {
        let now = gateway.fast_path()?;
        if now.carried >= before.carried + more { Ok(now) } else { Err(now.all) }
    })
}

#[test]
fn bulk_and_datagrams_are_carried_in_the_kernel_both_ways_and_counted() {
    let line = Line::new("fast-path-carries");
    let before = line.fast_path();
    line.transfer(Bulk::Down);
    // Full segments of 1,452 octets: nearly all of them in the kernel, and what acknowledges them.
    let packets = LENGTH / 1452;
    line.wait_carried(&before, packets * 9 / 10);
    let down = line.wait_kernel([0; 2], [packets / 100, packets * 9 / 10]);
    line.transfer(Bulk::Up);
    // Most of it as large segments, which the kernel cuts when they are even.
    let up = line.wait_kernel(down, [packets / 2, packets / 100]);
    let whole = line.house.desk.inside(|| datagrams(web(7), 200, 1000)).expect("UDP can be sent");
    assert_eq!(whole, 200);
    let after = line.wait_kernel(up, [190, 190]);
    println!("sent and received: {down:?}, {up:?}, {after:?}; {}", line.fast_path().all);
    let received = || {
        let usage = line.gateway.status().expect("a status")["wans"][0]["usage"].clone();
        ["rx_packets", "rx_octets"].map(|member| usage[member].as_u64().expect("a number"))
    };
    let before = received();
    line.transfer(Bulk::Down);
    let after = received();
    assert!(after[0] >= before[0] + packets && after[1] > before[1] + LENGTH, "{before:?}, {after:?}");
    line.end();
}

/// Sends and gets back pieces that are smaller than a segment, each on its own.
fn converse(server: SocketAddr, pieces: usize) -> std::io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&server, Duration::from_secs(10))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    for number in 0..pieces {
        let piece: Vec<u8> = (0..1 + number * 7 % 1300).map(|at| (at * 31 + number) as u8).collect();
        stream.write_all(&piece)?;
        let mut back = vec![0; piece.len()];
        stream.read_exact(&mut back)?;
        assert_eq!(back, piece);
    }
    Ok(())
}

/// The IP version, the transport protocol and the sender of a frame.
type Kind = (u8, u8, [u8; 6]);

/// The kind of a PPPoE frame with TCP or UDP, and whether its checksum is right.
fn checked(frame: &[u8]) -> Option<(Kind, bool)> {
    let packet = frame.get(22..).filter(|_| frame[12..14] == [0x88, 0x64])?;
    let number = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
    let (version, protocol, segment, pseudo) = match (packet.first()? >> 4, &frame[20..22]) {
        (4, [0, 0x21]) => {
            let segment = packet.get(20..usize::from(number(2)))?;
            let [source, destination] =
                [12, 16].map(|at| *packet[at..].first_chunk::<4>().expect("a header"));
            let len = segment.len() as u16;
            (4, packet[9], segment, Sum::pseudo_v4(source.into(), destination.into(), packet[9], len))
        }
        (6, [0, 0x57]) => {
            let segment = packet.get(40..40 + usize::from(number(4)))?;
            let [source, destination] =
                [8, 24].map(|at| *packet[at..].first_chunk::<16>().expect("a header"));
            let len = segment.len() as u32;
            (6, packet[6], segment, Sum::pseudo_v6(source.into(), destination.into(), packet[6], len))
        }
        _ => return None,
    };
    let sender = *frame[6..].first_chunk()?;
    let is_right = pseudo.plus(Sum::of(segment)).is_right();
    matches!(protocol, 6 | 17).then_some(((version, protocol, sender), is_right))
}

/// Whoever reads frames of the line as they are sees whole checksums: no card completes one behind a PPPoE header, and
/// software at the other end may not know of partial ones.
#[test]
fn what_senders_leave_to_their_cards_is_done_behind_pppoe() {
    const PIECES: usize = 200;
    let line = Line::dual_stack("fast-path-checksums");
    let before = line.kernel();
    let wire = Wire::listen(&line.lab, &line.provider.namespace, "access0", "pppoes");
    // What the far host answers datagrams with that come by the ISP's uplink.
    let near = Ipv6Addr::new(0x2001, 0xdb8, 0xfffe, 0, 0, 0, 0, 1);
    for server in [web(7), SocketAddr::new(near.into(), 7)] {
        if server.is_ipv6() {
            // It begins from nothing again.
            let prefix = Ipv6Addr::new(0x2001, 0xdb8, 0x100, 0, 0, 0, 0, 0);
            Client6::slaac(&line.house.desk).wait_address_in(prefix, 40, Duration::from_secs(30));
        }
        line.house.desk.inside(|| converse(server, PIECES)).expect("every piece comes back");
        let whole =
            line.house.desk.inside(|| datagrams(server, PIECES as u32, 999)).expect("UDP can be sent");
        assert_eq!(whole, PIECES as u32, "{server}");
    }
    Bulk::Up.transfer(&line.house.desk, web6(80), LENGTH / 10);
    // Four flows of so many packets each, and as many back.
    let least = 4 * PIECES as u64 * 9 / 10;
    let after = line.wait_kernel(before, [least, least]);
    let mut counts: BTreeMap<_, u64> = BTreeMap::new();
    let frames = wire.end();
    for frame in &frames {
        let Some((what, is_right)) = checked(frame) else { continue };
        assert!(is_right, "{what:?}: {frame:02x?}");
        *counts.entry(what).or_default() += 1;
    }
    println!("{} frames, {counts:?}; the kernel has sent and received {after:?}", frames.len());
    assert_eq!(counts.len(), 8, "both families, both protocols, both ways: {counts:?}");
    assert!(counts.values().all(|count| *count >= PIECES as u64), "{counts:?}");
    line.end();
}

/// Without PPPoE nothing is to be done: the next card cuts and sums.
#[test]
fn over_a_plain_uplink_large_segments_are_carried_whole() {
    let lab = Lab::new("fast-path-plain");
    let house = House::new(Port::Nic, Port::Nic);
    let isp = EthernetIsp::new(&house.router);
    let _leases = isp.dhcp4(&lab);
    let gateway = house.run(&lab, "[wan.isp]\nport = \"wan0\"\ndhcp = true\n", "", "");
    gateway.wait_up("isp", Duration::from_secs(30));
    lab.lease(&house.desk, "eth0");
    for (way, octets, packets) in
        [(Bulk::Down, "rx_octets", "rx_packets"), (Bulk::Up, "tx_octets", "tx_packets")]
    {
        way.transfer(&house.desk, web(80), LENGTH);
        let carried = wait_for("octets in the kernel path", Duration::from_secs(5), || {
            let kernel = gateway.status()?["wans"][0]["kernel"].clone();
            if kernel[octets].as_u64() > Some(LENGTH * 9 / 10) { Ok(kernel) } else { Err(kernel.to_string()) }
        });
        assert!(carried[packets].as_u64() < Some(LENGTH / 1460 / 2), "most are large: {carried}");
        println!("{carried}");
    }
    let fast_path = gateway.fast_path().expect("there is a kernel path");
    assert_eq!(fast_path.different, 0, "{}", fast_path.all);
    assert!(!fast_path.all.contains("large_segment"), "{}", fast_path.all);
    gateway.end();
}

#[test]
fn maps_that_are_emptied_by_hand_under_traffic_are_filled_again() {
    let line = Line::new("fast-path-emptied");
    let going = AtomicBool::new(true);
    std::thread::scope(|scope| {
        let traffic = scope.spawn(|| {
            while going.load(Ordering::Relaxed) {
                line.transfer(Bulk::Down);
            }
        });
        for _ in 0..3 {
            let before = line.fast_path();
            line.wait_carried(&before, 2000);
            genkan_tests::fast_path::empty(&line.gateway, "index4");
            genkan_tests::fast_path::empty(&line.gateway, "flows4");
            let before = line.fast_path();
            line.wait_carried(&before, 2000);
        }
        going.store(false, Ordering::Relaxed);
        traffic.join().expect("the traffic goes on");
    });
    line.end();
}

#[test]
fn a_port_that_is_deleted_and_made_again_is_carried_again() {
    let line = Line::new("fast-path-port");
    line.transfer(Bulk::Down);
    line.house.router.ip(&["link", "del", "lan1"]);
    line.gateway
        .wait_log("that the card is gone", Duration::from_secs(10), |log| log.contains("lan1 is gone"));
    veth((&line.house.router, "lan1"), (&line.house.desk, "eth0"));
    line.gateway
        .wait_log("that the card is back", Duration::from_secs(10), |log| log.contains("lan1: works again"));
    line.lab.lease(&line.house.desk, "eth0");
    let before = line.fast_path();
    line.transfer(Bulk::Down);
    line.transfer(Bulk::Up);
    line.wait_carried(&before, LENGTH / 1452);
    line.end();
}

/// Datagrams and a stream, a packet each millisecond, until `going` is false. Returns how many datagrams came back.
fn chatter(house: &House, going: &AtomicBool) -> u32 {
    house.desk.inside(|| {
        let socket = open(web(7)).expect("a socket");
        socket.set_nonblocking(true).expect("a mode");
        let mut stream = TcpStream::connect(web(7)).ok();
        let (mut back, mut buffer) = (0, [0; 2048]);
        while going.load(Ordering::Relaxed) {
            // While there is no line nothing gets through: that is what is watched.
            let _ = socket.send(&[1; 500]);
            while socket.recv(&mut buffer).is_ok() {
                back += 1;
            }
            if let Some(talking) = &mut stream {
                talking.set_read_timeout(Some(Duration::from_millis(1))).expect("a timeout");
                let _ = talking.write(&[2; 100]);
                let _ = talking.read(&mut buffer);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        back
    })
}

/// Lesson: a redial with another address. The flows of the old address end with it, in the kernel, too.
#[test]
fn a_redial_under_traffic_sends_nothing_with_the_old_address() {
    let Line { gateway, house, mut isp, provider, lab } = Line::new("fast-path-redial");
    let old = gateway.wan("isp").expect("a status").address;
    let ours: Mac = house.router.fact("wan0", "address").parse().expect("an Ethernet address");
    let wire = Wire::listen(&lab, &house.router, "wan0", "ether proto 0x8863 or ether proto 0x8864");
    let fast_path = || gateway.fast_path().expect("there is a kernel path");
    let going = AtomicBool::new(true);
    let new = std::thread::scope(|scope| {
        let talking = scope.spawn(|| chatter(&house, &going));
        wait_carried(&gateway, &fast_path(), 5000);
        isp.kill();
        isp = provider.start(&lab, Terms { pool: "100.65.0.0/16", ..Terms::default() });
        let new = wait_for("another address", Duration::from_secs(60), || match gateway.wan("isp") {
            Ok(wan) if wan.up && wan.address.starts_with("100.65.") => Ok(wan.address),
            other => Err(format!("{other:?}")),
        });
        wait_carried(&gateway, &fast_path(), 5000);
        going.store(false, Ordering::Relaxed);
        let back = talking.join().expect("the traffic goes on");
        assert!(back > 2000, "{back} datagrams came back");
        new
    });
    let mut sent = wire.end();
    sent.retain(|frame| frame.get(6..12) == Some(&ours.0));
    let dials = |frame: &Vec<u8>| frame[12..16] == [0x88, 0x63, 0x11, code::PADI];
    let redial = sent.iter().position(dials).expect("it has dialled again");
    let of = |address: &str, frames: &[Vec<u8>]| {
        let source: Ipv4Addr = address.parse().expect("an address");
        let is_its = |frame: &&Vec<u8>| {
            frame[12..14] == [0x88, 0x64] && frame.get(34..38).is_some_and(|octets| octets == source.octets())
        };
        frames.iter().filter(is_its).count()
    };
    let (before, late, after) =
        (of(&old, &sent[..redial]), of(&old, &sent[redial..]), of(&new, &sent[redial..]));
    assert!(before > 1000 && after > 1000, "{before} and {after} packets");
    assert_eq!(late, 0, "packets of {old} after the redial began");
    println!("{before} packets of {old}, then {after} of {new}");
    Line { gateway, house, isp, provider, lab }.end();
}

/// RFC 5508 REQ-1: a query's flow lasts 60 s without packets. Those that the kernel carries count, in both directions.
#[test]
fn a_flow_that_the_kernel_alone_carries_lives_on_and_one_that_rests_ends() {
    let line = Line::new("fast-path-expiry");
    let mut busy = line.house.desk.command("ping");
    let busy = busy.args(["-q", "-i", "0.25", "-c", "300", &WEB.to_string()]).stdout(Stdio::piped());
    let busy = busy.spawn().expect("ping is installed");
    line.house.desk.run(&format!("ping -c 4 -i 0.2 {WEB}"));
    let rests = Instant::now();
    let directions = |count| move |now: &FastPath| now.directions == count;
    let wait = |what, limit, wanted: &dyn Fn(&FastPath) -> bool| {
        wait_for(what, Duration::from_secs(limit), || {
            let now = line.gateway.fast_path()?;
            if wanted(&now) { Ok(now) } else { Err(now.all) }
        })
    };
    let unknown = || {
        let status = line.gateway.status().expect("a status");
        status["fast_path"]["punted"]["no_flow"].as_u64().unwrap_or(0)
    };
    let before = wait("both flows in the kernel path", 10, &directions(4));
    let unknown_before = unknown();
    let after = wait("the flow that rests to end", 75, &directions(2));
    assert!(rests.elapsed() > Duration::from_secs(55), "it ended after {} s", rests.elapsed().as_secs());
    assert!(after.carried > before.carried + 2 * 4 * 50, "{}", after.all);
    // Had the other one ended, too, its next packet would have been of no flow.
    assert_eq!(unknown(), unknown_before, "{}", after.all);
    let said = text(&busy.wait_with_output().expect("ping ends"));
    assert!(said.contains(" 0% packet loss"), "{said}");
    line.end();
}
