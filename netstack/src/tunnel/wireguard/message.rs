//! The four messages (whitepaper §5.4), taken apart and put together. Numbers are little-endian.

use super::crypto::{MAC, NONCE, TAG};
use super::key::PublicKey;
use crate::ledger::DropReason;

/// Octets of a handshake initiation.
pub const INITIATION: usize = 148;
/// Octets of a handshake response.
pub const RESPONSE: usize = 92;
/// Octets of a cookie reply.
pub const COOKIE_REPLY: usize = 64;
/// Octets of the header of a data message.
pub const DATA_HEADER: usize = 16;
/// Octets of a time stamp (TAI64N).
pub const STAMP: usize = 12;

/// What a message is, by its type and length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A peer wants keys.
    Initiation,
    /// A peer agrees to keys.
    Response,
    /// A peer under load wants to see that we are where we say.
    CookieReply,
    /// A packet.
    Data,
}

impl Kind {
    /// What the UDP payload `datagram` is. An error when its type is none of WireGuard's or its length not that of its type
    /// (`DropReason::WireguardMalformed`).
    pub fn of(datagram: &[u8]) -> Result<Kind, DropReason> {
        let len = datagram.len();
        match datagram {
            [1, 0, 0, 0, ..] if len == INITIATION => Ok(Kind::Initiation),
            [2, 0, 0, 0, ..] if len == RESPONSE => Ok(Kind::Response),
            [3, 0, 0, 0, ..] if len == COOKIE_REPLY => Ok(Kind::CookieReply),
            [4, 0, 0, 0, ..] if len >= DATA_HEADER + TAG => Ok(Kind::Data),
            _ => Err(DropReason::WireguardMalformed),
        }
    }
}

/// A message of the handshake.
#[derive(Debug, Clone, Copy)]
pub enum Message<'a> {
    /// Type 1.
    Initiation(Initiation<'a>),
    /// Type 2.
    Response(Response<'a>),
    /// Type 3.
    CookieReply(CookieReply<'a>),
}

impl<'a> Message<'a> {
    /// The message that is all of `datagram`. Data is none of the handshake's.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, DropReason> {
        let message = match Kind::of(datagram)? {
            Kind::Initiation => Initiation::parse(datagram).map(Message::Initiation),
            Kind::Response => Response::parse(datagram).map(Message::Response),
            Kind::CookieReply => CookieReply::parse(datagram).map(Message::CookieReply),
            Kind::Data => None,
        };
        message.ok_or(DropReason::WireguardMalformed)
    }
}

/// A handshake initiation (whitepaper §5.4.2).
#[derive(Debug, Clone, Copy)]
pub struct Initiation<'a> {
    /// The index by which the initiator knows the handshake.
    pub sender: u32,
    /// The initiator's key of this handshake.
    pub ephemeral: PublicKey,
    /// The initiator's public key, sealed.
    pub sealed_static: &'a [u8; 32 + TAG],
    /// The initiator's time, sealed.
    pub sealed_stamp: &'a [u8; STAMP + TAG],
    /// The two MACs.
    pub macs: Macs<'a>,
}

impl<'a> Initiation<'a> {
    fn parse(datagram: &'a [u8]) -> Option<Self> {
        let macs = Macs::parse(datagram)?;
        let mut rest = datagram.get(4..)?;
        Some(Initiation {
            sender: number(&mut rest)?,
            ephemeral: PublicKey(*take(&mut rest)?),
            sealed_static: take(&mut rest)?,
            sealed_stamp: take(&mut rest)?,
            macs,
        })
    }

    /// The message without its MACs.
    pub fn write(
        sender: u32,
        ephemeral: &PublicKey,
        sealed_static: &[u8; 32 + TAG],
        sealed_stamp: &[u8; STAMP + TAG],
    ) -> [u8; INITIATION] {
        let mut out = [0; INITIATION];
        out[0] = 1;
        out[4..8].copy_from_slice(&sender.to_le_bytes());
        out[8..40].copy_from_slice(&ephemeral.0);
        out[40..88].copy_from_slice(sealed_static);
        out[88..116].copy_from_slice(sealed_stamp);
        out
    }
}

/// A handshake response (whitepaper §5.4.3).
#[derive(Debug, Clone, Copy)]
pub struct Response<'a> {
    /// The index by which the responder knows the handshake.
    pub sender: u32,
    /// The initiator's index.
    pub receiver: u32,
    /// The responder's key of this handshake.
    pub ephemeral: PublicKey,
    /// Nothing, sealed.
    pub sealed_nothing: &'a [u8; TAG],
    /// The two MACs.
    pub macs: Macs<'a>,
}

impl<'a> Response<'a> {
    fn parse(datagram: &'a [u8]) -> Option<Self> {
        let macs = Macs::parse(datagram)?;
        let mut rest = datagram.get(4..)?;
        Some(Response {
            sender: number(&mut rest)?,
            receiver: number(&mut rest)?,
            ephemeral: PublicKey(*take(&mut rest)?),
            sealed_nothing: take(&mut rest)?,
            macs,
        })
    }

    /// The message without its MACs.
    pub fn write(
        sender: u32,
        receiver: u32,
        ephemeral: &PublicKey,
        sealed_nothing: &[u8; TAG],
    ) -> [u8; RESPONSE] {
        let mut out = [0; RESPONSE];
        out[0] = 2;
        out[4..8].copy_from_slice(&sender.to_le_bytes());
        out[8..12].copy_from_slice(&receiver.to_le_bytes());
        out[12..44].copy_from_slice(&ephemeral.0);
        out[44..60].copy_from_slice(sealed_nothing);
        out
    }
}

/// The MACs at the end of an initiation or a response, and what they cover (whitepaper §5.4.4).
#[derive(Debug, Clone, Copy)]
pub struct Macs<'a> {
    /// What MAC1 covers: the message before it.
    pub covered: &'a [u8],
    /// Proof that the sender knows whom it talks to.
    pub mac1: &'a [u8; MAC],
    /// What MAC2 covers: the message before it, MAC1 included.
    pub covered_with_mac1: &'a [u8],
    /// Proof that the sender is where it says; zeros when it has no cookie.
    pub mac2: &'a [u8; MAC],
}

impl<'a> Macs<'a> {
    fn parse(datagram: &'a [u8]) -> Option<Self> {
        let (covered_with_mac1, mac2) = datagram.split_last_chunk()?;
        let (covered, mac1) = covered_with_mac1.split_last_chunk()?;
        Some(Macs { covered, mac1, covered_with_mac1, mac2 })
    }
}

/// A cookie reply (whitepaper §5.4.7).
#[derive(Debug, Clone, Copy)]
pub struct CookieReply<'a> {
    /// The sender's index in the message that it answers.
    pub receiver: u32,
    /// The nonce.
    pub nonce: &'a [u8; NONCE],
    /// The cookie, sealed.
    pub sealed_cookie: &'a [u8; MAC + TAG],
}

impl<'a> CookieReply<'a> {
    fn parse(datagram: &'a [u8]) -> Option<Self> {
        let mut rest = datagram.get(4..)?;
        Some(CookieReply {
            receiver: number(&mut rest)?,
            nonce: take(&mut rest)?,
            sealed_cookie: take(&mut rest)?,
        })
    }

    /// The message.
    pub fn write(receiver: u32, nonce: &[u8; NONCE], sealed_cookie: &[u8; MAC + TAG]) -> [u8; COOKIE_REPLY] {
        let mut out = [0; COOKIE_REPLY];
        out[0] = 3;
        out[4..8].copy_from_slice(&receiver.to_le_bytes());
        out[8..32].copy_from_slice(nonce);
        out[32..64].copy_from_slice(sealed_cookie);
        out
    }
}

/// The header of a data message (whitepaper §5.4.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataHeader {
    /// The receiver's index.
    pub receiver: u32,
    /// The number of the message among those of its keypair, from 0.
    pub counter: u64,
}

impl DataHeader {
    /// The header of a data message that is all of `datagram`.
    pub fn parse(datagram: &[u8]) -> Result<Self, DropReason> {
        if Kind::of(datagram)? != Kind::Data {
            return Err(DropReason::WireguardMalformed);
        }
        let mut rest = datagram.get(4..).unwrap_or_default();
        let receiver = number(&mut rest).ok_or(DropReason::WireguardMalformed)?;
        let counter = take(&mut rest).ok_or(DropReason::WireguardMalformed)?;
        Ok(DataHeader { receiver, counter: u64::from_le_bytes(*counter) })
    }

    /// Its octets.
    pub fn write(self) -> [u8; DATA_HEADER] {
        let mut out = [0; DATA_HEADER];
        out[0] = 4;
        out[4..8].copy_from_slice(&self.receiver.to_le_bytes());
        out[8..16].copy_from_slice(&self.counter.to_le_bytes());
        out
    }
}

/// The next `N` octets.
fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (taken, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(taken)
}

/// The next 32 bits as a number.
fn number(rest: &mut &[u8]) -> Option<u32> {
    take(rest).copied().map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let key = PublicKey([5; 32]);
        let mut octets = Initiation::write(7, &key, &[8; 48], &[9; 28]);
        octets[116..].fill(10);
        let Ok(Message::Initiation(read)) = Message::parse(&octets) else { panic!("an initiation") };
        assert_eq!((read.sender, read.ephemeral), (7, key));
        assert_eq!((read.sealed_static, read.sealed_stamp), (&[8; 48], &[9; 28]));
        assert_eq!((read.macs.mac1, read.macs.mac2), (&[10; MAC], &[10; MAC]));
        assert_eq!((read.macs.covered.len(), read.macs.covered_with_mac1.len()), (116, 132));

        let octets = Response::write(1, 0x0403_0201, &key, &[6; TAG]);
        assert_eq!(octets[8..12], [1, 2, 3, 4], "numbers are little-endian");
        let Ok(Message::Response(read)) = Message::parse(&octets) else { panic!("a response") };
        assert_eq!((read.sender, read.receiver, read.ephemeral), (1, 0x0403_0201, key));
        assert_eq!((read.sealed_nothing, read.macs.mac2), (&[6; TAG], &[0; MAC]));

        let octets = CookieReply::write(3, &[4; NONCE], &[5; 32]);
        let Ok(Message::CookieReply(read)) = Message::parse(&octets) else { panic!("a cookie reply") };
        assert_eq!((read.receiver, read.nonce, read.sealed_cookie), (3, &[4; NONCE], &[5; 32]));

        let header = DataHeader { receiver: 0xdead_beef, counter: u64::MAX - 1 };
        let mut octets = vec![0; 32];
        octets[..16].copy_from_slice(&header.write());
        assert_eq!(DataHeader::parse(&octets), Ok(header));
        assert!(Message::parse(&octets).is_err(), "data is for the Forwarder");
    }

    #[test]
    fn a_message_has_the_length_of_its_type_and_nothing_reserved() {
        let malformed = Err(DropReason::WireguardMalformed);
        for (kind, len) in [(1, INITIATION), (2, RESPONSE), (3, COOKIE_REPLY)] {
            for other in 0..200 {
                let mut octets = vec![0; other];
                octets.iter_mut().take(1).for_each(|first| *first = kind);
                assert_eq!(Kind::of(&octets).is_ok(), other == len);
                assert_eq!(Message::parse(&octets).is_ok(), other == len);
            }
        }
        for len in 0..32 {
            let octets = [&[4][..], &[0; 64]].concat();
            assert_eq!(Kind::of(&octets[..len]), malformed);
            assert!(DataHeader::parse(&octets[..len]).is_err());
        }
        for first in [0, 5, 255] {
            assert_eq!(Kind::of(&[&[first][..], &[0; 147]].concat()), malformed);
        }
        for reserved in 1..4 {
            let mut octets = Initiation::write(1, &PublicKey([0; 32]), &[0; 48], &[0; 28]);
            octets[reserved] = 1;
            assert_eq!(Kind::of(&octets), malformed);
        }
    }
}
