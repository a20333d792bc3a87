//! DHCP (RFC 2132) and DHCPv6 (RFC 8415), their options by name.

use std::fmt::Write as _;

use super::{hex, mac_at, printable, u16_at, u32_at, v4_at, v6_at};

/// Octets before DHCP's options: the fixed part and the magic cookie.
const FIXED: usize = 240;

pub(super) fn dhcp4(out: &mut String, message: &[u8]) {
    let (Some(client), Some(yours), Some(xid)) =
        (mac_at(message, 28), v4_at(message, 16), u32_at(message, 4))
    else {
        return out.push_str(", DHCP, cut short");
    };
    let _ = write!(out, ", DHCP xid 0x{xid:08x} client {client}");
    if !yours.is_unspecified() {
        let _ = write!(out, " your address {yours}");
    }
    let mut rest = message.get(FIXED..).unwrap_or_default();
    while let [kind, after @ ..] = rest {
        rest = after;
        match (*kind, rest) {
            (0, _) => {}
            (255, _) => return,
            (kind, [length, after @ ..]) => {
                let Some((value, after)) = after.split_at_checked(usize::from(*length)) else {
                    return out.push_str(", an option that is cut short");
                };
                let _ = write!(out, " [{}]", option4(kind, value));
                rest = after;
            }
            _ => return out.push_str(", an option that is cut short"),
        }
    }
}

fn option4(kind: u8, value: &[u8]) -> String {
    let addresses = || {
        let each = value.chunks_exact(4).filter_map(|four| v4_at(four, 0)).map(|address| address.to_string());
        each.collect::<Vec<_>>().join(", ")
    };
    match kind {
        53 => {
            let names = ["Discover", "Offer", "Request", "Decline", "Ack", "Nak", "Release", "Inform"];
            let index = value.first().and_then(|kind| usize::from(*kind).checked_sub(1));
            format!("Message-Type {}", index.and_then(|index| names.get(index)).unwrap_or(&"unknown"))
        }
        1 => format!("Subnet-Mask {}", addresses()),
        3 => format!("Router {}", addresses()),
        6 => format!("Domain-Name-Server {}", addresses()),
        28 => format!("Broadcast-Address {}", addresses()),
        42 => format!("NTP-Server {}", addresses()),
        50 => format!("Requested-Address {}", addresses()),
        54 => format!("Server-Identifier {}", addresses()),
        12 => format!("Host-Name \"{}\"", printable(value)),
        15 => format!("Domain-Name \"{}\"", printable(value)),
        56 => format!("Message \"{}\"", printable(value)),
        60 => format!("Vendor-Class-Identifier \"{}\"", printable(value)),
        26 => format!("Interface-MTU {}", u16_at(value, 0).unwrap_or(0)),
        51 => format!("Lease-Time {} s", u32_at(value, 0).unwrap_or(0)),
        57 => format!("Maximum-Message-Size {}", u16_at(value, 0).unwrap_or(0)),
        58 => format!("Renewal-Time {} s", u32_at(value, 0).unwrap_or(0)),
        59 => format!("Rebinding-Time {} s", u32_at(value, 0).unwrap_or(0)),
        55 => {
            let each: Vec<String> = value.iter().map(u8::to_string).collect();
            format!("Parameter-Request-List {}", each.join(","))
        }
        61 => format!("Client-Identifier 0x{}", hex(value)),
        82 => format!("Relay-Agent-Information 0x{}", hex(value)),
        121 => format!("Classless-Static-Route 0x{}", hex(value)),
        _ => format!("option {kind} 0x{}", hex(value)),
    }
}

pub(super) fn dhcp6(out: &mut String, message: &[u8]) {
    let [kind, x0, x1, x2, ..] = *message else { return out.push_str(", DHCPv6, cut short") };
    let names = [
        "Solicit",
        "Advertise",
        "Request",
        "Confirm",
        "Renew",
        "Rebind",
        "Reply",
        "Release",
        "Decline",
        "Reconfigure",
        "Information-Request",
        "Relay-Forward",
        "Relay-Reply",
    ];
    let name = usize::from(kind).checked_sub(1).and_then(|index| names.get(index)).unwrap_or(&"unknown");
    let _ = write!(out, ", DHCPv6 {name}");
    match kind {
        12 | 13 => options6(out, message.get(34..).unwrap_or_default(), 0),
        _ => {
            let _ = write!(out, " xid 0x{x0:02x}{x1:02x}{x2:02x}");
            options6(out, message.get(4..).unwrap_or_default(), 0);
        }
    }
}

/// Options, those inside others too.
fn options6(out: &mut String, mut rest: &[u8], depth: u8) {
    while let (Some(kind), Some(length)) = (u16_at(rest, 0), u16_at(rest, 2)) {
        let Some((value, after)) = rest.get(4..).and_then(|rest| rest.split_at_checked(length.into())) else {
            return out.push_str(", an option that is cut short");
        };
        let _ = write!(out, " [{}", option6(kind, value));
        let inside = match kind {
            3 | 25 => 12,
            4 => 4,
            5 => 24,
            26 => 25,
            _ => usize::MAX,
        };
        if depth < 3 {
            options6(out, value.get(inside..).unwrap_or_default(), depth + 1);
        }
        out.push(']');
        rest = after;
    }
}

fn option6(kind: u16, value: &[u8]) -> String {
    let seconds = |at| u32_at(value, at).map_or_else(|| "cut short".into(), |time| format!("{time} s"));
    let addresses = || {
        let each =
            value.chunks_exact(16).filter_map(|part| v6_at(part, 0)).map(|address| address.to_string());
        each.collect::<Vec<_>>().join(", ")
    };
    let address = |at| v6_at(value, at).map_or_else(|| "cut short".into(), |address| address.to_string());
    match kind {
        1 => format!("Client-Identifier 0x{}", hex(value)),
        2 => format!("Server-Identifier 0x{}", hex(value)),
        3 | 25 => {
            let name = if kind == 3 { "IA_NA" } else { "IA_PD" };
            format!("{name} {} T1 {} T2 {}", u32_at(value, 0).unwrap_or(0), seconds(4), seconds(8))
        }
        4 => format!("IA_TA {}", u32_at(value, 0).unwrap_or(0)),
        5 => format!("IA-Address {} preferred {} valid {}", address(0), seconds(16), seconds(20)),
        26 => {
            let length = value.get(8).copied().unwrap_or(0);
            format!("IA-Prefix {}/{length} preferred {} valid {}", address(9), seconds(0), seconds(4))
        }
        6 => {
            let each: Vec<String> =
                value.chunks_exact(2).filter_map(|two| Some(u16_at(two, 0)?.to_string())).collect();
            format!("Option-Request {}", each.join(","))
        }
        7 => format!("Preference {}", value.first().copied().unwrap_or(0)),
        8 => format!("Elapsed-Time {} ms", u32::from(u16_at(value, 0).unwrap_or(0)) * 10),
        9 => "Relay-Message".into(),
        11 => "Authentication".into(),
        13 => {
            let names = [
                "Success",
                "UnspecFail",
                "NoAddrsAvail",
                "NoBinding",
                "NotOnLink",
                "UseMulticast",
                "NoPrefixAvail",
            ];
            let code = u16_at(value, 0).unwrap_or(u16::MAX);
            let name = names.get(usize::from(code)).unwrap_or(&"unknown");
            format!("Status-Code {name} \"{}\"", printable(value.get(2..).unwrap_or_default()))
        }
        14 => "Rapid-Commit".into(),
        16 => "Vendor-Class".into(),
        17 => "Vendor-Specific".into(),
        18 => format!("Interface-Id 0x{}", hex(value)),
        19 => "Reconfigure-Message".into(),
        20 => "Reconfigure-Accept".into(),
        23 => format!("DNS-Servers {}", addresses()),
        24 => format!("Domain-Search-List 0x{}", hex(value)),
        31 => format!("SNTP-Servers {}", addresses()),
        32 => format!("Information-Refresh-Time {}", seconds(0)),
        39 => "Client-FQDN".into(),
        56 => "NTP-Server".into(),
        64 => "AFTR-Name".into(),
        67 => format!("Prefix-Exclude 0x{}", hex(value)),
        82 => format!("SOL_MAX_RT {}", seconds(0)),
        83 => format!("INF_MAX_RT {}", seconds(0)),
        _ => format!("option {kind} 0x{}", hex(value)),
    }
}
