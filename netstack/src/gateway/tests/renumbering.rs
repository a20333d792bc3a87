//! One gateway between an ISP's and a LAN, whose hosts hear of every change at once.

use super::*;
use crate::id::Ipv6Cidr;
use crate::ndp::message::{Message, Packet, RouterAdvertisement};
use crate::settings::{LanPrefix, PrefixPool, PrefixRequest, Ula, WanIpv6};
use crate::status::{LanPrefixStatus, PrefixState};
use alloc::string::ToString;

pub(super) const HOME: PortId = PortId(1);
const DNS: core::net::Ipv6Addr = core::net::Ipv6Addr::new(0x2001, 0xdb8, 0xf, 0, 0, 0, 0, 0x53);

pub(super) fn ours(subnets: &[u64]) -> Settings {
    let mut settings = client(&["isp"]);
    settings.wans[0].ipv6 = Some(WanIpv6 { prefix: Some(PrefixRequest { length: Some(56) }) });
    for (index, subnet) in (1u16..).zip(subnets) {
        let mut lan = two_lans().lans.remove(0);
        lan.name = alloc::format!("lan{index}");
        lan.ports = vec![PortId(index)];
        lan.address.address = [192, 168, index as u8, 1].into();
        lan.prefix = Some(LanPrefix { from: crate::id::WanId(0), subnet: *subnet });
        lan.dhcp6 = Dhcp6::Stateless;
        settings.lans.push(lan);
        settings.ports.push(port(Mac([2, 0, 0, 0, 0, 0x10 + index as u8])));
    }
    settings.ula = Ula::Generated;
    settings
}

/// An ISP that delegates `prefix` to our user.
pub(super) fn provider(prefix: &str) -> Settings {
    let mut settings = isp();
    let prefix: Ipv6Cidr = prefix.parse().unwrap();
    settings.concentrators[0].prefix_pool = Some(PrefixPool { prefix, delegate: prefix.prefix });
    settings.concentrators[0].users[0].prefix = Some(prefix);
    settings.concentrators[0].dns = vec![DNS.into()];
    settings
}

/// The gateway, its ISP and what hosts on the first LAN have heard.
pub(super) struct Site {
    pub(super) settings: Settings,
    pub(super) ours: Node,
    pub(super) isp: Node,
    pub(super) heard: Vec<(Instant, RouterAdvertisement)>,
    /// Frames from the gateway that reached the ISP.
    pub(super) line: Vec<Vec<u8>>,
}

impl Site {
    pub(super) fn new(settings: Settings, provider: &Settings) -> Site {
        let ours = Node::new(&settings);
        Site { settings, ours, isp: Node::new(provider), heard: Vec::new(), line: Vec::new() }
    }

    pub(super) fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds * 10 {
            let at = self.ours.now + Duration::from_millis(100);
            self.ours.run_until(at);
            self.isp.run_until(at);
            loop {
                let (up, down) = (self.ours.sent(LINE), self.isp.sent(LINE));
                self.hear();
                if up.is_empty() && down.is_empty() {
                    break;
                }
                self.line.extend(up.iter().cloned());
                self.isp.receive(LINE, up);
                self.ours.receive(LINE, down);
            }
        }
    }

    pub(super) fn hear(&mut self) {
        let now = self.ours.now;
        let advertised = self.ours.sent(HOME).into_iter().filter_map(|frame| {
            match Packet::parse(frame.get(14..)?).ok()?.message {
                Message::RouterAdvertisement(advertisement) => Some((now, advertisement)),
                _ => None,
            }
        });
        self.heard.extend(advertised);
    }

    /// The ISP's gateway loses power, and another one takes its place.
    pub(super) fn replace_isp(&mut self, provider: &Settings) {
        self.isp.gateway.shut_down(self.isp.now);
        let down = self.isp.sent(LINE);
        self.ours.receive(LINE, down);
        self.hear();
        let now = self.isp.now;
        self.isp = Node { gateway: Gateway::new(provider, &State::default(), [9; 32], now), now };
    }

    /// Power is lost, and comes back.
    fn crash(&mut self) {
        let (state, now) = (self.ours.gateway.state(), self.ours.now);
        self.ours = Node { gateway: Gateway::new(&self.settings, &state, [8; 32], now), now };
    }

    pub(super) fn last(&self) -> &RouterAdvertisement {
        &self.heard.last().expect("hosts have heard something").1
    }

    /// What hosts were last told of a prefix.
    fn told(&self, prefix: &str) -> Option<(u32, u32)> {
        lifetimes(self.last(), prefix)
    }

    fn status(&self, lan: usize) -> Vec<LanPrefixStatus> {
        self.ours.gateway.status(self.ours.now).lans.remove(lan).ipv6.unwrap().prefixes
    }
}

/// Preferred and valid lifetime of a prefix.
fn lifetimes(advertisement: &RouterAdvertisement, prefix: &str) -> Option<(u32, u32)> {
    let prefix: Ipv6Cidr = prefix.parse().unwrap();
    let told = advertisement.prefixes.iter().find(|told| told.prefix == prefix)?;
    assert!(told.on_link && told.autonomous, "RFC 7084 L-6: A = L = 1");
    Some((told.preferred, told.valid))
}

pub(super) const OLD: &str = "2001:db8:0:1::/64";
const NEW: &str = "2001:db8:1:1::/64";

/// RFC 7084 W-4, L-1, L-5: a router for its LAN as soon as it has a prefix; G-4, L-4, ULA-5: and no default router before.
#[test]
fn rfc7084_w_4_and_l_1_a_lan_is_advertised_its_part_of_what_is_delegated() {
    let mut site = Site::new(ours(&[1, 2]), &provider("2001:db8::/56"));
    // The line is dead at first.
    site.ours.pass(5);
    site.isp.pass(5);
    let _lost = site.ours.sent(LINE);
    site.hear();
    let (_, first) = &site.heard[0];
    assert_eq!(first.router_lifetime, 0, "no prefix of the uplink's yet");
    assert!(first.prefixes.iter().all(|told| told.prefix.to_string().starts_with("fd")));
    site.pass(60);
    assert_eq!(site.last().router_lifetime, 1800);
    assert_eq!(site.told(OLD), Some((2700, 5400)));
    assert_eq!(site.last().mtu, Some(1492), "what the uplink carries");
    let ula = site.ours.gateway.state().ula.unwrap();
    assert!(ula.contains(site.last().dns[0].address), "the server's address outlasts renumbering");
    assert_eq!(site.last().domains[0].name, "home.arpa");
    let routes: Vec<Ipv6Cidr> = site.last().routes.iter().map(|route| route.prefix).collect();
    assert_eq!(routes, ["2001:db8::/56".parse().unwrap(), ula], "RFC 7084 L-3");
    assert_eq!((site.last().managed, site.last().other), (false, true), "RFC 7084 L-9");
    let second: Vec<_> = site.status(1).iter().map(|told| told.prefix.to_string()).collect();
    assert!(second.contains(&"2001:db8:0:2::/64".to_string()), "{second:?}");
}

/// RFC 7084 WAA-7: without an address on the uplink, what the router asks itself comes from the prefix.
#[test]
fn rfc7084_waa_7_the_routers_own_questions_come_from_the_prefix() {
    let mut site = Site::new(ours(&[1]), &provider("2001:db8::/56"));
    site.pass(20);
    let status = site.ours.gateway.status(site.ours.now);
    let uplink = status.wans[0].ipv6.as_ref().unwrap();
    assert_eq!((uplink.addresses.len(), uplink.dns.as_slice()), (0, &[DNS][..]));
    // A host asks the router for a name, by IPv4.
    site.line.clear();
    let question = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03www\x07example\x03net\0\0\x01\0\x01";
    let host = Mac([0x52, 0x54, 0, 0, 0, 9]);
    let arp = ask(Mac::BROADCAST, [192, 168, 1, 9].into(), [192, 168, 1, 1]);
    let query = etherparse::PacketBuilder::ethernet2(host.0, [2, 0, 0, 0, 0, 0x11])
        .ipv4([192, 168, 1, 9], [192, 168, 1, 1], 64)
        .udp(4000, 53);
    let mut frame = Vec::new();
    query.write(&mut frame, question).unwrap();
    site.ours.receive(HOME, [arp, frame]);
    // IPv4's server does not answer, and the next one is asked.
    site.pass(5);
    let asked = site.line.iter().filter_map(|frame| {
        let packet = crate::wire::ipv6::Ipv6::parse(frame.get(22..)?)?;
        (packet.udp()?.destination_port == 53).then(|| (packet.source(), packet.destination()))
    });
    let asked: Vec<_> = asked.collect();
    assert!(asked.contains(&("2001:db8:0:1::1".parse().unwrap(), DNS)), "{asked:?}");
}

/// RFC 7084 G-5; RFC 9096 L-13: when another prefix comes, hosts are told of both in one advertisement, at once; and of the
/// old one for 5,400 s.
#[test]
fn rfc9096_l_13_a_redial_with_another_prefix_is_one_event() {
    let mut site = Site::new(ours(&[1]), &provider("2001:db8::/56"));
    site.pass(60);
    let down = site.ours.now;
    site.replace_isp(&provider("2001:db8:1::/56"));
    site.pass(1);
    let (when, told) = site.heard.iter().find(|(when, _)| *when >= down).unwrap();
    assert!(when.since(down) <= Duration::from_secs(1), "at once");
    assert_eq!(told.router_lifetime, 0, "RFC 7084 G-5");
    assert!(matches!(lifetimes(told, OLD), Some((0, 1..))), "deprecated, not taken away: it may come back");

    let mut waited = 0;
    while site.told(NEW).is_none() {
        site.pass(1);
        waited += 1;
        assert!(waited < 120, "the new session brings a prefix");
    }
    assert_eq!((site.told(NEW), site.told(OLD)), (Some((2700, 5400)), Some((0, 0))));
    assert_eq!(site.last().router_lifetime, 1800);
    let states: Vec<_> = site.status(0).iter().map(|told| (told.prefix.to_string(), told.state)).collect();
    assert!(states.contains(&(NEW.into(), PrefixState::Preferred)), "{states:?}");
    assert!(states.contains(&(OLD.into(), PrefixState::Stale)), "{states:?}");
    assert_eq!(site.ours.gateway.status(site.ours.now).wans[0].ipv6.as_ref().unwrap().epoch, 1);

    let renumbered = site.ours.now;
    site.pass(5300);
    assert!(site.heard.iter().filter(|(when, _)| *when > renumbered).count() >= 5, "again and again");
    assert_eq!(site.told(OLD), Some((0, 0)));
    site.pass(800);
    assert_eq!(site.told(OLD), None);
    assert!(site.status(0).iter().all(|told| told.state == PrefixState::Preferred));
}

#[test]
fn a_redial_with_the_same_prefix_takes_nothing_away() {
    let provider = provider("2001:db8::/56");
    let mut site = Site::new(ours(&[1]), &provider);
    site.pass(60);
    site.replace_isp(&provider);
    site.pass(90);
    assert_eq!(site.told(OLD), Some((2700, 5400)));
    let never_gone = |(_, told): &(Instant, RouterAdvertisement)| {
        told.prefixes.iter().all(|told| told.valid > 0 || !told.prefix.to_string().starts_with("2001"))
    };
    assert!(site.heard.iter().all(never_gone));
    assert_eq!(site.ours.gateway.status(site.ours.now).wans[0].ipv6.as_ref().unwrap().epoch, 0);
}

/// RFC 9096 L-13: also after kill -9, between the two prefixes.
#[test]
fn rfc9096_l_13_a_crash_between_two_prefixes_forgets_neither() {
    let mut site = Site::new(ours(&[1]), &provider("2001:db8::/56"));
    site.pass(60);
    let ula = site.ours.gateway.state().ula;
    site.replace_isp(&provider("2001:db8:1::/56"));
    assert_eq!(site.status(0)[0].state, PrefixState::Deprecated);
    site.crash();
    assert_eq!(site.status(0)[0].state, PrefixState::Deprecated, "known still, and not carried");
    site.pass(120);
    assert_eq!((site.told(NEW), site.told(OLD)), (Some((2700, 5400)), Some((0, 0))));
    // Once more, now that all has been said.
    site.crash();
    site.pass(120);
    assert_eq!((site.told(NEW), site.told(OLD)), (Some((2700, 5400)), Some((0, 0))));
    assert_eq!(site.ours.gateway.state().ula, ula, "RFC 7084 ULA-2");
}

/// RFC 4861 §6.2.5: the last that hosts hear of a router that goes is that it is none.
#[test]
fn rfc7084_g_5_a_gateway_that_stops_says_so() {
    let mut site = Site::new(ours(&[1]), &provider("2001:db8::/56"));
    site.pass(20);
    assert_eq!(site.last().router_lifetime, 1800);
    site.ours.gateway.shut_down(site.ours.now);
    site.hear();
    assert_eq!(site.last().router_lifetime, 0);
}

/// RFC 7084 WPD-3, L-7: subnets are configured, and one that the delegated prefix does not have is told.
#[test]
fn rfc7084_l_7_a_60_has_sixteen_subnets_and_the_status_says_so() {
    let mut site = Site::new(ours(&[15, 16]), &provider("2001:db8::/60"));
    site.pass(20);
    assert_eq!(site.told("2001:db8:0:f::/64"), Some((2700, 5400)));
    let status = site.ours.gateway.status(site.ours.now);
    let problem = status.lans[1].ipv6.as_ref().unwrap().problem.clone().unwrap();
    assert!(problem.contains("2001:db8::/60") && problem.contains("subnet 16"), "{problem}");
    assert_eq!(status.lans[0].ipv6.as_ref().unwrap().problem, None);
}
