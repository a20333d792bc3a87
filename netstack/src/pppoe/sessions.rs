//! A concentrator's sessions: found by number, by station and id, and by station.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr};

use super::Remembered;
use super::users::UserId;
use crate::id::Mac;
use crate::ppp::Link;
use crate::rng::Rng;
use crate::table::{Map, Seed};
use crate::time::Instant;

/// Session ids that may be given: 0 means none, and 0xffff is reserved (RFC 2516 §4).
const IDS: u16 = 0xfffe;

/// Who a session's subscriber is.
#[derive(Debug)]
pub(super) enum Who {
    /// Not told yet.
    Unknown,
    /// Somebody who says so; printable.
    Claims(Box<str>),
    /// A user who was let in, by number and name.
    User(UserId, String),
}

/// An address that a session holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lease {
    /// None yet.
    None,
    /// From the pool.
    Pool(Ipv4Addr),
    /// The user's own.
    Fixed(UserId, Ipv4Addr),
}

impl Lease {
    pub fn address(self) -> Option<Ipv4Addr> {
        match self {
            Lease::None => None,
            Lease::Pool(address) | Lease::Fixed(_, address) => Some(address),
        }
    }
}

/// A session of a concentrator.
#[derive(Debug)]
pub(super) struct Session {
    pub key: Remembered,
    /// Tells the request that opened it from others.
    pub identity: u64,
    pub link: Link,
    pub who: Who,
    pub lease: Lease,
    /// True between the link's reports that IPv4 is up and down.
    pub ipv4: bool,
    /// The link-local addresses, ours and the subscriber's, between the reports that IPv6 is up and down.
    pub ipv6: Option<(Ipv6Addr, Ipv6Addr)>,
    pub mtu: u16,
    pub max_payload: Option<u16>,
    pub opened: Instant,
    /// When anything was last heard on it.
    pub heard: Instant,
    /// The deadline under which it stands in the concentrator's list of deadlines.
    pub deadline: Option<Instant>,
    /// True while it stands in the concentrator's list of sessions with something to send.
    pub ready: bool,
}

/// The table of sessions. A slot that came free is used again last.
#[derive(Debug)]
pub(super) struct Sessions {
    slots: Vec<Option<Box<Session>>>,
    free: VecDeque<u32>,
    by_key: Map<Remembered, u32>,
    by_station: Map<Mac, Vec<u32>>,
    most: u32,
}

impl Sessions {
    /// A table of up to `most` sessions.
    pub fn new(most: u32, rng: &mut (impl Rng + ?Sized)) -> Self {
        Sessions {
            slots: Vec::new(),
            free: VecDeque::new(),
            by_key: Map::with_hasher(Seed::draw(rng)),
            by_station: Map::with_hasher(Seed::draw(rng)),
            most,
        }
    }

    /// Number of sessions.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// True when there is no room for another.
    pub fn is_full(&self) -> bool {
        u32::try_from(self.len()).is_ok_and(|len| len >= self.most)
    }

    /// The session in a slot.
    pub fn get_mut(&mut self, slot: u32) -> Option<&mut Session> {
        self.slots.get_mut(usize::try_from(slot).ok()?)?.as_deref_mut()
    }

    /// The slot of a station's session.
    pub fn find(&self, key: Remembered) -> Option<u32> {
        self.by_key.get(&key).copied()
    }

    /// The slots of a station's sessions.
    pub fn of_station(&self, station: Mac) -> &[u32] {
        self.by_station.get(&station).map_or(&[], Vec::as_slice)
    }

    /// Every session with its slot.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Session)> {
        (0..).zip(&self.slots).filter_map(|(slot, session)| Some((slot, session.as_deref()?)))
    }

    /// Slots that may hold a session.
    pub fn slots(&self) -> core::ops::Range<u32> {
        0..u32::try_from(self.slots.len()).unwrap_or(u32::MAX)
    }

    /// An id that the station has no session with, drawn at random.
    pub fn draw_id(&self, rng: &mut (impl Rng + ?Sized), station: Mac) -> Option<u16> {
        let start = u16::try_from(rng.below(u64::from(IDS))).unwrap_or(0);
        (0..IDS)
            .map(|offset| (u32::from(start).saturating_add(u32::from(offset))) % u32::from(IDS))
            .filter_map(|id| u16::try_from(id.saturating_add(1)).ok())
            .find(|&session| !self.by_key.contains_key(&Remembered { peer: station, session }))
    }

    /// Adds a session; `None` when there is no room or its key is taken.
    pub fn insert(&mut self, session: Session) -> Option<u32> {
        let key = session.key;
        if self.is_full() || self.by_key.contains_key(&key) {
            return None;
        }
        let unused = u32::try_from(self.slots.len()).ok()?;
        let slot = if unused < self.most { unused } else { self.free.pop_front()? };
        match self.slots.get_mut(usize::try_from(slot).ok()?) {
            Some(place) => *place = Some(Box::new(session)),
            None => self.slots.push(Some(Box::new(session))),
        }
        self.by_key.insert(key, slot);
        self.by_station.entry(key.peer).or_default().push(slot);
        Some(slot)
    }

    /// Takes a session out.
    pub fn remove(&mut self, slot: u32) -> Option<Box<Session>> {
        let session = self.slots.get_mut(usize::try_from(slot).ok()?)?.take()?;
        self.by_key.remove(&session.key);
        if let Some(slots) = self.by_station.get_mut(&session.key.peer) {
            slots.retain(|&other| other != slot);
            if slots.is_empty() {
                self.by_station.remove(&session.key.peer);
            }
        }
        self.free.push_back(slot);
        Some(session)
    }
}
