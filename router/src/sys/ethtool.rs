//! What a card's driver says of itself by the ioctls of ethtool(8): its name, its queues, whether its line has a carrier, and
//! whether the card completes checksums, which can be changed.

use std::ffi::CString;
use std::io;
use std::mem::zeroed;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::check;

const GDRVINFO: u32 = 0x03;
const GLINK: u32 = 0x0a;
const GCHANNELS: u32 = 0x3c;
const GTXCSUM: u32 = 0x16;
const STXCSUM: u32 = 0x17;
/// Octets of the largest structure asked for (`struct ethtool_drvinfo` has 196).
const ROOM: usize = 64;

/// The queues of a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queues {
    /// In use, of those that both receive and send.
    pub used: u32,
    /// That the card has, of those.
    pub most: u32,
    /// In use, of all that receive.
    pub receive: u32,
}

/// The name of a device's driver.
pub fn driver(device: &str) -> io::Result<String> {
    let answer = Ethtool::open()?.ask(device, GDRVINFO, 0)?;
    let octets = answer.iter().skip(1).take(8).flat_map(|word| word.to_ne_bytes());
    let name: Vec<u8> = octets.take_while(|octet| *octet != 0).collect();
    Ok(String::from_utf8_lossy(&name).into_owned())
}

/// The queues of a device.
pub fn queues(device: &str) -> io::Result<Queues> {
    // The command; most receive, send, other and combined queues; then the same in use.
    let answer = Ethtool::open()?.ask(device, GCHANNELS, 0)?;
    Ok(Queues { used: answer[8], most: answer[4], receive: answer[5].saturating_add(answer[8]) })
}

/// Asks the devices of the network namespace in which it was opened.
#[derive(Debug)]
pub struct Ethtool(OwnedFd);

impl Ethtool {
    /// Asks in this thread's namespace.
    pub fn open() -> io::Result<Self> {
        // SAFETY: takes no pointers.
        let fd = check(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) })?;
        // SAFETY: `fd` is a fresh descriptor that nothing else owns.
        Ok(Ethtool(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Whether a device is up and its line has a carrier.
    pub fn has_carrier(&self, device: &str) -> io::Result<bool> {
        self.ask(device, GLINK, 0).map(|answer| answer[1] != 0)
    }

    /// Whether a device completes checksums of what it sends, of any kind of packet.
    pub fn sums(&self, device: &str) -> io::Result<bool> {
        self.ask(device, GTXCSUM, 0).map(|answer| answer[1] != 0)
    }

    /// Has a device complete them, or leave that to the kernel. A driver that knows no choice goes on as before.
    pub fn set_sums(&self, device: &str, on: bool) -> io::Result<()> {
        self.ask(device, STXCSUM, on.into()).map(drop)
    }

    /// `argument` is the word behind the command.
    fn ask(&self, device: &str, command: u32, argument: u32) -> io::Result<[u32; ROOM]> {
        let mut answer = [0; ROOM];
        [answer[0], answer[1]] = [command, argument];
        // SAFETY: all zeros is a valid ifreq.
        let mut request: libc::ifreq = unsafe { zeroed() };
        let name = CString::new(device).map_err(|_| io::ErrorKind::InvalidInput)?;
        let name = name.as_bytes_with_nul();
        if name.len() > request.ifr_name.len() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        for (room, octet) in request.ifr_name.iter_mut().zip(name) {
            *room = octet.cast_signed();
        }
        request.ifr_ifru.ifru_data = answer.as_mut_ptr().cast();
        // SAFETY: SIOCETHTOOL takes an ifreq that points to a structure of the command, all of which fit into `answer`.
        check(unsafe { libc::ioctl(self.0.as_raw_fd(), 0x8946, &mut request) })?;
        Ok(answer)
    }
}
