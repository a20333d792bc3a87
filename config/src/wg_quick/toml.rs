//! From a wg-quick file to lines of ours.

use std::fmt::Write as _;

use zeroize::Zeroizing;

use super::Import;
use crate::reader::is_name;
use crate::{key, tunnel};

impl Import {
    /// The lines for our own file. They name the files of [`Import::secrets`], and when these are not written by whoever
    /// prints the lines (`keys_are_written`), say what to write into them.
    pub fn toml(&self, keys_are_written: bool) -> String {
        let (name, file) = (&self.name, &self.file);
        let mut out = String::new();
        let hint = |out: &mut String, what: &str| {
            if !keys_are_written {
                let _ = writeln!(out, "# {what} belongs into this file, mode 0600; `--out FILE` writes it");
            }
        };
        if !self.left_out.is_empty() {
            out.push_str("# Not carried over from the wg-quick file:\n");
        }
        for left in &self.left_out {
            let _ = writeln!(out, "#   line {}, {}: {}", left.line, left.key, left.why);
        }
        let _ = writeln!(out, "[vpn.{name}]");
        hint(&mut out, "the PrivateKey of the wg-quick file");
        let _ = writeln!(out, "private-key-file = \"{}\"", self.key_file());
        let _ = match file.listen_port {
            Some(port) => writeln!(out, "listen-port = {port}"),
            None => writeln!(out, "listen-port = {}   # the wg-quick file names none", tunnel::DEFAULT_PORT),
        };
        let addresses = quoted(&file.addresses);
        let _ = match addresses.as_slice() {
            [address] => writeln!(out, "address = {address}"),
            addresses => writeln!(out, "address = [{}]", addresses.join(", ")),
        };
        if let Some(mtu) = file.mtu {
            let _ = writeln!(out, "mtu = {mtu}");
        }
        if self.masquerades() {
            out.push_str(
                "# The peer knows this address alone, so hosts of the LANs go by it, and nothing begins from the peer.\n\
                 # Delete the line if the peer knows your LANs.\n",
            );
            if self.goes_everywhere(false) {
                out.push_str(
                    "# IPv6 is not translated: where the peer knows a /128 alone, hosts are told so and use IPv4.\n",
                );
            }
            out.push_str("masquerade = true\n");
        }
        for (index, peer) in file.peers.iter().enumerate() {
            let _ = writeln!(out, "\n[[vpn.{name}.peer]]");
            if is_name(&peer.name) {
                let _ = writeln!(out, "name = \"{}\"", peer.name);
            }
            let _ = writeln!(out, "public-key = \"{}\"", *key::text(&peer.public_key.0));
            if peer.preshared_key.is_some() {
                hint(&mut out, "this peer's PresharedKey");
                let _ = writeln!(out, "preshared-key-file = \"{}\"", self.preshared_file(index));
            }
            if let Some(endpoint) = &peer.endpoint {
                let _ = writeln!(out, "endpoint = \"{endpoint}\"");
            }
            let _ = writeln!(out, "allowed-ips = [{}]", quoted(&peer.allowed_ips).join(", "));
            if let Some(keepalive) = peer.keepalive {
                let _ = writeln!(out, "keepalive = \"{}s\"", keepalive.as_secs());
            }
        }
        out
    }

    /// The files that the lines name, and what belongs into each of them.
    pub fn secrets(&self) -> Vec<(String, Zeroizing<String>)> {
        let own = (self.key_file(), key::text(self.file.private_key.expose()));
        let preshared = self.file.peers.iter().enumerate().filter_map(|(index, peer)| {
            Some((self.preshared_file(index), key::text(peer.preshared_key.as_ref()?.expose())))
        });
        std::iter::once(own).chain(preshared).collect()
    }

    fn key_file(&self) -> String {
        format!("{}.key", self.name)
    }

    /// No name has a dot in it, so those of peers with names and without are never the same.
    fn preshared_file(&self, index: usize) -> String {
        match self.file.peers.get(index).map(|peer| &peer.name).filter(|name| is_name(name)) {
            Some(name) => format!("{}.{name}.psk", self.name),
            None => format!("{}-{}.psk", self.name, index + 1),
        }
    }
}

fn quoted<T: std::fmt::Display>(values: &[T]) -> Vec<String> {
    values.iter().map(|value| format!("\"{value}\"")).collect()
}
