//! What the handshake is made of: Curve25519, BLAKE2s, the key derivation upon it, ChaCha20-Poly1305 (whitepaper §5.4).

use blake2::digest::consts::U16;
use blake2::digest::{KeyInit, Mac};
use blake2::{Blake2s256, Blake2sMac, Digest};
use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{ChaCha20Poly1305, XChaCha20Poly1305};
use subtle::ConstantTimeEq;
use x25519_dalek::StaticSecret;
use zeroize::Zeroizing;

use super::key::PublicKey;

/// A secret of one handshake, wiped when dropped.
pub type Key = Zeroizing<[u8; 32]>;

/// Octets of a MAC and of a cookie.
pub const MAC: usize = 16;
/// Octets of the tag behind every sealed part.
pub const TAG: usize = 16;
/// Octets of the nonce of a cookie reply.
pub const NONCE: usize = 24;

/// Octets that BLAKE2s takes in at a time: what HMAC pads a key to (RFC 2104 §2).
const BLOCK: usize = 64;

/// What the owners of two keys have in common, and nobody else. `None` for a public key with which everybody would have the
/// same in common (RFC 7748 §6.1).
pub fn agree(private: &[u8; 32], public: &PublicKey) -> Option<Key> {
    let shared = StaticSecret::from(*private).diffie_hellman(&public.0.into());
    shared.was_contributory().then(|| Zeroizing::new(shared.to_bytes()))
}

/// HASH of the parts, one behind the other.
pub fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Blake2s256::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize().into()
}

/// MAC of `input` with a key of 32 octets or fewer; `None` with a longer one.
pub fn mac(key: &[u8], input: &[u8]) -> Option<[u8; MAC]> {
    let mut mac = <Blake2sMac<U16> as KeyInit>::new_from_slice(key).ok()?;
    Mac::update(&mut mac, input);
    Some(mac.finalize().into_bytes().into())
}

/// Compares two MACs in the same time wherever they differ.
pub fn same(a: &[u8; MAC], b: &[u8; MAC]) -> bool {
    a.ct_eq(b).into()
}

/// HMAC (RFC 2104) with BLAKE2s. The parts are one behind the other.
fn hmac(key: &[u8; 32], parts: &[&[u8]]) -> Key {
    let padded = |with: u8| {
        let mut block = Zeroizing::new([with; BLOCK]);
        block.iter_mut().zip(key).for_each(|(to, from)| *to ^= from);
        block
    };
    let mut inner = Blake2s256::new().chain_update(*padded(0x36));
    parts.iter().for_each(|part| inner.update(part));
    let inner = Zeroizing::new(<[u8; 32]>::from(inner.finalize()));
    Zeroizing::new(Blake2s256::new().chain_update(*padded(0x5c)).chain_update(*inner).finalize().into())
}

/// KDF with `N` keys as output, at least one.
pub fn derive<const N: usize>(chaining: &[u8; 32], input: &[u8]) -> [Key; N] {
    let secret = hmac(chaining, &[input]);
    let mut last: Option<Key> = None;
    let mut number = 0u8;
    core::array::from_fn(|_| {
        number = number.wrapping_add(1);
        let before = last.as_ref().map_or(&[][..], |last| &last[..]);
        let key = hmac(&secret, &[before, &[number]]);
        last = Some(key.clone());
        key
    })
}

/// AEAD with counter 0: seals `plain` into `N` octets, the tag's among them. `None` when that is not what it takes.
pub fn seal<const N: usize>(key: &Key, associated: &[u8], plain: &[u8]) -> Option<[u8; N]> {
    let mut sealed = [0; N];
    let (body, place) = sealed.split_last_chunk_mut::<TAG>()?;
    if body.len() != plain.len() {
        return None;
    }
    body.copy_from_slice(plain);
    let cipher = ChaCha20Poly1305::new((&**key).into());
    let tag = cipher.encrypt_inout_detached(&Default::default(), associated, body.into()).ok()?;
    *place = tag.into();
    Some(sealed)
}

/// AEAD with counter 0: opens what [`seal`] made. `None` when it was made with something else.
pub fn open<const N: usize>(key: &Key, associated: &[u8], sealed: &[u8]) -> Option<[u8; N]> {
    let (body, tag) = sealed.split_last_chunk::<TAG>()?;
    let mut plain: [u8; N] = body.try_into().ok()?;
    let cipher = ChaCha20Poly1305::new((&**key).into());
    cipher
        .decrypt_inout_detached(&Default::default(), associated, plain.as_mut_slice().into(), tag.into())
        .ok()?;
    Some(plain)
}

/// XAEAD: seals a cookie.
pub fn seal_cookie(
    key: &[u8; 32],
    nonce: &[u8; NONCE],
    associated: &[u8],
    cookie: &[u8; MAC],
) -> Option<[u8; MAC + TAG]> {
    let mut sealed = [0; MAC + TAG];
    let (body, place) = sealed.split_last_chunk_mut::<TAG>()?;
    body.copy_from_slice(cookie);
    let cipher = XChaCha20Poly1305::new(key.into());
    *place = cipher.encrypt_inout_detached(nonce.into(), associated, body.into()).ok()?.into();
    Some(sealed)
}

/// XAEAD: opens a cookie.
pub fn open_cookie(
    key: &[u8; 32],
    nonce: &[u8; NONCE],
    associated: &[u8],
    sealed: &[u8; MAC + TAG],
) -> Option<[u8; MAC]> {
    let (body, tag) = sealed.split_last_chunk::<TAG>()?;
    let mut cookie: [u8; MAC] = body.try_into().ok()?;
    let cipher = XChaCha20Poly1305::new(key.into());
    cipher.decrypt_inout_detached(nonce.into(), associated, cookie.as_mut_slice().into(), tag.into()).ok()?;
    Some(cookie)
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;

    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|octet| format!("{octet:02x}")).collect()
    }

    /// RFC 7693 appendix B.
    #[test]
    fn rfc7693_b_the_hash_of_abc() {
        let digest = "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982";
        assert_eq!(hex(&hash(&[b"a", b"", b"bc"])), digest);
    }

    /// RFC 7748 §6.1.
    #[test]
    fn rfc7748_6_1_two_keys_agree() {
        let (alice, bob) = ([1; 32], [2; 32]);
        assert_eq!(agree(&alice, &PublicKey::of(&bob)), agree(&bob, &PublicKey::of(&alice)));
        assert_eq!(agree(&alice, &PublicKey([0; 32])), None, "a point of small order");
        assert_eq!(
            agree(&alice, &PublicKey(core::array::from_fn(|n| u8::from(n == 0)))),
            None,
            "another one"
        );
    }

    #[test]
    fn each_derived_key_is_another_and_the_first_do_not_depend_on_how_many() {
        let [one] = derive(&[7; 32], b"input");
        let [first, second, third] = derive(&[7; 32], b"input");
        assert_eq!(one, first);
        assert!(first != second && second != third && first != third);
        let [other] = derive::<1>(&[7; 32], b"Input");
        assert_ne!(one, other);
    }

    #[test]
    fn a_sealed_box_opens_with_the_same_and_nothing_else() {
        let (key, other) = (Zeroizing::new([1; 32]), Zeroizing::new([2; 32]));
        let sealed: [u8; 21] = seal(&key, b"header", b"hello").unwrap();
        assert_eq!(open(&key, b"header", &sealed), Some(*b"hello"));
        assert_eq!(open::<5>(&key, b"Header", &sealed), None);
        assert_eq!(open::<5>(&other, b"header", &sealed), None);
        assert_eq!(open::<4>(&key, b"header", &sealed), None);
        assert_eq!(open::<5>(&key, b"header", &sealed[..15]), None);
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open::<5>(&key, b"header", &flipped), None);
        }
        assert!(seal::<20>(&key, b"", b"hello").is_none() && seal::<3>(&key, b"", b"").is_none());
    }

    #[test]
    fn a_sealed_cookie_belongs_to_its_message() {
        let sealed = seal_cookie(&[1; 32], &[2; NONCE], &[3; MAC], &[4; MAC]).unwrap();
        assert_eq!(open_cookie(&[1; 32], &[2; NONCE], &[3; MAC], &sealed), Some([4; MAC]));
        assert_eq!(open_cookie(&[1; 32], &[2; NONCE], &[5; MAC], &sealed), None);
        assert_eq!(open_cookie(&[1; 32], &[5; NONCE], &[3; MAC], &sealed), None);
        assert_eq!(open_cookie(&[5; 32], &[2; NONCE], &[3; MAC], &sealed), None);
    }
}
