//! What packets of others travel in: WireGuard between sites.

pub mod wireguard;
