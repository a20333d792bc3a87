//! What the gateway reports: the machines' facts, with the name of the thing they are about.

use alloc::sync::Arc;
use core::fmt;

use super::bridges::BridgeEvent;
use super::ipv6::addressing::Event as PrefixEvent;
use super::vpn::Event as VpnEvent;
use crate::id::Segment;
use crate::{arp, dhcp4, dhcp6, dns, ndp, pppoe};

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
    /// About the routers on an uplink's link.
    WanRouters {
        /// The uplink's name.
        name: Arc<str>,
        /// The fact.
        event: ndp::discover::Event,
    },
    /// About what DHCPv6 servers give an uplink.
    WanDhcp6 {
        /// The uplink's name.
        name: Arc<str>,
        /// The fact.
        event: dhcp6::client::Event,
    },
    /// About a LAN's IPv6 prefixes.
    LanPrefix {
        /// The LAN's name.
        lan: Arc<str>,
        /// The fact.
        event: PrefixEvent,
    },
    /// The LANs' prefixes, or how long they last, are others than before.
    PrefixesChanged,
    /// About the router's own advertisements on a LAN.
    LanRouter {
        /// The LAN's name.
        lan: Arc<str>,
        /// The fact.
        event: ndp::advertise::Event,
    },
    /// About a LAN's DHCPv6 leases.
    LanDhcp6 {
        /// The LAN's name.
        lan: Arc<str>,
        /// The fact.
        event: dhcp6::server::Event,
    },
    /// About stations with IPv6.
    Ndp {
        /// Where they are.
        segment: Segment,
        /// Its name.
        name: Arc<str>,
        /// The fact.
        event: ndp::neighbour::Event,
    },
    /// About the lease of an uplink's address.
    WanDhcp4 {
        /// The uplink's name.
        name: Arc<str>,
        /// The fact.
        event: dhcp4::client::Event,
    },
    /// About the stations beyond a plain uplink.
    WanArp {
        /// The uplink's name.
        wan: Arc<str>,
        /// The fact.
        event: arp::Event,
    },
    /// About the prefixes of a concentrator's subscribers.
    Delegation {
        /// The concentrator's name.
        concentrator: Arc<str>,
        /// The fact.
        event: dhcp6::delegate::Event,
    },
    /// About a VPN's peers.
    Vpn {
        /// Its name.
        name: Arc<str>,
        /// The fact.
        event: VpnEvent,
    },
    /// About a LAN's bridge.
    Bridge {
        /// The LAN's name.
        lan: Arc<str>,
        /// The fact.
        event: BridgeEvent,
    },
    /// About the DNS forwarder.
    Dns(dns::Event),
    /// Time has passed that our clock has not counted.
    Resumed,
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
            Event::WanDhcp4 { event, .. } => match event {
                dhcp4::client::Event::Bound(_) | dhcp4::client::Event::Kept(_) => Level::Info,
                dhcp4::client::Event::Renewed(_) => Level::Debug,
                _ => Level::Warning,
            },
            Event::WanRouters { .. } => Level::Debug,
            Event::WanDhcp6 { event, .. } => match event {
                dhcp6::client::Event::Renewed { .. } => Level::Debug,
                dhcp6::client::Event::Lost { .. }
                | dhcp6::client::Event::ServerSilent { .. }
                | dhcp6::client::Event::Refused { .. } => Level::Warning,
                _ => Level::Info,
            },
            Event::LanPrefix { event, .. } => match event {
                PrefixEvent::Without(_) => Level::Warning,
                _ => Level::Info,
            },
            Event::LanDhcp6 { event, .. } => match event {
                dhcp6::server::Event::LeasesChanged => Level::Debug,
                dhcp6::server::Event::Leased { .. } | dhcp6::server::Event::Released { .. } => Level::Info,
                dhcp6::server::Event::Declined { .. } | dhcp6::server::Event::Exhausted { .. } => {
                    Level::Warning
                }
            },
            Event::PrefixesChanged => Level::Debug,
            Event::Delegation { event, .. } => match event {
                dhcp6::delegate::Event::Exhausted { .. } => Level::Warning,
                dhcp6::delegate::Event::BindingsChanged => Level::Debug,
                _ => Level::Info,
            },
            Event::Ndp { event: ndp::neighbour::Event::AddressReady { .. }, .. } => Level::Debug,
            Event::Resumed => Level::Info,
            Event::LanRouter { .. } | Event::Ndp { .. } => Level::Warning,
            Event::Arp { .. }
            | Event::WanArp { .. }
            | Event::Bridge { .. }
            | Event::Dns(dns::Event::Silent { .. }) => Level::Warning,
            Event::Dns(dns::Event::Answering { .. }) => Level::Info,
            Event::Vpn { event: VpnEvent::Down { .. } | VpnEvent::NotFound { .. }, .. } => Level::Warning,
            Event::Vpn { event: VpnEvent::StampsReserved, .. } => Level::Debug,
            Event::Vpn { .. } => Level::Info,
        }
    }

    /// True when the content of the state file is another one after it.
    pub fn changes_state(&self) -> bool {
        match self {
            // Whatever of a session is negotiated, is remembered for another run to go on with it.
            Event::Wan { event, .. } => matches!(
                event,
                pppoe::Event::SessionOpened { .. }
                    | pppoe::Event::SessionKept { .. }
                    | pppoe::Event::SessionClosed(_)
                    | pppoe::Event::Ipv4Up { .. }
                    | pppoe::Event::Ipv4Down(_)
                    | pppoe::Event::Ipv6Up { .. }
                    | pppoe::Event::Ipv6Down(_)
                    | pppoe::Event::MtuChanged { .. }
            ),
            Event::Dhcp { event, .. } => *event == dhcp4::Event::LeasesChanged,
            Event::Delegation { event, .. } => *event == dhcp6::delegate::Event::BindingsChanged,
            // A renewal says until when the prefixes last.
            Event::WanDhcp4 { .. } | Event::WanDhcp6 { .. } | Event::PrefixesChanged => true,
            Event::LanDhcp6 { event, .. } => *event == dhcp6::server::Event::LeasesChanged,
            Event::Vpn { event, .. } => *event == VpnEvent::StampsReserved,
            Event::Ndp { event, .. } => matches!(event, ndp::neighbour::Event::AddressReady { .. }),
            _ => false,
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
            Event::WanRouters { name, event } => write!(f, "wan {name}: {event}"),
            Event::WanDhcp6 { name, event } => write!(f, "wan {name}: {event}"),
            Event::LanPrefix { lan, event } => write!(f, "lan {lan}: {event}"),
            Event::PrefixesChanged => {
                f.write_str("the prefixes of the LANs, or how long they last, have changed")
            }
            Event::LanDhcp6 { lan, event } => write!(f, "lan {lan}: {event}"),
            Event::LanRouter { lan, event } => write!(f, "lan {lan}: {event}"),
            Event::Ndp { segment: Segment::Lan(_), name, event } => write!(f, "lan {name}: {event}"),
            Event::Ndp { segment: Segment::Wan(_), name, event } => write!(f, "wan {name}: {event}"),
            Event::WanDhcp4 { name, event } => write!(f, "wan {name}: {event}"),
            Event::WanArp { wan, event } => write!(f, "wan {wan}: {event}"),
            Event::Delegation { concentrator, event } => write!(f, "concentrator {concentrator}: {event}"),
            Event::Vpn { name, event } => write!(f, "vpn {name}: {event}"),
            Event::Bridge { lan, event } => write!(f, "lan {lan}: {event}"),
            Event::Dns(event) => write!(f, "dns: {event}"),
            Event::Resumed => f.write_str(
                "the machine was paused; everybody is asked again whether what was agreed before still holds",
            ),
        }
    }
}
