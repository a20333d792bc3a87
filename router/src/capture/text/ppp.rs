//! PPPoE (RFC 2516) and the protocols of PPP.

use std::fmt::Write as _;
use std::net::Ipv6Addr;

use super::{hex, ipv4, ipv6, printable, u16_at, u32_at, v4_at};

/// A discovery packet and its tags.
pub(super) fn discovery(out: &mut String, packet: &[u8]) {
    let (Some(&code), Some(session), Some(length)) = (packet.get(1), u16_at(packet, 2), u16_at(packet, 4))
    else {
        return out.push_str("PPPoE discovery, cut short");
    };
    let name = match code {
        0x09 => "PADI",
        0x07 => "PADO",
        0x19 => "PADR",
        0x65 => "PADS",
        0xa7 => "PADT",
        _ => "unknown code",
    };
    let _ = write!(out, "PPPoE {name}");
    if session != 0 {
        let _ = write!(out, ", session 0x{session:04x}");
    }
    let rest = packet.get(6..).unwrap_or_default();
    let mut rest = rest.get(..usize::from(length)).unwrap_or(rest);
    while let (Some(tag), Some(length)) = (u16_at(rest, 0), u16_at(rest, 2)) {
        let Some((value, after)) = rest.get(4..).and_then(|rest| rest.split_at_checked(length.into())) else {
            return out.push_str(", a tag that is cut short");
        };
        let (name, is_text) = match tag {
            0x0000 => return,
            0x0101 => ("Service-Name", true),
            0x0102 => ("AC-Name", true),
            0x0103 => ("Host-Uniq", false),
            0x0104 => ("AC-Cookie", false),
            0x0105 => ("Vendor-Specific", false),
            0x0110 => ("Relay-Session-Id", false),
            0x0120 => ("PPP-Max-Payload", false),
            0x0201 => ("Service-Name-Error", true),
            0x0202 => ("AC-System-Error", true),
            0x0203 => ("Generic-Error", true),
            _ => ("unknown tag", false),
        };
        let _ = match (tag, is_text) {
            (0x0120, _) => write!(out, " [{name} {}]", u16_at(value, 0).unwrap_or(0)),
            (_, true) => write!(out, " [{name} \"{}\"]", printable(value)),
            _ => write!(out, " [{name} 0x{}]", hex(value)),
        };
        rest = after;
    }
}

/// A session's frame.
pub(super) fn session(out: &mut String, packet: &[u8]) {
    let (Some(session), Some(length), Some(protocol)) =
        (u16_at(packet, 2), u16_at(packet, 4), u16_at(packet, 6))
    else {
        return out.push_str("PPPoE session, cut short");
    };
    let _ = write!(out, "PPPoE session 0x{session:04x}, ");
    let body = packet.get(8..).unwrap_or_default();
    let body = body.get(..usize::from(length).saturating_sub(2)).unwrap_or(body);
    match protocol {
        0x0021 => ipv4(out, body),
        0x0057 => ipv6(out, body),
        0xc021 => control(out, "LCP", body, lcp),
        0x8021 => control(out, "IPCP", body, ipcp),
        0x8057 => control(out, "IPV6CP", body, ipv6cp),
        0xc023 => pap(out, body),
        0xc223 => chap(out, body),
        other => {
            let _ = write!(out, "PPP protocol 0x{other:04x}");
        }
    }
}

/// A packet of LCP or a network's protocol (RFC 1661 §5).
fn control(out: &mut String, name: &str, packet: &[u8], option: fn(u8, &[u8]) -> String) {
    let (&[code, id, ..], Some(length)) = (packet, u16_at(packet, 2)) else {
        let _ = write!(out, "{name}, cut short");
        return;
    };
    let codes = [
        "Configure-Request",
        "Configure-Ack",
        "Configure-Nak",
        "Configure-Reject",
        "Terminate-Request",
        "Terminate-Ack",
        "Code-Reject",
        "Protocol-Reject",
        "Echo-Request",
        "Echo-Reply",
        "Discard-Request",
    ];
    let what = usize::from(code).checked_sub(1).and_then(|index| codes.get(index)).unwrap_or(&"unknown code");
    let _ = write!(out, "{name} {what}, id {id}");
    let mut rest = packet.get(4..usize::from(length)).or(packet.get(4..)).unwrap_or_default();
    match code {
        1..=4 => {
            while let [kind, length, ..] = *rest {
                let whole = rest.split_at_checked(length.into()).filter(|_| length >= 2);
                let Some((whole, after)) = whole else {
                    return out.push_str(", an option that is cut short");
                };
                let _ = write!(out, " [{}]", option(kind, whole.get(2..).unwrap_or_default()));
                rest = after;
            }
        }
        5 | 6 if !rest.is_empty() => {
            let _ = write!(out, " \"{}\"", printable(rest));
        }
        8 => {
            let _ = write!(out, ", protocol 0x{:04x}", u16_at(rest, 0).unwrap_or(0));
        }
        9 | 10 => {
            let _ = write!(out, ", magic 0x{:08x}", u32_at(rest, 0).unwrap_or(0));
        }
        _ => {}
    }
}

fn lcp(kind: u8, value: &[u8]) -> String {
    match (kind, u16_at(value, 0)) {
        (1, Some(size)) => format!("Maximum-Receive-Unit {size}"),
        (2, _) => format!("Async-Control-Character-Map 0x{}", hex(value)),
        (3, Some(0xc023)) => "Authentication-Protocol PAP".into(),
        (3, Some(0xc223)) => match value.get(2) {
            Some(5) => "Authentication-Protocol CHAP with MD5".into(),
            Some(0x80) => "Authentication-Protocol MS-CHAP".into(),
            Some(0x81) => "Authentication-Protocol MS-CHAPv2".into(),
            _ => "Authentication-Protocol CHAP".into(),
        },
        (3, Some(other)) => format!("Authentication-Protocol 0x{other:04x}"),
        (5, _) => format!("Magic-Number 0x{}", hex(value)),
        (7, _) => "Protocol-Field-Compression".into(),
        (8, _) => "Address-and-Control-Field-Compression".into(),
        _ => format!("option {kind} 0x{}", hex(value)),
    }
}

fn ipcp(kind: u8, value: &[u8]) -> String {
    let name = match kind {
        3 => "IP-Address",
        129 => "Primary-DNS-Server-Address",
        130 => "Primary-NBNS-Server-Address",
        131 => "Secondary-DNS-Server-Address",
        132 => "Secondary-NBNS-Server-Address",
        2 => return format!("IP-Compression-Protocol 0x{}", hex(value)),
        _ => return format!("option {kind} 0x{}", hex(value)),
    };
    format!("{name} {}", v4_at(value, 0).map_or_else(|| "cut short".into(), |address| address.to_string()))
}

fn ipv6cp(kind: u8, value: &[u8]) -> String {
    match (kind, value.first_chunk::<8>()) {
        (1, Some(identifier)) => {
            let mut address = [0; 16];
            address[8..].copy_from_slice(identifier);
            format!("Interface-Identifier {}", Ipv6Addr::from(address))
        }
        _ => format!("option {kind} 0x{}", hex(value)),
    }
}

fn pap(out: &mut String, packet: &[u8]) {
    let [code, id, ..] = *packet else { return out.push_str("PAP, cut short") };
    let name = ["Authenticate-Request", "Authenticate-Ack", "Authenticate-Nak"];
    let name = usize::from(code).checked_sub(1).and_then(|index| name.get(index)).unwrap_or(&"unknown code");
    // Behind a request's name is the password: of a packet whose lengths are wrong nothing is shown.
    let text = packet.get(5..).unwrap_or_default();
    let text = text.get(..packet.get(4).copied().unwrap_or(0).into()).unwrap_or_default();
    let what = if code == 1 { "user" } else { "message" };
    let _ = write!(out, "PAP {name}, id {id}, {what} \"{}\"", printable(text));
}

fn chap(out: &mut String, packet: &[u8]) {
    let [code, id, ..] = *packet else { return out.push_str("CHAP, cut short") };
    let name = ["Challenge", "Response", "Success", "Failure"];
    let name = usize::from(code).checked_sub(1).and_then(|index| name.get(index)).unwrap_or(&"unknown code");
    let rest = packet.get(4..).unwrap_or_default();
    let _ = match code {
        1 | 2 => {
            let name_at = usize::from(rest.first().copied().unwrap_or(0)) + 1;
            write!(
                out,
                "CHAP {name}, id {id}, name \"{}\"",
                printable(rest.get(name_at..).unwrap_or_default())
            )
        }
        _ => write!(out, "CHAP {name}, id {id}, message \"{}\"", printable(rest)),
    };
}
