//! What a card's driver says of itself: its name and queues by the ioctls of ethtool(8), its XDP by generic netlink.

use std::ffi::CString;
use std::io;
use std::mem::zeroed;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::check;

const GDRVINFO: u32 = 0x03;
const GCHANNELS: u32 = 0x3c;
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
    let answer = ask(device, GDRVINFO)?;
    let octets = answer.iter().skip(1).take(8).flat_map(|word| word.to_ne_bytes());
    let name: Vec<u8> = octets.take_while(|octet| *octet != 0).collect();
    Ok(String::from_utf8_lossy(&name).into_owned())
}

/// The queues of a device.
pub fn queues(device: &str) -> io::Result<Queues> {
    // The command; most receive, send, other and combined queues; then the same in use.
    let answer = ask(device, GCHANNELS)?;
    Ok(Queues { used: answer[8], most: answer[4], receive: answer[5].saturating_add(answer[8]) })
}

fn ask(device: &str, command: u32) -> io::Result<[u32; ROOM]> {
    // SAFETY: takes no pointers.
    let fd = check(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: `fd` is a fresh descriptor that nothing else owns.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut answer = [0; ROOM];
    answer[0] = command;
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
    check(unsafe { libc::ioctl(socket.as_raw_fd(), 0x8946, &mut request) })?;
    Ok(answer)
}
