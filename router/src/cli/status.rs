//! `genkan status`: the running gateway at a glance.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use serde_json::Value;

use super::{control_socket, failed};
use crate::control;

pub(super) const ABOUT: &str = "\
Show the running gateway: each uplink with its state, address, MTU and the reason of its last failure; each LAN with \
its leases; the sessions of each concentrator; flows, and every dropped frame under its reason.

The control socket is found in FILE. Exit status 0 when the gateway answered, 1 when it did not.";

pub(super) fn status(file: &Path, json: bool) -> ExitCode {
    let socket = match control_socket(file) {
        Ok(socket) => socket,
        Err(code) => return code,
    };
    match control::status(&socket) {
        Ok(status) if json => {
            println!("{status:#}");
            ExitCode::SUCCESS
        }
        Ok(status) => {
            print!("{}", render(&status));
            ExitCode::SUCCESS
        }
        Err(error) => failed(error),
    }
}

/// The status as text, a section for each part of the house.
pub(super) fn render(status: &Value) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{} · version {} · up {}",
        text(&status["hostname"]),
        text(&status["version"]),
        span(&status["uptime_s"])
    );
    for wan in list(&status["wans"]) {
        render_wan(&mut out, wan);
    }
    for lan in list(&status["lans"]) {
        render_lan(&mut out, lan);
    }
    for concentrator in list(&status["concentrators"]) {
        render_concentrator(&mut out, concentrator);
    }
    let (nat, dns, frames) = (&status["nat"], &status["dns"], &status["frames"]);
    let _ =
        writeln!(out, "\nflows   {} in the table, {} external ports in use", nat["flows"], nat["mappings"]);
    let _ = writeln!(
        out,
        "dns     {} questions: {} from the cache, {} local, {} forwarded, {} failed",
        dns["queries"], dns["hits"], dns["local"], dns["forwarded"], dns["failed"]
    );
    let _ = writeln!(out, "\nport      device            received        sent  lost in / out");
    for port in list(&status["ports"]) {
        let _ = writeln!(
            out,
            "{:<9} {:<12} {:>13} {:>11}  {} / {}",
            text(&port["name"]),
            text(&port["device"]),
            count(&port["rx"]),
            count(&port["tx"]),
            count(&port["rx_dropped"]) + count(&port["rx_kernel_drops"]),
            port["tx_dropped"]
        );
        if let Some(trouble) = port["trouble"].as_str() {
            let _ = writeln!(out, "          {trouble}");
        }
    }
    let _ = writeln!(
        out,
        "\nframes  {} received + {} originated + {} copied = {} sent + {} consumed + {} held + dropped",
        frames["received"],
        frames["originated"],
        frames["copied"],
        frames["transmitted"],
        frames["consumed"],
        status["frames_held"]
    );
    match frames["dropped"].as_object() {
        Some(drops) if !drops.is_empty() => {
            for (reason, dropped) in drops {
                let _ = writeln!(out, "dropped {:>10}  {reason}", count(dropped));
            }
        }
        _ => out.push_str("dropped none\n"),
    }
    out
}

fn render_wan(out: &mut String, wan: &Value) {
    let _ =
        write!(out, "\nwan {}: {} for {}", text(&wan["name"]), text(&wan["state"]), span(&wan["since_s"]));
    if !wan["retry_in_s"].is_null() {
        let _ = write!(out, ", dials again in {}", span(&wan["retry_in_s"]));
    }
    out.push('\n');
    if !wan["address"].is_null() {
        let servers: Vec<&str> = list(&wan["dns"]).iter().map(text).collect();
        let _ = writeln!(
            out,
            "  address {}, peer {}, DNS {}",
            text(&wan["address"]),
            text(&wan["gateway"]),
            if servers.is_empty() { "none given".to_owned() } else { servers.join(" and ") }
        );
    }
    if !wan["session_id"].is_null() {
        let _ = writeln!(
            out,
            "  session {} with {} ({}) on port {}",
            wan["session_id"],
            text(&wan["ac_name"]),
            text(&wan["peer_mac"]),
            text(&wan["port"])
        );
    }
    if !wan["mtu"].is_null() {
        let limit = wan["mtu_limit"].as_str().map(|limit| format!(" ({limit})")).unwrap_or_default();
        let _ = writeln!(out, "  MTU {}{limit}", wan["mtu"]);
    }
    let usage = &wan["usage"];
    let _ = writeln!(
        out,
        "  received {} in {} packets, sent {} in {} packets",
        octets(&usage["rx_octets"]),
        usage["rx_packets"],
        octets(&usage["tx_octets"]),
        usage["tx_packets"]
    );
    if let Some(failure) = wan["last_failure"].as_str() {
        let _ = writeln!(out, "  last failure: {failure}");
    }
}

fn render_lan(out: &mut String, lan: &Value) {
    let ports: Vec<&str> = list(&lan["ports"]).iter().map(text).collect();
    let address = &lan["address"];
    let _ = writeln!(
        out,
        "\nlan {}: {}/{} on {}",
        text(&lan["name"]),
        text(&address["address"]),
        address["prefix"],
        ports.join(", ")
    );
    for lease in list(&lan["leases"]) {
        let until = if lease["fixed"] == true && lease["expires_in_s"] == 0 {
            "fixed".to_owned()
        } else {
            format!("for another {}", span(&lease["expires_in_s"]))
        };
        let _ = writeln!(
            out,
            "  {:<15} {}  {:<20} {until}",
            text(&lease["address"]),
            text(&lease["mac"]),
            lease["hostname"].as_str().unwrap_or("")
        );
    }
}

fn render_concentrator(out: &mut String, concentrator: &Value) {
    let sessions = list(&concentrator["sessions"]);
    let _ = writeln!(
        out,
        "\nconcentrator {}: {} sessions on {}",
        text(&concentrator["name"]),
        sessions.len(),
        text(&concentrator["port"])
    );
    const SHOWN: usize = 20;
    for session in sessions.iter().take(SHOWN) {
        let _ = writeln!(
            out,
            "  {:<20} {:<15} session {:<5} {}  received {}, sent {}",
            session["user"].as_str().unwrap_or("(not authenticated)"),
            session["address"].as_str().unwrap_or("no address"),
            session["session_id"],
            text(&session["mac"]),
            octets(&session["usage"]["rx_octets"]),
            octets(&session["usage"]["tx_octets"])
        );
        if let Some(link_local) = session["link_local"].as_str() {
            let prefixes: Vec<_> = list(&session["prefixes"]).iter().filter_map(Value::as_str).collect();
            let prefixes = if prefixes.is_empty() { "no prefix".into() } else { prefixes.join(", ") };
            let _ = writeln!(out, "  {:<20} IPv6: {prefixes}, link-local address {link_local}", "");
        }
    }
    if sessions.len() > SHOWN {
        let _ = writeln!(out, "  … and {} more (--json shows all)", sessions.len() - SHOWN);
    }
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

/// Seconds in the two largest units that fit.
fn span(seconds: &Value) -> String {
    let s = seconds.as_u64().unwrap_or(0);
    match s {
        0..60 => format!("{s} s"),
        60..3600 => format!("{} min {} s", s / 60, s % 60),
        3600..86_400 => format!("{} h {} min", s / 3600, s / 60 % 60),
        _ => format!("{} d {} h", s / 86_400, s / 3600 % 24),
    }
}

/// A number of octets in the unit that keeps it short.
fn octets(value: &Value) -> String {
    let octets = value.as_u64().unwrap_or(0);
    let units = [("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];
    match units.into_iter().find(|&(_, size)| octets >= size) {
        Some((unit, size)) => format!("{}.{} {unit}", octets / size, octets % size * 10 / size),
        None => format!("{octets} octets"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_those_a_person_reads() {
        assert_eq!(octets(&Value::from(999)), "999 octets");
        assert_eq!(octets(&Value::from(1_550_000)), "1.5 MB");
        assert_eq!(span(&Value::from(59)), "59 s");
        assert_eq!(span(&Value::from(7_265)), "2 h 1 min");
        assert_eq!(span(&Value::from(90_000)), "1 d 1 h");
    }

    #[test]
    fn a_line_that_is_down_shows_why_and_when_it_is_tried_again() {
        let status = serde_json::json!({
            "hostname": "genkan", "version": "0", "uptime_s": 3,
            "wans": [{
                "name": "isp", "port": "wan0", "state": "waiting", "since_s": 2, "retry_in_s": 300,
                "last_failure": "the ISP refused the password", "usage": {}
            }],
        });
        let shown = render(&status);
        assert!(shown.contains("wan isp: waiting for 2 s, dials again in 5 min 0 s"), "{shown}");
        assert!(shown.contains("last failure: the ISP refused the password"), "{shown}");
    }
}
