//! What a PPPoE client reports. Each fact's `Display` is a sentence for the user's log: what happened, and what the
//! client will do next.

use alloc::string::String;
use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::Remembered;
use super::client::{Ipv4, Ipv6};
use crate::id::Family;
use crate::id::Mac;
use crate::ppp;
use crate::settings::Authentication;
use crate::time::Duration;

/// A fact about an uplink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A session of an earlier life was told to end.
    OldSessionEnded(Remembered),
    /// The session of the last run goes on, with all that was up on it. Whether the concentrator still knows it is asked now.
    SessionKept {
        /// The session and the concentrator's Ethernet address.
        session: Remembered,
        /// The concentrator's name.
        ac_name: String,
        /// IPv4, when it is up.
        ipv4: Option<Ipv4>,
        /// IPv6, when it is up.
        ipv6: Option<Ipv6>,
        /// Largest IP packet, in octets.
        mtu: u16,
    },
    /// Discovery begins from nothing, by broadcast.
    Dialling,
    /// Nobody has answered yet.
    NoOffer {
        /// PADIs sent so far.
        tries: u32,
        /// Time until the next one.
        retry_in: Duration,
    },
    /// A concentrator answered and is asked for a session.
    Offer {
        /// Its name.
        ac_name: String,
        /// Its Ethernet address.
        peer: Mac,
    },
    /// A concentrator answered and is not asked.
    OfferIgnored {
        /// Its name.
        ac_name: String,
        /// Its Ethernet address.
        peer: Mac,
        /// Why not.
        why: Unsuitable,
    },
    /// The concentrator did not give a session, and the next one that had answered is asked.
    NextOffer {
        /// Why the former did not.
        failure: Failure,
        /// The name of the next.
        ac_name: String,
    },
    /// A session is open; PPP begins on it.
    SessionOpened {
        /// The session and the concentrator's Ethernet address.
        session: Remembered,
        /// The concentrator's name.
        ac_name: String,
    },
    /// The session is gone. What follows says why.
    SessionClosed(Remembered),
    /// LCP is open.
    LcpOpened {
        /// How the client has to prove who it is.
        authentication: Option<Authentication>,
    },
    /// Name and password were accepted, or not asked for.
    Authenticated {
        /// What the ISP said; often empty.
        message: String,
    },
    /// IPv4 is up.
    Ipv4Up {
        /// Our address.
        address: Ipv4Addr,
        /// The peer's address; 0.0.0.0 when it did not tell.
        peer: Ipv4Addr,
        /// DNS servers that the ISP told.
        dns: [Option<Ipv4Addr>; 2],
        /// Largest IP packet, in octets.
        mtu: u16,
        /// What limits it.
        limit: MtuLimit,
    },
    /// IPv4 was up, or was to come up, and is down.
    Ipv4Down(ppp::NetworkDownReason),
    /// IPv6 is up: the two ends know each other's link-local addresses. Others come by RA and DHCPv6.
    Ipv6Up {
        /// Our link-local address.
        address: Ipv6Addr,
        /// The peer's link-local address.
        peer: Ipv6Addr,
        /// Largest IP packet, in octets.
        mtu: u16,
        /// What limits it.
        limit: MtuLimit,
    },
    /// IPv6 was up, or was to come up, and is down.
    Ipv6Down(ppp::NetworkDownReason),
    /// The path was found to carry another size than the two sides had agreed on.
    MtuChanged {
        /// Largest IP packet from now on, in octets.
        mtu: u16,
        /// What limits it.
        limit: MtuLimit,
    },
    /// An attempt or a session ended; the client dials again by itself.
    Down {
        /// Why it ended.
        failure: Failure,
        /// Time until it dials again.
        retry_in: Duration,
    },
    /// The client was shut down and dials no more.
    Closed,
}

/// Why an offer does not suit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsuitable {
    /// Another concentrator is asked for by name.
    OtherName,
    /// It does not serve what is asked for.
    OtherService,
    /// It says itself that it cannot serve.
    Error,
}

/// What limits the MTU of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MtuLimit {
    /// The configuration asks for no more.
    Configuration,
    /// The port carries no larger frames.
    Port,
    /// The concentrator grants no more (RFC 4638).
    Concentrator,
    /// The peer's LCP agrees to no more.
    Peer,
    /// Something between us and the concentrator loses larger frames.
    Path,
}

impl fmt::Display for MtuLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MtuLimit::Configuration => "as configured",
            MtuLimit::Port => "limited by the MTU of our own port",
            MtuLimit::Concentrator => "limited by the concentrator, which grants no more (RFC 4638)",
            MtuLimit::Peer => "limited by the ISP's side in LCP",
            MtuLimit::Path => "limited by something on the line that loses larger frames",
        })
    }
}

/// What an error tag says (RFC 2516 appendix A).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// Service-Name-Error.
    ServiceName,
    /// AC-System-Error.
    System,
    /// Generic-Error.
    Generic,
    /// A refusal without an error tag.
    Unexplained,
}

/// Why there is no session, or none any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The concentrator refused to open a session.
    Refused {
        /// Its name.
        ac_name: String,
        /// The class of its reason.
        kind: RefusalKind,
        /// Its own words, printable and bounded; may be empty.
        text: String,
    },
    /// The concentrator offered a session and then fell silent.
    NoConfirmation {
        /// Its name.
        ac_name: String,
    },
    /// The concentrator ended the session.
    Terminated {
        /// Its own words, printable and bounded; often empty.
        text: String,
    },
    /// The concentrator ended the session before anything else was heard on it since the last run, or since it was in doubt.
    Gone,
    /// The concentrator gave the session's number to another of our sessions, so it has lost its memory.
    Forgotten,
    /// PPP on the session went down.
    Link(ppp::DownReason),
}

impl Failure {
    /// The class of this failure, which decides when to dial again.
    pub fn class(&self) -> ppp::event::DownClass {
        use ppp::event::DownClass;
        match self {
            Failure::Refused { .. } => DownClass::Refused,
            Failure::NoConfirmation { .. }
            | Failure::Terminated { .. }
            | Failure::Gone
            | Failure::Forgotten => DownClass::Lost,
            Failure::Link(reason) => reason.class(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Refused { ac_name, kind, text } => {
                write!(f, "concentrator \"{ac_name}\" refused to open a session: ")?;
                f.write_str(match kind {
                    RefusalKind::ServiceName => "it does not serve the service-name asked for",
                    RefusalKind::System => "it has a problem of its own",
                    RefusalKind::Generic => "it gave an error",
                    RefusalKind::Unexplained => "it gave no reason",
                })?;
                quoted(f, text)
            }
            Failure::NoConfirmation { ac_name } => {
                write!(f, "concentrator \"{ac_name}\" offered a session, then did not answer")
            }
            Failure::Terminated { text } => {
                f.write_str("the concentrator ended the session")?;
                quoted(f, text)
            }
            Failure::Gone => f.write_str("the session is gone: the concentrator does not know it any more"),
            Failure::Forgotten => f.write_str("the concentrator has forgotten the session"),
            Failure::Link(reason) => reason.fmt(f),
        }
    }
}

fn quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    if text.is_empty() { Ok(()) } else { write!(f, " (\"{text}\")") }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::OldSessionEnded(session) => write!(
                f,
                "told {} to end session {}, which was left over from before",
                session.peer, session.session
            ),
            Event::SessionKept { session, ac_name, ipv4, ipv6, mtu } => {
                let Remembered { peer, session } = session;
                write!(
                    f,
                    "the session of the last run goes on (id {session} with \"{ac_name}\" ({peer}), MTU {mtu}"
                )?;
                if let Some(ipv4) = ipv4 {
                    write!(f, ", address {}", ipv4.address)?;
                }
                if let Some(ipv6) = ipv6 {
                    write!(f, ", link-local address {}", ipv6.address)?;
                }
                f.write_str(")")
            }
            Event::Dialling => f.write_str("dialling: asking every concentrator on the line for a session"),
            Event::NoOffer { tries, retry_in } => {
                write!(f, "no concentrator answers ")?;
                match tries {
                    1 => f.write_str("our request")?,
                    _ => write!(f, "our {tries} requests")?,
                }
                write!(f, "; asking again {}", In(*retry_in))
            }
            Event::Offer { ac_name, peer } => {
                write!(f, "concentrator \"{ac_name}\" ({peer}) answered; asking it for a session")
            }
            Event::OfferIgnored { ac_name, peer, why } => {
                write!(f, "concentrator \"{ac_name}\" ({peer}) answered and is ignored: ")?;
                f.write_str(match why {
                    Unsuitable::OtherName => "ac-name asks for another one",
                    Unsuitable::OtherService => "it does not serve the service-name asked for",
                    Unsuitable::Error => "it reports an error of its own",
                })
            }
            Event::NextOffer { failure, ac_name } => write!(f, "{failure}; asking \"{ac_name}\" instead"),
            Event::SessionOpened { session, ac_name } => write!(
                f,
                "session {} with \"{ac_name}\" ({}) is open; negotiating PPP",
                session.session, session.peer
            ),
            Event::SessionClosed(session) => write!(f, "session {} is closed", session.session),
            Event::LcpOpened { authentication } => match authentication {
                Some(protocol) => {
                    let name = ppp::event::protocol_name(*protocol);
                    write!(f, "the PPP link is open; proving who we are by {name}")
                }
                None => f.write_str("the PPP link is open; the ISP asks for no password"),
            },
            Event::Authenticated { message } => {
                f.write_str("the ISP accepted us")?;
                quoted(f, message)
            }
            Event::Ipv4Up { address, peer, dns, mtu, limit } => {
                write!(f, "online: address {address}, peer {peer}, MTU {mtu} ({limit})")?;
                for (index, server) in dns.iter().flatten().enumerate() {
                    write!(f, "{}{server}", if index == 0 { ", DNS " } else { " and " })?;
                }
                Ok(())
            }
            Event::Ipv4Down(reason) => write!(f, "IPv4 is offline: {}", reason.of(Family::Ipv4)),
            Event::Ipv6Up { address, peer, mtu, limit } => {
                write!(f, "IPv6 is online: link-local address {address}, peer {peer}, MTU {mtu} ({limit})")
            }
            Event::Ipv6Down(reason) => write!(f, "IPv6 is offline: {}", reason.of(Family::Ipv6)),
            Event::MtuChanged { mtu, limit } => write!(f, "MTU is {mtu} from now on, {limit}"),
            Event::Down { failure, retry_in } => write!(f, "{failure}; dialling again {}", In(*retry_in)),
            Event::Closed => f.write_str("shut down; the session is ended"),
        }
    }
}

/// A wait in words.
struct In(Duration);

impl fmt::Display for In {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_millis().div_ceil(500) {
            0 => f.write_str("at once"),
            1 => f.write_str("in half a second"),
            halves if halves < 240 => write!(f, "in {} s", halves / 2),
            halves => write!(f, "in {} min", halves / 120),
        }
    }
}
