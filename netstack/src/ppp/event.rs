//! What a PPP link reports to its owner.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::Ipv4Addr;

use super::ipv6cp::InterfaceId;
use crate::id::Family;
use crate::settings::Authentication;

/// The phase that a link is in (RFC 1661 §3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The lower layer is down.
    Dead,
    /// LCP negotiates.
    Establish,
    /// LCP is open; one side proves who it is.
    Authenticate,
    /// The network control protocols may run.
    Network,
    /// LCP closes.
    Terminate,
}

/// A fact about a link. Every `open` ends in exactly one [`Event::Down`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// LCP is open. Comes again when the peer negotiates anew; all that was up before has been reported down then.
    LcpOpened {
        /// Largest packet that we agreed to receive, in octets of the PPP information field.
        mru: u16,
        /// Largest packet that the peer agreed to receive, not above what the lower layer carries.
        peer_mru: u16,
        /// How the client has to prove who it is; `None` when the server asks for no proof.
        authentication: Option<Authentication>,
    },
    /// Server: the peer gave its name. Answer with [`Link::authenticate`](super::Link::authenticate).
    Identify {
        /// The name as it came, which may be any octets, 0 to 65,535 of them.
        name: Vec<u8>,
    },
    /// Authentication succeeded. Server: answer with [`Link::assign`](super::Link::assign). Comes again after a
    /// repeated challenge only when the link was negotiated anew.
    Authenticated {
        /// The peer's name in the server's role, our own in the client's.
        name: Vec<u8>,
        /// What the server said, printable and bounded; often empty.
        message: String,
    },
    /// IPCP is open.
    Ipv4Up {
        /// Our address.
        local: Ipv4Addr,
        /// The peer's address; 0.0.0.0 when it did not tell.
        remote: Ipv4Addr,
        /// Client: DNS servers that the peer told. Server: those that the peer took.
        dns: [Option<Ipv4Addr>; 2],
    },
    /// IPCP was open and no longer is, or could not be opened. The link stays.
    Ipv4Down {
        /// Why.
        reason: NetworkDownReason,
    },
    /// IPV6CP is open.
    Ipv6Up {
        /// Our interface identifier.
        local: InterfaceId,
        /// The peer's, which differs from ours.
        remote: InterfaceId,
    },
    /// IPV6CP was open and no longer is, or could not be opened. The link stays.
    Ipv6Down {
        /// Why.
        reason: NetworkDownReason,
    },
    /// A packet of the full size was answered (RFC 4638 §5): the path carries it.
    MtuProven {
        /// Largest IP packet, in octets.
        mtu: u16,
    },
    /// No packet of the full size was answered: something on the path does not carry it, so smaller ones are used.
    MtuReduced {
        /// Largest IP packet from now on, in octets.
        mtu: u16,
    },
    /// The link is down and sends nothing any more. The lower layer can be closed.
    Down(DownReason),
}

/// Why a network protocol is not up on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NetworkDownReason {
    /// The link below it went down or is negotiated anew.
    Link,
    /// The peer closed it.
    PeerTerminated,
    /// The peer does not speak it.
    Rejected,
    /// The peer negotiates it anew.
    Renegotiating,
    /// The peer does not answer. It is tried again.
    NoAnswer,
    /// The two sides do not agree on addresses or interface identifiers. It is tried again.
    NoAgreement,
    /// The link's packets are smaller than the smallest MTU of IPv6 (RFC 8200 §5). It is not tried.
    SmallMtu,
}

impl NetworkDownReason {
    /// The reason in words, for the user.
    pub fn of(self, family: Family) -> impl fmt::Display {
        fmt::from_fn(move |f| match self {
            NetworkDownReason::Link => f.write_str("the PPP link below it went down"),
            NetworkDownReason::PeerTerminated => write!(f, "the peer closed {family} on this session"),
            NetworkDownReason::Rejected => write!(f, "the peer does not offer {family} on this session"),
            NetworkDownReason::Renegotiating => f.write_str("the peer negotiates its addresses anew"),
            NetworkDownReason::NoAnswer => write!(f, "the peer does not answer the request for {family}"),
            NetworkDownReason::NoAgreement => write!(f, "the two sides do not agree on {family} addresses"),
            NetworkDownReason::SmallMtu => {
                write!(f, "the session carries smaller packets than {family} needs")
            }
        })
    }
}

/// Why a link went down. Its `Display` is one sentence for the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DownReason {
    /// The server refused the name or the password.
    AuthenticationFailed {
        /// The protocol that it was refused by.
        protocol: Authentication,
        /// What the server said, printable and bounded; may be empty.
        message: String,
    },
    /// The two sides have no authentication protocol in common.
    AuthenticationRefused,
    /// Client: the server did not prove that it knows the password (RFC 2759 §5).
    ServerNotProven,
    /// LCP is open, but the authentication was not completed in time.
    AuthenticationTimeout,
    /// The peer went silent: no data, no reply to our Echo-Requests.
    EchoTimeout,
    /// Nothing is heard of the peer on a link that an earlier run of the program has left open, or that we have not watched
    /// for a while.
    Gone,
    /// The peer closed the link.
    PeerTerminated {
        /// The phase in which it did.
        phase: Phase,
        /// What it said, printable and bounded; often empty.
        text: String,
    },
    /// We hear ourselves: the line is looped back (RFC 1661 §6.4).
    Looped,
    /// The peer does not answer LCP at all.
    NoAnswer,
    /// The two sides do not agree.
    NegotiationFailed {
        /// On what.
        what: &'static str,
    },
    /// The lower layer went down.
    LowerDown,
    /// We closed it.
    Closed,
}

/// What class a failure is of, for the choice of when to try again (TR-124 WAN.PPP).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DownClass {
    /// Trying again with the same name and password will not help soon.
    Authentication,
    /// The line or the peer was lost.
    Lost,
    /// The peer is there and does not want.
    Refused,
    /// We wanted it.
    Closed,
}

impl DownReason {
    /// The class of this failure.
    pub const fn class(&self) -> DownClass {
        match self {
            DownReason::AuthenticationFailed { .. }
            | DownReason::AuthenticationRefused
            | DownReason::ServerNotProven
            | DownReason::PeerTerminated { phase: Phase::Authenticate, .. } => DownClass::Authentication,
            DownReason::EchoTimeout
            | DownReason::Gone
            | DownReason::NoAnswer
            | DownReason::AuthenticationTimeout
            | DownReason::LowerDown
            | DownReason::PeerTerminated { phase: Phase::Network | Phase::Terminate | Phase::Dead, .. } => {
                DownClass::Lost
            }
            DownReason::PeerTerminated { phase: Phase::Establish, .. }
            | DownReason::Looped
            | DownReason::NegotiationFailed { .. } => DownClass::Refused,
            DownReason::Closed => DownClass::Closed,
        }
    }
}

/// The name that users know a protocol by.
pub(crate) const fn protocol_name(protocol: Authentication) -> &'static str {
    match protocol {
        Authentication::Pap => "PAP",
        Authentication::ChapMd5 => "CHAP",
        Authentication::MsChapV2 => "MS-CHAPv2",
    }
}

impl fmt::Display for DownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DownReason::AuthenticationFailed { protocol, message } => {
                write!(f, "the peer refused the username or password ({})", protocol_name(*protocol))?;
                if message.is_empty() { Ok(()) } else { write!(f, ": \"{message}\"") }
            }
            DownReason::AuthenticationRefused => {
                f.write_str("the two sides have no authentication protocol in common")
            }
            DownReason::ServerNotProven => f.write_str("the server did not prove that it knows the password"),
            DownReason::AuthenticationTimeout => f.write_str("the authentication was not completed in time"),
            DownReason::EchoTimeout => f.write_str("the peer does not answer any more"),
            DownReason::Gone => f.write_str("the session is gone: the peer does not answer on it"),
            DownReason::PeerTerminated { phase, text } => {
                f.write_str(match phase {
                    Phase::Establish => "the peer refused the link while it was negotiated",
                    Phase::Authenticate => "the peer closed the link during authentication",
                    Phase::Dead | Phase::Network | Phase::Terminate => "the peer closed the link",
                })?;
                if text.is_empty() { Ok(()) } else { write!(f, ": \"{text}\"") }
            }
            DownReason::Looped => f.write_str("the line is looped back: we hear our own packets"),
            DownReason::NoAnswer => f.write_str("the peer does not answer LCP"),
            DownReason::NegotiationFailed { what } => write!(f, "the two sides do not agree on {what}"),
            DownReason::LowerDown => f.write_str("the session below PPP ended"),
            DownReason::Closed => f.write_str("closed by us"),
        }
    }
}
