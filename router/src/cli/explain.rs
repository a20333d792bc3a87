//! `genkan explain`: which step of a line fails, which rule decides about a connection, and why that usually is.

use std::fs;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use genkan_config::Loaded;

use super::{WRONG, control_socket, failed, wrong as wrong_file};
use crate::capture::reader::Reader;
use crate::control;
use crate::explain::{Question, answer};
use crate::replay::{Desk, Options, Replay};

pub(super) const ABOUT: &str = "\
Say in one sentence what is wrong, and then step by step: what was sent, what came back (the ISP's own words), what that means, the \
two likeliest causes and what to try.

  genkan explain gateway.toml                        every uplink
  genkan explain gateway.toml wan isp                one: link, discovery, LCP, authentication, IPCP, IPV6CP, prefix, DNS
  genkan explain gateway.toml flow 192.168.1.20:51000 203.0.113.9:443
  genkan explain gateway.toml flow udp 203.0.113.9:4000 198.51.100.2:5060
                                                     the flow that is there, or what a first packet would meet: which
                                                     rule, mapping, route and path; nothing is changed by asking
  genkan explain gateway.toml vpn sites office       a VPN's peer
  genkan explain line.pcapng                         the same of a capture, on any desk, without a gateway
  genkan explain gateway.toml line.pcapng            with the configuration that the line has

Passwords are never shown. Exit status 0 when all that was asked about is in order, 1 when something fails or nobody answers, 2 \
when the command line is wrong.";

#[derive(Args)]
pub(super) struct Arguments {
    /// The configuration of the running gateway, or a capture
    file: PathBuf,
    /// wan [NAME], flow [tcp|udp] A:PORT B:PORT, vpn NAME [PEER], or a capture
    #[arg(value_name = "WHAT")]
    what: Vec<String>,
    /// The port that frames of a capture are at when it does not tell [default: the only one with an uplink]
    #[arg(long, value_name = "PORT")]
    at: Option<String>,
    /// Print JSON, for scripts
    #[arg(long)]
    json: bool,
}

pub(super) fn explain(arguments: &Arguments) -> ExitCode {
    let (capture, words) = match arguments.what.split_first() {
        _ if is_capture(&arguments.file) => (Some(arguments.file.clone()), arguments.what.as_slice()),
        Some((first, rest)) if is_capture(Path::new(first)) => (Some(PathBuf::from(first)), rest),
        _ => (None, arguments.what.as_slice()),
    };
    let question = match question(words) {
        Ok(question) => question,
        Err(text) => return wrong(&text),
    };
    match capture {
        None => online(arguments, &question),
        Some(capture) => offline(arguments, &capture, &question),
    }
}

fn wrong(text: &str) -> ExitCode {
    eprintln!("genkan: {text}");
    ExitCode::from(WRONG)
}

/// What the words ask for.
fn question(words: &[String]) -> Result<Question, String> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let end = |text: &str| {
        text.parse::<SocketAddr>().map_err(|_| {
            format!("`{text}` is no address and port, such as 192.0.2.1:443 or [2001:db8::1]:443")
        })
    };
    match words.as_slice() {
        [] | ["wan"] => Ok(Question::Wan { name: None }),
        ["wan", name] => Ok(Question::Wan { name: Some((*name).into()) }),
        ["flow", rest @ ..] => {
            let (udp, ends) = match rest {
                ["tcp", ends @ ..] => (Some(false), ends),
                ["udp", ends @ ..] => (Some(true), ends),
                ends => (None, ends),
            };
            match ends {
                [source, destination] => {
                    Ok(Question::Flow { udp, source: end(source)?, destination: end(destination)? })
                }
                _ => Err("a flow is `flow [tcp|udp] ADDRESS:PORT ADDRESS:PORT`, source first".into()),
            }
        }
        ["vpn", name] => Ok(Question::Vpn { name: (*name).into(), peer: None }),
        ["vpn", name, peer] => Ok(Question::Vpn { name: (*name).into(), peer: Some((*peer).into()) }),
        ["vpn"] => Err("which VPN? `vpn NAME [PEER]`".into()),
        [other, ..] => {
            Err(format!("`{other}` is nothing to explain, and no capture: it is wan, flow or vpn"))
        }
    }
}

/// Asks the running gateway.
fn online(arguments: &Arguments, question: &Question) -> ExitCode {
    let socket = match control_socket(&arguments.file) {
        Ok(socket) => socket,
        Err(code) => return code,
    };
    match control::explain(&socket, question) {
        Ok((text, value)) => {
            show(arguments, &text, &value);
            verdict(&value)
        }
        Err(error) => failed(error),
    }
}

/// Lives through a capture, and asks the gateway then.
fn offline(arguments: &Arguments, capture: &Path, question: &Question) -> ExitCode {
    let loaded = if capture == arguments.file {
        match assumed(capture) {
            Ok(loaded) => loaded,
            Err(text) => return failed(text),
        }
    } else {
        match Desk::here(&arguments.file).load() {
            Ok(loaded) => loaded,
            Err(report) => return wrong_file(&report),
        }
    };
    let options = Options { at: arguments.at.clone(), seed: 1, only: Vec::new() };
    let mut replay = match Replay::open(&loaded.config, capture, &options) {
        Ok(replay) => replay,
        Err(error) => return failed(error),
    };
    while replay.next().is_some() {}
    let now = replay.now();
    match answer(replay.gateway_mut(), now, question) {
        Ok(told) => {
            let value = serde_json::to_value(&told).unwrap_or_default();
            if capture == arguments.file && !arguments.json {
                println!(
                    "The configuration was made from what the capture shows; the password is not known.\n"
                );
            }
            show(arguments, &told.to_string(), &value);
            verdict(&value)
        }
        Err(text) => failed(text),
    }
}

fn show(arguments: &Arguments, text: &str, value: &serde_json::Value) {
    if arguments.json {
        println!("{value:#}");
    } else {
        print!("{text}");
    }
}

fn verdict(value: &serde_json::Value) -> ExitCode {
    let good = match value {
        serde_json::Value::Array(lines) => lines.iter().all(|line| {
            let steps = line["steps"].as_array().map(Vec::as_slice).unwrap_or_default();
            steps.iter().all(|step| step["state"] != "failed" && step["state"] != "waiting")
        }),
        flow => flow["passes"] == true,
    };
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// True for a file that begins as captures do, also in gzip.
fn is_capture(path: &Path) -> bool {
    let mut magic = [0; 4];
    let read = fs::File::open(path).and_then(|mut file| file.read_exact(&mut magic));
    read.is_ok()
        && (magic[..2] == [0x1f, 0x8b]
            || [[0x0a, 0x0d, 0x0d, 0x0a], [0xd4, 0xc3, 0xb2, 0xa1], [0xa1, 0xb2, 0xc3, 0xd4]]
                .contains(&magic)
            || [[0x4d, 0x3c, 0xb2, 0xa1], [0xa1, 0xb2, 0x3c, 0x4d]].contains(&magic))
}

/// What a capture shows of its line.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    pppoe: bool,
    dhcp: bool,
    ipv6: bool,
    vlan: Option<u16>,
    name: Option<String>,
}

impl Seen {
    fn look(&mut self, frame: &[u8]) {
        let at = |offset: usize| frame.get(offset..).and_then(<[u8]>::first_chunk::<2>).copied();
        let tagged = at(12) == Some([0x81, 0x00]);
        let behind = if tagged { 16 } else { 12 };
        let kind = at(behind).map(u16::from_be_bytes);
        // IPv4 without options, UDP, a DHCP port.
        let ports = [at(behind + 22), at(behind + 24)];
        let is_udp = frame.get(behind + 2) == Some(&0x45) && frame.get(behind + 11) == Some(&17);
        self.dhcp |= kind == Some(0x0800)
            && is_udp
            && ports.iter().flatten().any(|port| [[0, 67], [0, 68]].contains(port));
        if !matches!(kind, Some(0x8863 | 0x8864)) {
            return;
        }
        self.pppoe = true;
        if tagged {
            self.vlan = at(14).map(|control| u16::from_be_bytes(control) & 0x0fff);
        }
        if kind != Some(0x8864) {
            return;
        }
        match (at(behind + 8).map(u16::from_be_bytes), frame.get(behind + 10)) {
            (Some(0x8057), Some(1)) => self.ipv6 = true,
            // An Authenticate-Request: the name is no secret.
            (Some(0xc023), Some(1)) => {
                let length = usize::from(frame.get(behind + 14).copied().unwrap_or(0));
                let name = frame.get(behind + 15..behind + 15 + length).unwrap_or_default();
                let name = String::from_utf8_lossy(name).into_owned();
                let harmless = |c: char| c.is_ascii_alphanumeric() || "@._-/+#".contains(c);
                self.name = Some(name).filter(|name| !name.is_empty() && name.chars().all(harmless));
            }
            _ => {}
        }
    }

    fn text(&self) -> String {
        let vlan = self.vlan.map(|id| format!("vlan = {id}\n")).unwrap_or_default();
        let wan = match self.pppoe {
            true => format!(
                "pppoe.username = \"{}\"\npppoe.password-file = \"unknown.secret\"\nipv6 = {}\n{}",
                self.name.as_deref().unwrap_or("unknown"),
                self.ipv6,
                if self.ipv6 { "prefix-delegation = {}\n" } else { "" }
            ),
            false => "dhcp = true\n".into(),
        };
        format!(
            "[port.line]\ntap = \"line\"\n{vlan}[wan.line]\nport = \"line\"\n{wan}[port.lan]\ntap = \"lan\"\n\
             [lan.lan]\nports = [\"lan\"]\naddress = \"192.168.254.1/24\"\n"
        )
    }
}

/// A configuration for a capture that came without one.
fn assumed(capture: &Path) -> Result<Loaded, String> {
    let name = capture.display();
    let mut reader = Reader::open(capture).map_err(|error| format!("cannot read {name}: {error}"))?;
    let mut seen = Seen::default();
    while let Some(record) = reader.next_record() {
        seen.look(&record.bytes);
    }
    if !seen.pppoe && !seen.dhcp {
        return Err(format!(
            "{name} shows neither PPPoE nor DHCP, so it does not tell what its line is; give the configuration before it"
        ));
    }
    Desk::made_up(&seen.text()).load().map_err(|report| report.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(words: &str) -> Result<Question, String> {
        question(&words.split_whitespace().map(String::from).collect::<Vec<_>>())
    }

    #[test]
    fn the_words_ask_for_lines_flows_and_peers() {
        assert_eq!(asked(""), Ok(Question::Wan { name: None }));
        assert_eq!(asked("wan isp"), Ok(Question::Wan { name: Some("isp".into()) }));
        let (source, destination) = ("192.0.2.1:5".parse().unwrap(), "198.51.100.2:443".parse().unwrap());
        for (words, udp) in [("flow", None), ("flow tcp", Some(false)), ("flow udp", Some(true))] {
            let words = format!("{words} 192.0.2.1:5 198.51.100.2:443");
            assert_eq!(asked(&words), Ok(Question::Flow { udp, source, destination }));
        }
        assert!(asked("vpn sites office").is_ok() && asked("flow [2001:db8::1]:1 [2001:db8::2]:2").is_ok());
        for (words, phrase) in [
            ("flow 1.2.3.4", "source first"),
            ("flow a b", "192.0.2.1:443"),
            ("lan", "wan, flow or vpn"),
            ("vpn", "which VPN"),
        ] {
            assert!(asked(words).unwrap_err().contains(phrase), "{words}");
        }
    }

    #[test]
    fn a_capture_shows_what_its_line_is() {
        let mut seen = Seen::default();
        seen.look(&[0; 60]);
        assert!(seen.text().contains("dhcp = true"));
        let mut frame = vec![0; 12];
        frame.extend([0x81, 0, 0, 7, 0x88, 0x64, 0x11, 0, 0, 1, 0, 20, 0xc0, 0x23, 1, 1, 0, 14, 3]);
        frame.extend(b"bob\x03pwd");
        seen.look(&frame);
        assert_eq!(seen.name.as_deref(), Some("bob"));
        assert!(seen.text().contains("vlan = 7") && !seen.text().contains("pwd"), "{}", seen.text());
        for cut in 0..frame.len() {
            Seen::default().look(&frame[..cut]);
        }
    }
}
