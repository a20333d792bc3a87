//! Hash tables whose seed is an input.
//!
//! Keys come from the network, so the hash is seeded: a peer that does not know the seed cannot aim at one bucket.

use foldhash::fast::{FixedState, FoldHasher};

use crate::rng::Rng;

/// Builds the seeded hasher of [`Map`] and [`Set`].
#[derive(Debug, Clone)]
pub struct Seed(FixedState);

impl Seed {
    /// A seed drawn from `rng`.
    pub fn draw(rng: &mut (impl Rng + ?Sized)) -> Self {
        Seed(FixedState::with_seed(rng.next_u64()))
    }
}

impl core::hash::BuildHasher for Seed {
    type Hasher = FoldHasher<'static>;

    fn build_hasher(&self) -> Self::Hasher {
        self.0.build_hasher()
    }
}

/// A hash map with an injected seed: `Map::with_hasher(Seed::draw(rng))`.
pub type Map<K, V> = hashbrown::HashMap<K, V, Seed>;

/// A hash set with an injected seed: `Set::with_hasher(Seed::draw(rng))`.
pub type Set<K> = hashbrown::HashSet<K, Seed>;
