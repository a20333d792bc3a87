//! Which IPv6 prefixes the LANs have, and for how long.
//!
//! Renumbering is one event. Whatever changes (a delegation comes, goes or is renewed, an uplink goes down), the same
//! call of [`Addressing::update`] decides for every LAN what it has now, and all that follows it (Router Advertisements,
//! DHCPv6, neighbours, names, the filter, the state file) reads its result:
//!
//! 1. Each LAN takes its /64 by number out of every prefix that is delegated over its uplink, and one of the site's own
//!    (unique local) prefix.
//! 2. While the uplink does not carry the delegation (it is down, or has not confirmed it yet), the /64 is *deprecated*:
//!    hosts keep it for the connections that they have, and open none with it.
//! 3. A /64 that is not among them any more is *stale*: it is announced with lifetimes of zero for [`STALE_FOR`], also by
//!    the next run (RFC 9096 L-13).

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::Ipv6Addr;

use crate::dhcp6::client::Delegation;
use crate::id::{Ipv6Cidr, LanId, WanId};
use crate::machine::Cx;
use crate::rng::Rng;
use crate::settings::{LanPrefix, Settings, Ula};
use crate::state::{self, Announced, State};
use crate::time::{Duration, Instant};

/// How long a lost prefix is announced with lifetimes of zero (RFC 9096 L-13).
pub const STALE_FOR: Duration = Duration::from_secs(5400);
/// Most lost prefixes that are announced on a LAN; the oldest give way.
const STALE: usize = 16;
/// Most prefixes that a LAN has at once.
const PREFIXES: usize = 8;
/// Length of a LAN's prefixes (RFC 7084 L-2, RFC 4862 §5.5.3).
const LAN_LENGTH: u8 = 64;

/// What an uplink has for the LANs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Source {
    /// Prefixes delegated over it.
    pub delegations: Vec<Delegation>,
    /// It carries their traffic: it is up, and they were confirmed on its present session.
    pub carries: bool,
    /// It has a default route.
    pub default_route: bool,
    /// Largest IPv6 packet that it carries, in octets, while it is up.
    pub mtu: Option<u16>,
}

/// Where a LAN's prefix is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It was delegated over an uplink.
    Wan(WanId),
    /// It is the site's own (RFC 4193).
    Ula,
}

/// A prefix that a LAN has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// The prefix, a /64.
    pub prefix: Ipv6Cidr,
    /// Where it is from.
    pub origin: Origin,
    /// Until when hosts open connections with it. Over already while it is deprecated.
    pub preferred_until: Instant,
    /// Until when it is valid.
    pub valid_until: Instant,
}

impl Held {
    /// The router's address in it.
    pub fn router(&self) -> Ipv6Addr {
        self.prefix.with_suffix(Ipv6Addr::LOCALHOST)
    }
}

/// A prefix that a LAN had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stale {
    /// The prefix, a /64.
    pub prefix: Ipv6Cidr,
    /// Until when hosts are told.
    pub until: Instant,
}

/// Why a LAN has no prefix from its uplink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// The delegated prefix has no part with that number.
    TooSmall {
        /// What was delegated.
        delegated: Ipv6Cidr,
        /// The number that is asked for.
        subnet: u64,
    },
    /// The ISP uses that part itself (RFC 6603).
    Excluded {
        /// The part.
        excluded: Ipv6Cidr,
    },
    /// Another LAN has that part of the same prefix already, delegated over another uplink.
    Taken {
        /// The part.
        prefix: Ipv6Cidr,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::TooSmall { delegated, subnet } => match LAN_LENGTH.checked_sub(delegated.prefix) {
                None => {
                    write!(f, "the ISP delegated {delegated}, which is too small for a LAN; it takes a /64")
                }
                Some(0) => write!(
                    f,
                    "the ISP delegated {delegated}, which is one LAN's only; subnet {subnet} gets nothing"
                ),
                Some(bits) => {
                    let last = u64::MAX.checked_shr(64u32.saturating_sub(u32::from(bits))).unwrap_or(0);
                    write!(
                        f,
                        "the ISP delegated {delegated}, which has the subnets 0 to {last}; subnet {subnet} gets nothing"
                    )
                }
            },
            Problem::Excluded { excluded } => {
                write!(
                    f,
                    "the ISP keeps {excluded} of the delegated prefix for itself; choose another subnet"
                )
            }
            Problem::Taken { prefix } => write!(f, "{prefix} is another LAN's already"),
        }
    }
}

/// A fact about a LAN's prefixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The LAN has a prefix, and hosts may use it.
    Assigned(Ipv6Cidr),
    /// The uplink does not carry the prefix: hosts are told to open no connection with it.
    Deprecated(Ipv6Cidr),
    /// The prefix is not the LAN's any more: hosts are told to use it no longer.
    Lost(Ipv6Cidr),
    /// The LAN gets no prefix from its uplink.
    Without(Problem),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Assigned(prefix) => write!(f, "the IPv6 prefix is {prefix}"),
            Event::Deprecated(prefix) => {
                write!(
                    f,
                    "the uplink does not carry {prefix} now; hosts are told not to open connections with it"
                )
            }
            Event::Lost(prefix) => {
                write!(f, "{prefix} is not ours any more; hosts are told to use it no longer")
            }
            Event::Without(problem) => write!(f, "no IPv6 prefix from the uplink: {problem}"),
        }
    }
}

/// A LAN.
#[derive(Debug)]
pub struct Lan {
    name: String,
    wanted: LanPrefix,
    /// The LAN's part of the site's own prefix.
    ula: Option<Ipv6Cidr>,
    /// Its prefixes: those of the uplink first.
    pub held: Vec<Held>,
    /// Those that it had.
    pub stale: Vec<Stale>,
    /// Why it has none from the uplink.
    pub problem: Option<Problem>,
}

impl Lan {
    /// True while hosts may send to the Internet by us: a prefix that the uplink carries, and a default route there (RFC
    /// 7084 G-4, L-4, ULA-5).
    pub fn is_online(&self, now: Instant, sources: &[Source]) -> bool {
        let source = sources.get(self.wanted.from.index());
        source.is_some_and(|source| source.carries && source.default_route)
            && self.held.iter().any(|held| held.origin != Origin::Ula && held.valid_until > now)
    }

    /// The uplink that its prefix comes from.
    pub fn uplink(&self) -> WanId {
        self.wanted.from
    }

    /// The router's address on it that no renumbering changes, if there is one.
    pub fn lasting_address(&self) -> Option<Ipv6Addr> {
        self.held.iter().find(|held| held.origin == Origin::Ula).map(Held::router)
    }
}

/// The prefixes of all LANs that have IPv6.
#[derive(Debug)]
pub struct Addressing {
    ula: Option<Ipv6Cidr>,
    pub(super) lans: Vec<Option<Lan>>,
}

impl Addressing {
    /// No prefixes yet but those that the last run announced. One that nobody delegates again becomes stale.
    pub fn new(settings: &Settings, state: &State, cx: &mut Cx<'_>) -> Self {
        let has_ipv6 = settings.lans.iter().any(|lan| lan.prefix.is_some());
        let ula = match settings.ula {
            Ula::Off => None,
            Ula::Given(prefix) => Some(prefix),
            Ula::Generated => state.ula.or_else(|| has_ipv6.then(|| draw_ula(cx.rng))),
        };
        let mut numbers = Vec::new();
        let lans = settings.lans.iter().map(|lan| {
            let mut new = Lan {
                name: lan.name.clone(),
                wanted: lan.prefix?,
                ula: ula.and_then(|site| site.subnet(LAN_LENGTH, ula_number(&lan.name, &mut numbers))),
                held: Vec::new(),
                stale: Vec::new(),
                problem: None,
            };
            for old in state.lan_prefixes.iter().filter(|old| old.lan == lan.name) {
                match old.announced {
                    Announced::ValidUntil(until) => new.held.push(Held {
                        prefix: old.prefix,
                        // The first update says where it is from, or that it is lost.
                        origin: Origin::Wan(new.wanted.from),
                        preferred_until: Instant::ZERO,
                        valid_until: until,
                    }),
                    Announced::StaleUntil(until) if until > cx.now => {
                        new.stale.push(Stale { prefix: old.prefix, until });
                    }
                    Announced::StaleUntil(_) => {}
                }
            }
            new.held.truncate(PREFIXES);
            new.stale.truncate(STALE);
            Some(new)
        });
        Addressing { ula, lans: lans.collect() }
    }

    /// The site's own prefix, for the state file.
    pub fn ula(&self) -> Option<Ipv6Cidr> {
        self.ula
    }

    /// A LAN that has IPv6.
    pub fn lan(&self, lan: LanId) -> Option<&Lan> {
        self.lans.get(lan.index())?.as_ref()
    }

    /// The LANs that have IPv6.
    pub fn lans(&self) -> impl Iterator<Item = (LanId, &Lan)> {
        (0u16..).map(LanId).zip(&self.lans).filter_map(|(id, lan)| Some((id, lan.as_ref()?)))
    }

    /// What the state file keeps.
    pub fn announced(&self) -> Vec<state::LanPrefix> {
        let of_lan = |lan: &Lan| -> Vec<state::LanPrefix> {
            let held = lan.held.iter().map(|held| (held.prefix, Announced::ValidUntil(held.valid_until)));
            let stale = lan.stale.iter().map(|stale| (stale.prefix, Announced::StaleUntil(stale.until)));
            let named = |(prefix, announced)| state::LanPrefix { lan: lan.name.clone(), prefix, announced };
            held.chain(stale).map(named).collect()
        };
        self.lans.iter().flatten().flat_map(of_lan).collect()
    }

    /// When time alone changes something: a prefix ends, or has been announced as stale for long enough.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let of_lan = |lan: &Lan| {
            let held =
                lan.held.iter().map(|held| held.valid_until).filter(|until| *until != Instant::FOREVER);
            held.chain(lan.stale.iter().map(|stale| stale.until)).min()
        };
        self.lans.iter().flatten().filter_map(of_lan).min()
    }

    /// Decides anew, given what each uplink has, indexed by [`WanId`]. Returns what has changed on which LAN; nothing else
    /// has.
    pub fn update(&mut self, now: Instant, sources: &[Source]) -> Vec<(LanId, Vec<Event>)> {
        let mut taken: Vec<Ipv6Cidr> = Vec::new();
        let mut changes = Vec::new();
        for (id, lan) in (0u16..).map(LanId).zip(&mut self.lans) {
            let Some(lan) = lan else { continue };
            let (held, problem) = wanted(lan, now, sources, &mut taken);
            let before = (core::mem::take(&mut lan.held), lan.stale.clone(), lan.problem);
            let mut events = events(&before.0, &held, now);
            if let Some(problem) = problem.filter(|_| problem != before.2) {
                events.push(Event::Without(problem));
            }
            let lost = before.0.iter().filter(|old| !held.iter().any(|new| new.prefix == old.prefix));
            let lost = lost.map(|old| Stale { prefix: old.prefix, until: now + STALE_FOR });
            lan.stale.extend(lost);
            lan.stale.retain(|stale| stale.until > now && !held.iter().any(|new| new.prefix == stale.prefix));
            let too_many = lan.stale.len().saturating_sub(STALE);
            lan.stale.drain(..too_many);
            lan.held = held;
            lan.problem = problem;
            if (&lan.held, &lan.stale, lan.problem) != (&before.0, &before.1, before.2) {
                changes.push((id, events));
            }
        }
        changes
    }
}

/// What a LAN is to have, and why it has nothing from its uplink.
fn wanted(
    lan: &Lan,
    now: Instant,
    sources: &[Source],
    taken: &mut Vec<Ipv6Cidr>,
) -> (Vec<Held>, Option<Problem>) {
    let LanPrefix { from, subnet } = lan.wanted;
    let mut held: Vec<Held> = Vec::new();
    let mut problem = None;
    if let Some(source) = sources.get(from.index()) {
        for delegation in source.delegations.iter().filter(|delegation| delegation.valid_until > now) {
            let delegated = delegation.prefix;
            let part = delegated.subnet(LAN_LENGTH, subnet).ok_or(Problem::TooSmall { delegated, subnet });
            let part = part.and_then(|prefix| match delegation.exclude {
                Some(excluded) if excluded.covers(prefix) || prefix.covers(excluded) => {
                    Err(Problem::Excluded { excluded })
                }
                _ if taken.contains(&prefix) => Err(Problem::Taken { prefix }),
                _ => Ok(prefix),
            });
            match part {
                Ok(prefix) if held.len() < PREFIXES => {
                    taken.push(prefix);
                    let preferred = if source.carries { delegation.preferred_until } else { Instant::ZERO };
                    held.push(Held {
                        prefix,
                        origin: Origin::Wan(from),
                        preferred_until: preferred.min(delegation.valid_until),
                        valid_until: delegation.valid_until,
                    });
                }
                Ok(_) => {}
                Err(why) => problem = Some(why),
            }
        }
    }
    if !held.is_empty() {
        problem = None;
    }
    held.extend(lan.ula.map(|prefix| Held {
        prefix,
        origin: Origin::Ula,
        preferred_until: Instant::FOREVER,
        valid_until: Instant::FOREVER,
    }));
    (held, problem)
}

/// What the user is told of a LAN that had `before` and has `after`.
fn events(before: &[Held], after: &[Held], now: Instant) -> Vec<Event> {
    let is_preferred = |held: &Held| held.preferred_until > now;
    let find = |list: &[Held], prefix| list.iter().find(|held| held.prefix == prefix).copied();
    let mut events = Vec::new();
    for new in after {
        let old = find(before, new.prefix);
        match (old.as_ref().map(is_preferred), is_preferred(new)) {
            (None | Some(false), true) => events.push(Event::Assigned(new.prefix)),
            // What had ended by itself is no news; what comes from the last run was told by that one.
            (Some(true), false) => events.push(Event::Deprecated(new.prefix)),
            _ => {}
        }
    }
    events.extend(
        before.iter().filter(|old| find(after, old.prefix).is_none()).map(|old| Event::Lost(old.prefix)),
    );
    events
}

/// A prefix of the site's own (RFC 4193 §3.2).
fn draw_ula(rng: &mut dyn Rng) -> Ipv6Cidr {
    let global_id = u128::from(rng.next_u64() >> 24);
    Ipv6Cidr { address: Ipv6Addr::from_bits(0xfd << 120 | global_id << 80), prefix: 48 }
}

/// A number made of a name of the configuration, which stays when others come and go (FNV-1a).
pub(super) fn name_number(name: &str) -> u32 {
    name.bytes().fold(0x811c_9dc5, |hash, octet| (hash ^ u32::from(octet)).wrapping_mul(0x0100_0193))
}

/// The number of a LAN's part of the site's own prefix.
fn ula_number(name: &str, taken: &mut Vec<u64>) -> u64 {
    let hash = name_number(name);
    let mut number = u64::from((hash ^ hash >> 16) & 0xffff);
    while taken.contains(&number) {
        number = number.wrapping_add(1) & 0xffff;
    }
    taken.push(number);
    number
}

#[cfg(test)]
mod tests;
