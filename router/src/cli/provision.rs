//! `genkan provision`: put in force the configuration that a guest is offered.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{WRONG, failed};
use crate::provision::Place;

pub(super) const ABOUT: &str = "\
Find a configuration, check it as `genkan check` does, and put it in force in one step: after a power cut there is the old \
one or the new one, whole. This is what a guest does when it starts.

Each --from is a folder, the mounted disk or share of a guest, with gateway.toml and the files that this names beside it, or with \
user-data of cloud-init's NoCloud (`#cloud-config`), of which those write_files are taken that go to /etc/genkan or \
/var/lib/genkan/config. The first folder that has a configuration counts. A secret may be named relative to gateway.toml or \
as /etc/genkan/NAME, which is made relative; its mode does not matter here and is 0600 once installed. Beside these, console.password \
(a hash as `openssl passwd -6` makes it) and authorized_keys are taken. What an offer lacks is kept.

When the configuration is right, DIR holds it, and DIR.previous what was there before. When it is wrong, DIR stays as it is and \
DIR/refused.txt says why. An offer that was taken before changes nothing, so that what is edited in DIR stays. With nothing \
offered and nothing in DIR, the default is written: the first card is the uplink, whose credentials `genkan console` asks \
for, the second is a LAN with DHCP.

Exit status 0 when DIR has a configuration, 1 when a file cannot be read or written, 2 when DIR has no configuration.";

#[derive(Args)]
pub(super) struct Arguments {
    /// The configuration directory
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Where a configuration may be offered; can be given several times, the first counts most
    #[arg(long, value_name = "DIR")]
    from: Vec<PathBuf>,
    /// Put in force again what was before the configuration in force; what is offered is not taken until it changes
    #[arg(long, conflicts_with = "from")]
    roll_back: bool,
}

pub(super) fn provision(arguments: &Arguments) -> ExitCode {
    let place = match Place::new(&arguments.to) {
        Ok(place) => place,
        Err(error) => return failed(format_args!("{}: {error}", arguments.to.display())),
    };
    let outcome = if arguments.roll_back { place.roll_back() } else { place.provision(&arguments.from) };
    match outcome {
        Ok(outcome) => {
            outcome.told.iter().for_each(|sentence| println!("{sentence}"));
            if let Some(why) = &outcome.refused {
                eprint!("{why}");
            }
            if outcome.stands { ExitCode::SUCCESS } else { ExitCode::from(WRONG) }
        }
        Err(error) => failed(error),
    }
}
