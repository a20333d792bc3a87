//! A side of a flow: an interface and its epoch.

use crate::id::{Interface, LanId, SubscriberId, VpnId, WanId};

/// Bits of an interface's number. Subscribers are counted from 0 on, far below what these hold.
const NUMBER_BITS: u32 = 29;

/// What packets come in by or go out by, and the epoch that it is in. In one number (3 bits for the kind of interface, 29 for
/// which one, 32 for the epoch), for flows keep two and every packet is compared with one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Side(u64);

impl Side {
    /// The side of `interface` in `epoch`.
    pub fn new(interface: Interface, epoch: u32) -> Side {
        let (kind, number) = match interface {
            Interface::Lan(lan) => (0, u32::from(lan.0)),
            Interface::Wan(wan) => (1, u32::from(wan.0)),
            Interface::Subscriber(subscriber) => (2, subscriber.0),
            Interface::Vpn(vpn) => (3, u32::from(vpn.0)),
            Interface::Router => (4u32, 0),
        };
        let interface = kind << NUMBER_BITS | number & ((1 << NUMBER_BITS) - 1);
        Side(u64::from(interface) << 32 | u64::from(epoch))
    }

    /// The interface.
    #[inline(always)]
    pub fn interface(self) -> Interface {
        let interface = (self.0 >> 32) as u32;
        let number = interface & ((1 << NUMBER_BITS) - 1);
        match interface >> NUMBER_BITS {
            0 => Interface::Lan(LanId(number as u16)),
            1 => Interface::Wan(WanId(number as u16)),
            2 => Interface::Subscriber(SubscriberId(number)),
            3 => Interface::Vpn(VpnId(number as u16)),
            _ => Interface::Router,
        }
    }

    /// Its epoch.
    #[inline(always)]
    pub fn epoch(self) -> u32 {
        self.0 as u32
    }
}

impl core::fmt::Debug for Side {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:?} epoch {}", self.interface(), self.epoch())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_side_is_its_interface_and_epoch_and_no_other() {
        let interfaces = [
            Interface::Lan(LanId(0)),
            Interface::Lan(LanId(u16::MAX)),
            Interface::Wan(WanId(0)),
            Interface::Wan(WanId(u16::MAX)),
            Interface::Subscriber(SubscriberId(0)),
            Interface::Subscriber(SubscriberId((1 << NUMBER_BITS) - 1)),
            Interface::Vpn(VpnId(0)),
            Interface::Vpn(VpnId(u16::MAX)),
            Interface::Router,
        ];
        let sides: std::vec::Vec<Side> =
            interfaces.iter().flat_map(|at| [0, 1, u32::MAX].map(|epoch| Side::new(*at, epoch))).collect();
        for (index, side) in sides.iter().enumerate() {
            assert_eq!(Side::new(side.interface(), side.epoch()), *side);
            assert_eq!(side.interface(), interfaces[index / 3]);
            assert_eq!(sides.iter().filter(|other| *other == side).count(), 1);
        }
    }
}
