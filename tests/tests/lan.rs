//! A LAN behind a gateway, online through our own concentrator: what people do on the net, all of it.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use genkan_tests::client::{ask, datagrams, echo, fetch, resolve, transfers};
use genkan_tests::gateway::{Genkan, Wan};
use genkan_tests::internet::Echo;
use genkan_tests::lab::{GATEWAY, Lab, Lease, NAS, WEB, web};
use genkan_tests::netns::{text, veth};
use genkan_tests::topology::{Dial, House, Isp, Port, Terms};
use hickory_proto::rr::RecordType;

/// Everything from the desk to the far host, up.
struct Street {
    desk: Lease,
    nas: Lease,
    wan: Wan,
    gateway: Genkan,
    _isp: Genkan,
    house: House,
    provider: Isp,
    lab: Lab,
}

impl Street {
    #[track_caller]
    fn new(name: &str, more: &str) -> Street {
        let lab = Lab::new(name);
        let provider = Isp::default();
        let house = House::new(Port::Nic, Port::Nic);
        veth((&house.router, "wan0"), (&provider.namespace, "access0"));
        let isp = provider.start(&lab, Terms::default());
        let gateway = house.start(&lab, Dial::default(), more);
        let wan = gateway.wait_up("isp", Duration::from_secs(20));
        let nas = lab.lease(&house.nas, "eth0");
        let desk = lab.lease(&house.desk, "eth0");
        Street { desk, nas, wan, gateway, _isp: isp, house, provider, lab }
    }

    fn outside(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.wan.address.parse().expect("the WAN's address is one"), port)
    }
}

#[test]
fn a_lan_gets_leases_names_and_the_net() {
    let street = Street::new("lan-basics", "");
    assert_eq!(
        (street.nas.address, street.nas.router, street.nas.dns),
        (NAS, GATEWAY, GATEWAY),
        "a fixed lease"
    );
    assert!((100..=199).contains(&street.desk.address.octets()[3]), "{:?}", street.desk);
    assert_eq!(street.desk.domain, "home.arpa");
    assert_eq!(street.desk.ntp, Some(NAS), "who tells the time");
    assert_eq!(street.wan.mtu, 1492);

    let desk = &street.house.desk;
    desk.run(&format!("ping -c 3 -i 0.2 -W 2 {GATEWAY}"));
    desk.run(&format!("ping -c 3 -i 0.2 -W 2 {WEB}"));
    // Between the LAN's ports: bridged.
    desk.run(&format!("ping -c 3 -i 0.2 -W 2 {NAS}"));

    let server = SocketAddr::from((GATEWAY, 53));
    desk.inside(|| {
        assert_eq!(resolve(server, "www.example.test."), Ok(vec![WEB]));
        assert_eq!(resolve(server, "nas.home.arpa."), Ok(vec![NAS]));
        // The first answer over UDP is cut, and asked for again over TCP.
        let texts = ask(server, "big.example.test.", RecordType::TXT, false).expect("an answer over TCP");
        assert_eq!(texts.len(), 12);
    });

    let page = desk.inside(|| fetch(web(80), "/address")).expect("HTTP works");
    assert_eq!(
        page.split(':').next(),
        Some(street.wan.address.as_str()),
        "the far host sees the WAN's address"
    );
}

#[test]
fn a_hundred_megabytes_arrive_each_way() {
    const LENGTH: u64 = 100_000_000;
    let street = Street::new("lan-bulk", "");
    for done in transfers(&street.house.desk, web(80), LENGTH) {
        // Gateways that get segmentation or checksums wrong still pass some traffic, at 1 Mb/s.
        assert!(done.megabits() > 40.0, "100 MB at {:.1} Mb/s", done.megabits());
    }
}

#[test]
fn two_hundred_connections_at_once() {
    let street = Street::new("lan-parallel", "");
    let all = Arc::new(Barrier::new(200));
    let clients: Vec<_> = (0..200)
        .map(|number| {
            let all = Arc::clone(&all);
            street.house.desk.spawn(move || {
                all.wait();
                echo(web(7), &format!("connection {number}"))
            })
        })
        .collect();
    let failed: Vec<_> =
        clients.into_iter().filter_map(|client| client.join().expect("a client ends").err()).collect();
    assert!(failed.is_empty(), "{} of 200 failed, first: {}", failed.len(), failed[0]);
}

#[test]
fn datagrams_pass_both_ways() {
    let street = Street::new("lan-udp", "");
    // Datagrams without DF: those that do not fit are cut on the way.
    street.house.desk.sysctl("net.ipv4.ip_no_pmtu_disc", "1");
    for size in [1, 512, 1464, 1465, 4000] {
        let whole = street.house.desk.inside(|| datagrams(web(7), 64, size)).expect("UDP can be sent");
        assert_eq!(whole, 64, "datagrams of {size} octets");
    }
}

#[test]
fn traceroute_and_icmp_errors() {
    let street = Street::new("lan-icmp", "");
    let desk = &street.house.desk;
    for way in ["default", "icmp", "tcp"] {
        let route = desk.run(&format!("traceroute -n -M {way} -w 2 -q 2 -m 5 {WEB}"));
        let hops: Vec<_> =
            route.lines().skip(1).map(|line| line.split_whitespace().nth(1).unwrap_or("*")).collect();
        assert_eq!(hops, [&GATEWAY.to_string(), "100.64.0.1", &WEB.to_string()], "traceroute {way}: {route}");
    }
    // RFC 5508 REQ-4: an error from outside reaches the socket that caused it.
    let refused = desk.inside(|| {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a socket");
        socket.connect(web(4444)).expect("a UDP socket connects at once");
        socket.set_read_timeout(Some(Duration::from_secs(3))).expect("a timeout");
        socket.send(b"anyone?").expect("a datagram can be sent");
        socket.recv(&mut [0; 16]).map_err(|error| error.kind())
    });
    assert_eq!(refused, Err(std::io::ErrorKind::ConnectionRefused), "rfc5508_req_4");
    // RFC 4787 REQ-13: too big with DF set. The sender is told (by which of its calls is a matter of who is faster), and
    // knows better the next time.
    let too_big = desk.inside(|| datagrams(web(7), 8, 1465));
    assert_ne!(too_big, Ok(8), "rfc4787_req_13");
    assert_eq!(desk.inside(|| datagrams(web(7), 8, 1465)), Ok(8));
    let output = text(&desk.try_run(&format!("ping -c 1 -W 2 -M do -s 1465 {WEB}")));
    assert!(output.contains("mtu = 1492") || output.contains("mtu=1492"), "rfc4787_req_13: {output}");
    desk.run(&format!("ping -c 1 -W 2 -M do -s 1464 {WEB}"));
    desk.run(&format!("ping -c 1 -W 2 -M dont -s 4000 {WEB}"));
}

#[test]
fn a_port_forward_from_outside_and_hairpin_from_inside() {
    let street = Street::new(
        "lan-forward",
        &format!(
            "[[port-forward]]\nwan = \"isp\"\nprotocol = \"tcp\"\nport = 8443\nto = \"{NAS}:7\"\n\n\
         [[port-forward]]\nwan = \"isp\"\nprotocol = \"udp\"\nport = 8443\nto = \"{NAS}:7\"\n"
        ),
    );
    let _echo = Echo::start(&street.house.nas);
    let outside = street.outside(8443);
    street.provider.far.host.inside(|| {
        echo(outside, "from outside").expect("the forwarded port answers");
        assert_eq!(datagrams(outside, 8, 300), Ok(8));
        assert!(echo(street.outside(22), "closed").is_err(), "a port that is not forwarded does not answer");
    });
    // RFC 4787 REQ-9, RFC 5382 REQ-8: from the same LAN, from another host and from the host itself.
    for host in [&street.house.desk, &street.house.nas] {
        host.inside(|| {
            echo(outside, "hairpin").expect("rfc5382_req_8");
            assert_eq!(datagrams(outside, 8, 300), Ok(8), "rfc4787_req_9");
        });
    }
}

#[test]
fn the_router_is_silent_where_it_should_be() {
    let street = Street::new("lan-closed", "");
    let far = &street.provider.far.host;
    far.inside(|| {
        for port in [53, 80, 22] {
            assert!(echo(street.outside(port), "hello").is_err(), "TCP {port} is open towards the WAN");
        }
        let error = resolve(street.outside(53), "www.example.test.").expect_err("no DNS towards the WAN");
        assert!(error.contains("waiting"), "{error}");
    });
    // The host kernel under the router's cards must not answer, too: one answer to each ARP request, from the router.
    let output = text(&street.house.desk.try_run(&format!("busybox arping -c 2 -I eth0 {GATEWAY}")));
    let answers = output.lines().filter(|line| line.contains("reply")).count();
    assert_eq!(answers, 2, "{output}");
}

/// RFC 2131 KILL.
#[test]
fn leases_survive_kill_and_the_isp_has_one_session() {
    let mut street = Street::new("lan-kill", "");
    street.gateway.kill();
    let gateway = street.gateway.again(&street.lab, &street.house.router);
    let wan = gateway.wait_up("isp", Duration::from_secs(30));
    assert!(wan.address.parse::<Ipv4Addr>().is_ok(), "{}", wan.all);
    assert_eq!(street.lab.lease(&street.house.desk, "eth0").address, street.desk.address);
    street.house.desk.run(&format!("ping -c 3 -i 0.2 -W 2 {WEB}"));
    let sessions = street._isp.status().expect("the ISP has a status");
    let sessions = sessions["concentrators"][0]["sessions"].clone();
    let count = sessions.as_u64().or(sessions.as_array().map(|list| list.len() as u64));
    assert_eq!(count, Some(1), "it goes on, or was ended by a PADT: {sessions}");
    gateway.end();
}

#[test]
fn the_card_is_put_back_as_it_was() {
    let street = Street::new("lan-restore", "");
    let before = street.house.desk.run("ip -o link show eth0");
    street.gateway.end();
    let router = &street.house.router;
    let qdiscs = router.run("tc qdisc show");
    assert!(!qdiscs.contains("clsact") && !qdiscs.contains("ingress"), "{qdiscs}");
    // The host kernel owns its card again.
    router.ip(&["address", "add", "192.168.1.1/24", "dev", "lan1"]);
    street.house.desk.run(&format!("ping -c 1 -W 3 {GATEWAY}"));
    assert_eq!(street.house.desk.run("ip -o link show eth0"), before);
}
