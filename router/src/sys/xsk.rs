//! AF_XDP sockets (the kernel's Documentation/networking/af_xdp.rst), to receive by.
//!
//! A socket has an *area* of rooms, each for one frame, which the kernel writes to. By the *fill ring* we give the kernel
//! empty rooms, by the *receive ring* it gives them back with frames in them. A room is always in one place: in the fill
//! ring, in the receive ring or being read here. Both rings have an entry for each room, so neither ever overflows.
//!
//! The kernel copies every frame into its room (XDP_COPY). Without the copy the card would receive everything into these
//! rooms, also what the kernel half carries by itself: a process that is late, or dead, would stop the card, every carried
//! frame would be copied instead, and the card's queue would be made anew whenever a socket opens or closes.

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;

use super::shared::SharedMemory;
use super::{check, set_option};

/// What the kernel leaves free in front of a frame (XDP_PACKET_HEADROOM).
const HEADROOM: u32 = 256;
/// Sizes of a room that the kernel takes.
const ROOM_SIZES: [u32; 2] = [2048, 4096];
/// Octets of an entry of the fill ring: an address.
const ADDRESS: usize = size_of::<u64>();
/// Octets of an entry of the receive ring: an address, a length, flags.
const DESCRIPTOR: usize = size_of::<libc::xdp_desc>();

/// A socket that receives what an XDP program redirects to it from one receive queue of a card.
#[derive(Debug)]
pub struct XdpSocket {
    // In the order in which they are given back: the kernel must be done with the area before it goes.
    fd: OwnedFd,
    fill: Ring,
    received: Ring,
    area: Area,
    drops: u64,
}

impl XdpSocket {
    /// A socket on receive queue `queue` of the card `index`, with room for `rooms` frames (a power of two) of up to
    /// `largest` octets each. The memory is the kernel's to keep and does not swap. Needs CAP_NET_RAW.
    ///
    /// `Unsupported` when frames are larger than a room can be.
    pub fn open(index: i32, queue: u32, rooms: u32, largest: u32) -> io::Result<Self> {
        let Some(room) = ROOM_SIZES.into_iter().find(|size| size - HEADROOM >= largest) else {
            let text = format!("frames of {largest} octets are larger than a page takes");
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        };
        if !rooms.is_power_of_two() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // SAFETY: takes no pointers.
        let fd = check(unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) })?;
        // SAFETY: `fd` is a fresh descriptor that nothing else owns.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };

        let area = Area::new(rooms, room)?;
        let registration = libc::xdp_umem_reg {
            addr: area.start.as_ptr() as u64,
            len: area.len() as u64,
            chunk_size: room,
            headroom: 0,
            flags: 0,
            tx_metadata_len: 0,
        };
        set_option(fd.as_fd(), libc::SOL_XDP, libc::XDP_UMEM_REG, &registration)?;
        // The kernel wants a completion ring, though without a transmit ring nothing ever comes through it.
        for (ring, entries) in [
            (libc::XDP_UMEM_FILL_RING, rooms),
            (libc::XDP_UMEM_COMPLETION_RING, 2),
            (libc::XDP_RX_RING, rooms),
        ] {
            set_option(fd.as_fd(), libc::SOL_XDP, ring, &entries)?;
        }
        // SAFETY: all zeros is a valid xdp_mmap_offsets.
        let offsets: libc::xdp_mmap_offsets =
            option(fd.as_fd(), libc::XDP_MMAP_OFFSETS, unsafe { zeroed() })?;
        let fill = libc::XDP_UMEM_PGOFF_FILL_RING as i64;
        let fill = Ring::map(fd.as_fd(), fill, offsets.fr.into(), rooms, ADDRESS)?;
        let received = libc::XDP_PGOFF_RX_RING;
        let received = Ring::map(fd.as_fd(), received, offsets.rx.into(), rooms, DESCRIPTOR)?;

        let mut socket = XdpSocket { fd, fill, received, area, drops: 0 };
        for number in 0..rooms {
            socket.give(u64::from(number) * u64::from(room));
        }
        socket.fill.publish_producer();
        socket.bind(index, queue)?;
        Ok(socket)
    }

    fn bind(&self, index: i32, queue: u32) -> io::Result<()> {
        let address = libc::sockaddr_xdp {
            sxdp_family: libc::AF_XDP as u16,
            sxdp_flags: libc::XDP_COPY,
            sxdp_ifindex: index.cast_unsigned(),
            sxdp_queue_id: queue,
            sxdp_shared_umem_fd: 0,
        };
        let len = size_of::<libc::sockaddr_xdp>() as libc::socklen_t;
        // SAFETY: `address` is a sockaddr_xdp of the length given.
        check(unsafe { libc::bind(self.fd.as_raw_fd(), std::ptr::from_ref(&address).cast(), len) }).map(drop)
    }

    /// Shows the frames that are there, at most `max`, to `take`, and gives their rooms to the kernel again. Returns how
    /// many.
    pub fn receive(&mut self, max: usize, mut take: impl FnMut(&[u8])) -> usize {
        let ready = self.received.ready();
        let count = u32::try_from(max).unwrap_or(u32::MAX).min(ready);
        for _ in 0..count {
            let at = self.received.advance();
            let address = self.received.memory.load_u64(at);
            let len = self.received.memory.load_u32(at + size_of::<u64>());
            // The kernel gives no frame outside the area: a room that would be is nobody's.
            let Some(frame) = self.area.frame(address, len) else { continue };
            take(frame);
            self.give(self.area.room_of(address));
        }
        if count > 0 {
            self.received.publish_consumer();
            self.fill.publish_producer();
        }
        count as usize
    }

    /// Puts a room into the fill ring.
    fn give(&mut self, address: u64) {
        let at = self.fill.advance();
        self.fill.memory.store_u64(at, address);
    }

    /// Frames that the kernel dropped because there was no room for them, since the last call.
    pub fn take_drops(&mut self) -> io::Result<u64> {
        // SAFETY: all zeros is a valid xdp_statistics.
        let now: libc::xdp_statistics = option(self.fd.as_fd(), libc::XDP_STATISTICS, unsafe { zeroed() })?;
        // A frame that found the fill ring empty is among those of `rx_dropped`.
        let drops = now.rx_dropped.wrapping_add(now.rx_ring_full);
        Ok(drops.wrapping_sub(std::mem::replace(&mut self.drops, drops)))
    }
}

impl AsFd for XdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Reads an option of an AF_XDP socket. `T` must be the C type that the option gives; older kernels write less of it.
fn option<T: Copy>(fd: BorrowedFd<'_>, name: libc::c_int, mut value: T) -> io::Result<T> {
    let mut len = size_of::<T>() as libc::socklen_t;
    // SAFETY: `value` has room for the `len` octets that the kernel may write.
    check(unsafe {
        libc::getsockopt(fd.as_raw_fd(), libc::SOL_XDP, name, std::ptr::from_mut(&mut value).cast(), &mut len)
    })?;
    Ok(value)
}

/// Where the parts of a ring are in its memory.
#[derive(Debug, Clone, Copy)]
struct Offsets {
    producer: usize,
    consumer: usize,
    entries: usize,
}

impl From<libc::xdp_ring_offset> for Offsets {
    fn from(offsets: libc::xdp_ring_offset) -> Self {
        let [producer, consumer, entries] =
            [offsets.producer, offsets.consumer, offsets.desc].map(|offset| offset as usize);
        Offsets { producer, consumer, entries }
    }
}

/// A ring that we share with the kernel. One side writes entries and counts them, the other one reads them and counts; both
/// counts go on for ever, modulo 2^32.
#[derive(Debug)]
struct Ring {
    memory: SharedMemory,
    offsets: Offsets,
    entry: usize,
    mask: u32,
    /// Our side's count.
    count: u32,
}

impl Ring {
    fn map(
        fd: BorrowedFd<'_>,
        offset: i64,
        offsets: Offsets,
        entries: u32,
        entry: usize,
    ) -> io::Result<Self> {
        let len = offsets.entries + entries as usize * entry;
        let memory = SharedMemory::map_at(fd, offset, len)?;
        Ok(Ring { memory, offsets, entry, mask: entries - 1, count: 0 })
    }

    /// Where our next entry is.
    fn advance(&mut self) -> usize {
        let at = self.offsets.entries + (self.count & self.mask) as usize * self.entry;
        self.count = self.count.wrapping_add(1);
        at
    }

    /// Entries that the kernel has written and we have not read.
    fn ready(&self) -> u32 {
        let written = self.memory.load_u32(self.offsets.producer);
        written.wrapping_sub(self.count).min(self.mask + 1)
    }

    /// Lets the kernel have what we have written.
    fn publish_producer(&self) {
        self.memory.store_u32(self.offsets.producer, self.count);
    }

    /// Lets the kernel have the place of what we have read.
    fn publish_consumer(&self) {
        self.memory.store_u32(self.offsets.consumer, self.count);
    }
}

/// The rooms, one behind the other.
#[derive(Debug)]
struct Area {
    start: NonNull<u8>,
    rooms: u32,
    room: u32,
}

// SAFETY: the memory belongs to no thread.
unsafe impl Send for Area {}

impl Area {
    fn new(rooms: u32, room: u32) -> io::Result<Self> {
        let len = rooms as usize * room as usize;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::Other)?;
        Ok(Area { start, rooms, room })
    }

    fn len(&self) -> usize {
        self.rooms as usize * self.room as usize
    }

    /// The room that an address is in.
    fn room_of(&self, address: u64) -> u64 {
        address & !u64::from(self.room - 1)
    }

    /// The frame of `len` octets at `address`, when it lies in one room of the area.
    fn frame(&self, address: u64, len: u32) -> Option<&[u8]> {
        let end = address.checked_add(u64::from(len))?;
        if address >= self.len() as u64 || end > self.room_of(address).checked_add(u64::from(self.room))? {
            return None;
        }
        // SAFETY: the octets lie in the mapping, which lives as long as `self`. The kernel writes only to rooms that it has
        // from the fill ring, and this one has come back by the receive ring.
        Some(unsafe { std::slice::from_raw_parts(self.start.as_ptr().add(address as usize), len as usize) })
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, of this length, and no slice of it outlives `self`. The kernel holds the pages for
        // itself for as long as it may write to them.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_lies_in_one_room_of_the_area_or_is_none() {
        let area = Area::new(4, 2048).unwrap();
        for room in 0..4u64 {
            let start = room * 2048;
            assert_eq!(area.frame(start, 2048).map(<[u8]>::len), Some(2048));
            assert_eq!(area.frame(start + 256, 1792).map(<[u8]>::len), Some(1792));
            assert_eq!(area.frame(start + 2047, 1).map(<[u8]>::len), Some(1));
            assert_eq!(area.frame(start + 2048, 0).is_some(), room < 3, "the last room is the last");
            for (address, len) in [(start + 256, 1793), (start + 1, 2048), (start, 2049), (start, u32::MAX)] {
                assert_eq!(area.frame(address, len), None);
            }
            assert_eq!(area.room_of(start + 2047), start);
        }
        for address in [4 * 2048, 4 * 2048 + 256, u64::MAX, u64::MAX - 100, 1 << 63] {
            assert_eq!(area.frame(address, 60), None);
        }
    }

    #[test]
    fn what_cannot_be_is_refused_before_anything_is_opened() {
        let error = XdpSocket::open(1, 0, 64, 9018).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        assert!(error.to_string().contains("9018 octets"), "{error}");
        assert_eq!(XdpSocket::open(1, 0, 65, 1514).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
