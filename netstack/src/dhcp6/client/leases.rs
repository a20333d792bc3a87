//! What a server has leased to us: prefixes and addresses, until when, and when to ask again.

use alloc::vec::Vec;
use core::net::Ipv6Addr;

use serde::{Deserialize, Serialize};

use crate::dhcp6::option::{Ia, IaKind};
use crate::id::Ipv6Cidr;
use crate::time::Instant;

/// Most prefixes, and most addresses, that we take.
pub(super) const LEASES_MAX: usize = 8;

/// A prefix that is delegated to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delegation {
    /// The prefix.
    pub prefix: Ipv6Cidr,
    /// Until when new connections should use it.
    pub preferred_until: Instant,
    /// Until when it is ours: it is valid before this instant, and not at it.
    pub valid_until: Instant,
    /// The part of it that belongs to the link to the ISP and must not be used elsewhere (RFC 6603).
    pub exclude: Option<Ipv6Cidr>,
}

/// An address that is leased to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// The address.
    pub address: Ipv6Addr,
    /// Until when new connections should use it.
    pub preferred_until: Instant,
    /// Until when it is ours.
    pub valid_until: Instant,
}

/// What one server has offered or leased.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Leases {
    pub(super) prefixes: Vec<Delegation>,
    pub(super) addresses: Vec<Address>,
}

impl Leases {
    pub(super) fn is_empty(&self) -> bool {
        self.prefixes.is_empty() && self.addresses.is_empty()
    }

    /// Takes over what an IA_PD or IA_NA says. A lifetime of 0 ends a lease; one that is not named stays as it is (RFC 8415
    /// §18.2.10.1).
    pub(super) fn update(&mut self, now: Instant, kind: IaKind, ia: Ia<'_>) {
        match kind {
            IaKind::Prefixes => {
                for lease in ia.options.ia_prefixes().filter(|lease| may_be_delegated(lease.prefix)) {
                    let new = Delegation {
                        prefix: lease.prefix,
                        preferred_until: now.after_lifetime(lease.preferred),
                        valid_until: now.after_lifetime(lease.valid),
                        exclude: lease.exclude(),
                    };
                    take(&mut self.prefixes, new, lease.valid != 0, |known| known.prefix == lease.prefix);
                }
            }
            IaKind::Addresses => {
                for lease in ia.options.ia_addresses().filter(|lease| may_be_ours(lease.address)) {
                    let new = Address {
                        address: lease.address,
                        preferred_until: now.after_lifetime(lease.preferred),
                        valid_until: now.after_lifetime(lease.valid),
                    };
                    take(&mut self.addresses, new, lease.valid != 0, |known| known.address == lease.address);
                }
            }
        }
    }

    /// Ends what has run out. Says whether there was any.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        let before = (self.prefixes.len(), self.addresses.len());
        self.prefixes.retain(|lease| lease.valid_until > now);
        self.addresses.retain(|lease| lease.valid_until > now);
        before != (self.prefixes.len(), self.addresses.len())
    }

    /// When the next one runs out.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.lifetimes().map(|(_, valid)| valid).min().filter(|&end| end != Instant::FOREVER)
    }

    /// The prefixes alone, in an order in which lists can be compared.
    pub(super) fn prefix_list(&self) -> Vec<Ipv6Cidr> {
        let mut list: Vec<_> = self.prefixes.iter().map(|lease| lease.prefix).collect();
        list.sort_unstable();
        list
    }

    /// When to renew and when to rebind, given T1 and T2 in seconds as a server told them.
    ///
    /// 0 leaves the time to us, and so does one that is not before the first lease ends, which would be lost by waiting for
    /// it. Then it is 0.5 and 0.8 of the shortest preferred lifetime (RFC 8415 §14.2).
    pub(super) fn times(&self, now: Instant, (t1, t2): (u32, u32)) -> (Instant, Instant) {
        let end = self.lifetimes().map(|(_, valid)| valid).min().unwrap_or(Instant::FOREVER);
        let shortest = self.lifetimes().map(|(preferred, _)| preferred).filter(|&at| at > now).min();
        let shortest = shortest.unwrap_or(end);
        let told = |seconds: u32| {
            let at = now.after_lifetime(seconds);
            (seconds != 0 && (at < end || end == Instant::FOREVER)).then_some(at)
        };
        let chosen = |tenths: u32| {
            if shortest == Instant::FOREVER {
                return Instant::FOREVER;
            }
            now + (shortest.since(now) / 10).saturating_mul(tenths)
        };
        let renew = told(t1).unwrap_or_else(|| chosen(5));
        let rebind = told(t2).unwrap_or_else(|| chosen(8));
        (renew, rebind.max(renew))
    }

    fn lifetimes(&self) -> impl Iterator<Item = (Instant, Instant)> + '_ {
        let prefixes = self.prefixes.iter().map(|lease| (lease.preferred_until, lease.valid_until));
        prefixes.chain(self.addresses.iter().map(|lease| (lease.preferred_until, lease.valid_until)))
    }
}

/// Puts `new` in the place of the lease that is `same`, or at the end while there is room; one that is not valid takes it away.
fn take<L>(list: &mut Vec<L>, new: L, valid: bool, same: impl Fn(&L) -> bool) {
    match list.iter().position(&same) {
        Some(_) if !valid => list.retain(|known| !same(known)),
        Some(at) => {
            if let Some(known) = list.get_mut(at) {
                *known = new;
            }
        }
        None if valid && list.len() < LEASES_MAX => list.push(new),
        None => {}
    }
}

/// False for a prefix that cannot route to us: none, groups, link-local and loopback addresses.
pub(super) fn may_be_delegated(prefix: Ipv6Cidr) -> bool {
    prefix.prefix > 0 && may_be_ours(prefix.address)
}

/// False for an address that cannot be a host's.
fn may_be_ours(address: Ipv6Addr) -> bool {
    !(address.is_multicast()
        || address.is_unicast_link_local()
        || address.is_loopback()
        || address.is_unspecified())
}
