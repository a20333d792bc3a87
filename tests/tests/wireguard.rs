//! A VPN with friends who have wireguard-go, as a story: they meet, move, change keys, cheat, and are found again.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use genkan_tests::client::{HangUp, Talk, conversing, echo, transfers};
use genkan_tests::ethernet_isp::ROUTER;
use genkan_tests::friends::{
    Friend, Friends, INNER, INNER6, INVITED, OUTER, OUTER6, PORT, dropped, peer_status, reach, seen_at,
    unreachable, vpn,
};
use genkan_tests::gateway::Genkan;
use genkan_tests::lab::Lab;
use genkan_tests::netns::{Namespace, stop, text};
use genkan_tests::packets::offers;
use genkan_tests::peers::{Dhcp4, Keys};
use genkan_tests::wait_for;
use genkan_tests::wire::Wire;

const PATIENCE: Duration = Duration::from_secs(20);
const LENGTH: u64 = 5_000_000;

#[track_caller]
fn wait_endpoint(gateway: &Genkan, friend: &Friend, wanted: SocketAddr) {
    wait_for(&format!("{} to be at {wanted}", friend.name), Duration::from_secs(5), || {
        let found = seen_at(gateway, friend.name)?;
        if found == wanted { Ok(()) } else { Err(format!("at {found}")) }
    });
}

/// The friends among themselves: what fails here is no fault of genkan's.
#[test]
fn friends_reach_each_other_without_a_gateway() {
    let Friends { anna, ben, lab, .. } = &Friends::new("wireguard-friends");
    let shared = Keys::preshared();
    anna.meet(lab, &ben.go.keys, Some(&shared), Some(ben.endpoint()));
    ben.meet(lab, &anna.go.keys, Some(&shared), None);
    reach(&anna.host, ben.inner());
    transfers(&anna.host, (ben.inner6(), 80).into(), LENGTH);
    let wire = Wire::listen(lab, &ben.host, &ben.go.device, "tcp or ip6");
    anna.host.inside(|| echo((ben.inner(), 7).into(), "how large?")).expect("an echo");
    assert_eq!(offers(&wire.end()), [(4, 1400), (4, 1380)], "each by the MTU of its own device");
    anna.go.call(&ben.go.keys.public, ben.endpoint6());
    reach(&anna.host, ben.inner());
    wait_for("ben to see anna over IPv6", PATIENCE, || match ben.go.shown(&anna.go.keys.public).endpoint {
        Some(SocketAddr::V6(_)) => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

/// The gateway calls anna, over IPv4; ben calls the gateway, over IPv6, and shares a key with it.
#[test]
fn friends_are_reached_by_both_families_inside_and_outside() {
    let friends = Friends::new("wireguard-meet");
    let Friends { anna, ben, house, keys, lab, .. } = &friends;
    let shared = Keys::preshared();
    let secret = lab.secret("ben.psk", &shared);
    let gateway = friends.start(
        &[
            anna.table(&format!("endpoint = \"{}\"\n", anna.endpoint())),
            ben.table(&format!("preshared-key-file = {:?}\n", secret.display().to_string())),
            INVITED.into(),
        ]
        .concat(),
    );
    anna.meet(lab, keys, None, None);
    ben.meet(lab, keys, Some(&shared), Some((OUTER6, PORT).into()));
    let (desk, desk6) = friends.desk();

    // Each says who called whom by the first packet: the desk's, and ben's.
    reach(&house.desk, anna.inner());
    reach(&ben.host, desk);
    for (friend, outside) in [(anna, (OUTER, PORT).into()), (ben, (OUTER6, PORT).into())] {
        let shown = friend.go.shown(&keys.public);
        assert!(shown.handshake > 0 && shown.endpoint == Some(outside), "{}: {shown:?}", friend.name);
    }
    assert_eq!(seen_at(&gateway, anna.name), Ok(anna.endpoint()));
    assert_eq!(seen_at(&gateway, ben.name), Ok(ben.endpoint6()));

    // Everybody reaches everybody: the gateway, the LAN, and one another by the gateway.
    for (friend, other) in [(anna, ben), (ben, anna)] {
        let all: [IpAddr; 6] = [
            INNER.into(),
            INNER6.into(),
            desk.into(),
            desk6.into(),
            other.inner().into(),
            other.inner6().into(),
        ];
        for to in all {
            reach(&friend.host, to);
        }
        for server in friend.both(80) {
            transfers(&house.desk, server, LENGTH);
        }
    }
    let peer = peer_status(&gateway, "ben").expect("a peer");
    assert!(peer["handshake_age_s"].as_u64().is_some_and(|age| age < 60), "{peer}");
    for count in ["rx_octets", "tx_octets"] {
        assert!(peer["usage"][count].as_u64().is_some_and(|count| count > 2 * LENGTH), "{peer}");
    }

    // What fits: 1,500 octets without 60 over IPv4, without 80 over IPv6.
    for (friend, room) in [(anna, 1440), (ben, 1420)] {
        let wire = Wire::listen(lab, &friend.host, &friend.go.device, "tcp or ip6");
        for server in friend.both(7) {
            house.desk.inside(|| echo(server, "how large?")).expect("an echo");
        }
        let mut offered = offers(&wire.end());
        offered.dedup();
        // The desk's, and the friend's own by its device's MTU.
        assert_eq!(offered, [(4, room - 40), (6, room - 60)], "{}", friend.name);
        let ping = |to: IpAddr, size: u16| {
            let own = if to.is_ipv4() { 28 } else { 48 };
            text(&house.desk.try_run(&format!("ping -c 1 -W 2 -M do -s {} {to}", size - own)))
        };
        for to in [IpAddr::V4(friend.inner()), IpAddr::V6(friend.inner6())] {
            let said = ping(to, room);
            assert!(said.contains(" 0% packet loss"), "{room} octets to {to}: {said}");
            let said = ping(to, room + 1);
            assert!(
                said.contains(&format!("mtu={room}")) || said.contains(&format!("mtu = {room}")),
                "{said}"
            );
            // From now on the desk cuts.
            let own = if to.is_ipv4() { 28 } else { 48 };
            house.desk.run(&format!("ping -c 2 -i 0.2 -W 2 -s {} {to}", 1500 - own));
        }
        // Without DF the gateway cuts.
        house.desk.run(&format!("ping -c 2 -i 0.2 -W 2 -M dont -s 3000 {}", friend.inner()));
    }
    // A friend whose tunnel takes more than what fits into a packet outside: it comes in pieces.
    anna.host.ip(&["link", "set", &anna.go.device, "mtu", "1500"]);
    anna.host.run(&format!("ping -c 3 -i 0.2 -W 2 -s 1472 {INNER}"));
    gateway.end();
}

/// Anna moves to another address and port, and to the other family, in the midst of a conversation.
#[test]
fn a_friend_moves_and_the_conversation_goes_on() {
    let friends = Friends::new("wireguard-move");
    let Friends { anna, house, keys, lab, .. } = &friends;
    let gateway = friends.start(&anna.table(""));
    anna.meet(lab, keys, None, Some((OUTER, PORT).into()));
    friends.desk();
    reach(&anna.host, INNER);
    wait_endpoint(&gateway, anna, anna.endpoint());
    anna.host.ip(&["link", "set", &anna.go.device, "mtu", "1420"]);

    let stream = house.desk.inside(|| TcpStream::connect((anna.inner(), 7)).expect("a stream"));
    conversing(stream, |talk| {
        let more = |what: &str| talk.wait_beyond(talk.rounds() + 5, what, PATIENCE);
        more("at home");
        anna.relocate(2, 3);
        anna.go.listen(40_001);
        // What she sends next tells the gateway.
        reach(&anna.host, INNER);
        wait_endpoint(&gateway, anna, anna.endpoint_at(3, 40_001));
        more("at another address and port");
        // What still came to her old address would take her back.
        anna.host.ip(&["-4", "address", "flush", "dev", "eth0"]);
        anna.go.call(&keys.public, (OUTER6, PORT).into());
        reach(&anna.host, INNER);
        wait_for("anna to be seen over IPv6", PATIENCE, || match seen_at(&gateway, anna.name)? {
            SocketAddr::V6(_) => Ok(()),
            other => Err(other.to_string()),
        });
        more("over IPv6");
    });
    gateway.end();
}

/// Keys that are wrong open nothing, and keys that change do: ben's, the one that they share, the gateway's own.
#[test]
fn wrong_keys_open_nothing_and_new_keys_do() {
    let mut friends = Friends::new("wireguard-keys");
    let Friends { ben, lab, keys, .. } = &mut friends;
    let shared = Keys::preshared();
    let secret = lab.secret("ben.psk", &shared).display().to_string();
    let (right, outside) = (ben.go.keys.clone(), Some((OUTER, PORT).into()));
    ben.meet(lab, keys, Some(&shared), outside);
    let tables = ben.table(&format!("preshared-key-file = {secret:?}\n"));
    let gateway = friends.start(&tables);
    reach(&friends.ben.host, INNER);

    // Somebody else at ben's place.
    friends.ben.go.take(&friends.lab, Keys::generate());
    friends.ben.meet(&friends.lab, &friends.keys, Some(&shared), outside);
    unreachable(&friends.ben.host, INNER);
    assert!(dropped(&gateway, "wireguard-handshake") > 0);
    // Ben, who does not know what they share any more.
    friends.ben.go.take(&friends.lab, right);
    friends.ben.meet(&friends.lab, &friends.keys, Some(&Keys::preshared()), outside);
    unreachable(&friends.ben.host, INNER);
    assert_eq!(friends.ben.go.shown(&friends.keys.public).handshake, 0);
    friends.ben.meet(&friends.lab, &friends.keys, Some(&shared), outside);
    reach(&friends.ben.host, INNER);

    // The gateway has another key, after a restart.
    gateway.end();
    friends.keys = Keys::generate();
    let gateway = friends.start(&tables);
    unreachable(&friends.ben.host, INNER);
    friends.ben.meet(&friends.lab, &friends.keys, Some(&shared), outside);
    reach(&friends.ben.host, INNER);
    // It is killed and comes back as it was: nobody is told, and nobody waits for a clock to catch up.
    let mut gateway = gateway;
    gateway.kill();
    let gateway = gateway.again(&friends.lab, &friends.house.router);
    gateway.wait_up("isp", PATIENCE);
    reach(&friends.ben.host, INNER);
    gateway.end();
}

/// Ben speaks as anna, and somebody on the way says again what anna has said, or something like it.
#[test]
fn nobody_speaks_as_anna_but_anna() {
    let friends = Friends::new("wireguard-cheat");
    let Friends { anna, ben, isp, house, keys, lab } = &friends;
    let gateway = friends.start(&[anna.table(""), ben.table(""), INVITED.into()].concat());
    for friend in [anna, ben] {
        friend.meet(lab, keys, None, Some((OUTER, PORT).into()));
        reach(&friend.host, INNER);
    }
    friends.desk();

    for (address, to) in [
        (anna.inner().to_string() + "/32", IpAddr::from(INNER)),
        (anna.inner6().to_string() + "/128", INNER6.into()),
    ] {
        let before = dropped(&gateway, "wireguard-source");
        ben.host.ip(&["address", "add", &address, "dev", &ben.go.device]);
        let source = address.split('/').next().unwrap_or_default();
        let said = ben.host.try_run(&format!("ping -c 2 -i 0.3 -W 1 -I {source} {to}"));
        assert!(!said.status.success(), "{}", text(&said));
        assert_eq!(dropped(&gateway, "wireguard-source") - before, 2);
        ben.host.ip(&["address", "del", &address, "dev", &ben.go.device]);
        reach(&anna.host, to);
    }

    let wire = Wire::listen(
        lab,
        &isp.namespace,
        "friend0",
        &format!("udp and dst port {PORT} and dst host {OUTER}"),
    );
    anna.host.run(&format!("ping -c 5 -i 0.2 -W 2 {INNER}"));
    // Ethernet, IPv4 without options, UDP; what is left are messages, of which data has the type 4.
    let said: Vec<_> =
        wire.end().into_iter().filter_map(|frame| frame.get(42..).map(<[u8]>::to_vec)).collect();
    let said: Vec<_> = said.into_iter().filter(|message| message.first() == Some(&4)).collect();
    assert!(said.len() >= 5, "{} messages", said.len());
    let again = |message: &[u8]| {
        isp.namespace.inside(|| {
            let socket = UdpSocket::bind((ROUTER, 0)).expect("a socket");
            socket.send_to(message, (OUTER, PORT)).expect("a datagram leaves");
        });
    };
    let counted = |reason: &str, before: u64, count: usize| {
        wait_for(&format!("{count} frames to be dropped for {reason}"), Duration::from_secs(5), || {
            let now = dropped(&gateway, reason) - before;
            if now == count as u64 { Ok(()) } else { Err(format!("{now} frames")) }
        });
    };
    let before = dropped(&gateway, "wireguard-replay");
    said.iter().for_each(|message| again(message));
    counted("wireguard-replay", before, said.len());
    // A counter that was never there, an octet of another packet, a session that nobody has, half a message.
    for (at, reason) in [(8, "wireguard-decrypt"), (20, "wireguard-decrypt"), (4, "wireguard-unknown-index")]
    {
        let before = dropped(&gateway, reason);
        let mut other = said[0].clone();
        other[at] ^= if at == 20 { 0x80 } else { 0x55 };
        if at == 20 {
            other[9] = 0x40;
        }
        again(&other);
        counted(reason, before, 1);
    }
    let before = dropped(&gateway, "wireguard-malformed");
    again(&said[0][..31]);
    again(&[9; 100]);
    counted("wireguard-malformed", before, 2);
    assert_eq!(seen_at(&gateway, anna.name), Ok(anna.endpoint()), "nobody else is taken for her");
    house.desk.run(&format!("ping -c 2 -i 0.2 -W 2 {}", anna.inner()));
    gateway.end();
}

/// The ISP's DHCP server forgets the house and leases it another address. Only anna has something to say, and she learns from
/// the gateway where that is now.
#[test]
fn another_lease_is_told_to_friends_at_once() {
    const KEEPALIVE: Duration = Duration::from_secs(3);
    let friends = Friends::new("wireguard-lease");
    let Friends { anna, isp, house, keys, lab, .. } = &friends;
    let leases = isp.dhcp4(lab);
    let more = format!("endpoint = \"{}\"\nkeepalive = \"{}s\"\n", anna.endpoint(), KEEPALIVE.as_secs());
    let uplink = "[wan.isp]\nport = \"wan0\"\ndhcp = true\n";
    let tables = [vpn(lab, keys, ""), anna.table(&more), INVITED.into()].concat();
    let gateway = house.run(lab, uplink, "", &tables);
    let before = gateway.wait_up("isp", PATIENCE).address;
    anna.meet(lab, keys, None, None);
    let desk = lab.lease(&house.desk, "eth0").address;
    reach(&anna.host, desk);
    let outside = || anna.go.shown(&keys.public).endpoint.map(|from| from.ip().to_string());
    assert_eq!(outside(), Some(before.clone()));

    leases.kill();
    std::fs::remove_file(lab.folder().join("dhcp4.leases")).expect("dnsmasq has written it");
    let [first, last] = [30, 40].map(|last| Ipv4Addr::new(198, 51, 100, last));
    let _leases = Dhcp4::start(lab, &isp.namespace, "access0", ROUTER, first, last);
    // When it is to be renewed, the old lease is refused.
    let after = wait_for("another address", Duration::from_secs(90), || match gateway.wan("isp") {
        Ok(wan) if wan.up && wan.address != before => Ok(wan.address),
        other => Err(format!("{other:?}")),
    });
    let up = Instant::now();
    wait_for("anna to reach the desk", KEEPALIVE + Duration::from_secs(2), || anna.host.pings(desk));
    println!("traffic {:.1} s after the new address", up.elapsed().as_secs_f32());
    assert!(up.elapsed() <= KEEPALIVE + Duration::from_secs(1), "after {} ms", up.elapsed().as_millis());
    assert_eq!(outside(), Some(after), "{before} before");
    gateway.end();
}

/// The ISP's name server, which reads its hosts anew when told to.
struct Names {
    child: Child,
    hosts: std::path::PathBuf,
}

impl Names {
    #[track_caller]
    fn start(lab: &Lab, isp: &Namespace, address: IpAddr) -> Names {
        let hosts = lab.secret("hosts", &format!("{address} anna.example.test\n"));
        let child = isp
            .command("dnsmasq")
            .args([
                "--keep-in-foreground",
                "--conf-file=/dev/null",
                "--no-resolv",
                "--no-hosts",
                "--user=root",
            ])
            .args(["--pid-file=", "--bind-dynamic", "--interface=access0", "--local=/example.test/"])
            .arg(format!("--addn-hosts={}", hosts.display()))
            .stdout(Stdio::null())
            .stderr(lab.log_file("names"))
            .spawn();
        let child = child.unwrap_or_else(|error| panic!("cannot start dnsmasq: {error}"));
        Names { child, hosts }
    }

    #[track_caller]
    fn change(&self, address: IpAddr) {
        std::fs::write(&self.hosts, format!("{address} anna.example.test\n")).expect("the file is ours");
        let told = Command::new("kill").args(["-HUP", &self.child.id().to_string()]).status();
        assert!(told.is_ok_and(|status| status.success()), "dnsmasq is gone");
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        stop(&mut self.child, Duration::from_secs(2));
    }
}

/// Anna has a name, and moves without a word: the gateway asks for her again.
#[test]
fn a_friend_with_a_name_is_found_where_the_name_points_to() {
    let friends = Friends::new("wireguard-name");
    let Friends { anna, isp, house, keys, lab, .. } = &friends;
    let names = Names::start(lab, &isp.namespace, anna.endpoint().ip());
    let table = anna.table(&format!("endpoint = \"anna.example.test:{PORT}\"\n"));
    let gateway = friends.run("", &table, ROUTER);
    friends.desk();
    anna.meet(lab, keys, None, None);
    reach(&house.desk, anna.inner());
    wait_endpoint(&gateway, anna, anna.endpoint());

    anna.relocate(2, 3);
    // She remembers nothing, so she calls nobody.
    anna.meet(lab, keys, None, None);
    names.change(anna.endpoint_at(3, PORT).ip());
    let gone = Instant::now();
    wait_for("the gateway to find anna", Duration::from_secs(40), || house.desk.pings(anna.inner()));
    println!("found after {} s", gone.elapsed().as_secs());
    wait_endpoint(&gateway, anna, anna.endpoint_at(3, PORT));
    gateway.end();
}

/// Strangers, so many that the gateway answers none of them but with a cookie.
struct Flood<'a> {
    isp: &'a Namespace,
    message: Vec<u8>,
}

impl Flood<'_> {
    /// How many addresses it comes from.
    const SOURCES: u32 = 10_000;

    /// A network of the ISP's, whose every address is its router's own.
    fn open<'a>(isp: &'a Namespace, message: Vec<u8>) -> Flood<'a> {
        isp.ip(&["route", "add", "local", "100.100.0.0/16", "dev", "lo"]);
        Flood { isp, message }
    }

    /// Goes on while `going`; returns how many messages that were.
    fn run(&self, going: &AtomicBool) -> u64 {
        self.isp.inside(|| {
            let mut sent = 0;
            for number in (0..Self::SOURCES).cycle() {
                if !going.load(Ordering::Relaxed) {
                    break;
                }
                let source = Ipv4Addr::from(u32::from(Ipv4Addr::new(100, 100, 0, 1)) + number);
                let socket = UdpSocket::bind((source, 0)).expect("a socket");
                sent += u64::from(socket.send_to(&self.message, (OUTER, PORT)).is_ok());
                if number % 20 == 0 {
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
            sent
        })
    }
}

/// The UDP payloads of frames without VLAN tags and IPv4 options, with where they came from.
fn payloads(frames: Vec<Vec<u8>>) -> Vec<(Ipv4Addr, Vec<u8>)> {
    let parts = frames.iter().filter_map(|frame| {
        let source = <[u8; 4]>::try_from(frame.get(26..30)?).ok()?;
        Some((source.into(), frame.get(42..)?.to_vec()))
    });
    parts.collect()
}

/// Strangers who know the gateway's public key ask for keys from ten thousand addresses. Who has a session keeps it, and who
/// comes to a new place meanwhile gets a cookie there, and with that a session.
#[test]
fn a_flood_of_strangers_keeps_nobody_from_a_new_handshake() {
    let mut friends = Friends::new("wireguard-flood");
    let (own, stranger) = (friends.ben.go.keys.clone(), Keys::generate());
    let gateway = friends.start(&[friends.anna.table(""), friends.ben.table("")].concat());
    let outside = Some((OUTER, PORT).into());
    // What a stranger says: ben with another key.
    friends.ben.go.take(&friends.lab, stranger);
    let Friends { ben, isp, keys, lab, .. } = &friends;
    let to_gateway = format!("udp and dst port {PORT} and dst host {OUTER}");
    let wire = Wire::listen(lab, &isp.namespace, "access0", &to_gateway);
    ben.meet(lab, keys, None, outside);
    unreachable(&ben.host, INNER);
    let said = payloads(wire.end());
    let (_, message) = said.into_iter().find(|(_, said)| said.first() == Some(&1)).expect("an initiation");
    friends.ben.go.take(&friends.lab, own);
    let Friends { anna, ben, isp, house, keys, lab } = &friends;
    ben.meet(lab, keys, None, outside);
    reach(&ben.host, INNER);
    friends.desk();

    let flood = Flood::open(&isp.namespace, message);
    let stream = house.desk.inside(|| TcpStream::connect((ben.inner(), 7)).expect("a stream"));
    let cookies =
        Wire::listen(lab, &isp.namespace, "access0", &format!("udp src port {PORT} and udp[8] = 3"));
    let hers = Wire::listen(lab, &anna.host, "eth0", &format!("udp port {PORT}"));
    let going = AtomicBool::new(true);
    let story = |talk: &Talk<'_>| {
        std::thread::scope(|scope| {
            let hangs_up = HangUp(&going);
            let flood = scope.spawn(|| flood.run(&going));
            let limited = || dropped(&gateway, "wireguard-limited");
            wait_for("the gateway to be under load", PATIENCE, || match limited() {
                count if count > 1000 => Ok(()),
                count => Err(format!("{count} messages without an answer")),
            });
            // One in ten is answered at once, by chance, and needs no cookie.
            let log = lab.logs().join(format!("{}.log", anna.go.device));
            let is_told = || std::fs::read_to_string(&log).is_ok_and(|log| log.contains("cookie response"));
            for _ in 0..6 {
                anna.meet(lab, keys, None, outside);
                let called = Instant::now();
                reach(&anna.host, INNER);
                println!("a session under load after {:.1} s", called.elapsed().as_secs_f32());
                if is_told() {
                    break;
                }
            }
            let before = talk.rounds();
            wait_for("all of the strangers to have called", PATIENCE, || match limited() {
                count if count > u64::from(Flood::SOURCES) => Ok(()),
                count => Err(format!("{count} messages without an answer")),
            });
            reach(&anna.host, INNER);
            talk.wait_beyond(before, "with ben", PATIENCE);
            drop(hangs_up);
            println!("{} messages of strangers", flood.join().expect("no panic"));
        });
    };
    conversing(stream, story);
    // The octets behind the type: her index; MAC2 is the last 16, zeros without a cookie.
    let (mut got, mut used) = (0, 0);
    for (from, said) in payloads(hers.end()) {
        match said.first() {
            Some(3) if from == OUTER => got += 1,
            Some(1) if said.get(132..148).is_some_and(|mac2| mac2 != [0; 16]) => used += 1,
            _ => {}
        }
    }
    assert!(got > 0 && used > 0, "anna got {got} cookies, and used {used}");
    let baked = cookies.end().len();
    println!("{baked} cookies for strangers, {got} for anna");
    assert!(baked > 1000, "{baked} cookies");
    gateway.end();
}
