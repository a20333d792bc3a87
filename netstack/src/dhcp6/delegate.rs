//! The ISP's side of prefix delegation: the DHCPv6 server of a concentrator (RFC 8415 §6.3).
//!
//! How it works: a session that speaks IPv6 is opened here with its user's name. Every user has one prefix: a fixed one, or one
//! of the pool, which it keeps over sessions and restarts ([`Delegator::bindings`]). Who asks within a session gets the prefix of
//! the user, and the owner is told to route it to that session. When another session of the same user requests it, it moves
//! there: the old session is most likely dead and has only not been noticed to be.
//!
//! Addresses are not leased: the link is point-to-point and its ends have link-local ones.

#[cfg(test)]
mod tests;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::net::Ipv6Addr;

use serde::{Deserialize, Serialize};

use super::duid::Duid;
use super::exchange::{self, Answer, Client, Service, Want};
use super::message::{Builder, MessageType};
use super::option::{Ia, IaKind, Options, StatusCode, code};
use super::{CLIENT_PORT, HOP_LIMIT, SERVER_PORT};
use crate::frame::Frame;
use crate::id::{Ipv6Cidr, SubscriberId};
use crate::ledger::DropReason;
use crate::machine::Cx;
use crate::settings::PrefixPool;
use crate::time::Instant;
use crate::wire::ipv6::{Header, Ipv6};

/// Most users whose prefix of the pool is remembered.
pub const BINDINGS_MAX: usize = 65_536;
/// Most messages waiting to be sent.
const QUEUE: usize = 256;
/// Most facts waiting to be told.
const EVENTS: usize = 1024;
/// Preferred lifetime of a delegation in seconds.
const PREFERRED: u32 = 3600;
/// Valid lifetime of a delegation in seconds.
const VALID: u32 = 7200;
/// Most prefixes that are looked at to find a free one.
const SEARCH_MAX: u64 = 1 << 18;

/// What a concentrator's server is told to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DelegatorSettings {
    /// Who the server is.
    pub duid: Duid,
    /// Where prefixes are taken from.
    pub pool: PrefixPool,
    /// Users with a prefix of their own, by name. They need not lie in the pool.
    pub fixed: BTreeMap<String, Ipv6Cidr>,
    /// DNS servers to tell.
    pub dns: Vec<Ipv6Addr>,
}

/// A user's prefix of the pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// The user.
    pub user: String,
    /// The prefix.
    pub prefix: Ipv6Cidr,
    /// Until when it was last delegated. Later it is kept for the user until another one needs it.
    pub valid_until: Instant,
}

/// A fact of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A session has been given a prefix: it is to be routed there.
    Delegated {
        /// The session.
        subscriber: SubscriberId,
        /// Its user.
        user: String,
        /// The prefix.
        prefix: Ipv6Cidr,
        /// Until when, unless it is renewed.
        valid_until: Instant,
    },
    /// A session has its prefix no more.
    Withdrawn {
        /// The session.
        subscriber: SubscriberId,
        /// Its user.
        user: String,
        /// The prefix.
        prefix: Ipv6Cidr,
    },
    /// Every prefix is taken. Told once, until one is delegated again.
    Exhausted {
        /// The pool.
        pool: Ipv6Cidr,
        /// The user that got none.
        user: String,
    },
    /// The bindings are no longer what they were: time to store them.
    BindingsChanged,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Delegated { user, prefix, .. } => write!(f, "delegated {prefix} to {user}"),
            Event::Withdrawn { user, prefix, .. } => write!(f, "{prefix} is no longer delegated to {user}"),
            Event::Exhausted { pool, user } => write!(
                f,
                "no prefix is left for {user}: all of {pool} are taken; a larger pool or longer prefixes would help"
            ),
            Event::BindingsChanged => f.write_str("the users' prefixes have changed"),
        }
    }
}

/// A session.
#[derive(Debug)]
struct Session {
    user: String,
    peer: Ipv6Addr,
    local: Ipv6Addr,
    delegated: Option<Delegated>,
}

/// What is delegated to a session.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Delegated {
    prefix: Ipv6Cidr,
    client: Duid,
    iaid: u32,
    valid_until: Instant,
}

/// The DHCPv6 server of a concentrator.
#[derive(Debug)]
pub struct Delegator {
    settings: DelegatorSettings,
    sessions: BTreeMap<SubscriberId, Session>,
    bindings: BTreeMap<String, (Ipv6Cidr, Instant)>,
    /// Prefixes of the pool that are bound.
    taken: BTreeSet<Ipv6Cidr>,
    /// Bindings by the end of their last delegation, those that are delegated left out: the first is given away first.
    idle: BTreeSet<(Instant, String)>,
    /// Fixed prefixes.
    fixed: BTreeSet<Ipv6Cidr>,
    /// Ends of what is delegated.
    deadlines: BTreeSet<(Instant, SubscriberId)>,
    /// Which session a user's prefix is delegated to.
    holders: BTreeMap<String, SubscriberId>,
    exhausted: bool,
    changed: bool,
    transmit: VecDeque<(SubscriberId, Answer)>,
    events: VecDeque<Event>,
}

impl Delegator {
    /// A server without sessions.
    pub fn new(settings: DelegatorSettings) -> Self {
        Delegator {
            fixed: settings.fixed.values().copied().collect(),
            settings,
            sessions: BTreeMap::new(),
            bindings: BTreeMap::new(),
            taken: BTreeSet::new(),
            idle: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            holders: BTreeMap::new(),
            exhausted: false,
            changed: false,
            transmit: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Takes back the users' prefixes of an earlier life: those that the pool still has, and nobody else.
    pub fn restore(&mut self, bindings: Vec<Binding>) {
        for Binding { user, prefix, valid_until } in bindings {
            if self.bindings.len() < BINDINGS_MAX
                && !self.bindings.contains_key(&user)
                && !self.settings.fixed.contains_key(&user)
                && self.is_free(prefix)
            {
                self.taken.insert(prefix);
                self.idle.insert((valid_until, user.clone()));
                self.bindings.insert(user, (prefix, valid_until));
            }
        }
    }

    /// The users' prefixes of the pool, to store for [`Delegator::restore`].
    pub fn bindings(&self) -> impl Iterator<Item = Binding> + '_ {
        self.bindings.iter().map(|(user, &(prefix, valid_until))| Binding {
            user: user.clone(),
            prefix,
            valid_until,
        })
    }

    /// What is delegated now: session, prefix, and until when.
    pub fn delegations(&self) -> impl Iterator<Item = (SubscriberId, Ipv6Cidr, Instant)> + '_ {
        self.sessions.iter().filter_map(|(&subscriber, session)| {
            let delegated = session.delegated.as_ref()?;
            Some((subscriber, delegated.prefix, delegated.valid_until))
        })
    }

    /// A session speaks IPv6 now: its user, the link-local address of the other side, and ours.
    pub fn open(
        &mut self,
        cx: &mut Cx<'_>,
        subscriber: SubscriberId,
        user: &str,
        peer: Ipv6Addr,
        local: Ipv6Addr,
    ) {
        self.close(cx, subscriber);
        self.sessions.insert(subscriber, Session { user: user.to_string(), peer, local, delegated: None });
    }

    /// A session does not speak IPv6 any more. Its user keeps the prefix.
    pub fn close(&mut self, cx: &mut Cx<'_>, subscriber: SubscriberId) {
        self.withdraw(cx, subscriber);
        self.sessions.remove(&subscriber);
        self.transmit.retain(|&(to, _)| to != subscriber);
    }

    /// A packet for the server's port came in by a session, from its IPv6 header on. An error says why it was of no use.
    pub fn handle(
        &mut self,
        cx: &mut Cx<'_>,
        subscriber: SubscriberId,
        packet: &[u8],
    ) -> Result<(), DropReason> {
        if self.transmit.len() >= QUEUE {
            return Err(DropReason::ServiceOverload);
        }
        self.handle_timeout(cx);
        // Only the address that was negotiated is the subscriber's.
        let peer = self.sessions.get(&subscriber).ok_or(DropReason::DhcpUnexpected)?.peer;
        if Ipv6::parse(packet).is_some_and(|packet| packet.source() != peer) {
            return Err(DropReason::DhcpUnexpected);
        }
        let own = self.settings.duid.clone();
        let mut service = Within { delegator: self, subscriber, served: None };
        let answer = exchange::answer(&mut service, cx, &own, packet)?;
        self.transmit.extend(answer.map(|answer| (subscriber, answer)));
        Ok(())
    }

    /// Ends the delegations that have run out.
    pub fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        // Facts that are not yet told are not to be lost: what is left over is done with the next call.
        while let Some(&(due, subscriber)) = self.deadlines.first()
            && due <= cx.now
            && self.events.len() < EVENTS
        {
            self.deadlines.pop_first();
            self.withdraw(cx, subscriber);
        }
    }

    /// When the next delegation runs out, if ever.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.first().map(|&(due, _)| due)
    }

    /// Writes the next packet, from the IPv6 header on, behind what `frame` holds, and says which session it is for.
    pub fn poll_transmit(&mut self, frame: &mut Frame) -> Option<SubscriberId> {
        let (subscriber, answer) = self.transmit.pop_front()?;
        let source = self.sessions.get(&subscriber)?.local;
        let header = Header { source, destination: answer.destination, hop_limit: HOP_LIMIT };
        header.write_udp(SERVER_PORT, CLIENT_PORT, &answer.message, frame).then_some(subscriber)
    }

    /// The next fact.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events
            .pop_front()
            .or_else(|| core::mem::take(&mut self.changed).then_some(Event::BindingsChanged))
    }

    /// The prefix of `user`, found or bound now. `None` when none is left.
    fn prefix_of(&mut self, cx: &mut Cx<'_>, user: &str, wish: Option<Ipv6Cidr>) -> Option<Ipv6Cidr> {
        if let Some(&fixed) = self.settings.fixed.get(user) {
            return Some(fixed);
        }
        if let Some(&(prefix, _)) = self.bindings.get(user) {
            return Some(prefix);
        }
        let full = self.bindings.len() >= BINDINGS_MAX;
        let free =
            (!full).then(|| wish.filter(|&wish| self.is_free(wish)).or_else(|| self.any_free(cx))).flatten();
        let Some(prefix) = free.or_else(|| self.reclaim(cx.now)) else {
            if !self.exhausted {
                self.exhausted = true;
                self.tell(Event::Exhausted { pool: self.settings.pool.prefix, user: user.to_string() });
            }
            return None;
        };
        self.exhausted = false;
        self.changed = true;
        self.taken.insert(prefix);
        self.idle.insert((cx.now, user.to_string()));
        self.bindings.insert(user.to_string(), (prefix, cx.now));
        Some(prefix)
    }

    /// The prefix that has not been delegated for the longest time, taken from its user.
    fn reclaim(&mut self, now: Instant) -> Option<Ipv6Cidr> {
        let (end, _) = self.idle.first()?;
        if *end >= now {
            return None;
        }
        let (_, user) = self.idle.pop_first()?;
        let (prefix, _) = self.bindings.remove(&user)?;
        self.taken.remove(&prefix);
        Some(prefix)
    }

    /// True for a prefix of the pool that is nobody's.
    fn is_free(&self, prefix: Ipv6Cidr) -> bool {
        let pool = self.settings.pool;
        let last = Ipv6Addr::from_bits(prefix.address.to_bits() | !prefix.mask());
        // Fixed prefixes do not overlap each other, so the last one that begins before this one ends is the one to look at.
        let fixed = self.fixed.range(..=Ipv6Cidr { address: last, prefix: u8::MAX }).next_back();
        prefix.prefix == pool.delegate
            && pool.prefix.covers(prefix)
            && prefix == prefix.network()
            && !self.taken.contains(&prefix)
            && !fixed.is_some_and(|fixed| fixed.covers(prefix) || prefix.covers(*fixed))
    }

    /// A free prefix: the next one after a random place.
    fn any_free(&self, cx: &mut Cx<'_>) -> Option<Ipv6Cidr> {
        let pool = self.settings.pool;
        let bits = u32::from(pool.delegate.saturating_sub(pool.prefix.prefix));
        let count = 1u64.checked_shl(bits).unwrap_or(u64::MAX);
        let start = cx.rng.below(count);
        (0..count.min(SEARCH_MAX))
            .filter_map(|step| {
                let number = u128::from(start).saturating_add(u128::from(step)) % u128::from(count);
                pool.prefix.subnet(pool.delegate, u64::try_from(number).ok()?)
            })
            .find(|&prefix| self.is_free(prefix))
    }

    /// Delegates `prefix` to a session, or for longer.
    fn delegate(
        &mut self,
        cx: &mut Cx<'_>,
        subscriber: SubscriberId,
        prefix: Ipv6Cidr,
        client: &Client<'_>,
        iaid: u32,
    ) {
        let Some(user) = self.sessions.get(&subscriber).map(|session| session.user.clone()) else { return };
        if let Some(&holder) = self.holders.get(&user)
            && holder != subscriber
        {
            self.withdraw(cx, holder);
        }
        let valid_until = cx.now.after_lifetime(VALID);
        let Some(session) = self.sessions.get_mut(&subscriber) else { return };
        let client = client.duid.clone();
        let old = session.delegated.replace(Delegated { prefix, client, iaid, valid_until });
        if let Some(old) = &old {
            self.deadlines.remove(&(old.valid_until, subscriber));
        }
        self.deadlines.insert((valid_until, subscriber));
        self.holders.insert(user.clone(), subscriber);
        if let Some((_, until)) = self.bindings.get_mut(&user) {
            self.idle.remove(&(*until, user.clone()));
            // A renewal alone is not worth the state file each time.
            self.changed |= old.as_ref().is_none_or(|old| old.prefix != prefix);
            *until = valid_until;
        }
        if old.is_none_or(|old| old.prefix != prefix) {
            self.tell(Event::Delegated { subscriber, user, prefix, valid_until });
        }
    }

    /// Ends what is delegated to a session.
    fn withdraw(&mut self, cx: &mut Cx<'_>, subscriber: SubscriberId) {
        let Some(session) = self.sessions.get_mut(&subscriber) else { return };
        let Some(delegated) = session.delegated.take() else { return };
        let user = session.user.clone();
        self.deadlines.remove(&(delegated.valid_until, subscriber));
        self.holders.remove(&user);
        if let Some((_, until)) = self.bindings.get_mut(&user) {
            *until = cx.now.min(delegated.valid_until);
            self.idle.insert((*until, user.clone()));
            self.changed = true;
        }
        self.tell(Event::Withdrawn { subscriber, user, prefix: delegated.prefix });
    }

    fn tell(&mut self, event: Event) {
        if self.events.len() < EVENTS {
            self.events.push_back(event);
        }
    }
}

/// The server as one session sees it.
struct Within<'a> {
    delegator: &'a mut Delegator,
    subscriber: SubscriberId,
    /// The association that has got the prefix. Others of the same message get none.
    served: Option<u32>,
}

impl Within<'_> {
    /// The prefix that answers `ia`. An error is the status that does.
    fn prefix(
        &mut self,
        cx: &mut Cx<'_>,
        want: Want,
        ia: Ia<'_>,
    ) -> Result<Ipv6Cidr, (StatusCode, &'static str)> {
        let Some(user) = self.delegator.sessions.get(&self.subscriber).map(|session| session.user.clone())
        else {
            return Err((StatusCode::UnspecFail, "the session has ended"));
        };
        if self.served.is_some_and(|served| served != ia.iaid) {
            return Err((StatusCode::NoPrefixAvail, "there is one prefix for each subscriber"));
        }
        let delegator = &mut *self.delegator;
        if matches!(want, Want::Renew | Want::Rebind) {
            let known =
                delegator.settings.fixed.contains_key(&user) || delegator.bindings.contains_key(&user);
            let elsewhere = delegator.holders.get(&user).is_some_and(|&holder| holder != self.subscriber);
            if !known || elsewhere {
                return Err((StatusCode::NoBinding, "nothing is delegated to this session"));
            }
        }
        let wish =
            ia.options.ia_prefixes().map(|lease| lease.prefix).find(|wish| !wish.address.is_unspecified());
        let prefix = delegator.prefix_of(cx, &user, wish);
        prefix.ok_or((StatusCode::NoPrefixAvail, "every prefix is taken"))
    }
}

impl Service for Within<'_> {
    fn lease(
        &mut self,
        cx: &mut Cx<'_>,
        client: &Client<'_>,
        want: Want,
        kind: IaKind,
        ia: Ia<'_>,
        reply: &mut Builder,
    ) {
        if kind == IaKind::Addresses {
            let why = "addresses are not leased here";
            exchange::deny(reply, kind, ia, StatusCode::NoAddrsAvail, why);
            return;
        }
        let prefix = match self.prefix(cx, want, ia) {
            Ok(prefix) => prefix,
            Err((status, why)) => return exchange::deny(reply, kind, ia, status, why),
        };
        self.served = Some(ia.iaid);
        if want != Want::Offer {
            self.delegator.delegate(cx, self.subscriber, prefix, client, ia.iaid);
        }
        let renewed = matches!(want, Want::Renew | Want::Rebind);
        reply.ia(kind, ia.iaid, exchange::times(PREFERRED), |reply| {
            let given = reply.ia_prefix(prefix, (PREFERRED, VALID));
            // What the client has from elsewhere is not routed to it.
            for old in ia.options.ia_prefixes().filter(|old| renewed && old.prefix != prefix) {
                reply.ia_prefix(old.prefix, (0, 0));
            }
            given
        });
    }

    fn end(
        &mut self,
        cx: &mut Cx<'_>,
        client: &Client<'_>,
        kind: IaKind,
        ia: Ia<'_>,
        _declined: bool,
    ) -> bool {
        let session = self.delegator.sessions.get(&self.subscriber);
        let delegated = session.and_then(|session| session.delegated.as_ref());
        let theirs =
            delegated.is_some_and(|delegated| delegated.client == client.duid && delegated.iaid == ia.iaid);
        if kind == IaKind::Prefixes && theirs {
            self.delegator.withdraw(cx, self.subscriber);
        }
        kind == IaKind::Prefixes && theirs
    }

    fn is_on_link(&self, _address: Ipv6Addr) -> bool {
        false
    }

    fn tell(&self, _kind: MessageType, options: Options<'_>, reply: &mut Builder) {
        if options.requests(code::DNS_SERVERS) {
            reply.addresses(code::DNS_SERVERS, &self.delegator.settings.dns);
        }
    }
}
