//! Answers that are still good (RFC 1035 §7.4, RFC 2308 §5).
//!
//! An answer is kept as it came, its question in lower case, for as long as its shortest record lives. The table is
//! bounded in entries and octets; what would run out soonest makes room.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::message::{self, Question};
use crate::time::{Duration, Instant};

/// Most answers kept.
pub const ENTRIES: usize = 8192;
/// Most octets of answers kept.
pub const OCTETS: usize = 4 << 20;
/// Longest time for which an answer is kept.
pub const LONGEST: Duration = Duration::from_secs(86_400);
/// Largest answer that is kept.
const ANSWER_MAX: usize = 16_384;

/// What tells one question from another: what is asked for, and how.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// What is asked for.
    pub question: Question,
    /// The query's flags that change the answer: recursion desired, authentic data, checking disabled.
    pub flags: u16,
    /// Whether the query speaks EDNS, and wants DNSSEC records.
    pub edns: Option<bool>,
}

#[derive(Debug)]
struct Entry {
    answer: Vec<u8>,
    stored: Instant,
    expires: (Instant, u64),
}

/// Answers that are still good.
#[derive(Debug, Default)]
pub struct Cache {
    entries: BTreeMap<Key, Entry>,
    /// In the order of their end, told apart by a running number.
    ends: BTreeMap<(Instant, u64), Key>,
    octets: usize,
    number: u64,
}

impl Cache {
    /// Keeps an answer for `lifetime` seconds, at most [`LONGEST`].
    pub fn store(&mut self, now: Instant, key: Key, mut answer: Vec<u8>, lifetime: u32) {
        if answer.len() > ANSWER_MAX {
            return;
        }
        self.remove(&key);
        let lifetime = Duration::from_secs(u64::from(lifetime)).min(LONGEST);
        message::address_to(&mut answer, 0, &key.question.name);
        self.number = self.number.wrapping_add(1);
        let expires = (now + lifetime, self.number);
        self.octets = self.octets.saturating_add(answer.len());
        self.ends.insert(expires, key.clone());
        self.entries.insert(key, Entry { answer, stored: now, expires });
        while self.entries.len() > ENTRIES || self.octets > OCTETS {
            let Some(key) = self.ends.first_key_value().map(|(_, key)| key.clone()) else { break };
            self.remove(&key);
        }
    }

    /// The answer to a question, its times to live counted down.
    pub fn find(&mut self, now: Instant, key: &Key) -> Option<Vec<u8>> {
        let entry = self.entries.get(key)?;
        if entry.expires.0 <= now {
            self.remove(key);
            return None;
        }
        let age = u32::try_from(now.since(entry.stored).as_secs()).unwrap_or(u32::MAX);
        let mut answer = entry.answer.clone();
        message::age(&mut answer, age);
        Some(answer)
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Cache { number: self.number, ..Cache::default() };
    }

    /// Number of answers kept.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True when nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn remove(&mut self, key: &Key) {
        if let Some(entry) = self.entries.remove(key) {
            self.ends.remove(&entry.expires);
            self.octets = self.octets.saturating_sub(entry.answer.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn key(n: u32) -> Key {
        let name = [&[4], &n.to_be_bytes()[..], &[0]].concat();
        Key { question: Question { name, kind: 1, class: 1 }, flags: 0x100, edns: None }
    }

    /// An answer with one address that lives for `ttl` seconds.
    fn answer(key: &Key, ttl: u32) -> Vec<u8> {
        let mut out = vec![0xab, 0xcd, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
        out.extend(&key.question.name);
        out.extend([0, 1, 0, 1, 0xc0, 12, 0, 1, 0, 1]);
        out.extend(ttl.to_be_bytes());
        out.extend([0, 4, 192, 0, 2, 1]);
        out
    }

    #[test]
    fn rfc1035_7_4_an_answer_lives_as_long_as_its_record_and_counts_down() {
        let mut cache = Cache::default();
        let start = Instant::from_secs(10);
        cache.store(start, key(1), answer(&key(1), 60), 60);
        let later = cache.find(start + Duration::from_secs(59), &key(1)).unwrap();
        assert_eq!(later[..2], [0, 0]);
        let mut expected = answer(&key(1), 1);
        message::address_to(&mut expected, 0, &key(1).question.name);
        assert_eq!(later, expected);
        assert_eq!(cache.find(start + Duration::from_secs(60), &key(1)), None);
        assert!(cache.is_empty());
    }

    #[test]
    fn the_table_is_bounded_and_what_ends_soonest_goes_first() {
        let mut cache = Cache::default();
        let now = Instant::ZERO;
        for n in 0..ENTRIES as u32 + 100 {
            cache.store(now, key(n), answer(&key(n), 1000 + n), 1000 + n);
        }
        assert_eq!(cache.len(), ENTRIES);
        assert_eq!(cache.find(now, &key(0)), None);
        assert!(cache.find(now, &key(ENTRIES as u32)).is_some());
        for n in 0..2000 {
            let mut large = answer(&key(n), 60);
            large.resize(ANSWER_MAX, 0);
            cache.store(now, key(n), large, 60);
        }
        assert!(cache.octets <= OCTETS);
        cache.clear();
        assert_eq!((cache.len(), cache.octets, cache.ends.len()), (0, 0, 0));
    }
}
