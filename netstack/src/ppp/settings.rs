//! What a link is told to be. One value is shared by all links of an uplink or a concentrator.

use alloc::vec::Vec;

use super::ipv6cp::InterfaceId;
use crate::id::Mac;
use crate::secret::Secret;
use crate::settings::{Authentication, Concentrator, Echo, Families, PppoeClient};
use crate::time::Duration;

/// Timers and counters of the automaton (RFC 1661 §4.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Restart timer. Default 3 s.
    pub restart: Duration,
    /// Terminate-Requests sent without an answer before the link is given up. Default 2.
    pub max_terminate: u8,
    /// Configure-Requests sent without an answer before the peer is given up. Default 10.
    pub max_configure: u8,
    /// Configure-Naks sent or received without agreement. Default 5.
    pub max_failure: u8,
}

impl Default for Timing {
    fn default() -> Self {
        Timing { restart: Duration::from_secs(3), max_terminate: 2, max_configure: 10, max_failure: 5 }
    }
}

/// A client's link: it is asked to prove who it is, and is given its address.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// Name that the peer knows us by.
    pub username: Vec<u8>,
    /// Its password.
    pub password: Secret,
    /// Authentication protocols to agree to, the preferred one first.
    pub authentication: Vec<Authentication>,
    /// MRU wanted, in octets. The lower layer may allow less.
    pub mru: u16,
    /// Keepalive. An interval of zero turns it off.
    pub echo: Echo,
    /// Negotiate IPv4.
    pub ipv4: bool,
    /// Negotiate IPv6, and be known by this interface identifier unless it is taken.
    pub ipv6: Option<InterfaceId>,
    /// The automaton's timers.
    pub timing: Timing,
}

impl ClientSettings {
    /// Those of a PPPoE uplink that carries `families` and has the Ethernet address `local`.
    pub fn new(pppoe: &PppoeClient, families: Families, local: Mac) -> Self {
        ClientSettings {
            username: pppoe.username.clone().into_bytes(),
            password: pppoe.password.clone(),
            authentication: pppoe.authentication.clone(),
            mru: pppoe.mtu,
            echo: pppoe.echo,
            ipv4: families.ipv4,
            ipv6: families.ipv6.then(|| InterfaceId::from_mac(local)),
            timing: Timing::default(),
        }
    }
}

/// A server's link: it asks the peer to prove who it is, and gives it an address.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// Name that we give ourselves in challenges.
    pub name: Vec<u8>,
    /// Authentication protocols to ask for, the first one first. Without any, no link comes up.
    pub authentication: Vec<Authentication>,
    /// MRU wanted, in octets. The lower layer may allow less.
    pub mru: u16,
    /// Keepalive. An interval of zero turns it off.
    pub echo: Echo,
    /// Negotiate IPv6, and be known by this interface identifier unless it is taken.
    pub ipv6: Option<InterfaceId>,
    /// The automaton's timers.
    pub timing: Timing,
}

impl ServerSettings {
    /// Those of a concentrator that has the Ethernet address `local`. IPv6 is for those who get a prefix.
    pub fn new(concentrator: &Concentrator, local: Mac) -> Self {
        ServerSettings {
            name: concentrator.ac_name.clone().into_bytes(),
            authentication: concentrator.authentication.clone(),
            mru: concentrator.mtu,
            echo: concentrator.echo,
            ipv6: concentrator.prefix_pool.map(|_| InterfaceId::from_mac(local)),
            timing: Timing::default(),
        }
    }
}
