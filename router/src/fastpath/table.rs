//! The flow table of one version of IP, in memory that the kernel half reads: a record for each direction of a flow, and
//! an index of buckets.
//!
//! A direction has its place: the number of the record follows from the number of the flow, so that the table needs no
//! lists of its own. The kernel half may read at any moment. So a record's sequence is odd while it is written or unused,
//! and a reader that sees it odd, or another one after than before, leaves the packet to user space. A bucket that is full
//! does the same to the flow.

use std::marker::PhantomData;

use bytemuck::Pod;

use super::SharedMemory;
use super::layout::{self, BUCKET, Course, FIRST_PLACE, Flow4, Flow6, Key4, Key6, NUMBER_BITS};

/// Memory that is shared with the kernel half. Whatever is stored is seen after all that was stored before.
pub trait Memory {
    /// Octets.
    fn len(&self) -> usize;
    /// True when there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The number at an octet offset that is a multiple of four; 0 beyond the end.
    fn load(&self, offset: usize) -> u32;
    /// Stores there; nothing beyond the end.
    fn store(&self, offset: usize, value: u32);
}

impl Memory for SharedMemory {
    fn len(&self) -> usize {
        SharedMemory::len(self)
    }

    fn load(&self, offset: usize) -> u32 {
        self.load_u32(offset)
    }

    fn store(&self, offset: usize, value: u32) {
        self.store_u32(offset, value);
    }
}

/// A record of a direction of a flow.
pub trait Record: Pod {
    /// What tells it.
    type Key: Pod + Eq;
    /// What tells it.
    fn key(&self) -> Self::Key;
    /// What every direction has.
    fn course(&self) -> &Course;
    /// Octets at which the key is.
    const KEY: usize;
    /// Octets at which the course is.
    const COURSE: usize;
}

impl Record for Flow4 {
    type Key = Key4;
    const KEY: usize = std::mem::offset_of!(Flow4, key);
    const COURSE: usize = std::mem::offset_of!(Flow4, course);

    fn key(&self) -> Key4 {
        self.key
    }

    fn course(&self) -> &Course {
        &self.course
    }
}

impl Record for Flow6 {
    type Key = Key6;
    const KEY: usize = std::mem::offset_of!(Flow6, key);
    const COURSE: usize = std::mem::offset_of!(Flow6, course);

    fn key(&self) -> Key6 {
        self.key
    }

    fn course(&self) -> &Course {
        &self.course
    }
}

/// Octets of a bucket.
const BUCKET_OCTETS: usize = BUCKET * 4;
/// Records for each bucket that is used, while there are more buckets. Twice as many are where a bucket waits to be divided; of
/// those, one in 23,000 finds no place.
const FILL: usize = 3;

/// The hash of a key.
fn hash_of<K: Pod>(seed: [u64; 2], key: &K) -> u64 {
    let (words, _) = bytemuck::bytes_of(key).as_chunks::<8>();
    layout::hash(seed, words.iter().map(|word| u64::from_ne_bytes(*word)))
}

/// Size of an index for this many records, in buckets: when all are used, its buckets are half full on average, and one more has
/// the extent.
pub fn buckets(records: u32) -> u32 {
    (records / (BUCKET as u32 / 2)).max(1).next_power_of_two() + 1
}

/// The table.
#[derive(Debug)]
pub struct Table<R, M> {
    flows: M,
    index: M,
    seed: [u64; 2],
    /// Packets of each record at the last [`Table::carried`].
    seen: Vec<u32>,
    /// Which records are in use, a bit each.
    used: Vec<u64>,
    len: usize,
    _record: PhantomData<R>,
}

impl<R: Record, M: Memory> Table<R, M> {
    /// A table in memory that is all zeros. `index` has as many buckets as [`buckets`] says.
    pub fn new(flows: M, index: M, seed: [u64; 2]) -> Self {
        Table { flows, index, seed, seen: Vec::new(), used: Vec::new(), len: 0, _record: PhantomData }
    }

    /// The memory of the records.
    pub fn memory(&self) -> &M {
        &self.flows
    }

    /// Number of records that there is room for.
    pub fn capacity(&self) -> u32 {
        let records = self.flows.len() / size_of::<R>();
        u32::try_from(records).unwrap_or(u32::MAX).min((1 << NUMBER_BITS) - 1)
    }

    /// Number of records in use.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when no record is in use.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// One more than the highest number that was ever used.
    pub fn end(&self) -> u32 {
        u32::try_from(self.seen.len()).unwrap_or(u32::MAX)
    }

    /// True when record `number` is in use.
    pub fn has(&self, number: u32) -> bool {
        self.used.get(number as usize / 64).is_some_and(|word| word >> (number % 64) & 1 == 1)
    }

    /// Writes record `number`, whose sequence does not matter, in place of what is there. False when there is no room: then
    /// it is unused.
    pub fn put(&mut self, number: u32, record: &R) -> bool {
        self.remove(number);
        if number >= self.capacity() {
            return false;
        }
        write(&self.flows, self.offset(number), record);
        if !self.enter(number, &record.key()) {
            close(&self.flows, self.offset(number));
            return false;
        }
        let index = number as usize;
        if index >= self.seen.len() {
            self.seen.resize(index + 1, 0);
            self.used.resize(index / 64 + 1, 0);
        }
        if let (Some(seen), Some(word)) = (self.seen.get_mut(index), self.used.get_mut(index / 64)) {
            *seen = 0;
            *word |= 1 << (number % 64);
        }
        self.len += 1;
        true
    }

    /// Takes record `number` out and says what it was; nothing when it is unused.
    pub fn remove(&mut self, number: u32) -> Option<R> {
        if !self.has(number) {
            return None;
        }
        if let Some(word) = self.used.get_mut(number as usize / 64) {
            *word &= !(1 << (number % 64));
        }
        self.len -= 1;
        let record = self.read(number)?;
        self.leave(number, &record.key());
        close(&self.flows, self.offset(number));
        Some(record)
    }

    /// Record `number` as it is; nothing beyond the end.
    pub fn read(&self, number: u32) -> Option<R> {
        (number < self.capacity()).then(|| load(&self.flows, self.offset(number)))
    }

    /// How many packets the kernel half has carried of `number` since it was last asked, and its course; nothing when there
    /// were none.
    pub fn carried(&mut self, number: u32) -> Option<(u32, Course)> {
        let at = self.offset(number) + R::COURSE;
        if !self.has(number) {
            return None;
        }
        let seen = self.seen.get_mut(number as usize)?;
        let packets = self.flows.load(at + std::mem::offset_of!(Course, packets));
        let new = packets.wrapping_sub(*seen);
        if new == 0 {
            return None;
        }
        *seen = packets;
        Some((new, load(&self.flows, at)))
    }

    fn offset(&self, number: u32) -> usize {
        number as usize * size_of::<R>()
    }

    /// The extent of the index: its mask, and how many buckets are used.
    fn extent(&self) -> (u32, u32) {
        (self.index.load(0), self.index.load(4).max(1))
    }

    /// The places in bucket `bucket` of a key with this hash, in the order in which the kernel half looks at them.
    fn places(bucket: u32, hash: u64) -> impl Iterator<Item = usize> + use<R, M> {
        let start = (bucket as usize + 1) * BUCKET_OCTETS;
        let first = (hash >> FIRST_PLACE) as usize;
        (first..first + BUCKET).map(move |place| start + place % BUCKET * 4)
    }

    /// The places of the bucket that `key` is in, and the entry of record `number` there.
    fn find(&self, number: u32, key: &R::Key) -> (impl Iterator<Item = usize> + use<R, M>, u32) {
        let hash = hash_of(self.seed, key);
        let (mask, buckets) = self.extent();
        let bucket = hash as u32 & mask;
        let bucket = if bucket < buckets { bucket } else { bucket & mask >> 1 };
        let tag = (hash >> 56) as u32;
        (Self::places(bucket, hash), tag << NUMBER_BITS | (number + 1))
    }

    fn enter(&mut self, number: u32, key: &R::Key) -> bool {
        while self.len >= FILL * self.extent().1 as usize && self.grow() {}
        let (mut places, entry) = self.find(number, key);
        match places.find(|at| self.index.load(*at) == 0) {
            Some(free) => {
                self.index.store(free, entry);
                true
            }
            None => false,
        }
    }

    fn leave(&mut self, number: u32, key: &R::Key) {
        let (places, entry) = self.find(number, key);
        for at in places {
            if self.index.load(at) == entry {
                self.index.store(at, 0);
            }
        }
    }

    /// Adds a bucket. What is its own is copied from the bucket that has had it, then readers look here, then it goes there.
    /// False when there is no room.
    fn grow(&mut self) -> bool {
        let (mask, new) = self.extent();
        if (new as usize + 2) * BUCKET_OCTETS > self.index.len() {
            return false;
        }
        let wider = if new > mask { mask << 1 | 1 } else { mask };
        let mut moved = [None; BUCKET];
        for (at, moved) in Self::places(new & wider >> 1, 0).zip(&mut moved) {
            let entry = self.index.load(at);
            let Some(number) = (entry & ((1 << NUMBER_BITS) - 1)).checked_sub(1) else { continue };
            let key = load::<R::Key>(&self.flows, self.offset(number) + R::KEY);
            let hash = hash_of(self.seed, &key);
            if hash as u32 & wider == new {
                *moved = Some(at);
                if let Some(free) = Self::places(new, hash).find(|at| self.index.load(*at) == 0) {
                    self.index.store(free, entry);
                }
            }
        }
        self.index.store(0, wider);
        self.index.store(4, new + 1);
        moved.into_iter().flatten().for_each(|at| self.index.store(at, 0));
        true
    }
}

/// Reads a structure word by word.
pub fn load<T: Pod>(memory: &impl Memory, start: usize) -> T {
    let mut value = T::zeroed();
    for (at, word) in (start..).step_by(4).zip(bytemuck::bytes_of_mut(&mut value).chunks_exact_mut(4)) {
        word.copy_from_slice(&memory.load(at).to_ne_bytes());
    }
    value
}

/// Writes a structure word by word.
pub fn store<T: Pod>(memory: &impl Memory, start: usize, value: &T) {
    store_words(memory, start, value, 0);
}

/// Writes a structure that begins with its sequence, so that a reader sees all of it or that it is being written. What is
/// said of the sequence in `value` does not matter.
pub fn write<T: Pod>(memory: &impl Memory, start: usize, value: &T) {
    let odd = memory.load(start) | 1;
    memory.store(start, odd);
    store_words(memory, start, value, 1);
    memory.store(start, odd.wrapping_add(1));
}

/// Says of a structure that begins with its sequence that it is unused.
pub fn close(memory: &impl Memory, start: usize) {
    memory.store(start, memory.load(start) | 1);
}

fn store_words<T: Pod>(memory: &impl Memory, start: usize, value: &T, from: usize) {
    let words = bytemuck::bytes_of(value).chunks_exact(4);
    for (at, word) in (start..).step_by(4).zip(words).skip(from) {
        memory.store(at, word.first_chunk().map_or(0, |word| u32::from_ne_bytes(*word)));
    }
}

/// Memory of the program alone.
#[cfg(test)]
pub mod local {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::Memory;

    /// Shared by its clones.
    #[derive(Debug, Clone)]
    pub struct Local(Rc<RefCell<Vec<u32>>>);

    impl Local {
        /// So many octets of zeros.
        pub fn new(octets: usize) -> Local {
            Local(Rc::new(RefCell::new(vec![0; octets / 4])))
        }

        /// Makes all zeros again.
        pub fn clear(&self) {
            self.0.borrow_mut().fill(0);
        }
    }

    impl Memory for Local {
        fn len(&self) -> usize {
            self.0.borrow().len() * 4
        }

        fn load(&self, offset: usize) -> u32 {
            self.0.borrow().get(offset / 4).copied().unwrap_or(0)
        }

        fn store(&self, offset: usize, value: u32) {
            if let Some(word) = self.0.borrow_mut().get_mut(offset / 4) {
                *word = value;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::local::Local;
    use super::*;

    const SEED: [u64; 2] = [0x1234_5678_9abc_def0, 0x0fed_cba9_8765_4321];

    fn table(records: u32) -> (Table<Flow4, Local>, Local, Local) {
        let flows = Local::new(records as usize * size_of::<Flow4>());
        let index = Local::new(buckets(records) as usize * BUCKET_OCTETS);
        (Table::new(flows.clone(), index.clone(), SEED), flows, index)
    }

    fn flow(n: u32) -> Flow4 {
        let key = Key4 { source: n.to_be_bytes(), link: 3, protocol: 6, ..Key4::default() };
        Flow4 { key, course: Course { adjacency: n, ..Course::default() }, ..Flow4::default() }
    }

    /// As the kernel half looks a key up.
    fn find(flows: &Local, index: &Local, key: &Key4) -> Option<Flow4> {
        let hash = hash_of(SEED, key);
        let (mask, buckets) = (index.load(0), index.load(4).max(1));
        let mut bucket = hash as u32 & mask;
        if bucket >= buckets {
            bucket &= mask >> 1;
        }
        let start = (bucket as usize + 1) * BUCKET_OCTETS;
        (start..start + BUCKET_OCTETS).step_by(4).find_map(|at| {
            let entry = index.load(at);
            let number = (entry & ((1 << NUMBER_BITS) - 1)).checked_sub(1)?;
            if entry >> NUMBER_BITS != (hash >> 56) as u32 {
                return None;
            }
            let flow: Flow4 = load(flows, number as usize * size_of::<Flow4>());
            (flow.sequence.is_multiple_of(2) && flow.key == *key).then_some(flow)
        })
    }

    #[test]
    fn what_is_put_is_found_until_it_is_removed() {
        let (mut table, flows, index) = table(1000);
        for n in 0..1000 {
            assert!(table.put(n, &flow(n)), "{n}");
        }
        assert_eq!(table.len(), 1000);
        for n in 0..1000 {
            assert_eq!(find(&flows, &index, &flow(n).key).map(|flow| flow.course.adjacency), Some(n));
        }
        for n in (0..1000).step_by(2) {
            assert_eq!(table.remove(n).map(|flow| flow.course.adjacency), Some(n));
            assert_eq!(table.remove(n), None);
        }
        for n in 0..1000 {
            assert_eq!(find(&flows, &index, &flow(n).key).is_some(), n % 2 == 1);
        }
        assert_eq!(table.len(), 500);
    }

    /// Few flows touch little memory. A bucket is full now and then.
    #[test]
    fn the_index_grows_with_the_flows_and_nothing_is_lost_on_the_way() {
        let (mut table, flows, index) = table(10_000);
        let mut put = Vec::new();
        for n in 0..10_000 {
            if table.put(n, &flow(n)) {
                put.push(n);
            }
            let (mask, buckets) = (index.load(0), index.load(4).max(1));
            assert_eq!(mask, buckets.next_power_of_two() - 1);
            assert!((1..=n / 3 + 1).contains(&buckets), "{buckets} buckets for {n} flows");
            if n.is_multiple_of(97) {
                assert!(put.iter().all(|n| find(&flows, &index, &flow(*n).key).is_some()), "{n}");
            }
        }
        assert!(put.len() > 9_995, "{} of 10,000 have found room", put.len());
        assert_eq!(index.load(4) as usize, index.len() / BUCKET_OCTETS - 1);
        let used = (BUCKET_OCTETS..index.len()).step_by(4).filter(|at| index.load(*at) != 0).count();
        assert_eq!(used, put.len());
    }

    #[test]
    fn a_record_is_replaced_with_another_sequence_and_leaves_nothing_behind() {
        let (mut table, flows, index) = table(64);
        assert!(table.put(5, &flow(1)));
        let first = table.read(5).unwrap().sequence;
        assert!(table.put(5, &flow(2)));
        let second = table.read(5).unwrap().sequence;
        assert!(first % 2 == 0 && second % 2 == 0 && first != second, "{first} {second}");
        assert_eq!(find(&flows, &index, &flow(1).key), None);
        assert!(find(&flows, &index, &flow(2).key).is_some());
        table.remove(5);
        assert_eq!(table.read(5).unwrap().sequence % 2, 1);
        let entries = (BUCKET_OCTETS..index.len()).step_by(4).filter(|at| index.load(*at) != 0).count();
        assert_eq!((table.len(), entries), (0, 0));
    }

    #[test]
    fn a_full_bucket_and_a_number_beyond_the_end_are_refused_and_nothing_changes() {
        let flows = Local::new(32 * size_of::<Flow4>());
        let index = Local::new(2 * BUCKET_OCTETS);
        let mut table: Table<Flow4, _> = Table::new(flows.clone(), index.clone(), SEED);
        for n in 0..BUCKET as u32 {
            assert!(table.put(n, &flow(n)));
        }
        assert!(!table.put(20, &flow(20)));
        assert!(!table.put(32, &flow(32)));
        assert_eq!((table.len(), find(&flows, &index, &flow(20).key)), (BUCKET, None));
        table.remove(0);
        assert!(table.put(20, &flow(20)));
    }

    #[test]
    fn packets_are_told_once_and_count_on_past_the_largest_number() {
        let (mut table, flows, _) = table(64);
        table.put(7, &flow(7));
        assert_eq!(table.carried(7), None);
        let at = 7 * size_of::<Flow4>() + <Flow4 as Record>::COURSE;
        let packets = at + std::mem::offset_of!(Course, packets);
        flows.store(packets, u32::MAX - 1);
        flows.store(at + std::mem::offset_of!(Course, last), 99);
        let told = |(packets, course): (u32, Course)| (packets, course.last);
        assert_eq!(table.carried(7).map(told), Some((u32::MAX - 1, 99)));
        assert_eq!(table.carried(7), None);
        flows.store(packets, 3);
        assert_eq!(table.carried(7).map(told), Some((5, 99)));
        table.remove(7);
        assert_eq!(table.carried(7), None);
    }

    #[test]
    fn maps_emptied_by_hand_are_filled_again_by_the_next_put() {
        let (mut table, flows, index) = table(64);
        table.put(1, &flow(1));
        flows.clear();
        index.clear();
        assert!(find(&flows, &index, &flow(1).key).is_none());
        assert!(table.put(1, &flow(1)));
        assert!(find(&flows, &index, &flow(1).key).is_some());
        assert_eq!(table.len(), 1);
    }
}
