//! rtnetlink(7) and generic netlink: requests to the kernel's network configuration, and what it answers.
//!
//! This file knows messages and attributes; what a message means is said in `port::link`.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use super::{check, check_len, set_option};

const HEADER: usize = 16;
const ERROR_TEXT: u16 = 1;

/// One message of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its type (`RTM_…`).
    pub kind: u16,
    /// What follows the message header.
    pub body: Vec<u8>,
}

/// A message being built: a fixed part, then attributes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Body(Vec<u8>);

impl Body {
    /// A body that begins with `fixed`.
    pub fn new(fixed: &[u8]) -> Self {
        Body(fixed.to_vec())
    }

    /// Appends an attribute.
    pub fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        let len = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.0.extend_from_slice(&len.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// Appends a 32-bit number.
    pub fn number(self, kind: u16, value: u32) -> Self {
        self.attribute(kind, &value.to_ne_bytes())
    }

    /// Appends a string with its final zero.
    pub fn text(self, kind: u16, value: &str) -> Self {
        let mut octets = value.as_bytes().to_vec();
        octets.push(0);
        self.attribute(kind, &octets)
    }

    /// Appends an attribute that holds attributes.
    pub fn nested(self, kind: u16, inner: Body) -> Self {
        self.attribute(kind, &inner.0)
    }
}

/// The attributes in `bytes`: type, without the flags of nesting and byte order, and value.
pub fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let len = usize::from(u16::from_ne_bytes(*bytes.first_chunk()?));
        let kind = u16::from_ne_bytes(*bytes.get(2..)?.first_chunk()?);
        let value = bytes.get(4..len)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind & 0x3fff, value))
    })
}

/// A connection to the kernel, in the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

impl Netlink {
    /// Opens a connection. Changes need CAP_NET_ADMIN.
    pub fn open() -> io::Result<Self> {
        Self::of(libc::NETLINK_ROUTE)
    }

    /// Opens a connection to the part of the kernel that is called `name` in generic netlink. The second result is the type
    /// of its messages, each of which begins with a command, a version and two zeros.
    pub fn generic(name: &str) -> io::Result<(Self, u16)> {
        const CONTROLLER: u16 = 16;
        const GET_FAMILY: [u8; 4] = [3, 1, 0, 0];
        const FAMILY_ID: u16 = 1;
        const FAMILY_NAME: u16 = 2;
        let mut netlink = Self::of(libc::NETLINK_GENERIC)?;
        let answer = netlink.request(CONTROLLER, 0, &Body::new(&GET_FAMILY).text(FAMILY_NAME, name))?;
        let kind = answer.first().and_then(|message| {
            let id = attributes(message.body.get(4..)?).find(|(kind, _)| *kind == FAMILY_ID)?;
            id.1.first_chunk().map(|id| u16::from_ne_bytes(*id))
        });
        Ok((netlink, kind.ok_or(io::ErrorKind::NotFound)?))
    }

    fn of(protocol: libc::c_int) -> io::Result<Self> {
        // SAFETY: takes no pointers.
        let fd =
            check(unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol) })?;
        // SAFETY: `fd` is a fresh descriptor that nothing else owns.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        // The error's words instead of a bare number, and without our request repeated.
        set_option(socket.as_fd(), libc::SOL_NETLINK, libc::NETLINK_EXT_ACK, &1i32)?;
        set_option(socket.as_fd(), libc::SOL_NETLINK, libc::NETLINK_CAP_ACK, &1i32)?;
        Ok(Netlink { socket, sequence: 0 })
    }

    /// Asks for a change and waits until it is done.
    pub fn change(&mut self, kind: u16, flags: i32, body: &Body) -> io::Result<()> {
        self.request(kind, libc::NLM_F_ACK | flags, body).map(drop)
    }

    /// Asks for everything of a kind.
    pub fn dump(&mut self, kind: u16, body: &Body) -> io::Result<Vec<Message>> {
        self.request(kind, libc::NLM_F_DUMP, body)
    }

    /// Sends a request and collects the answer up to its end.
    pub fn request(&mut self, kind: u16, flags: i32, body: &Body) -> io::Result<Vec<Message>> {
        self.sequence = self.sequence.wrapping_add(1);
        let len = HEADER + body.0.len();
        let mut message = Vec::with_capacity(len);
        message.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_ne_bytes());
        message.extend_from_slice(&kind.to_ne_bytes());
        message.extend_from_slice(&((libc::NLM_F_REQUEST | flags) as u16).to_ne_bytes());
        message.extend_from_slice(&self.sequence.to_ne_bytes());
        message.extend_from_slice(&[0; 4]);
        message.extend_from_slice(&body.0);
        // SAFETY: `message` is readable for its length.
        check_len(unsafe { libc::send(self.socket.as_raw_fd(), message.as_ptr().cast(), message.len(), 0) })?;

        let mut answer = Vec::new();
        let mut room = vec![0u8; 64 * 1024];
        loop {
            // SAFETY: `room` is writable for its length.
            let len = check_len(unsafe {
                libc::recv(self.socket.as_raw_fd(), room.as_mut_ptr().cast(), room.len(), 0)
            });
            let len = match len {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            let mut rest = room.get(..len).unwrap_or_default();
            while let Some(len) = rest.first_chunk().map(|len| u32::from_ne_bytes(*len) as usize) {
                let Some(message) = rest.get(..len).filter(|_| len >= HEADER) else { break };
                rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
                match self.read(message) {
                    Answer::Message(message) => {
                        answer.push(message);
                        if flags & (libc::NLM_F_DUMP | libc::NLM_F_ACK) == 0 {
                            return Ok(answer);
                        }
                    }
                    Answer::Done => return Ok(answer),
                    Answer::Error(error) => return Err(error),
                    Answer::Other => {}
                }
            }
        }
    }

    fn read(&self, message: &[u8]) -> Answer {
        let word =
            |at: usize| message.get(at..).and_then(|b| b.first_chunk()).map_or(0, |b| u32::from_ne_bytes(*b));
        let half =
            |at: usize| message.get(at..).and_then(|b| b.first_chunk()).map_or(0, |b| u16::from_ne_bytes(*b));
        let (kind, flags) = (half(4), i32::from(half(6)));
        if word(8) != self.sequence {
            return Answer::Other;
        }
        let body = message.get(HEADER..).unwrap_or_default();
        match i32::from(kind) {
            libc::NLMSG_DONE => Answer::Done,
            libc::NLMSG_ERROR if word(HEADER) == 0 => Answer::Done,
            libc::NLMSG_ERROR => {
                let error = io::Error::from_raw_os_error(word(HEADER).cast_signed().saturating_neg());
                let words = (flags & libc::NLM_F_ACK_TLVS != 0)
                    .then(|| {
                        attributes(body.get(4 + HEADER..).unwrap_or_default())
                            .find(|(kind, _)| *kind == ERROR_TEXT)
                    })
                    .flatten()
                    .map(|(_, text)| String::from_utf8_lossy(text).trim_end_matches('\0').to_owned());
                Answer::Error(match words {
                    Some(words) => io::Error::new(error.kind(), format!("{error}: {words}")),
                    None => error,
                })
            }
            _ => Answer::Message(Message { kind, body: body.to_vec() }),
        }
    }
}

enum Answer {
    Message(Message),
    Done,
    Error(io::Error),
    Other,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_read_back_what_was_built_and_stop_at_a_cut() {
        let body =
            Body::default().text(3, "eth0").number(4, 1500).nested(0x8000 | 18, Body::default().number(1, 7));
        let read: Vec<_> = attributes(&body.0).collect();
        assert_eq!(read.first(), Some(&(3, &b"eth0\0"[..])));
        assert_eq!(read.get(1), Some(&(4, &1500u32.to_ne_bytes()[..])));
        assert_eq!(read.get(2).map(|(kind, _)| *kind), Some(18));
        for cut in 0..body.0.len() {
            assert!(attributes(&body.0[..cut]).count() <= 3);
        }
        assert_eq!(attributes(&[0; 16]).count(), 0, "a length of zero must not loop");
    }
}
