//! The arithmetic of MS-CHAPv2 (RFC 2759 §8) and the text of its Success and Failure packets (§5, §6).
//!
//! DES, MD4 and SHA-1 are what the protocol prescribes; it proves little to one who can listen. It is here because
//! some networks ask for it.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use des::Des;
use des::cipher::{BlockCipherEncrypt, KeyInit};
use md4::{Digest, Md4};
use sha1::Sha1;
use zeroize::Zeroizing;

use crate::secret::Secret;
use crate::wire::auth::{ChapValue, MsChapV2Response};

const SERVER_TO_CLIENT: &[u8] = b"Magic server to client signing constant";
const PADDING: &[u8] = b"Pad to make it do more than one iteration";

/// Both challenges and the name that is proven, from which all answers follow.
#[derive(Clone, Copy)]
pub(super) struct Exchange<'a> {
    /// The server's challenge.
    pub(super) authenticator_challenge: &'a [u8; 16],
    /// The client's.
    pub(super) peer_challenge: &'a [u8; 16],
    /// The client's name. A domain in front of it is left out.
    pub(super) name: &'a [u8],
    /// Its password.
    pub(super) password: &'a [u8],
}

impl Exchange<'_> {
    /// GenerateNTResponse (RFC 2759 §8.1).
    pub(super) fn nt_response(&self) -> [u8; 24] {
        let hash = password_hash(self.password);
        let challenge = self.challenge_hash();
        let mut keys = Zeroizing::new([0u8; 21]);
        for (to, from) in keys.iter_mut().zip(hash.iter()) {
            *to = *from;
        }
        let mut response = [0; 24];
        for (out, key) in response.chunks_mut(8).zip(keys.chunks(7)) {
            for (to, from) in out.iter_mut().zip(des_encrypt(challenge, key)) {
                *to = from;
            }
        }
        response
    }

    /// GenerateAuthenticatorResponse (RFC 2759 §8.7), before it is written in hexadecimal.
    pub(super) fn authenticator_response(&self, nt_response: &[u8; 24]) -> [u8; 20] {
        let hash: [u8; 16] = Md4::digest(password_hash(self.password).as_slice()).into();
        let digest = Sha1::new()
            .chain_update(hash)
            .chain_update(nt_response)
            .chain_update(SERVER_TO_CLIENT)
            .finalize();
        Sha1::new()
            .chain_update(digest)
            .chain_update(self.challenge_hash())
            .chain_update(PADDING)
            .finalize()
            .into()
    }

    /// ChallengeHash (RFC 2759 §8.2).
    fn challenge_hash(&self) -> [u8; 8] {
        let user = self.name.rsplit(|&octet| octet == b'\\').next().unwrap_or(self.name);
        let digest: [u8; 20] = Sha1::new()
            .chain_update(self.peer_challenge)
            .chain_update(self.authenticator_challenge)
            .chain_update(user)
            .finalize()
            .into();
        digest.first_chunk().copied().unwrap_or_default()
    }
}

/// The Success message that proves to a client that its server knows the password as well: for who stands in for a server
/// whose answer is on record, but was to another challenge. `challenge` and `response` are the data of the CHAP packets.
/// `None` when the response is none of MS-CHAPv2, or its sender is not in `logins`: names and passwords.
pub fn success_for(logins: &[(Vec<u8>, Secret)], challenge: &[u8], response: &[u8]) -> Option<Vec<u8>> {
    let (challenge, proof) = (ChapValue::parse(challenge)?, ChapValue::parse(response)?);
    let response = MsChapV2Response::parse(proof.value)?;
    let (name, password) = logins.iter().find(|(name, _)| name == proof.name)?;
    let exchange = Exchange {
        authenticator_challenge: challenge.value.try_into().ok()?,
        peer_challenge: &response.peer_challenge,
        name,
        password: password.expose(),
    };
    Some(success_message(&exchange.authenticator_response(&response.nt_response)))
}

/// NtPasswordHash (RFC 2759 §8.3): MD4 of the password in UTF-16. A password that is not UTF-8 is taken octet by octet.
fn password_hash(password: &[u8]) -> Zeroizing<[u8; 16]> {
    let mut wide = Zeroizing::new(Vec::with_capacity(password.len().saturating_mul(2)));
    match core::str::from_utf8(password) {
        Ok(text) => text.encode_utf16().for_each(|unit| wide.extend(unit.to_le_bytes())),
        Err(_) => password.iter().for_each(|&octet| wide.extend([octet, 0])),
    }
    Zeroizing::new(Md4::digest(wide.as_slice()).into())
}

/// DesEncrypt (RFC 2759 §8.6): the 56 bits of `key`, seven to an octet, with room for the parity that DES ignores.
fn des_encrypt(clear: [u8; 8], key: &[u8]) -> [u8; 8] {
    let bits = key.iter().fold(0u64, |bits, &octet| bits << 8 | u64::from(octet));
    let mut spread = Zeroizing::new([0u8; 8]);
    for (octet, shift) in spread.iter_mut().zip([49, 42, 35, 28, 21, 14, 7, 0]) {
        *octet = ((bits >> shift & 0x7f) << 1) as u8;
    }
    let mut block = clear.into();
    Des::new(&(*spread).into()).encrypt_block(&mut block);
    block.into()
}

/// The message of a Success packet: "S=" and the authenticator response.
pub(super) fn success_message(response: &[u8; 20]) -> Vec<u8> {
    format!("S={} M=welcome", hexadecimal(response)).into_bytes()
}

/// The authenticator response in a Success packet and the text behind it.
pub(super) fn read_success(message: &[u8]) -> Option<([u8; 20], &[u8])> {
    let (digits, rest) = message.strip_prefix(b"S=")?.split_first_chunk::<40>()?;
    let mut response = [0; 20];
    for (octet, pair) in response.iter_mut().zip(digits.chunks(2)) {
        let pair =
            core::str::from_utf8(pair).ok().filter(|pair| pair.chars().all(|c| c.is_ascii_hexdigit()))?;
        *octet = u8::from_str_radix(pair, 16).ok()?;
    }
    Some((response, text(rest).unwrap_or_default()))
}

/// The message of a Failure packet that allows no other try: ERROR_AUTHENTICATION_FAILURE.
pub(super) fn failure_message(challenge: &[u8; 16], text: &str) -> Vec<u8> {
    format!("E=691 R=0 C={} V=3 M={text}", hexadecimal(challenge)).into_bytes()
}

/// What a Failure packet says to the user: its text, or else the meaning of its error number.
pub(super) fn read_failure(message: &[u8]) -> &[u8] {
    if let Some(text) = text(message).filter(|text| !text.is_empty()) {
        return text;
    }
    let number = message.strip_prefix(b"E=").unwrap_or_default();
    match number.get(..3).unwrap_or_default() {
        b"646" => b"not allowed at this hour",
        b"647" => b"the account is disabled",
        b"648" => b"the password has expired",
        b"649" => b"the account may not dial in",
        b"691" => b"wrong name or password",
        _ => message,
    }
}

/// What follows "M=".
fn text(message: &[u8]) -> Option<&[u8]> {
    let at = message.windows(2).position(|pair| pair == b"M=")?;
    message.get(at.checked_add(2)?..)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|octet| format!("{octet:02X}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const AUTHENTICATOR: [u8; 16] =
        [0x5b, 0x5d, 0x7c, 0x7d, 0x7b, 0x3f, 0x2f, 0x3e, 0x3c, 0x2c, 0x60, 0x21, 0x32, 0x26, 0x26, 0x28];
    const PEER: [u8; 16] =
        [0x21, 0x40, 0x23, 0x24, 0x25, 0x5e, 0x26, 0x2a, 0x28, 0x29, 0x5f, 0x2b, 0x3a, 0x33, 0x7c, 0x7e];

    fn exchange(name: &[u8]) -> Exchange<'_> {
        Exchange {
            authenticator_challenge: &AUTHENTICATOR,
            peer_challenge: &PEER,
            name,
            password: b"clientPass",
        }
    }

    /// rfc2759_9_2: the vectors of section 9.2.
    /// RFC 2759 VECTORS.
    #[test]
    fn rfc2759_9_2_vectors() {
        let exchange = exchange(b"User");
        assert_eq!(exchange.challenge_hash(), [0xd0, 0x2e, 0x43, 0x86, 0xbc, 0xe9, 0x12, 0x26]);
        assert_eq!(
            *password_hash(b"clientPass"),
            [0x44, 0xeb, 0xba, 0x8d, 0x53, 0x12, 0xb8, 0xd6, 0x11, 0x47, 0x44, 0x11, 0xf5, 0x69, 0x89, 0xae]
        );
        let response = exchange.nt_response();
        assert_eq!(
            response,
            [
                0x82, 0x30, 0x9e, 0xcd, 0x8d, 0x70, 0x8b, 0x5e, 0xa0, 0x8f, 0xaa, 0x39, 0x81, 0xcd, 0x83,
                0x54, 0x42, 0x33, 0x11, 0x4a, 0x3d, 0x85, 0xd6, 0xdf
            ]
        );
        let message = success_message(&exchange.authenticator_response(&response));
        assert!(message.starts_with(b"S=407A5589115FD0D6209F510FE9C04566932CDA56 "));
    }

    #[test]
    fn who_stands_in_for_a_server_proves_the_same() {
        let response =
            MsChapV2Response { peer_challenge: PEER, nt_response: exchange(b"User").nt_response() };
        let challenge = [&[16], &AUTHENTICATOR[..], b"server"].concat();
        let response = [&[49], &response.to_value()[..], b"User"].concat();
        let logins = [(b"User".to_vec(), Secret::new("clientPass"))];
        let message = success_for(&logins, &challenge, &response).unwrap();
        assert!(message.starts_with(b"S=407A5589115FD0D6209F510FE9C04566932CDA56 "));
        assert_eq!(success_for(&[], &challenge, &response), None);
        assert_eq!(success_for(&logins, &challenge[..10], &response), None);
        assert_eq!(success_for(&logins, &challenge, &challenge), None);
    }

    #[test]
    fn a_domain_in_front_of_the_name_is_left_out() {
        assert_eq!(exchange(b"DOMAIN\\User").nt_response(), exchange(b"User").nt_response());
    }

    #[test]
    fn success_messages_are_read_and_bad_ones_are_not() {
        let response = [0xa5; 20];
        let message = success_message(&response);
        assert_eq!(read_success(&message), Some((response, &b"welcome"[..])));
        assert_eq!(read_success(&message[..42]), Some((response, &b""[..])));
        for cut in 0..42 {
            assert_eq!(read_success(&message[..cut]), None);
        }
        for bit in 0..42 * 8 {
            let mut bytes = message.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let _ = read_success(&bytes);
        }
        assert_eq!(read_success(b"S=+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1"), None);
    }

    #[test]
    fn failure_messages_give_their_text_or_the_meaning_of_the_number() {
        let message = failure_message(&[1; 16], "no such user");
        assert_eq!(read_failure(&message), b"no such user");
        assert_eq!(read_failure(b"E=648 R=0 C=00 V=3"), b"the password has expired");
        assert_eq!(read_failure(b"E=64"), b"E=64");
        assert_eq!(read_failure(b"M="), b"M=");
        assert_eq!(read_failure(b""), b"");
    }
}
