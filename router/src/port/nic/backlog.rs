//! Frames that have been received and have to wait their turn.
//!
//! A tunnel's stream, or one of QUIC, carries bulk and calls in one flow, so what is small must not overtake what is large.
//! Then the whole of what waits must be short, and what is lost for that be large: a frame that stands for many datagrams
//! ([`LARGE_FRAME`]) is dropped when [`MOST_OCTETS`] wait. A small one is not: it takes hardly any time.

use genkan_netstack::frame::{Batch, Pool};

use super::AT_ONCE;

/// Octets that may wait. At a few Gb/s that is less than a millisecond.
const MOST_OCTETS: usize = 512 << 10;

/// Most frames that wait: what small ones find here, they find in the kernel's queue no more.
const MOST_FRAMES: usize = 256;

/// Octets of the smallest frame that is dropped: no network carries one as it is.
const LARGE_FRAME: usize = 16 << 10;

/// Frames in the order of their coming.
#[derive(Debug, Default)]
pub struct Backlog {
    frames: Batch,
    /// How many at the front have been looked at by [`Backlog::shed`], and their octets.
    seen: usize,
    octets: usize,
}

impl Backlog {
    /// How many frames more have room.
    pub fn room(&self) -> usize {
        MOST_FRAMES.saturating_sub(self.frames.len())
    }

    /// To add frames at the end.
    pub fn frames(&mut self) -> &mut Batch {
        &mut self.frames
    }

    /// Drops of the new frames what is large and too much. Returns how many those are.
    pub fn shed(&mut self, pool: &mut Pool) -> u64 {
        let mut shed = 0;
        while let Some(frame) = self.frames.get(self.seen) {
            let len = frame.len();
            if len >= LARGE_FRAME && self.octets + len > MOST_OCTETS {
                shed += 1;
                self.frames.remove(self.seen).into_iter().for_each(|frame| pool.give(frame));
                continue;
            }
            self.octets += len;
            self.seen += 1;
        }
        shed
    }

    /// Moves the first frames into `batch`: as many as `max`, or until they have [`AT_ONCE`] octets. Returns their number
    /// and octets.
    pub fn hand_out(&mut self, batch: &mut Batch, max: usize) -> (usize, usize) {
        let (mut count, mut octets) = (0, 0);
        while count < max && octets < AT_ONCE {
            let Some(frame) = self.frames.pop_front() else { break };
            octets += frame.len();
            count += 1;
            batch.push_back(frame);
        }
        self.seen = self.seen.saturating_sub(count);
        self.octets = self.octets.saturating_sub(octets);
        (count, octets)
    }
}

#[cfg(test)]
mod tests {
    use genkan_netstack::frame::Frame;

    use super::*;
    use crate::port::slot::MAX_FRAME;

    fn backlog(lens: impl IntoIterator<Item = usize>) -> Backlog {
        let mut backlog = Backlog::default();
        add(&mut backlog, lens);
        backlog
    }

    fn add(backlog: &mut Backlog, lens: impl IntoIterator<Item = usize>) {
        backlog.frames().extend(lens.into_iter().map(|len| Frame::from_bytes(&vec![0; len])));
    }

    fn lens(backlog: &mut Backlog) -> Vec<usize> {
        let mut batch = Batch::new();
        while backlog.hand_out(&mut batch, 64).0 > 0 {}
        batch.iter().map(Frame::len).collect()
    }

    #[test]
    fn of_too_much_the_large_frames_that_came_last_are_lost_and_no_small_one() {
        let mut pool = Pool::default();
        let size = 60_000;
        let fit = MOST_OCTETS / size;
        let mut backlog = backlog((0..fit).map(|_| size).chain([100, size, 1500, size, 100]));
        assert_eq!(backlog.shed(&mut pool), 2);
        assert_eq!(backlog.shed(&mut pool), 0, "each is looked at once");
        let expected: Vec<_> = (0..fit).map(|_| size).chain([100, 1500, 100]).collect();
        assert_eq!(lens(&mut backlog), expected, "in the order of their coming");
    }

    #[test]
    fn what_has_been_handed_out_makes_room() {
        let mut pool = Pool::default();
        let mut backlog = backlog([LARGE_FRAME; MOST_OCTETS / LARGE_FRAME]);
        assert_eq!(backlog.shed(&mut pool), 0);
        let mut batch = Batch::new();
        let (count, octets) = backlog.hand_out(&mut batch, 64);
        assert_eq!((count, octets), (AT_ONCE / LARGE_FRAME, AT_ONCE));
        add(&mut backlog, [LARGE_FRAME; AT_ONCE / LARGE_FRAME + 1]);
        assert_eq!(backlog.shed(&mut pool), 1);
    }

    #[test]
    fn a_frame_is_handed_out_whatever_its_size_and_small_ones_by_their_number() {
        let mut backlog = backlog([MAX_FRAME, MAX_FRAME, MAX_FRAME, 60, 60, 60]);
        backlog.shed(&mut Pool::default());
        let mut batch = Batch::new();
        assert_eq!(backlog.hand_out(&mut batch, 64).0, AT_ONCE.div_ceil(MAX_FRAME));
        assert_eq!(backlog.hand_out(&mut batch, 2).0, 2);
        assert_eq!(backlog.room(), MOST_FRAMES - (6 - batch.len()));
    }
}
