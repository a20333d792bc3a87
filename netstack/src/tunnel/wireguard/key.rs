//! Keys in memory. Secret ones are never printed, and wiped when dropped.

use core::fmt;

use zeroize::Zeroizing;

/// A peer's static public key (Curve25519, 32 octets).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 32]);

macro_rules! secret {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq)]
        pub struct $name(Zeroizing<[u8; 32]>);

        impl $name {
            /// Takes over the key's octets.
            pub fn new(octets: [u8; 32]) -> Self {
                $name(Zeroizing::new(octets))
            }

            /// The key itself, for the handshake only.
            pub fn expose(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    };
}

secret!(
    /// Our own static private key (Curve25519, 32 octets).
    PrivateKey
);
secret!(
    /// A key that two peers share beside their own ones (32 octets).
    PresharedKey
);
