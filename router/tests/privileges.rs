//! What threads can still do once they have given up what their role does not need. As root.
//!
//! Each role is tried in a thread of its own. A call that should be refused has arguments with which it would do no harm, and
//! would not fail with EPERM for want of a capability alone: the count of refused calls tells.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::net::{TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Duration;

use genkan::privileges::{self, Access, Grant, Role, ThreadStatus};
use libc::c_long;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

/// A system call, with arguments that change nothing.
type Attempt = (&'static str, c_long, [c_long; 4]);

/// No role may do any of it.
const FORBIDDEN: &[Attempt] = &[
    ("execve", libc::SYS_execve, [0; 4]),
    ("execveat", libc::SYS_execveat, [-1, 0, 0, 0]),
    ("ptrace", libc::SYS_ptrace, [-1, 0, 0, 0]),
    ("process_vm_readv", libc::SYS_process_vm_readv, [0; 4]),
    ("process_vm_writev", libc::SYS_process_vm_writev, [0; 4]),
    ("mount", libc::SYS_mount, [0; 4]),
    ("umount2", libc::SYS_umount2, [0; 4]),
    ("unshare", libc::SYS_unshare, [0; 4]),
    ("setns", libc::SYS_setns, [-1, 0, 0, 0]),
    ("chroot", libc::SYS_chroot, [0; 4]),
    ("setuid", libc::SYS_setuid, [-1, 0, 0, 0]),
    ("setgid", libc::SYS_setgid, [-1, 0, 0, 0]),
    ("capset", libc::SYS_capset, [0; 4]),
    ("prctl", libc::SYS_prctl, [-1, 0, 0, 0]),
    ("seccomp", libc::SYS_seccomp, [-1, 0, 0, 0]),
    ("perf_event_open", libc::SYS_perf_event_open, [0; 4]),
    ("io_uring_setup", libc::SYS_io_uring_setup, [0; 4]),
    ("connect", libc::SYS_connect, [-1, 0, 0, 0]),
    ("kill", libc::SYS_kill, [0; 4]),
    ("number 175", 175, [0; 4]),
];

/// The system's answer: an error's number, or 0.
fn attempt(number: c_long, arguments: [c_long; 4]) -> i32 {
    let [a, b, c, d] = arguments;
    // SAFETY: the callers' arguments are numbers, null pointers and pointers to what outlives the call.
    match unsafe { libc::syscall(number, a, b, c, d, 0) } {
        -1 => io::Error::last_os_error().raw_os_error().unwrap_or(-1),
        _ => 0,
    }
}

/// Counts are the process's.
static TURN: Mutex<()> = Mutex::new(());

fn of(role: Role) -> ThreadStatus {
    privileges::status().into_iter().find(|status| status.thread == role).expect("it has given up something")
}

/// The call fails, is counted, and is the last one that did.
#[track_caller]
fn is_refused(role: Role, (name, number, arguments): Attempt) {
    let before = of(role).refused;
    assert_eq!(attempt(number, arguments), libc::EPERM, "{role:?}: {name}");
    let after = of(role);
    assert_eq!((after.refused, after.last_refused.as_deref()), (before + 1, Some(name)), "{role:?}");
}

/// An operation on files fails for want of a grant; the call as such is allowed.
#[track_caller]
fn is_out_of_reach<T>(role: Role, what: &str, result: io::Result<T>) {
    let before = of(role).refused;
    let error = result.err().and_then(|error| error.raw_os_error());
    assert_eq!(error, Some(libc::EACCES), "{role:?}: {what}");
    assert_eq!(of(role).refused, before, "{role:?}: {what}");
}

/// A folder that the test may use, with a file in it, and one that it may not.
struct Folders {
    ours: PathBuf,
    other: PathBuf,
}

impl Folders {
    fn new(name: &str) -> Folders {
        let [ours, other] = ["ours", "other"].map(|end| {
            let path = std::env::temp_dir().join(format!("genkan-{}-{name}-{end}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            fs::write(path.join("file"), "content").unwrap();
            path
        });
        Folders { ours, other }
    }

    fn remove(&self) {
        fs::remove_dir_all(&self.ours).unwrap();
        fs::remove_dir_all(&self.other).unwrap();
    }
}

/// Runs `work` in a thread of this role, and looks meanwhile at what the kernel says of the thread.
fn as_role(role: Role, grants: Vec<Grant>, work: impl FnOnce() + Send + 'static) -> String {
    let (tell, told) = mpsc::channel();
    let (go, wait) = mpsc::channel::<()>();
    let thread = privileges::spawn(role, grants, move || {
        // SAFETY: takes no arguments.
        tell.send(unsafe { libc::gettid() }).unwrap();
        wait.recv().unwrap();
        work();
    });
    let thread = thread.unwrap();
    let task = told.recv().unwrap();
    let status = fs::read_to_string(format!("/proc/self/task/{task}/status")).unwrap();
    go.send(()).unwrap();
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    status
}

/// The value of a line of /proc/PID/status.
fn line<'a>(status: &'a str, key: &str) -> &'a str {
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    line.expect("the kernel tells it").trim()
}

/// What holds for every thread that has given up what it does not need.
#[track_caller]
fn is_confined(role: Role, status: &str, capabilities: u64) {
    assert_eq!(line(status, "NoNewPrivs"), "1", "{role:?}");
    assert_eq!(line(status, "Seccomp"), "2", "{role:?}");
    for set in ["CapEff", "CapPrm"] {
        assert_eq!(u64::from_str_radix(line(status, set), 16), Ok(capabilities), "{role:?}: {set}");
    }
    for set in ["CapInh", "CapBnd", "CapAmb"] {
        assert_eq!(u64::from_str_radix(line(status, set), 16), Ok(0), "{role:?}: {set}");
    }
    let told = of(role);
    assert!(told.no_new_privileges && told.landlock.is_some_and(|abi| abi >= 1), "{told:?}");
    assert!(told.system_calls.is_some_and(|calls| calls < 120), "{told:?}");
    assert_eq!(told.missing, Vec::<String>::new());
    assert_eq!(told.capabilities.len(), capabilities.count_ones() as usize, "{told:?}");
}

fn forbidden(role: Role) {
    for attempt in FORBIDDEN {
        is_refused(role, *attempt);
    }
    let (page, private) = (4096, c_long::from(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS));
    for protection in [libc::PROT_EXEC, libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC] {
        is_refused(role, ("mmap", libc::SYS_mmap, [0, page, protection.into(), private]));
        is_refused(role, ("mprotect", libc::SYS_mprotect, [0, 0, protection.into(), 0]));
    }
    is_refused(role, ("tgkill", libc::SYS_tgkill, [1, 1, 0, 0]));
    // Programs and threads cannot be started. The C library tries while all signals are blocked, so these are not counted.
    let before = of(role).refused;
    let error = Command::new("/bin/true").status().unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EPERM), "{role:?}: {error}");
    let error = std::thread::Builder::new().spawn(|| ()).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EPERM), "{role:?}: {error}");
    assert_eq!(attempt(libc::SYS_clone3, [0; 4]), libc::EPERM, "{role:?}");
    assert_eq!(of(role).refused, before);
}

fn mask(capabilities: &[u32]) -> u64 {
    capabilities.iter().map(|number| 1 << number).sum()
}

/// `linux/capability.h`.
const DAC_OVERRIDE: u32 = 1;
const DAC_READ_SEARCH: u32 = 2;
const NET_ADMIN: u32 = 12;
const NET_RAW: u32 = 13;
const PERFMON: u32 = 38;
const BPF: u32 = 39;

#[test]
fn writers_write_their_folder_and_reach_nothing_else() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    for role in [Role::State, Role::Ring] {
        let folders = Folders::new(role.name());
        let Folders { ours, other } = &folders;
        let (ours, other) = (ours.clone(), other.clone());
        let status = as_role(role, vec![Grant::new(Access::Write, &ours)], move || {
            let new = ours.join("new");
            let mut file = File::create(&new).unwrap();
            file.write_all(b"whole").unwrap();
            file.sync_all().unwrap();
            fs::rename(&new, ours.join("file")).unwrap();
            assert_eq!(fs::read_to_string(ours.join("file")).unwrap(), "whole");
            fs::create_dir_all(ours.join("a/b")).unwrap();
            fs::remove_dir_all(ours.join("a")).unwrap();

            is_out_of_reach(role, "a secret of the system", File::open("/etc/shadow"));
            is_out_of_reach(role, "another's file", File::options().append(true).open(other.join("file")));
            is_out_of_reach(role, "a new file", File::create(other.join("new")));
            is_out_of_reach(role, "a removal", fs::remove_file(other.join("file")));
            is_out_of_reach(role, "its own memory", File::open("/proc/self/mem"));
            for family in [libc::AF_UNIX, libc::AF_INET, libc::AF_PACKET, libc::AF_NETLINK] {
                is_refused(role, ("socket", libc::SYS_socket, [family.into(), 3, 0, 0]));
            }
            is_refused(role, ("bpf", libc::SYS_bpf, [-1, 0, 0, 0]));
            is_refused(role, ("ioctl", libc::SYS_ioctl, [-1, 0, 0, 0]));
            forbidden(role);
        });
        is_confined(role, &status, 0);
        folders.remove();
    }
}

#[test]
fn the_watch_reads_what_is_open_and_opens_nothing() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let role = Role::Watch;
    let clock = File::open("/proc/uptime").unwrap();
    let status = as_role(role, Vec::new(), move || {
        let mut text = [0; 64];
        assert!(std::os::unix::fs::FileExt::read_at(&clock, &mut text, 0).unwrap() > 0);
        std::thread::sleep(Duration::from_millis(1));
        // Allowed for what ethtool asks: nothing is open there.
        assert_eq!(attempt(libc::SYS_ioctl, [-1, 0x8946, 0, 0]), libc::EBADF);
        is_refused(role, ("ioctl", libc::SYS_ioctl, [-1, libc::TIOCSTI.cast_signed(), 0, 0]));
        is_refused(role, ("openat", libc::SYS_openat, [-1, c"/etc/passwd".as_ptr() as c_long, 0, 0]));
        is_refused(role, ("socket", libc::SYS_socket, [libc::AF_INET.into(), 2, 0, 0]));
        forbidden(role);
    });
    is_confined(role, &status, 0);
}

#[test]
fn the_control_thread_reads_the_configuration_and_takes_its_socket_away() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let role = Role::Control;
    let folders = Folders::new("control");
    let socket = std::env::temp_dir().join(format!("genkan-{}-control", std::process::id()));
    fs::create_dir_all(&socket).unwrap();
    let file = socket.join("control.sock");
    fs::write(&file, "").unwrap();
    let (ours, other) = (folders.ours.clone(), folders.other.clone());
    // Somebody else's secret that nobody else may read.
    let secret = folders.ours.join("file");
    std::os::unix::fs::chown(&secret, Some(65534), None).unwrap();
    fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let grants = vec![Grant::new(Access::Read, &ours), Grant::new(Access::Remove, &socket)];
    let status = as_role(role, grants, move || {
        assert_eq!(fs::read_to_string(ours.join("file")).unwrap(), "content");
        is_out_of_reach(role, "a write", File::options().append(true).open(ours.join("file")));
        is_out_of_reach(role, "a secret of the system", File::open("/etc/shadow"));
        is_out_of_reach(role, "another's file", File::open(other.join("file")));
        is_out_of_reach(role, "a removal", fs::remove_file(ours.join("file")));
        fs::remove_file(file).unwrap();
        // What the C library tries before it reads /etc/services is no fault.
        let before = of(role).refused;
        assert_eq!(UdpSocket::bind("127.0.0.1:0").unwrap_err().raw_os_error(), Some(libc::EPERM));
        assert!(TcpStream::connect("127.0.0.1:9").is_err());
        assert_eq!(of(role).refused, before);
        is_refused(role, ("bpf", libc::SYS_bpf, [-1, 0, 0, 0]));
        is_refused(role, ("ioctl", libc::SYS_ioctl, [-1, 0, 0, 0]));
        forbidden(role);
    });
    is_confined(role, &status, mask(&[DAC_READ_SEARCH]));
    folders.remove();
    fs::remove_dir_all(socket).unwrap();
}

#[test]
fn the_data_thread_takes_cards_and_reaches_no_other_network() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let role = Role::Data;
    let folders = Folders::new("data");
    let (ours, other) = (folders.ours.clone(), folders.other.clone());
    let status = as_role(role, vec![Grant::new(Access::Write, &ours)], move || {
        for (family, kind) in [
            (libc::AF_PACKET, libc::SOCK_RAW),
            (libc::AF_NETLINK, libc::SOCK_RAW),
            (libc::AF_INET, libc::SOCK_DGRAM),
            (libc::AF_UNIX, libc::SOCK_STREAM),
        ] {
            assert_eq!(attempt(libc::SYS_socket, [family.into(), kind.into(), 0, 0]), 0, "{family}");
        }
        for family in [libc::AF_INET6, libc::AF_VSOCK, libc::AF_ALG, libc::AF_BLUETOOTH] {
            is_refused(role, ("socket", libc::SYS_socket, [family.into(), 1, 0, 0]));
        }
        // BPF_MAP_LOOKUP_ELEM, without a map; BPF_PROG_GET_FD_BY_ID: programs of others.
        assert_eq!(attempt(libc::SYS_bpf, [1, 0, 0, 0]), libc::EINVAL);
        is_refused(role, ("bpf", libc::SYS_bpf, [13, 0, 0, 0]));
        is_refused(role, ("ioctl", libc::SYS_ioctl, [-1, libc::TIOCSTI.cast_signed(), 0, 0]));
        is_out_of_reach(role, "a secret of the system", File::open("/etc/shadow"));
        is_out_of_reach(role, "another's file", File::create(other.join("file")));
        fs::write(ours.join("port-eth0.json"), "{}").unwrap();
        forbidden(role);
    });
    is_confined(role, &status, mask(&[NET_ADMIN, NET_RAW, PERFMON, BPF]));
    folders.remove();
}

/// Without it the state of a gateway whose state directory is not root's would silently not be saved.
#[test]
fn who_writes_where_the_folder_is_anothers_passes_by_its_mode_there_and_nowhere_else() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let role = Role::State;
    let folders = Folders::new("foreign");
    for folder in [&folders.ours, &folders.other] {
        std::os::unix::fs::chown(folder, Some(65534), None).unwrap();
        fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    }
    let (ours, other) = (folders.ours.clone(), folders.other.clone());
    let status = as_role(role, vec![Grant::new(Access::Write, &ours)], move || {
        fs::write(ours.join("new"), "content").unwrap();
        is_out_of_reach(role, "another's file", File::create(other.join("new")));
    });
    assert_eq!(u64::from_str_radix(line(&status, "CapEff"), 16), Ok(mask(&[DAC_OVERRIDE])));
    folders.remove();
}

/// A call that does not come from a list is as before: the handler changes no registers.
#[test]
fn a_signal_from_elsewhere_is_no_refused_call() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let role = Role::Ring;
    as_role(role, Vec::new(), move || {
        let before = of(role).refused;
        // SAFETY: takes numbers.
        let (process, task) = unsafe { (libc::getpid(), libc::gettid()) };
        assert_eq!(attempt(libc::SYS_tgkill, [process.into(), task.into(), libc::SIGSYS.into(), 0]), 0);
        assert_eq!(of(role).refused, before);
    });
}

/// As a kernel that was built without Landlock and seccomp: the thread goes on, and says what is missing.
#[test]
fn a_kernel_that_lacks_something_keeps_nobody_from_going_on() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let role = Role::Ring;
    let thread = std::thread::spawn(move || {
        let lacks = [libc::SYS_landlock_create_ruleset, libc::SYS_seccomp].map(|number| (number, Vec::new()));
        let answer = SeccompAction::Errno(libc::ENOSYS.cast_unsigned());
        let arch = std::env::consts::ARCH.try_into().unwrap();
        let filter = SeccompFilter::new(lacks.into(), SeccompAction::Allow, answer, arch).unwrap();
        let program: BpfProgram = filter.try_into().unwrap();
        seccompiler::apply_filter(&program).unwrap();

        privileges::confine(role, &[]);
        assert!(File::open("/etc/passwd").is_ok());
        privileges::tell_missing();
    });
    thread.join().unwrap();
    let told = of(role);
    assert!(told.no_new_privileges && told.capabilities.is_empty(), "{told:?}");
    assert_eq!((told.landlock, told.system_calls), (None, None));
    let [landlock, seccomp] = told.missing.as_slice() else { panic!("{told:?}") };
    assert_eq!(landlock, "Landlock keeps nobody from files: this kernel was built without it");
    assert!(seccomp.starts_with("no list of system calls is in force: "), "{seccomp}");
}
