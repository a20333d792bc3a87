//! Tap devices with the virtio-net header: large segments and partial checksums pass undone.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::zeroed;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd};
use std::os::unix::fs::OpenOptionsExt;

use super::check;

/// An open tap device: one frame per read and per write. The device vanishes with it unless it was made persistent.
#[derive(Debug)]
pub struct TapDevice(File);

impl TapDevice {
    /// Creates a tap device or attaches to one, with a virtio-net header in front of every frame.
    pub fn with_vnet_header(name: &str) -> io::Result<Self> {
        let file =
            OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun")?;
        // SAFETY: all zeros is a valid ifreq.
        let mut request: libc::ifreq = unsafe { zeroed() };
        let text = CString::new(name).map_err(|_| io::ErrorKind::InvalidInput)?;
        let text = text.as_bytes_with_nul();
        if text.len() > request.ifr_name.len() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a device name has at most 15 characters",
            ));
        }
        for (room, octet) in request.ifr_name.iter_mut().zip(text) {
            *room = octet.cast_signed();
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR) as libc::c_short;
        // SAFETY: TUNSETIFF takes an ifreq, which outlives the call.
        check(unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF as _, &mut request) })?;
        let basic = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN;
        let all = basic | libc::TUN_F_USO4 | libc::TUN_F_USO6;
        let set = |flags: libc::c_uint| {
            let flags = libc::c_ulong::from(flags);
            // SAFETY: TUNSETOFFLOAD takes a plain number.
            check(unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETOFFLOAD as _, flags) })
        };
        // UDP segmentation is younger (Linux 6.2) than the rest.
        set(all).or_else(|_| set(basic))?;
        Ok(TapDevice(file))
    }

    /// Creates a tap device or attaches to one, with bare frames of at most the MTU and whole checksums.
    pub fn plain(name: &str) -> io::Result<Self> {
        let device = tun_tap::Iface::without_packet_info(name, tun_tap::Mode::Tap)?;
        // SAFETY: `into_raw_fd` gives the descriptor up to us.
        let file = unsafe { File::from_raw_fd(device.into_raw_fd()) };
        // SAFETY: takes no pointers; the descriptor is open. A tap device has no other status flag to keep.
        check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) })?;
        Ok(TapDevice(file))
    }

    /// True when the device stays without this descriptor.
    pub fn is_persistent(&self) -> io::Result<bool> {
        // SAFETY: all zeros is a valid ifreq.
        let mut request: libc::ifreq = unsafe { zeroed() };
        // SAFETY: TUNGETIFF fills in an ifreq, which outlives the call.
        check(unsafe { libc::ioctl(self.0.as_raw_fd(), libc::TUNGETIFF as _, &mut request) })?;
        // SAFETY: the flags are what the kernel has filled in, and any number is valid.
        let flags = unsafe { request.ifr_ifru.ifru_flags };
        Ok(i32::from(flags) & libc::IFF_PERSIST != 0)
    }

    /// Lets the device stay without this descriptor, or vanish with it.
    pub fn set_persistent(&self, on: bool) -> io::Result<()> {
        // SAFETY: TUNSETPERSIST takes a plain number.
        check(unsafe { libc::ioctl(self.0.as_raw_fd(), libc::TUNSETPERSIST as _, libc::c_ulong::from(on)) })
            .map(drop)
    }

    /// Receives one frame into several pieces. Returns its length, the header's included.
    pub fn receive(&self, pieces: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&self.0).read_vectored(pieces)
    }

    /// Sends one frame, its header first.
    pub fn send(&self, pieces: &[IoSlice<'_>]) -> io::Result<()> {
        (&self.0).write_vectored(pieces).map(drop)
    }
}

impl AsFd for TapDevice {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
