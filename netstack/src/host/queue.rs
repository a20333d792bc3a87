//! smoltcp's device: packets in and out, in memory.

use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;

use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;

/// Most packets waiting to be sent; the sockets wait when there are more.
const OUT_MAX: usize = 1024;

/// Packets in and out.
#[derive(Debug, Default)]
pub struct Queue {
    arrived: VecDeque<Vec<u8>>,
    out: VecDeque<Vec<u8>>,
}

impl Queue {
    /// True when no more packets can wait to be sent.
    pub fn is_full(&self) -> bool {
        self.out.len() >= OUT_MAX
    }

    /// Hands a packet to the sockets.
    pub fn receive(&mut self, packet: Vec<u8>) {
        self.arrived.push_back(packet);
    }

    /// Sends a packet.
    pub fn send(&mut self, packet: Vec<u8>) {
        if !self.is_full() {
            self.out.push_back(packet);
        }
    }

    /// The next packet to be sent.
    pub fn pop(&mut self) -> Option<Vec<u8>> {
        self.out.pop_front()
    }

    /// Octets of the next packet to be sent.
    pub fn next_len(&self) -> Option<usize> {
        self.out.front().map(Vec::len)
    }
}

/// A packet that came in.
pub struct Arrived(Vec<u8>);

impl RxToken for Arrived {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

/// Room for a packet to be sent.
pub struct Room<'a>(&'a mut VecDeque<Vec<u8>>);

impl TxToken for Room<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        let mut packet = vec![0; len];
        let result = write(&mut packet);
        self.0.push_back(packet);
        result
    }
}

impl Device for Queue {
    type RxToken<'a> = Arrived;
    type TxToken<'a> = Room<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Arrived, Room<'_>)> {
        let packet = self.arrived.pop_front()?;
        Some((Arrived(packet), Room(&mut self.out)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Room<'_>> {
        let room = !self.is_full();
        room.then_some(Room(&mut self.out))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = super::MTU;
        capabilities
    }
}
