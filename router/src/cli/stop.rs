//! `genkan stop`: end the running gateway, and leave or end what it carries.

use std::path::Path;
use std::process::ExitCode;

use super::failed;
use crate::control::{self, ClientError};
use crate::fastpath::load;
use crate::port;

pub(super) const ABOUT: &str = "\
End the running gateway and leave what it carries: PPPoE sessions stay open, network cards stay taken, and the kernel path \
goes on with established traffic, until the ISP misses its echoes. The next `genkan run FILE` takes all of it up again. \
This is how to upgrade.

With --flush every session is ended in good order, every card given back, and programs and maps are removed from the \
kernel; that works, too, when no gateway is running, after a crash. SIGTERM and Ctrl-C do the same to a running one.";

pub(super) fn stop(file: &Path, flush: bool) -> ExitCode {
    let config = match super::load(file) {
        Ok(loaded) => loaded.config,
        Err(code) => return code,
    };
    let was_running = match control::stop(&config.system.control, flush) {
        Ok(()) => true,
        Err(error @ ClientError::Unreachable { .. }) if flush && error.is_absent() => false,
        Err(error) => return failed(error),
    };
    if !flush {
        println!("the gateway has ended; what it carries goes on, and `genkan run` takes it up again");
        return ExitCode::SUCCESS;
    }
    let state_dir = &config.system.state_dir;
    let removed = load::flush(state_dir);
    let restored = port::restore(state_dir, &[]);
    match (removed, restored) {
        (Ok(()), Ok(restored)) => {
            if was_running {
                println!("the gateway has ended, and with it every session");
            } else {
                println!("no gateway was running");
            }
            restored.iter().for_each(|device| println!("{device}: put back as it was"));
            ExitCode::SUCCESS
        }
        (Err(error), _) => failed(format_args!("the kernel path could not be taken away: {error}")),
        (_, Err(error)) => failed(format_args!("a card could not be put back: {error}")),
    }
}
