//! Zero-copy views and builders for wire formats.

pub mod checksum;
pub mod ipv4;
pub mod octets;
