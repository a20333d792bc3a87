//! A gateway that is killed and starts again goes on with the sessions that it had: the ISP, a gateway of its own on the
//! other side of the line, notices nothing.

use super::renumbering::{HOME, OLD, Site, ours, provider};
use super::*;
use crate::arp;
use crate::id::Ipv6Cidr;
use crate::ndp::message::{Message, Packet};
use crate::settings::{LanPrefix, PrefixPool, WanIpv6};
use crate::state::RememberedSession;
use crate::wire::ipv6::Header as Ipv6Header;
use crate::wire::ppp::{code, protocol};
use crate::wire::pppoe::SessionPacket;
use alloc::string::ToString;
use core::net::Ipv6Addr;

/// A host on the LAN, and one in the Internet.
const HOST: Mac = Mac([0x52, 0x54, 0, 0, 0, 10]);
const HOST4: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 10);
const FAR4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);
const FAR6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 9);
const LAN_MAC: Mac = Mac([2, 0, 0, 0, 0, 0x11]);

fn host6() -> Ipv6Addr {
    let prefix: Ipv6Cidr = OLD.parse().unwrap();
    prefix.with_suffix(Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 10))
}

/// Our gateway with these families on its uplink.
fn household(ipv4: bool, ipv6: bool) -> Settings {
    let mut settings = ours(&[1]);
    settings.wans[0].ipv4 = ipv4;
    if !ipv6 {
        settings.wans[0].ipv6 = None;
        settings.lans[0].prefix = None;
    }
    settings
}

/// A street that is online.
fn street(settings: Settings) -> Site {
    let mut site = Site::new(settings, &provider("2001:db8::/56"));
    site.pass(60);
    assert_eq!(wan(&site).state, "up");
    site
}

fn wan(site: &Site) -> crate::status::WanStatus {
    site.ours.gateway.status(site.ours.now).wans.remove(0)
}

/// The state as the next run reads it from its file.
fn saved(state: &State) -> State {
    serde_json::from_str(&serde_json::to_string(state).unwrap()).unwrap()
}

/// Kills the gateway, and starts it again with `settings` after `seconds` in which the ISP's frames go nowhere.
fn kill(site: &mut Site, settings: &Settings, state: State, seconds: u64) {
    let at = site.ours.now + Duration::from_secs(seconds);
    site.isp.run_until(at);
    let _lost = site.isp.sent(LINE);
    let _lost = site.ours.sent(LINE);
    site.line.clear();
    site.heard.clear();
    site.settings = settings.clone();
    let ours = Node { gateway: Gateway::new(settings, &state, [8; 32], at), now: at };
    site.ours = ours;
}

/// The same, with what it had saved and nothing changed.
fn kill_and_start(site: &mut Site) {
    let (settings, state) = (site.settings.clone(), saved(&site.ours.gateway.state()));
    kill(site, &settings, state, 1);
}

/// The protocols and codes of PPP control packets among these frames; of discovery packets 0 and their code.
fn control(frames: &[Vec<u8>]) -> Vec<(u16, u8)> {
    let of = |frame: &Vec<u8>| {
        if let Ok(frame) = DiscoveryFrame::parse(frame) {
            return Some((0, frame.packet.code.value()));
        }
        let packet = SessionPacket::parse(frame.get(14..)?)?.packet;
        let protocol = u16::from_be_bytes([packet[0], packet[1]]);
        (protocol & 0x8000 != 0).then(|| (protocol, packet[2]))
    };
    frames.iter().filter_map(of).collect()
}

/// How often there is what must not be there when a session goes on: everything but echoes.
fn negotiating(frames: &[Vec<u8>]) -> Vec<(u16, u8)> {
    let is_echo = |seen: &(u16, u8)| {
        matches!(*seen, (protocol::LCP, code::ECHO_REQUEST | code::ECHO_REPLY | code::DISCARD_REQUEST))
    };
    control(frames).into_iter().filter(|seen| !is_echo(seen)).collect()
}

fn udp(source: u16, destination: u16) -> Vec<u8> {
    let mut out = Vec::new();
    for word in [source, destination, 8 + 4, 0] {
        out.extend(word.to_be_bytes());
    }
    out.extend(b"data");
    out
}

/// What the host sends to the Internet, from its Ethernet header on.
fn from_host(ipv6: bool) -> Vec<u8> {
    let mut frame = Frame::with_capacity(2048);
    if ipv6 {
        let header = Ipv6Header { source: host6(), destination: FAR6, hop_limit: 64 };
        assert!(header.write_udp(4000, 5000, b"data", &mut frame));
        return [&LAN_MAC.0[..], &HOST.0, &[0x86, 0xdd], frame.bytes()].concat();
    }
    let mut packet = vec![0x45, 0, 0, 32, 0, 0, 0, 0, 64, 17, 0, 0];
    packet.extend(HOST4.octets());
    packet.extend(FAR4.octets());
    packet.extend(udp(4000, 5000));
    crate::wire::ipv4::write_header_checksum(&mut packet, 20);
    [&LAN_MAC.0[..], &HOST.0, &[8, 0], &packet].concat()
}

/// The answer to `frame`, which has come by the line: addresses and ports the other way round.
fn answer_to(frame: &[u8]) -> Vec<u8> {
    let mut out = frame.to_vec();
    out[..6].copy_from_slice(&frame[6..12]);
    out[6..12].copy_from_slice(&frame[..6]);
    let ipv6 = frame[20..22] == [0, 0x57];
    let (addresses, length, ports) = if ipv6 { (30, 16, 62) } else { (34, 4, 42) };
    for (at, length) in [(addresses, length), (ports, 2)] {
        out[at..at + length].copy_from_slice(&frame[at + length..at + 2 * length]);
        out[at + length..at + 2 * length].copy_from_slice(&frame[at..at + length]);
    }
    out
}

/// What reaches the host now. It answers when the gateway looks for it.
fn heard_by_host(site: &mut Site) -> Vec<Vec<u8>> {
    let mut heard = Vec::new();
    loop {
        let mut answers = Vec::new();
        for frame in site.ours.sent(HOME) {
            if let Ok(asked) = arp::Packet::parse(&frame)
                && asked.target == HOST4
            {
                let reply = arp::Packet {
                    operation: arp::Operation::Reply,
                    sender_mac: HOST,
                    sender: HOST4,
                    target_mac: asked.sender_mac,
                    target: asked.sender,
                };
                let mut out = Frame::with_capacity(256);
                assert!(reply.emit(asked.sender_mac, &mut out));
                answers.push(out.bytes().to_vec());
            }
            if let Ok(asked) = Packet::parse(&frame[14..])
                && let Message::NeighbourSolicitation { target, .. } = asked.message
                && target == host6()
            {
                let message = Message::NeighbourAdvertisement {
                    target,
                    router: false,
                    solicited: true,
                    overrides: true,
                    target_link_layer: Some(HOST),
                };
                let packet = Packet { source: target, destination: asked.source, message };
                let mut out = Frame::with_capacity(256);
                assert!(packet.emit(&mut out));
                answers.push([&LAN_MAC.0[..], &HOST.0, &[0x86, 0xdd], out.bytes()].concat());
            }
            if frame[..6] == HOST.0 {
                heard.push(frame);
            }
        }
        if answers.is_empty() {
            return heard;
        }
        site.ours.receive(HOME, answers);
    }
}

/// One packet to the Internet and its answer, without any time in between.
#[track_caller]
fn data_flows(site: &mut Site, ipv6: bool) {
    site.ours.receive(HOME, [from_host(ipv6)]);
    let number = if ipv6 { protocol::IPV6 } else { protocol::IPV4 };
    let carried = |frame: &&Vec<u8>| {
        SessionPacket::parse(&frame[14..]).is_some_and(|data| data.packet[..2] == number.to_be_bytes())
            && frame.ends_with(b"data")
    };
    let up = site.ours.sent(LINE);
    let data = up.iter().find(carried).expect("it leaves by the session");
    let answer = answer_to(data);
    site.isp.receive(LINE, up);
    site.ours.receive(LINE, [answer]);
    let heard = heard_by_host(site);
    let dropped: Vec<_> = site.ours.gateway.ledger().drops().collect();
    assert!(heard.iter().any(|frame| frame.ends_with(b"data")), "the answer reaches the host: {dropped:?}");
}

/// The sessions that the ISP has.
fn at_isp(site: &Site) -> Vec<u16> {
    let status = site.isp.gateway.status(site.isp.now);
    status.concentrators[0].sessions.iter().map(|session| session.session_id).collect()
}

/// RFC 2516 PADT, RFC 1661 §5.8: nothing is ended, asked for or negotiated; only life is asked for.
#[test]
fn after_a_crash_the_session_goes_on_and_nothing_is_negotiated() {
    for (ipv4, ipv6) in [(true, false), (false, true), (true, true)] {
        let mut site = street(household(ipv4, ipv6));
        let (before, sessions) = (wan(&site), at_isp(&site));
        kill_and_start(&mut site);

        let after = wan(&site);
        assert_eq!((after.state, after.up), ("up", true));
        let of = |wan: &crate::status::WanStatus| {
            let (ac, limit) = (wan.ac_name.clone(), wan.mtu_limit.clone());
            (wan.session_id, wan.peer_mac, wan.address, wan.gateway, wan.dns.clone(), wan.mtu, ac, limit)
        };
        assert_eq!(of(&after), of(&before));
        let said = site.ours.gateway.poll_event().unwrap().to_string();
        let id = before.session_id.unwrap();
        let start = alloc::format!("wan isp: the session of the last run goes on (id {id} with \"bras1\"");
        assert!(said.starts_with(&start), "{said}");
        assert!(before.address.is_none_or(|address| said.contains(&address.to_string())), "{said}");
        // Life is asked for at once.
        let first = site.ours.sent(LINE);
        assert_eq!(control(&first), [(protocol::LCP, code::ECHO_REQUEST)]);
        site.isp.receive(LINE, first);
        if ipv4 {
            data_flows(&mut site, false);
        }
        if ipv6 {
            data_flows(&mut site, true);
        }
        site.pass(120);
        let seen = control(&site.line);
        assert!(negotiating(&site.line).is_empty(), "{seen:02x?}");
        // The ISP's own are signs of life, too.
        let asked = seen.iter().filter(|seen| **seen == (protocol::LCP, code::ECHO_REQUEST)).count();
        assert!((4..=12).contains(&asked), "{asked} Echo-Requests in two minutes");
        assert_eq!(at_isp(&site), sessions);
        assert_eq!(wan(&site).state, "up");
        // And once more: what was adopted can be adopted.
        kill_and_start(&mut site);
        assert_eq!(of(&wan(&site)), of(&before));
        site.pass(120);
        assert!(negotiating(&site.line).is_empty());
    }
}

/// Without a kernel half, too: the far side may be the next to speak, and finds the port that it knows.
#[test]
fn a_flow_that_was_left_goes_on_and_one_of_a_crash_is_forgotten() {
    for (ipv6, left) in [(false, true), (true, true), (false, false), (true, false)] {
        let mut site = street(household(true, true));
        data_flows(&mut site, ipv6);
        site.ours.receive(HOME, [from_host(ipv6)]);
        let up = site.ours.sent(LINE);
        let answer = answer_to(up.iter().find(|frame| frame.ends_with(b"data")).expect("it leaves"));
        let gateway = &site.ours.gateway;
        let state = saved(&if left { gateway.state_left() } else { gateway.state() });
        assert_eq!(state.flows.iter().filter(|flow| flow.to == "wan.isp").count(), usize::from(left));
        assert_eq!(state.clone().without_adoption().flows, []);
        let settings = site.settings.clone();
        kill(&mut site, &settings, state, 1);

        site.ours.receive(LINE, [answer]);
        let heard = heard_by_host(&mut site).iter().any(|frame| frame.ends_with(b"data"));
        assert_eq!(heard, left, "IPv6: {ipv6}");
        assert_eq!(site.ours.gateway.state().flows, [], "it is true once");
    }
}

/// The link never went down, so nothing that was delegated has to be waited for.
#[test]
fn after_a_crash_hosts_keep_their_prefix_and_hear_of_no_end() {
    let mut site = street(household(true, true));
    kill_and_start(&mut site);
    let uplink = wan(&site).ipv6.unwrap();
    assert!(uplink.prefixes[0].preferred_s > Some(0) && uplink.default_router.is_some());
    site.pass(120);
    assert!(!site.heard.is_empty());
    for (_, told) in &site.heard {
        assert_eq!(told.router_lifetime, 1800);
        assert!(told.prefixes.iter().all(|told| told.valid > 0 && told.preferred > 0), "{told:?}");
        assert!(told.prefixes.iter().any(|told| told.prefix == OLD.parse().unwrap()));
    }
    let dhcp = wan(&site).ipv6.unwrap().dhcp.unwrap();
    assert_eq!((dhcp.state, dhcp.last_failure), ("bound", None), "the server was asked meanwhile");
    assert!(dhcp.renew_in_s.is_some());
    assert_eq!(wan(&site).ipv6.unwrap().epoch, 0);
}

/// The DHCPv6 server is silent: what it gave is good until it ends.
#[test]
fn rfc8415_18_2_5_what_was_delegated_is_good_while_nobody_says_otherwise() {
    let mut site = street(household(true, true));
    let mut quiet = provider("2001:db8::/56");
    quiet.concentrators[0].prefix_pool = None;
    kill_and_start(&mut site);
    // Nothing of IPv6 reaches the ISP from here on.
    for _ in 0..300 {
        let at = site.ours.now + Duration::from_millis(100);
        site.ours.run_until(at);
        site.isp.run_until(at);
        let ppp = |frame: &Vec<u8>| frame[20..22] != protocol::IPV6.to_be_bytes();
        let up: Vec<_> = site.ours.sent(LINE).into_iter().filter(ppp).collect();
        site.isp.receive(LINE, up);
        let down = site.isp.sent(LINE);
        site.ours.receive(LINE, down);
        site.hear();
    }
    let ipv6 = wan(&site).ipv6.unwrap();
    assert_eq!(ipv6.dhcp.unwrap().state, "rebinding");
    assert!(ipv6.prefixes[0].preferred_s > Some(0));
    assert!(site.last().prefixes.iter().all(|told| told.preferred > 0));
    data_flows(&mut site, true);
}

/// Lets time pass until this is so, a tenth of a second at a time, and says how much it took.
fn until(site: &mut Site, mut holds: impl FnMut(&mut Site) -> bool) -> Duration {
    let from = site.ours.now;
    while !holds(site) {
        assert!(site.ours.now.since(from) < Duration::from_secs(120), "it never is");
        let at = site.ours.now + Duration::from_millis(100);
        site.ours.run_until(at);
        site.isp.run_until(at);
        let up = site.ours.sent(LINE);
        site.line.extend(up.iter().cloned());
        site.isp.receive(LINE, up);
        let down = site.isp.sent(LINE);
        site.ours.receive(LINE, down);
    }
    site.ours.now.since(from)
}

fn said(site: &mut Site) -> Vec<String> {
    core::iter::from_fn(|| site.ours.gateway.poll_event()).map(|event| event.to_string()).collect()
}

/// Discovery packets that have come to the ISP, in their order.
fn discovery(site: &Site) -> Vec<Code> {
    site.line.iter().filter_map(|frame| Some(DiscoveryFrame::parse(frame).ok()?.packet.code)).collect()
}

/// Lesson 8: what is ended first, before anything is asked for.
#[test]
fn a_session_that_nobody_answers_on_is_gone_in_four_seconds_and_dialled_anew() {
    let mut site = street(household(true, true));
    let old = wan(&site).session_id;
    kill_and_start(&mut site);
    let from = site.ours.now;
    while wan(&site).session_id.is_some() {
        let at = site.ours.now + Duration::from_millis(100);
        site.ours.run_until(at);
        site.line.extend(site.ours.sent(LINE));
        assert!(at.since(from) <= Duration::from_millis(4100));
    }
    site.ours.run_until(site.ours.now + Duration::from_millis(1));
    site.line.extend(site.ours.sent(LINE));
    let asked = control(&site.line);
    let asked = asked.iter().filter(|seen| **seen == (protocol::LCP, code::ECHO_REQUEST)).count();
    assert_eq!(asked, 3);
    assert_eq!(discovery(&site), [Code::Padt, Code::Padt, Code::Padi], "ended first, dialled at once");
    let told = said(&mut site);
    let gone = "wan isp: the session is gone: the peer does not answer on it; dialling again at once";
    assert!(told.iter().any(|line| line == gone), "{told:?}");
    until(&mut site, |site| wan(site).state == "up");
    assert_ne!(wan(&site).session_id, old);
    assert_eq!(at_isp(&site).len(), 1, "the old one was ended");
}

/// The concentrator has lost its memory: its PADT answers the first Echo-Request.
#[test]
fn a_session_that_the_concentrator_does_not_know_is_dialled_anew_at_once() {
    let mut site = street(household(true, false));
    let now = site.isp.now;
    site.isp =
        Node { gateway: Gateway::new(&provider("2001:db8::/56"), &State::default(), [9; 32], now), now };
    kill_and_start(&mut site);
    assert_eq!(wan(&site).state, "up");
    let took = until(&mut site, |site| wan(site).session_id.is_none() || wan(site).state == "discovering");
    assert!(took <= Duration::from_millis(300), "{took:?}");
    until(&mut site, |site| wan(site).state == "up");
    let told = said(&mut site);
    assert!(told.iter().any(|line| line.contains("the concentrator does not know it any more")), "{told:?}");
    assert!(!discovery(&site).contains(&Code::Padt), "it knows");
}

/// Data is life: a session that carries some is not ended because its echoes are lost.
#[test]
fn data_on_an_adopted_session_proves_it() {
    let mut site = street(household(true, false));
    kill_and_start(&mut site);
    site.ours.receive(HOME, [from_host(false)]);
    let up = site.ours.sent(LINE);
    let data = up.iter().find(|frame| frame.ends_with(b"data")).unwrap();
    site.ours.pass(1);
    let _lost = site.ours.sent(LINE);
    site.ours.receive(LINE, [answer_to(data)]);
    // The keepalive has its own patience.
    site.ours.pass(20);
    assert_eq!(wan(&site).state, "up");
}

/// Another boot of the machine, or another uplink by now: as ever, the old session is ended first.
/// RFC 2516 PADT.
#[test]
fn a_session_of_another_boot_or_another_configuration_is_ended_first() {
    let pppoe = |settings: &mut Settings, change: &dyn Fn(&mut PppoeClient)| {
        if let Uplink::Pppoe(pppoe) = &mut settings.wans[0].uplink {
            change(pppoe);
        }
    };
    type Change<'a> = &'a dyn Fn(&mut Settings, &mut State);
    let changes: [(&str, Change<'_>); 12] = [
        ("another boot", &|_, state| *state = state.clone().without_adoption()),
        ("the name", &|settings, _| pppoe(settings, &|pppoe| pppoe.username = "bob".into())),
        ("the service", &|settings, _| pppoe(settings, &|pppoe| pppoe.service_name = b"tv".to_vec())),
        ("the concentrator", &|settings, _| {
            pppoe(settings, &|pppoe| pppoe.ac_name = Some(b"bras1".to_vec()))
        }),
        ("the authentication", &|settings, _| {
            pppoe(settings, &|pppoe| pppoe.authentication = vec![Authentication::Pap]);
        }),
        ("the MTU", &|settings, _| pppoe(settings, &|pppoe| pppoe.mtu = 1480)),
        ("the card", &|settings, _| settings.ports[0].mac = Mac([2, 0, 0, 0, 0, 0x77])),
        ("the port", &|settings, _| settings.ports[0].name = "other".into()),
        ("the port's MTU", &|settings, _| settings.ports[0].mtu = 1400),
        ("the VLAN", &|settings, _| settings.ports[0].vlan = Some(Vlan { id: 7, control_priority: 0 })),
        ("no IPv6", &|settings, _| {
            settings.wans[0].ipv6 = None;
            settings.lans[0].prefix = None;
        }),
        ("no IPv4", &|settings, _| settings.wans[0].ipv4 = false),
    ];
    for (what, change) in changes {
        let mut site = street(household(true, true));
        let (mut settings, mut state) = (site.settings.clone(), saved(&site.ours.gateway.state()));
        change(&mut settings, &mut state);
        let session = wan(&site).session_id.unwrap();
        kill(&mut site, &settings, state, 1);
        assert!(wan(&site).session_id.is_none(), "{what}");
        site.ours.pass(2);
        let untag = |frame: Vec<u8>| match frame[12..14] {
            [0x81, 0] => [&frame[..12], &frame[16..]].concat(),
            _ => frame,
        };
        let sent: Vec<_> = site.ours.sent(LINE).into_iter().map(untag).collect();
        let first = DiscoveryFrame::parse(&sent[0]).unwrap();
        assert_eq!(
            (first.packet.code, first.packet.session, first.destination),
            (Code::Padt, session, BRAS),
            "{what}"
        );
        assert!(sent[1..].iter().any(|frame| {
            DiscoveryFrame::parse(frame).is_ok_and(|frame| frame.packet.code == Code::Padi)
        }));
    }
    // An uplink that was without IPv6 and is to have it.
    let mut site = street(household(true, false));
    let state = saved(&site.ours.gateway.state());
    kill(&mut site, &household(true, true), state, 1);
    assert!(wan(&site).session_id.is_none());
}

/// What the program wrote before it could adopt, and what it writes while nothing is to be adopted.
#[test]
fn a_state_file_without_adoption_is_read_and_its_session_ended() {
    let old = r#"{"sessions": [{"wan": "isp", "peer": "02:00:00:00:09:00", "session": 7}],
        "uplink_leases": [{"wan": "cable", "address": "192.0.2.7", "expires": 7}], "leases": []}"#;
    let state: State = serde_json::from_str(old).unwrap();
    assert_eq!(state.uplink_leases[0].lease.kept, None);
    let now = Instant::from_secs(1000);
    let gateway = Gateway::new(&household(true, true), &state, [7; 32], now);
    let mut node = Node { gateway, now };
    let first = node.sent(LINE).remove(0);
    let first = DiscoveryFrame::parse(&first).unwrap();
    assert_eq!((first.packet.code, first.packet.session), (Code::Padt, 7));
}

#[test]
fn what_cannot_be_of_a_session_is_not_adopted() {
    let site = street(household(true, true));
    let whole = serde_json::to_value(site.ours.gateway.state()).unwrap();
    let spoilt = [
        ("/sessions/0/adoption/link/ipv4/local", serde_json::json!("0.0.0.0")),
        ("/sessions/0/adoption/link/lcp/mru", serde_json::json!(9000)),
        ("/sessions/0/adoption/link/lcp/mru", serde_json::json!(1)),
        ("/sessions/0/adoption/link/lcp/peer/mru", serde_json::json!(64)),
        ("/sessions/0/adoption/link/lcp/peer/authentication", serde_json::json!("pap")),
        ("/sessions/0/adoption/carried", serde_json::json!(9000)),
    ];
    for (place, value) in spoilt {
        let mut state = whole.clone();
        if place.contains("ipv4") {
            state["sessions"][0]["adoption"]["link"]["ipv6"] = serde_json::Value::Null;
        }
        *state.pointer_mut(place).unwrap() = value;
        let state: State = serde_json::from_value(state).unwrap();
        let gateway = Gateway::new(&site.settings, &state, [7; 32], site.ours.now);
        let node = Node { gateway, now: site.ours.now };
        assert_eq!(node.sessions(), [None], "{place}");
    }
    let secrets = serde_json::to_string(&whole).unwrap();
    assert!(!secrets.contains("right"), "no password in {secrets}");
}

/// RFC 4638: a large MTU that was proven is there at once and stays; one that the path does not carry is not tried again.
#[test]
fn the_mtu_is_kept() {
    for largest in [1508, 1500] {
        let mut settings = household(true, true);
        let mut isp = provider("2001:db8::/56");
        for settings in [&mut settings, &mut isp] {
            settings.ports[0].mtu = 1508;
        }
        isp.concentrators[0].mtu = 1500;
        if let Uplink::Pppoe(pppoe) = &mut settings.wans[0].uplink {
            pppoe.mtu = 1500;
        }
        let mut site = Site::new(settings, &isp);
        let pass = |site: &mut Site, seconds: u64| {
            for _ in 0..seconds * 10 {
                let at = site.ours.now + Duration::from_millis(100);
                site.ours.run_until(at);
                site.isp.run_until(at);
                for _ in 0..4 {
                    let up: Vec<_> = site.ours.sent(LINE);
                    site.line.extend(up.iter().cloned());
                    site.isp.receive(LINE, up.into_iter().filter(|frame| frame.len() <= 14 + largest));
                    let down = site.isp.sent(LINE);
                    site.ours.receive(LINE, down);
                }
            }
        };
        pass(&mut site, 60);
        let before = wan(&site);
        assert_eq!(before.mtu, Some(if largest == 1508 { 1500 } else { 1492 }));
        kill_and_start(&mut site);
        for _ in 0..2 {
            let after = wan(&site);
            assert_eq!(
                (after.state, after.mtu, after.mtu_limit),
                ("up", before.mtu, before.mtu_limit.clone())
            );
            assert_eq!(after.session_id, before.session_id);
            pass(&mut site, 60);
        }
        assert!(negotiating(&site.line).is_empty());
        // The full size is proven once more where it is above what every path carries.
        let long = site.line.iter().any(|frame| frame.len() > 14 + 1500);
        assert_eq!(long, largest == 1508);
    }
}

/// Two sessions of one port, each with a family of its own.
#[test]
fn two_sessions_of_one_port_both_go_on() {
    let mut settings = household(true, false);
    let mut second = settings.wans[0].clone();
    second.name = "isp6".into();
    second.ipv4 = false;
    second.ipv6 = Some(WanIpv6 { prefix: Some(crate::settings::PrefixRequest { length: Some(56) }) });
    settings.wans.push(second);
    settings.lans[0].prefix = Some(LanPrefix { from: crate::id::WanId(1), subnet: 1 });
    let mut site = Site::new(settings, &provider("2001:db8::/56"));
    site.pass(60);
    let before = site.ours.sessions();
    assert!(before.iter().all(Option::is_some));
    kill_and_start(&mut site);
    data_flows(&mut site, false);
    data_flows(&mut site, true);
    site.pass(60);
    assert_eq!(site.ours.sessions(), before);
    assert!(negotiating(&site.line).is_empty());
}

/// The ISP has nothing to say to IPv6: that is asked again, and IPv4 goes on meanwhile.
#[test]
fn a_family_that_was_not_up_is_tried_and_the_other_goes_on() {
    let mut isp = provider("2001:db8::/56");
    isp.concentrators[0].prefix_pool = None::<PrefixPool>;
    isp.concentrators[0].users[0].prefix = None;
    let mut site = Site::new(household(true, true), &isp);
    site.pass(60);
    let before = wan(&site);
    kill_and_start(&mut site);
    data_flows(&mut site, false);
    site.pass(60);
    assert_eq!((wan(&site).session_id, wan(&site).address), (before.session_id, before.address));
    let asked = negotiating(&site.line);
    assert!(asked.iter().all(|(number, _)| *number == protocol::IPV6CP), "{asked:02x?}");
}

/// What is saved is enough whenever the gateway is left: while it dials, when it is up, and after an orderly end.
#[test]
fn the_state_is_whole_at_any_time() {
    let mut site = Site::new(household(true, true), &provider("2001:db8::/56"));
    let left = |site: &Site| -> Vec<RememberedSession> { site.ours.gateway.state().sessions };
    let whole = |session: &RememberedSession| {
        let adoption = session.left.adoption.as_ref();
        adoption.is_some_and(|adoption| {
            let text = serde_json::to_string(adoption).unwrap();
            text.contains("\"ipv4\":{") && text.contains("\"ipv6\":{")
        })
    };
    assert!(left(&site).is_empty());
    let mut changed = false;
    for _ in 0..200 {
        let before = left(&site);
        let at = site.ours.now + Duration::from_millis(50);
        site.ours.run_until(at);
        site.isp.run_until(at);
        let up = site.ours.sent(LINE);
        site.isp.receive(LINE, up);
        let down = site.isp.sent(LINE);
        site.ours.receive(LINE, down);
        let told = core::iter::from_fn(|| site.ours.gateway.poll_event()).any(|event| event.changes_state());
        changed |= told;
        assert!(told || left(&site) == before, "a change that nobody is told of is not saved");
    }
    assert!(changed && left(&site).iter().all(whole) && left(&site).len() == 1);
    site.ours.gateway.shut_down(site.ours.now);
    assert!(left(&site).is_empty(), "it was ended");
}
