//! Where one frame is received when nobody knows yet how large it will be.
//!
//! Most frames fit a small buffer, some are segments of 64 KiB. A slot offers the kernel the small buffer's room first
//! and then, behind the same offset, a large buffer's room. A small frame costs no large buffer; a large one costs a
//! copy of its beginning.

use genkan_netstack::frame::{Frame, HEADROOM, LARGE, Pool, SMALL};

/// Octets that the first piece holds.
const FIRST: usize = SMALL - HEADROOM;

/// The largest frame that a slot holds, in octets.
pub const MAX_FRAME: usize = LARGE - HEADROOM;

/// Room for one frame.
#[derive(Debug)]
pub struct Slot {
    small: Frame,
    large: Frame,
}

impl Slot {
    /// A slot with buffers of `pool`.
    pub fn new(pool: &mut Pool) -> Self {
        Slot { small: pool.take(FIRST), large: pool.take(MAX_FRAME) }
    }

    /// The room for the frame's beginning and for its rest.
    pub fn pieces(&mut self) -> [&mut [u8]; 2] {
        let first = self.small.spare_mut().get_mut(..FIRST).unwrap_or_default();
        let rest = self.large.spare_mut().get_mut(FIRST..MAX_FRAME).unwrap_or_default();
        [first, rest]
    }

    /// The frame of `len` octets that was received. The slot takes fresh buffers.
    pub fn take(&mut self, len: usize, pool: &mut Pool) -> Frame {
        if len <= FIRST {
            self.small.put(len);
            return std::mem::replace(&mut self.small, pool.take(FIRST));
        }
        let mut frame = std::mem::replace(&mut self.large, pool.take(MAX_FRAME));
        frame.put(len.min(MAX_FRAME));
        if let (Some(to), Some(from)) =
            (frame.bytes_mut().get_mut(..FIRST), self.small.spare_mut().get(..FIRST))
        {
            to.copy_from_slice(from);
        }
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_of_any_length_comes_out_as_it_was_written() {
        let mut pool = Pool::default();
        let mut slot = Slot::new(&mut pool);
        for len in [0, 1, 60, FIRST - 1, FIRST, FIRST + 1, 9000, MAX_FRAME] {
            let pattern: Vec<u8> = (0..len).map(|at| (at * 7 + len) as u8).collect();
            let [first, rest] = slot.pieces();
            assert_eq!(first.len() + rest.len(), MAX_FRAME);
            let (head, tail) = pattern.split_at(len.min(first.len()));
            first[..head.len()].copy_from_slice(head);
            rest[..tail.len()].copy_from_slice(tail);
            let frame = slot.take(len, &mut pool);
            assert_eq!(frame.bytes(), pattern);
            assert_eq!(frame.headroom(), HEADROOM);
            assert_eq!(frame.capacity() == SMALL, len <= FIRST);
            pool.give(frame);
        }
    }
}
