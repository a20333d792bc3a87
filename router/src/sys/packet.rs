//! Packet sockets (packet(7)): frames of one card, with the virtio-net header, many in one call.

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::{check, set_option};

/// Length of the virtio-net header in front of every frame (virtio 1.2, section 5.1.6, without `num_buffers`).
pub const VNET_HEADER: usize = 10;

/// Every ethertype, for [`PacketSocket::bind`].
pub const EVERY_PROTOCOL: u16 = libc::ETH_P_ALL as u16;

/// Most frames moved by one call.
pub const BURST: usize = 64;

const AUXDATA: usize = size_of::<libc::tpacket_auxdata>();
// A control message is a cmsghdr and its data, each padded to eight octets.
const CONTROL: usize = (size_of::<libc::cmsghdr>() + AUXDATA).div_ceil(8);

/// What the kernel says of a frame that it has delivered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Received {
    /// Octets of the frame, without the header.
    pub len: usize,
    /// The virtio-net header.
    pub header: [u8; VNET_HEADER],
    /// The frame was larger than the room for it; what is there is only its beginning.
    pub truncated: bool,
    /// Tag protocol identifier and tag control information of a VLAN tag that the kernel has taken out.
    pub vlan: Option<(u16, u16)>,
}

/// One instruction of a classic BPF program (the kernel's `struct sock_filter`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions to skip when a condition holds.
    pub jump_true: u8,
    /// Instructions to skip when it does not.
    pub jump_false: u8,
    /// Operand.
    pub operand: u32,
}

/// A packet socket.
#[derive(Debug)]
pub struct PacketSocket(OwnedFd);

impl PacketSocket {
    /// A socket that receives nothing yet, and never what the host itself sends. Needs CAP_NET_RAW.
    pub fn new() -> io::Result<Self> {
        let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // SAFETY: takes no pointers. Protocol 0 keeps the socket deaf until it is bound.
        let fd = check(unsafe { libc::socket(libc::AF_PACKET, kind, 0) })?;
        // SAFETY: `fd` is a fresh descriptor that nothing else owns.
        let socket = PacketSocket(unsafe { OwnedFd::from_raw_fd(fd) });
        for option in [libc::PACKET_VNET_HDR, libc::PACKET_AUXDATA, libc::PACKET_IGNORE_OUTGOING] {
            set_option(socket.as_fd(), libc::SOL_PACKET, option, &1i32)?;
        }
        Ok(socket)
    }

    /// Sizes of the receive and send buffers in octets, beyond the system's limit where the process may.
    pub fn set_buffers(&self, receive: i32, send: i32) -> io::Result<()> {
        let set = |force, plain, size: i32| {
            set_option(self.as_fd(), libc::SOL_SOCKET, force, &size)
                .or_else(|_| set_option(self.as_fd(), libc::SOL_SOCKET, plain, &size))
        };
        set(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF, receive)?;
        set(libc::SO_SNDBUFFORCE, libc::SO_SNDBUF, send)
    }

    /// Marks every frame sent, so that a classifier at the card's egress knows it. Needs CAP_NET_ADMIN.
    pub fn set_mark(&self, mark: u32) -> io::Result<()> {
        set_option(self.as_fd(), libc::SOL_SOCKET, libc::SO_MARK, &mark)
    }

    /// Receives only what `program` accepts.
    pub fn set_filter(&self, program: &[Instruction]) -> io::Result<()> {
        let len = libc::c_ushort::try_from(program.len()).map_err(|_| {
            io::Error::new(io::ErrorKind::InvalidInput, "a socket filter of more than 65,535 instructions")
        })?;
        // The kernel copies the program and does not write to it.
        let program = libc::sock_fprog { len, filter: program.as_ptr().cast_mut().cast() };
        set_option(self.as_fd(), libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
    }

    /// Receives the frames for every group, or for every station, that reach the card, as long as the socket lives.
    pub fn join(&self, index: i32, everything: bool) -> io::Result<()> {
        let kind = if everything { libc::PACKET_MR_PROMISC } else { libc::PACKET_MR_ALLMULTI };
        let request = libc::packet_mreq {
            mr_ifindex: index,
            mr_type: kind as libc::c_ushort,
            mr_alen: 0,
            mr_address: [0; 8],
        };
        set_option(self.as_fd(), libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &request)
    }

    /// Begins to receive the frames of a card: those of an ethertype, behind the classifiers at its ingress, or with
    /// [`EVERY_PROTOCOL`] all, before them.
    pub fn bind(&self, index: i32, protocol: u16) -> io::Result<()> {
        // SAFETY: all zeros is a valid sockaddr_ll.
        let mut address: libc::sockaddr_ll = unsafe { zeroed() };
        address.sll_family = libc::AF_PACKET as libc::c_ushort;
        address.sll_protocol = protocol.to_be();
        address.sll_ifindex = index;
        let len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        // SAFETY: `address` is a sockaddr_ll of the length given.
        check(unsafe { libc::bind(self.0.as_raw_fd(), std::ptr::from_ref(&address).cast(), len) }).map(drop)
    }

    /// Frames that the kernel dropped because the receive buffer was full, since the last call.
    pub fn take_drops(&self) -> io::Result<u32> {
        // SAFETY: all zeros is a valid tpacket_stats.
        let mut stats: libc::tpacket_stats = unsafe { zeroed() };
        let mut len = size_of::<libc::tpacket_stats>() as libc::socklen_t;
        // SAFETY: `stats` has room for the `len` octets that the kernel may write.
        check(unsafe {
            libc::getsockopt(
                self.0.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                std::ptr::from_mut(&mut stats).cast(),
                &mut len,
            )
        })?;
        Ok(stats.tp_drops)
    }

    /// Receives a frame into each of `slots` until there are no more, at most [`BURST`]. `pieces` names the two pieces
    /// of room that a slot has; `received` says what came, in order. Returns the number of frames.
    pub fn receive<S>(
        &self,
        slots: &mut [S],
        pieces: impl Fn(&mut S) -> [&mut [u8]; 2],
        received: &mut [Received; BURST],
    ) -> io::Result<usize> {
        let count = slots.len().min(BURST);
        let mut controls = [[0u64; CONTROL]; BURST];
        // SAFETY: all zeros is a valid iovec (null, length 0) and a valid mmsghdr.
        let mut vectors: [[libc::iovec; 3]; BURST] = unsafe { zeroed() };
        // SAFETY: as above.
        let mut messages: [libc::mmsghdr; BURST] = unsafe { zeroed() };
        for ((((slot, header), control), vector), message) in
            slots.iter_mut().zip(received.iter_mut()).zip(&mut controls).zip(&mut vectors).zip(&mut messages)
        {
            let [first, rest] = pieces(slot);
            *vector = [vector_of(&mut header.header), vector_of(first), vector_of(rest)];
            message.msg_hdr.msg_iov = vector.as_mut_ptr();
            message.msg_hdr.msg_iovlen = vector.len();
            message.msg_hdr.msg_control = control.as_mut_ptr().cast();
            message.msg_hdr.msg_controllen = std::mem::size_of_val(control);
        }
        // SAFETY: every message points to vectors and control buffers on this stack and to pieces of `slots`, which
        // stays borrowed; none is touched otherwise until the call is over. `count` messages are filled in.
        let count = check(unsafe {
            libc::recvmmsg(
                self.0.as_raw_fd(),
                messages.as_mut_ptr(),
                count as libc::c_uint,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        })? as usize;
        for (received, message) in received.iter_mut().zip(&messages).take(count) {
            received.len = (message.msg_len as usize).saturating_sub(VNET_HEADER);
            received.truncated = message.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
            received.vlan = stripped_tag(&message.msg_hdr);
        }
        Ok(count)
    }

    /// Sends frames, each behind its virtio-net header, at most [`BURST`]. Returns how many the kernel took; an error
    /// is about the first frame.
    pub fn send<'a>(&self, frames: impl Iterator<Item = ([u8; VNET_HEADER], &'a [u8])>) -> io::Result<usize> {
        let mut headers = [[0u8; VNET_HEADER]; BURST];
        // SAFETY: all zeros is a valid iovec and a valid mmsghdr.
        let mut vectors: [[libc::iovec; 2]; BURST] = unsafe { zeroed() };
        // SAFETY: as above.
        let mut messages: [libc::mmsghdr; BURST] = unsafe { zeroed() };
        let mut count = 0;
        for (((message, vector), room), (header, frame)) in
            messages.iter_mut().zip(&mut vectors).zip(&mut headers).zip(frames)
        {
            *room = header;
            // The kernel only reads what a sender's vectors point to.
            let frame = libc::iovec { iov_base: frame.as_ptr().cast_mut().cast(), iov_len: frame.len() };
            *vector = [vector_of(room), frame];
            message.msg_hdr.msg_iov = vector.as_mut_ptr();
            message.msg_hdr.msg_iovlen = vector.len();
            count += 1;
        }
        // SAFETY: the first `count` messages point to vectors and headers on this stack and to frames borrowed for 'a.
        let sent = check(unsafe {
            libc::sendmmsg(self.0.as_raw_fd(), messages.as_mut_ptr(), count, libc::MSG_DONTWAIT)
        })?;
        Ok(sent as usize)
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn vector_of(room: &mut [u8]) -> libc::iovec {
    libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() }
}

/// The VLAN tag that the kernel took out of the frame, from the message's auxiliary data.
fn stripped_tag(message: &libc::msghdr) -> Option<(u16, u16)> {
    // SAFETY: the kernel has filled the control buffer in and set its length; the macros stay within it.
    let control = unsafe { libc::CMSG_FIRSTHDR(message).as_ref() }?;
    if control.cmsg_level != libc::SOL_PACKET || control.cmsg_type != libc::PACKET_AUXDATA {
        return None;
    }
    // SAFETY: a message of this type carries a tpacket_auxdata; it is read without a claim of alignment.
    let data: libc::tpacket_auxdata =
        unsafe { libc::CMSG_DATA(control).cast::<libc::tpacket_auxdata>().read_unaligned() };
    if data.tp_status & libc::TP_STATUS_VLAN_VALID == 0 {
        return None;
    }
    let known = data.tp_status & libc::TP_STATUS_VLAN_TPID_VALID != 0;
    Some((if known { data.tp_vlan_tpid } else { 0x8100 }, data.tp_vlan_tci))
}
