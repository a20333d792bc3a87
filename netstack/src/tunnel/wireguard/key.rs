//! The keys that users configure. Secret ones are wiped when dropped and never printed.

use core::fmt;

use subtle::ConstantTimeEq;
use x25519_dalek::StaticSecret;
use zeroize::Zeroizing;

use crate::rng::Rng;

/// Octets of every key.
pub const LEN: usize = 32;

/// A Curve25519 public key: who a peer is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; LEN]);

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

macro_rules! secret {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name(Zeroizing<[u8; LEN]>);

        impl $name {
            /// Takes over the key's octets.
            pub fn new(octets: [u8; LEN]) -> Self {
                $name(Zeroizing::new(octets))
            }

            /// The key's octets, for the protocol and for whoever writes a configuration.
            pub fn expose(&self) -> &[u8; LEN] {
                &self.0
            }
        }

        /// Takes the same time wherever the keys differ.
        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.0.ct_eq(&*other.0).into()
            }
        }

        impl Eq for $name {}

        /// Shows nothing of the key.
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    };
}

secret! {
    /// A Curve25519 private key: who we are.
    PrivateKey
}
secret! {
    /// A key that two peers share besides their public keys, against whoever breaks those some day. All zeros is none.
    PresharedKey
}

impl PublicKey {
    /// The public key that belongs to a private one.
    pub fn of(private: &[u8; LEN]) -> Self {
        PublicKey(x25519_dalek::PublicKey::from(&StaticSecret::from(*private)).to_bytes())
    }
}

impl PrivateKey {
    /// A new key, in the form in which other tools write it (RFC 7748 §5: some bits are fixed).
    pub fn generate(rng: &mut (impl Rng + ?Sized)) -> Self {
        let mut octets = Zeroizing::new([0; LEN]);
        rng.fill(&mut *octets);
        let [first, .., last] = &mut *octets;
        *first &= 0xf8;
        *last = *last & 0x7f | 0x40;
        PrivateKey(octets)
    }

    /// The public key that belongs to it.
    pub fn public(&self) -> PublicKey {
        PublicKey::of(&self.0)
    }
}

impl PresharedKey {
    /// A new key.
    pub fn generate(rng: &mut (impl Rng + ?Sized)) -> Self {
        let mut octets = Zeroizing::new([0; LEN]);
        rng.fill(&mut *octets);
        PresharedKey(octets)
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;
    use crate::rng::SeededRng;

    /// RFC 7748 §6.1.
    #[test]
    fn rfc7748_6_1_a_public_key_follows_from_the_private_one() {
        let alice = PrivateKey::new([
            0x77, 0x07, 0x6d, 0x0a, 0x73, 0x18, 0xa5, 0x7d, 0x3c, 0x16, 0xc1, 0x72, 0x51, 0xb2, 0x66, 0x45,
            0xdf, 0x4c, 0x2f, 0x87, 0xeb, 0xc0, 0x99, 0x2a, 0xb1, 0x77, 0xfb, 0xa5, 0x1d, 0xb9, 0x2c, 0x2a,
        ]);
        let public = format!("{:?}", alice.public());
        assert_eq!(public, "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
    }

    #[test]
    fn secret_keys_do_not_show_themselves() {
        let mut rng = SeededRng::from_u64(1);
        let (private, preshared) = (PrivateKey::generate(&mut rng), PresharedKey::generate(&mut rng));
        assert_eq!(format!("{private:?} {preshared:?}"), "PrivateKey(…) PresharedKey(…)");
        assert_ne!(private, PrivateKey::generate(&mut rng));
        assert_eq!(private, private.clone());
    }

    #[test]
    fn a_generated_key_has_the_fixed_bits() {
        let mut rng = SeededRng::from_u64(2);
        for _ in 0..100 {
            let [first, .., last] = *PrivateKey::generate(&mut rng).expose();
            assert_eq!((first & 7, last & 0xc0), (0, 0x40));
        }
    }
}
