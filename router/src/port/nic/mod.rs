//! A network card: packet sockets on it, and the host's kernel kept away from it.
//!
//! One socket receives what keeps sessions alive (PPPoE discovery, PPP control, ARP, DHCP, neighbour discovery), the
//! other one the rest, each by a filter in the kernel (`classify`). So a flood of data can fill only its own queue, and
//! control is received first.
//!
//! While the port is open the card is ours (`takeover`): the host has no address on it, and classifiers at its ingress
//! and egress drop everything else (`guard`). Packet sockets see frames before the ingress classifier does, and what we
//! send carries a mark that the egress classifier lets pass.
//!
//! Where the kernel half takes frames at the ingress (tc), they must not have been received before. Then IP packets and
//! PPPoE sessions have sockets behind the classifier, one for each ethertype, and the first socket for data gets what
//! is left.

mod classify;
mod guard;
mod takeover;
mod xsk;

use std::io;
use std::os::fd::BorrowedFd;

use genkan_netstack::frame::{Batch, Frame, Pool, vlan};
use genkan_netstack::id::Mac;

use super::slot::Slot;
use super::{Presence, Spec, Stats, explain, fd_of, limit, link, port_mtu, vnet};
use crate::sys::netlink::Netlink;
use crate::sys::packet::{BURST, EVERY_PROTOCOL, PacketSocket, Received};
use crate::sys::poll::Epoll;
use classify::Class;
use takeover::Takeover;

pub use takeover::restore;

/// Receive and send buffers of the data socket in octets: some 100 large segments, some 4,000 small frames.
const DATA_BUFFER: i32 = 8 << 20;

/// Receive and send buffers of the control socket in octets.
const CONTROL_BUFFER: i32 = 1 << 20;

/// A network card that has been taken over. Dropping it puts the card back as it was.
#[derive(Debug)]
pub struct Nic {
    control: PacketSocket,
    /// The first one sends.
    data: Vec<PacketSocket>,
    /// What the kernel half hands over itself.
    xdp: Option<xsk::Queues>,
    /// The socket for data whose turn it is; behind the last one it is that of `xdp`.
    turn: usize,
    ready: Epoll,
    slots: Vec<Slot>,
    received: Box<[Received; BURST]>,
    mac: Mac,
    mtu: u16,
    mtu_limit: Option<String>,
    stats: Stats,
    // Last, so that the card is given back when no socket of ours is on it any more.
    takeover: Takeover,
}

impl Nic {
    /// Takes a card over and opens it.
    pub(super) fn open(spec: &Spec, device: &str) -> io::Result<Self> {
        let mut netlink = Netlink::open()?;
        let link = link::by_name(&mut netlink, device).map_err(|error| match error.raw_os_error() {
            Some(libc::ENODEV) => io::Error::new(
                io::ErrorKind::NotFound,
                format!("there is no network card {device}; `ip link` shows those there are"),
            ),
            _ => explain(device, error),
        })?;
        if !link.ethernet {
            let text = format!("{device} is not an Ethernet card");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        if let Some(master) = link.master {
            let master =
                link::by_index(&mut netlink, master).map_or_else(|_| "another device".into(), |l| l.name);
            let text =
                format!("{device} belongs to {master}; take it out first (`ip link set {device} nomaster`)");
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, text));
        }
        // Sockets first: without the privilege for them nothing must have changed.
        let control = PacketSocket::new().map_err(|error| explain("cannot open a packet socket", error))?;
        let mac = spec.mac.unwrap_or(link.mac);
        if !mac.is_station() {
            let text = format!("{device} has no address of its own that a router can use; set `mac`");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }

        let (mut takeover, mtu_limit) = Takeover::begin(netlink, spec, &link)?;
        let everything = spec.promiscuous || mac != link.mac;
        let sockets = || -> io::Result<_> {
            // The host, which would ask for its groups' frames, no longer does.
            control.join(link.index, everything)?;
            prepare(&control, link.index, Class::Control, EVERY_PROTOCOL)?;
            data_sockets(link.index, takeover.diverts())
        };
        let data = sockets().map_err(|error| explain(&format!("cannot receive on {device}"), error))?;
        let ready = Epoll::new()?;
        ready.add(fd_of(&control), 0)?;
        for socket in &data {
            ready.add(fd_of(socket), 1)?;
        }
        Ok(Nic {
            control,
            data,
            xdp: None,
            turn: 0,
            ready,
            slots: Vec::new(),
            received: Box::new([Received::default(); BURST]),
            mac,
            mtu: port_mtu(takeover.mtu()?),
            mtu_limit,
            stats: Stats::default(),
            takeover,
        })
    }

    /// Puts a program of the kernel half in the place of the classifier at the card's ingress; what it does not carry it
    /// must divert as that one does (`guard`). `None` puts the classifier back. An error says that the card has none,
    /// or that data cannot be received behind it.
    pub(crate) fn set_classifier(&mut self, program: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let diverted = self.takeover.diverts();
        if program.is_some() && !diverted {
            // First the sockets: what both receive for a moment comes twice, but nothing is lost.
            let data = data_sockets(self.takeover.index(), true)?;
            for socket in &data {
                self.ready.add(fd_of(socket), 1)?;
            }
            self.takeover.set_classifier(program)?;
            self.stats.rx_kernel_drops += drops(&self.data);
            self.data = data;
            return Ok(());
        }
        self.takeover.set_classifier(program)
    }

    /// Gives the card up without putting anything back: it stays taken from the host for the next run.
    pub(super) fn leave(self) {
        self.takeover.leave();
    }

    /// The card's number.
    pub(super) fn index(&self) -> i32 {
        self.takeover.index()
    }

    pub(super) fn name(&self) -> &str {
        self.takeover.device()
    }

    pub(super) fn mac(&self) -> Mac {
        self.mac
    }

    pub(super) fn mtu(&self) -> u16 {
        self.mtu
    }

    pub(super) fn mtu_limit(&self) -> Option<&str> {
        self.mtu_limit.as_deref()
    }

    pub(super) fn offload(&self) -> bool {
        true
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        fd_of(&self.ready)
    }

    pub(super) fn receive(&mut self, batch: &mut Batch, pool: &mut Pool, max: usize) -> io::Result<usize> {
        // Control comes first, but a flood of it leaves room for data.
        let mut count = self.receive_from(None, batch, pool, max.div_ceil(2))?;
        // Each socket for data is the first one in its turn, so that none starves another.
        let sockets = self.data.len() + usize::from(self.xdp.is_some());
        self.turn = (self.turn + 1) % sockets.max(1);
        for socket in (self.turn..sockets).chain(0..self.turn) {
            let left = max.saturating_sub(count);
            if let Some(xdp) = self.xdp.as_mut().filter(|_| socket == self.data.len()) {
                count += xdp.receive(batch, pool, &mut self.stats, left);
                continue;
            }
            match self.receive_from(Some(socket), batch, pool, left) {
                Ok(got) => count += got,
                Err(_) if count > 0 => {}
                Err(error) => return Err(error),
            }
        }
        Ok(count)
    }

    /// Opens the card's AF_XDP sockets, when they are not open. Returns how many there are.
    pub(super) fn open_xdp_sockets(&mut self) -> io::Result<usize> {
        if self.xdp.is_none() {
            let queues = xsk::Queues::open(self.takeover.device(), self.takeover.index(), self.mtu)?;
            for socket in queues.sockets() {
                self.ready.add(socket, 2)?;
            }
            self.xdp = Some(queues);
        }
        Ok(self.xdp_sockets().count())
    }

    /// The card's AF_XDP sockets, by the number of their receive queue.
    pub(super) fn xdp_sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.xdp.iter().flat_map(xsk::Queues::sockets)
    }

    /// Why frames that the card hands to an XDP program lack their checksum; `None` when they have it.
    pub(super) fn incomplete(&self) -> Option<String> {
        xsk::incomplete(self.takeover.device())
    }

    /// Receives from a socket for data, or from that for control.
    fn receive_from(
        &mut self,
        socket: Option<usize>,
        batch: &mut Batch,
        pool: &mut Pool,
        max: usize,
    ) -> io::Result<usize> {
        let mut count = 0;
        while count < max {
            let wanted = (max - count).min(BURST);
            while self.slots.len() < wanted {
                self.slots.push(Slot::new(pool));
            }
            let socket = match socket {
                None => &self.control,
                Some(index) => match self.data.get(index) {
                    Some(socket) => socket,
                    None => break,
                },
            };
            let slots = self.slots.get_mut(..wanted).unwrap_or_default();
            let got = match socket.receive(slots, Slot::pieces, &mut self.received) {
                Ok(got) => got,
                Err(error) => match error.raw_os_error() {
                    Some(libc::EAGAIN) => break,
                    Some(libc::EINTR) => continue,
                    // A frame whose offloads the virtio-net header cannot express; the kernel has discarded it.
                    Some(libc::EINVAL) => {
                        self.stats.rx_dropped += 1;
                        count += 1;
                        continue;
                    }
                    _ if count > 0 => break,
                    _ => return Err(explain(&format!("receiving on {}", self.takeover.device()), error)),
                },
            };
            for (slot, received) in self.slots.iter_mut().zip(self.received.iter()).take(got) {
                match whole_frame(slot, received, pool) {
                    Some(frame) => {
                        self.stats.received(&frame);
                        batch.push_back(frame);
                    }
                    None => self.stats.rx_dropped += 1,
                }
            }
            count += got;
            if got < wanted {
                break;
            }
        }
        Ok(count)
    }

    pub(super) fn transmit(&mut self, queue: &mut Batch, pool: &mut Pool) -> io::Result<()> {
        let mut lost = None;
        let Some(socket) = self.data.first() else { return Ok(()) };
        while !queue.is_empty() {
            let frames = queue.iter().map(|frame| (vnet::encode(frame), frame.bytes()));
            match socket.send(frames) {
                Ok(sent) => {
                    for frame in queue.drain(..sent.min(queue.len())) {
                        self.stats.sent(&frame);
                        pool.give(frame);
                    }
                }
                Err(error) => match error.raw_os_error() {
                    Some(libc::EAGAIN) => break,
                    Some(libc::EINTR) => {}
                    // The first frame is lost: the card's queue is full, it is down or gone, or the frame is larger
                    // than its MTU.
                    _ => {
                        if let Some(frame) = queue.pop_front() {
                            pool.give(frame);
                        }
                        self.stats.tx_dropped += 1;
                        if matches!(error.raw_os_error(), Some(libc::ENETDOWN | libc::ENXIO)) {
                            lost = Some(explain(&format!("sending on {}", self.takeover.device()), error));
                        }
                    }
                },
            }
        }
        limit(queue, pool, &mut self.stats);
        lost.map_or(Ok(()), Err)
    }

    pub(super) fn presence(&mut self) -> Presence {
        self.takeover.presence()
    }

    pub(super) fn stats(&mut self) -> Stats {
        self.stats.rx_kernel_drops += drops(std::iter::once(&self.control).chain(&self.data));
        self.stats.rx_kernel_drops += self.xdp.as_mut().map_or(0, xsk::Queues::take_drops);
        self.stats
    }
}

fn drops<'a>(sockets: impl IntoIterator<Item = &'a PacketSocket>) -> u64 {
    sockets.into_iter().map(|socket| u64::from(socket.take_drops().unwrap_or(0))).sum()
}

/// The sockets that receive data: one before the ingress classifier, or, when data is diverted, one for what is not and
/// one behind the classifier for each ethertype that is.
fn data_sockets(index: i32, diverted: bool) -> io::Result<Vec<PacketSocket>> {
    let first = if diverted { Class::Rest } else { Class::Data };
    let behind = guard::DIVERTED.iter().filter(|_| diverted).map(|ethertype| (Class::Data, *ethertype));
    let mut sockets = Vec::new();
    for (class, protocol) in std::iter::once((first, EVERY_PROTOCOL)).chain(behind) {
        let socket = PacketSocket::new()?;
        prepare(&socket, index, class, protocol)?;
        sockets.push(socket);
    }
    Ok(sockets)
}

fn prepare(socket: &PacketSocket, index: i32, class: Class, protocol: u16) -> io::Result<()> {
    let buffer = if class == Class::Control { CONTROL_BUFFER } else { DATA_BUFFER };
    socket.set_buffers(buffer, buffer)?;
    socket.set_mark(guard::MARK)?;
    socket.set_filter(&classify::program(class))?;
    socket.bind(index, protocol)
}

/// The frame in a slot as it was on the wire: with its offload state, and its VLAN tag put back.
fn whole_frame(slot: &mut Slot, received: &Received, pool: &mut Pool) -> Option<Frame> {
    if received.truncated {
        return None;
    }
    let offload = vnet::decode(&received.header, received.len)?;
    let mut frame = slot.take(received.len, pool);
    frame.offload = offload;
    if let Some((protocol, control)) = received.vlan
        && !vlan::put_on(&mut frame, protocol, control)
    {
        pool.give(frame);
        return None;
    }
    Some(frame)
}
