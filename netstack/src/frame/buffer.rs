//! One frame: a buffer, the part of it that is in use, and what its sender left undone.

use alloc::boxed::Box;
use alloc::vec;

use super::offload::{Checksum, Offload};

/// Octets kept free in front of a received frame: room for VLAN, PPPoE, VXLAN and WireGuard headers together.
pub const HEADROOM: usize = 160;

/// Capacity of a buffer for frames of an ordinary MTU, headroom included.
pub const SMALL: usize = 2048;

/// Capacity of a buffer for the largest segment a device may hand over, headroom included.
pub const LARGE: usize = HEADROOM + 65_536 + 256;

/// An owned frame with headroom.
///
/// Its bytes usually begin at the Ethernet header; a stage that pushes or pulls moves the front.
#[derive(Debug, Clone)]
pub struct Frame {
    buffer: Box<[u8]>,
    // In four octets: a sum with a length never overflows, and the compiler knows.
    start: u32,
    end: u32,
    /// What the sender left undone.
    pub offload: Offload,
}

impl Frame {
    /// An empty frame in a buffer of `capacity` octets, [`HEADROOM`] of them in front.
    pub fn with_capacity(capacity: usize) -> Self {
        let capacity = capacity.clamp(HEADROOM, u32::MAX as usize);
        Frame {
            buffer: vec![0; capacity].into_boxed_slice(),
            start: HEADROOM as u32,
            end: HEADROOM as u32,
            offload: Offload::default(),
        }
    }

    /// A frame that holds a copy of `bytes`, in a buffer large enough for it.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut frame = Frame::with_capacity(SMALL.max(HEADROOM.saturating_add(bytes.len())));
        frame.extend(bytes);
        frame
    }

    /// Empties the frame and restores its headroom.
    pub fn reset(&mut self) {
        self.start = HEADROOM as u32;
        self.end = HEADROOM as u32;
        self.offload = Offload::default();
    }

    /// The frame's octets.
    #[inline(always)]
    pub fn bytes(&self) -> &[u8] {
        self.buffer.get(self.start as usize..self.end as usize).unwrap_or_default()
    }

    /// The frame's octets, to change.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.buffer.get_mut(self.start as usize..self.end as usize).unwrap_or_default()
    }

    /// Number of octets in the frame.
    pub fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// True when the frame has no octets.
    pub fn is_empty(&self) -> bool {
        self.end == self.start
    }

    /// Size of the whole buffer in octets.
    pub fn capacity(&self) -> usize {
        self.buffer.len()
    }

    /// Octets free in front.
    pub fn headroom(&self) -> usize {
        self.start as usize
    }

    /// Octets free behind.
    pub fn tailroom(&self) -> usize {
        self.buffer.len() - self.end as usize
    }

    /// Prepends `count` octets and returns them to be written. `None`, and no change, when the headroom is too small.
    pub fn push(&mut self, count: usize) -> Option<&mut [u8]> {
        let start = self.start.checked_sub(u32::try_from(count).ok()?)?;
        if !self.offload.shift(i32::try_from(count).ok()?) {
            return None;
        }
        let pushed = self.buffer.get_mut(start as usize..self.start as usize)?;
        self.start = start;
        Some(pushed)
    }

    /// Removes `count` octets from the front. False, and no change, when the frame is shorter, or when a partial
    /// checksum begins within them.
    pub fn pull(&mut self, count: usize) -> bool {
        if count > self.len() {
            return false;
        }
        let Ok(delta) = i32::try_from(count) else { return false };
        if !self.offload.shift(-delta) {
            return false;
        }
        self.start += count as u32;
        true
    }

    /// Replaces the first `front` octets by `header`, and cuts what lies more than `len` octets behind them. Returns those
    /// `len` octets. `None`, and no change, when they are not all there, when the headroom is too small, or when a partial
    /// checksum begins within the first ones.
    #[inline(always)]
    pub fn exchange<const N: usize>(
        &mut self,
        front: usize,
        len: usize,
        header: [u8; N],
    ) -> Option<&mut [u8]> {
        let payload = (self.start as usize).checked_add(front)?;
        let start = payload.checked_sub(N)?;
        let end = payload.checked_add(len).filter(|&end| end <= self.end as usize)?;
        let (place, payload) = self.buffer.get_mut(start..end)?.split_first_chunk_mut::<N>()?;
        if let Checksum::Partial { start, .. } = &mut self.offload.checksum {
            let behind = usize::from(*start).checked_sub(front)?;
            *start = u16::try_from(behind.checked_add(N)?).ok()?;
        }
        *place = header;
        (self.start, self.end) = (start as u32, end as u32);
        Some(payload)
    }

    /// Shortens the frame to `len` octets; does nothing when it is shorter already.
    pub fn truncate(&mut self, len: usize) {
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        self.end = self.end.min(self.start.saturating_add(len));
    }

    /// Appends `bytes`. False, and no change, when the buffer has no room for them.
    pub fn extend(&mut self, bytes: &[u8]) -> bool {
        match self.put(bytes.len()) {
            Some(room) => {
                room.copy_from_slice(bytes);
                true
            }
            None => false,
        }
    }

    /// Appends `count` octets and returns them to be written (they hold stale octets until then). `None`, and no
    /// change, when the buffer has no room.
    pub fn put(&mut self, count: usize) -> Option<&mut [u8]> {
        let end = (self.end as usize).checked_add(count)?;
        let room = self.buffer.get_mut(self.end as usize..end)?;
        self.end = end as u32;
        Some(room)
    }

    /// The whole room behind the frame, for a port to receive into; [`Frame::put`] then claims what was written.
    pub fn spare_mut(&mut self) -> &mut [u8] {
        self.buffer.get_mut(self.end as usize..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn push_and_pull_carry_the_partial_checksum_along() {
        let mut frame = Frame::from_bytes(&[1, 2, 3, 4, 5, 6]);
        frame.offload.checksum = Checksum::Partial { start: 2, offset: 1 };
        frame.push(8).unwrap().fill(9);
        assert_eq!(frame.offload.checksum, Checksum::Partial { start: 10, offset: 1 });
        assert!(frame.pull(8));
        assert_eq!(frame.offload.checksum, Checksum::Partial { start: 2, offset: 1 });
        assert!(!frame.pull(3), "a pull into the summed part would lose the checksum");
        assert_eq!(frame.bytes(), &[1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn a_push_beyond_the_headroom_changes_nothing() {
        let mut frame = Frame::from_bytes(&[7]);
        assert!(frame.push(HEADROOM + 1).is_none());
        assert!(frame.push(HEADROOM).is_some());
        assert_eq!(frame.len(), HEADROOM + 1);
        assert!(frame.push(1).is_none());
    }

    #[test]
    fn an_exchange_puts_another_header_before_the_same_octets() {
        let mut frame = Frame::from_bytes(&[1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(frame.exchange(2, 4, [8, 9, 10]), Some(&mut [3, 4, 5, 6][..]));
        assert_eq!(frame.bytes(), &[8, 9, 10, 3, 4, 5, 6]);
        assert_eq!(frame.exchange(3, 4, [11]), Some(&mut [3, 4, 5, 6][..]));
        assert_eq!(frame.bytes(), &[11, 3, 4, 5, 6]);
        assert_eq!(frame.headroom(), HEADROOM + 1);
    }

    #[test]
    fn an_exchange_that_cannot_be_changes_nothing() {
        let mut frame = Frame::from_bytes(&[1, 2, 3]);
        assert!(frame.exchange(1, 3, [0]).is_none(), "an octet more than there is");
        assert!(frame.exchange(4, 0, [0]).is_none());
        assert!(frame.exchange(1, usize::MAX, [0]).is_none());
        assert!(frame.exchange(1, 2, [0; HEADROOM + 2]).is_none(), "no headroom");
        for (front, start) in [(2, 1), (1, 0)] {
            frame.offload.checksum = Checksum::Partial { start, offset: 0 };
            assert!(frame.exchange(front, 1, [0]).is_none(), "it begins in what would be exchanged");
            assert_eq!(frame.offload.checksum, Checksum::Partial { start, offset: 0 });
        }
        frame.offload.checksum = Checksum::Partial { start: u16::MAX, offset: 0 };
        assert!(frame.exchange(1, 2, [0; 2]).is_none(), "it would begin beyond what can be said");
        assert_eq!(frame.bytes(), &[1, 2, 3]);
    }

    #[test]
    fn a_partial_checksum_follows_an_exchange() {
        let mut frame = Frame::from_bytes(&[1, 2, 3, 4, 5]);
        frame.offload.checksum = Checksum::Partial { start: 3, offset: 1 };
        assert_eq!(frame.exchange(2, 3, [6; 5]), Some(&mut [3, 4, 5][..]));
        assert_eq!(frame.offload.checksum, Checksum::Partial { start: 6, offset: 1 });
        assert_eq!(frame.exchange(6, 2, [7]), Some(&mut [4, 5][..]));
        assert_eq!(frame.offload.checksum, Checksum::Partial { start: 1, offset: 1 });
    }

    #[test]
    fn put_stops_at_the_end_of_the_buffer() {
        let mut frame = Frame::with_capacity(HEADROOM + 4);
        assert!(frame.extend(&[1, 2, 3]));
        assert!(!frame.extend(&[4, 5]));
        assert_eq!(frame.bytes(), &[1, 2, 3]);
    }
}
