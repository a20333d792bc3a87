//! Addresses for a concentrator's subscribers.
//!
//! Addresses that were never given out come first; of those that came back, the one that has been free the longest, so
//! that what still flies towards a subscriber who left does not reach another. A subscriber who returns gets the last
//! address again while it is free.

use alloc::collections::BTreeMap;
use core::net::Ipv4Addr;

use super::users::UserId;
use crate::id::Ipv4Cidr;
use crate::rng::Rng;
use crate::table::{Map, Seed, Set};

/// A pool of addresses.
#[derive(Debug)]
pub struct Pool {
    /// The first address that was never given out, and the last of the pool. `None` when all were.
    fresh: Option<(u32, u32)>,
    /// Addresses that the pool never gives out.
    reserved: Set<u32>,
    /// Addresses that came back: by the order in which they did, and the order by address.
    released: BTreeMap<u64, u32>,
    order: Map<u32, u64>,
    next: u64,
    last: Map<UserId, u32>,
    /// Number of addresses in the pool that are not given out.
    free: u32,
}

impl Pool {
    /// The addresses of `network` without its own (network and broadcast address) and without `reserved`.
    pub fn new(
        network: Ipv4Cidr,
        reserved: impl Iterator<Item = Ipv4Addr>,
        rng: &mut (impl Rng + ?Sized),
    ) -> Self {
        let (mut first, mut last) =
            (network.network().to_bits(), network.network().to_bits() | !network.mask());
        if let Some(broadcast) = network.broadcast() {
            first = first.saturating_add(1);
            last = broadcast.to_bits().saturating_sub(1);
        }
        let mut set = Set::with_hasher(Seed::draw(rng));
        set.extend(reserved.map(Ipv4Addr::to_bits).filter(|address| (first..=last).contains(address)));
        let taken = u32::try_from(set.len()).unwrap_or(u32::MAX);
        Pool {
            fresh: Some((first, last)),
            free: last.saturating_sub(first).saturating_add(1).saturating_sub(taken),
            reserved: set,
            released: BTreeMap::new(),
            order: Map::with_hasher(Seed::draw(rng)),
            next: 0,
            last: Map::with_hasher(Seed::draw(rng)),
        }
    }

    /// An address for `user`; `None` when none is free.
    pub fn take(&mut self, user: UserId) -> Option<Ipv4Addr> {
        let address = self.same_again(user).or_else(|| self.fresh()).or_else(|| self.longest_free())?;
        self.last.insert(user, address);
        self.free = self.free.saturating_sub(1);
        Some(address.into())
    }

    /// Gives back an address of [`Pool::take`].
    pub fn give(&mut self, address: Ipv4Addr) {
        let address = address.to_bits();
        if !self.order.contains_key(&address) {
            self.order.insert(address, self.next);
            self.released.insert(self.next, address);
            self.next = self.next.saturating_add(1);
            self.free = self.free.saturating_add(1);
        }
    }

    /// Number of addresses that can be given out.
    pub fn free(&self) -> u32 {
        self.free
    }

    fn same_again(&mut self, user: UserId) -> Option<u32> {
        let address = *self.last.get(&user)?;
        let order = self.order.remove(&address)?;
        self.released.remove(&order)
    }

    fn fresh(&mut self) -> Option<u32> {
        while let Some((address, last)) = self.fresh {
            self.fresh = address.checked_add(1).filter(|&next| next <= last).map(|next| (next, last));
            if !self.reserved.contains(&address) {
                return Some(address);
            }
        }
        None
    }

    fn longest_free(&mut self) -> Option<u32> {
        let (_, address) = self.released.pop_first()?;
        self.order.remove(&address);
        Some(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pppoe::users::Users;
    use crate::rng::SeededRng;
    use crate::secret::Secret;
    use crate::settings::User;
    use alloc::format;
    use alloc::vec::Vec;

    fn pool(text: [u8; 4], prefix: u8, reserved: &[[u8; 4]]) -> Pool {
        let network = Ipv4Cidr { address: text.into(), prefix };
        Pool::new(network, reserved.iter().map(|&octets| octets.into()), &mut SeededRng::from_u64(1))
    }

    fn ids(count: usize) -> Vec<UserId> {
        let user = |n| User { name: format!("u{n}"), password: Secret::new("x"), ipv4: None, prefix: None };
        let list: Vec<_> = (0..count).map(user).collect();
        let users = Users::new(&list, &mut SeededRng::from_u64(1));
        list.iter().map(|user| users.find(user.name.as_bytes()).unwrap()).collect()
    }

    #[test]
    fn every_host_address_is_given_out_once_and_then_none() {
        let mut pool = pool([10, 0, 0, 77], 29, &[[10, 0, 0, 73], [10, 0, 0, 75], [10, 9, 9, 9]]);
        assert_eq!(pool.free(), 4);
        let got: Vec<_> = ids(5).into_iter().map_while(|user| pool.take(user)).collect();
        let want: Vec<Ipv4Addr> = [74, 76, 77, 78].map(|last| [10, 0, 0, last].into()).to_vec();
        assert_eq!(got, want);
        assert_eq!(pool.free(), 0);
    }

    #[test]
    fn a_user_gets_the_same_address_again_and_a_fresh_release_comes_last() {
        let ids = ids(4);
        let mut pool = pool([10, 0, 0, 0], 29, &[]);
        let first: Vec<_> = ids[..3].iter().map(|&user| pool.take(user).unwrap()).collect();
        pool.give(first[1]);
        pool.give(first[0]);
        pool.give(first[0]);
        assert_eq!(pool.free(), 5);
        assert_eq!(pool.take(ids[0]), Some(first[0]), "the same again");
        assert_eq!(pool.take(ids[0]), Some([10, 0, 0, 4].into()), "never used before used");
        pool.give(first[0]);
        for last in [5, 6] {
            assert_eq!(pool.take(ids[3]), Some([10, 0, 0, last].into()));
        }
        assert_eq!(pool.take(ids[3]), Some(first[1]), "the one that is free the longest");
        assert_eq!(pool.take(ids[1]), Some(first[0]), "its own is taken");
        assert_eq!(pool.take(ids[1]), None);
    }

    #[test]
    fn networks_of_one_and_two_addresses_have_no_broadcast() {
        let user = ids(1)[0];
        assert_eq!(pool([10, 0, 0, 1], 32, &[]).take(user), Some([10, 0, 0, 1].into()));
        assert_eq!(pool([10, 0, 0, 0], 31, &[]).free(), 2);
        assert_eq!(pool([10, 0, 0, 1], 32, &[[10, 0, 0, 1]]).take(user), None);
        assert_eq!(pool([0, 0, 0, 0], 0, &[]).take(user), Some([0, 0, 0, 1].into()));
    }
}
