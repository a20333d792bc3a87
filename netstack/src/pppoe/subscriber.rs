//! What a concentrator reports of its subscribers, and what its status shows.

use alloc::string::String;
use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};

use crate::id::{Mac, SubscriberId};
use crate::ppp;
use crate::time::Instant;

/// A fact about a concentrator. Every `SessionOpened` is followed by exactly one `Closed` of the same subscriber.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A session was granted.
    SessionOpened {
        /// Whose it is from now on.
        subscriber: SubscriberId,
        /// The station's address.
        peer: Mac,
        /// The session's id.
        session: u16,
    },
    /// A station was not let in.
    AuthFailed {
        /// The name that it gave, printable.
        user: String,
        /// Its address.
        peer: Mac,
    },
    /// IPv4 is up on a session. Comes again when the MTU turns out to be smaller.
    Ipv4Up {
        /// Whose session.
        subscriber: SubscriberId,
        /// The user's name.
        user: String,
        /// The subscriber's address.
        address: Ipv4Addr,
        /// Largest IP packet, in octets.
        mtu: u16,
    },
    /// IPv4 was up on a session and is down.
    Ipv4Down {
        /// Whose session.
        subscriber: SubscriberId,
    },
    /// IPv6 is up on a session: the two ends know each other's link-local addresses. Comes again when the MTU turns out
    /// to be smaller.
    Ipv6Up {
        /// Whose session.
        subscriber: SubscriberId,
        /// The user's name.
        user: String,
        /// Our link-local address.
        local: Ipv6Addr,
        /// The subscriber's link-local address.
        peer: Ipv6Addr,
        /// Largest IP packet, in octets.
        mtu: u16,
    },
    /// IPv6 was up on a session and is down.
    Ipv6Down {
        /// Whose session.
        subscriber: SubscriberId,
    },
    /// A session is over.
    Closed {
        /// Whose it was.
        subscriber: SubscriberId,
        /// The user's name, when somebody had been let in.
        user: Option<String>,
        /// Why.
        reason: CloseReason,
    },
    /// A station asked for a session and was refused.
    Refused {
        /// Its address.
        peer: Mac,
        /// Why.
        reason: RefuseReason,
    },
}

/// Why a subscriber's session is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloseReason {
    /// The subscriber's station ended it by PADT.
    Terminated,
    /// PPP on it went down.
    Link(ppp::DownReason),
    /// The same station or user came in anew.
    Replaced,
    /// No address is free.
    NoAddress,
    /// The concentrator was shut down.
    Shutdown,
}

/// Why a session was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefuseReason {
    /// The service asked for is not served, or the request names none or several.
    ServiceName,
    /// The station has as many sessions as it may have.
    StationLimit,
    /// The concentrator has as many sessions as it may have.
    Full,
}

/// A session as the status shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriberStatus {
    /// Its number.
    pub subscriber: SubscriberId,
    /// The user's name, once let in.
    pub user: Option<String>,
    /// The session's id.
    pub session: u16,
    /// The station's address.
    pub peer: Mac,
    /// The subscriber's address, once IPCP is open.
    pub address: Option<Ipv4Addr>,
    /// The subscriber's link-local address, once IPV6CP is open.
    pub link_local: Option<Ipv6Addr>,
    /// When the session was opened.
    pub opened: Instant,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CloseReason::Terminated => f.write_str("the subscriber ended it"),
            CloseReason::Link(reason) => reason.fmt(f),
            CloseReason::Replaced => f.write_str("the subscriber came in anew"),
            CloseReason::NoAddress => f.write_str("no address is free in the pool"),
            CloseReason::Shutdown => f.write_str("the concentrator was shut down"),
        }
    }
}

impl fmt::Display for RefuseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RefuseReason::ServiceName => "it asks for a service that is not served here",
            RefuseReason::StationLimit => "it has as many sessions as it may have",
            RefuseReason::Full => "all sessions are taken",
        })
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::SessionOpened { peer, session, .. } => {
                write!(f, "session {session} with {peer} is open; negotiating PPP")
            }
            Event::AuthFailed { user, peer } => write!(f, "{peer} was not let in as \"{user}\""),
            Event::Ipv4Up { user, address, mtu, .. } => {
                write!(f, "\"{user}\" is online with address {address}, MTU {mtu}")
            }
            Event::Ipv4Down { subscriber } => write!(f, "IPv4 of subscriber {} is offline", subscriber.0),
            Event::Ipv6Up { user, peer, mtu, .. } => {
                write!(f, "\"{user}\" is online with IPv6, link-local address {peer}, MTU {mtu}")
            }
            Event::Ipv6Down { subscriber } => write!(f, "IPv6 of subscriber {} is offline", subscriber.0),
            Event::Closed { subscriber, user, reason } => {
                match user {
                    Some(user) => write!(f, "the session of \"{user}\" is over: ")?,
                    None => write!(f, "the session of subscriber {} is over: ", subscriber.0)?,
                }
                reason.fmt(f)
            }
            Event::Refused { peer, reason } => write!(f, "refused a session to {peer}: {reason}"),
        }
    }
}
