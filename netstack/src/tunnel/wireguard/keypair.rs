//! The keys of one handshake: they seal what goes to the peer and open what comes from it, in place.
//!
//! ```text
//! before seal:              | inner packet |
//! after it:   | header (16) | inner packet, padding, sealed | tag (16) |      = the UDP payload
//! ```
//!
//! The packet stays where it is; the header goes into the frame's headroom and the tag behind it.

use alloc::boxed::Box;
use core::fmt;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

use super::crypto::Key;
use super::crypto::TAG;
use super::message::{DATA_HEADER, DataHeader};
use super::replay::Window;
use super::{PADDING, REJECT_AFTER_MESSAGES};
use crate::frame::{Checksum, Frame, Offload};
use crate::ledger::DropReason;
use crate::time::Instant;

/// The keys of one handshake, the counter of what was sent and the window of what came. The keys are overwritten when it is
/// dropped.
pub struct Keypair(Box<Inner>);

struct Inner {
    sending: LessSafeKey,
    receiving: LessSafeKey,
    local_index: u32,
    remote_index: u32,
    initiator: bool,
    created: Instant,
    /// The counter of the next message.
    counter: u64,
    window: Window,
}

impl Keypair {
    /// The keypair of a handshake that was completed at `created`.
    pub(super) fn new(
        created: Instant,
        initiator: bool,
        (local_index, remote_index): (u32, u32),
        sending: &Key,
        receiving: &Key,
    ) -> Option<Keypair> {
        Some(Keypair(Box::new(Inner {
            sending: cipher(sending)?,
            receiving: cipher(receiving)?,
            local_index,
            remote_index,
            initiator,
            created,
            counter: 0,
            window: Window::default(),
        })))
    }

    /// When the handshake was completed here.
    pub fn created(&self) -> Instant {
        self.0.created
    }

    /// True when we asked for it: then we also ask for the next one.
    pub fn initiator(&self) -> bool {
        self.0.initiator
    }

    /// The index by which the peer addresses it.
    pub fn local_index(&self) -> u32 {
        self.0.local_index
    }

    /// The index by which we address it.
    pub fn remote_index(&self) -> u32 {
        self.0.remote_index
    }

    /// How many messages were sealed.
    pub fn sealed(&self) -> u64 {
        self.0.counter
    }

    /// How many messages did not come, of those up to the highest counter that did.
    pub fn missing(&self) -> u64 {
        self.0.window.missing()
    }

    /// Makes the inner packet in `frame` a data message. It is padded with zeros to a multiple of [`PADDING`], but not beyond
    /// `pad_to` octets: the MTU of the interface. Its checksums must be whole.
    ///
    /// An error changes nothing: [`DropReason::WireguardNoKeys`] after [`REJECT_AFTER_MESSAGES`], [`DropReason::Internal`]
    /// when the frame has no room for [`super::OVERHEAD`] and padding, or leaves work for a device.
    pub fn seal(&mut self, frame: &mut Frame, pad_to: usize) -> Result<(), DropReason> {
        let keys = &mut *self.0;
        if keys.counter >= REJECT_AFTER_MESSAGES {
            return Err(DropReason::WireguardNoKeys);
        }
        let padding = padding(frame.len(), pad_to);
        let undone =
            frame.offload.gso.is_some() || matches!(frame.offload.checksum, Checksum::Partial { .. });
        if undone || frame.headroom() < DATA_HEADER || frame.tailroom() < padding.saturating_add(TAG) {
            return Err(DropReason::Internal);
        }
        frame.put(padding).ok_or(DropReason::Internal)?.fill(0);
        let nonce = nonce(keys.counter);
        let tag = keys.sending.seal_in_place_separate_tag(nonce, Aad::empty(), frame.bytes_mut());
        let tag = tag.map_err(|_| DropReason::Internal)?;
        let header = DataHeader { receiver: keys.remote_index, counter: keys.counter };
        frame.offload = Offload::default();
        if !frame.extend(tag.as_ref()) {
            return Err(DropReason::Internal);
        }
        frame.push(DATA_HEADER).ok_or(DropReason::Internal)?.copy_from_slice(&header.write());
        keys.counter = keys.counter.saturating_add(1);
        Ok(())
    }

    /// Makes the data message in `frame`, a UDP payload, the inner packet again, with its padding. An empty packet is a
    /// keepalive.
    ///
    /// Errors: [`DropReason::WireguardMalformed`], [`DropReason::WireguardUnknownIndex`] when the message is for another
    /// keypair, [`DropReason::WireguardReplay`], [`DropReason::WireguardDecrypt`]. After an error the keypair is as before;
    /// what is in the frame is of no use.
    pub fn open(&mut self, frame: &mut Frame) -> Result<(), DropReason> {
        let keys = &mut *self.0;
        let header = DataHeader::parse(frame.bytes())?;
        if header.receiver != keys.local_index {
            return Err(DropReason::WireguardUnknownIndex);
        }
        if !keys.window.is_new(header.counter) {
            return Err(DropReason::WireguardReplay);
        }
        let sealed = frame.bytes_mut().get_mut(DATA_HEADER..).ok_or(DropReason::WireguardMalformed)?;
        let plain = keys.receiving.open_in_place(nonce(header.counter), Aad::empty(), sealed);
        let len = plain.map_err(|_| DropReason::WireguardDecrypt)?.len();
        keys.window.remember(header.counter);
        // What the device found out about the outer packet says nothing of the inner one.
        frame.offload = Offload::default();
        frame.pull(DATA_HEADER);
        frame.truncate(len);
        Ok(())
    }

    /// As if `count` messages had been sealed.
    #[cfg(test)]
    pub(super) fn set_sealed(&mut self, count: u64) {
        self.0.counter = count;
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        for key in [&mut self.sending, &mut self.receiving] {
            if let Some(zeros) = cipher(&Key::default()) {
                *key = zeros;
                // So that the write is not left out for being the last one.
                core::hint::black_box(key);
            }
        }
    }
}

impl fmt::Debug for Keypair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { local_index, remote_index, .. } = *self.0;
        write!(f, "Keypair({local_index:08x} here, {remote_index:08x} there)")
    }
}

fn cipher(key: &Key) -> Option<LessSafeKey> {
    UnboundKey::new(&CHACHA20_POLY1305, &key[..]).ok().map(LessSafeKey::new)
}

/// Four octets of zeros, then the counter (whitepaper §5.4.6).
fn nonce(counter: u64) -> Nonce {
    let [a, b, c, d, e, f, g, h] = counter.to_le_bytes();
    Nonce::assume_unique_for_key([0, 0, 0, 0, a, b, c, d, e, f, g, h])
}

/// How many zeros go behind a packet of `len` octets.
fn padding(len: usize, pad_to: usize) -> usize {
    let padded = len.checked_next_multiple_of(PADDING).unwrap_or(len);
    padded.min(pad_to.max(len)).saturating_sub(len)
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;
    use crate::frame::HEADROOM;

    fn pair() -> (Keypair, Keypair) {
        let (one, two) = (Key::new([1; 32]), Key::new([2; 32]));
        let near = Keypair::new(Instant::ZERO, true, (10, 20), &one, &two).unwrap();
        let far = Keypair::new(Instant::ZERO, false, (20, 10), &two, &one).unwrap();
        (near, far)
    }

    fn sealed(keypair: &mut Keypair, packet: &[u8]) -> Frame {
        let mut frame = Frame::from_bytes(packet);
        keypair.seal(&mut frame, 1420).unwrap();
        frame
    }

    /// RFC 8439 §2.8 with an empty header, as the whitepaper §5.4.6 has it; by the other implementation at hand.
    #[test]
    fn a_message_is_the_header_and_what_chacha20poly1305_makes_of_the_packet() {
        use chacha20poly1305::aead::AeadInOut;
        use chacha20poly1305::{ChaCha20Poly1305, KeyInit};

        let (mut near, _) = pair();
        near.set_sealed(0x0102_0304_0506_0708);
        let frame = sealed(&mut near, &[9; 16]);
        let mut expected = [9; 16];
        let nonce = [0, 0, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1];
        let cipher = ChaCha20Poly1305::new(&[1; 32].into());
        let tag = cipher.encrypt_inout_detached(&nonce.into(), b"", expected.as_mut_slice().into()).unwrap();
        let header = [4, 0, 0, 0, 20, 0, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1];
        assert_eq!(frame.bytes(), [&header[..], &expected, &tag].concat());
    }

    #[test]
    fn packets_of_every_length_go_through_and_are_padded_up_to_the_mtu() {
        let (mut near, mut far) = pair();
        for len in (0usize..100).chain(1400..=1425) {
            let packet: Vec<u8> = (0..len).map(|n| n as u8).collect();
            let mut frame = sealed(&mut near, &packet);
            let padded = if len > 1420 { len } else { len.next_multiple_of(16).min(1420) };
            assert_eq!(frame.len(), super::super::OVERHEAD + padded);
            far.open(&mut frame).unwrap();
            assert_eq!(frame.bytes()[..len], packet);
            assert_eq!(frame.bytes()[len..], vec![0; padded - len], "zeros, and nothing stale");
        }
        assert_eq!((near.sealed(), far.missing()), (126, 0));
    }

    #[test]
    fn a_packet_stays_where_it_is_in_its_buffer() {
        let (mut near, mut far) = pair();
        let mut frame = Frame::with_capacity(HEADROOM + 32 + TAG);
        assert!(frame.extend(&[7; 20]));
        near.seal(&mut frame, 1420).unwrap();
        assert_eq!((frame.headroom(), frame.tailroom()), (HEADROOM - DATA_HEADER, 0));
        far.open(&mut frame).unwrap();
        assert_eq!((frame.headroom(), frame.len()), (HEADROOM, 32));
    }

    #[test]
    fn a_frame_without_room_or_with_work_undone_is_not_sealed() {
        let (mut near, _) = pair();
        let mut frame = Frame::with_capacity(HEADROOM + 32 + TAG - 1);
        assert!(frame.extend(&[7; 20]));
        assert_eq!(near.seal(&mut frame, 1420), Err(DropReason::Internal));
        let mut full = Frame::from_bytes(&[7; 20]);
        assert!(full.push(HEADROOM - DATA_HEADER + 1).is_some());
        let before = full.bytes().to_vec();
        assert_eq!(near.seal(&mut full, 1420), Err(DropReason::Internal));
        assert_eq!(full.bytes(), before);
        let mut partial = Frame::from_bytes(&[7; 20]);
        partial.offload.checksum = Checksum::Partial { start: 0, offset: 0 };
        assert_eq!(near.seal(&mut partial, 1420), Err(DropReason::Internal));
        assert_eq!((frame.bytes(), partial.bytes(), near.sealed()), (&[7; 20][..], &[7; 20][..], 0));
    }

    #[test]
    fn whitepaper_6_2_no_message_is_sealed_after_reject_after_messages() {
        let (mut near, mut far) = pair();
        near.set_sealed(REJECT_AFTER_MESSAGES - 1);
        let mut last = sealed(&mut near, b"last");
        assert_eq!(far.open(&mut last), Ok(()));
        let mut frame = Frame::from_bytes(b"one too many");
        assert_eq!(near.seal(&mut frame, 1420), Err(DropReason::WireguardNoKeys));
        assert_eq!(frame.bytes(), b"one too many");
        // A peer that goes on all the same is not listened to.
        let mut beyond = sealed(&mut pair().0, b"x");
        beyond.bytes_mut()[8..16].copy_from_slice(&REJECT_AFTER_MESSAGES.to_le_bytes());
        assert_eq!(far.open(&mut beyond), Err(DropReason::WireguardReplay));
    }

    #[test]
    fn a_message_that_came_before_is_a_replay() {
        let (mut near, mut far) = pair();
        let (first, second) = (sealed(&mut near, b"first"), sealed(&mut near, b"second"));
        assert_eq!(far.open(&mut second.clone()), Ok(()));
        assert_eq!((far.open(&mut first.clone()), far.missing()), (Ok(()), 0));
        for again in [first, second] {
            assert_eq!(far.open(&mut again.clone()), Err(DropReason::WireguardReplay));
        }
    }

    #[test]
    fn a_message_cut_at_any_octet_or_with_any_bit_flipped_changes_nothing() {
        let (mut near, mut far) = pair();
        let good = sealed(&mut near, &[5; 48]);
        for len in 0..good.len() {
            let mut cut = Frame::from_bytes(&good.bytes()[..len]);
            let reason = if len < 32 { DropReason::WireguardMalformed } else { DropReason::WireguardDecrypt };
            assert_eq!(far.open(&mut cut), Err(reason));
        }
        for bit in 0..good.len() * 8 {
            let mut flipped = good.clone();
            flipped.bytes_mut()[bit / 8] ^= 1 << (bit % 8);
            let reason = match bit / 8 {
                0..4 => DropReason::WireguardMalformed,
                4..8 => DropReason::WireguardUnknownIndex,
                _ => DropReason::WireguardDecrypt,
            };
            assert_eq!(far.open(&mut flipped), Err(reason), "bit {bit}");
        }
        assert_eq!((far.missing(), far.open(&mut good.clone())), (0, Ok(())));
    }

    #[test]
    fn a_keypair_shows_its_indices_and_no_key() {
        assert_eq!(alloc::format!("{:?}", pair().0), "Keypair(0000000a here, 00000014 there)");
    }
}
