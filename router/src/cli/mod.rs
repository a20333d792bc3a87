//! The commands, one file for each.

mod capture;
mod check;
mod console;
mod demo;
mod explain;
mod provision;
mod replay;
mod run;
mod status;
mod stop;
mod trace;
mod vpn;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use genkan_config::{Config, Loaded, Report};

/// A router in one program: PPPoE, NAT, a stateful filter, DHCP and DNS for a LAN, from one TOML file.
#[derive(Parser)]
#[command(name = "genkan", version, arg_required_else_help = true, after_help = FIRST_STEPS)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const FIRST_STEPS: &str = "\
First steps:
  sudo genkan demo                       a whole lab on this machine: an ISP, the router, a LAN client
  genkan check gateway.toml              every error of a configuration at once, with line and suggestion
  sudo genkan run gateway.toml           put the LAN online; Ctrl-C ends the sessions in good order
  sudo genkan status gateway.toml        is the line up, with which address, who has a lease
  sudo genkan explain gateway.toml       what is wrong with the line, and what to try
  sudo genkan stop gateway.toml          end the program, not the sessions: the next run takes them up
  sudo genkan vpn peer gateway.toml phone --endpoint home.example    a QR code that brings a telephone home
  sudo genkan capture gateway.toml --at wan0 --filter 'pppoes' --write line.pcapng
  genkan replay gateway.toml line.pcapng what this router does with that, on any desk

A command that talks to a running gateway finds its control socket in the same FILE.
Exit status: 0 all is well, 1 it did not work, 2 the command line or the configuration is wrong.";

#[derive(Subcommand)]
enum Command {
    /// Run the gateway until SIGTERM or Ctrl-C
    #[command(long_about = run::ABOUT)]
    Run {
        /// The configuration
        file: PathBuf,
    },
    /// Validate a configuration: every error with file, line, column and a suggestion
    #[command(long_about = check::ABOUT)]
    Check {
        /// The configuration
        file: PathBuf,
        /// Tell how traffic of each port would reach the kernel's path, and why
        #[arg(long)]
        explain_fast_path: bool,
    },
    /// Show sessions, addresses, leases, flows and drops of the running gateway
    #[command(long_about = status::ABOUT)]
    Status {
        /// The configuration of the running gateway
        file: PathBuf,
        /// Print JSON, for scripts
        #[arg(long)]
        json: bool,
    },
    /// End the running gateway; its sessions and the kernel path go on for the next run
    #[command(long_about = stop::ABOUT)]
    Stop {
        /// The configuration of the gateway
        file: PathBuf,
        /// End the sessions and take everything away, also after a crash
        #[arg(long)]
        flush: bool,
    },
    /// Capture frames at any point of the running gateway, secrets redacted
    #[command(long_about = capture::ABOUT)]
    Capture(capture::Arguments),
    /// Show the whole way of frames through the running gateway, stage by stage
    #[command(long_about = trace::ABOUT)]
    Trace(trace::Arguments),
    /// Run a capture through the same gateway, offline: what it would have done, beside what was done
    #[command(long_about = replay::ABOUT)]
    Replay(replay::Arguments),
    /// Say which step of a line fails, or which rule decides about a connection, and why that usually is
    #[command(long_about = explain::ABOUT)]
    Explain(explain::Arguments),
    /// Make keys and peers of a WireGuard VPN, or take over what wg-quick has
    #[command(subcommand, long_about = vpn::ABOUT)]
    Vpn(vpn::Command),
    /// Put in force the configuration that a guest is offered, once it is right
    #[command(long_about = provision::ABOUT)]
    Provision(provision::Arguments),
    /// Show the gateway on a machine's screen or serial line, and ask for what it lacks
    #[command(long_about = console::ABOUT)]
    Console(console::Arguments),
    /// Show a session come up and traffic pass, in a lab on this machine
    #[command(long_about = demo::ABOUT)]
    Demo(demo::Arguments),
}

/// The command line's definition, from which manual pages and completions are made.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the command line and says how it went.
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run { file } => run::run(&file),
        Command::Check { file, explain_fast_path } => check::check(&file, explain_fast_path),
        Command::Status { file, json } => status::status(&file, json),
        Command::Stop { file, flush } => stop::stop(&file, flush),
        Command::Capture(arguments) => capture::capture(&arguments),
        Command::Trace(arguments) => trace::trace(&arguments),
        Command::Replay(arguments) => replay::replay(&arguments),
        Command::Explain(arguments) => explain::explain(&arguments),
        Command::Vpn(command) => vpn::vpn(&command),
        Command::Console(arguments) => console::console(&arguments),
        Command::Provision(arguments) => provision::provision(&arguments),
        Command::Demo(arguments) => demo::demo(&arguments),
    }
}

/// The exit status of a wrong command line or configuration.
const WRONG: u8 = 2;

/// Says on standard error what went wrong, for exit status 1.
fn failed(what: impl std::fmt::Display) -> ExitCode {
    eprintln!("genkan: {what}");
    ExitCode::FAILURE
}

/// Loads a configuration; on failure prints the whole report and gives the exit status.
fn load(file: &std::path::Path) -> Result<Loaded, ExitCode> {
    Config::load(file).map_err(|report| wrong(&report))
}

/// Finds the control socket of the gateway that runs with this configuration; on failure prints what is wrong with the
/// file and gives the exit status.
fn control_socket(file: &std::path::Path) -> Result<PathBuf, ExitCode> {
    Config::control_socket(file).map_err(|report| wrong(&report))
}

/// Prints a whole report and gives the exit status.
fn wrong(report: &Report) -> ExitCode {
    eprint!("{}", report.render(colour()));
    ExitCode::from(WRONG)
}

/// True when standard error is a terminal that may be written to in colour.
fn colour() -> bool {
    use std::io::IsTerminal as _;
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}
