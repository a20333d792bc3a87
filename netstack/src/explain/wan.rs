//! An uplink, step by step: from the port to the DNS server.
//!
//! Each function judges one step by what the uplink's status shows and what [`Line`] remembers, and says which [`Symptom`] it
//! is, if any. The first step that fails makes the sentence; when none does, the first that leaves something to be wished for.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use super::memory::{Line, Part, Reached};
use super::words::Hint;
use super::{Diagnosis, Span, Step, StepState, Symptom};
use crate::dhcp4;
use crate::id::WanId;
use crate::ppp::{DownReason, NetworkDownReason, Phase};
use crate::pppoe::event::{Failure, MtuLimit, RefusalKind, Unsuitable};
use crate::settings::{Authentication, Port, Uplink, Wan};
use crate::status::{LanStatus, WanStatus};
use crate::time::{Duration, Instant};

/// PADIs without an answer that make a symptom: one or two get lost, or meet a modem that has just started.
const PADIS: u32 = 3;
/// Questions of the other protocols without an answer that make a symptom.
const QUESTIONS: u32 = 3;
/// Echo-Requests without an answer that are worth a word.
const ECHOES: u32 = 2;
/// Time without an answer before a DNS server or a router counts as silent.
const PATIENCE: Duration = Duration::from_secs(3);
/// Time in which so many changes of the address are worth a word.
const CHANGES: (usize, Duration) = (3, Duration::from_secs(24 * 3600));
/// Time in which nothing coming back is no symptom.
const QUIET: Duration = Duration::from_secs(20);

/// All that a diagnosis is made from.
pub(crate) struct Patient<'a> {
    pub now: Instant,
    pub id: WanId,
    pub wan: &'a Wan,
    pub ports: &'a [Port],
    pub line: &'a Line,
    pub status: &'a WanStatus,
    /// The LANs, each with the uplink that its prefix comes from.
    pub lans: Vec<(Option<WanId>, &'a LanStatus)>,
    /// What is wrong with the port, as its driver says.
    pub trouble: Option<String>,
    /// The VLAN of the last frame by the port that was of another one than ours; `None` inside for one without a tag.
    pub foreign_vlan: Option<Option<u16>>,
}

/// What a step came to.
struct Verdict {
    part: Option<Part>,
    state: StepState,
    symptom: Option<Symptom>,
    /// What is added to the symptom's clause, or the result of a step that is done.
    detail: Option<String>,
}

impl Verdict {
    fn done(result: Option<String>) -> Self {
        Verdict { part: None, state: StepState::Done, symptom: None, detail: result }
    }

    fn waiting() -> Self {
        Verdict { part: None, state: StepState::Waiting, symptom: None, detail: None }
    }

    fn not_needed() -> Self {
        Verdict { state: StepState::NotNeeded, ..Verdict::waiting() }
    }

    fn failed(symptom: Symptom, detail: Option<String>) -> Self {
        Verdict { part: None, state: StepState::Failed, symptom: Some(symptom), detail }
    }

    /// It works, and could be better.
    fn noticed(symptom: Symptom, detail: String) -> Self {
        Verdict { part: None, state: StepState::Done, symptom: Some(symptom), detail: Some(detail) }
    }

    fn by(self, part: Part) -> Self {
        Verdict { part: Some(part), ..self }
    }
}

/// The names of the steps.
mod name {
    pub const LINK: &str = "link";
    pub const DISCOVERY: &str = "discovery";
    pub const DHCP: &str = "DHCP";
    pub const LCP: &str = "LCP";
    pub const AUTHENTICATION: &str = "authentication";
    pub const IPCP: &str = "IPCP";
    pub const ADDRESS: &str = "address";
    pub const IPV6CP: &str = "IPV6CP";
    pub const ROUTER: &str = "router advertisement";
    pub const PREFIX: &str = "prefix delegation";
    pub const MTU: &str = "MTU";
    pub const DNS: &str = "DNS";
    pub const REACHABILITY: &str = "reachability";
}

impl Patient<'_> {
    /// The whole line.
    pub fn diagnose(&self) -> Diagnosis {
        let (kind, reached) = match &self.wan.uplink {
            Uplink::Pppoe(_) => (name::IPCP, Vec::from(self.pppoe())),
            Uplink::Dhcp => (name::DHCP, Vec::new()),
            Uplink::Static(_) => (name::ADDRESS, Vec::new()),
        };
        let mut verdicts = Vec::from([(name::LINK, self.link())]);
        verdicts.extend(reached);
        verdicts.push((kind, self.ipv4()));
        if matches!(self.wan.uplink, Uplink::Pppoe(_)) {
            verdicts.push((name::IPV6CP, self.ipv6cp()));
        }
        verdicts.push((name::PREFIX, self.prefix()));
        verdicts.push((name::ROUTER, self.router()));
        verdicts.push((name::MTU, self.mtu()));
        verdicts.push((name::DNS, self.dns()));
        verdicts.push((name::REACHABILITY, self.reachability()));
        // What comes after a step without which nothing goes has not begun.
        let mut stopped = false;
        for (name, verdict) in &mut verdicts {
            if stopped && verdict.state != StepState::NotNeeded {
                *verdict = Verdict::waiting();
            }
            stopped |= verdict.state == StepState::Failed && is_base(name);
        }
        self.tell(verdicts)
    }

    fn tell(&self, verdicts: Vec<(&'static str, Verdict)>) -> Diagnosis {
        let name = &self.wan.name;
        let failed = verdicts.iter().find(|(_, verdict)| verdict.state == StepState::Failed);
        let noticed = verdicts.iter().find(|(_, verdict)| verdict.symptom.is_some());
        let subject = format!("wan {name}");
        let sentence = match (failed, noticed) {
            (Some((step, verdict)), _) => {
                let how = if self.status.up { "is up, but" } else { "is down:" };
                format!("{subject} {how} {step} fails: {}", told(verdict))
            }
            (None, Some((_, verdict))) if self.status.up => format!("{subject} is up, but {}", told(verdict)),
            (None, _) if self.status.up => format!("{subject} is up"),
            (None, _) => {
                let step = verdicts.iter().find(|(_, verdict)| verdict.state == StepState::Waiting);
                let step = step.map_or("its beginning", |(step, _)| step);
                let retry = self.status.retry_in_s.map(|secs| format!("; it dials again in {secs} s"));
                format!("{subject} is not up yet: it is at {step}{}", retry.unwrap_or_default())
            }
        };
        let healthy = self.status.up && noticed.is_none();
        let steps = verdicts.into_iter().map(|(name, verdict)| self.step(name, verdict)).collect();
        Diagnosis { subject, sentence, healthy, since_s: self.status.since_s, steps }
    }

    fn step(&self, name: &'static str, verdict: Verdict) -> Step {
        let mut step = Step::new(name, verdict.state);
        if let Some(exchange) = verdict.part.map(|part| self.line.part(part)) {
            (step.sent, step.came) = (exchange.sent(self.now), exchange.came(self.now));
        }
        step.result = match verdict.symptom {
            Some(_) => Some(clause(&verdict)),
            None => verdict.detail,
        };
        let Some(symptom) = verdict.symptom else { return step };
        let mut step = step.explained(symptom);
        let is_call = is_base(name) && name != name::LINK && symptom != Symptom::SeveralConcentrators;
        if let Some(several) = self.several().filter(|_| is_call && step.state == StepState::Failed)
            && let Some(last) = step.causes.last_mut()
        {
            *last =
                format!("more than one concentrator answers, and a stranger's has taken the call: {several}");
        }
        step
    }

    fn link(&self) -> Verdict {
        match &self.trouble {
            Some(trouble) => Verdict::failed(Symptom::NoCarrier, Some(trouble.clone())),
            None => Verdict::done(Some(format!("port {}", self.status.port))),
        }
    }

    /// Discovery, LCP and authentication of a session.
    fn pppoe(&self) -> [(&'static str, Verdict); 3] {
        let session = self.status.session_id.is_some();
        let discovery = match (session, self.discovery()) {
            (false, found) => found,
            (true, _) => {
                let ac = self.status.ac_name.as_deref().unwrap_or_default();
                let id = self.status.session_id.unwrap_or_default();
                Verdict::done(Some(format!("session {id} with \"{ac}\"")))
            }
        };
        let failure = self.failure();
        let lcp = match failure {
            _ if self.line.reached >= Reached::Link => Verdict::done(None),
            Some((name::LCP, symptom, detail)) if discovery.state != StepState::Failed => {
                Verdict::failed(symptom, detail.clone())
            }
            _ if self.line.reached == Reached::Session && self.is_silent(Part::Lcp) => {
                Verdict::failed(Symptom::LcpSilent, None)
            }
            _ => Verdict::waiting(),
        };
        let failure = self.failure();
        let authentication = match failure {
            _ if self.line.reached >= Reached::Authenticated => {
                Verdict::done(self.line.authentication.map(|by| ppp_name(by).to_string()))
            }
            Some((name::AUTHENTICATION, symptom, detail)) if discovery.state != StepState::Failed => {
                Verdict::failed(symptom, detail)
            }
            _ if self.line.reached == Reached::Link => {
                let silent = self.is_silent(Part::Authentication);
                let silent = silent.then(|| Verdict::failed(Symptom::AuthenticationSilent, None));
                self.being_refused().or(silent).unwrap_or(Verdict::waiting())
            }
            _ => Verdict::waiting(),
        };
        let passed = authentication.state == StepState::Failed && lcp.state == StepState::Waiting;
        let lcp = if passed { Verdict::done(None) } else { lcp };
        let passed = lcp.state != StepState::Waiting && discovery.state == StepState::Waiting;
        let discovery = if passed { Verdict::done(None) } else { discovery };
        let keeps = |symptom| matches!(symptom, Some(Symptom::EchoTimeout | Symptom::EchoLoss));
        let part = if keeps(lcp.symptom) { Part::Echo } else { Part::Lcp };
        let lcp = if session && self.line.part(Part::Echo).unanswered >= ECHOES && lcp.symptom.is_none() {
            let times = self.line.part(Part::Echo).unanswered;
            Verdict::noticed(Symptom::EchoLoss, format!("{times} in a row")).by(Part::Echo)
        } else {
            lcp.by(part)
        };
        [
            (name::DISCOVERY, discovery.by(Part::Discovery)),
            (name::LCP, lcp),
            (name::AUTHENTICATION, authentication.by(Part::Authentication)),
        ]
    }

    /// We have asked again and again, and asking has not been given up yet.
    fn is_silent(&self, part: Part) -> bool {
        self.line.part(part).unanswered >= QUESTIONS
    }

    /// The proof was not accepted, and the session is being ended for it.
    fn being_refused(&self) -> Option<Verdict> {
        let exchange = self.line.part(Part::Authentication);
        let said = exchange.came.as_ref().filter(|_| exchange.hint == Some(Hint::Refused))?;
        let symptom = match self.line.authentication? {
            Authentication::Pap => Symptom::PapRefused,
            Authentication::ChapMd5 | Authentication::MsChapV2 => Symptom::ChapRefused,
        };
        let text = said.words.to_string().split_once(": ").map(|(_, text)| text.to_string());
        (exchange.unanswered == 0).then(|| Verdict::failed(symptom, text))
    }

    /// Discovery while there is no session.
    fn discovery(&self) -> Verdict {
        if let Some((ac_name, why)) = &self.line.ignored {
            let symptom = match why {
                Unsuitable::OtherName => Symptom::OtherConcentrator,
                Unsuitable::OtherService => Symptom::OtherService,
                Unsuitable::Error => Symptom::OfferWithError,
            };
            return Verdict::failed(symptom, Some(format!("\"{ac_name}\" answered")));
        }
        let exchange = self.line.part(Part::Discovery);
        let is_recent = |at: Instant| self.now.since(at) <= Duration::from_secs(120);
        if self.line.padis >= PADIS {
            if let Some(tag) = self.foreign_vlan {
                let seen = tag.map_or("without a tag".to_string(), |tag| format!("of VLAN {tag}"));
                let ours = self.ports.get(self.wan.port.index()).and_then(|port| port.vlan);
                let ours = ours.map_or("without a tag".to_string(), |vlan| format!("VLAN {}", vlan.id));
                return Verdict::failed(Symptom::WrongVlan, Some(format!("{seen}; ours is {ours}")));
            }
            // The answers to these PADIs that are none.
            let came = exchange.came.as_ref().filter(|said| is_recent(said.at));
            if came.is_some_and(|said| said.words.to_string().starts_with("PADO")) {
                return Verdict::failed(Symptom::OfferUnusable, None);
            }
            let before = exchange.came.is_some();
            let symptom = if before { Symptom::NoOfferAnyMore } else { Symptom::NoOffer };
            return Verdict::failed(symptom, None);
        }
        match self.failure() {
            Some((name::DISCOVERY, symptom, detail)) => Verdict::failed(symptom, detail),
            _ => Verdict::waiting(),
        }
    }

    /// Why the last session or attempt ended, while there is no other that has come further: the step and its symptom.
    fn failure(&self) -> Option<(&'static str, Symptom, Option<String>)> {
        if let Some(demand) = &self.line.refused_authentication {
            let demand = format!("the ISP demands {demand}");
            return Some((name::LCP, Symptom::NoCommonAuthentication, Some(demand)));
        }
        let (failure, reached, _) = self.line.failure.as_ref()?;
        if self.line.reached >= Reached::Authenticated {
            return None;
        }
        let quoted = |text: &String| (!text.is_empty()).then(|| format!("\"{text}\""));
        // It was another one by which the line has worked.
        let chosen = self.line.chosen.as_ref().map(|(peer, _)| *peer);
        let stranger = self.line.proven.is_some_and(|proven| chosen != Some(proven));
        if let Some(several) = self.several().filter(|_| stranger && *reached < Reached::Online) {
            return Some((name::DISCOVERY, Symptom::SeveralConcentrators, Some(several)));
        }
        Some(match failure {
            Failure::Refused { kind, text, .. } => {
                let symptom = match kind {
                    RefusalKind::ServiceName => Symptom::ServiceNameError,
                    RefusalKind::System => Symptom::SystemError,
                    RefusalKind::Generic => Symptom::GenericError,
                    RefusalKind::Unexplained => Symptom::RefusedUnexplained,
                };
                (name::DISCOVERY, symptom, quoted(text))
            }
            Failure::NoConfirmation { .. } => (name::DISCOVERY, Symptom::NoConfirmation, None),
            Failure::Terminated { text } => match reached {
                Reached::Nothing | Reached::Session => (name::DISCOVERY, Symptom::EndedAtOnce, quoted(text)),
                Reached::Link => (name::AUTHENTICATION, Symptom::EndedInAuthentication, quoted(text)),
                Reached::Authenticated | Reached::Online => (name::LCP, Symptom::EndedOnline, quoted(text)),
            },
            Failure::Gone | Failure::Forgotten => (name::DISCOVERY, Symptom::Forgotten, None),
            Failure::Link(reason) => self.link_failure(reason)?,
        })
    }

    /// The concentrators that have answered, when there is more than one.
    fn several(&self) -> Option<String> {
        let names = self.line.concentrators.iter().map(|(mac, name)| format!("\"{name}\" ({mac})"));
        let names: Vec<String> = names.collect();
        (names.len() > 1).then(|| names.join(" and "))
    }

    fn link_failure(&self, reason: &DownReason) -> Option<(&'static str, Symptom, Option<String>)> {
        let quoted = |text: &String| (!text.is_empty()).then(|| format!("\"{text}\""));
        Some(match reason {
            DownReason::AuthenticationFailed { protocol: Authentication::Pap, message } => {
                (name::AUTHENTICATION, Symptom::PapRefused, quoted(message))
            }
            DownReason::AuthenticationFailed { message, .. } => {
                (name::AUTHENTICATION, Symptom::ChapRefused, quoted(message))
            }
            DownReason::AuthenticationRefused => (name::LCP, Symptom::NoCommonAuthentication, None),
            DownReason::ServerNotProven => (name::AUTHENTICATION, Symptom::ServerNotProven, None),
            DownReason::AuthenticationTimeout => (name::AUTHENTICATION, Symptom::AuthenticationSilent, None),
            DownReason::EchoTimeout => (name::LCP, Symptom::EchoTimeout, None),
            DownReason::Gone => (name::DISCOVERY, Symptom::Forgotten, None),
            DownReason::PeerTerminated { phase, text } => match phase {
                Phase::Establish => (name::LCP, Symptom::LcpRefused, quoted(text)),
                Phase::Authenticate => (name::AUTHENTICATION, Symptom::AuthenticationEnded, quoted(text)),
                Phase::Dead | Phase::Network | Phase::Terminate => {
                    (name::LCP, Symptom::EndedOnline, quoted(text))
                }
            },
            DownReason::Looped => (name::LCP, Symptom::LcpLooped, None),
            DownReason::NoAnswer => (name::LCP, Symptom::LcpSilent, None),
            DownReason::NegotiationFailed { what } => {
                (name::LCP, Symptom::LcpNoAgreement, Some((*what).to_string()))
            }
            DownReason::LowerDown | DownReason::Closed => return None,
        })
    }

    /// IPv4: IPCP, DHCP or what was given.
    fn ipv4(&self) -> Verdict {
        if !self.wan.ipv4 {
            return Verdict::not_needed();
        }
        let part = if self.wan.is_segment() { Part::Dhcp4 } else { Part::Ipcp };
        if let Some(address) = self.status.address {
            return self.addressed(address).by(part);
        }
        let exchange = self.line.part(part);
        if part == Part::Ipcp {
            let symptom = match self.line.ipv4_down {
                Some(NetworkDownReason::Rejected) => Symptom::IpcpRejected,
                _ if exchange.hint == Some(Hint::ZeroAddress) => Symptom::ZeroAddress,
                Some(NetworkDownReason::NoAnswer) => Symptom::IpcpSilent,
                Some(NetworkDownReason::NoAgreement) => Symptom::IpcpNoAgreement,
                Some(NetworkDownReason::PeerTerminated) => Symptom::IpcpEnded,
                _ => return Verdict::waiting().by(part),
            };
            return Verdict::failed(symptom, None).by(part);
        }
        use dhcp4::client::Event;
        let silent = self.is_silent(part);
        let verdict = match &self.line.dhcp4 {
            Some(Event::Conflict { address, mac }) => {
                Verdict::failed(Symptom::AddressTaken, Some(format!("{address} is {mac}'s")))
            }
            _ if silent && exchange.hint == Some(Hint::Nak) => Verdict::failed(Symptom::DhcpRefused, None),
            Some(Event::Expired { address }) if silent => {
                Verdict::failed(Symptom::LeaseLost, Some(address.to_string()))
            }
            _ if silent => Verdict::failed(Symptom::DhcpSilent, None),
            Some(Event::Refused { address, .. }) => {
                Verdict::failed(Symptom::DhcpRefused, Some(address.to_string()))
            }
            _ if exchange.came.is_some() && exchange.hint == Some(Hint::Nak) => {
                Verdict::failed(Symptom::DhcpRefused, None)
            }
            _ => Verdict::waiting(),
        };
        verdict.by(part)
    }

    /// There is an address: is it a good one?
    fn addressed(&self, address: Ipv4Addr) -> Verdict {
        let [first, second, ..] = address.octets();
        if first == 100 && (64..128).contains(&second) {
            return Verdict::noticed(Symptom::CarrierNat, address.to_string());
        }
        if address.is_private() {
            return Verdict::noticed(Symptom::PrivateAddress, address.to_string());
        }
        let (count, span) = CHANGES;
        let changes =
            self.line.addresses.iter().skip(1).filter(|(_, at)| self.now.since(*at) <= span).count();
        if changes >= count {
            return Verdict::noticed(Symptom::AddressChanges, format!("{changes} times in {}", Span(span)));
        }
        Verdict::done(Some(address.to_string()))
    }

    fn ipv6cp(&self) -> Verdict {
        if self.wan.ipv6.is_none() {
            return Verdict::not_needed();
        }
        let link = self.status.ipv6.as_ref().and_then(|ipv6| ipv6.link_local);
        if let Some(link_local) = link {
            return Verdict::done(Some(link_local.to_string())).by(Part::Ipv6cp);
        }
        let symptom = match self.line.ipv6_down {
            Some(NetworkDownReason::Rejected) => Symptom::Ipv6cpRejected,
            Some(NetworkDownReason::NoAnswer) => Symptom::Ipv6cpSilent,
            Some(NetworkDownReason::NoAgreement) => Symptom::Ipv6cpNoAgreement,
            Some(NetworkDownReason::PeerTerminated) => Symptom::Ipv6cpEnded,
            Some(NetworkDownReason::SmallMtu) => Symptom::Ipv6SmallMtu,
            _ => return Verdict::waiting().by(Part::Ipv6cp),
        };
        Verdict::failed(symptom, None).by(Part::Ipv6cp)
    }

    /// True while the link carries IPv6.
    fn has_ipv6(&self) -> bool {
        self.status.ipv6.as_ref().is_some_and(|ipv6| ipv6.up && ipv6.link_local.is_some())
    }

    fn prefix(&self) -> Verdict {
        let asked = !matches!(self.wan.uplink, Uplink::Static(_));
        let wanted = self.wan.ipv6.is_some_and(|ipv6| ipv6.prefix.is_some()) && asked;
        let Some(status) = self.status.ipv6.as_ref().filter(|_| wanted) else {
            return Verdict::not_needed();
        };
        if !self.has_ipv6() {
            return Verdict::waiting().by(Part::Dhcp6);
        }
        let bound = status.dhcp.as_ref().is_some_and(|dhcp| dhcp.last_failure.is_none());
        if !status.prefixes.is_empty() && bound {
            let prefixes: Vec<String> = status.prefixes.iter().map(|it| it.prefix.to_string()).collect();
            let all = prefixes.join(", ");
            let here = self.lans.iter().filter(|(from, _)| *from == Some(self.id));
            let mut without = here.filter_map(|(_, lan)| {
                let problem = lan.ipv6.as_ref()?.problem.as_ref()?;
                Some(format!("{all}; lan {}: {problem}", lan.name))
            });
            return match without.next() {
                Some(without) => Verdict::failed(Symptom::PrefixTooSmall, Some(without)),
                None => Verdict::done(Some(all)),
            }
            .by(Part::Dhcp6);
        }
        let exchange = self.line.part(Part::Dhcp6);
        let verdict = match (exchange.hint, &self.line.refused6) {
            (Some(Hint::NoPrefix), _) => Verdict::failed(Symptom::PrefixRefused, None),
            _ if exchange.unanswered >= QUESTIONS => Verdict::failed(Symptom::PrefixSilent, None),
            (_, Some(status)) => Verdict::failed(Symptom::PrefixUnusable, Some(status.clone())),
            _ => Verdict::waiting(),
        };
        verdict.by(Part::Dhcp6)
    }

    fn router(&self) -> Verdict {
        let asks = !matches!(self.wan.uplink, Uplink::Static(_));
        let Some(status) = self.status.ipv6.as_ref().filter(|_| asks) else {
            return Verdict::not_needed();
        };
        let verdict = match status.default_router {
            _ if !self.has_ipv6() => Verdict::waiting(),
            Some(router) if self.line.advertised => Verdict::done(Some(format!("default router {router}"))),
            // Beyond a session everything goes to the peer, told or not.
            _ if !self.wan.is_segment() => Verdict::not_needed(),
            None if self.line.part(Part::Router).unanswered >= QUESTIONS => {
                Verdict::failed(Symptom::NoAdvertisement, None)
            }
            Some(router) => Verdict::done(Some(format!("default router {router}"))),
            None => Verdict::waiting(),
        };
        verdict.by(Part::Router)
    }

    fn mtu(&self) -> Verdict {
        let Some(mtu) = self.status.mtu.filter(|_| self.status.up) else {
            return if self.status.up { Verdict::not_needed() } else { Verdict::waiting() };
        };
        let symptom = match self.line.limit {
            _ if matches!(self.wan.uplink, Uplink::Dhcp | Uplink::Static(_)) => None,
            Some(MtuLimit::Port) => Some(Symptom::MtuPort),
            Some(MtuLimit::Concentrator) => Some(Symptom::MtuConcentrator),
            Some(MtuLimit::Peer) => Some(Symptom::MtuPeer),
            Some(MtuLimit::Path) => Some(Symptom::MtuPath),
            Some(MtuLimit::Configuration) | None => None,
        };
        match symptom {
            Some(symptom) => Verdict::noticed(symptom, format!("{mtu} octets")),
            None => Verdict::done(Some(mtu.to_string())),
        }
    }

    fn dns(&self) -> Verdict {
        if !self.status.up {
            return Verdict::waiting().by(Part::Dns);
        }
        let ipv6 = self.status.ipv6.iter().flat_map(|ipv6| &ipv6.dns).map(ToString::to_string);
        let given = match &self.wan.uplink {
            Uplink::Static(given) => given.dns.as_slice(),
            _ => &[],
        };
        let all = self.status.dns.iter().map(ToString::to_string).chain(ipv6);
        let mut servers: Vec<String> = all.chain(given.iter().map(ToString::to_string)).collect();
        servers.dedup();
        if servers.is_empty() {
            let settled = self.status.since_s > 10;
            let verdict =
                if settled { Verdict::failed(Symptom::NoDnsServers, None) } else { Verdict::waiting() };
            return verdict.by(Part::Dns);
        }
        let exchange = self.line.part(Part::Dns);
        let silent = exchange.unanswered_since.is_some_and(|at| self.now.since(at) >= PATIENCE);
        let servers = servers.join(", ");
        let verdict = match silent && exchange.unanswered >= QUESTIONS {
            true => Verdict::failed(Symptom::DnsSilent, Some(servers)),
            false => Verdict::done(Some(servers)),
        };
        verdict.by(Part::Dns)
    }

    fn reachability(&self) -> Verdict {
        if !self.status.up {
            return Verdict::waiting();
        }
        let neighbour = self.line.part(Part::Neighbour);
        let asked = neighbour.unanswered_since.is_some_and(|at| self.now.since(at) >= PATIENCE);
        let wanted = self.status.gateway.map(|gateway| gateway.to_string());
        let is_gateway = neighbour.sent.as_ref().zip(wanted).is_some_and(|(said, gateway)| {
            said.words.to_string().strip_suffix(gateway.as_str()).is_some_and(|rest| rest.ends_with(' '))
        });
        if self.wan.is_segment() && asked && is_gateway && neighbour.unanswered >= QUESTIONS {
            return Verdict::failed(Symptom::NoGatewayAnswer, None).by(Part::Neighbour);
        }
        let usage = &self.status.usage;
        match usage.last_received {
            Some(at) => Verdict::done(Some(format!("the last packet came {} ago", Span(self.now.since(at))))),
            None if usage.tx_packets > 0
                && self.status.since_s > QUIET.as_secs()
                && !self.wan.is_segment() =>
            {
                Verdict::failed(Symptom::NothingReceived, Some(format!("{} packets sent", usage.tx_packets)))
            }
            None => Verdict::done(None),
        }
    }
}

/// A step without which nothing follows.
fn is_base(step: &str) -> bool {
    [name::LINK, name::DISCOVERY, name::LCP, name::AUTHENTICATION].contains(&step)
}

fn ppp_name(authentication: Authentication) -> &'static str {
    crate::ppp::event::protocol_name(authentication)
}

/// A symptom's clause with its detail.
fn clause(verdict: &Verdict) -> String {
    let clause = verdict.symptom.map_or("", |symptom| symptom.knowledge().clause);
    match &verdict.detail {
        Some(detail) => format!("{clause}: {detail}"),
        None => clause.into(),
    }
}

/// The same, and why that is so mostly.
fn told(verdict: &Verdict) -> String {
    let [cause, other] = verdict.symptom.map_or(["", ""], |symptom| symptom.knowledge().causes);
    format!("{} (usually {cause}, or {other})", clause(verdict))
}
