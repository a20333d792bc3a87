//! The real peers: pppd and pppoe-server, radvd, Kea, WIDE, dnsmasq and wireguard-go, as configured in the guest or in a
//! namespace.

mod delegation;
mod dnsmasq;
mod kea;
mod pppd;
mod radvd;
mod wide;
mod wireguard_go;

use std::fmt;

use crate::lab::Lab;
use crate::netns::Namespace;

pub use delegation::{Delegation, Dhcp6};
pub use dnsmasq::Dhcp4;
pub use kea::Kea;
pub use pppd::{Client, SERVER, Server};
pub use radvd::Radvd;
pub use wireguard_go::{Keys, Peer, Shown, WireGuardGo};

/// What serves IPv6 on a network in a namespace.
#[derive(Debug)]
pub struct Services6 {
    /// Advertises the router.
    pub radvd: Radvd,
    /// Delegates.
    pub kea: Kea,
}

impl Services6 {
    /// Starts both on `device`, which has a link-local address.
    #[track_caller]
    pub fn start(lab: &Lab, namespace: &Namespace, device: &str, delegation: Delegation) -> Services6 {
        let kea = Kea::start(lab, namespace, device, delegation);
        Services6 { radvd: Radvd::start(lab, namespace, device, delegation), kea }
    }
}

/// What pppd may ask its peer for, or may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authentication {
    /// RFC 1334.
    Pap,
    /// RFC 1994, with MD5.
    ChapMd5,
    /// RFC 2759.
    MsChapV2,
}

impl Authentication {
    /// Every one of them.
    pub const ALL: [Authentication; 3] =
        [Authentication::Pap, Authentication::ChapMd5, Authentication::MsChapV2];

    /// pppd's name for it, after "require-" and "refuse-".
    fn option(self) -> &'static str {
        match self {
            Authentication::Pap => "pap",
            Authentication::ChapMd5 => "chap",
            Authentication::MsChapV2 => "mschap-v2",
        }
    }
}

/// genkan's name for it.
impl fmt::Display for Authentication {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Authentication::Pap => "pap",
            Authentication::ChapMd5 => "chap-md5",
            Authentication::MsChapV2 => "ms-chap-v2",
        })
    }
}
