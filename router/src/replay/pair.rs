//! Frames that the captured router sent, beside those that ours sends in their place.
//!
//! The capture is read a little ahead, so a frame of ours finds its counterpart whether that is a little later or a little
//! earlier. What finds none in that time was sent by one of the two only.

use std::collections::VecDeque;
use std::time::Duration;

use genkan_netstack::id::PortId;

use super::parts::{Key, Parts, meaning};

/// How far before ours a counterpart may have been sent.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most frames that wait for a counterpart, and most octets of them.
const WAITING: usize = 8192;
const WAITING_OCTETS: usize = 16 << 20;

/// A frame that the captured router sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counterpart {
    /// Its number in the capture.
    pub number: u64,
    /// When it was captured, since the Unix epoch.
    pub at: Duration,
    /// Its octets.
    pub frame: Vec<u8>,
    /// It says the same as ours, but for what is drawn at random.
    pub same: bool,
}

#[derive(Debug)]
struct Sent {
    port: PortId,
    key: Key,
    counterpart: Counterpart,
}

/// Frames of the captured router that wait for ours.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    waiting: VecDeque<Sent>,
    octets: usize,
}

impl Pairs {
    /// The captured router sends this.
    pub fn expect(&mut self, port: PortId, number: u64, at: Duration, frame: &[u8]) {
        let key = key(frame);
        self.octets += frame.len();
        let counterpart = Counterpart { number, at, frame: frame.to_vec(), same: false };
        self.waiting.push_back(Sent { port, key, counterpart });
    }

    /// The counterpart of a frame that ours sends.
    pub fn find(&mut self, port: PortId, frame: &[u8]) -> Option<Counterpart> {
        let key = key(frame);
        let place = self.waiting.iter().position(|sent| sent.port == port && sent.key == key)?;
        let mut counterpart = self.waiting.remove(place)?.counterpart;
        self.octets = self.octets.saturating_sub(counterpart.frame.len());
        counterpart.same = meaning(frame) == meaning(&counterpart.frame);
        Some(counterpart)
    }

    /// The next frame that ours has not sent in time, or none is to come any more.
    pub fn missed(&mut self, now: Duration, at_end: bool) -> Option<(PortId, Counterpart)> {
        let first = self.waiting.front()?;
        let over = self.waiting.len() > WAITING || self.octets > WAITING_OCTETS;
        if !at_end && !over && first.counterpart.at.saturating_add(PATIENCE) > now {
            return None;
        }
        let Sent { port, counterpart, .. } = self.waiting.pop_front()?;
        self.octets = self.octets.saturating_sub(counterpart.frame.len());
        Some((port, counterpart))
    }
}

fn key(frame: &[u8]) -> Key {
    Parts::of(frame).map_or(Key::Other(0), |parts| Key::of(frame, &parts))
}
