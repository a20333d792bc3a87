//! What the running gateway may still do once all that it needs is open.
//!
//! `genkan run` opens ports, sockets and BPF maps with all that it was started with. Then each of its threads gives up, for
//! good, what its [`Role`] does not need, in this order:
//!
//! 1. new privileges: no program that it could start would get any (`no_new_privs`);
//! 2. capabilities, but those of the role (`capabilities.rs`);
//! 3. files, but those that are granted, TCP, and signals and abstract sockets of others (Landlock, `landlock.rs`);
//! 4. system calls, but those on the role's list (seccomp, `seccomp.rs`).
//!
//! A call that is not on the list fails with EPERM and is counted: a router must not end because of one. That is a fault of the
//! router, so [`tell_refused`] says so in the log. A kernel that cannot do one of these keeps nobody from forwarding: the log and
//! the status say what is missing.

mod capabilities;
mod landlock;
mod seccomp;

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};

use rustix::thread::set_no_new_privs;
use serde::Serialize;
use tracing::{error, warn};

pub use landlock::{Access, Grant};

use crate::sys::sigsys;

/// What a thread is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Signals, the control socket, captures; reads the configuration again.
    Control,
    /// Frames and the gateway; takes cards and taps again that went and came back.
    Data,
    /// Looks for pauses and at lines.
    Watch,
    /// Writes the state file.
    State,
    /// Saves the ring.
    Ring,
}

impl Role {
    /// All of them.
    pub const ALL: [Role; 5] = [Role::Control, Role::Data, Role::Watch, Role::State, Role::Ring];

    /// What the thread is called. The first one has the program's name.
    pub fn name(self) -> &'static str {
        match self {
            Role::Control => "control",
            Role::Data => "data",
            Role::Watch => "watch",
            Role::State => "state",
            Role::Ring => "ring",
        }
    }
}

/// What is in force for a thread.
#[derive(Debug)]
struct InForce {
    no_new_privileges: bool,
    capabilities: Vec<String>,
    landlock: Option<landlock::Domain>,
    system_calls: Option<usize>,
    missing: Vec<String>,
}

static IN_FORCE: [Mutex<Option<InForce>>; Role::ALL.len()] = [const { Mutex::new(None) }; _];
static TOLD: [AtomicU64; Role::ALL.len()] = [const { AtomicU64::new(0) }; _];

/// What is in force for a thread, as the status shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ThreadStatus {
    /// The thread.
    pub thread: Role,
    /// It gets no new privileges, whatever it starts.
    pub no_new_privileges: bool,
    /// The capabilities that it has: `CAP_NET_ADMIN`.
    pub capabilities: Vec<String>,
    /// The version of Landlock's interface that keeps it from files; `None`: it is not kept.
    pub landlock: Option<i32>,
    /// The number of system calls that it may use; `None`: all.
    pub system_calls: Option<usize>,
    /// Why something is not in force, a sentence each.
    pub missing: Vec<String>,
    /// Calls that were refused because they are not on its list.
    pub refused: u64,
    /// The last one of them.
    pub last_refused: Option<String>,
}

/// What is in force for each thread that has given something up.
pub fn status() -> Vec<ThreadStatus> {
    let status = Role::ALL.into_iter().filter_map(|role| {
        let (refused, last) = sigsys::refused(role as usize);
        let in_force = in_force(role);
        let in_force = in_force.as_ref()?;
        Some(ThreadStatus {
            thread: role,
            no_new_privileges: in_force.no_new_privileges,
            capabilities: in_force.capabilities.clone(),
            landlock: in_force.landlock.as_ref().map(|domain| domain.abi),
            system_calls: in_force.system_calls,
            missing: in_force.missing.clone(),
            refused,
            last_refused: last.map(seccomp::name),
        })
    });
    status.collect()
}

/// Of the thread of a role, or of the last one.
fn in_force(role: Role) -> MutexGuard<'static, Option<InForce>> {
    IN_FORCE[role as usize].lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says in the log what could not be given up, and by whom.
pub fn tell_missing() {
    let mut threads: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for status in status() {
        for why in status.missing {
            threads.entry(why).or_default().push(status.thread.name());
        }
    }
    for (why, names) in threads {
        warn!("threads could do more than they need ({}): {why}", names.join(", "));
    }
}

/// Says in the log which calls were refused since it was last asked.
pub fn tell_refused() {
    for (role, told) in Role::ALL.into_iter().zip(&TOLD) {
        let (refused, last) = sigsys::refused(role as usize);
        if told.swap(refused, Ordering::Relaxed) != refused {
            let name = last.map(seccomp::name).unwrap_or_default();
            let thread = role.name();
            error!(
                "the {thread} thread was refused the system call {name}, and {refused} calls since the start: a fault of the router"
            );
        }
    }
}

/// Starts a thread that gives up what its role does not need before it begins its work. Returns when it has.
pub fn spawn<T: Send + 'static>(
    role: Role,
    grants: Vec<Grant>,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    let (confined, wait) = mpsc::channel::<()>();
    let thread = thread::Builder::new().name(role.name().into()).spawn(move || {
        confine(role, &grants);
        drop(confined);
        work()
    })?;
    // Ends when the other half is dropped.
    let _ = wait.recv();
    Ok(thread)
}

/// Has this thread, and all that it starts from now on, give up what its role does not need. `grants` are all the files that it
/// may use.
pub fn confine(role: Role, grants: &[Grant]) {
    let mut missing = Vec::new();
    let mut note = |what: &str, why: &dyn std::fmt::Display| missing.push(format!("{what}: {why}"));
    // While all files can still be opened.
    let rules = landlock::Rules::open(grants);
    let no_new_privileges = set_no_new_privs(true);
    if let Err(error) = &no_new_privileges {
        note("new privileges could not be given up", error);
    }
    let kept = capabilities::keep(capabilities::needed(role, grants));
    if let Err(error) = &kept {
        note("capabilities could not be given up", error);
    }
    let domain = rules.and_then(landlock::Rules::restrict);
    if let Err(error) = &domain {
        note("Landlock keeps nobody from files", error);
    }
    let list = sigsys::catch(role as usize).map_err(|error| error.to_string());
    let list = list.and_then(|()| seccomp::restrict(role));
    if let Err(error) = &list {
        note("no list of system calls is in force", error);
    }
    let in_force = InForce {
        no_new_privileges: no_new_privileges.is_ok(),
        capabilities: kept.unwrap_or_else(|_| capabilities::all()),
        landlock: domain.ok(),
        system_calls: list.ok(),
        missing,
    };
    *self::in_force(role) = Some(in_force);
}
