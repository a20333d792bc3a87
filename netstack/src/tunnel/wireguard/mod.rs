//! WireGuard (Donenfeld: "WireGuard: Next Generation Kernel Network Tunnel", NDSS 2017).

mod key;

pub use key::{PresharedKey, PrivateKey, PublicKey};
