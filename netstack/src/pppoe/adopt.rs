//! What one run of the program leaves behind so that the next one goes on with its session.
//!
//! The concentrator notices nothing of a program that is killed and starts again: the session and all that PPP has agreed
//! on are its and ours still. So they are remembered, with the way in which the session was dialled: an uplink that is
//! another one by now has to dial. Of the password nothing is remembered.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::{MtuLimit, Remembered};
use crate::id::Mac;
use crate::ppp::Agreement;
use crate::settings::{Authentication, Families, Port, PppoeClient};

/// A session that a run has left open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftSession {
    /// The session, as both sides know it.
    #[serde(flatten)]
    pub session: Remembered,
    /// How to go on with it; `None` when it can only be ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adoption: Option<Adoption>,
}

impl From<Remembered> for LeftSession {
    fn from(session: Remembered) -> Self {
        LeftSession { session, adoption: None }
    }
}

/// All that another run needs to go on with a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adoption {
    pub(super) dialled: Dialled,
    /// The concentrator's name, printable.
    pub(super) ac_name: String,
    /// Largest IP packet that the session carries whatever the two sides agree on in LCP, in octets.
    pub(super) carried: u16,
    /// What limits it.
    pub(super) limit: MtuLimit,
    pub(super) link: Agreement,
}

/// How a session was dialled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Dialled {
    port: String,
    mac: Mac,
    vlan: Option<u16>,
    username: String,
    service_name: Vec<u8>,
    ac_name: Option<Vec<u8>>,
    authentication: Vec<Authentication>,
    mtu: u16,
    ipv4: bool,
    ipv6: bool,
}

impl Dialled {
    pub(super) fn new(pppoe: &PppoeClient, families: Families, port: &Port) -> Self {
        Dialled {
            port: port.name.clone(),
            mac: port.mac,
            vlan: port.vlan.map(|vlan| vlan.id),
            username: pppoe.username.clone(),
            service_name: pppoe.service_name.clone(),
            ac_name: pppoe.ac_name.clone(),
            authentication: pppoe.authentication.clone(),
            mtu: pppoe.mtu,
            ipv4: families.ipv4,
            ipv6: families.ipv6,
        }
    }
}
