//! Ports on real devices, in network namespaces of their own.
//!
//! Every test makes the namespaces it needs, named `genkan-…` with the process id, and takes them away when it ends.
//! They need root: a test that cannot make a namespace fails.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use genkan::capture::reader::Reader;
use genkan::capture::{Direction, Filter, Interface, Packet, Writer};
use genkan::fastpath::entry::Entry;
use genkan::netns;
use genkan::poll::Epoll;
use genkan::port::{self, Port, Presence, Spec};
use genkan_netstack::frame::{Batch, Frame, Pool, vlan};
use genkan_netstack::gateway::Gateway;
use genkan_netstack::id::{Mac, PortId};
use genkan_netstack::ledger::DropReason;
use genkan_netstack::secret::Secret;
use genkan_netstack::settings::{self, Vlan};
use genkan_netstack::state::State;

mod lab;
#[path = "ports/xdp.rs"]
mod xdp;

use lab::{Directory, Namespace, in_a_moment, nic, tap, wire};

fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap()
}

/// What a bridge of two ports has seen.
#[derive(Debug, Default)]
struct Seen {
    largest: usize,
    frames: usize,
}

/// Carries frames between two ports until told to stop, as the data thread does. `show` sees those that come by the first
/// one.
fn bridge(mut ports: [Port; 2], stop: &AtomicBool, mut show: impl FnMut(&Frame)) -> (Seen, [Port; 2]) {
    let epoll = Epoll::new().unwrap();
    for (token, port) in ports.iter().enumerate() {
        epoll.add(port.fd(), token as u64).unwrap();
    }
    let (mut pool, mut batch, mut ready, mut seen) =
        (Pool::default(), Batch::new(), Vec::new(), Seen::default());
    let mut queues = [Batch::new(), Batch::new()];
    while !stop.load(Ordering::Relaxed) {
        epoll.wait(&mut ready, Some(Duration::from_millis(1))).unwrap();
        for token in [0, 1] {
            let got = ports[token].receive(&mut batch, &mut pool, 64).unwrap();
            assert!(got <= 64);
            for frame in batch.drain(..) {
                seen.largest = seen.largest.max(frame.len());
                seen.frames += 1;
                if token == 0 {
                    show(&frame);
                }
                queues[1 - token].push_back(frame);
            }
            ports[1 - token].transmit(&mut queues[1 - token], &mut pool).unwrap();
        }
    }
    (seen, ports)
}

fn pattern(at: usize) -> u8 {
    (at.wrapping_mul(2_654_435_761) >> 13) as u8
}

/// Moves `len` octets from `from` to `to` and back, by TCP, and compares every one. Returns the time each way took.
fn transfer(from: &Namespace, to: &Namespace, address: Ipv4Addr, len: usize) -> [Duration; 2] {
    let data: Vec<u8> = (0..len).map(pattern).collect();
    let listener = to.run(|| TcpListener::bind((address, 5001)).unwrap());
    std::thread::scope(|scope| {
        let data = &data;
        let server = scope.spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut got = Vec::with_capacity(len);
            stream.read_to_end(&mut got).unwrap();
            assert!(got == *data, "what arrived is not what was sent");
            stream.write_all(&got).unwrap();
        });
        let address = (address, 5001).into();
        let mut stream = from.run(|| TcpStream::connect_timeout(&address, Duration::from_secs(10)).unwrap());
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let start = Instant::now();
        stream.write_all(data).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut got = vec![0; len];
        stream.read_exact(&mut got[..1]).unwrap();
        let up = start.elapsed();
        stream.read_exact(&mut got[1..]).unwrap();
        server.join().unwrap();
        assert!(got == *data, "what came back is not what was sent");
        [up, start.elapsed() - up]
    })
}

/// Segments with a wrong checksum that a namespace has received.
fn checksum_errors(namespace: &Namespace) -> u64 {
    let text = namespace.run(|| std::fs::read_to_string("/proc/thread-self/net/snmp").unwrap());
    let mut lines = text.lines().filter(|line| line.starts_with("Tcp:"));
    let names: Vec<_> = lines.next().unwrap().split(' ').collect();
    let values: Vec<_> = lines.next().unwrap().split(' ').collect();
    let at = names.iter().position(|name| *name == "InCsumErrors").unwrap();
    values[at].parse().unwrap()
}

/// A transfer each way between the hosts behind two ports.
fn bulk(client: &Namespace, server: &Namespace, ports: [Port; 2], len: usize) -> (Seen, [Port; 2]) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let bridge = scope.spawn(|| bridge(ports, &stop, |_| {}));
        let times = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            transfer(client, server, Ipv4Addr::new(10, 0, 0, 2), len)
        }));
        stop.store(true, Ordering::Relaxed);
        let (seen, mut ports) = bridge.join().unwrap();
        eprintln!("{times:?} {seen:?}");
        for port in &mut ports {
            let stats = port.stats();
            eprintln!("{}: {stats:?}", port.name());
        }
        if let Err(panic) = times {
            std::panic::resume_unwind(panic);
        }
        assert_eq!((checksum_errors(client), checksum_errors(server)), (0, 0));
        (seen, ports)
    })
}

/// A client and a server at the two ends of a router's wires.
fn three(name: &str) -> [Namespace; 3] {
    let [client, router, server] =
        ["client", "router", "server"].map(|n| Namespace::new(&format!("{name}-{n}")));
    wire(&client, "c0", &router, "r0");
    wire(&server, "s0", &router, "r1");
    client.sh("ip addr add 10.0.0.1/24 dev c0");
    server.sh("ip addr add 10.0.0.2/24 dev s0");
    [client, router, server]
}

// ── bulk ─────────────────────────────────────────────────────────────────────

/// Lesson: uploads collapse behind virtual cards when large segments and partial checksums are not understood.
#[test]
fn large_segments_cross_two_cards_whole_with_every_offload_of_the_senders_on() {
    let [client, router, server] = three("bulk");
    let state = Directory::new("bulk");
    let ports = ["r0", "r1"].map(|device| router.open(&nic(device, &state)));
    assert!(ports.iter().all(Port::offload));
    let (seen, _ports) = bulk(&client, &server, ports, 32 << 20);
    assert!(seen.largest > 9000, "no large segment came: {seen:?}");
}

#[test]
fn large_segments_cross_two_cards_whole_that_receive_behind_their_classifiers() {
    let [client, router, server] = three("behind");
    let state = Directory::new("behind");
    let ports = ["r0", "r1"].map(|device| router.open(&Spec { entry: Entry::Tc, ..nic(device, &state) }));
    let (seen, _ports) = bulk(&client, &server, ports, 32 << 20);
    assert!(seen.largest > 9000, "no large segment came: {seen:?}");
}

#[test]
fn large_segments_cross_from_a_tap_to_a_card() {
    let [_, router, server] = three("tapnic");
    let client = Namespace::new("tapnic-host");
    let state = Directory::new("tapnic");
    let tap = client.open(&tap("tap0", true, &state));
    client.sh("ip addr add 10.0.0.1/24 dev tap0");
    assert!(client.sh("ip link show tap0").contains("qlen 10000"));
    let (seen, _ports) = bulk(&client, &server, [tap, router.open(&nic("r1", &state))], 32 << 20);
    assert!(seen.largest > 9000, "no large segment came: {seen:?}");
}

#[test]
fn plain_taps_carry_whole_frames_of_at_most_the_mtu() {
    let [client, server] = ["client", "server"].map(|n| Namespace::new(&format!("plain-{n}")));
    let state = Directory::new("plain");
    let ports = [client.open(&tap("tap0", false, &state)), server.open(&tap("tap0", false, &state))];
    client.sh("ip addr add 10.0.0.1/24 dev tap0");
    server.sh("ip addr add 10.0.0.2/24 dev tap0");
    assert!(!ports[0].offload());
    let (seen, _ports) = bulk(&client, &server, ports, 4 << 20);
    assert_eq!(seen.largest, 1514);
}

// ── the host and the card ────────────────────────────────────────────────────

/// A host with a card that is fully configured, and its neighbour.
fn configured(name: &str) -> [Namespace; 2] {
    let [host, peer] = ["host", "peer"].map(|n| Namespace::new(&format!("{name}-{n}")));
    wire(&host, "eth0", &peer, "p0");
    host.sh(
        "ip addr add 10.0.0.1/24 dev eth0; ip addr add 10.0.0.3/24 dev eth0; ip addr add 192.0.2.1/32 dev eth0
         ip -6 addr add 2001:db8::1/64 dev eth0 nodad
         ip route add default via 10.0.0.2 metric 50; ip route add 198.51.100.0/24 dev eth0
         ip route add 203.0.113.0/24 via 10.0.0.2 table 77
         ip -6 route add default via 2001:db8::2 dev eth0; ip link set eth0 mtu 1450",
    );
    peer.sh("ip addr add 10.0.0.2/24 dev p0; ip -6 addr add 2001:db8::2/64 dev p0 nodad");
    settle(&host, |picture| picture.contains("local fe80"));
    [host, peer]
}

/// Waits until the kernel has done what it does later (a link-local address follows the carrier), or for two seconds.
fn settle(host: &Namespace, done: impl Fn(&str) -> bool) -> String {
    let start = Instant::now();
    loop {
        let picture = picture(host);
        if done(&picture) || start.elapsed() > Duration::from_secs(2) {
            return picture;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// All that a takeover may change, as the usual tools show it.
fn picture(host: &Namespace) -> String {
    let picture = host.sh("ip -o addr show dev eth0 scope global | sed 's/valid_lft.*//'
         ip route show table all | sort; ip -6 route show | sort
         ip -o link show eth0 | sed 's/ state.*//'
         cat /proc/sys/net/ipv6/conf/eth0/disable_ipv6; tc qdisc show dev eth0 clsact");
    // `ip` looks into all namespaces, and says this of one that somebody is making or removing at that moment.
    let is_of_host = |line: &&str| *line != "Error: Peer netns reference is invalid.";
    picture.lines().filter(is_of_host).map(|line| format!("{line}\n")).collect()
}

fn answers(peer: &Namespace, address: &str) -> bool {
    peer.try_sh(&format!("ip neigh flush all; ping -c 2 -i 0.2 -W 1 {address}")).0
}

fn come_to_answer(peer: &Namespace, addresses: &[&str]) -> bool {
    addresses.iter().all(|address| in_a_moment(|| answers(peer, address)))
}

#[test]
fn the_hosts_kernel_is_silent_on_a_taken_card_and_has_it_back_afterwards() {
    let [host, peer] = configured("silent");
    let other = Namespace::new("silent-other");
    wire(&host, "eth1", &other, "o0");
    host.sh("ip addr add 10.1.0.1/24 dev eth1; sysctl -qw net.ipv4.ip_forward=1");
    other.sh("ip addr add 10.1.0.2/24 dev o0; ip route add default via 10.1.0.1");
    peer.sh("ip route add 10.1.0.0/24 via 10.0.0.1");
    let before = settle(&host, |picture| picture.matches("local fe80").count() == 2);
    assert!(come_to_answer(&peer, &["10.0.0.1", "2001:db8::1", "10.1.0.2"]));
    let host_mac =
        peer.sh("ip -o neigh show 10.0.0.1 | sed 's/.*lladdr \\([^ ]*\\).*/\\1/'").trim().to_owned();

    let state = Directory::new("silent");
    let port = host.open(&nic("eth0", &state));
    assert_eq!(port.mac().to_string(), host_mac, "a card's own address is the default");
    assert_eq!(host.sh("ip -o addr show dev eth0").trim(), "");
    assert_eq!(host.sh("cat /proc/sys/net/ipv6/conf/eth0/disable_ipv6").trim(), "1");
    assert!(!answers(&peer, "10.0.0.1"), "the host answered");
    assert!(!answers(&peer, "2001:db8::1"), "the host answered over IPv6");
    // Even a frame that is addressed to the host's card is neither answered nor forwarded ...
    peer.sh(&format!("ip neigh replace 10.0.0.1 lladdr {host_mac} dev p0 nud permanent"));
    assert!(!peer.try_sh("ping -c 1 -W 1 10.0.0.1").0 && !peer.try_sh("ping -c 1 -W 1 10.1.0.2").0);
    // ... and what somebody makes the host send by the card does not get out.
    host.sh("ip addr add 10.0.0.9/24 dev eth0; ip neigh replace 10.0.0.2 lladdr 02:00:00:00:00:02 dev eth0");
    let count = || peer.sh("cat /proc/thread-self/net/dev | sed -n 's/.*p0: *[0-9]* *\\([0-9]*\\).*/\\1/p'");
    let received = count();
    assert!(!host.try_sh("ping -c 2 -i 0.2 -W 1 -I eth0 10.0.0.2").0);
    assert_eq!(count(), received, "the host's frames left by the card");
    host.sh("ip addr del 10.0.0.9/24 dev eth0; ip neigh flush dev eth0");
    peer.sh("ip neigh del 10.0.0.1 dev p0");

    drop(port);
    assert_eq!(settle(&host, |picture| picture == before), before);
    assert_eq!(state.journals(), 0);
    assert!(come_to_answer(&peer, &["10.0.0.1", "2001:db8::1", "10.1.0.2"]));
}

#[test]
fn a_raised_mtu_is_lowered_again_and_a_refused_one_is_explained() {
    let [host, _peer] = configured("mtu");
    let before = picture(&host);
    let state = Directory::new("mtu");
    let mut wanted = nic("eth0", &state);
    wanted.wanted_mtu = Some(1508);
    let port = host.open(&wanted);
    assert_eq!((port.mtu(), port.mtu_limit()), (1508, None));
    drop(port);
    assert_eq!(settle(&host, |picture| picture == before), before);

    host.sh("ip link add low type veth peer name low1; ip link set low mtu 1500; ip link add link low name sub type macvlan");
    let mut sub = nic("sub", &state);
    sub.wanted_mtu = Some(1508);
    let port = host.open(&sub);
    assert_eq!((port.mtu(), port.mtu_limit()), (1508, None), "the card below is raised first");
    drop(port);
    assert!(
        host.sh("ip link show low").contains("mtu 1500") && host.sh("ip link show sub").contains("mtu 1500")
    );

    let mut refused = tap("tap9", true, &state);
    refused.wanted_mtu = Some(65535);
    let port = host.open(&refused);
    assert_eq!(port.mtu(), 1500);
    assert!(port.mtu_limit().unwrap().contains("tap9 stays at an MTU of 1500"), "{:?}", port.mtu_limit());
}

const CHILD: &str = "GENKAN_TEST_CARD";

/// Not a test: the process that is killed below.
#[test]
#[ignore = "is started, and killed, by another test"]
fn holds_a_card_until_it_is_killed() {
    let Some(directory) = std::env::var_os(CHILD) else { return };
    let state = Directory(directory.into());
    let _port = Port::open(&nic("eth0", &state)).unwrap();
    println!("holding");
    std::thread::sleep(Duration::from_secs(600));
}

fn killed_holder(host: &Namespace, state: &Directory) {
    let mut child = host.run(|| {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "holds_a_card_until_it_is_killed", "--ignored", "--nocapture"])
            .env(CHILD, &state.0)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    });
    let mut output = child.stdout.take().unwrap();
    let mut text = String::new();
    while !text.contains("holding") {
        let mut octet = [0];
        assert_eq!(output.read(&mut octet).unwrap(), 1, "the child ended: {text}");
        text.push(char::from(octet[0]));
    }
    assert!(host.open_error(&nic("eth0", state)).contains("in use by another genkan"));
    assert_eq!(
        host.run(|| port::restore(&state.0, &[])).unwrap(),
        Vec::<String>::new(),
        "a held card is left alone"
    );
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_killed_process_leaves_a_card_that_can_be_put_back() {
    let [host, peer] = configured("kill");
    let before = picture(&host);
    let state = Directory::new("kill");
    killed_holder(&host, &state);
    assert_ne!(picture(&host), before);
    assert_eq!(host.run(|| port::restore(&state.0, &[])).unwrap(), ["eth0"]);
    assert_eq!(settle(&host, |picture| picture == before), before);
    assert!(come_to_answer(&peer, &["10.0.0.1", "2001:db8::1"]));
    assert_eq!(state.journals(), 0);

    // Opening again after a kill must not take the taken card for the original.
    killed_holder(&host, &state);
    drop(host.open(&nic("eth0", &state)));
    assert_eq!(settle(&host, |picture| picture == before), before);
}

#[test]
fn a_port_that_cannot_be_opened_says_which_device_and_what_to_do() {
    let [host, _peer] = configured("errors");
    let state = Directory::new("errors");
    let error = host.open_error(&nic("eth7", &state));
    assert!(error.contains("port port-eth7: there is no network card eth7"), "{error}");
    let error = host.open_error(&nic("lo", &state));
    assert!(error.contains("lo is not an Ethernet card"), "{error}");
    host.sh("ip link add br0 type bridge; ip link set eth0 master br0");
    let error = host.open_error(&nic("eth0", &state));
    assert!(error.contains("eth0 belongs to br0") && error.contains("nomaster"), "{error}");
    let error = host.open_error(&tap("eth0", true, &state));
    assert!(error.contains("eth0 exists but is not a tap device"), "{error}");
    let error = host.open_error(&tap("a-name-longer-than-15", true, &state));
    assert!(error.contains("15 characters"), "{error}");
    for offload in [true, false] {
        let _held = host.open(&tap("tap0", offload, &state));
        let error = host.open_error(&tap("tap0", offload, &state));
        assert!(error.contains("tap0 is in use by another process"), "{error}");
    }
    let mut own = tap("tap1", true, &state);
    host.sh("ip tuntap add tap1 mode tap; ip link set tap1 address 02:00:00:00:00:77");
    own.mac = Some(Mac([2, 0, 0, 0, 0, 0x77]));
    let error = host.open_error(&own);
    assert!(error.contains("the other end of the wire"), "{error}");
    assert_eq!(state.journals(), 0, "a port that did not open has taken nothing");
}

// ── control and data ─────────────────────────────────────────────────────────

fn ethernet(ethertype: u16, payload: &[u8]) -> Frame {
    Frame::from_bytes(&[&[0xff; 6][..], &[2, 0, 0, 0, 0, 9], &ethertype.to_be_bytes(), payload].concat())
}

fn send(port: &mut Port, frames: impl IntoIterator<Item = Frame>) {
    let (mut queue, mut pool) = (frames.into_iter().collect::<Batch>(), Pool::default());
    while !queue.is_empty() {
        port.transmit(&mut queue, &mut pool).unwrap();
    }
}

/// Lesson: echoes lost under load. Control has a queue of its own and is received first.
#[test]
fn a_flood_of_data_neither_displaces_nor_delays_control() {
    let [left, right] = ["left", "right"].map(|n| Namespace::new(&format!("flood-{n}")));
    wire(&left, "l0", &right, "r0");
    let state = Directory::new("flood");
    let mut sender = left.open(&nic("l0", &state));
    let mut receiver = right.open(&nic("r0", &state));
    let (mut pool, mut batch) = (Pool::default(), Batch::new());
    while receiver.receive(&mut batch, &mut pool, 64).unwrap() > 0 {}
    batch.clear();

    for (tag, round) in [(0, 1), (4, 2)] {
        let frame = |payload: &[u8]| {
            let mut frame = ethernet(0x8864, payload);
            assert!(tag == 0 || vlan::put_on(&mut frame, 0x8100, 6));
            frame
        };
        let data = frame(&[&[0x11, 0, 0, 1, 0, 100, 0, 0x21][..], &[0; 1400]].concat());
        send(&mut sender, std::iter::repeat_n(data, 40_000));
        let echo = frame(&[0x11, 0, 0, 1, 0, 10, 0xc0, 0x21, 9, 1, 0, 8, 0, 0, 0, 0]);
        send(&mut sender, std::iter::repeat_n(echo.clone(), 20));
        assert!(receiver.stats().rx_kernel_drops > round * 1000, "{:?}", receiver.stats());
        assert_eq!(receiver.receive(&mut batch, &mut pool, 64).unwrap(), 64);
        assert!(batch.iter().take(20).all(|frame| frame.bytes() == echo.bytes()), "control comes first");
        assert!(
            batch.iter().skip(20).all(|frame| frame.len() == 14 + tag + 8 + 1400),
            "and data after it, in the same batch"
        );
        assert_eq!(sender.stats().tx, 40_020 * round);
        assert_eq!(receiver.receive(&mut batch, &mut pool, 5).unwrap(), 5, "never more than asked for");
        while receiver.receive(&mut batch, &mut pool, 64).unwrap() > 0 {}
        batch.clear();
    }
}

#[test]
fn a_vlan_tag_arrives_where_it_was() {
    let [left, right] = ["left", "right"].map(|n| Namespace::new(&format!("vlan-{n}")));
    wire(&left, "l0", &right, "r0");
    let state = Directory::new("vlan");
    let mut sender = left.open(&nic("l0", &state));
    let mut receiver = right.open(&nic("r0", &state));
    let tagged =
        ethernet(0x8100, &[&[0x60, 0x06, 0x88, 0x63][..], &[0x11, 0x09, 0, 0, 0, 0], &[0; 40]].concat());
    send(&mut sender, [tagged.clone()]);
    let (mut pool, mut batch) = (Pool::default(), Batch::new());
    receiver.receive(&mut batch, &mut pool, 64).unwrap();
    let got = batch.iter().find(|frame| frame.bytes().get(6..12) == tagged.bytes().get(6..12));
    assert_eq!(got.map(Frame::bytes), Some(tagged.bytes()));
}

/// Lesson 5: ISPs that want a VLAN priority on PPP control frames. The far side speaks frames made by hand.
#[test]
fn a_gateway_in_a_vlan_tags_what_it_sends_and_takes_nothing_else() {
    let [left, right] = ["left", "right"].map(|n| Namespace::new(&format!("dial-{n}")));
    wire(&left, "l0", &right, "r0");
    let state = Directory::new("dial");
    let mut port = left.open(&nic("l0", &state));
    let mut isp = right.open(&nic("r0", &state));
    let settings = dialling(&port, Vlan { id: 6, control_priority: 6 });
    let mut time = genkan_netstack::time::Instant::from_secs(1);
    let mut gateway = Gateway::new(&settings, &State::default(), [7; 32], time);
    let mut dial = |gateway: &mut Gateway, port: &mut Port| {
        time += genkan_netstack::time::Duration::from_secs(1);
        gateway.handle_timeout(time);
        let mut batch = Batch::new();
        port.receive(&mut batch, gateway.pool(), 64).unwrap();
        gateway.receive(time, PortId(0), &mut batch);
        let (queue, pool) = gateway.outgoing(PortId(0)).unwrap();
        port.transmit(queue, pool).unwrap();
    };
    dial(&mut gateway, &mut port);
    let (mut pool, mut batch) = (Pool::default(), Batch::new());
    isp.receive(&mut batch, &mut pool, 64).unwrap();
    let discovery = |code: u8| [0x81, 0, 0xc0, 6, 0x88, 0x63, 0x11, code];
    let padi = batch.iter().find(|frame| frame.bytes().get(12..20) == Some(&discovery(0x09)));
    let padi = padi.expect("a PADI in VLAN 6, with priority 6").bytes().to_vec();

    // The offer repeats the tags of the PADI (RFC 2516 §5.2) and names the concentrator.
    let tags = padi.get(24..24 + usize::from(u16::from_be_bytes([padi[22], padi[23]]))).unwrap();
    let tags = [tags, &[1, 2, 0, 4], b"bras"].concat();
    let addresses = [&padi[6..12], &[2, 0, 0, 0, 0, 9]].concat();
    let len = (tags.len() as u16).to_be_bytes();
    let pado = [&addresses[..], &[0x88, 0x63, 0x11, 0x07, 0, 0], &len, &tags].concat();
    let mut answer = |gateway: &mut Gateway, port: &mut Port, isp: &mut Port, tag: Option<u16>| {
        let mut frame = Frame::from_bytes(&pado);
        assert!(tag.is_none_or(|tag| vlan::put_on(&mut frame, 0x8100, tag)));
        send(isp, [frame]);
        dial(gateway, port);
        let (mut pool, mut batch) = (Pool::default(), Batch::new());
        isp.receive(&mut batch, &mut pool, 64).unwrap();
        batch.iter().any(|frame| frame.bytes().get(12..20) == Some(&discovery(0x19)))
    };
    let before = gateway.ledger().dropped(DropReason::VlanMismatch);
    for other in [None, Some(7), Some(0)] {
        assert!(!answer(&mut gateway, &mut port, &mut isp, other), "{other:?} is no frame of the VLAN");
    }
    assert!(gateway.ledger().dropped(DropReason::VlanMismatch) >= before + 3);
    assert!(answer(&mut gateway, &mut port, &mut isp, Some(6)), "a PADR in VLAN 6, with priority 6");
}

/// A gateway that dials on an open port, in a VLAN.
fn dialling(port: &Port, vlan: Vlan) -> settings::Settings {
    settings::Settings {
        ports: vec![settings::Port {
            name: "wan0".into(),
            mac: port.mac(),
            mtu: port.mtu(),
            vlan: Some(vlan),
            offload: port.offload(),
        }],
        wans: vec![settings::Wan {
            name: "isp".into(),
            port: PortId(0),
            uplink: settings::Uplink::Pppoe(settings::PppoeClient {
                username: "alice".into(),
                password: Secret::new("right"),
                service_name: Vec::new(),
                ac_name: None,
                host_uniq: None,
                authentication: vec![settings::Authentication::ChapMd5],
                mtu: 1492,
                echo: settings::Echo::default(),
            }),
            ipv4: true,
            ipv6: None,
        }],
        ..settings::Settings::default()
    }
}

/// The MTU is the payload's: a tag does not make a frame too large.
#[test]
fn a_tagged_frame_of_the_whole_mtu_crosses() {
    let [left, right] = ["left", "right"].map(|n| Namespace::new(&format!("whole-{n}")));
    wire(&left, "l0", &right, "r0");
    let state = Directory::new("whole");
    let mut sender = left.open(&nic("l0", &state));
    let mut receiver = right.open(&nic("r0", &state));
    let mut whole = ethernet(0x0800, &[0x45; 1500]);
    assert!(vlan::put_on(&mut whole, 0x8100, 6));
    send(&mut sender, [whole.clone()]);
    assert_eq!(sender.stats().tx_dropped, 0);
    let (mut pool, mut batch) = (Pool::default(), Batch::new());
    receiver.receive(&mut batch, &mut pool, 64).unwrap();
    assert!(batch.iter().any(|frame| frame.bytes() == whole.bytes()));
}

#[test]
fn a_frame_larger_than_the_cards_mtu_is_counted_and_the_next_one_leaves() {
    let [left, right] = ["left", "right"].map(|n| Namespace::new(&format!("large-{n}")));
    wire(&left, "l0", &right, "r0");
    let state = Directory::new("large");
    let mut sender = left.open(&nic("l0", &state));
    send(&mut sender, [ethernet(0x0800, &[0; 3000]), ethernet(0x0800, &[0; 60])]);
    let stats = sender.stats();
    assert_eq!((stats.tx, stats.tx_dropped), (1, 1));
}

/// The kernel says once, to each socket, that a card went down, and never that it is gone.
#[test]
fn a_card_that_is_down_or_gone_says_so_and_loses_frames_as_a_wire_does() {
    let [left, right] = ["left", "right"].map(|n| Namespace::new(&format!("down-{n}")));
    wire(&left, "l0", &right, "r0");
    let state = Directory::new("down");
    let mut sender = left.open(&nic("l0", &state));
    assert_eq!(sender.presence(), Presence::Up);
    let (mut pool, mut batch) = (Pool::default(), Batch::new());
    for (command, presence) in [("ip link set l0 down", Presence::Down), ("ip link del l0", Presence::Gone)] {
        left.sh(command);
        let before = sender.stats().tx_dropped;
        let mut queue: Batch = [ethernet(0x0800, &[0; 60])].into_iter().collect();
        let error = sender.transmit(&mut queue, &mut pool).unwrap_err();
        assert!(error.to_string().contains("sending on l0"), "{error}");
        assert_eq!((queue.len(), sender.stats().tx_dropped - before), (0, 1));
        assert_eq!(sender.presence(), presence);
    }
    // Those for control, for bulk and for the rest.
    let errors = (0..6).filter(|_| sender.receive(&mut batch, &mut pool, 64).is_err()).count();
    assert!((1..=3).contains(&errors), "{errors}");
}

// ── captures ─────────────────────────────────────────────────────────────────

fn tshark(file: &Path, options: &[&str]) -> String {
    let output =
        Command::new("tshark").arg("-r").arg(file).args(options).output().expect("tshark is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_capture_of_offloaded_traffic_reads_in_wireshark_with_right_checksums() {
    let [client, router, server] = three("capture");
    let state = Directory::new("capture");
    let ports = ["r0", "r1"].map(|device| router.open(&nic(device, &state)));
    let filter = Filter::compile("tcp port 5001 or arp", false).unwrap();
    let mut packets = Vec::new();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let show = |frame: &Frame| packets.push(Packet::of(0, Direction::Received, now(), frame, true));
        let bridge = scope.spawn(|| bridge(ports, &stop, show));
        transfer(&client, &server, Ipv4Addr::new(10, 0, 0, 2), 1 << 20);
        stop.store(true, Ordering::Relaxed);
        bridge.join().unwrap();
    });

    let file = state.0.join("out.pcapng");
    let interfaces =
        ["lan0", "wan0"].map(|name| Interface { name: name.into(), description: "a test".into() });
    packets.retain(|packet| filter.matches(&packet.bytes));
    let mut writer = Writer::new(std::fs::File::create(&file).unwrap(), &interfaces, &[]).unwrap();
    packets.iter().for_each(|packet| writer.write(packet).unwrap());
    let written = packets.len();
    assert!(written > 20);
    let fields = [
        "-T",
        "fields",
        "-e",
        "frame.interface_name",
        "-e",
        "frame.packet_flags_direction",
        "-e",
        "tcp.checksum.status",
    ];
    let check = ["-o", "tcp.check_checksum:TRUE", "-o", "tcp.desegment_tcp_streams:FALSE"];
    let text = tshark(&file, &[&check[..], &fields[..]].concat());
    assert_eq!(text.lines().count(), written);
    let good = |line: &&str| {
        line.starts_with("lan0\t0x01\t1")
            || line.starts_with("lan0\t0x00000001\t1")
            || line.starts_with("lan0\t1\t1")
    };
    let tcp = text.lines().filter(|line| !line.ends_with('\t'));
    assert!(tcp.clone().count() > 20 && tcp.clone().all(|line| good(&line)), "{text}");
    let tcpdump = Command::new("tcpdump").arg("-nr").arg(&file).output().expect("tcpdump is installed");
    assert_eq!(String::from_utf8(tcpdump.stdout).unwrap().lines().count(), written);

    let mut reader = Reader::open(&file).unwrap();
    let read: Vec<_> =
        std::iter::from_fn(|| reader.next_record()).map(|record| (record.at, record.bytes)).collect();
    let shown: Vec<_> = packets.into_iter().map(|packet| (packet.at, packet.bytes)).collect();
    assert_eq!(read, shown);
}

// ── namespaces ───────────────────────────────────────────────────────────────

#[test]
fn a_namespace_is_one_of_ip_netns_and_is_gone_when_deleted() {
    let namespace = Namespace::new("list");
    let name = namespace.0.clone();
    let list =
        || String::from_utf8(Command::new("ip").args(["netns", "list"]).output().unwrap().stdout).unwrap();
    assert!(list().contains(&name));
    let through_ip = Command::new("ip").args(["netns", "exec", &name, "ip", "-o", "link"]).output().unwrap();
    assert_eq!(
        String::from_utf8(through_ip.stdout).unwrap().lines().filter(|line| line.contains("veth")).count(),
        0
    );
    assert!(netns::create(&name).is_err(), "the name is taken");
    drop(namespace);
    assert!(!list().contains(&name));
    assert!(!netns::path(&name).exists());
}
