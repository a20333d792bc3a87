//! The handshake Noise_IKpsk2 (whitepaper §5.4.1 to §5.4.5), without MACs: those are [`super::cookie`]'s.
//!
//! Both sides keep a transcript: a hash of all that was said, which every sealed part is bound to, and a chaining key, into
//! which every agreement of keys goes. At the end the chaining key becomes the two keys of a [`Keypair`].

use super::Keypair;
use super::crypto::{self, Key};
use super::key::{PresharedKey, PrivateKey, PublicKey};
use super::message::{INITIATION, Initiation, RESPONSE, Response, STAMP};
use crate::machine::Cx;
use crate::rng::Rng;

const CONSTRUCTION: &[u8] = b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s";
const IDENTIFIER: &[u8] = b"WireGuard v1 zx2c4 Jason@zx2c4.com";

/// Who we are.
pub struct Identity {
    private: PrivateKey,
    /// Our public key.
    pub public: PublicKey,
}

impl Identity {
    /// The owner of a private key.
    pub fn new(private: &PrivateKey) -> Self {
        Identity { private: private.clone(), public: private.public() }
    }
}

/// A peer, as its handshakes need it.
pub struct Remote {
    /// Its public key.
    pub public: PublicKey,
    preshared: PresharedKey,
    /// What its key and ours have in common. `None` when its key is one that no honest peer has.
    shared: Option<Key>,
}

impl Remote {
    /// The owner of `public`.
    pub fn new(identity: &Identity, public: PublicKey, preshared: Option<&PresharedKey>) -> Self {
        let preshared = preshared.cloned().unwrap_or_else(|| PresharedKey::new([0; 32]));
        Remote { public, preshared, shared: crypto::agree(identity.private.expose(), &public) }
    }
}

/// What both sides know of a handshake so far.
#[derive(Clone)]
struct Transcript {
    chaining: Key,
    hash: [u8; 32],
}

impl Transcript {
    fn new(responder: &PublicKey) -> Self {
        let chaining = Key::new(crypto::hash(&[CONSTRUCTION]));
        let hash = crypto::hash(&[&chaining[..], IDENTIFIER]);
        Transcript { chaining, hash: crypto::hash(&[&hash, &responder.0]) }
    }

    /// A key of one side for this handshake alone.
    fn ephemeral(&mut self, public: &PublicKey) {
        self.mix(&public.0);
        self.absorb(&public.0);
    }

    fn absorb(&mut self, said: &[u8]) {
        self.hash = crypto::hash(&[&self.hash, said]);
    }

    fn mix(&mut self, input: &[u8]) {
        [self.chaining] = crypto::derive(&self.chaining, input);
    }

    fn mix_for_key(&mut self, input: &[u8]) -> Key {
        let key;
        [self.chaining, key] = crypto::derive(&self.chaining, input);
        key
    }

    fn mix_preshared(&mut self, preshared: &PresharedKey) -> Key {
        let (said, key);
        [self.chaining, said, key] = crypto::derive(&self.chaining, preshared.expose());
        self.absorb(&said[..]);
        key
    }

    fn seal<const N: usize>(&mut self, key: &Key, plain: &[u8]) -> Option<[u8; N]> {
        let sealed = crypto::seal(key, &self.hash, plain)?;
        self.absorb(&sealed);
        Some(sealed)
    }

    fn open<const N: usize>(&mut self, key: &Key, sealed: &[u8]) -> Option<[u8; N]> {
        let plain = crypto::open(key, &self.hash, sealed)?;
        self.absorb(sealed);
        Some(plain)
    }

    /// The key of the initiator's messages, and that of the responder's.
    fn split(&self) -> [Key; 2] {
        crypto::derive(&self.chaining, &[])
    }
}

fn draw(rng: &mut dyn Rng) -> (Key, PublicKey) {
    let mut private = Key::default();
    rng.fill(&mut private[..]);
    let public = PublicKey::of(&private);
    (private, public)
}

/// A handshake that we have asked for.
pub struct Initiating {
    /// The index by which the peer answers.
    pub index: u32,
    ephemeral: Key,
    transcript: Transcript,
}

impl Initiating {
    /// A handshake with `remote`, and its initiation. `None` when the peer's key is of no use.
    pub fn begin(
        rng: &mut dyn Rng,
        identity: &Identity,
        remote: &Remote,
        index: u32,
        stamp: &[u8; STAMP],
    ) -> Option<(Self, [u8; INITIATION])> {
        let (ephemeral, public) = draw(rng);
        let mut transcript = Transcript::new(&remote.public);
        transcript.ephemeral(&public);
        let key = transcript.mix_for_key(&crypto::agree(&ephemeral, &remote.public)?[..]);
        let sealed_static = transcript.seal(&key, &identity.public.0)?;
        let key = transcript.mix_for_key(&remote.shared.as_ref()?[..]);
        let sealed_stamp = transcript.seal(&key, stamp)?;
        let message = Initiation::write(index, &public, &sealed_static, &sealed_stamp);
        Some((Initiating { index, ephemeral, transcript }, message))
    }

    /// The keypair, when `response` is the peer's. Otherwise the handshake goes on as if nothing had come.
    pub fn finish(
        &self,
        cx: &Cx<'_>,
        identity: &Identity,
        remote: &Remote,
        response: &Response<'_>,
    ) -> Option<Keypair> {
        let mut transcript = self.transcript.clone();
        transcript.ephemeral(&response.ephemeral);
        transcript.mix(&crypto::agree(&self.ephemeral, &response.ephemeral)?[..]);
        transcript.mix(&crypto::agree(identity.private.expose(), &response.ephemeral)?[..]);
        let key = transcript.mix_preshared(&remote.preshared);
        let [] = transcript.open(&key, response.sealed_nothing)?;
        let [sending, receiving] = transcript.split();
        Keypair::new(cx.now, true, (self.index, response.sender), &sending, &receiving)
    }
}

/// A handshake that a peer asks for.
pub struct Responding {
    index: u32,
    ephemeral: PublicKey,
    transcript: Transcript,
}

impl Responding {
    /// Who asks, by its own word: proof is [`Responding::stamp`]. `None` when the initiation is not for us.
    pub fn begin(identity: &Identity, initiation: &Initiation<'_>) -> Option<(PublicKey, Self)> {
        let ephemeral = initiation.ephemeral;
        let mut transcript = Transcript::new(&identity.public);
        transcript.ephemeral(&ephemeral);
        let key = transcript.mix_for_key(&crypto::agree(identity.private.expose(), &ephemeral)?[..]);
        let public = PublicKey(transcript.open(&key, initiation.sealed_static)?);
        Some((public, Responding { index: initiation.sender, ephemeral, transcript }))
    }

    /// The time of the initiation. `None` when it was not `remote` who wrote it.
    pub fn stamp(&mut self, remote: &Remote, initiation: &Initiation<'_>) -> Option<[u8; STAMP]> {
        let key = self.transcript.mix_for_key(&remote.shared.as_ref()?[..]);
        self.transcript.open(&key, initiation.sealed_stamp)
    }

    /// The response, and the keypair that it agrees to. `None` when the peer's keys are of no use.
    pub fn reply(
        mut self,
        cx: &mut Cx<'_>,
        remote: &Remote,
        index: u32,
    ) -> Option<([u8; RESPONSE], Keypair)> {
        let (ephemeral, public) = draw(cx.rng);
        self.transcript.ephemeral(&public);
        self.transcript.mix(&crypto::agree(&ephemeral, &self.ephemeral)?[..]);
        self.transcript.mix(&crypto::agree(&ephemeral, &remote.public)?[..]);
        let key = self.transcript.mix_preshared(&remote.preshared);
        let sealed_nothing = self.transcript.seal(&key, &[])?;
        let [receiving, sending] = self.transcript.split();
        let keypair = Keypair::new(cx.now, false, (index, self.index), &sending, &receiving)?;
        Some((Response::write(index, self.index, &public, &sealed_nothing), keypair))
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::Message;
    use super::*;
    use crate::frame::Frame;
    use crate::rng::SeededRng;
    use crate::time::Instant;

    const STAMPED: [u8; STAMP] = [9; STAMP];

    struct Side {
        identity: Identity,
        remote: Remote,
    }

    fn sides(near: Option<[u8; 32]>, far: Option<[u8; 32]>) -> (Side, Side) {
        let keys = [PrivateKey::new([1; 32]), PrivateKey::new([2; 32])].map(|key| Identity::new(&key));
        let [a, b] = &keys;
        let preshared = |key: Option<[u8; 32]>| key.map(PresharedKey::new);
        let near_remote = Remote::new(a, b.public, preshared(near).as_ref());
        let far_remote = Remote::new(b, a.public, preshared(far).as_ref());
        let [a, b] = keys;
        (Side { identity: a, remote: near_remote }, Side { identity: b, remote: far_remote })
    }

    fn shake(near: &Side, far: &Side) -> Option<(Keypair, Keypair)> {
        let mut rng = SeededRng::from_u64(4);
        let cx = &mut Cx { now: Instant::from_secs(3), rng: &mut rng };
        let (initiating, initiation) = Initiating::begin(cx.rng, &near.identity, &near.remote, 11, &STAMPED)?;
        let Ok(Message::Initiation(read)) = Message::parse(&initiation) else { panic!("an initiation") };
        let (public, mut responding) = Responding::begin(&far.identity, &read)?;
        assert_eq!(public, near.identity.public);
        assert_eq!(responding.stamp(&far.remote, &read)?, STAMPED);
        let (response, responder) = responding.reply(cx, &far.remote, 22)?;
        let Ok(Message::Response(read)) = Message::parse(&response) else { panic!("a response") };
        Some((initiating.finish(cx, &near.identity, &near.remote, &read)?, responder))
    }

    #[test]
    fn both_sides_of_a_handshake_have_the_same_keys() {
        for preshared in [None, Some([7; 32])] {
            let (near, far) = sides(preshared, preshared);
            let (mut initiator, mut responder) = shake(&near, &far).unwrap();
            assert!(initiator.initiator() && !responder.initiator());
            assert_eq!((initiator.local_index(), initiator.remote_index()), (11, 22));
            assert_eq!((responder.local_index(), responder.remote_index()), (22, 11));
            let mut frame = Frame::from_bytes(b"there");
            initiator.seal(&mut frame, 5).unwrap();
            assert_eq!((responder.open(&mut frame), frame.bytes()), (Ok(()), &b"there"[..]));
            responder.seal(&mut frame, 5).unwrap();
            assert_eq!((initiator.open(&mut frame), frame.bytes()), (Ok(()), &b"there"[..]));
        }
    }

    #[test]
    fn without_the_same_preshared_key_there_are_no_keys() {
        for (a, b) in [(None, Some([7; 32])), (Some([7; 32]), None), (Some([7; 32]), Some([8; 32]))] {
            let (near, far) = sides(a, b);
            assert!(shake(&near, &far).is_none());
        }
    }

    #[test]
    fn a_peer_with_a_key_of_small_order_gets_nowhere() {
        let (mut near, _) = sides(None, None);
        near.remote = Remote::new(&near.identity, PublicKey([0; 32]), None);
        let rng = &mut SeededRng::from_u64(4);
        assert!(Initiating::begin(rng, &near.identity, &near.remote, 1, &STAMPED).is_none());
    }
}
