//! What a gateway wants to find again when it starts next: the content of the state file.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::dhcp4::Lease;
use crate::pppoe::Remembered;
use crate::time::Instant;

/// What a gateway wants to find again when it starts next.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// PPPoE sessions that were open, by the uplink's name. A concentrator may not take the next one before it has seen
    /// this one end.
    #[serde(default)]
    pub sessions: Vec<RememberedSession>,
    /// DHCPv4 leases, by the LAN's name.
    #[serde(default)]
    pub leases: Vec<LanLease>,
}

impl State {
    /// The same state on another clock, on which `from` is `to`. What had ended by `from` has ended long ago.
    pub fn moved(mut self, from: Instant, to: Instant) -> State {
        for LanLease { lease, .. } in &mut self.leases {
            let left = lease.expires.since(from);
            lease.expires = if left.is_zero() { Instant::ZERO } else { to + left };
        }
        self
    }
}

/// A PPPoE session that was open.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RememberedSession {
    /// Name of the uplink.
    pub wan: String,
    /// The session.
    #[serde(flatten)]
    pub session: Remembered,
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
