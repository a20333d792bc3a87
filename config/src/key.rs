//! WireGuard's keys as people write them: 32 octets in base64.

use data_encoding::BASE64;
use genkan_netstack::tunnel::wireguard::PublicKey;
use zeroize::Zeroizing;

/// A public key as complaints show one, in quotation marks.
pub const EXAMPLE: &str = "\"xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=\"";

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
        assert_eq!(nickname(PublicKey(*key)), "xTIBA5rb…");
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
}
