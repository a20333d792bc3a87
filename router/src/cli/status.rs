//! `genkan status`: the running gateway at a glance.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use serde_json::Value;

use super::{control_socket, failed};
use crate::control;

pub(super) const ABOUT: &str = "\
Show the running gateway: each uplink with its state, addresses, prefixes, MTU and the reason of its last failure; each \
LAN with its prefixes and leases; each VPN with its peers, how long ago each of them shook hands, what it carried and lost; \
the sessions of each concentrator; flows, and every dropped frame under its reason.

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
    for vpn in list(&status["vpns"]) {
        render_vpn(&mut out, vpn);
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
    if let Some(pause) = status["last_pause"].as_object() {
        let why = match pause["witness"].as_str() {
            Some("kernel") => "the machine slept",
            Some("hardware-clock") => "the machine was paused, by its hardware clock",
            _ => "the program was not run",
        };
        let (lasted, age) = (&pause["lasted_s"], &pause["age_s"]);
        let _ =
            writeln!(out, "pause   {why} for {lasted} s, which ended {age} s ago; everybody was asked again");
    }
    if let Some(saved) = status["saved_capture"].as_str() {
        let _ = writeln!(out, "capture {saved} shows what passed before the last failure");
    }
    let _ = writeln!(out, "\nport      device            received        sent  lost in / out");
    for port in list(&status["ports"]) {
        let _ = writeln!(
            out,
            "{:<9} {:<12} {:>13} {:>11}  {} / {}",
            text(&port["name"]),
            text(&port["device"]),
            count(&port["rx"]),
            count(&port["tx"]),
            count(&port["rx_dropped"]) + count(&port["rx_kernel_drops"]) + count(&port["rx_shed"]),
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
    render_fast_path(&mut out, &status["fast_path"]);
    render_privileges(&mut out, &status["privileges"]);
    out
}

/// What each thread may still do, and what it was refused.
fn render_privileges(out: &mut String, threads: &Value) {
    if list(threads).is_empty() {
        return;
    }
    out.push_str("\nthread    may still use\n");
    for thread in list(threads) {
        let capabilities: Vec<&str> = list(&thread["capabilities"]).iter().map(text).collect();
        let capabilities =
            if capabilities.is_empty() { "no capabilities".to_owned() } else { capabilities.join(" ") };
        let calls = thread["system_calls"]
            .as_u64()
            .map_or("every system call".into(), |calls| format!("{calls} system calls"));
        let files = thread["landlock"]
            .as_i64()
            .map_or("files as its user".into(), |abi| format!("files by Landlock {abi}"));
        let _ = writeln!(out, "{:<9} {calls}; {files}; {capabilities}", text(&thread["thread"]));
        for why in list(&thread["missing"]) {
            let _ = writeln!(out, "          {}", text(why));
        }
        if let Some(last) = thread["last_refused"].as_str() {
            let _ = writeln!(out, "          was refused {} calls, the last one {last}", thread["refused"]);
        }
    }
}

/// The kernel path: what each port has, what was carried, and why not more.
fn render_fast_path(out: &mut String, fast_path: &Value) {
    if fast_path.is_null() {
        return;
    }
    match fast_path["off"].as_str() {
        Some(why) => {
            let _ = writeln!(out, "\nkernel path: none, {why}");
        }
        None => {
            let room = list(&fast_path["room"]).iter().map(count).sum::<u64>();
            let samples = &fast_path["samples"];
            let _ = writeln!(
                out,
                "\nkernel path: {} packets carried; {} directions of flows handed over, room for {room}; {} samples \
                 the same as in user space, {} different",
                fast_path["carried"], fast_path["directions"], samples["same"], samples["different"]
            );
        }
    }
    for port in list(&fast_path["ports"]) {
        let _ = writeln!(out, "{:<9} {}: {}", text(&port["port"]), text(&port["entry"]), text(&port["why"]));
        if let Some(miss) = port["miss"].as_str() {
            let _ = writeln!(out, "          what XDP does not carry comes by {miss}");
        }
    }
    for (reason, punted) in fast_path["punted"].as_object().into_iter().flatten() {
        let _ = writeln!(out, "to user space {:>10}  {reason}", count(punted));
    }
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
            "  IPv4    address {}, peer {}, DNS {}",
            text(&wan["address"]),
            text(&wan["gateway"]),
            if servers.is_empty() { "none given".to_owned() } else { servers.join(" and ") }
        );
    } else if wan["ipv6"]["up"] == true {
        out.push_str("  IPv4    none\n");
    }
    render_wan_ipv6(out, &wan["ipv6"]);
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
    if let Some(problem) = wan["problem"].as_str() {
        let _ = writeln!(out, "  {problem}");
    }
    if let Some(failure) = wan["last_failure"].as_str() {
        let _ = writeln!(out, "  last failure: {failure}");
    }
}

/// What an uplink has of IPv6: nothing, when it is not to carry any.
fn render_wan_ipv6(out: &mut String, ipv6: &Value) {
    if ipv6.is_null() {
        return;
    }
    let link_local = ipv6["link_local"].as_str();
    let addresses = link_local.into_iter().chain(list(&ipv6["addresses"]).iter().map(text));
    let addresses: Vec<&str> = addresses.collect();
    let servers: Vec<&str> = list(&ipv6["dns"]).iter().map(text).collect();
    if addresses.is_empty() {
        out.push_str("  IPv6    none: its link is down\n");
    } else {
        let _ = writeln!(
            out,
            "  IPv6    {}{}, default router {}, DNS {}",
            if ipv6["up"] == true { "" } else { "not yet; " },
            addresses.join(" and "),
            ipv6["default_router"].as_str().unwrap_or("none"),
            if servers.is_empty() { "none given".to_owned() } else { servers.join(" and ") }
        );
    }
    for prefix in list(&ipv6["prefixes"]) {
        let _ = writeln!(out, "          prefix {} {}", text(&prefix["prefix"]), lifetimes(prefix));
    }
    let dhcp = &ipv6["dhcp"];
    if !dhcp.is_null() {
        let _ = write!(out, "          DHCPv6 {}", text(&dhcp["state"]));
        if let Some(server) = dhcp["server"].as_str() {
            let _ = write!(out, " with {server}");
        }
        if !dhcp["renew_in_s"].is_null() {
            let _ = write!(out, ", renews in {}", span(&dhcp["renew_in_s"]));
        }
        out.push('\n');
        if let Some(failure) = dhcp["last_failure"].as_str() {
            let _ = writeln!(out, "          last DHCPv6 failure: {failure}");
        }
    }
}

/// How long a prefix may be used: for new connections, and at all.
fn lifetimes(prefix: &Value) -> String {
    let time = |key: &str| match &prefix[key] {
        Value::Null => "ever".to_owned(),
        seconds => span(seconds),
    };
    match prefix["preferred_s"].as_u64() {
        Some(0) => format!("no longer for new connections, for others for another {}", time("valid_s")),
        _ => format!("for new connections for {}, for others for {}", time("preferred_s"), time("valid_s")),
    }
}

/// What a LAN has of IPv6: first what is new, then what is old.
fn render_lan_ipv6(out: &mut String, ipv6: &Value) {
    if ipv6.is_null() {
        return;
    }
    let addresses: Vec<&str> = list(&ipv6["addresses"]).iter().map(text).collect();
    if !addresses.is_empty() {
        let _ = writeln!(out, "  IPv6 addresses {}", addresses.join(" and "));
    }
    for prefix in list(&ipv6["prefixes"]) {
        let origin = match text(&prefix["origin"]) {
            "ula" => "the site's own".to_owned(),
            uplink => format!("from {uplink}"),
        };
        let state = match text(&prefix["state"]) {
            "preferred" => lifetimes(prefix),
            "deprecated" => format!("on its way out: {}", lifetimes(prefix)),
            _ => {
                let announced = &prefix["announced_for_s"];
                let again = if announced.is_null() {
                    String::new()
                } else {
                    format!(" for another {}", span(announced))
                };
                format!("no longer ours: hosts are told to give it up{again}")
            }
        };
        let _ = writeln!(out, "  prefix {} ({origin}) {state}", text(&prefix["prefix"]));
    }
    if let Some(problem) = ipv6["problem"].as_str() {
        let _ = writeln!(out, "  IPv6: {problem}");
    }
    for lease in list(&ipv6["leases"]) {
        let _ = writeln!(
            out,
            "  {:<39} {:<20} for another {}  DUID {}",
            text(&lease["address"]),
            lease["hostname"].as_str().unwrap_or(""),
            span(&lease["expires_in_s"]),
            text(&lease["duid"])
        );
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
    for trouble in list(&lan["troubles"]) {
        let at = text(&trouble["at"]);
        if !trouble["blocked_for_s"].is_null() {
            let left = span(&trouble["blocked_for_s"]);
            let _ = writeln!(out, "  there is a loop: nothing passes by {at} for another {left}");
        }
        if trouble["storm"] == true {
            let _ = writeln!(out, "  there is a storm: {at} sends more frames for everyone than pass");
        }
    }
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
    render_lan_ipv6(out, &lan["ipv6"]);
}

fn render_vpn(out: &mut String, vpn: &Value) {
    let addresses = [&vpn["ipv4"], &vpn["ipv6"]].into_iter().filter_map(network);
    let addresses: Vec<String> = addresses.collect();
    let _ = writeln!(
        out,
        "\nvpn {}: {} on UDP port {}, public key {}",
        text(&vpn["name"]),
        addresses.join(" and "),
        vpn["listen_port"],
        text(&vpn["public_key"])
    );
    let bridge = &vpn["bridge"];
    if !bridge.is_null() {
        let _ = writeln!(out, "  carries lan {} with VNI {}", text(&bridge["lan"]), bridge["vni"]);
    }
    for peer in list(&vpn["peers"]) {
        render_vpn_peer(out, peer);
    }
    let stranger = &vpn["stranger"];
    if !stranger.is_null() {
        let _ = writeln!(
            out,
            "  a stranger called {} ago from {}: public key {} is no peer's",
            span(&stranger["age_s"]),
            text(&stranger["from"]),
            text(&stranger["public_key"])
        );
    }
}

fn render_vpn_peer(out: &mut String, peer: &Value) {
    let _ = writeln!(out, "  {}: {}", text(&peer["name"]), text(&peer["state"]));
    let handshake = match &peer["handshake_age_s"] {
        Value::Null => "no handshake yet".to_owned(),
        age => format!("last handshake {} ago", span(age)),
    };
    let endpoint = peer["endpoint"].as_str().map(|endpoint| format!("at {endpoint}, ")).unwrap_or_default();
    let _ = writeln!(out, "    {endpoint}{handshake}, public key {}", text(&peer["public_key"]));
    let usage = &peer["usage"];
    let _ = write!(
        out,
        "    received {} in {} packets, sent {} in {} packets, {} lost on the way here",
        octets(&usage["rx_octets"]),
        usage["rx_packets"],
        octets(&usage["tx_octets"]),
        usage["tx_packets"],
        peer["lost"]
    );
    if let Some(stations) = peer["stations"].as_u64() {
        let _ = write!(out, "; stations behind it: {stations}");
    }
    out.push('\n');
}

/// An address with its network's prefix length, in whichever way it is serialized.
fn network(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Object(_) => Some(format!("{}/{}", text(&value["address"]), value["prefix"])),
        _ => None,
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

pub(super) fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

/// Seconds in the two largest units that fit.
pub(super) fn span(seconds: &Value) -> String {
    let s = seconds.as_u64().unwrap_or(0);
    match s {
        0..60 => format!("{s} s"),
        60..3600 => format!("{} min {} s", s / 60, s % 60),
        3600..86_400 => format!("{} h {} min", s / 3600, s / 60 % 60),
        _ => format!("{} d {} h", s / 86_400, s / 3600 % 24),
    }
}

/// A number of octets in the unit that keeps it short.
pub(super) fn octets(value: &Value) -> String {
    let octets = value.as_u64().unwrap_or(0);
    let units = [("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];
    match units.into_iter().find(|&(_, size)| octets >= size) {
        Some((unit, size)) => format!("{}.{} {unit}", octets / size, octets % size * 10 / size),
        None => format!("{octets} octets"),
    }
}

#[cfg(test)]
mod tests {
    use genkan_netstack::forward::Usage;
    use genkan_netstack::id::Ipv4Cidr;
    use genkan_netstack::status::{VpnBridgeStatus, VpnPeerStatus, VpnStatus, VpnStrangerStatus};

    use super::*;

    #[test]
    fn units_are_those_a_person_reads() {
        assert_eq!(octets(&Value::from(999)), "999 octets");
        assert_eq!(octets(&Value::from(1_550_000)), "1.5 MB");
        assert_eq!(span(&Value::from(59)), "59 s");
        assert_eq!(span(&Value::from(7_265)), "2 h 1 min");
        assert_eq!(span(&Value::from(90_000)), "1 d 1 h");
    }

    /// RFC 9096 L-13, RFC 7084 ULA-1, WPD-3: a user can tell what is new, what goes, what is gone and what is missing.
    #[test]
    fn ipv6_shows_what_is_new_and_what_is_old() {
        let status = serde_json::json!({
            "hostname": "genkan", "version": "0", "uptime_s": 3,
            "wans": [
                {
                    "name": "isp", "port": "wan0", "state": "up", "since_s": 2, "usage": {},
                    "address": "192.0.2.7", "gateway": "192.0.2.1", "dns": ["9.9.9.9"],
                    "ipv6": {
                        "up": true, "link_local": "fe80::1", "addresses": ["2001:db8::1"],
                        "default_router": "fe80::2", "dns": ["2620:fe::9"], "epoch": 2,
                        "prefixes": [
                            { "prefix": "2001:db8:0:100::/56", "preferred_s": 3600, "valid_s": 7200 },
                            { "prefix": "2001:db8:0:200::/56", "preferred_s": 0, "valid_s": 60 },
                            { "prefix": "2001:db8:0:300::/56", "preferred_s": null, "valid_s": null },
                        ],
                        "dhcp": { "state": "bound", "server": "0001", "renew_in_s": 1800, "last_failure": null },
                    },
                },
                {
                    "name": "other", "port": "wan0", "state": "up", "since_s": 2, "usage": {},
                    "ipv6": { "up": false, "link_local": null, "addresses": [], "prefixes": [], "dns": [] },
                },
            ],
            "lans": [{
                "name": "home", "ports": ["lan0"], "address": { "address": "192.168.1.1", "prefix": 24 },
                "leases": [],
                "ipv6": {
                    "addresses": ["fe80::1", "2001:db8:0:101::1"],
                    "prefixes": [
                        { "prefix": "2001:db8:0:101::/64", "origin": "isp", "state": "preferred",
                          "preferred_s": 2700, "valid_s": 5400, "announced_for_s": null },
                        { "prefix": "2001:db8:0:201::/64", "origin": "isp", "state": "deprecated",
                          "preferred_s": 0, "valid_s": 60, "announced_for_s": null },
                        { "prefix": "2001:db8:0:901::/64", "origin": "isp", "state": "stale",
                          "preferred_s": 0, "valid_s": 0, "announced_for_s": 5400 },
                        { "prefix": "fd00:1:2:1::/64", "origin": "ula", "state": "preferred",
                          "preferred_s": null, "valid_s": null, "announced_for_s": null },
                    ],
                    "leases": [{ "address": "2001:db8:0:101::5", "duid": "0003", "hostname": "tv", "expires_in_s": 60 }],
                    "problem": "the prefix has no subnet 300",
                },
            }],
        });
        let shown = render(&status);
        for line in [
            "IPv4    address 192.0.2.7, peer 192.0.2.1, DNS 9.9.9.9",
            "IPv6    fe80::1 and 2001:db8::1, default router fe80::2, DNS 2620:fe::9",
            "prefix 2001:db8:0:100::/56 for new connections for 1 h 0 min, for others for 2 h 0 min",
            "prefix 2001:db8:0:200::/56 no longer for new connections, for others for another 1 min 0 s",
            "prefix 2001:db8:0:300::/56 for new connections for ever, for others for ever",
            "DHCPv6 bound with 0001, renews in 30 min 0 s",
            "IPv6    none: its link is down",
            "IPv6 addresses fe80::1 and 2001:db8:0:101::1",
            "prefix 2001:db8:0:101::/64 (from isp) for new connections for 45 min 0 s, for others for 1 h 30 min",
            "prefix 2001:db8:0:201::/64 (from isp) on its way out: no longer for new connections",
            "prefix 2001:db8:0:901::/64 (from isp) no longer ours: hosts are told to give it up for another 1 h 30 min",
            "prefix fd00:1:2:1::/64 (the site's own) for new connections for ever",
            "IPv6: the prefix has no subnet 300",
        ] {
            assert!(shown.contains(line), "{line}\nis not in\n{shown}");
        }
    }

    /// TR-124 IPv6.5: one family failing keeps the other, and the status says which.
    #[test]
    fn a_line_with_ipv6_alone_says_so() {
        let status = serde_json::json!({
            "wans": [{
                "name": "isp", "port": "wan0", "state": "up", "since_s": 2, "usage": {}, "address": null,
                "ipv6": { "up": true, "link_local": "fe80::1", "default_router": "fe80::2" },
            }],
            "concentrators": [{
                "name": "bras", "port": "access0",
                "sessions": [{ "user": "alice", "session_id": 1, "mac": "02:00:00:00:00:01", "usage": {},
                               "link_local": "fe80::5", "prefixes": ["2001:db8:0:100::/56"] }],
            }],
        });
        let shown = render(&status);
        assert!(shown.contains("  IPv4    none\n  IPv6    fe80::1, default router fe80::2"), "{shown}");
        assert!(shown.contains("2001:db8:0:100::/56, link-local address fe80::5"), "{shown}");
    }

    #[test]
    fn a_vpn_shows_each_peer_and_how_it_stands() {
        let status = VpnStatus {
            name: "friends".into(),
            public_key: [0; 32],
            listen_port: 51820,
            ipv4: Some(Ipv4Cidr { address: [10, 77, 0, 1].into(), prefix: 24 }),
            ipv6: Some("fd00:77::1/64".parse().unwrap()),
            bridge: Some(VpnBridgeStatus { lan: "home".into(), vni: 42 }),
            peers: vec![
                VpnPeerStatus {
                    name: "anna".into(),
                    public_key: [255; 32],
                    state: "its keys are fresh".into(),
                    endpoint: Some("[2001:db8::7]:51820".parse().unwrap()),
                    handshake_age_s: Some(75),
                    usage: Usage {
                        rx_packets: 3,
                        rx_octets: 1500,
                        tx_packets: 2,
                        tx_octets: 90,
                        ..Usage::default()
                    },
                    lost: 4,
                    stations: Some(5),
                },
                VpnPeerStatus { name: "ben".into(), state: "nobody called yet".into(), ..Default::default() },
            ],
            stranger: Some(VpnStrangerStatus {
                public_key: [255; 32],
                from: "192.0.2.66:4000".parse().unwrap(),
                age_s: 61,
            }),
        };
        let shown = render(&serde_json::json!({ "vpns": [status] }));
        let expected = "
vpn friends: 10.77.0.1/24 and fd00:77::1/64 on UDP port 51820, public key AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
  carries lan home with VNI 42
  anna: its keys are fresh
    at [2001:db8::7]:51820, last handshake 1 min 15 s ago, public key //////////////////////////////////////////8=
    received 1.5 kB in 3 packets, sent 90 octets in 2 packets, 4 lost on the way here; stations behind it: 5
  ben: nobody called yet
    no handshake yet, public key AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
    received 0 octets in 0 packets, sent 0 octets in 0 packets, 0 lost on the way here
  a stranger called 1 min 1 s ago from 192.0.2.66:4000: public key //////////////////////////////////////////8= is no peer's
";
        assert!(shown.contains(expected), "{shown}");
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
