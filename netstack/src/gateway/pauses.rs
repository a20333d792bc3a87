//! A machine that is paused while the world goes on: its clock has counted nothing of it.

use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use crate::gateway::{Gateway, tests};
use crate::id::{Ipv4Cidr, Ipv6Cidr, Mac, PortId, WanId};
use crate::ndp::message::{Message, Packet, RouterAdvertisement};
use crate::pppoe::DiscoveryFrame;
use crate::settings::{
    Dhcp4, Dhcp6, Echo, Lan, LanPrefix, Port, PrefixPool, PrefixRequest, Settings, Uplink, Wan, WanIpv6,
};
use crate::sim::{CableId, End, HostSettings, Impairment, NodeId, World};
use crate::state::State;
use crate::status::WanStatus;
use crate::time::{Duration, Instant};
use crate::wire::ppp::{code, protocol};
use crate::wire::pppoe::{Code, SessionPacket};

const LINE: PortId = PortId(0);
const HOME: PortId = PortId(1);
const TEN_MINUTES: u64 = 600;
const OLD: &str = "2001:db8:0:1::/64";
const NEW: &str = "2001:db8:1:1::/64";

fn ip(third: u8, last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, third, last)
}

fn port(mac: u8) -> Port {
    Port { name: String::from("port"), mac: Mac([2, 0, 0, 0, mac, 0]), mtu: 1500, vlan: None, offload: false }
}

fn lan(port: PortId, third: u8, lease: u64) -> Lan {
    Lan {
        name: "home".into(),
        ports: vec![port],
        address: Ipv4Cidr { address: ip(third, 1), prefix: 24 },
        dhcp: Some(Dhcp4 {
            range: ip(third, 100)..=ip(third, 103),
            lease: Duration::from_secs(lease),
            ntp: vec![],
        }),
        prefix: None,
        dhcp6: Dhcp6::Off,
        domain: "home.arpa".into(),
        hosts: vec![],
    }
}

/// An ISP with a concentrator that delegates `prefix`. With `echo` it finds out that a subscriber is gone.
fn provider(prefix: &str, echo: bool) -> Settings {
    let mut settings = tests::isp();
    let prefix: Ipv6Cidr = prefix.parse().unwrap();
    let concentrator = &mut settings.concentrators[0];
    concentrator.prefix_pool = Some(PrefixPool { prefix, delegate: prefix.prefix });
    concentrator.users[0].prefix = Some(prefix);
    concentrator.echo = match echo {
        true => Echo::default(),
        false => Echo { interval: Duration::ZERO, failures: 3 },
    };
    settings
}

/// A gateway that dials, with a LAN.
fn dialling() -> Settings {
    let mut home = lan(HOME, 1, 3600);
    home.prefix = Some(LanPrefix { from: WanId(0), subnet: 1 });
    home.dhcp6 = Dhcp6::Stateless;
    let mut wan = tests::wan("isp");
    wan.ipv6 = Some(WanIpv6 { prefix: Some(PrefixRequest { length: Some(56) }) });
    Settings { ports: vec![port(1), port(2)], wans: vec![wan], lans: vec![home], ..Settings::default() }
}

/// A router that leases addresses for so many seconds, to gateways behind it.
fn outer(lease: u64) -> Settings {
    Settings { ports: vec![port(9)], lans: vec![lan(LINE, 7, lease)], ..Settings::default() }
}

/// A gateway behind another one.
fn plain() -> Settings {
    let wan = Wan { name: "isp".into(), port: LINE, uplink: Uplink::Dhcp, ipv4: true, ipv6: None };
    let lans = vec![lan(HOME, 1, 3600)];
    Settings { ports: vec![port(1), port(2)], wans: vec![wan], lans, ..Settings::default() }
}

/// An ISP, a gateway, and a host on its LAN that pings the ISP's address once a second.
struct Street {
    world: World,
    isp: NodeId,
    ours: NodeId,
    host: NodeId,
    line: CableId,
}

impl Street {
    /// What it is like after it has run for a minute.
    fn new(isp: &Settings, ours: &Settings, target: Ipv4Addr) -> Street {
        let mut world = World::new(21);
        let (isp, ours) = (world.add_gateway(isp), world.add_gateway(ours));
        let host = world.add_host(HostSettings {
            mac: Mac([2, 0, 0, 0, 9, 9]),
            address: Ipv4Cidr { address: ip(1, 50), prefix: 24 },
            router: ip(1, 1),
            target: Some(target),
            ipv6: None,
            target_ipv6: None,
        });
        let line = world.connect(End(isp, LINE), End(ours, LINE));
        world.connect(End(ours, HOME), End(host, PortId(0)));
        world.listen(ours);
        let mut street = Street { world, isp, ours, host, line };
        street.run(60);
        assert!(street.is_online(), "{}", street.world.story());
        street
    }

    fn dialled(echo: bool) -> Street {
        Street::new(&provider("2001:db8::/56", echo), &dialling(), [100, 64, 0, 1].into())
    }

    fn leased(lease: u64) -> Street {
        Street::new(&outer(lease), &plain(), ip(7, 1))
    }

    fn run(&mut self, seconds: u64) {
        self.world.run_for(Duration::from_secs(seconds));
    }

    /// Pauses the gateway for ten minutes; then nothing has been heard of it yet.
    fn pause(&mut self) {
        self.world.pause(self.ours);
        self.run(TEN_MINUTES);
        self.world.heard();
        self.world.resume(self.ours);
    }

    /// Runs until this is so, a tenth of a second at a time, and says how long it took.
    #[track_caller]
    fn until(&mut self, mut holds: impl FnMut(&mut Street) -> bool) -> Duration {
        let from = self.world.now();
        while !holds(self) {
            assert!(self.world.now().since(from) < Duration::from_secs(60), "{}", self.world.story());
            self.world.run_for(Duration::from_millis(100));
        }
        self.world.now().since(from)
    }

    fn gateway(&mut self) -> &mut Gateway {
        self.world.gateway(self.ours).unwrap()
    }

    fn wan(&mut self) -> WanStatus {
        let now = self.world.clock(self.ours);
        self.gateway().status(now).wans.remove(0)
    }

    fn flows(&mut self) -> usize {
        let now = self.world.clock(self.ours);
        self.gateway().status(now).nat.flows
    }

    fn is_online(&mut self) -> bool {
        let now = self.world.now();
        let last = self.world.host(self.host).unwrap().last_reply();
        last.is_some_and(|last| now.since(last) <= Duration::from_millis(1100))
    }

    /// What hosts were told since the last time, and when.
    fn advertised(&mut self) -> Vec<(Instant, RouterAdvertisement)> {
        let heard = self.world.heard().into_iter().filter(|heard| heard.sent && heard.port == HOME);
        let told = heard.filter_map(|heard| match Packet::parse(heard.frame.get(14..)?).ok()?.message {
            Message::RouterAdvertisement(told) => Some((heard.at, told)),
            _ => None,
        });
        told.collect()
    }

    /// What the gateway has said by its line since the last time: discovery packets, and PPP control packets.
    fn said(&mut self) -> (Vec<Code>, Vec<(u16, u8)>) {
        let sent = self.world.heard().into_iter().filter(|heard| heard.sent && heard.port == LINE);
        let frames: Vec<Vec<u8>> = sent.map(|heard| heard.frame).collect();
        let discovery =
            frames.iter().filter_map(|frame| Some(DiscoveryFrame::parse(frame).ok()?.packet.code));
        let control = frames.iter().filter_map(|frame| {
            let packet = SessionPacket::parse(frame.get(14..)?)?.packet;
            let number = u16::from_be_bytes([packet[0], packet[1]]);
            (number & 0x8000 != 0).then(|| (number, packet[2]))
        });
        (discovery.collect(), control.collect())
    }

    /// The sessions that the ISP has.
    fn at_isp(&mut self) -> Vec<u16> {
        let now = self.world.clock(self.isp);
        let status = self.world.gateway(self.isp).unwrap().status(now);
        status.concentrators[0].sessions.iter().map(|session| session.session_id).collect()
    }
}

impl Drop for Street {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            for node in [self.isp, self.ours] {
                assert!(self.world.gateway(node).is_none_or(|gateway| gateway.balance().holds()));
            }
        }
    }
}

fn lifetimes(told: &RouterAdvertisement, prefix: &str) -> Option<(u32, u32)> {
    let prefix: Ipv6Cidr = prefix.parse().unwrap();
    let told = told.prefixes.iter().find(|told| told.prefix == prefix)?;
    Some((told.preferred, told.valid))
}

#[test]
fn a_session_that_outlives_a_pause_goes_on_and_no_flow_is_lost() {
    let mut street = Street::dialled(false);
    let (before, flows) = (street.wan(), street.flows());
    street.pause();
    assert!(street.world.story().contains("the machine was paused; everybody is asked again"));
    let took = street.until(Street::is_online);
    assert!(took <= Duration::from_secs(2), "{took:?}");
    street.run(5);
    let after = street.wan();
    assert_eq!((after.session_id, after.address, after.epoch), (before.session_id, before.address, 0));
    let epochs = (before.ipv6.unwrap().epoch, after.ipv6.as_ref().unwrap().epoch);
    assert_eq!((epochs, street.flows()), ((0, 0), flows));
    assert_eq!(after.ipv6.unwrap().dhcp.unwrap().state, "bound");
    let (discovery, control) = street.said();
    assert!(discovery.is_empty() && control.contains(&(protocol::LCP, code::ECHO_REQUEST)), "{control:?}");
    let negotiating = |seen: &&(u16, u8)| {
        seen.0 != protocol::LCP || ![code::ECHO_REQUEST, code::ECHO_REPLY].contains(&seen.1)
    };
    assert_eq!(control.iter().find(negotiating), None);
}

#[test]
fn hosts_are_told_anew_after_a_pause_and_nothing_wrong() {
    let mut street = Street::dialled(false);
    street.pause();
    let resumed = street.world.now();
    street.run(5);
    let told = street.advertised();
    let (at, first) = told.first().expect("hosts are told");
    assert!(at.since(resumed) <= Duration::from_millis(1100), "{at}");
    assert_eq!((first.router_lifetime, lifetimes(first, OLD)), (1800, Some((2700, 5400))));
    assert!(told.len() >= 2, "and again, for one may be lost");
}

/// The ISP asked in vain meanwhile, and has ended the session: it answers the first echo by PADT.
#[test]
fn a_session_that_the_isp_has_ended_meanwhile_is_dialled_anew_within_5_s() {
    let mut street = Street::dialled(true);
    let before = street.wan();
    street.world.pause(street.ours);
    street.run(TEN_MINUTES);
    assert!(street.at_isp().is_empty());
    street.world.resume(street.ours);
    let took = street.until(|street| street.wan().up && street.wan().session_id != before.session_id);
    assert!(took <= Duration::from_secs(2), "{took:?}");
    let took = street.until(Street::is_online);
    assert!(took <= Duration::from_secs(3), "{took:?}");
    let gone = "the session is gone: the concentrator does not know it any more; dialling again at once";
    assert!(street.world.story().contains(gone), "{}", street.world.story());
}

/// Nobody says a word at first, not even by PADT.
#[test]
fn a_session_on_which_nobody_answers_after_a_pause_is_dialled_anew_within_5_s() {
    let mut street = Street::dialled(true);
    street.world.pause(street.ours);
    street.run(TEN_MINUTES);
    street.world.impair(street.line, Impairment::cut());
    street.world.heard();
    street.world.resume(street.ours);
    let took = street.until(|street| street.wan().session_id.is_none());
    assert!(took <= Duration::from_millis(3100), "{took:?}");
    let line = street.line;
    street.world.impair(line, Impairment::default());
    let took = street.until(|street| street.wan().up);
    assert!(took <= Duration::from_millis(1000), "{took:?}");
    let (discovery, _) = street.said();
    assert_eq!(discovery.first(), Some(&Code::Padt), "what may be there still is ended first");
}

#[test]
fn a_prefix_that_is_anothers_after_a_pause_is_withdrawn_within_5_s() {
    let mut street = Street::dialled(true);
    street.world.pause(street.ours);
    street.run(TEN_MINUTES / 2);
    let isp = street.isp;
    street.world.crash(isp);
    street.world.start(isp, &provider("2001:db8:1::/56", true), &State::default());
    street.run(TEN_MINUTES / 2);
    street.world.heard();
    street.world.resume(street.ours);
    street.run(5);
    let told = street.advertised();
    let (_, last) = told.last().expect("hosts are told");
    assert_eq!((lifetimes(last, OLD), lifetimes(last, NEW)), (Some((0, 0)), Some((2700, 5400))));
    assert_eq!(last.router_lifetime, 1800);
    let never = |(_, told): &(Instant, RouterAdvertisement)| !matches!(lifetimes(told, OLD), Some((1.., _)));
    assert!(told.iter().all(never), "not even once is it told as ours");
}

#[test]
fn a_pause_while_it_dials_is_no_reason_to_wait() {
    let mut street = Street::dialled(true);
    let (isp, line) = (street.isp, street.line);
    street.world.impair(line, Impairment::cut());
    street.run(300);
    assert_eq!(street.wan().state, "discovering");
    street.world.impair(line, Impairment::default());
    street.pause();
    let took = street.until(|street| street.wan().up);
    assert!(took <= Duration::from_secs(2), "{took:?}");
    assert!(street.world.gateway(isp).is_some());
}

#[test]
fn subscribers_of_a_concentrator_that_was_paused_are_asked() {
    let mut street = Street::dialled(true);
    let (isp, ours) = (street.isp, street.ours);
    let session = street.at_isp();
    street.world.pause(isp);
    street.run(10);
    street.world.resume(isp);
    street.run(5);
    assert_eq!(street.at_isp(), session, "one that was not missed goes on");
    // The subscriber has lost its power meanwhile.
    street.world.pause(isp);
    street.world.crash(ours);
    street.run(TEN_MINUTES);
    street.world.resume(isp);
    street.run(5);
    assert!(street.at_isp().is_empty());
}

#[test]
fn a_lease_that_outlives_a_pause_goes_on_and_no_flow_is_lost() {
    for lease in [3600, 300] {
        let mut street = Street::leased(lease);
        let (before, flows) = (street.wan(), street.flows());
        street.pause();
        assert_eq!(street.wan().state, "confirming");
        let took = street.until(Street::is_online);
        assert!(took <= Duration::from_secs(2), "{took:?}");
        street.run(2);
        let after = street.wan();
        assert_eq!((after.address, after.epoch, after.state), (before.address, 0, "up"));
        let left = after.lease.unwrap().expires_in_s.unwrap();
        assert!((lease - 5..=lease).contains(&left), "counted from now: {left}");
        assert_eq!(street.flows(), flows);
        street.run(2 * lease);
        assert_eq!((street.wan().address, street.wan().epoch), (before.address, 0));
    }
}

/// RFC 2131 §4.4.2: the server says NAK, and the address is not used for a moment longer.
#[test]
fn an_address_that_is_anothers_after_a_pause_is_given_up_at_once() {
    let mut street = Street::leased(3600);
    let before = street.wan().address;
    street.world.pause(street.ours);
    let isp = street.isp;
    street.world.crash(isp);
    let mut other = outer(3600);
    other.lans[0].dhcp =
        Some(Dhcp4 { range: ip(7, 150)..=ip(7, 151), lease: Duration::from_secs(3600), ntp: vec![] });
    street.world.start(isp, &other, &State::default());
    street.run(TEN_MINUTES);
    street.world.resume(street.ours);
    let took = street.until(|street| street.wan().address != before);
    assert!(took <= Duration::from_millis(200), "{took:?}");
    // Whether the next one is free is looked for as ever (RFC 5227 §2.1): 7 s at most.
    let took = street.until(|street| street.wan().address.is_some_and(|address| address >= ip(7, 150)));
    assert!(took <= Duration::from_secs(8), "{took:?}");
}

/// A server that is not there says nothing against the lease; but it is asked until one says how long that lasts.
#[test]
fn a_lease_of_unknown_age_is_asked_for_every_minute() {
    let mut street = Street::leased(24 * 3600);
    let line = street.line;
    street.world.impair(line, Impairment::cut());
    street.pause();
    street.run(5);
    let wan = street.wan();
    assert_eq!((wan.state, wan.address.is_some()), ("rebinding", true));
    street.world.heard();
    street.run(600);
    let dhcp = |frame: &Vec<u8>| frame.get(23) == Some(&17) && frame.get(36..38) == Some(&[0, 67]);
    let asked = street.world.heard().into_iter().filter(|heard| heard.sent && dhcp(&heard.frame)).count();
    assert!((9..=11).contains(&asked), "{asked}");
    street.world.impair(line, Impairment::default());
    street.run(61);
    assert_eq!(street.wan().state, "up");
    street.world.heard();
    street.run(3600);
    assert!(!street.world.heard().iter().any(|heard| heard.sent && dhcp(&heard.frame)), "the age is known");
}

/// Our own leases: the clock that was paused ends none too early, and a client that comes back gets what it had.
#[test]
fn a_server_that_was_paused_takes_no_address_from_its_holder() {
    let mut street = Street::leased(300);
    let (isp, address) = (street.isp, street.wan().address);
    street.world.pause(isp);
    street.run(TEN_MINUTES);
    assert_eq!(street.wan().address, None, "nobody has extended it");
    street.world.resume(isp);
    street.until(|street| street.wan().address.is_some());
    assert_eq!(street.wan().address, address);
}

/// Lesson of TR-124 WAN.PPP: a cable that was pulled and put back is noticed at once, and not by the keepalive.
#[test]
fn a_session_is_asked_for_when_its_line_is_back() {
    let mut street = Street::dialled(true);
    let (isp, ours, line) = (street.isp, street.ours, street.line);
    let session = street.wan().session_id;
    street.world.impair(line, Impairment::cut());
    street.run(3);
    street.world.impair(line, Impairment::default());
    street.world.reconnect(End(ours, LINE));
    street.run(5);
    assert_eq!(street.wan().session_id, session, "a moment does no harm");
    // Another concentrator at the other end of it.
    street.world.crash(isp);
    street.world.start(isp, &provider("2001:db8::/56", true), &State::default());
    street.world.heard();
    street.world.reconnect(End(ours, LINE));
    let took = street.until(|street| street.wan().up && street.wan().session_id != session);
    assert!(took <= Duration::from_secs(2), "{took:?}");
}

#[test]
fn a_lease_is_confirmed_when_its_line_is_back() {
    let mut street = Street::leased(3600);
    let (isp, ours, line) = (street.isp, street.ours, street.line);
    let (address, flows) = (street.wan().address, street.flows());
    street.world.impair(line, Impairment::cut());
    street.run(3);
    street.world.impair(line, Impairment::default());
    street.world.reconnect(End(ours, HOME));
    assert_eq!(street.wan().state, "up", "that is another port");
    street.world.reconnect(End(ours, LINE));
    assert_eq!(street.wan().state, "confirming");
    street.run(3);
    let wan = street.wan();
    assert_eq!((wan.state, wan.address, wan.epoch, street.flows()), ("up", address, 0, flows));
    // The cable leads into another network now.
    street.world.crash(isp);
    let mut other = outer(3600);
    other.lans[0] = lan(LINE, 8, 3600);
    street.world.start(isp, &other, &State::default());
    street.world.reconnect(End(ours, LINE));
    let took = street.until(|street| street.wan().address.is_none());
    assert!(took <= Duration::from_millis(200), "{took:?}");
    street.until(|street| street.wan().network.is_some_and(|network| network.contains(ip(8, 1))));
    assert!(street.world.story().contains("says that 192.168.7.10"), "{}", street.world.story().to_string());
}
