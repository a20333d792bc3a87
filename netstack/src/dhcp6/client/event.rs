//! What a DHCPv6 client reports. Each fact's `Display` is a sentence for the user's log.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::dhcp6::duid::Duid;
use crate::id::Ipv6Cidr;

/// A fact about what an uplink's DHCPv6 servers give us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A server has leased us what we asked for, or has confirmed what we had from before.
    Bound {
        /// The prefixes; none when only an address was asked for.
        prefixes: Vec<Ipv6Cidr>,
        /// The server.
        server: Duid,
    },
    /// The leases run longer now; they are the same.
    Renewed {
        /// The prefixes.
        prefixes: Vec<Ipv6Cidr>,
    },
    /// Other prefixes or addresses are ours than before; some may have ended.
    Changed {
        /// The prefixes that are ours now.
        prefixes: Vec<Ipv6Cidr>,
    },
    /// Nothing is ours any more. The client asks anew.
    Lost {
        /// Why.
        why: Loss,
    },
    /// No server answers. The client goes on asking.
    ServerSilent {
        /// What it has been asked, as a clause.
        asked: &'static str,
    },
    /// A server has answered that it does not give what we ask for. The client goes on asking.
    Refused {
        /// What it said, as a clause.
        status: String,
    },
    /// DNS servers and the like are others than before.
    InformationChanged,
}

/// Why leases are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// They ran out, and no server has renewed them.
    Expired,
    /// The server ended them.
    Withdrawn,
    /// The server says that they do not belong on this link.
    NotOnLink,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Loss::Expired => "its time ran out and no server renewed it",
            Loss::Withdrawn => "the server ended it",
            Loss::NotOnLink => "the server says that it does not belong on this link",
        })
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Bound { prefixes, server } if prefixes.is_empty() => {
                write!(f, "DHCPv6: the server {server} has leased us an address")
            }
            Event::Bound { prefixes, server } => {
                write!(f, "DHCPv6: the server {server} delegates {}", List(prefixes))
            }
            Event::Renewed { prefixes } if prefixes.is_empty() => {
                f.write_str("DHCPv6: our address was renewed")
            }
            Event::Renewed { prefixes } => write!(f, "DHCPv6: {} renewed", List(prefixes)),
            Event::Changed { prefixes } if prefixes.is_empty() => {
                f.write_str("DHCPv6: our addresses have changed; no prefix is delegated to us")
            }
            Event::Changed { prefixes } => {
                write!(f, "DHCPv6: what is leased to us has changed; delegated to us now: {}", List(prefixes))
            }
            Event::Lost { why } => {
                write!(f, "DHCPv6: what was leased to us is lost: {why}; asking anew")
            }
            Event::ServerSilent { asked } => {
                write!(f, "DHCPv6: no server answers when it is asked {asked}; the router goes on asking")
            }
            Event::Refused { status } => {
                write!(
                    f,
                    "DHCPv6: the server does not give what we ask for: {status}; the router goes on asking"
                )
            }
            Event::InformationChanged => f.write_str("DHCPv6: the ISP's DNS and time servers have changed"),
        }
    }
}

/// Prefixes with commas between them.
struct List<'a>(&'a [Ipv6Cidr]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, prefix) in self.0.iter().enumerate() {
            let comma = if nth == 0 { "" } else { ", " };
            write!(f, "{comma}{prefix}")?;
        }
        Ok(())
    }
}
