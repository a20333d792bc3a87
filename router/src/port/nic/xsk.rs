//! The miss path by AF_XDP: what the kernel half redirects to us, past the host's network stack.
//!
//! A card has one socket for each of its receive queues. The kernel half finds them in the map `sockets`. Control is not
//! among what they get: it goes on to the packet socket of its own. Frames come without a word about their checksums,
//! which holds for drivers that hand complete frames to XDP; a veth does not.

use std::io;
use std::os::fd::BorrowedFd;
use std::thread;
use std::time::Duration;

use genkan_netstack::frame::{Batch, Pool};

use crate::fastpath::layout::QUEUES;
use crate::port::{Stats, explain, fd_of};
use crate::sys::ethtool;
use crate::sys::xsk::XdpSocket;

/// Frames that wait for us at a card, over all its queues: as many small ones as at the data socket.
const ROOMS: u32 = 4096;
/// And at one queue, at least.
const LEAST_ROOMS: u32 = 512;
/// Octets of a frame beyond the MTU: an Ethernet header and a VLAN tag.
const HEADERS: u32 = 18;

/// The AF_XDP sockets of a card.
#[derive(Debug)]
pub struct Queues {
    /// One for each receive queue, in their order.
    sockets: Vec<XdpSocket>,
    /// The one that is asked first.
    first: usize,
}

impl Queues {
    /// Opens a socket on each receive queue. The error says what is missing.
    pub fn open(device: &str, index: i32, mtu: u16) -> io::Result<Self> {
        // A driver that does not say has one.
        let queues = ethtool::queues(device).map_or(1, |queues| queues.receive).clamp(1, QUEUES);
        let rooms = (ROOMS / queues.next_power_of_two()).max(LEAST_ROOMS);
        let largest = u32::from(mtu) + HEADERS;
        let open = |queue| {
            open(index, queue, rooms, largest).map_err(|error| {
                explain(&format!("no AF_XDP socket on receive queue {queue} of {device}"), error)
            })
        };
        Ok(Queues { sockets: (0..queues).map(open).collect::<io::Result<_>>()?, first: 0 })
    }

    /// The sockets, by the number of their receive queue.
    pub fn sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.sockets.iter().map(fd_of)
    }

    /// Appends the frames that are there to `batch`, at most `max`. Returns how many.
    pub fn receive(&mut self, batch: &mut Batch, pool: &mut Pool, stats: &mut Stats, max: usize) -> usize {
        let mut count = 0;
        // Another one is first each time, so that a queue that is always full does not silence the others.
        let first = self.first.min(self.sockets.len());
        self.first = if first + 1 < self.sockets.len() { first + 1 } else { 0 };
        let (later, sooner) = self.sockets.split_at_mut(first);
        for socket in sooner.iter_mut().chain(later) {
            count += socket.receive(max - count, |octets| {
                let mut frame = pool.take(octets.len());
                if frame.extend(octets) {
                    stats.received(&frame);
                    stats.rx_xdp += 1;
                    batch.push_back(frame);
                } else {
                    stats.rx_dropped += 1;
                    pool.give(frame);
                }
            });
        }
        count
    }

    /// Frames that the kernel dropped because we were late, since the last call.
    pub fn take_drops(&mut self) -> u64 {
        self.sockets.iter_mut().map(|socket| socket.take_drops().unwrap_or(0)).sum()
    }
}

/// Why a card hands over frames that lack their checksum; `None` when it does not.
pub fn incomplete(device: &str) -> Option<String> {
    (ethtool::driver(device).ok()? == "veth").then(|| {
        format!("{device} is a veth, which hands over frames whose checksums their sender has left undone")
    })
}

/// Opens a socket. The kernel takes a queue from a socket that was closed, or whose process ended, a little later.
fn open(index: i32, queue: u32, rooms: u32, largest: u32) -> io::Result<XdpSocket> {
    let mut attempts = 0;
    loop {
        match XdpSocket::open(index, queue, rooms, largest) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && attempts < 50 => {
                attempts += 1;
                thread::sleep(Duration::from_millis(10));
            }
            opened => return opened,
        }
    }
}
