//! Files of wg-quick(8): what most other programs keep a WireGuard interface in, telephones by a camera.
//!
//! [`WgQuick`] is what such a file says, as far as it means something here; [`WgQuick::text`] writes one. [`Import`] comes from
//! a file of somebody else's, by `read`, which complains of errors with their places as the checks of our own files do and
//! notes what has no counterpart here; `toml` turns it into lines for our own file, and into the files that hold its keys.

mod read;
#[cfg(test)]
mod tests;
mod toml;

use std::fmt::Write as _;
use std::path::Path;

use genkan_netstack::id::IpCidr;
use genkan_netstack::settings::VpnPeer;
use genkan_netstack::tunnel::wireguard::PrivateKey;
use zeroize::Zeroizing;

use crate::host::{Host, ThisHost};
use crate::reader::is_name;
use crate::{Report, key};

/// What a file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WgQuick {
    /// The interface's private key.
    pub private_key: PrivateKey,
    /// The UDP port that it listens on; any when absent.
    pub listen_port: Option<u16>,
    /// Its own addresses inside, with the networks there.
    pub addresses: Vec<IpCidr>,
    /// Addresses of DNS servers to ask meanwhile, and search domains.
    pub dns: Vec<String>,
    /// Largest packet inside, in octets.
    pub mtu: Option<u16>,
    /// Its peers. One that the file has no name for is called by how its public key begins.
    pub peers: Vec<VpnPeer>,
}

impl WgQuick {
    /// The file: `wg-quick` and the WireGuard apps read it. It holds the private key.
    pub fn text(&self) -> Zeroizing<String> {
        let mut out = Zeroizing::new(String::with_capacity(1024));
        let _ = writeln!(out, "[Interface]\nPrivateKey = {}", *key::text(self.private_key.expose()));
        if let Some(port) = self.listen_port {
            let _ = writeln!(out, "ListenPort = {port}");
        }
        let _ = writeln!(out, "Address = {}", list(&self.addresses));
        if !self.dns.is_empty() {
            let _ = writeln!(out, "DNS = {}", self.dns.join(", "));
        }
        if let Some(mtu) = self.mtu {
            let _ = writeln!(out, "MTU = {mtu}");
        }
        for peer in &self.peers {
            out.push('\n');
            if is_name(&peer.name) {
                let _ = writeln!(out, "# {}", peer.name);
            }
            let _ = writeln!(out, "[Peer]\nPublicKey = {}", *key::text(&peer.public_key.0));
            if let Some(preshared) = &peer.preshared_key {
                let _ = writeln!(out, "PresharedKey = {}", *key::text(preshared.expose()));
            }
            if !peer.allowed_ips.is_empty() {
                let _ = writeln!(out, "AllowedIPs = {}", list(&peer.allowed_ips));
            }
            if let Some(endpoint) = &peer.endpoint {
                let _ = writeln!(out, "Endpoint = {endpoint}");
            }
            if let Some(keepalive) = peer.keepalive {
                let _ = writeln!(out, "PersistentKeepalive = {}", keepalive.as_secs());
            }
        }
        out
    }
}

fn list(networks: &[IpCidr]) -> String {
    networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// A file that was read, and what of it has no counterpart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// What the VPN is to be called.
    pub name: String,
    /// What the file says.
    pub file: WgQuick,
    /// What is not carried over, in the order of the file.
    pub left_out: Vec<LeftOut>,
}

/// A line, or a part of it, that means nothing to a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeftOut {
    /// Its number, from 1.
    pub line: usize,
    /// Its key. The value is not repeated: commands may hold secrets.
    pub key: &'static str,
    /// Why, as half a sentence.
    pub why: &'static str,
}

impl Import {
    /// True for the file of somebody to whom we are one address and nothing else: the interface has no network of its own, and
    /// everything goes there.
    pub fn masquerades(&self) -> bool {
        let is_alone =
            self.file.addresses.iter().any(|cidr| matches!(cidr, IpCidr::V4(own) if own.prefix == 32));
        is_alone && self.goes_everywhere(true)
    }

    /// True when some peer is the way to everywhere, of IPv4 or of IPv6.
    fn goes_everywhere(&self, ipv4: bool) -> bool {
        let networks = self.file.peers.iter().flat_map(|peer| &peer.allowed_ips);
        networks.into_iter().any(|network| network.prefix() == 0 && matches!(network, IpCidr::V4(_)) == ipv4)
    }

    /// Reads a file. The VPN is called `name`, or as the file is.
    ///
    /// # Errors
    /// A report with every error of the file.
    pub fn load(path: impl AsRef<Path>, name: Option<&str>) -> Result<Import, Report> {
        Self::load_on(path, name, &ThisHost)
    }

    /// As [`Import::load`], on another machine.
    ///
    /// # Errors
    /// A report with every error of the file.
    pub fn load_on(path: impl AsRef<Path>, name: Option<&str>, host: &dyn Host) -> Result<Import, Report> {
        read::read(path.as_ref(), name, host)
    }
}
