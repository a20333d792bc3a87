//! A network card: packet sockets on it, and the host's kernel kept away from it.
//!
//! One socket receives what keeps sessions alive (PPPoE discovery, PPP control, ARP, DHCP, neighbour discovery), one what
//! TCP carries in large frames, and one the rest, each by a filter in the kernel (`classify`). So a flood of data can fill
//! only its own queue, and control is received first. Bulk is received last, a little at a time, and its queue is short:
//! TCP fills a queue of any length, and a ping or a call beside it should not wait for all of that. A tunnel carries bulk
//! and calls in one stream, which must stay in order. So what is large in the rest, many datagrams in one frame, is
//! lost when too much of that waits already (`backlog`); what is small waits its turn, and is not lost.
//!
//! While the port is open the card is ours (`takeover`): the host has no address on it, and classifiers at its ingress
//! and egress drop everything else (`guard`). Packet sockets see frames before the ingress classifier does, and what we
//! send carries a mark that the egress classifier lets pass.
//!
//! Where the kernel half takes frames at the ingress (tc), they must not have been received before. Then IP packets and
//! PPPoE sessions have sockets behind the classifier, two for each ethertype, and the first socket for data gets what
//! is left.

mod backlog;
mod classify;
mod guard;
mod takeover;
mod xsk;

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use genkan_netstack::frame::{Batch, Frame, Pool, vlan};
use genkan_netstack::id::Mac;

use super::slot::Slot;
use super::{Presence, Spec, Stats, explain, fd_of, limit, link, port_mtu, vnet};
use crate::sys::netlink::Netlink;
use crate::sys::packet::{BURST, EVERY_PROTOCOL, PacketSocket, Received};
use crate::sys::poll::Epoll;
use backlog::Backlog;
use classify::Class;
use takeover::Takeover;

pub use takeover::restore;

/// Receive and send buffers of a data socket in octets: some 4,000 small frames.
const DATA_BUFFER: i32 = 8 << 20;

/// Receive buffer of a socket for bulk in octets; the kernel counts by twice as much. Some 16 large segments: enough to be
/// busy with until the senders hear of a loss, and at a few Gb/s not a millisecond.
const BULK_BUFFER: i32 = 512 << 10;

/// Octets of large frames that are handed out at a time.
const AT_ONCE: usize = 128 << 10;

/// Names of sockets in the set of those that have frames: that for control, those of AF_XDP, and from [`DATA`] on those for
/// data, in order.
const CONTROL: u64 = 0;
const XDP: u64 = 1;
const DATA: u64 = 2;

/// Receive and send buffers of the control socket in octets.
const CONTROL_BUFFER: i32 = 1 << 20;

/// A network card that has been taken over. Dropping it puts the card back as it was.
#[derive(Debug)]
pub struct Nic {
    control: PacketSocket,
    /// The first one sends.
    data: Vec<DataSocket>,
    /// What the kernel half hands over itself.
    xdp: Option<xsk::Queues>,
    /// The socket for data whose turn it is; behind the last one it is that of `xdp`.
    turn: usize,
    /// What has been received and has to wait.
    backlog: Backlog,
    /// Octets of a frame of bulk, lately.
    bulk_size: usize,
    ready: Epoll,
    /// The names of sockets that have frames.
    awake: Vec<u64>,
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
        ready.add(fd_of(&control), CONTROL)?;
        watch(&ready, &data)?;
        Ok(Nic {
            control,
            data,
            xdp: None,
            turn: 0,
            backlog: Backlog::default(),
            bulk_size: AT_ONCE,
            ready,
            awake: Vec::new(),
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
            watch(&self.ready, &data)?;
            self.takeover.set_classifier(program)?;
            self.stats.rx_kernel_drops += drops(self.data.iter().map(|data| &data.socket));
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
        let mut awake = std::mem::take(&mut self.awake);
        let received = self
            .ready
            .wait(&mut awake, Some(Duration::ZERO))
            .and_then(|()| self.receive_in_turn(&awake, batch, pool, max));
        self.awake = awake;
        received
    }

    /// Receives from the sockets named.
    fn receive_in_turn(
        &mut self,
        awake: &[u64],
        batch: &mut Batch,
        pool: &mut Pool,
        max: usize,
    ) -> io::Result<usize> {
        // Control comes first, but a flood of it leaves room for data.
        let mut count = 0;
        if awake.contains(&CONTROL) {
            count = self.receive_from(None, batch, pool, max.div_ceil(2))?;
        }
        // Each socket is the first one in its turn, so that none starves another.
        self.turn = (self.turn + 1) % (self.data.len() + 1);
        // A flood of what comes before bulk leaves room for it.
        let is_bulk = |(data, name): (&DataSocket, u64)| data.bulk && awake.contains(&name);
        let kept = if self.data.iter().zip(DATA..).any(is_bulk) { max / 4 } else { 0 };
        let room = max.saturating_sub(kept);
        let mut backlog = std::mem::take(&mut self.backlog);
        let received = self.receive_each(awake, false, backlog.room(), |nic, socket, left| match socket {
            Some(socket) => nic.receive_from(Some(socket), backlog.frames(), pool, left),
            None => {
                let xdp = nic.xdp.as_mut();
                Ok(xdp.map_or(0, |xdp| xdp.receive(backlog.frames(), pool, &mut nic.stats, left)))
            }
        });
        self.stats.rx_shed += backlog.shed(pool);
        let (handed_out, octets) = backlog.hand_out(batch, room.saturating_sub(count));
        self.backlog = backlog;
        count += handed_out;
        match received {
            Err(error) if count == 0 => return Err(error),
            _ => {}
        }
        if octets < AT_ONCE {
            let left = max.saturating_sub(count);
            let bulk = self.receive_each(awake, true, left, |nic, socket, left| {
                socket.map_or(Ok(0), |socket| nic.receive_bulk(socket, batch, pool, left))
            });
            match bulk {
                Ok(got) => count += got,
                Err(_) if count > 0 => {}
                Err(error) => return Err(error),
            }
        }
        Ok(count)
    }

    /// Has `receive` take frames of each socket for bulk, or of each of the others (`None` are those of AF_XDP), that has
    /// some.
    fn receive_each(
        &mut self,
        awake: &[u64],
        bulk: bool,
        max: usize,
        mut receive: impl FnMut(&mut Self, Option<usize>, usize) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let mut count = 0;
        let sockets = self.data.len() + 1;
        for number in (self.turn..sockets).chain(0..self.turn) {
            let (socket, name, is_bulk) = match self.data.get(number) {
                Some(data) => (Some(number), DATA + number as u64, data.bulk),
                None => (None, XDP, false),
            };
            if is_bulk != bulk || !awake.contains(&name) {
                continue;
            }
            match receive(self, socket, max.saturating_sub(count)) {
                Ok(got) => count += got,
                Err(_) if count > 0 => {}
                Err(error) => return Err(error),
            }
        }
        Ok(count)
    }

    /// Receives some [`AT_ONCE`] octets, going by the frames of before.
    fn receive_bulk(
        &mut self,
        socket: usize,
        batch: &mut Batch,
        pool: &mut Pool,
        max: usize,
    ) -> io::Result<usize> {
        let before = self.stats;
        let most = (AT_ONCE / self.bulk_size.max(1)).clamp(1, BURST);
        let got = self.receive_from(Some(socket), batch, pool, most.min(max))?;
        let size = (self.stats.rx_bytes - before.rx_bytes).checked_div(self.stats.rx - before.rx);
        if let Some(size) = size.and_then(|size| usize::try_from(size).ok()) {
            self.bulk_size = size;
        }
        Ok(got)
    }

    /// Opens the card's AF_XDP sockets, when they are not open. Returns how many there are.
    pub(super) fn open_xdp_sockets(&mut self) -> io::Result<usize> {
        if self.xdp.is_none() {
            let queues = xsk::Queues::open(self.takeover.device(), self.takeover.index(), self.mtu)?;
            for socket in queues.sockets() {
                self.ready.add(socket, XDP)?;
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
                    Some(data) => &data.socket,
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
        let Some(DataSocket { socket, .. }) = self.data.first() else { return Ok(()) };
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
        self.stats.rx_kernel_drops +=
            drops(std::iter::once(&self.control).chain(self.data.iter().map(|data| &data.socket)));
        self.stats.rx_kernel_drops += self.xdp.as_mut().map_or(0, xsk::Queues::take_drops);
        self.stats
    }
}

fn drops<'a>(sockets: impl IntoIterator<Item = &'a PacketSocket>) -> u64 {
    sockets.into_iter().map(|socket| u64::from(socket.take_drops().unwrap_or(0))).sum()
}

/// A socket that receives data.
#[derive(Debug)]
struct DataSocket {
    socket: PacketSocket,
    /// It receives bulk, and nothing else.
    bulk: bool,
}

/// The sockets that receive data. One that comes before the ingress classifier is the first: for all that is not bulk, or,
/// when data is diverted, for what is not. Then one for bulk; or one for bulk and one for the rest behind the classifier
/// for each ethertype that is diverted.
fn data_sockets(index: i32, diverted: bool) -> io::Result<Vec<DataSocket>> {
    let mut wanted = Vec::new();
    if diverted {
        wanted.push((Class::Rest, EVERY_PROTOCOL));
        for ethertype in guard::DIVERTED {
            wanted.extend([(Class::Data, ethertype), (Class::Bulk, ethertype)]);
        }
    } else {
        wanted.extend([(Class::Data, EVERY_PROTOCOL), (Class::Bulk, EVERY_PROTOCOL)]);
    }
    let mut sockets = Vec::new();
    for (class, protocol) in wanted {
        let socket = PacketSocket::new()?;
        prepare(&socket, index, class, protocol)?;
        sockets.push(DataSocket { socket, bulk: class == Class::Bulk });
    }
    Ok(sockets)
}

fn prepare(socket: &PacketSocket, index: i32, class: Class, protocol: u16) -> io::Result<()> {
    let (receive, send) = match class {
        Class::Control => (CONTROL_BUFFER, CONTROL_BUFFER),
        Class::Bulk => (BULK_BUFFER, DATA_BUFFER),
        Class::Data | Class::Rest => (DATA_BUFFER, DATA_BUFFER),
    };
    socket.set_buffers(receive, send)?;
    socket.set_mark(guard::MARK)?;
    socket.set_filter(&classify::program(class))?;
    socket.bind(index, protocol)
}

/// Has sockets for data watched for frames.
fn watch(ready: &Epoll, data: &[DataSocket]) -> io::Result<()> {
    (DATA..).zip(data).try_for_each(|(name, data)| ready.add(fd_of(&data.socket), name))
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
