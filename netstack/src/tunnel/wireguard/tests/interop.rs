//! Our ends and another implementation, in both roles.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr};

use boringtun::noise::rate_limiter::RateLimiter;
use boringtun::noise::{Tunn, TunnResult};
use boringtun::x25519;

use super::super::Kind;
use super::world::{End, address, inside, packet, peer, private_key, with_preshared};
use crate::frame::Frame;
use crate::id::IpCidr;
use crate::ledger::DropReason;
use crate::time::{Duration, Instant};

/// End 1 by the other implementation, beside our end 0.
struct Both {
    now: Instant,
    ours: End,
    theirs: Tunn,
    /// Packets that it got.
    got: Vec<Vec<u8>>,
    /// Types of the messages that were said, ours and theirs.
    said: Vec<(bool, u8)>,
}

impl Both {
    fn new(preshared: Option<[u8; 32]>, limiter: Option<RateLimiter>) -> Self {
        let now = Instant::from_secs(50);
        let mut them = preshared.map_or_else(|| peer(1), |key| with_preshared(peer(1), key));
        them.allowed_ips.push(IpCidr::V6("2001:db8::1/128".parse().unwrap()));
        let ours = End::new(now, 0, &[(1, them)]);
        let secret = x25519::StaticSecret::from(*private_key(1).expose());
        let public = x25519::PublicKey::from(private_key(0).public().0);
        let theirs = Tunn::new(secret, public, preshared, None, 7, limiter.map(Arc::new));
        Both { now, ours, theirs, got: vec![], said: vec![] }
    }

    /// They say what `act` makes them say, and both answer until nobody has anything to say.
    fn converse(&mut self, act: impl FnOnce(&mut Tunn, &mut [u8]) -> Option<Vec<u8>>) {
        let mut to_us: Vec<Vec<u8>> = act(&mut self.theirs, &mut [0; 2048]).into_iter().collect();
        loop {
            for datagram in core::mem::take(&mut to_us) {
                self.said.push((false, datagram[0]));
                let _ = self.ours.receive(self.now, address(1), &datagram);
            }
            let to_them: Vec<_> = self.ours.turn(self.now);
            if to_them.is_empty() {
                return;
            }
            for (_, datagram) in to_them {
                self.said.push((true, datagram[0]));
                to_us.extend(self.tell(&datagram));
            }
        }
    }

    /// They read a datagram, and what they held back until then.
    fn tell(&mut self, datagram: &[u8]) -> Vec<Vec<u8>> {
        let (mut out, mut buffer) = (vec![], [0; 2048]);
        let mut datagram = datagram;
        loop {
            let from = Some(address(0).ip());
            match self.theirs.decapsulate(from, datagram, &mut buffer) {
                TunnResult::WriteToNetwork(answer) => out.push(answer.to_vec()),
                TunnResult::WriteToTunnelV4(packet, _) => self.got.push(packet.to_vec()),
                TunnResult::WriteToTunnelV6(packet, _) => self.got.push(packet.to_vec()),
                TunnResult::Done => return out,
                TunnResult::Err(error) => panic!("{error:?}"),
            }
            if out.is_empty() {
                return out;
            }
            datagram = &[];
        }
    }

    fn send_ours(&mut self, packet: &[u8]) {
        let sent = self.ours.send(self.now, packet);
        let answers: Vec<Vec<u8>> = sent.into_iter().flat_map(|(_, datagram)| self.tell(&datagram)).collect();
        assert!(answers.is_empty());
        self.converse(|_, _| None);
    }

    fn send_theirs(&mut self, packet: &[u8]) {
        self.converse(|theirs, buffer| match theirs.encapsulate(packet, buffer) {
            TunnResult::WriteToNetwork(datagram) => Some(datagram.to_vec()),
            TunnResult::Done => None,
            other => panic!("{other:?}"),
        });
    }

    /// Packets of every length pass in both directions, and of both families.
    fn exchange(&mut self) {
        for len in 0..200 {
            let (here, there) = (inside(0), inside(1));
            let (out, back) =
                (packet(here, there, len, len as usize), packet(there, here, len, len as usize));
            self.send_ours(&out);
            assert_eq!(self.got.pop(), Some(out));
            self.send_theirs(&back);
            assert_eq!(self.ours.got.pop().map(|(_, _, packet)| packet), Some(back));
        }
        let [here, there]: [Ipv6Addr; 2] = ["2001:db8::", "2001:db8::1"].map(|text| text.parse().unwrap());
        let packet = |from: Ipv6Addr, to: Ipv6Addr| {
            [&[0x60, 0, 0, 0, 0, 3, 59, 64][..], &from.octets(), &to.octets(), b"abc"].concat()
        };
        let peer = self.ours.tunnel.peer_of(IpAddr::V6(there)).unwrap();
        let sent = self.ours.send_to(self.now, peer, Frame::from_bytes(&packet(here, there))).unwrap();
        assert!(self.tell(&sent.1).is_empty());
        assert_eq!(self.got.pop(), Some(packet(here, there)));
        self.send_theirs(&packet(there, here));
        assert_eq!(self.ours.got.pop().map(|(_, _, packet)| packet), Some(packet(there, here)));
        assert!(self.ours.dropped.is_empty());
    }
}

#[test]
fn another_implementation_answers_our_handshake() {
    for preshared in [None, Some([0x5a; 32])] {
        let mut both = Both::new(preshared, None);
        let first = packet(inside(0), inside(1), 1, 3);
        both.send_ours(&first);
        assert_eq!(both.got, [first], "what waited for keys goes");
        assert_eq!(both.said[..3], [(true, 1), (false, 2), (true, 4)]);
        both.got.clear();
        both.exchange();
    }
}

#[test]
fn we_answer_the_handshake_of_another_implementation() {
    for preshared in [None, Some([0x5a; 32])] {
        let mut both = Both::new(preshared, None);
        let first = packet(inside(1), inside(0), 1, 3);
        both.send_theirs(&first);
        assert_eq!(both.ours.got.pop().map(|(_, _, packet)| packet), Some(first));
        assert_eq!(both.said[..3], [(false, 1), (true, 2), (false, 4)]);
        both.exchange();
    }
}

#[test]
fn another_implementation_and_we_change_keys_while_data_flows() {
    let mut both = Both::new(None, None);
    for round in 0..6 {
        // In turns.
        if round % 2 == 0 {
            both.send_ours(&packet(inside(0), inside(1), 1, 0));
        } else {
            both.converse(|theirs, buffer| match theirs.format_handshake_initiation(buffer, true) {
                TunnResult::WriteToNetwork(datagram) => Some(datagram.to_vec()),
                other => panic!("{other:?}"),
            });
        }
        both.got.clear();
        both.exchange();
        both.now += Duration::from_secs(125);
    }
    assert!(both.ours.keys >= 6);
}

#[test]
fn another_implementation_under_load_gets_its_cookie_from_us() {
    let public = x25519::PublicKey::from(private_key(1).public().0);
    // Under load from the first message on.
    let mut both = Both::new(None, Some(RateLimiter::new(&public, 0)));
    let first = packet(inside(0), inside(1), 1, 3);
    both.send_ours(&first);
    assert_eq!(both.said, [(true, 1), (false, 3)]);
    assert_eq!(both.ours.negotiator.status(0).unwrap().cookies, 1);
    both.now += Duration::from_secs(6);
    both.converse(|_, _| None);
    assert_eq!(both.said[2..5], [(true, 1), (false, 2), (true, 4)]);
    assert_eq!(both.got, [first]);
}

#[test]
fn we_under_load_get_our_cookie_from_another_implementation() {
    let mut both = Both::new(None, None);
    let initiation =
        |theirs: &mut Tunn, buffer: &mut [u8]| match theirs.format_handshake_initiation(buffer, true) {
            TunnResult::WriteToNetwork(datagram) => Some(datagram.to_vec()),
            other => panic!("{other:?}"),
        };
    // Somebody repeats, from everywhere, what he has heard.
    let heard = initiation(&mut both.theirs, &mut [0; 2048]).unwrap();
    assert_eq!(Kind::of(&heard), Ok(Kind::Initiation));
    for n in 0..1000u32 {
        let from = core::net::SocketAddr::new(core::net::Ipv4Addr::from_bits(n << 8).into(), 1);
        let _ = both.ours.receive(both.now, from, &heard);
        both.ours.turn(both.now);
    }
    both.ours.dropped.clear();
    both.now += Duration::from_millis(1);
    both.converse(initiation);
    assert_eq!(
        (both.said.as_slice(), both.ours.dropped.as_slice()),
        (&[(false, 1), (true, 3)][..], &[DropReason::WireguardLimited][..])
    );
    both.ours.dropped.clear();
    both.now += Duration::from_millis(30);
    both.converse(initiation);
    assert_eq!(both.said[2..4], [(false, 1), (true, 2)]);
    both.exchange();
}

#[test]
fn another_preshared_key_than_the_others_leads_to_nothing() {
    let mut both = Both::new(Some([1; 32]), None);
    both.theirs = Tunn::new(
        x25519::StaticSecret::from(*private_key(1).expose()),
        x25519::PublicKey::from(private_key(0).public().0),
        Some([2; 32]),
        None,
        7,
        None,
    );
    both.send_ours(&packet(inside(0), inside(1), 1, 3));
    assert_eq!(both.said, [(true, 1), (false, 2)]);
    assert_eq!(both.ours.dropped, [DropReason::WireguardHandshake]);
    assert!(both.got.is_empty() && both.ours.keys == 0);
}
