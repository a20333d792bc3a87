//! bpf(2): loading a classifier and attaching it to a card for as long as this process lives; running a program once.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use super::check;

const PROG_LOAD: libc::c_int = 5;
const PROG_RUN: libc::c_int = 10;
const LINK_CREATE: libc::c_int = 28;
const PROG_TYPE_SCHED_CLS: u32 = 3;
const ATTACH_TCX_INGRESS: u32 = 46;
const ATTACH_TCX_EGRESS: u32 = 47;

/// The kernel's `union bpf_attr`, zeros where nothing is said.
#[repr(C, align(8))]
struct Attributes([u8; 128]);

impl Attributes {
    fn new() -> Self {
        Attributes([0; 128])
    }

    fn with<const N: usize>(mut self, offset: usize, octets: [u8; N]) -> Self {
        if let Some(room) = self.0.get_mut(offset..offset + N) {
            room.copy_from_slice(&octets);
        }
        self
    }

    /// # Safety
    ///
    /// Every address written into the attributes must be readable for the length that the command takes.
    unsafe fn call(&self, command: libc::c_int) -> io::Result<OwnedFd> {
        // SAFETY: the attributes are readable for the length given; the rest is the caller's promise.
        let fd =
            check(unsafe { libc::syscall(libc::SYS_bpf, command, self.0.as_ptr(), self.0.len()) }
                as libc::c_int)?;
        // SAFETY: both commands return a fresh descriptor that nothing else owns.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}

/// Loads a classifier (BPF_PROG_TYPE_SCHED_CLS) from its instructions, as the kernel encodes them.
pub fn load_classifier(instructions: &[u64]) -> io::Result<OwnedFd> {
    let license = c"Dual MIT/GPL";
    let attributes = Attributes::new()
        .with(0, PROG_TYPE_SCHED_CLS.to_ne_bytes())
        .with(4, u32::try_from(instructions.len()).unwrap_or(u32::MAX).to_ne_bytes())
        .with(8, (instructions.as_ptr() as u64).to_ne_bytes())
        .with(16, (license.as_ptr() as u64).to_ne_bytes())
        .with(48, *b"genkan_guard");
    // SAFETY: the addresses are those of the instructions, of the length given, and of a string with its final zero.
    unsafe { attributes.call(PROG_LOAD) }
}

/// Attaches a classifier to a card by a TCX link (Linux 6.6), in front of those already there. Closing the result
/// detaches it.
pub fn attach_tcx(program: BorrowedFd<'_>, index: i32, egress: bool) -> io::Result<OwnedFd> {
    let point = if egress { ATTACH_TCX_EGRESS } else { ATTACH_TCX_INGRESS };
    const BEFORE: u32 = 1 << 3;
    let attributes = Attributes::new()
        .with(0, program.as_raw_fd().to_ne_bytes())
        .with(4, index.to_ne_bytes())
        .with(8, point.to_ne_bytes())
        .with(12, BEFORE.to_ne_bytes());
    // SAFETY: the command takes no addresses.
    unsafe { attributes.call(LINK_CREATE) }
}

/// What a program has done with a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ran {
    /// What it returned.
    pub verdict: u32,
    /// Octets of the frame then.
    pub length: usize,
    /// Time it took, on average.
    pub time: Duration,
}

/// What a program of XDP or of a classifier is told of where a frame came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// XDP: the device's number.
    Xdp(u32),
    /// A classifier: the device's number.
    Classifier(u32),
}

/// Runs a program `repeat` times over a frame as if it had come in by a device of this network namespace, one run on what
/// the last has left. The frame as it is then is written to `after`; it must have room for it. Nothing is sent.
pub fn run(
    program: BorrowedFd<'_>,
    arrival: Arrival,
    frame: &[u8],
    after: &mut [u8],
    repeat: u32,
) -> io::Result<Ran> {
    /// Octets of `struct xdp_md` and `struct __sk_buff` up to the last member that is set here.
    const XDP_MD: usize = 24;
    const SK_BUFF: usize = 44;
    let length =
        |octets: usize| u32::try_from(octets).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));

    let mut context = [0; SK_BUFF];
    let (size, fields) = match arrival {
        // `data_end` and `ingress_ifindex`.
        Arrival::Xdp(device) => (XDP_MD, [(4, length(frame.len())?), (12, device)]),
        // `ifindex`; the other member stays as it is.
        Arrival::Classifier(device) => (SK_BUFF, [(40, device), (40, device)]),
    };
    for (offset, value) in fields {
        if let Some(place) = context.get_mut(offset..).and_then(<[u8]>::first_chunk_mut) {
            *place = value.to_ne_bytes();
        }
    }
    let mut attributes = Attributes::new()
        .with(0, program.as_raw_fd().to_ne_bytes())
        .with(8, length(frame.len())?.to_ne_bytes())
        .with(12, length(after.len())?.to_ne_bytes())
        .with(16, (frame.as_ptr() as u64).to_ne_bytes())
        .with(24, (after.as_mut_ptr() as u64).to_ne_bytes())
        .with(32, repeat.to_ne_bytes())
        .with(40, length(size)?.to_ne_bytes())
        .with(48, (context.as_ptr() as u64).to_ne_bytes());
    // SAFETY: the addresses are those of slices of the lengths given, of which `after` may be written to; the kernel writes
    // what the program has done into the attributes, which are ours.
    check(unsafe { libc::syscall(libc::SYS_bpf, PROG_RUN, attributes.0.as_mut_ptr(), attributes.0.len()) }
        as libc::c_int)?;
    let told = |offset: usize| {
        let octets = attributes.0.get(offset..).and_then(<[u8]>::first_chunk);
        octets.map_or(0, |octets| u32::from_ne_bytes(*octets))
    };
    Ok(Ran { verdict: told(4), length: told(12) as usize, time: Duration::from_nanos(u64::from(told(36))) })
}
