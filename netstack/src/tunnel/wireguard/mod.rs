//! WireGuard: IP packets, encrypted, between peers that know each other by their public keys
//! (J. A. Donenfeld, "WireGuard: Next Generation Kernel Network Tunnel", the whitepaper below).
//!
//! How it works, file by file:
//!
//! 1. [`key`]: the keys that users configure. `crypto`: hash, MAC, key derivation, sealed boxes of the handshake.
//! 2. [`message`]: the four messages, taken apart. [`Kind::of`] tells handshakes from data, and refuses what has not the
//!    length of its type.
//! 3. [`Negotiator`] (Control has one for each interface) reads and writes handshakes: `handshake` is Noise_IKpsk2, `cookie`
//!    the two MACs of each message and the proof of address under load, `clock` the time stamps that never go back. What
//!    comes of it is a [`Keypair`].
//! 4. [`Tunnel`] (the Forwarder has one for each interface) carries data with keypairs: [`AllowedIps`] says whose a
//!    destination is and which sources a peer may use, [`keypair`] seals and opens in place, [`replay`] refuses what came
//!    before. It knows when keys are wanted and asks for them; it sends the keepalives.
//!
//! Nothing is answered that does not prove to know our public key (MAC1), and nothing of a stranger is kept.

pub mod allowed;
mod clock;
mod cookie;
mod crypto;
mod handshake;
pub mod key;
pub mod keypair;
pub mod message;
pub mod negotiator;
pub mod replay;
#[cfg(test)]
mod tests;
pub mod tunnel;

pub use allowed::AllowedIps;
pub use key::{PresharedKey, PrivateKey, PublicKey};
pub use keypair::Keypair;
pub use message::Kind;
pub use negotiator::{Destination, Event, Failure, HandshakeStatus, Input, Negotiator, Stranger};
pub use tunnel::{Opened, PeerStatus, Seal, Tunnel};

use crate::time::Duration;

/// Octets that a data message adds to the packet inside: header and tag. Padding comes on top.
pub const OVERHEAD: usize = message::DATA_HEADER + crypto::TAG;
/// A packet inside is padded with zeros to a multiple of so many octets (whitepaper §5.4.6).
pub const PADDING: usize = 16;

/// Messages sent with one keypair after which another is asked for (whitepaper §6.1).
pub const REKEY_AFTER_MESSAGES: u64 = 1 << 60;
/// Messages after which a keypair is of no use any more, in either direction: the largest counter but for the replay window
/// (whitepaper §6.1).
pub const REJECT_AFTER_MESSAGES: u64 = u64::MAX - replay::WINDOW - 1;
/// Age at which the initiator of a keypair that is in use asks for another (whitepaper §6.1).
pub const REKEY_AFTER_TIME: Duration = Duration::from_secs(120);
/// Age at which a keypair is of no use any more (whitepaper §6.1).
pub const REJECT_AFTER_TIME: Duration = Duration::from_secs(180);
/// Time for which a handshake is tried (whitepaper §6.1).
pub const REKEY_ATTEMPT_TIME: Duration = Duration::from_secs(90);
/// Time between two initiations to one peer, and least time between two wishes for one (whitepaper §6.1).
pub const REKEY_TIMEOUT: Duration = Duration::from_secs(5);
/// Most that chance adds to [`REKEY_TIMEOUT`], so that two peers do not go on asking each other at the same time.
pub const REKEY_JITTER: Duration = Duration::from_millis(333);
/// Time after which data that came is answered, if by nothing else, by a keepalive (whitepaper §6.1).
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time after the last handshake at which every key of a peer is wiped (whitepaper §6.3).
pub const WIPE_AFTER_TIME: Duration = Duration::from_secs(540);
