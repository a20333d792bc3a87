//! SIGSYS: what a thread gets for a system call that its list does not have. The call fails with EPERM, and is counted.

use std::cell::Cell;
use std::io;
use std::mem::zeroed;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::check;

/// Groups of threads that are counted apart.
pub const GROUPS: usize = 8;

/// `si_code` of the signal when a seccomp filter has sent it (sigaction(2)).
const SYS_SECCOMP: libc::c_int = 1;

static REFUSED: [AtomicU64; GROUPS] = [const { AtomicU64::new(0) }; GROUPS];
static LAST: [AtomicI64; GROUPS] = [const { AtomicI64::new(-1) }; GROUPS];

thread_local! {
    /// Needs no allocation and no destructor, so the signal's handler may read it.
    static GROUP: Cell<usize> = const { Cell::new(0) };
}

/// From now on refused calls of this process fail and are counted; those of this thread in its `group`.
pub fn catch(group: usize) -> io::Result<()> {
    GROUP.set(group);
    // SAFETY: all zeros is a valid sigaction: no flags, nothing blocked.
    let mut action: libc::sigaction = unsafe { zeroed() };
    let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = refuse;
    action.sa_sigaction = handler as libc::sighandler_t;
    action.sa_flags = libc::SA_SIGINFO;
    // SAFETY: `action` is valid during the call, and the handler does only what a handler may: it works on atomics, a cell
    // of its own thread, and the context that it is given.
    check(unsafe { libc::sigaction(libc::SIGSYS, &action, null_mut()) }).map(drop)
}

/// How many calls of a group were refused, and the number of the last one.
pub fn refused(group: usize) -> (u64, Option<i64>) {
    let read = |count: &AtomicU64, last: &AtomicI64| {
        (count.load(Ordering::Acquire), Some(last.load(Ordering::Relaxed)).filter(|number| *number >= 0))
    };
    REFUSED.get(group).zip(LAST.get(group)).map_or((0, None), |(count, last)| read(count, last))
}

extern "C" fn refuse(_: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: with SA_SIGINFO the kernel gives a handler a siginfo_t.
    if unsafe { (*info).si_code } != SYS_SECCOMP {
        return;
    }
    // SAFETY: and the interrupted thread's ucontext_t, which nobody else uses meanwhile.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    let number = answer(context, i64::from(-libc::EPERM));
    let group = GROUP.get();
    if let (Some(count), Some(last)) = (REFUSED.get(group), LAST.get(group)) {
        last.store(number, Ordering::Relaxed);
        count.fetch_add(1, Ordering::Release);
    }
}

/// Gives the interrupted call its result, and returns its number.
#[cfg(target_arch = "x86_64")]
fn answer(context: &mut libc::ucontext_t, result: i64) -> i64 {
    let register = &mut context.uc_mcontext.gregs[libc::REG_RAX as usize];
    std::mem::replace(register, result)
}

/// Gives the interrupted call its result, and returns its number.
#[cfg(target_arch = "aarch64")]
fn answer(context: &mut libc::ucontext_t, result: i64) -> i64 {
    let registers = &mut context.uc_mcontext.regs;
    registers[0] = result.cast_unsigned();
    registers[8].cast_signed()
}
