//! A timer wheel of one-second slots over the ids of a slab.
//!
//! Each id waits in the slot of the second in which it wants to be looked at. A deadline beyond the wheel's span is
//! looked at early and put back. Setting, moving and cancelling are O(1); advancing costs the ids that are due.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

/// Slots of the wheel, in seconds: just over the 2 h 4 min of an idle TCP connection.
const SLOTS: u32 = 8192;
const WORDS: usize = SLOTS as usize / 64;
const NONE: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
struct Link {
    previous: u32,
    next: u32,
    slot: u32,
}

/// The wheel.
#[derive(Debug)]
pub(crate) struct Wheel {
    heads: Box<[u32]>,
    occupied: Box<[u64]>,
    links: Vec<Link>,
    /// Every slot up to this second has been emptied.
    done: u32,
    /// No slot before this second is occupied; `None` when the wheel is empty.
    next: Option<u32>,
}

impl Wheel {
    /// An empty wheel that begins at second `now`.
    pub fn new(now: u32) -> Wheel {
        Wheel {
            heads: vec![NONE; SLOTS as usize].into_boxed_slice(),
            occupied: vec![0; WORDS].into_boxed_slice(),
            links: Vec::new(),
            done: now,
            next: None,
        }
    }

    /// Sets the timer of `id` to second `due`, in place of what it was set to.
    pub fn set(&mut self, id: u32, due: u32) {
        self.cancel(id);
        let ahead = due.saturating_sub(self.done).clamp(1, SLOTS - 1);
        let due = self.done.saturating_add(ahead);
        let slot = due % SLOTS;
        let Some(head) = self.heads.get_mut(slot as usize) else { return };
        let next = core::mem::replace(head, id);
        if let Some(link) = self.links.get_mut(next as usize) {
            link.previous = id;
        }
        let index = id as usize;
        if self.links.len() <= index {
            self.links.resize(index.saturating_add(1), Link { previous: NONE, next: NONE, slot: NONE });
        }
        if let Some(link) = self.links.get_mut(index) {
            *link = Link { previous: NONE, next, slot };
        }
        if let Some(word) = self.occupied.get_mut(slot as usize / 64) {
            *word |= 1 << (slot % 64);
        }
        self.next = Some(self.next.map_or(due, |at| at.min(due)));
    }

    /// Cancels the timer of `id`, if it has one.
    pub fn cancel(&mut self, id: u32) {
        let Some(link) = self.links.get_mut(id as usize) else { return };
        let Link { previous, next, slot } = *link;
        if slot == NONE {
            return;
        }
        link.slot = NONE;
        if let Some(link) = self.links.get_mut(next as usize) {
            link.previous = previous;
        }
        match self.links.get_mut(previous as usize) {
            Some(link) => link.next = next,
            None => {
                if let Some(head) = self.heads.get_mut(slot as usize) {
                    *head = next;
                }
                if next == NONE
                    && let Some(word) = self.occupied.get_mut(slot as usize / 64)
                {
                    *word &= !(1 << (slot % 64));
                }
            }
        }
    }

    /// Takes out one id whose second is not after `now`.
    pub fn pop(&mut self, now: u32) -> Option<u32> {
        while self.next.is_some_and(|next| next <= now) {
            let next = self.next.unwrap_or(now);
            self.done = self.done.max(next.saturating_sub(1));
            if let Some(&id) = self.heads.get((next % SLOTS) as usize)
                && id != NONE
            {
                self.cancel(id);
                return Some(id);
            }
            self.done = self.done.max(next);
            self.next = self.first_after(next);
        }
        self.done = self.done.max(now);
        None
    }

    /// The earliest second in which an id may be due.
    pub fn next(&self) -> Option<u32> {
        self.next
    }

    /// The first occupied second after `second`, within one turn of the wheel.
    fn first_after(&self, second: u32) -> Option<u32> {
        let from = second.wrapping_add(1) % SLOTS;
        let words = WORDS as u32;
        for step in 0..=words {
            let index = (from / 64 + step) % words;
            let mut word = self.occupied.get(index as usize).copied().unwrap_or(0);
            if step == 0 {
                word &= u64::MAX << (from % 64);
            } else if step == words {
                word &= !(u64::MAX << (from % 64));
            }
            if word != 0 {
                let slot = index * 64 + word.trailing_zeros();
                let ahead = (slot + SLOTS - from) % SLOTS;
                return Some(second.saturating_add(1).saturating_add(ahead));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_id_comes_out_in_its_second_and_not_before() {
        let mut wheel = Wheel::new(100);
        wheel.set(7, 105);
        wheel.set(8, 105);
        wheel.set(9, 104);
        wheel.cancel(8);
        assert_eq!(wheel.next(), Some(104));
        assert_eq!(wheel.pop(103), None);
        assert_eq!(wheel.pop(200), Some(9));
        assert_eq!(wheel.pop(200), Some(7));
        assert_eq!(wheel.pop(200), None);
        assert_eq!(wheel.next(), None);
    }

    #[test]
    fn a_deadline_beyond_the_span_is_looked_at_early() {
        let mut wheel = Wheel::new(0);
        wheel.set(1, 100_000);
        assert_eq!(wheel.next(), Some(SLOTS - 1));
        assert_eq!(wheel.pop(SLOTS), Some(1));
        wheel.set(1, 100_000);
        assert_eq!(wheel.pop(SLOTS), None);
        assert!(wheel.next().is_some_and(|next| next > SLOTS && next < 100_000));
    }

    proptest! {
        #[test]
        fn it_is_a_map_of_deadlines(
            steps in prop::collection::vec((0u8..4, 0u32..40, 1u32..3000, 0u32..4000), 1..200)
        ) {
            let mut wheel = Wheel::new(0);
            let mut model: BTreeMap<u32, u32> = BTreeMap::new();
            let mut now = 0;
            for (what, id, ahead, pass) in steps {
                match what {
                    0 | 1 => {
                        wheel.set(id, now + ahead);
                        model.insert(id, now + ahead);
                    }
                    2 => {
                        wheel.cancel(id);
                        model.remove(&id);
                    }
                    _ => {
                        if let Some(next) = model.values().min() {
                            prop_assert!(wheel.next().is_some_and(|at| at <= *next), "never late");
                        }
                        now += pass;
                        let mut due: Vec<u32> = core::iter::from_fn(|| wheel.pop(now)).collect();
                        due.sort_unstable();
                        let expected: Vec<u32> =
                            model.iter().filter(|(_, at)| **at <= now).map(|(id, _)| *id).collect();
                        model.retain(|_, at| *at > now);
                        prop_assert_eq!(due, expected);
                    }
                }
            }
        }
    }
}
