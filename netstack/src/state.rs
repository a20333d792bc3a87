//! What a gateway wants to find again when it starts next: the content of the state file.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::{Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::dhcp4::{Lease, client};
use crate::dhcp6::Duid;
use crate::dhcp6::client::Delegation;
use crate::dhcp6::delegate::Binding;
use crate::dhcp6::server;
use crate::id::Ipv6Cidr;
use crate::pppoe::LeftSession;
use crate::time::{Duration, Instant};

/// What a gateway wants to find again when it starts next.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// PPPoE sessions that were open, by the uplink's name. They go on, or are ended: a concentrator may not take the next one
    /// before it has seen this one end.
    #[serde(default)]
    pub sessions: Vec<RememberedSession>,
    /// DHCPv4 leases that uplinks had, by the uplink's name.
    #[serde(default)]
    pub uplink_leases: Vec<UplinkLease>,
    /// DHCPv4 leases, by the LAN's name.
    #[serde(default)]
    pub leases: Vec<LanLease>,
    /// Who the router is for DHCPv6 (RFC 7084 W-5).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duid: Option<Duid>,
    /// Prefixes that ISPs have delegated, by the uplink's name.
    #[serde(default)]
    pub delegations: Vec<RememberedDelegation>,
    /// DHCPv6 leases, by the LAN's name.
    #[serde(default)]
    pub leases6: Vec<LanLease6>,
    /// The site's own IPv6 prefix, once it was drawn (RFC 7084 ULA-2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ula: Option<Ipv6Cidr>,
    /// Which IPv6 prefixes hosts were told of, by the LAN's name.
    #[serde(default)]
    pub lan_prefixes: Vec<LanPrefix>,
    /// The router's IPv6 addresses that nobody else has, by the LAN's name.
    #[serde(default)]
    pub lan_addresses: Vec<LanAddress>,
    /// Which prefixes users have been delegated, by the concentrator's name.
    #[serde(default)]
    pub user_prefixes: Vec<UserPrefix>,
    /// How far the stamps of handshakes may have come, by the VPN's name.
    #[serde(default)]
    pub vpn_stamps: Vec<VpnStamp>,
    /// Flows that were open when the last run left everything as it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flows: Vec<RememberedFlow>,
}

/// A flow that was open, by its first direction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RememberedFlow {
    /// TCP, UDP, ICMP or ICMPv6, by number.
    pub protocol: u8,
    /// What its packets come in by: `lan.home`.
    pub from: String,
    /// What they leave by: `wan.isp`.
    pub to: String,
    /// Their source and destination as they come in; an ICMP query's as [`Ends`](crate::forward::offload::Ends) has them.
    pub before: (SocketAddr, SocketAddr),
    /// And as they leave.
    pub after: (SocketAddr, SocketAddr),
}

/// How far the stamps of a VPN's handshakes may have come. Peers take none twice, nor an earlier one (TAI64N).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VpnStamp {
    /// The VPN's name.
    pub vpn: String,
    /// No stamp so far is later: the time since 1970.
    pub ceiling: Duration,
}

impl State {
    /// The same state after the machine has been started anew, or when nobody knows whether it was: sessions and leases are
    /// still to be ended or asked for, but not to go on with as if nothing had been in between.
    pub fn without_adoption(mut self) -> State {
        self.sessions.iter_mut().for_each(|RememberedSession { left, .. }| left.adoption = None);
        self.uplink_leases.iter_mut().for_each(|UplinkLease { lease, .. }| lease.kept = None);
        self.lan_addresses.clear();
        self.flows.clear();
        self
    }

    /// The same state on another clock, on which `from` is `to`. What had ended by `from` has ended long ago.
    pub fn moved(mut self, from: Instant, to: Instant) -> State {
        let shift = |at: &mut Instant| {
            let left = at.since(from);
            *at = match *at {
                Instant::FOREVER => Instant::FOREVER,
                _ if left.is_zero() => Instant::ZERO,
                _ => to + left,
            };
        };
        self.leases.iter_mut().for_each(|LanLease { lease, .. }| shift(&mut lease.expires));
        for UplinkLease { lease, .. } in &mut self.uplink_leases {
            shift(&mut lease.expires);
            if let Some(client::Kept { lease, .. }) = &mut lease.kept {
                shift(&mut lease.renews);
                shift(&mut lease.rebinds);
                shift(&mut lease.expires);
            }
        }
        self.leases6.iter_mut().for_each(|LanLease6 { lease, .. }| shift(&mut lease.expires));
        for RememberedDelegation { delegation, .. } in &mut self.delegations {
            shift(&mut delegation.preferred_until);
            shift(&mut delegation.valid_until);
        }
        for LanPrefix { announced, .. } in &mut self.lan_prefixes {
            match announced {
                Announced::ValidUntil(until) | Announced::StaleUntil(until) => shift(until),
            }
        }
        for UserPrefix { binding, .. } in &mut self.user_prefixes {
            shift(&mut binding.valid_until);
        }
        self
    }
}

/// A DHCPv6 lease and the LAN that it belongs to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LanLease6 {
    /// Name of the LAN.
    pub lan: String,
    /// The lease.
    #[serde(flatten)]
    pub lease: server::Lease,
}

/// The prefix of a concentrator's user.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UserPrefix {
    /// Name of the concentrator.
    pub concentrator: String,
    /// The user and the prefix.
    #[serde(flatten)]
    pub binding: Binding,
}

/// A prefix that an ISP has delegated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RememberedDelegation {
    /// Name of the uplink.
    pub wan: String,
    /// The prefix.
    #[serde(flatten)]
    pub delegation: Delegation,
}

/// An IPv6 prefix that hosts on a LAN were told of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LanPrefix {
    /// Name of the LAN.
    pub lan: String,
    /// The prefix, a /64.
    pub prefix: Ipv6Cidr,
    /// What they were told.
    #[serde(flatten)]
    pub announced: Announced,
}

/// An IPv6 address that the router had on a LAN.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LanAddress {
    /// Name of the LAN.
    pub lan: String,
    /// The address.
    pub address: Ipv6Addr,
}

/// What hosts were told of a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Announced {
    /// It is valid until then.
    ValidUntil(Instant),
    /// It is not theirs any more, and they are told so until then (RFC 9096 L-13).
    StaleUntil(Instant),
}

/// A PPPoE session that was open.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RememberedSession {
    /// Name of the uplink.
    pub wan: String,
    /// The session, and how to go on with it.
    #[serde(flatten)]
    pub left: LeftSession,
}

/// The lease that an uplink had.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UplinkLease {
    /// Name of the uplink.
    pub wan: String,
    /// The lease.
    #[serde(flatten)]
    pub lease: client::Remembered,
}

/// A lease and the LAN that it belongs to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LanLease {
    /// Name of the LAN.
    pub lan: String,
    /// The lease.
    #[serde(flatten)]
    pub lease: Lease,
}
