//! Frames that are not quite those of a flow.

use genkan_netstack::rng::Rng;
use genkan_netstack::wire::checksum::Sum;

use crate::world::{PORTS, Seed};

/// The kernel runs no program over less than an Ethernet header and an octet.
const LEAST: usize = 15;

/// Octets of the most headers that there are: Ethernet, PPPoE, IPv6 and TCP.
const HEADERS: usize = 82;

/// The frame cut at every octet, and with padding behind it.
pub fn each_cut(frame: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (LEAST..frame.len() + 20).map(|len| {
        let mut frame = frame.to_vec();
        frame.resize(len, 0x5a);
        frame
    })
}

/// The frame with each of its bits turned.
pub fn each_bit(frame: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..frame.len() * 8).map(|bit| {
        let mut frame = frame.to_vec();
        frame[bit / 8] ^= 1 << (bit % 8);
        frame
    })
}

/// Values that something is said of somewhere in a header.
const VALUES: [u8; 14] = [0, 1, 2, 5, 6, 17, 20, 58, 68, 129, 0x45, 0x46, 0x60, 0xff];

/// The frame with each of these in the place of each octet of its headers, and of two; an IPv4 header's checksum is right.
pub fn each_value(frame: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let places = 0..frame.len().min(HEADERS) - 1;
    let values = places.flat_map(|at| VALUES.map(|value| (at, value)));
    values.flat_map(|(at, value)| [1, 2].map(|len| (at..at + len, value))).map(|(range, value)| {
        let mut frame = frame.to_vec();
        frame[range].fill(value);
        mend(&mut frame);
        frame
    })
}

/// Makes harmed frames of seeds.
pub struct Harm<'a> {
    seeds: Vec<&'a Seed>,
}

fn below(rng: &mut dyn Rng, bound: usize) -> usize {
    rng.next_u32() as usize % bound.max(1)
}

impl<'a> Harm<'a> {
    pub fn new(seeds: impl Iterator<Item = &'a Seed>) -> Self {
        Harm { seeds: seeds.collect() }
    }

    /// A frame, and the port that it comes by: mostly the seed's.
    pub fn next(&mut self, rng: &mut dyn Rng) -> (usize, Vec<u8>) {
        let seed = self.seeds[below(rng, self.seeds.len())];
        let mut frame = seed.frame.clone();
        for _ in 0..=below(rng, 2) {
            self.harm(rng, &mut frame);
        }
        // Without this nearly all would end at the checksum of the IP header.
        if rng.next_u32() & 1 == 0 {
            mend(&mut frame);
        }
        frame.resize(frame.len().max(LEAST), 0);
        let port = if below(rng, 16) == 0 { below(rng, PORTS) } else { seed.port };
        (port, frame)
    }

    fn harm(&self, rng: &mut dyn Rng, frame: &mut Vec<u8>) {
        let len = frame.len();
        match below(rng, 10) {
            // Another octet, anywhere or in the headers.
            0 | 1 => frame[below(rng, len)] = rng.next_u32() as u8,
            2 | 3 => frame[below(rng, len.min(HEADERS))] = rng.next_u32() as u8,
            // Another length, by a little, where there are lengths.
            4 => {
                let at = [16, 18, 24, 38, 58, 46][below(rng, 6)];
                if let Some(octet) = frame.get_mut(at + 1) {
                    *octet = octet.wrapping_add(rng.next_u32() as u8 % 7).wrapping_sub(3);
                }
            }
            5 => frame[below(rng, len.min(HEADERS))] = VALUES[below(rng, VALUES.len())],
            // Cut, or longer.
            6 => frame.truncate(below(rng, len).max(LEAST)),
            7 => frame.resize(len + below(rng, 64), rng.next_u32() as u8),
            // The front of one and the rest of another.
            8 => {
                let other = &self.seeds[below(rng, self.seeds.len())].frame;
                let at = [6, 12, 14, 22, 34, 42][below(rng, 6)].min(len);
                frame.truncate(at);
                frame.extend(other.get(at..).unwrap_or_default());
            }
            // Garbage behind a front.
            _ => {
                let at = [0, 14, 22, 34][below(rng, 4)].min(len);
                rng.fill(&mut frame[at..]);
            }
        }
    }
}

/// Gives an IPv4 packet its header's checksum.
fn mend(frame: &mut [u8]) {
    let at = if frame.get(12..14) == Some(&[0x88, 0x64]) { 22 } else { 14 };
    if let Some(header) = frame.get_mut(at..at + 20)
        && header[0] >> 4 == 4
    {
        header[10..12].fill(0);
        let checksum = Sum::of(header).checksum();
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
    }
}
