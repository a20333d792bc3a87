//! What the gateway reports: the machines' facts, with the name of the thing they are about.

use alloc::sync::Arc;
use core::fmt;

use crate::{arp, dhcp4, dns, pppoe};

/// How much a fact matters to the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Of no interest but to somebody who looks for a fault.
    Debug,
    /// Things go their way.
    Info,
    /// Something does not work, or works less well than it should.
    Warning,
}

/// A fact. `Display` is one plain sentence for the log.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// About an uplink.
    Wan {
        /// Its name.
        name: Arc<str>,
        /// The fact.
        event: pppoe::Event,
    },
    /// About a concentrator or one of its sessions.
    Concentrator {
        /// Its name.
        name: Arc<str>,
        /// The fact.
        event: pppoe::subscriber::Event,
    },
    /// About a LAN's leases.
    Dhcp {
        /// The LAN's name.
        lan: Arc<str>,
        /// The fact.
        event: dhcp4::Event,
    },
    /// About a LAN's stations.
    Arp {
        /// The LAN's name.
        lan: Arc<str>,
        /// The fact.
        event: arp::Event,
    },
    /// About the DNS forwarder.
    Dns(dns::Event),
}

impl Event {
    /// How much it matters.
    pub fn level(&self) -> Level {
        use dhcp4::Event as Dhcp;
        use pppoe::Event as Wan;
        use pppoe::subscriber::Event as Access;
        match self {
            Event::Wan { event, .. } => match event {
                Wan::NoOffer { .. } | Wan::OfferIgnored { .. } | Wan::NextOffer { .. } => Level::Warning,
                Wan::Ipv4Down(_) | Wan::Ipv6Down(_) | Wan::Down { .. } => Level::Warning,
                _ => Level::Info,
            },
            Event::Concentrator { event, .. } => match event {
                Access::AuthFailed { .. } | Access::Refused { .. } => Level::Warning,
                _ => Level::Info,
            },
            Event::Dhcp { event, .. } => match event {
                Dhcp::Refused { .. } | Dhcp::Declined { .. } | Dhcp::Exhausted { .. } => Level::Warning,
                Dhcp::LeasesChanged => Level::Debug,
                Dhcp::Leased { .. } | Dhcp::Released { .. } => Level::Info,
            },
            Event::Arp { .. } | Event::Dns(dns::Event::Silent { .. }) => Level::Warning,
            Event::Dns(dns::Event::Answering { .. }) => Level::Info,
        }
    }

    /// True when the content of the state file is another one after it.
    pub fn changes_state(&self) -> bool {
        match self {
            Event::Wan { event, .. } => {
                matches!(event, pppoe::Event::SessionOpened { .. } | pppoe::Event::SessionClosed(_))
            }
            Event::Dhcp { event, .. } => *event == dhcp4::Event::LeasesChanged,
            Event::Concentrator { .. } | Event::Arp { .. } | Event::Dns(_) => false,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Wan { name, event } => write!(f, "wan {name}: {event}"),
            Event::Concentrator { name, event } => write!(f, "concentrator {name}: {event}"),
            Event::Dhcp { lan, event } => write!(f, "lan {lan}: {event}"),
            Event::Arp { lan, event } => write!(f, "lan {lan}: {event}"),
            Event::Dns(event) => write!(f, "dns: {event}"),
        }
    }
}
