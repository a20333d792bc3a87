//! bpf(2): loading a classifier, attaching programs to a device by links, running a program once, and what of maps a
//! library does not do.
//!
//! A link ends, and its program is detached, when it is neither open nor pinned any more.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use super::check;

const PROG_LOAD: libc::c_int = 5;
const OBJ_PIN: libc::c_int = 6;
const OBJ_GET: libc::c_int = 7;
const PROG_RUN: libc::c_int = 10;
const OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const PROG_QUERY: libc::c_int = 16;
const MAP_LOOKUP_BATCH: libc::c_int = 24;
const LINK_CREATE: libc::c_int = 28;
const LINK_UPDATE: libc::c_int = 29;
const PROG_TYPE_SCHED_CLS: u32 = 3;
const BPFFS_MAGIC: u32 = 0xcafe_4a11;

/// Where a program can be attached to a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// By its driver, before the kernel knows the frame (XDP, native mode; links since Linux 5.9).
    Xdp,
    /// At its ingress (TCX, Linux 6.6), in front of the programs already there.
    Ingress,
    /// At its egress (TCX, Linux 6.6), in front of the programs already there.
    Egress,
}

impl Hook {
    /// The kernel's number of the attach point, and flags.
    fn numbers(self) -> (u32, u32) {
        const XDP_DRIVER_MODE: u32 = 1 << 2;
        const BEFORE: u32 = 1 << 3;
        match self {
            Hook::Xdp => (37, XDP_DRIVER_MODE),
            Hook::Ingress => (46, BEFORE),
            Hook::Egress => (47, BEFORE),
        }
    }
}

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
    /// Every address written into the attributes must be readable, or writable where the command writes, for the length
    /// that the command takes.
    unsafe fn call(&mut self, command: libc::c_int) -> io::Result<libc::c_int> {
        // SAFETY: the attributes are readable and writable for the length given; the rest is the caller's promise.
        check(unsafe { libc::syscall(libc::SYS_bpf, command, self.0.as_mut_ptr(), self.0.len()) }
            as libc::c_int)
    }

    /// The same, of a command that returns a descriptor.
    ///
    /// # Safety
    ///
    /// As for [`Attributes::call`], and the command must return a fresh descriptor.
    unsafe fn open(&mut self, command: libc::c_int) -> io::Result<OwnedFd> {
        // SAFETY: the caller's promise.
        let fd = unsafe { self.call(command) }?;
        // SAFETY: nothing else owns it, as the caller promises.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}

/// Loads a classifier (BPF_PROG_TYPE_SCHED_CLS) from its instructions, as the kernel encodes them.
pub fn load_classifier(instructions: &[u64]) -> io::Result<OwnedFd> {
    let license = c"Dual MIT/GPL";
    let mut attributes = Attributes::new()
        .with(0, PROG_TYPE_SCHED_CLS.to_ne_bytes())
        .with(4, u32::try_from(instructions.len()).unwrap_or(u32::MAX).to_ne_bytes())
        .with(8, (instructions.as_ptr() as u64).to_ne_bytes())
        .with(16, (license.as_ptr() as u64).to_ne_bytes())
        .with(48, *b"genkan_guard");
    // SAFETY: the addresses are those of the instructions, of the length given, and of a string with its final zero.
    unsafe { attributes.open(PROG_LOAD) }
}

/// A program attached to a device.
#[derive(Debug)]
pub struct Link(OwnedFd);

impl Link {
    /// Attaches a program to the device with a number, in this thread's network namespace.
    pub fn create(program: BorrowedFd<'_>, index: i32, hook: Hook) -> io::Result<Self> {
        let (point, flags) = hook.numbers();
        let mut attributes = Attributes::new()
            .with(0, program.as_raw_fd().to_ne_bytes())
            .with(4, index.to_ne_bytes())
            .with(8, point.to_ne_bytes())
            .with(12, flags.to_ne_bytes());
        // SAFETY: the command takes no addresses and returns a descriptor.
        unsafe { attributes.open(LINK_CREATE) }.map(Link)
    }

    /// Puts another program in the place of the attached one, between two frames.
    pub fn update(&self, program: BorrowedFd<'_>) -> io::Result<()> {
        let mut attributes = Attributes::new()
            .with(0, self.0.as_raw_fd().to_ne_bytes())
            .with(4, program.as_raw_fd().to_ne_bytes());
        // SAFETY: the command takes no addresses.
        unsafe { attributes.call(LINK_UPDATE) }.map(drop)
    }

    /// The number of the device; 0 when it is gone.
    pub fn device(&self) -> io::Result<i32> {
        // struct bpf_link_info: type, id and program, then what depends on the type: of XDP and TCX first the device.
        let info = info(self.0.as_fd())?;
        Ok(info[4].cast_signed())
    }

    /// Gives it a name in a BPF file system, where it outlives this process.
    pub fn pin(&self, path: &Path) -> io::Result<()> {
        let path = c_path(path)?;
        let mut attributes = Attributes::new()
            .with(0, (path.as_ptr() as u64).to_ne_bytes())
            .with(8, self.0.as_raw_fd().to_ne_bytes());
        // SAFETY: the address is that of a string with its final zero.
        unsafe { attributes.call(OBJ_PIN) }.map(drop)
    }

    /// The link that was pinned there.
    pub fn pinned(path: &Path) -> io::Result<Self> {
        let path = c_path(path)?;
        let mut attributes = Attributes::new().with(0, (path.as_ptr() as u64).to_ne_bytes());
        // SAFETY: the address is that of a string with its final zero; the command returns a descriptor.
        unsafe { attributes.open(OBJ_GET) }.map(Link)
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// An error says that the kernel has no TCX (before Linux 6.6), or that this process may not ask.
pub fn has_tcx() -> io::Result<()> {
    const LOOPBACK: i32 = 1;
    let (point, _) = Hook::Ingress.numbers();
    let mut attributes = Attributes::new().with(0, LOOPBACK.to_ne_bytes()).with(4, point.to_ne_bytes());
    // SAFETY: without room for programs the command takes no addresses; it writes to the attributes only.
    unsafe { attributes.call(PROG_QUERY) }.map(drop)
}

/// The values of a per-processor array's first `count` elements, at most those there are: for each element and each
/// processor its words.
pub fn read_per_cpu(map: BorrowedFd<'_>, count: u32) -> io::Result<Vec<Vec<Vec<u64>>>> {
    let processors = aya::util::nr_cpus().map_err(|(_, error)| error)?;
    // struct bpf_map_info: type, id, size of a key, size of a value, number of elements.
    let info = info(map)?;
    let words = (info[3] as usize).div_ceil(8);
    let count = count.min(info[4]);
    let elements = count as usize;
    let (mut keys, mut values) = (vec![0u32; elements], vec![0u64; words * processors * elements]);
    let mut next = 0u32;
    let mut attributes = Attributes::new()
        .with(8, (std::ptr::from_mut(&mut next) as u64).to_ne_bytes())
        .with(16, (keys.as_mut_ptr() as u64).to_ne_bytes())
        .with(24, (values.as_mut_ptr() as u64).to_ne_bytes())
        .with(32, count.to_ne_bytes())
        .with(36, map.as_raw_fd().to_ne_bytes());
    // SAFETY: there is room for `count` keys of an array and for as many values as large as the kernel says, and for where
    // to go on.
    match unsafe { attributes.call(MAP_LOOKUP_BATCH) } {
        Ok(_) => {}
        // The end of the map.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
        Err(error) => return Err(error),
    }
    let element = |values: &[u64]| values.chunks(words).map(<[u64]>::to_vec).collect();
    Ok(values.chunks(words * processors).map(element).collect())
}

/// The first words of what the kernel tells of a map or link.
fn info(fd: BorrowedFd<'_>) -> io::Result<[u32; 32]> {
    let mut info = [0u32; 32];
    let mut attributes = Attributes::new()
        .with(0, fd.as_raw_fd().to_ne_bytes())
        .with(4, (size_of_val(&info) as u32).to_ne_bytes())
        .with(8, (info.as_mut_ptr() as u64).to_ne_bytes());
    // SAFETY: `info` is writable for the length given.
    unsafe { attributes.call(OBJ_GET_INFO_BY_FD) }?;
    Ok(info)
}

/// True when a BPF file system is mounted there.
pub fn is_bpffs(path: &Path) -> io::Result<bool> {
    Ok(rustix::fs::statfs(path)?.f_type as u32 == BPFFS_MAGIC)
}

/// Mounts a BPF file system on a directory.
pub fn mount_bpffs(path: &Path) -> io::Result<()> {
    let path = c_path(path)?;
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC | libc::MS_RELATIME;
    // SAFETY: strings end with a zero.
    check(unsafe {
        libc::mount(c"bpf".as_ptr(), path.as_ptr(), c"bpf".as_ptr(), flags, c"mode=0700".as_ptr().cast())
    })
    .map(drop)
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::ErrorKind::InvalidInput.into())
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
    unsafe { attributes.call(PROG_RUN) }?;
    let told = |offset: usize| {
        let octets = attributes.0.get(offset..).and_then(<[u8]>::first_chunk);
        octets.map_or(0, |octets| u32::from_ne_bytes(*octets))
    };
    Ok(Ran { verdict: told(4), length: told(12) as usize, time: Duration::from_nanos(u64::from(told(36))) })
}
