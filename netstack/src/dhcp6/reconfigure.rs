//! How a client knows that a Reconfigure comes from the server that serves it (RKAP, RFC 8415 §20.4).
//!
//! The server hands the client a key in a Reply. A later Reconfigure bears an HMAC-MD5 of the whole message under that key, and
//! a number that only ever grows.

use core::fmt;

use md5::{Digest, Md5};
use zeroize::Zeroizing;

use super::message::Message;
use super::option::code;

/// Protocol RKAP, algorithm HMAC-MD5, replay detection by a growing number.
const METHOD: [u8; 3] = [3, 1, 0];
/// The value is the key.
const KEY_VALUE: u8 = 1;
/// The value is the digest of the message.
const DIGEST_VALUE: u8 = 2;

/// The key that a server has handed out, and the highest number it has used.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ReconfigureKey {
    key: Zeroizing<[u8; 16]>,
    replay: u64,
}

impl ReconfigureKey {
    /// The key in a Reply.
    pub(crate) fn from_reply(reply: Message<'_>) -> Option<Self> {
        let (KEY_VALUE, replay, key, _) = authentication(reply)? else { return None };
        Some(ReconfigureKey { key: Zeroizing::new(key), replay })
    }

    /// True when `message` was made by who knows the key, after every other one that this has been true for.
    pub(crate) fn accepts(&mut self, message: Message<'_>) -> bool {
        let Some((DIGEST_VALUE, replay, digest, at)) = authentication(message) else { return false };
        let Some((before, after)) = message.as_bytes().split_at_checked(at) else { return false };
        let expected = hmac_md5(&*self.key, &[before, &[0; 16], after.get(16..).unwrap_or_default()]);
        // Every octet is looked at, so that the time taken tells nothing.
        let differs = expected.iter().zip(digest).fold(0, |differs, (a, b)| differs | (a ^ b));
        if differs != 0 || replay <= self.replay {
            return false;
        }
        self.replay = replay;
        true
    }
}

impl fmt::Debug for ReconfigureKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReconfigureKey")
    }
}

/// The authentication option: type of the value, replay number, value, and where in the message the value is.
fn authentication(message: Message<'_>) -> Option<(u8, u64, [u8; 16], usize)> {
    let mut at = 4usize;
    for (code, value) in message.options.iter() {
        at = at.saturating_add(4);
        if code == code::AUTHENTICATION {
            let (method, rest) = value.split_first_chunk::<3>()?;
            let (replay, rest) = rest.split_first_chunk::<8>()?;
            let (&kind, value) = rest.split_first()?;
            let value = value.try_into().ok().filter(|_| *method == METHOD)?;
            return Some((kind, u64::from_be_bytes(*replay), value, at.saturating_add(12)));
        }
        at = at.saturating_add(value.len());
    }
    None
}

/// HMAC-MD5 (RFC 2104) of `parts`, one behind the other.
fn hmac_md5(key: &[u8], parts: &[&[u8]]) -> [u8; 16] {
    let mut block = Zeroizing::new([0u8; 64]);
    let shortened: [u8; 16];
    let key = if key.len() > block.len() {
        shortened = Md5::digest(key).into();
        &shortened
    } else {
        key
    };
    for (to, from) in block.iter_mut().zip(key) {
        *to = *from;
    }
    let inner = Md5::new().chain_update(block.map(|octet| octet ^ 0x36));
    let inner = parts.iter().fold(inner, |inner, part| inner.chain_update(part)).finalize();
    Md5::new().chain_update(block.map(|octet| octet ^ 0x5c)).chain_update(inner).finalize().into()
}

#[cfg(test)]
pub(crate) mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::dhcp6::message::{Builder, MessageType};

    /// The value of an authentication option.
    pub(crate) fn value(kind: u8, replay: u64, value: [u8; 16]) -> Vec<u8> {
        [&METHOD[..], &replay.to_be_bytes(), &[kind], &value].concat()
    }

    /// Ends a message with an authentication option that `key` signs.
    pub(crate) fn sign(mut message: Builder, key: [u8; 16], replay: u64) -> Vec<u8> {
        assert!(message.option(code::AUTHENTICATION, &value(DIGEST_VALUE, replay, [0; 16])));
        let mut bytes = message.finish();
        let digest = hmac_md5(&key, &[&bytes]);
        let at = bytes.len() - 16;
        bytes[at..].copy_from_slice(&digest);
        bytes
    }

    /// RFC 2202 §2, test cases 1 to 7.
    #[test]
    fn rfc2202_hmac_md5() {
        let hex = |digest: [u8; 16]| u128::from_be_bytes(digest);
        let counting: Vec<u8> = (1..=25).collect();
        for (key, data, digest) in [
            (&[0x0b; 16][..], &b"Hi There"[..], 0x9294727a3638bb1c13f48ef8158bfc9d),
            (b"Jefe", b"what do ya want for nothing?", 0x750c783e6ab0b503eaa86e310a5db738),
            (&[0xaa; 16], &[0xdd; 50], 0x56be34521d144c88dbb8c733f0e8b3f6),
            (&counting, &[0xcd; 50], 0x697eaf0aca3a3aea3a75164746ffaa79),
            (&[0x0c; 16], b"Test With Truncation", 0x56461ef2342edc00f9bab995690efd4c),
            (
                &[0xaa; 80],
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                0x6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd,
            ),
            (
                &[0xaa; 80],
                b"Test Using Larger Than Block-Size Key and Larger Than One Block-Size Data",
                0x6f630fad67cda0ee1fb1f562db3aa53e,
            ),
        ] {
            assert_eq!(hex(hmac_md5(key, &[data])), digest);
            let (front, back) = data.split_at(data.len() / 2);
            assert_eq!(hex(hmac_md5(key, &[front, back])), digest, "in pieces");
        }
    }

    fn key(replay: u64) -> ReconfigureKey {
        let mut reply = Builder::new(MessageType::Reply, [1, 2, 3], 200);
        assert!(reply.option(code::AUTHENTICATION, &value(KEY_VALUE, replay, [7; 16])));
        ReconfigureKey::from_reply(Message::parse(&reply.finish()).unwrap()).unwrap()
    }

    fn reconfigure() -> Builder {
        let mut message = Builder::new(MessageType::Reconfigure, [0; 3], 200);
        assert!(message.option(code::RECONFIGURE_MESSAGE, &[5]));
        message
    }

    #[test]
    fn rfc8415_20_4_a_reconfigure_is_signed_and_never_repeated() {
        let mut key = key(10);
        let mut accepts = |bytes: &[u8]| key.accepts(Message::parse(bytes).unwrap());
        assert!(!accepts(&sign(reconfigure(), [7; 16], 10)), "the number of the key itself");
        let good = sign(reconfigure(), [7; 16], 11);
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            if let Some(message) = Message::parse(&bad) {
                assert!(!key.accepts(message), "bit {bit}");
            }
        }
        let mut accepts = |bytes: &[u8]| key.accepts(Message::parse(bytes).unwrap());
        assert!(!accepts(&sign(reconfigure(), [8; 16], 12)), "another key");
        assert!(accepts(&good));
        assert!(!accepts(&good), "a replay");
        assert!(!accepts(&reconfigure().finish()), "unsigned");
        assert!(accepts(&sign(reconfigure(), [7; 16], u64::MAX)));
    }

    #[test]
    fn a_key_is_none_unless_it_is_whole() {
        let good = value(KEY_VALUE, 1, [7; 16]);
        for len in 0..good.len() + 2 {
            let mut bytes = good.clone();
            bytes.resize(len, 0);
            let mut reply = Builder::new(MessageType::Reply, [0; 3], 200);
            reply.option(code::AUTHENTICATION, &bytes);
            let reply = reply.finish();
            let key = ReconfigureKey::from_reply(Message::parse(&reply).unwrap());
            assert_eq!(key.is_some(), len == good.len(), "{len} octets");
        }
        for at in 0..3 {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            let mut reply = Builder::new(MessageType::Reply, [0; 3], 200);
            reply.option(code::AUTHENTICATION, &bytes);
            assert!(ReconfigureKey::from_reply(Message::parse(&reply.finish()).unwrap()).is_none());
        }
    }
}
