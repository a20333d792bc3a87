//! Network namespaces with names, the same that `ip netns` makes and lists: files in /run/netns onto which a
//! namespace is mounted.
//!
//! A thread belongs to a namespace, and so do the sockets it opens and the processes it starts. [`run`] therefore
//! works in a thread of its own and leaves the caller where it was.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;

use super::check;

const DIRECTORY: &str = "/run/netns";

/// The file that stands for a namespace.
pub fn path(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(name)
}

/// Makes a namespace. Its loopback is down. Needs CAP_SYS_ADMIN; fails when the name is taken.
pub fn create(name: &str) -> io::Result<()> {
    if name.is_empty() || name.contains('/') || name.starts_with('.') {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("`{name}` cannot be a namespace's name"),
        ));
    }
    fs::create_dir_all(DIRECTORY)?;
    share_directory()?;
    let path = path(name);
    File::create_new(&path)?;
    let target = path.clone();
    let made = in_thread(move || {
        // SAFETY: takes no pointers; changes the namespace of this thread alone, which ends soon.
        check(unsafe { libc::unshare(libc::CLONE_NEWNET) })?;
        mount(Path::new("/proc/thread-self/ns/net"), &target, libc::MS_BIND)
    });
    if made.is_err() {
        let _ = fs::remove_file(&path);
    }
    made
}

/// Takes a namespace's name away. The namespace ends with the last process, socket or mount that is in it.
pub fn delete(name: &str) -> io::Result<()> {
    let path = path(name);
    let target = c_path(&path)?;
    // SAFETY: `target` is a string with its final zero.
    let unmounted = check(unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) });
    fs::remove_file(&path)?;
    match unmounted {
        // The file of a namespace whose making was interrupted.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
        other => other.map(drop),
    }
}

/// The processes whose first thread is in a namespace, as far as this process may see them.
pub fn processes(name: &str) -> io::Result<Vec<i32>> {
    let namespace = fs::metadata(path(name))?;
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // It may have ended in the meantime.
        let Ok(its) = fs::metadata(entry.path().join("ns/net")) else { continue };
        if (its.dev(), its.ino()) == (namespace.dev(), namespace.ino()) {
            found.push(process);
        }
    }
    Ok(found)
}

/// Moves this thread, and what it starts and opens from now on, into a namespace.
pub fn enter(name: &str) -> io::Result<()> {
    let file = File::open(path(name))
        .map_err(|error| io::Error::new(error.kind(), format!("network namespace {name}: {error}")))?;
    // SAFETY: takes no pointers; the descriptor is open.
    check(unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) }).map(drop)
}

/// Runs `work` in a namespace, in a thread of its own, and waits for it. A panic in `work` goes on in the caller.
pub fn run<T: Send>(name: &str, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    in_thread(|| {
        enter(name)?;
        Ok(work())
    })
}

/// Makes this process root of namespaces of its own (users, mounts, network), so that a user without privileges can
/// have a network to play with: the user's files stay, /run is empty. Works only in a process with a single thread, and
/// where the kernel lets users make user namespaces; the error says so.
pub fn become_root_of_own() -> io::Result<()> {
    // SAFETY: these calls take no pointers and cannot fail.
    let (user, group) = unsafe { (libc::geteuid(), libc::getegid()) };
    let spaces = libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWNET;
    // SAFETY: takes no pointers. It fails, and changes nothing, when there is another thread.
    check(unsafe { libc::unshare(spaces) }).map_err(|error| {
        let text =
            format!("this kernel lets only root make network namespaces ({error}); run as root or with sudo");
        io::Error::new(error.kind(), text)
    })?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {user} 1"))?;
    fs::write("/proc/self/gid_map", format!("0 {group} 1"))?;
    // Mounts of ours are nobody else's.
    mount(Path::new(""), Path::new("/"), libc::MS_REC | libc::MS_PRIVATE)?;
    // SAFETY: strings end with a zero; tmpfs takes no data.
    check(unsafe {
        libc::mount(
            c"genkan".as_ptr(),
            c"/run".as_ptr(),
            c"tmpfs".as_ptr(),
            libc::MS_NOSUID,
            std::ptr::null(),
        )
    })
    .map(drop)
}

fn in_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    thread::scope(|scope| {
        thread::Builder::new()
            .spawn_scoped(scope, work)?
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Makes mounts in the directory visible to other mount namespaces, as `ip netns` does, so that a name deleted in one
/// does not live on in another.
fn share_directory() -> io::Result<()> {
    let directory = Path::new(DIRECTORY);
    if mount(Path::new(""), directory, libc::MS_SHARED | libc::MS_REC).is_ok() {
        return Ok(());
    }
    // It is not a mount point yet.
    mount(directory, directory, libc::MS_BIND | libc::MS_REC)?;
    mount(Path::new(""), directory, libc::MS_SHARED | libc::MS_REC)
}

fn mount(source: &Path, target: &Path, flags: libc::c_ulong) -> io::Result<()> {
    let (source, target) = (c_path(source)?, c_path(target)?);
    // SAFETY: both strings end with a zero; these kinds of mount read neither a file system type nor data.
    check(unsafe { libc::mount(source.as_ptr(), target.as_ptr(), c"none".as_ptr(), flags, std::ptr::null()) })
        .map(drop)
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::ErrorKind::InvalidInput.into())
}
