//! `genkan replay`: a capture, through the same gateway.

use std::fs::File;
use std::io::{self, BufRead as _, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use genkan_config::Config;
use genkan_netstack::id::PortId;

use super::{WRONG, failed, wrong as wrong_file};
use crate::replay::{self, Both, Desk, Options, Replay, case};

pub(super) const ABOUT: &str = "\
Run a capture of a line through the gateway that FILE describes, as if it had stood there: on the capture's clock, without a \
device or a privilege. Everything that happens is printed: what the gateway tells, every frame that it receives and sends, and \
beside that what the captured router sent in its place. At the end comes what the capture was missing, and how the lines are.

CAPTURE is pcap or pcapng, plain or in gzip, by `genkan capture`, tcpdump or Wireshark, of genkan or of any other router. \
Answers in it are made to fit the gateway's own questions: identifiers, magic numbers, transaction ids and ports are \
replaced by those that the gateway drew. Capture on the Ethernet port, from before the line is dialled.

  genkan replay gateway.toml line.pcapng
  genkan replay gateway.toml pppd.pcap.gz --at wan0 --write both.pcapng
  genkan replay gateway.toml line.pcapng --until 12.5 --step
  genkan replay gateway.toml line.pcapng --save-case tests/cases/no-pado    from now on `make test` runs it

The same capture, FILE and seed give the same output to the byte.";

#[derive(Args)]
pub(super) struct Arguments {
    /// The configuration
    file: PathBuf,
    /// The capture
    capture: PathBuf,
    /// Write both sides as pcapng: what the gateway received and sent, and what the captured router sent
    #[arg(long, value_name = "OUT")]
    write: Option<PathBuf>,
    /// The port that frames are at when the capture does not tell [default: the only one with an uplink]
    #[arg(long, value_name = "PORT")]
    at: Option<String>,
    /// Everything that is drawn at random follows from this number
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// End at this time: seconds from the start, such as 12.5, or the capture's time of day, HH:MM:SS in UTC
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Time>,
    /// Wait for Enter after each line
    #[arg(long)]
    step: bool,
    /// Replay only the frames of one uplink's port, and tell only of those
    #[arg(long, num_args = 2, value_names = ["wan", "NAME"])]
    only: Vec<String>,
    /// Write a test case into this new folder: the capture without secrets, the configuration, and what happens
    #[arg(long, value_name = "DIR", conflicts_with = "only")]
    save_case: Option<PathBuf>,
}

/// When to end.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Time {
    /// So long after the start.
    After(Duration),
    /// So long after midnight.
    OfDay(Duration),
}

fn time(text: &str) -> Result<Time, String> {
    let wrong =
        || "expected seconds from the start, such as 12.5, or a time of day, such as 21:04:59".to_owned();
    let seconds = |text: &str| {
        let seconds = text.parse::<f64>().map_err(|_| wrong())?;
        Duration::try_from_secs_f64(seconds).map_err(|_| wrong())
    };
    let Some((hours, rest)) = text.split_once(':') else { return seconds(text).map(Time::After) };
    let (minutes, rest) = rest.split_once(':').unwrap_or((rest, "0"));
    let number =
        |text: &str, below: u64| text.parse::<u64>().ok().filter(|number| *number < below).ok_or_else(wrong);
    let whole = number(hours, 24)? * 3600 + number(minutes, 60)? * 60;
    Ok(Time::OfDay(seconds(rest)?.saturating_add(Duration::from_secs(whole))))
}

impl Time {
    fn is_over(self, replay: &Replay, at: Duration) -> bool {
        const DAY: u64 = 86_400;
        match self {
            Time::After(limit) => at.saturating_sub(replay.origin()) > limit,
            Time::OfDay(limit) => {
                // The first such moment after the start.
                let start = replay.origin().as_secs() / DAY * DAY;
                let mut end = Duration::from_secs(start).saturating_add(limit);
                if end < replay.origin() {
                    end = end.saturating_add(Duration::from_secs(DAY));
                }
                at > end
            }
        }
    }
}

pub(super) fn replay(arguments: &Arguments) -> ExitCode {
    let loaded = match Desk::here(&arguments.file).load() {
        Ok(loaded) => loaded,
        Err(report) => return wrong_file(&report),
    };
    let only = match only(&loaded.config, &arguments.only) {
        Ok(only) => only,
        Err(text) => return wrong(&text),
    };
    let options = Options { at: arguments.at.clone(), seed: arguments.seed, only };
    let replay = match Replay::open(&loaded.config, &arguments.capture, &options) {
        Ok(replay) => replay,
        Err(error @ replay::Error::Port(_)) => return wrong(&error.to_string()),
        Err(error) => return failed(error),
    };
    if let Some(folder) = &arguments.save_case
        && let Err(error) = case::save(folder, &arguments.file, &arguments.capture, &options)
    {
        return failed(format!("{}: cannot save the case: {error}", folder.display()));
    }
    match run(replay, arguments) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => failed(error),
    }
}

fn wrong(text: &str) -> ExitCode {
    eprintln!("genkan: {text}");
    ExitCode::from(WRONG)
}

/// The ports of `--only wan NAME`.
fn only(config: &Config, words: &[String]) -> Result<Vec<PortId>, String> {
    let [kind, name] = words else { return Ok(Vec::new()) };
    if kind != "wan" {
        return Err(format!("--only takes an uplink, `--only wan NAME`, not {kind}"));
    }
    let wan = config.wans.iter().find(|wan| wan.name == *name).ok_or_else(|| {
        let names: Vec<&str> = config.wans.iter().map(|wan| wan.name.as_str()).collect();
        format!("there is no uplink {name}; the uplinks are {}", names.join(", "))
    })?;
    let port = config.ports.iter().position(|port| port.name == wan.port);
    Ok(port.and_then(|index| u16::try_from(index).ok()).map(PortId).into_iter().collect())
}

fn run(mut replay: Replay, arguments: &Arguments) -> io::Result<()> {
    let mut both = arguments.write.as_deref().map(|path| both(&replay, path)).transpose()?;
    let mut out = BufWriter::new(io::stdout().lock());
    while let Some(outcome) = replay.next() {
        if arguments.until.is_some_and(|until| until.is_over(&replay, outcome.at)) {
            break;
        }
        if let Some(both) = &mut both {
            both.write(&outcome)?;
        }
        writeln!(out, "{}", replay.text(&outcome))?;
        if arguments.step {
            out.flush()?;
            if io::stdin().lock().read_line(&mut String::new())? == 0 {
                break;
            }
        }
    }
    for line in replay.state() {
        writeln!(out, "{line}")?;
    }
    if let Some(mut both) = both {
        both.flush()?;
    }
    out.flush()
}

fn both(replay: &Replay, path: &Path) -> io::Result<Both<BufWriter<File>>> {
    let file = File::create(path)
        .map_err(|error| io::Error::new(error.kind(), format!("cannot write {}: {error}", path.display())))?;
    Both::new(BufWriter::new(file), replay)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_given_in_seconds_or_as_a_time_of_day() {
        assert_eq!(time("12.5"), Ok(Time::After(Duration::from_millis(12_500))));
        assert_eq!(time("21:04:59.5"), Ok(Time::OfDay(Duration::from_millis(75_899_500))));
        assert_eq!(time("21:04"), Ok(Time::OfDay(Duration::from_secs(75_840))));
        for wrong in ["", "noon", "-1", "25:00", "1:60", "1:2:x", "inf"] {
            assert!(time(wrong).is_err_and(|text| text.contains("12.5")), "{wrong}");
        }
    }
}
