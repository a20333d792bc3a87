//! Which data messages came before: a window over their counters (RFC 6479).
//!
//! The window is a ring of words. A new highest counter clears the words that it leaps over, so a message costs the same
//! however old the last one is.

use super::REJECT_AFTER_MESSAGES;

/// Bits that are kept.
pub const BITS: u64 = 8192;
/// So far behind the highest counter may a message be: all bits but the word that is being filled.
pub const WINDOW: u64 = BITS - WORD;

const WORD: u64 = u64::BITS as u64;
const WORDS: usize = (BITS / WORD) as usize;

/// The counters of one keypair that came.
#[derive(Debug, Clone)]
pub struct Window {
    /// One more than the highest counter that came.
    next: u64,
    /// How many came.
    count: u64,
    words: [u64; WORDS],
}

impl Default for Window {
    fn default() -> Self {
        Window { next: 0, count: 0, words: [0; WORDS] }
    }
}

impl Window {
    /// True when `counter` is new, and not too old to say so, nor beyond what a keypair may count.
    pub fn is_new(&self, counter: u64) -> bool {
        if counter >= REJECT_AFTER_MESSAGES {
            return false;
        }
        if counter >= self.next {
            return true;
        }
        let (index, bit) = place(counter);
        self.next - counter <= WINDOW && self.words.get(index).is_some_and(|word| word & bit == 0)
    }

    /// Remembers `counter`, which is new and of a message that was authentic.
    pub fn remember(&mut self, counter: u64) {
        if counter >= self.next {
            if let Some(highest) = self.next.checked_sub(1) {
                let (from, to) = (highest / WORD, counter / WORD);
                for word in (from + 1..=to).rev().take(WORDS) {
                    if let Some(word) = self.words.get_mut((word % WORDS as u64) as usize) {
                        *word = 0;
                    }
                }
            }
            self.next = counter.saturating_add(1);
        }
        let (index, bit) = place(counter);
        if let Some(word) = self.words.get_mut(index) {
            *word |= bit;
        }
        self.count = self.count.saturating_add(1);
    }

    /// How many messages did not come, of those up to the highest that did.
    pub fn missing(&self) -> u64 {
        self.next.saturating_sub(self.count)
    }
}

fn place(counter: u64) -> (usize, u64) {
    ((counter / WORD % WORDS as u64) as usize, 1 << (counter % WORD))
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use super::*;
    use crate::rng::{Rng, SeededRng};

    fn take(window: &mut Window, counter: u64) -> bool {
        let new = window.is_new(counter);
        if new {
            window.remember(counter);
        }
        new
    }

    /// RFC 6479 §2.
    #[test]
    fn rfc6479_each_counter_passes_once_and_old_ones_never() {
        let mut window = Window::default();
        assert!(take(&mut window, 0));
        assert!(!take(&mut window, 0));
        assert!(take(&mut window, 1) && take(&mut window, 9) && take(&mut window, 8) && take(&mut window, 7));
        assert!(!take(&mut window, 7) && !take(&mut window, 8) && !take(&mut window, 9));
        assert!(take(&mut window, WINDOW), "the highest moves the window");
        assert!(take(&mut window, 2), "just within");
        assert!(!take(&mut window, 2));
        assert!(take(&mut window, WINDOW + 16));
        assert!(!take(&mut window, 16), "just behind it");
        assert!(take(&mut window, 17));
        assert!(take(&mut window, WINDOW * 4));
        assert!(!take(&mut window, WINDOW * 3 - 1) && take(&mut window, WINDOW * 3 + 1));
        let last = REJECT_AFTER_MESSAGES - 1;
        assert!(take(&mut window, last) && !take(&mut window, last));
        assert!(!take(&mut window, last + 1) && !take(&mut window, u64::MAX));
        assert!(take(&mut window, last - 1), "a leap over everything clears everything");
    }

    #[test]
    fn the_window_says_what_a_list_of_all_counters_would() {
        let mut rng = SeededRng::from_u64(6);
        let mut window = Window::default();
        let (mut seen, mut highest) = (BTreeSet::new(), 0u64);
        for _ in 0..200_000 {
            let step = if rng.below(100) == 0 { 20_000 } else { 100 };
            let counter = (highest + rng.below(step)).saturating_sub(rng.below(10_000));
            let old = !seen.is_empty() && counter + WINDOW <= highest;
            assert_eq!(take(&mut window, counter), !old && seen.insert(counter));
            highest = highest.max(counter);
        }
        assert_eq!(window.missing(), highest + 1 - seen.len() as u64);
    }
}
