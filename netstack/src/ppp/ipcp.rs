//! IPCP's options (RFC 1332 §3, RFC 1877 §1): addresses and DNS servers. Header compression is rejected.
//!
//! A client asks for 0.0.0.0 and both DNS servers and takes what it is told. A server tells: whatever address the client
//! asks for is answered with the assigned one.

use core::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::event::{Event, NetworkDownReason};
use super::negotiation::{Judgement, Options};
use super::network::NetworkOptions;
use crate::rng::Rng;
use crate::wire::ppp::{ConfigureOption, PacketBuilder, protocol};
use crate::wire::ppp_option::ipcp_option;

/// Addresses that a server gives a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv4Assignment {
    /// The server's own address.
    pub local: Ipv4Addr,
    /// The client's address.
    pub remote: Ipv4Addr,
    /// DNS servers to tell the client.
    pub dns: [Option<Ipv4Addr>; 2],
}

/// What a client's open IPCP has agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ipv4Agreement {
    /// Identifier of our last request.
    pub(super) identifier: u8,
    /// Our address.
    pub local: Ipv4Addr,
    /// The peer's address; 0.0.0.0 when it did not tell.
    pub remote: Ipv4Addr,
    /// DNS servers that the peer told.
    pub dns: [Option<Ipv4Addr>; 2],
}

/// What the peer asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct IpcpPeer {
    address: Option<Ipv4Addr>,
    dns: [Option<Ipv4Addr>; 2],
}

/// IPCP's options, for either side.
#[derive(Debug)]
pub(super) enum IpcpOptions {
    /// We take what we are told.
    Client {
        /// What we ask for; `None` once the peer has rejected the option.
        address: Option<Ipv4Addr>,
        /// The same of the primary and the secondary DNS server.
        dns: [Option<Ipv4Addr>; 2],
        /// What the peer said of itself.
        peer: IpcpPeer,
    },
    /// We tell.
    Server {
        /// What we tell.
        assignment: Ipv4Assignment,
        /// The peer rejected our own address.
        mute: bool,
        /// What the peer asked for and we acknowledged.
        peer: IpcpPeer,
    },
}

impl IpcpOptions {
    pub(super) fn client() -> Self {
        IpcpOptions::Client { address: None, dns: [None; 2], peer: IpcpPeer::default() }
    }

    /// A client's options that have agreed on `agreement`; `None` when they could not have.
    pub(super) fn adopt(agreement: &Ipv4Agreement) -> Option<Self> {
        let Ipv4Agreement { local, remote, dns, .. } = *agreement;
        let peer = IpcpPeer { address: Some(remote).filter(|address| is_host(*address)), dns: [None; 2] };
        is_host(local).then_some(IpcpOptions::Client { address: Some(local), dns, peer })
    }

    /// What they have agreed on, when they are a client's and open; `identifier` is that of our last request.
    pub(super) fn agreement(&self, identifier: u8) -> Option<Ipv4Agreement> {
        match (self, self.up()?) {
            (IpcpOptions::Client { .. }, Event::Ipv4Up { local, remote, dns }) => {
                Some(Ipv4Agreement { identifier, local, remote, dns })
            }
            _ => None,
        }
    }

    pub(super) fn server(assignment: Ipv4Assignment) -> Self {
        IpcpOptions::Server { assignment, mute: false, peer: IpcpPeer::default() }
    }
}

/// An address that one station can have.
fn is_host(address: Ipv4Addr) -> bool {
    !(address.is_unspecified() || address.is_loopback() || address.is_multicast() || address.is_broadcast())
}

impl NetworkOptions for IpcpOptions {
    /// Nothing when a client has no usable address of its own.
    fn up(&self) -> Option<Event> {
        Some(match self {
            IpcpOptions::Client { address, dns, peer } => Event::Ipv4Up {
                local: address.filter(|address| is_host(*address))?,
                remote: peer.address.unwrap_or(Ipv4Addr::UNSPECIFIED),
                dns: dns.map(|server| server.filter(|address| is_host(*address))),
            },
            IpcpOptions::Server { assignment, peer, .. } => {
                Event::Ipv4Up { local: assignment.local, remote: assignment.remote, dns: peer.dns }
            }
        })
    }

    fn down(reason: NetworkDownReason) -> Event {
        Event::Ipv4Down { reason }
    }
}

impl Options for IpcpOptions {
    const PROTOCOL: u16 = protocol::IPCP;
    type Peer = IpcpPeer;

    fn reset(&mut self, _rng: &mut dyn Rng) {
        match self {
            IpcpOptions::Client { address, dns, .. } => {
                *address = Some(Ipv4Addr::UNSPECIFIED);
                *dns = [Some(Ipv4Addr::UNSPECIFIED); 2];
            }
            IpcpOptions::Server { mute, .. } => *mute = false,
        }
    }

    fn request(&self, out: &mut PacketBuilder) {
        match self {
            IpcpOptions::Client { address, dns: [primary, secondary], .. } => {
                for (kind, value) in [
                    (ipcp_option::ADDRESS, address),
                    (ipcp_option::PRIMARY_DNS, primary),
                    (ipcp_option::SECONDARY_DNS, secondary),
                ] {
                    if let Some(value) = value {
                        out.option(kind, &value.octets());
                    }
                }
            }
            IpcpOptions::Server { assignment, mute, .. } => {
                if !mute {
                    out.option(ipcp_option::ADDRESS, &assignment.local.octets());
                }
            }
        }
    }

    fn judge(
        &mut self,
        _rng: &mut dyn Rng,
        option: &ConfigureOption<'_>,
        peer: &mut IpcpPeer,
        nak: &mut PacketBuilder,
    ) -> Judgement {
        let asked = option.u32().map(Ipv4Addr::from);
        // What the option's value has to be; `None` inside when any host's address will do.
        let (place, required) = match (option.kind, &*self) {
            (ipcp_option::ADDRESS, IpcpOptions::Client { .. }) => (&mut peer.address, None),
            (ipcp_option::ADDRESS, IpcpOptions::Server { assignment, .. }) => {
                (&mut peer.address, Some(assignment.remote))
            }
            (
                ipcp_option::PRIMARY_DNS,
                IpcpOptions::Server { assignment: Ipv4Assignment { dns: [Some(server), _], .. }, .. },
            ) => (&mut peer.dns[0], Some(*server)),
            (
                ipcp_option::SECONDARY_DNS,
                IpcpOptions::Server { assignment: Ipv4Assignment { dns: [_, Some(server)], .. }, .. },
            ) => (&mut peer.dns[1], Some(*server)),
            _ => return Judgement::Reject,
        };
        match (asked, required) {
            (Some(asked), Some(required)) if asked == required => {
                *place = Some(asked);
                Judgement::Ack
            }
            (_, Some(required)) => {
                // Named, if wrongly: it is not missing.
                *place = Some(required);
                nak.option(option.kind, &required.octets());
                Judgement::Nak
            }
            // A peer that has no address to tell works all the same: nothing is ever sent to that address.
            (Some(asked), None) => {
                *place = is_host(asked).then_some(asked);
                if asked.is_unspecified() { Judgement::Reject } else { Judgement::Ack }
            }
            (None, None) => Judgement::Reject,
        }
    }

    fn missing(&mut self, peer: &IpcpPeer, nak: &mut PacketBuilder) {
        if let (IpcpOptions::Server { assignment, .. }, None) = (self, peer.address) {
            nak.option(ipcp_option::ADDRESS, &assignment.remote.octets());
        }
    }

    fn agreed(&mut self, agreed: IpcpPeer) {
        match self {
            IpcpOptions::Client { peer, .. } | IpcpOptions::Server { peer, .. } => *peer = agreed,
        }
    }

    fn nak(&mut self, _rng: &mut dyn Rng, option: &ConfigureOption<'_>) {
        let (IpcpOptions::Client { address, dns: [primary, secondary], .. }, Some(told)) =
            (self, option.u32().map(Ipv4Addr::from))
        else {
            return;
        };
        match option.kind {
            ipcp_option::ADDRESS => *address = Some(told),
            ipcp_option::PRIMARY_DNS => *primary = Some(told),
            ipcp_option::SECONDARY_DNS => *secondary = Some(told),
            _ => {}
        }
    }

    fn reject(&mut self, option: &ConfigureOption<'_>) {
        match (self, option.kind) {
            (IpcpOptions::Client { address, .. }, ipcp_option::ADDRESS) => *address = None,
            (IpcpOptions::Client { dns: [primary, _], .. }, ipcp_option::PRIMARY_DNS) => *primary = None,
            (IpcpOptions::Client { dns: [_, secondary], .. }, ipcp_option::SECONDARY_DNS) => {
                *secondary = None;
            }
            (IpcpOptions::Server { mute, .. }, ipcp_option::ADDRESS) => *mute = true,
            _ => {}
        }
    }
}
