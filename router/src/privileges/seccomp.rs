//! seccomp: which system calls a thread may use, and of some of them, for what.
//!
//! What is not listed reaches [`sigsys`](crate::sys::sigsys). Calls that are allowed whatever their arguments cost next to nothing,
//! for the kernel (since 5.11) keeps a table of them; so those of the packet path have no limits.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    apply_filter,
};

use super::Role;

/// A system call's name and number.
type Call = (&'static str, libc::c_long);

macro_rules! calls {
    ($($name:ident)*) => { &[$((stringify!($name), libc::$name)),*] };
}

/// What every thread needs to live, wait, tell the log, and end, also by a panic.
const EVERY: &[Call] = calls![
    SYS_brk SYS_clock_getres SYS_clock_gettime SYS_clock_nanosleep SYS_close SYS_exit SYS_exit_group SYS_fcntl SYS_futex
    SYS_getcwd SYS_getpid SYS_getrandom SYS_gettid SYS_gettimeofday SYS_lseek SYS_madvise SYS_membarrier SYS_mmap SYS_mprotect
    SYS_mremap SYS_munmap SYS_nanosleep SYS_read SYS_restart_syscall SYS_rseq SYS_rt_sigaction SYS_rt_sigprocmask
    SYS_rt_sigreturn SYS_sched_getaffinity SYS_sched_yield SYS_sigaltstack SYS_tgkill SYS_write SYS_writev
];

/// To read files.
const READ: &[Call] =
    calls![SYS_fstat SYS_getdents64 SYS_newfstatat SYS_openat SYS_pread64 SYS_readlinkat SYS_statx];

/// To write files, make them whole and remove them.
const WRITE: &[Call] =
    calls![SYS_fsync SYS_ftruncate SYS_mkdirat SYS_renameat SYS_renameat2 SYS_symlinkat SYS_unlinkat];

/// The same under older names.
#[cfg(target_arch = "x86_64")]
mod older {
    use super::Call;
    pub const READ: &[Call] = calls![SYS_lstat SYS_readlink SYS_stat];
    pub const WRITE: &[Call] = calls![SYS_mkdir SYS_rename SYS_rmdir SYS_symlink SYS_unlink];
    pub const REMOVE: &[Call] = calls![SYS_unlink];
    pub const WAIT: &[Call] = calls![SYS_epoll_wait SYS_poll];
    pub const NOTED: &[Call] = calls![SYS_chmod SYS_chown SYS_open];
    pub const STARTS: &[Call] = calls![SYS_fork SYS_vfork];
}
#[cfg(not(target_arch = "x86_64"))]
mod older {
    use super::Call;
    pub const READ: &[Call] = &[];
    pub const WRITE: &[Call] = &[];
    pub const REMOVE: &[Call] = &[];
    pub const WAIT: &[Call] = &[];
    pub const NOTED: &[Call] = &[];
    pub const STARTS: &[Call] = &[];
}

/// To remove a file.
const REMOVE: &[Call] = calls![SYS_unlinkat];

/// To wait for several things.
const WAIT: &[Call] = calls![SYS_epoll_ctl SYS_epoll_pwait SYS_epoll_pwait2 SYS_ppoll];

/// The control socket's clients.
const CLIENTS: &[Call] = calls![
    SYS_accept4 SYS_getpeername SYS_getsockname SYS_getsockopt SYS_recvfrom SYS_recvmsg SYS_sendmsg SYS_sendto
    SYS_shutdown
];

/// What the C library asks for before it looks names up.
const NAMES: &[Call] = calls![SYS_uname];

/// Frames, and the devices and maps that they go by.
const FRAMES: &[Call] = calls![
    SYS_bind SYS_bpf SYS_epoll_create1 SYS_getsockname SYS_getsockopt SYS_ioctl SYS_listen SYS_readv SYS_recvfrom SYS_recvmmsg SYS_recvmsg
    SYS_sendmmsg SYS_sendmsg SYS_sendto SYS_setsockopt SYS_socket
];

/// Lines.
const LINES: &[Call] = calls![SYS_ioctl];

/// On no list, but known by name.
const NOTED: &[Call] = calls![
    SYS_capset SYS_chdir SYS_chroot SYS_connect SYS_dup3 SYS_execve SYS_execveat SYS_fchmod
    SYS_fchmodat SYS_fchown SYS_fchownat SYS_fdatasync SYS_getuid SYS_io_uring_setup SYS_kill SYS_linkat SYS_mount
    SYS_perf_event_open SYS_pipe2 SYS_prctl SYS_prlimit64 SYS_process_vm_readv SYS_process_vm_writev SYS_ptrace
    SYS_seccomp SYS_setgid SYS_setns SYS_setuid SYS_socketpair SYS_statfs SYS_sysinfo SYS_umount2 SYS_unshare
    SYS_wait4
];

/// The lists of a role.
fn lists(role: Role) -> &'static [&'static [Call]] {
    match role {
        Role::Control => {
            &[EVERY, READ, older::READ, WAIT, older::WAIT, CLIENTS, NAMES, older::REMOVE, REMOVE]
        }
        Role::Data => &[EVERY, READ, older::READ, WRITE, older::WRITE, WAIT, older::WAIT, FRAMES],
        Role::Watch => &[EVERY, calls![SYS_pread64], LINES],
        Role::State | Role::Ring => &[EVERY, READ, older::READ, WRITE, older::WRITE],
    }
}

/// What an argument of a call has to be.
enum Limit {
    /// One of these.
    OneOf(&'static [u32]),
    /// None of these bits.
    Without(u32),
    /// This process.
    Ourselves,
}

/// `ioctl` of ethtool(8).
const SIOCETHTOOL: u32 = 0x8946;

/// `linux/bpf.h`: commands on maps, programs and links by their descriptors and pins. None finds one by a number.
const BPF_COMMANDS: &[u32] = &[
    0,  // MAP_CREATE
    1,  // MAP_LOOKUP_ELEM
    2,  // MAP_UPDATE_ELEM
    3,  // MAP_DELETE_ELEM
    4,  // MAP_GET_NEXT_KEY
    5,  // PROG_LOAD
    6,  // OBJ_PIN
    7,  // OBJ_GET
    15, // OBJ_GET_INFO_BY_FD
    16, // PROG_QUERY
    24, // MAP_LOOKUP_BATCH
    28, // LINK_CREATE
    29, // LINK_UPDATE
];

/// Which argument of which calls is limited, and how.
fn limits(role: Role) -> Vec<(libc::c_long, u8, Limit)> {
    let exec = libc::PROT_EXEC.cast_unsigned();
    let mut limits = vec![
        // Nothing that was written is ever run.
        (libc::SYS_mmap, 2, Limit::Without(exec)),
        (libc::SYS_mprotect, 2, Limit::Without(exec)),
        // An abort.
        (libc::SYS_tgkill, 0, Limit::Ourselves),
    ];
    match role {
        Role::Data => {
            const FAMILIES: &[u32] = &[
                libc::AF_PACKET as u32,
                libc::AF_XDP as u32,
                libc::AF_NETLINK as u32,
                // For ethtool's calls, and to hold a card by an abstract name.
                libc::AF_INET as u32,
                libc::AF_UNIX as u32,
            ];
            const REQUESTS: &[u32] = &[
                SIOCETHTOOL,
                libc::TUNSETIFF as u32,
                libc::TUNGETIFF as u32,
                libc::TUNSETOFFLOAD as u32,
                libc::TUNSETPERSIST as u32,
                libc::FIONBIO as u32,
            ];
            limits.push((libc::SYS_socket, 0, Limit::OneOf(FAMILIES)));
            limits.push((libc::SYS_ioctl, 1, Limit::OneOf(REQUESTS)));
            limits.push((libc::SYS_bpf, 0, Limit::OneOf(BPF_COMMANDS)));
        }
        Role::Watch => limits.push((libc::SYS_ioctl, 1, Limit::OneOf(&[SIOCETHTOOL]))),
        Role::Control | Role::State | Role::Ring => {}
    }
    limits
}

/// Calls that fail with EPERM without a signal, and are not counted.
fn quiet(role: Role) -> impl Iterator<Item = &'static Call> {
    // The C library starts threads and programs while all signals are blocked: one that cannot be delivered would end the
    // program.
    const STARTS: &[Call] = calls![SYS_clone SYS_clone3];
    // It looks for a daemon that knows names before it reads its files, for a capture's filter that has one.
    const TRIED: &[Call] = calls![SYS_socket];
    let tried = if role == Role::Control { TRIED } else { &[] };
    [STARTS, older::STARTS, tried].into_iter().flatten()
}

impl Limit {
    fn rules(&self, argument: u8) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
        let rule = |operator, value| {
            let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)?;
            SeccompRule::new(vec![condition])
        };
        match self {
            Limit::OneOf(values) => {
                values.iter().map(|value| rule(SeccompCmpOp::Eq, u64::from(*value))).collect()
            }
            Limit::Without(bits) => Ok(vec![rule(SeccompCmpOp::MaskedEq(u64::from(*bits)), 0)?]),
            Limit::Ourselves => Ok(vec![rule(SeccompCmpOp::Eq, std::process::id().into())?]),
        }
    }
}

/// Puts a role's list in force for this thread. Returns how many calls are on it.
pub fn restrict(role: Role) -> Result<usize, String> {
    let compiled = || Ok::<_, seccompiler::BackendError>((silence(role)?, list(role)?));
    let (silence, (list, count)) = compiled().map_err(|error| error.to_string())?;
    for program in [silence, list] {
        apply_filter(&program).map_err(|error| error.to_string())?;
    }
    Ok(count)
}

fn list(role: Role) -> Result<(BpfProgram, usize), seccompiler::BackendError> {
    let calls = lists(role).iter().copied().flatten();
    // A call without rules is allowed whatever its arguments.
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = calls.map(|(_, number)| (*number, Vec::new())).collect();
    for (number, argument, limit) in limits(role) {
        rules.insert(number, limit.rules(argument)?);
    }
    let count = rules.len();
    // The other list answers these, for of two answers the harder one counts.
    rules.extend(quiet(role).map(|(_, number)| (*number, Vec::new())));
    let arch = std::env::consts::ARCH.try_into()?;
    let program = SeccompFilter::new(rules, SeccompAction::Trap, SeccompAction::Allow, arch)?;
    Ok((program.try_into()?, count))
}

/// The list that answers the calls of [`quiet`].
fn silence(role: Role) -> Result<BpfProgram, seccompiler::BackendError> {
    let rules = quiet(role).map(|(_, number)| (*number, Vec::new())).collect();
    let arch = std::env::consts::ARCH.try_into()?;
    let refuse = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch)?.try_into()
}

/// What a call is called, as far as that is known here.
pub fn name(number: i64) -> String {
    let known = Role::ALL.into_iter().flat_map(lists).copied().chain([NOTED, older::NOTED]).flatten();
    let known = known.filter(|(_, its)| *its == number).map(|(name, _)| name.trim_start_matches("SYS_"));
    known.map(str::to_owned).next().unwrap_or_else(|| format!("number {number}"))
}
