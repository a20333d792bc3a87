//! `genkan console`: a machine's screen or serial line, as the appliance's front.
//!
//! 1. Every two seconds the gateway is asked for its status and its diagnosis, and the folder of the configuration for
//!    what was refused and what is missing ([`facts`]).
//! 2. These become as many lines as the terminal has ([`view`]). What comes from the wire is cleaned there, in one place.
//! 3. Keys go to the dialogue ([`dialogue`]), which asks for the uplink's credentials when the configuration waits for
//!    them, and otherwise knows one key: Enter, which hands the terminal to the login program ([`terminal`]).

mod dialogue;
mod facts;
mod terminal;
mod view;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;

use super::{control_socket, failed};
use crate::control::{self, ClientError};
use crate::provision::{Credentials, Place};
use dialogue::{Action, Dialogue, Given};
use facts::Watch;
use terminal::{Input, Terminal};

pub(super) const ABOUT: &str = "\
Show the gateway of FILE on this terminal, for a machine's screen or serial line: each uplink with its state in a sentence, its \
addresses, prefixes and rates, the leases of each LAN, the kernel path, and why a configuration that was offered is not in force. \
When the gateway does not run, the end of its log. Nothing secret is shown.

While the default of `genkan provision` waits for the credentials of PPPoE, they are asked for here; the password is not shown. \
They are written beside FILE, and the gateway is ended, for the service manager to start it anew. --credentials asks for \
them again later and then ends; it needs no terminal, and takes a line each for the user name and the password.

Nobody need log in to see the status. Enter runs the login program, and the status comes back when that ends; Ctrl-C leaves the \
console. In the guest router, the password for that login is what console.password beside FILE holds the hash of; \
`openssl passwd -6` makes one.";

/// How often everything is looked at anew.
const INTERVAL: Duration = Duration::from_secs(2);

#[derive(Args)]
pub(super) struct Arguments {
    /// The configuration of the gateway
    file: PathBuf,
    /// What Enter runs
    #[arg(long, value_name = "PROGRAM", default_value = "/bin/login")]
    login: PathBuf,
    /// What prints the log, for a gateway that does not run
    #[arg(long, value_name = "PROGRAM", default_value = "logread")]
    log: PathBuf,
    /// Ask for the credentials of the default's uplink, and end
    #[arg(long)]
    credentials: bool,
}

pub(super) fn console(arguments: &Arguments) -> ExitCode {
    let done = if arguments.credentials { ask(arguments) } else { show(arguments) };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => failed(why),
    }
}

/// Shows the gateway until somebody leaves.
fn show(arguments: &Arguments) -> Result<(), String> {
    let mut terminal = Terminal::open()?;
    let mut watch = Watch::new(&arguments.file, &arguments.log);
    let mut dialogue = Dialogue::default();
    loop {
        let facts = watch.look();
        dialogue.set_wanted(facts.credentials == Credentials::Wanted);
        let again = Instant::now() + INTERVAL;
        // Keys are answered at once, by what is known.
        loop {
            let (rows, columns) = terminal.size();
            let screen = view::screen(&facts, &dialogue, rows, columns);
            terminal.draw(&screen).map_err(|error| format!("the terminal cannot be written to: {error}"))?;
            let left = again.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let keys = match terminal.wait(left) {
                Ok(Input::Keys(keys)) => keys,
                Ok(Input::Nothing) => break,
                Ok(Input::End) => return Err("the terminal is gone".into()),
                Err(error) => return Err(format!("the terminal cannot be read: {error}")),
            };
            let mut told = false;
            for key in keys.iter() {
                match dialogue.key(*key) {
                    Action::None => {}
                    Action::Leave => return Ok(()),
                    Action::LogIn => {
                        told = true;
                        if let Err(error) = terminal.lend(&arguments.login) {
                            dialogue.say(format!("{}: {error}", arguments.login.display()));
                        }
                        break;
                    }
                    Action::Give(given) => {
                        told = true;
                        dialogue.say(give(&arguments.file, &given).unwrap_or_else(|why| why));
                        break;
                    }
                }
            }
            if told {
                break;
            }
        }
    }
}

/// Asks for credentials, a line each.
fn ask(arguments: &Arguments) -> Result<(), String> {
    let place = Place::of(&arguments.file).map_err(|error| error.to_string())?;
    if place.credentials() == Credentials::Elsewhere {
        let file = arguments.file.display();
        return Err(format!("{file} is no longer the default: write the credentials into it"));
    }
    println!("{}", give(&arguments.file, &terminal::ask_both()?)?);
    Ok(())
}

/// Has the configuration hold the credentials and the gateway start with them; says so.
fn give(file: &Path, given: &Given) -> Result<String, String> {
    fn text(octets: &[u8]) -> Result<&str, String> {
        std::str::from_utf8(octets).map_err(|_| "this is not UTF-8 text".to_owned())
    }
    let place = Place::of(file).map_err(|error| error.to_string())?;
    place.give_credentials(text(&given.username)?, text(&given.password)?)?;
    let Ok(socket) = control_socket(file) else { return Err("the configuration cannot be read".into()) };
    match control::stop(&socket, true) {
        // Whoever supervises it starts it with the new configuration.
        Ok(()) => Ok("The credentials are written. The gateway starts anew with them.".into()),
        Err(error @ ClientError::Unreachable { .. }) if error.is_absent() => {
            Ok("The credentials are written. The gateway will start with them.".into())
        }
        Err(error) => Err(format!("the credentials are written, but the gateway goes on without: {error}")),
    }
}
