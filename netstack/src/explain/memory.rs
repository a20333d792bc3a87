//! What is kept of each uplink's talk: for each part of it the last thing said, the last thing heard, and the facts that
//! Control has reported. A few strings for each uplink, whatever comes.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};

use super::wan::Patient;
use super::words::{self, Hint, Words};
use super::{Diagnosis, Span};
use crate::control::{Event, Exit};
use crate::dhcp4;
use crate::dhcp6;
use crate::forward::{Punt, PuntKind, SessionOwner};
use crate::id::{Interface, Mac, PortId, Segment, WanId};
use crate::ndp;
use crate::ppp::NetworkDownReason;
use crate::pppoe::event::{Failure, MtuLimit, Unsuitable};
use crate::pppoe::{self, DiscoveryFrame};
use crate::secret::Secret;
use crate::settings::{Authentication, Port, Settings, Uplink, Wan};
use crate::status::Status;
use crate::time::Instant;
use crate::wire::pppoe::Code;

/// Concentrators that are remembered by name.
const CONCENTRATORS: usize = 4;
/// Changes of the address that are remembered.
const ADDRESSES: usize = 8;

/// A part of an uplink's talk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// PADI to PADT.
    Discovery,
    /// LCP, but for what follows.
    Lcp,
    /// LCP's Echo-Requests.
    Echo,
    /// PAP or CHAP.
    Authentication,
    /// IPCP.
    Ipcp,
    /// IPV6CP.
    Ipv6cp,
    /// DHCPv4.
    Dhcp4,
    /// DHCPv6.
    Dhcp6,
    /// Router Solicitations and Advertisements.
    Router,
    /// ARP for the default router, and what answers.
    Neighbour,
    /// Questions of the DNS forwarder.
    Dns,
}

impl Part {
    const COUNT: usize = 11;
}

/// Something said or heard.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    pub words: Words,
    pub at: Instant,
}

/// What was said and heard last in one part.
#[derive(Debug, Clone, Default)]
pub(crate) struct Exchange {
    pub sent: Option<Said>,
    pub came: Option<Said>,
    /// Times that something was sent since the last answer.
    pub unanswered: u32,
    /// When the first of those was sent.
    pub unanswered_since: Option<Instant>,
    /// What the last answer meant, beyond its words.
    pub hint: Option<Hint>,
}

impl Exchange {
    fn say(&mut self, now: Instant, words: Words) {
        if self.unanswered == 0 {
            self.unanswered_since = Some(now);
        }
        self.unanswered = self.unanswered.saturating_add(1);
        self.sent = Some(Said { words, at: now });
    }

    fn hear(&mut self, now: Instant, (words, hint): (Words, Option<Hint>)) {
        self.unanswered = 0;
        self.unanswered_since = None;
        self.hint = hint;
        self.came = Some(Said { words, at: now });
    }

    /// What was said, in words, how often in vain, and when.
    pub fn sent(&self, now: Instant) -> Option<String> {
        let said = self.sent.as_ref()?;
        let age = Span(now.since(said.at));
        Some(match self.unanswered {
            0 => alloc::format!("{}, {age} ago", said.words),
            1 => alloc::format!("{}, {age} ago, not answered", said.words),
            times => alloc::format!("{}, {times} times without an answer, the last {age} ago", said.words),
        })
    }

    /// What was heard, in words, and when.
    pub fn came(&self, now: Instant) -> Option<String> {
        let said = self.came.as_ref()?;
        Some(alloc::format!("{}, {} ago", said.words, Span(now.since(said.at))))
    }
}

/// How far a session had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Reached {
    #[default]
    Nothing,
    /// Its number was granted.
    Session,
    /// LCP was open.
    Link,
    /// Name and password were accepted.
    Authenticated,
    /// Traffic passed.
    Online,
}

/// What is known of an uplink.
#[derive(Debug, Clone, Default)]
pub(crate) struct Line {
    exchanges: [Exchange; Part::COUNT],
    /// Why the last attempt or session ended, how far it had come, and when it ended.
    pub failure: Option<(Failure, Reached, Instant)>,
    /// The number of the session that is open.
    pub session: Option<u16>,
    /// How far the present session has come.
    pub reached: Reached,
    /// PADIs that nobody has answered in this run of discovery.
    pub padis: u32,
    /// The last offer that was not taken, since one was.
    pub ignored: Option<(String, Unsuitable)>,
    /// Concentrators that have answered since the line was last online.
    pub concentrators: Vec<(Mac, String)>,
    /// The one that was asked for a session last.
    pub chosen: Option<(Mac, String)>,
    /// The one by which the line was online last.
    pub proven: Option<Mac>,
    /// The peer's demand for proof, in words, that we have refused; LCP has not opened since.
    pub refused_authentication: Option<String>,
    /// How we prove who we are, when LCP is open.
    pub authentication: Option<Authentication>,
    /// Why IPv4 is not up on the session.
    pub ipv4_down: Option<NetworkDownReason>,
    /// The same of IPv6.
    pub ipv6_down: Option<NetworkDownReason>,
    /// What limits the MTU.
    pub limit: Option<MtuLimit>,
    /// The last thing that went wrong with the DHCPv4 lease, while there is none.
    pub dhcp4: Option<dhcp4::client::Event>,
    /// A DHCPv6 server has refused, in its words.
    pub refused6: Option<String>,
    /// Our last addresses, and since when we have had each.
    pub addresses: Vec<(Ipv4Addr, Instant)>,
    /// A router has advertised something since the link came up.
    pub advertised: bool,
}

impl Line {
    pub fn part(&self, part: Part) -> &Exchange {
        // There is one for each part.
        self.exchanges.get(part as usize).unwrap_or(const { &Exchange::NOTHING })
    }

    fn part_mut(&mut self, part: Part) -> Option<&mut Exchange> {
        self.exchanges.get_mut(part as usize)
    }

    /// By what the peer's last request wants us to prove who we are.
    fn demand(&self) -> String {
        let asked = self.part(Part::Lcp).came.as_ref().map(|said| said.words.to_string());
        let asked = asked.unwrap_or_default();
        asked.split(", ").find_map(|option| option.split_once("by ")).map_or("", |(_, by)| by).into()
    }

    fn note(&mut self, now: Instant, event: &pppoe::Event) {
        use pppoe::Event;
        match event {
            Event::Dialling => {
                (self.padis, self.ignored) = (0, None);
            }
            Event::NoOffer { tries, .. } => self.padis = *tries,
            Event::Offer { ac_name, peer } => {
                (self.padis, self.ignored) = (0, None);
                self.chosen = Some((*peer, ac_name.clone()));
            }
            Event::OfferIgnored { ac_name, why, .. } => self.ignored = Some((ac_name.clone(), *why)),
            Event::SessionOpened { session, .. } => {
                self.begin(Reached::Session);
                self.session = Some(session.session);
            }
            Event::LcpOpened { authentication } => {
                self.begin(Reached::Link);
                self.refused_authentication = None;
                self.authentication = *authentication;
                // What another session has left unanswered says nothing about this one.
                if let Some(echo) = self.part_mut(Part::Echo) {
                    *echo = Exchange::NOTHING;
                }
            }
            Event::Authenticated { .. } => self.reached = Reached::Authenticated,
            Event::SessionKept { session, ipv4, .. } => {
                self.begin(Reached::Online);
                self.session = Some(session.session);
                if let Some(ipv4) = ipv4 {
                    self.addressed(now, ipv4.address);
                }
            }
            Event::Ipv4Up { address, limit, .. } => {
                self.online();
                (self.ipv4_down, self.limit) = (None, Some(*limit));
                self.addressed(now, *address);
            }
            Event::Ipv6Up { limit, .. } => {
                self.online();
                (self.ipv6_down, self.limit) = (None, Some(*limit));
            }
            Event::MtuChanged { limit, .. } => self.limit = Some(*limit),
            Event::Ipv4Down(reason) => self.ipv4_down = Some(*reason),
            Event::Ipv6Down(reason) => (self.ipv6_down, self.advertised) = (Some(*reason), false),
            Event::NextOffer { failure, .. } | Event::Down { failure, .. } => {
                self.failure = Some((failure.clone(), self.reached, now));
                self.reached = Reached::Nothing;
            }
            Event::OldSessionEnded(_) | Event::SessionClosed(_) | Event::Closed => {}
        }
    }

    /// A session has come this far, and is as new from there.
    fn begin(&mut self, reached: Reached) {
        (self.reached, self.authentication) = (reached, None);
        (self.ipv4_down, self.ipv6_down, self.refused6, self.limit) = (None, None, None, None);
        self.advertised = false;
    }

    fn online(&mut self) {
        self.reached = Reached::Online;
        self.concentrators.clear();
        self.concentrators.extend(self.chosen.clone());
        self.proven = self.chosen.as_ref().map(|(peer, _)| *peer).or(self.proven);
    }

    /// A concentrator has answered our PADI.
    fn met(&mut self, peer: Mac, ac_name: &str) {
        self.concentrators.retain(|(known, _)| *known != peer);
        if self.concentrators.len() >= CONCENTRATORS {
            self.concentrators.remove(0);
        }
        self.concentrators.push((peer, ac_name.into()));
    }

    /// We have this address now.
    fn addressed(&mut self, now: Instant, address: Ipv4Addr) {
        if self.addresses.last().is_some_and(|(last, _)| *last == address) {
            return;
        }
        if self.addresses.len() >= ADDRESSES {
            self.addresses.remove(0);
        }
        self.addresses.push((address, now));
    }
}

impl Exchange {
    const NOTHING: Exchange =
        Exchange { sent: None, came: None, unanswered: 0, unanswered_since: None, hint: None };
}

/// An uplink's place in the configuration.
#[derive(Debug, Clone)]
struct Place {
    name: String,
    port: PortId,
    mac: Mac,
    dials: bool,
    /// All that was configured of it but the password.
    wan: Wan,
    /// The password, lest the ISP's own words tell it.
    secret: Secret,
}

/// What is known of every uplink.
#[derive(Debug, Clone, Default)]
pub(crate) struct Memory {
    places: Vec<Place>,
    lines: Vec<Line>,
    ports: Vec<Port>,
    /// Uplinks that the LANs' prefixes come from.
    prefixes: Vec<Option<WanId>>,
}

impl Memory {
    pub fn new(settings: &Settings) -> Self {
        let places = settings.wans.iter().map(|wan| Place {
            name: wan.name.clone(),
            port: wan.port,
            mac: settings.ports.get(wan.port.index()).map(|port| port.mac).unwrap_or_default(),
            dials: matches!(wan.uplink, Uplink::Pppoe(_)),
            wan: without_password(wan.clone()),
            secret: match &wan.uplink {
                Uplink::Pppoe(pppoe) => pppoe.password.clone(),
                Uplink::Dhcp | Uplink::Static(_) => Secret::new(""),
            },
        });
        let places: Vec<Place> = places.collect();
        let lines = places.iter().map(|_| Line::default()).collect();
        let prefixes = settings.lans.iter().map(|lan| lan.prefix.map(|prefix| prefix.from)).collect();
        Memory { places, lines, ports: settings.ports.clone(), prefixes }
    }

    /// What is wrong with an uplink. `status` is what the gateway's status says, `trouble` what the port's driver does.
    pub fn diagnose(
        &self,
        now: Instant,
        wan: WanId,
        status: &Status,
        trouble: impl Fn(PortId) -> Option<String>,
        foreign_vlan: impl Fn(PortId) -> Option<Option<u16>>,
    ) -> Option<Diagnosis> {
        let place = self.places.get(wan.index())?;
        let patient = Patient {
            now,
            id: wan,
            wan: &place.wan,
            ports: &self.ports,
            line: self.lines.get(wan.index())?,
            status: status.wans.get(wan.index())?,
            lans: self.prefixes.iter().copied().zip(&status.lans).collect(),
            trouble: trouble(place.port),
            foreign_vlan: foreign_vlan(place.port),
        };
        let mut told = patient.diagnose();
        told.blank(&place.secret);
        Some(told)
    }

    /// The uplinks of a port that dial, or that do not.
    fn on_port(&mut self, port: PortId, dials: bool) -> impl Iterator<Item = (&Place, &mut Line)> {
        let all = self.places.iter().zip(&mut self.lines);
        all.filter(move |(place, _)| place.port == port && place.dials == dials)
    }

    fn heard(&mut self, now: Instant, wan: WanId, heard: Option<words::Heard>) {
        let line = self.lines.get_mut(wan.index());
        if let (Some(line), Some((part, words, hint))) = (line, heard)
            && let Some(exchange) = line.part_mut(part)
        {
            exchange.hear(now, (words, hint));
        }
    }

    fn said(&mut self, now: Instant, wan: WanId, said: Option<words::Heard>) {
        let line = self.lines.get_mut(wan.index());
        if let (Some(line), Some((part, words, _))) = (line, said)
            && let Some(exchange) = line.part_mut(part)
        {
            exchange.say(now, words);
        }
    }

    /// A frame goes up to Control.
    pub fn note_punt(&mut self, now: Instant, punt: &Punt) {
        let bytes = punt.frame.bytes();
        match punt.kind {
            PuntKind::Discovery { port } => {
                let Ok(frame) = DiscoveryFrame::parse(bytes) else { return };
                for (place, line) in self.on_port(port, true) {
                    if frame.destination != place.mac {
                        continue;
                    }
                    if frame.packet.code == Code::Pado {
                        line.met(frame.source, &words::ac_name(&frame));
                    }
                    if let (Some(words), Some(exchange)) =
                        (words::discovery(&frame), line.part_mut(Part::Discovery))
                    {
                        exchange.hear(now, (words, None));
                    }
                }
            }
            PuntKind::Ppp { owner: SessionOwner::Wan(wan) } => self.heard(now, wan, words::ppp(bytes)),
            PuntKind::Dhcp4 { segment: Segment::Wan(wan) } => self.heard(now, wan, words::dhcp4(bytes)),
            PuntKind::Arp { segment: Segment::Wan(wan) } => self.heard(now, wan, words::arp(bytes)),
            PuntKind::Ndp { interface: Interface::Wan(wan) } => self.heard(now, wan, words::ndp(bytes)),
            PuntKind::Dhcp6 { interface: Interface::Wan(wan) } => self.heard(now, wan, words::dhcp6(bytes)),
            PuntKind::Local { interface: Interface::Wan(wan) } => {
                self.heard(now, wan, words::dns_answer(bytes));
            }
            _ => {}
        }
    }

    /// Control sends a frame. `wan_of` says which uplink has an address.
    pub fn note_sent(
        &mut self,
        now: Instant,
        exit: Exit,
        bytes: &[u8],
        wan_of: impl Fn(IpAddr) -> Option<WanId>,
    ) {
        match exit {
            Exit::Port(port) => self.note_frame(now, port, bytes),
            Exit::Link(Interface::Wan(wan)) => {
                self.said(now, wan, words::dhcp6(bytes).or_else(|| words::ndp(bytes)));
            }
            Exit::Routed => {
                let Some((source, said)) = words::routed(bytes) else { return };
                if let Some(wan) = wan_of(source) {
                    self.said(now, wan, Some(said));
                }
            }
            Exit::Link(_) | Exit::Lan(_) | Exit::Tunnel(_) => {}
        }
    }

    /// A whole frame leaves by a port.
    fn note_frame(&mut self, now: Instant, port: PortId, bytes: &[u8]) {
        if let Ok(frame) = DiscoveryFrame::parse(bytes) {
            let Some(words) = words::discovery(&frame) else { return };
            // Which of several it is, its Host-Uniq alone could tell: they share what is heard, too.
            for (place, line) in self.on_port(port, true) {
                if frame.source == place.mac
                    && let Some(exchange) = line.part_mut(Part::Discovery)
                {
                    exchange.say(now, words.clone());
                }
            }
        } else if let Some((session, packet)) = words::session(bytes) {
            let Some((part, words, hint)) = words::ppp(packet) else { return };
            for (_, line) in self.on_port(port, true) {
                if line.session != Some(session) {
                    continue;
                }
                if hint == Some(Hint::Authentication) {
                    line.refused_authentication = Some(line.demand());
                }
                if let Some(exchange) = line.part_mut(part) {
                    exchange.say(now, words.clone());
                }
            }
        } else if let Some((part, words, _)) = words::dhcp4(bytes).or_else(|| words::arp(bytes)) {
            for (_, line) in self.on_port(port, false) {
                if let Some(exchange) = line.part_mut(part) {
                    exchange.say(now, words.clone());
                }
            }
        }
    }

    /// Control has reported a fact.
    pub fn note_event(&mut self, now: Instant, event: &Event) {
        let name = match event {
            Event::Wan { name, .. }
            | Event::WanDhcp4 { name, .. }
            | Event::WanDhcp6 { name, .. }
            | Event::WanRouters { name, .. } => name,
            _ => return,
        };
        let mut all = self.places.iter().zip(&mut self.lines);
        let Some((_, line)) = all.find(|(place, _)| place.name == **name) else { return };
        match event {
            Event::Wan { event, .. } => line.note(now, event),
            Event::WanDhcp4 { event, .. } => match event {
                dhcp4::client::Event::Bound(lease)
                | dhcp4::client::Event::Kept(lease)
                | dhcp4::client::Event::Renewed(lease) => {
                    line.dhcp4 = None;
                    line.addressed(now, lease.address());
                }
                other => line.dhcp4 = Some(other.clone()),
            },
            Event::WanDhcp6 { event, .. } => match event {
                dhcp6::client::Event::Refused { status } => line.refused6 = Some(status.clone()),
                dhcp6::client::Event::Bound { .. } | dhcp6::client::Event::Changed { .. } => {
                    line.refused6 = None;
                }
                _ => {}
            },
            Event::WanRouters { event: ndp::discover::Event::FlagsSeen { .. }, .. } => {
                line.advertised = true;
            }
            _ => {}
        }
    }
}

/// An uplink whose password nobody learns here.
fn without_password(mut wan: Wan) -> Wan {
    if let Uplink::Pppoe(pppoe) = &mut wan.uplink {
        pppoe.password = Secret::new("");
    }
    wan
}
