//! Addresses of the router that another station on the link uses: they are left alone until nobody does.

use alloc::vec::Vec;
use core::net::Ipv6Addr;

/// Most addresses that are remembered.
const MOST: usize = 16;

/// Addresses that another station on the link uses.
#[derive(Debug, Default)]
pub(super) struct Duplicates(Vec<Ipv6Addr>);

impl Duplicates {
    /// Somebody else has this address.
    pub(super) fn add(&mut self, address: Ipv6Addr) {
        if self.0.len() < MOST && !self.0.contains(&address) {
            self.0.push(address);
        }
    }

    /// Nobody else has this address.
    pub(super) fn remove(&mut self, address: Ipv6Addr) {
        self.0.retain(|duplicate| *duplicate != address);
    }

    /// The link is another one.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn contains(&self, address: &Ipv6Addr) -> bool {
        self.0.contains(address)
    }
}
