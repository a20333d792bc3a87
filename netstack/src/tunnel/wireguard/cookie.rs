//! The two MACs at the end of every handshake message, and cookies (whitepaper §5.4.4, §5.4.7).
//!
//! MAC1 proves that the sender knows our public key; without it nothing is answered. Under load, MAC2 must prove that the
//! sender is where it says: its key is a cookie, which depends on the sender's address and port and which we hand out,
//! sealed, without keeping anything. A cookie is good for two minutes.

use core::net::{IpAddr, SocketAddr};

use zeroize::Zeroizing;

use super::crypto::{self, MAC, NONCE};
use super::key::PublicKey;
use super::message::{COOKIE_REPLY, CookieReply, Macs};
use crate::machine::Cx;
use crate::time::{Duration, Instant};

/// Time after which the secret behind our cookies is another.
const SECRET_AGE: Duration = Duration::from_secs(120);
/// Time for which we use a cookie: that of the secret, less what the cookie may have been on its way.
const COOKIE_AGE: Duration = Duration::from_secs(115);

const LABEL_MAC1: &[u8] = b"mac1----";
const LABEL_COOKIE: &[u8] = b"cookie--";

/// A secret of ours, or a cookie. Wiped when dropped.
type Cookie = Zeroizing<[u8; MAC]>;

/// Looks at the MACs of messages to us.
pub struct Guard {
    mac1_key: [u8; 32],
    cookie_key: [u8; 32],
    secret: Zeroizing<[u8; 32]>,
    drawn: Option<Instant>,
}

impl Guard {
    /// The guard of the owner of `public`.
    pub fn new(public: &PublicKey) -> Self {
        Guard {
            mac1_key: crypto::hash(&[LABEL_MAC1, &public.0]),
            cookie_key: crypto::hash(&[LABEL_COOKIE, &public.0]),
            secret: Zeroizing::default(),
            drawn: None,
        }
    }

    /// True when the sender knows our public key.
    pub fn knows_us(&self, macs: &Macs<'_>) -> bool {
        crypto::mac(&self.mac1_key, macs.covered).is_some_and(|mac| crypto::same(&mac, macs.mac1))
    }

    /// True when the sender has received a cookie at `from` lately.
    pub fn is_at(&mut self, cx: &mut Cx<'_>, macs: &Macs<'_>, from: SocketAddr) -> bool {
        let mac = self.cookie(cx, from).and_then(|cookie| crypto::mac(&cookie[..], macs.covered_with_mac1));
        mac.is_some_and(|mac| crypto::same(&mac, macs.mac2))
    }

    /// The cookie for a sender at `from`, as the answer to its message with these MACs, in which it called itself `index`.
    pub fn reply(
        &mut self,
        cx: &mut Cx<'_>,
        index: u32,
        macs: &Macs<'_>,
        from: SocketAddr,
    ) -> Option<[u8; COOKIE_REPLY]> {
        let cookie = self.cookie(cx, from)?;
        let mut nonce = [0; NONCE];
        cx.rng.fill(&mut nonce);
        let sealed = crypto::seal_cookie(&self.cookie_key, &nonce, macs.mac1, &cookie)?;
        Some(CookieReply::write(index, &nonce, &sealed))
    }

    fn cookie(&mut self, cx: &mut Cx<'_>, from: SocketAddr) -> Option<Cookie> {
        if self.drawn.is_none_or(|drawn| cx.now.since(drawn) >= SECRET_AGE) {
            cx.rng.fill(&mut self.secret[..]);
            self.drawn = Some(cx.now);
        }
        let port = from.port().to_be_bytes();
        let mut place = [0; 18];
        let len = match from.ip() {
            IpAddr::V4(address) => {
                place[..4].copy_from_slice(&address.octets());
                place[4..6].copy_from_slice(&port);
                6
            }
            IpAddr::V6(address) => {
                place[..16].copy_from_slice(&address.octets());
                place[16..].copy_from_slice(&port);
                18
            }
        };
        crypto::mac(&self.secret[..], place.get(..len)?).map(Zeroizing::new)
    }
}

/// Writes the MACs of messages to a peer.
pub struct Signer {
    mac1_key: [u8; 32],
    cookie_key: [u8; 32],
    /// Our index in the last message, and its MAC1: what a cookie must answer.
    sent: Option<(u32, [u8; MAC])>,
    cookie: Option<(Instant, Cookie)>,
}

impl Signer {
    /// Signs for the owner of `public`.
    pub fn new(public: &PublicKey) -> Self {
        Signer {
            mac1_key: crypto::hash(&[LABEL_MAC1, &public.0]),
            cookie_key: crypto::hash(&[LABEL_COOKIE, &public.0]),
            sent: None,
            cookie: None,
        }
    }

    /// Writes both MACs at the end of `message`, in which we call ourselves `index`.
    pub fn sign(&mut self, now: Instant, index: u32, message: &mut [u8]) {
        let Some((covered_with_mac1, mac2)) = message.split_last_chunk_mut::<MAC>() else { return };
        let Some((covered, mac1)) = covered_with_mac1.split_last_chunk_mut::<MAC>() else { return };
        *mac1 = crypto::mac(&self.mac1_key, covered).unwrap_or_default();
        self.sent = Some((index, *mac1));
        let cookie = self.cookie.as_ref().filter(|(since, _)| now.since(*since) < COOKIE_AGE);
        *mac2 =
            cookie.and_then(|(_, cookie)| crypto::mac(&cookie[..], covered_with_mac1)).unwrap_or_default();
    }

    /// True when the last message may still be answered by a cookie with `index`.
    pub fn awaits(&self, index: u32) -> bool {
        self.sent.is_some_and(|(sent, _)| sent == index)
    }

    /// Takes a cookie. False when it does not answer our last message, or is not the peer's.
    pub fn learn(&mut self, now: Instant, reply: &CookieReply<'_>) -> bool {
        let Some((_, mac1)) = self.sent.filter(|&(index, _)| index == reply.receiver) else { return false };
        let cookie = crypto::open_cookie(&self.cookie_key, reply.nonce, &mac1, reply.sealed_cookie);
        let Some(cookie) = cookie else { return false };
        self.cookie = Some((now, Zeroizing::new(cookie)));
        self.sent = None;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::{INITIATION, Initiation, Message};
    use super::*;
    use crate::rng::SeededRng;

    const US: PublicKey = PublicKey([3; 32]);

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn message() -> [u8; INITIATION] {
        Initiation::write(77, &PublicKey([1; 32]), &[2; 48], &[3; 28])
    }

    fn cx_at(secs: u64, rng: &mut SeededRng) -> Cx<'_> {
        Cx { now: Instant::from_secs(secs), rng }
    }

    fn macs(message: &[u8]) -> Macs<'_> {
        let Ok(Message::Initiation(read)) = Message::parse(message) else { panic!("an initiation") };
        read.macs
    }

    fn cookie_reply(octets: &[u8]) -> CookieReply<'_> {
        let Ok(Message::CookieReply(read)) = Message::parse(octets) else { panic!("a cookie reply") };
        read
    }

    #[test]
    fn mac1_proves_that_the_sender_knows_us_and_covers_all_before_it() {
        let (guard, mut signer) = (Guard::new(&US), Signer::new(&US));
        let mut message = message();
        assert!(!guard.knows_us(&macs(&message)));
        signer.sign(Instant::ZERO, 77, &mut message);
        assert!(guard.knows_us(&macs(&message)));
        assert!(!Guard::new(&PublicKey([4; 32])).knows_us(&macs(&message)));
        for bit in 32..132 * 8 {
            let mut flipped = message;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!guard.knows_us(&macs(&flipped)));
        }
    }

    #[test]
    fn a_cookie_proves_address_and_port_for_two_minutes() {
        let mut rng = SeededRng::from_u64(8);
        let (mut guard, mut signer) = (Guard::new(&US), Signer::new(&US));
        for from in ["192.0.2.1:51820", "[2001:db8::1]:51820"].map(at) {
            guard.drawn = None;
            let mut message = message();
            signer.cookie = None;
            signer.sign(Instant::ZERO, 77, &mut message);
            assert!(!guard.is_at(&mut cx_at(0, &mut rng), &macs(&message), from));
            let reply = guard.reply(&mut cx_at(0, &mut rng), 77, &macs(&message), from).unwrap();
            assert!(signer.awaits(77) && !signer.awaits(78));
            assert!(signer.learn(Instant::ZERO, &cookie_reply(&reply)));
            assert!(!signer.learn(Instant::ZERO, &cookie_reply(&reply)), "a cookie answers one message");
            signer.sign(Instant::from_secs(5), 77, &mut message);
            assert!(guard.is_at(&mut cx_at(5, &mut rng), &macs(&message), from));
            let others = ["192.0.2.2:51820", "192.0.2.1:51821", "[2001:db8::2]:51820", "[2001:db8::1]:1"];
            for other in others.map(at) {
                assert!(!guard.is_at(&mut cx_at(5, &mut rng), &macs(&message), other));
            }
            assert!(guard.is_at(&mut cx_at(119, &mut rng), &macs(&message), from));
            assert!(!guard.is_at(&mut cx_at(120, &mut rng), &macs(&message), from), "the secret is another");
            signer.sign(Instant::from_secs(115), 77, &mut message);
            assert_eq!(macs(&message).mac2, &[0; MAC], "the cookie is too old");
        }
    }

    #[test]
    fn a_cookie_that_somebody_else_baked_is_not_taken() {
        let mut rng = SeededRng::from_u64(8);
        let cx = &mut Cx { now: Instant::ZERO, rng: &mut rng };
        let mut message = message();
        let mut signer = Signer::new(&US);
        signer.sign(cx.now, 77, &mut message);
        let mut stranger = Guard::new(&PublicKey([4; 32]));
        let forged = stranger.reply(cx, 77, &macs(&message), at("192.0.2.1:1")).unwrap();
        assert!(!signer.learn(cx.now, &cookie_reply(&forged)));
        let good = Guard::new(&US).reply(cx, 77, &macs(&message), at("192.0.2.1:1")).unwrap();
        for bit in 64..good.len() * 8 {
            let mut flipped = good;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!signer.learn(cx.now, &cookie_reply(&flipped)));
        }
        assert!(signer.learn(cx.now, &cookie_reply(&good)));
    }
}
