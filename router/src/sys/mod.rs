//! The only unsafe code of the project: system calls, each behind a safe function.
//!
//! A file holds the calls of one kernel facility and nothing that decides: [`packet`], [`xsk`] and [`tun`] move frames,
//! [`netlink`], [`ethtool`] and [`bpf`] ask and configure a card, [`shared`] is memory that the kernel writes, too,
//! [`poll`] waits, [`netns`] changes the network namespace, [`sigsys`] answers calls that are refused. Functions take and return borrowed or owned file descriptors,
//! slices and `io::Result`, so that no caller needs to be careful.

pub mod bpf;
pub mod ethtool;
pub mod netlink;
pub mod netns;
pub mod packet;
pub mod poll;
pub mod shared;
pub mod sigsys;
pub mod tun;
pub mod xsk;

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Octets from the kernel's random number generator.
pub fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut octets = [0; N];
    rustix::rand::getrandom(&mut octets, rustix::rand::GetRandomFlags::empty())?;
    Ok(octets)
}

/// The result of a system call that returns -1 on failure.
fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// The same for calls that return a length.
fn check_len(result: libc::ssize_t) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// Sets a socket option to a plain value. `T` must be the C type that the option takes.
fn set_option<T: Copy>(
    fd: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    value: &T,
) -> io::Result<()> {
    // SAFETY: `value` is readable for `size_of::<T>()` octets during the call and the kernel only reads it.
    check(unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    })
    .map(drop)
}
