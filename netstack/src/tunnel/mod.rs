//! What packets and frames of others travel in: WireGuard between sites, and VXLAN in it.

pub mod vxlan;
pub mod wireguard;
