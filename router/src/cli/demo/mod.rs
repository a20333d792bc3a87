//! `genkan demo`: a newcomer's first minute.
//!
//! A lab of four network namespaces stands for the world: a far side with a web server and a name server, an ISP, the
//! gateway, and a client on the LAN. The ISP and the gateway are this very program, run as anyone would run it; the client
//! gets its lease from the machine's own DHCP client. Each step prints what it saw, the last line says whether it all
//! worked, and whatever happens the lab is taken down.

mod client;
mod far;
mod lab;

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::failed;
use super::status::render;
use lab::{Lab, MIB};

pub(super) const ABOUT: &str = "\
Build a lab on this machine and show the router at work: an ISP, the gateway, a client on its LAN. The PPPoE session \
comes up step by step, the client gets a lease by DHCP and an IPv6 address by the router's advertisements, pings, asks a name, downloads and \
uploads.

Everything happens in network namespaces named genkan-…, which are removed at the end, also on Ctrl-C. It needs root \
for them (sudo genkan demo); without root it tries a user namespace.";

/// Octets of each transfer.
const TRANSFER: u64 = 100 * MIB;

/// Octets of the page.
const PAGE: u64 = MIB;

/// Exit status after a signal, as a shell gives it after Ctrl-C.
const INTERRUPTED: u8 = 130;

#[derive(Args)]
pub(super) struct Arguments {
    /// Write the capture of the WAN's first seconds to this file
    #[arg(long, value_name = "OUT", default_value = "genkan-demo.pcapng")]
    capture: PathBuf,
}

/// What a step of the demo found: a line to show, or what went wrong.
type Step = Result<String, String>;

pub(super) fn demo(arguments: &Arguments) -> ExitCode {
    if let Err(why) = lab::gain_privileges() {
        return failed(why);
    }
    let interrupted = match watch_signals() {
        Ok(flag) => flag,
        Err(error) => return failed(format_args!("cannot watch for Ctrl-C: {error}")),
    };
    let started = Instant::now();
    let outcome = show(arguments, &interrupted);
    let took = started.elapsed().as_secs();
    match outcome {
        _ if interrupted.load(Ordering::Relaxed) => {
            println!("\n{} Interrupted after {took} s; the lab is gone.", mark(false));
            ExitCode::from(INTERRUPTED)
        }
        Ok(()) => {
            println!("\n{} The demo worked, start to end, in {took} s.", mark(true));
            ExitCode::SUCCESS
        }
        Err(why) => {
            println!("\n{} The demo failed: {why}", mark(false));
            ExitCode::FAILURE
        }
    }
}

/// Runs the demo. The lab lives in here, so it is gone before the last line is printed.
fn show(arguments: &Arguments, interrupted: &Arc<AtomicBool>) -> Result<(), String> {
    println!("An ISP, a gateway and a LAN, on this machine:\n");
    println!("  far side ────── ISP ═══ PPPoE ═══ gateway ────── client");
    println!("  web, DNS     concentrator        NAT, filter      LAN");
    println!("  {}    {}       DHCP, DNS        {}", lab::FAR_ADDRESS, lab::CONCENTRATOR_ADDRESS, lab::LAN);
    println!("               2001:db8:100::/40   IPv6 filter      IPv6 by SLAAC\n");

    let mut lab = Lab::build(interrupted).map_err(|error| format!("the lab could not be built: {error}"))?;
    heading("The line");
    step("gateway", lab.start_gateway(&arguments.capture))?;
    step("ISP", lab.start_isp())?;
    for line in lab.wait_for_session(Duration::from_secs(30))? {
        println!("    {line}");
    }
    let session = lab.session_summary();
    step("session", session)?;

    heading("The LAN");
    step("lease", lab.lease())?;
    step("IPv6", lab.slaac())?;
    step("ping", lab.ping())?;
    step("name", lab.on_client(client::resolve))?;
    step("capture", lab.finish_capture(&arguments.capture))?;
    step("page", lab.on_client(|| client::fetch_v6(PAGE)))?;
    step("download", lab.on_client(|| client::download(TRANSFER)))?;
    step("upload", lab.on_client(|| client::upload(TRANSFER)))?;

    heading("genkan status");
    let status = lab.status()?;
    for line in render(&status).lines() {
        println!("    {line}");
    }
    heading("Afterwards");
    step("stop", lab.stop())
}

fn heading(text: &str) {
    println!("\n── {text} {}", "─".repeat(60usize.saturating_sub(text.chars().count())));
}

fn step(name: &str, outcome: Step) -> Result<(), String> {
    match outcome {
        Ok(line) => {
            println!("  {} {name:<9} {line}", mark(true));
            Ok(())
        }
        Err(why) => {
            println!("  {} {name:<9} {why}", mark(false));
            Err(format!("{name}: {why}"))
        }
    }
}

fn mark(good: bool) -> &'static str {
    match (good, io::stdout().is_terminal()) {
        (true, true) => "\x1b[32m✓\x1b[0m",
        (true, false) => "✓",
        (false, true) => "\x1b[31m✗\x1b[0m",
        (false, false) => "✗",
    }
}

/// A flag that is set by Ctrl-C, SIGTERM or SIGHUP. The steps look at it and give up, and the lab goes with them.
fn watch_signals() -> io::Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut signals = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?)
    };
    let seen = Arc::clone(&flag);
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = signals.0.recv() => {}
                    _ = signals.1.recv() => {}
                    _ = signals.2.recv() => {}
                }
                seen.store(true, Ordering::Relaxed);
            }
        });
    })?;
    Ok(flag)
}
