//! Memory that this program and the kernel both write, a BPF array map (BPF_F_MMAPABLE) or a ring of an AF_XDP socket, seen
//! as octets.
//!
//! Every access is one atomic load or store of a naturally aligned number, so that neither side ever sees half of one.
//! Loads acquire and stores release: stores are seen in their order by whoever loads in the opposite one, as a sequence
//! number needs.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The memory of a map. It stays mapped, and the map alive, until it is dropped.
///
/// An access outside it, or at an offset that is not a multiple of the number's size, is a fault of the caller: it panics
/// in debug builds; in others a load gives 0 and a store does nothing.
#[derive(Debug)]
pub struct SharedMemory {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the memory belongs to no thread and is only ever reached by atomic operations.
unsafe impl Send for SharedMemory {}
// SAFETY: as above.
unsafe impl Sync for SharedMemory {}

impl SharedMemory {
    /// Maps the first `len` octets of a map, which must have them and have been made with BPF_F_MMAPABLE.
    pub fn map(fd: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        Self::map_at(fd, 0, len)
    }

    /// Maps `len` octets from an offset on, which is how an AF_XDP socket tells its rings apart.
    pub fn map_at(fd: BorrowedFd<'_>, offset: libc::off_t, len: usize) -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let (flags, fd) = (libc::MAP_SHARED, fd.as_raw_fd());
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, fd, offset) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::Other)?;
        Ok(SharedMemory { start, len })
    }

    /// Its octets.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when there are none, which the kernel never maps.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The 32-bit number at an offset in octets. Later loads are not done before it.
    pub fn load_u32(&self, offset: usize) -> u32 {
        self.at::<AtomicU32>(offset).map_or(0, |number| number.load(Ordering::Acquire))
    }

    /// Changes the 32-bit number at an offset in octets. Earlier stores are seen before it.
    pub fn store_u32(&self, offset: usize, value: u32) {
        if let Some(number) = self.at::<AtomicU32>(offset) {
            number.store(value, Ordering::Release);
        }
    }

    /// The 64-bit number at an offset in octets. Later loads are not done before it.
    pub fn load_u64(&self, offset: usize) -> u64 {
        self.at::<AtomicU64>(offset).map_or(0, |number| number.load(Ordering::Acquire))
    }

    /// Changes the 64-bit number at an offset in octets. Earlier stores are seen before it.
    pub fn store_u64(&self, offset: usize, value: u64) {
        if let Some(number) = self.at::<AtomicU64>(offset) {
            number.store(value, Ordering::Release);
        }
    }

    fn at<T: Number>(&self, offset: usize) -> Option<&T> {
        let inside = offset.checked_add(size_of::<T>()).is_some_and(|end| end <= self.len);
        let fits = inside && offset.is_multiple_of(size_of::<T>());
        debug_assert!(fits, "{offset} is no place for {} octets in {}", size_of::<T>(), self.len);
        // SAFETY: the number lies within the mapping, which lives as long as `self`; a mapping begins at a page, so the
        // offset's alignment is the address's; and everybody else reaches it by atomic operations, too.
        fits.then(|| unsafe { self.start.add(offset).cast::<T>().as_ref() })
    }
}

/// Only these: any bits are a valid value of theirs.
trait Number {}
impl Number for AtomicU32 {}
impl Number for AtomicU64 {}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, of this length, and no reference into it outlives `self`.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    fn memory(len: usize) -> [SharedMemory; 2] {
        let fd = rustix::fs::memfd_create("shared", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        rustix::fs::ftruncate(&fd, len as u64).unwrap();
        [(); 2].map(|()| SharedMemory::map(fd.as_fd(), len).unwrap())
    }

    #[test]
    fn what_one_stores_the_other_loads() {
        let [one, other] = memory(64);
        one.store_u32(4, 0x0102_0304);
        one.store_u64(56, u64::MAX - 1);
        assert_eq!((other.load_u32(4), other.load_u64(56)), (0x0102_0304, u64::MAX - 1));
        assert_eq!((other.load_u32(0), other.load_u32(8)), (0, 0), "its neighbours are untouched");
        assert_eq!((other.load_u32(56), other.load_u32(60)), (u32::MAX - 1, u32::MAX));
    }

    #[test]
    fn memory_outside_it_or_askew_is_never_touched() {
        let [memory, _] = memory(64);
        for (offset, octets) in
            [(61, 4), (64, 4), (60, 8), (2, 4), (4, 8), (usize::MAX, 4), (usize::MAX - 7, 8)]
        {
            let reached = std::panic::catch_unwind(|| match octets {
                4 => memory.load_u32(offset),
                _ => memory.load_u64(offset) as u32,
            });
            assert!(reached.is_err() || !cfg!(debug_assertions), "{offset}");
            assert_eq!(reached.unwrap_or(0), 0);
        }
    }

    #[test]
    fn what_cannot_be_mapped_is_an_error() {
        let null = std::fs::File::open("/proc/self/status").unwrap();
        assert!(SharedMemory::map(null.as_fd(), 4096).is_err());
    }
}
