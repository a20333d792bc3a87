//! bpf(2): loading a classifier and attaching it to a card for as long as this process lives.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::check;

const PROG_LOAD: libc::c_int = 5;
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
