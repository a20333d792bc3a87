//! WireGuard's keys as people write them: 32 octets in base64.

use data_encoding::BASE64;
use genkan_netstack::tunnel::wireguard::{PrivateKey, PublicKey};
use x25519_dalek::{X25519_BASEPOINT_BYTES, x25519};
use zeroize::Zeroizing;

/// The key that `text` is, 32 octets in 44 characters of base64.
pub fn parse(text: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    // A strict decoder: what comes after the last octet must be zero.
    let octets = Zeroizing::new(BASE64.decode(text).ok()?);
    let octets: [u8; 32] = octets.as_slice().try_into().ok()?;
    Some(Zeroizing::new(octets))
}

/// A key as text. It may be a secret one, so the text is wiped, too.
pub fn text(octets: &[u8; 32]) -> Zeroizing<String> {
    Zeroizing::new(BASE64.encode(octets))
}

/// The private key that random octets make (RFC 7748 §5: what every implementation makes of them is written out).
pub fn private(random: [u8; 32]) -> PrivateKey {
    let mut octets = Zeroizing::new(random);
    if let [first, .., last] = octets.as_mut_slice() {
        *first &= 0xf8;
        *last = *last & 0x7f | 0x40;
    }
    PrivateKey::new(*octets)
}

/// The public key of a private one (RFC 7748 §6.1).
pub fn public(key: &PrivateKey) -> PublicKey {
    PublicKey(x25519(*key.expose(), X25519_BASEPOINT_BYTES))
}

/// What a peer without a name is called: how its key begins.
pub(crate) fn nickname(key: PublicKey) -> String {
    let mut text = text(&key.0).to_string();
    text.truncate(8);
    text + "…"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_32_octets_in_base64() {
        let written = b"xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=";
        let key = parse(written).unwrap();
        assert_eq!(text(&key).as_bytes(), written);
        for wrong in [
            &b""[..],
            b"xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg",
            b"xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dh=",
            b"xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=\n",
            b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==",
            b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        ] {
            assert!(parse(wrong).is_none(), "{}", String::from_utf8_lossy(wrong));
        }
    }

    /// RFC 7748 §6.1: the keys of Alice.
    #[test]
    fn rfc7748_6_1_a_private_key_has_its_public_one() {
        let private = "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=";
        let public_key = public(&PrivateKey::new(*parse(private.as_bytes()).unwrap()));
        assert_eq!(text(&public_key.0).as_str(), "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=");
        assert_eq!(nickname(public_key), "hSDwCYkw…");
    }

    /// RFC 7748 §5: the bits that mean nothing are set in one way.
    #[test]
    fn rfc7748_5_a_private_key_is_written_as_it_is_used() {
        for random in [[0; 32], [255; 32], [0x5a; 32]] {
            let key = private(random);
            let (first, last) = (key.expose()[0], key.expose()[31]);
            assert_eq!((first & 7, last & 0xc0), (0, 0x40));
            assert_eq!(public(&key), public(&PrivateKey::new(random)));
        }
    }
}
