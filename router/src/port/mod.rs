//! Ports: where frames come from and where they go.
//!
//! A [`Port`] is a tap device or a network card. Both give and take the core's frames in batches and never block: the data thread waits for [`Port::fd`], takes what there is with [`Port::receive`], lets
//! the gateway work, and sends with [`Port::transmit`].
//!
//! Tap devices and cards speak of large segments and partial checksums by the virtio-net header (`vnet`), so bulk
//! traffic crosses the router without being cut. `link` is the kernel's view of a device.

mod link;
mod nic;
mod slot;
mod tap;
mod vnet;

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use genkan_netstack::frame::{Batch, Frame, Pool};
use genkan_netstack::id::Mac;
use serde::Serialize;
use tracing::warn;

use crate::fastpath::entry::Entry;
use crate::fastpath::pins::Pins;
use crate::sys::ethtool::Ethtool;
use crate::sys::netlink::Netlink;

pub use nic::Nic;
pub use tap::Tap;

/// Frames that may wait for a device that takes no more; the rest is dropped and counted.
const QUEUE_LIMIT: usize = 4096;

/// What to open.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The port's name in the configuration.
    pub name: String,
    /// Where its frames come from.
    pub device: Device,
    /// The address that the router uses on it. By default a card's own; on a tap device, one that follows from the
    /// device's name.
    pub mac: Option<Mac>,
    /// PPPoE sessions run on it.
    pub pppoe: bool,
    /// Raise the device's MTU to this number of octets when it is lower (1508 for an MTU of 1500 over PPPoE, RFC 4638).
    /// Failing to do so is not an error: see [`Port::mtu_limit`].
    pub wanted_mtu: Option<u16>,
    /// Receive frames for every station, as a bridge needs; and so does a port with a VLAN, for a card may keep back the
    /// frames of every VLAN that the kernel has not asked it for.
    pub promiscuous: bool,
    /// Directory that remembers what was taken from a card, so that it can be given back after a crash.
    pub state_dir: PathBuf,
    /// By what its frames are to enter the kernel half: with tc, data is received behind the classifiers.
    pub entry: Entry,
    /// Where to pin what keeps the host from a card, so that it outlives this process. With it, and with an entry, a tap
    /// outlives this process, too.
    pub pins: Option<Pins>,
}

/// Where a port's frames come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Device {
    /// A tap device, created or attached to.
    Tap {
        /// The device's name, at most 15 characters.
        device: String,
        /// Leave large segments and partial checksums undone (virtio-net header). Without it every frame comes whole
        /// and cut to the MTU, at a fraction of the speed.
        offload: bool,
    },
    /// A network card, taken over from the host.
    Nic {
        /// The device's name.
        device: String,
    },
}

impl Device {
    /// The device's name.
    pub fn name(&self) -> String {
        match self {
            Device::Tap { device, .. } | Device::Nic { device } => device.clone(),
        }
    }
}

/// What has become of a port's device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It is there and up.
    Up,
    /// It is there. When it comes up again, so does the port.
    Down,
    /// It was unplugged or deleted, or is in another namespace now. The port is of no use any more: drop it, then open
    /// another one.
    Gone,
}

/// By which way frames that the kernel half does not carry, and that are not control, reach the program. Control has the
/// packet socket of its own in any case, and everything is sent by packet sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Miss {
    /// By AF_XDP sockets, one for each of this number of receive queues.
    AfXdp(usize),
    /// By a packet socket, and why not by AF_XDP.
    PacketSocket(String),
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Miss::AfXdp(1) => f.write_str("an AF_XDP socket"),
            Miss::AfXdp(queues) => write!(f, "AF_XDP sockets on {queues} receive queues"),
            Miss::PacketSocket(why) => write!(f, "a packet socket: {why}"),
        }
    }
}

/// What has passed a port. A large segment counts as one frame.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Frames received.
    pub rx: u64,
    /// Octets received.
    pub rx_bytes: u64,
    /// Of the frames received, those that came by AF_XDP sockets.
    pub rx_xdp: u64,
    /// Frames received that could not be used: longer than the largest buffer, or with offload instructions that make
    /// no sense.
    pub rx_dropped: u64,
    /// Frames that the kernel dropped because the router did not fetch them in time.
    pub rx_kernel_drops: u64,
    /// Frames that stand for many packets, dropped because too many of them waited already.
    pub rx_shed: u64,
    /// Frames sent.
    pub tx: u64,
    /// Octets sent.
    pub tx_bytes: u64,
    /// Frames that the device refused: its queue was full, it was down, or the frame was larger than its MTU.
    pub tx_dropped: u64,
}

impl Stats {
    fn received(&mut self, frame: &Frame) {
        self.rx += 1;
        self.rx_bytes += frame.len() as u64;
    }

    /// Adds what another port has carried in its time.
    pub(crate) fn add(&mut self, other: Stats) {
        self.rx += other.rx;
        self.rx_bytes += other.rx_bytes;
        self.rx_xdp += other.rx_xdp;
        self.rx_dropped += other.rx_dropped;
        self.rx_kernel_drops += other.rx_kernel_drops;
        self.rx_shed += other.rx_shed;
        self.tx += other.tx;
        self.tx_bytes += other.tx_bytes;
        self.tx_dropped += other.tx_dropped;
    }

    fn sent(&mut self, frame: &Frame) {
        self.tx += 1;
        self.tx_bytes += frame.len() as u64;
    }
}

/// An open port.
#[derive(Debug)]
pub enum Port {
    /// A tap device.
    Tap(Box<Tap>),
    /// A network card.
    Nic(Box<Nic>),
}

macro_rules! each {
    ($self:expr, $port:ident => $then:expr) => {
        match $self {
            Port::Tap($port) => $then,
            Port::Nic($port) => $then,
        }
    };
}

impl Port {
    /// Opens a port and brings its device up. The error says which device, what went wrong and what to do.
    pub fn open(spec: &Spec) -> io::Result<Port> {
        let opened = match &spec.device {
            Device::Tap { device, offload } => {
                Tap::open(spec, device, *offload).map(|tap| Port::Tap(Box::new(tap)))
            }
            Device::Nic { device } => Nic::open(spec, device).map(|nic| Port::Nic(Box::new(nic))),
        };
        opened.map_err(|error| explain(&format!("port {}", spec.name), error))
    }

    /// Ends without giving anything back to the host: the card stays taken, the tap stays, for the next run.
    pub fn leave(self) {
        each!(self, port => port.leave());
    }

    /// There is no kernel half after all: its frames all come to us.
    pub fn without_entry(&mut self) {
        if let Port::Nic(nic) = self
            && let Err(error) = nic.set_classifier(None)
        {
            warn!("{}: {error}", nic.name());
        }
    }

    /// A frame that the kernel half sends by the device with a partial checksum leaves with a whole one, whatever header it
    /// has: the kernel completes what the device does not. A device that does may look for an IP header first, and find
    /// none behind PPPoE. Those behind a tap know of partial checksums.
    pub fn completes_checksums(&self) -> bool {
        match self {
            Port::Tap(_) => true,
            Port::Nic(nic) => {
                Ethtool::open().and_then(|asked| asked.sums(nic.name())).is_ok_and(|sums| !sums)
            }
        }
    }

    /// The device's number.
    pub fn index(&self) -> i32 {
        each!(self, port => port.index())
    }

    /// The device is in this thread's network namespace, under its number and name. A tap may be given to another one, and
    /// goes on working.
    pub fn is_here(&self) -> bool {
        let here = || link::by_index(&mut Netlink::open()?, self.index());
        here().is_ok_and(|link| link.name == self.name())
    }

    /// The name of the device.
    pub fn name(&self) -> &str {
        each!(self, port => port.name())
    }

    /// The address that the router uses on it.
    pub fn mac(&self) -> Mac {
        each!(self, port => port.mac())
    }

    /// Largest payload that it can send, in octets.
    pub fn mtu(&self) -> u16 {
        each!(self, port => port.mtu())
    }

    /// Why the MTU is lower than the wanted one, naming the device that caps it; `None` when it is not.
    pub fn mtu_limit(&self) -> Option<&str> {
        each!(self, port => port.mtu_limit())
    }

    /// It sends large segments and completes partial checksums. When false, a frame to send must be whole and no
    /// larger than the MTU.
    pub fn offload(&self) -> bool {
        each!(self, port => port.offload())
    }

    /// A descriptor that is readable while there are frames to receive.
    pub fn fd(&self) -> BorrowedFd<'_> {
        each!(self, port => port.fd())
    }

    /// Appends the frames that are there to `batch`, at most `max`, in buffers of `pool`. Returns how many. An error
    /// says that the device is down or gone, and may be said again and again: see [`Port::presence`].
    pub fn receive(&mut self, batch: &mut Batch, pool: &mut Pool, max: usize) -> io::Result<usize> {
        each!(self, port => port.receive(batch, pool, max))
    }

    /// Sends the frames of `queue` and gives their buffers to `pool`. Frames that the device would take later stay in
    /// the queue: call again a little later. Frames that it refuses are dropped and counted; an
    /// error says that it refuses all because it is down or gone.
    pub fn transmit(&mut self, queue: &mut Batch, pool: &mut Pool) -> io::Result<()> {
        each!(self, port => port.transmit(queue, pool))
    }

    /// What has become of the device: asked after [`Port::receive`] or [`Port::transmit`] has failed.
    pub fn presence(&mut self) -> Presence {
        each!(self, port => port.presence())
    }

    /// Chooses the way of frames that an XDP program on the device does not carry: AF_XDP where it can be had. The program
    /// finds the sockets ([`Port::xdp_sockets`]) by its map.
    pub fn choose_miss(&mut self) -> Miss {
        let Port::Nic(nic) = self else {
            return Miss::PacketSocket(format!("{} is not a network card", self.name()));
        };
        match nic.incomplete() {
            None => self.open_xdp_sockets().map_or_else(|e| Miss::PacketSocket(e.to_string()), Miss::AfXdp),
            Some(reason) => Miss::PacketSocket(reason),
        }
    }

    /// Opens an AF_XDP socket on each receive queue, when they are not open, whatever the driver does about checksums:
    /// what they receive is taken to be complete. Returns how many there are.
    pub fn open_xdp_sockets(&mut self) -> io::Result<usize> {
        match self {
            Port::Nic(nic) => nic.open_xdp_sockets(),
            Port::Tap(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// The open AF_XDP sockets. The first one is that of receive queue 0, and so on.
    pub fn xdp_sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let nic = if let Port::Nic(nic) = self { Some(nic) } else { None };
        nic.into_iter().flat_map(|nic| nic.xdp_sockets())
    }

    /// What has passed so far.
    pub fn stats(&mut self) -> Stats {
        each!(self, port => port.stats())
    }
}

/// Gives back the cards, and takes away the taps, that earlier runs have left behind, but the devices in `keep`. Returns
/// the cards' names. What a living process holds is left alone. `state_dir` need not exist.
pub fn restore(state_dir: &Path, keep: &[&str]) -> io::Result<Vec<String>> {
    tap::remove_left(state_dir, keep)?;
    nic::restore(state_dir, keep)
}

/// The driver of a card can run XDP programs itself, `None` when the kernel does not say; and it runs one.
pub(crate) fn card_xdp(device: &str) -> (Option<bool>, bool) {
    let link = Netlink::open().and_then(|mut netlink| link::by_name(&mut netlink, device));
    link.map_or((None, false), |link| (link::native_xdp(link.index), link.xdp))
}

/// Drops, from the end, what a queue holds beyond [`QUEUE_LIMIT`].
fn limit(queue: &mut Batch, pool: &mut Pool, stats: &mut Stats) {
    while queue.len() > QUEUE_LIMIT {
        let Some(frame) = queue.pop_back() else { return };
        pool.give(frame);
        stats.tx_dropped += 1;
    }
}

/// An error with what it is about in front of it, and with what to do when a privilege is missing.
fn explain(about: &str, error: io::Error) -> io::Error {
    let text = match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            format!("{about}: {error}; run as root, or give the service CAP_NET_ADMIN and CAP_NET_RAW")
        }
        _ => format!("{about}: {error}"),
    };
    io::Error::new(error.kind(), text)
}

/// The MTU of a device as a port says it.
fn port_mtu(mtu: u32) -> u16 {
    u16::try_from(mtu).unwrap_or(u16::MAX)
}

fn fd_of(fd: &impl AsFd) -> BorrowedFd<'_> {
    fd.as_fd()
}
