//! A frame as a line of text: reads like tcpdump's, and names what it knows: PPPoE's tags, the packets and options of PPP's
//! protocols, DHCP and DHCPv6. What is cut or wrong is told as far as it goes. Nothing that a frame says reaches the terminal but printable
//! characters.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use data_encoding::HEXLOWER;
use genkan_netstack::id::Mac;
use genkan_netstack::wire::octets::{u16_at, u32_at};

use super::Direction;

mod dhcp;
mod ppp;

/// What a line is made of.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// Time since the Unix epoch.
    pub at: Duration,
    /// The point's name.
    pub point: &'a str,
    /// Which way it went, where that is known.
    pub direction: Option<Direction>,
    /// The frame, from its Ethernet header on.
    pub bytes: &'a [u8],
    /// Number of octets that it had.
    pub length: usize,
    /// What is said of it.
    pub comment: &'a str,
}

/// The line, without its end. The time is of the day, in UTC.
pub fn line(shown: &Shown<'_>) -> String {
    let (second, micro) = (shown.at.as_secs() % 86_400, shown.at.subsec_micros());
    let mut out = format!("{:02}:{:02}:{:02}.{micro:06} ", second / 3600, second / 60 % 60, second % 60);
    let way = match shown.direction {
        Some(Direction::Received) => " <",
        Some(Direction::Sent) => " >",
        None => "",
    };
    let _ = write!(out, "{}{way} ", shown.point);
    ethernet(&mut out, shown.bytes);
    let _ = write!(out, ", length {}", shown.length);
    if !shown.comment.is_empty() {
        let _ = write!(out, "\n    {}", printable(shown.comment.as_bytes()));
    }
    out
}

/// Text of somebody else's, safe for a terminal.
fn printable(text: &[u8]) -> String {
    let safe = |c: char| if c.is_control() || c == char::REPLACEMENT_CHARACTER { '.' } else { c };
    String::from_utf8_lossy(text).chars().map(safe).collect()
}

fn v4_at(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    u32_at(bytes, at).map(Ipv4Addr::from)
}

fn v6_at(bytes: &[u8], at: usize) -> Option<Ipv6Addr> {
    bytes.get(at..)?.first_chunk::<16>().copied().map(Ipv6Addr::from)
}

fn mac_at(bytes: &[u8], at: usize) -> Option<Mac> {
    Mac::read(bytes.get(at..)?)
}

fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

fn ethernet(out: &mut String, frame: &[u8]) {
    // An empty header stands before packets that have none.
    if frame.get(..12).is_some_and(|addresses| addresses != [0; 12])
        && let (Some(to), Some(from)) = (mac_at(frame, 0), mac_at(frame, 6))
    {
        let _ = write!(out, "{from} > {to}, ");
    }
    *out += &words(frame);
}

/// What a frame carries, without the stations' addresses. Passwords are left out; whatever else is secret is the caller's
/// to overwrite.
pub fn words(frame: &[u8]) -> String {
    let mut out = String::new();
    let Some(mut ethertype) = u16_at(frame, 12) else { return "shorter than an Ethernet header".into() };
    let mut payload = frame.get(14..).unwrap_or_default();
    while matches!(ethertype, 0x8100 | 0x88a8) {
        let (Some(tag), Some(next)) = (u16_at(payload, 0), u16_at(payload, 2)) else { break };
        let _ = write!(out, "vlan {}, priority {}, ", tag & 0xfff, tag >> 13);
        (ethertype, payload) = (next, payload.get(4..).unwrap_or_default());
    }
    match ethertype {
        0x0800 => ipv4(&mut out, payload),
        0x86dd => ipv6(&mut out, payload),
        0x0806 => arp(&mut out, payload),
        0x8863 => ppp::discovery(&mut out, payload),
        0x8864 => ppp::session(&mut out, payload),
        other => {
            let _ = write!(out, "ethertype 0x{other:04x}");
        }
    }
    out
}

fn arp(out: &mut String, packet: &[u8]) {
    let (Some(operation), Some(sender), Some(target)) =
        (u16_at(packet, 6), v4_at(packet, 14), v4_at(packet, 24))
    else {
        return out.push_str("ARP, cut short");
    };
    let _ = match operation {
        1 => write!(out, "ARP, who has {target}? tell {sender}"),
        2 => write!(out, "ARP, {sender} is at {}", mac_at(packet, 8).unwrap_or_default()),
        other => write!(out, "ARP, operation {other}"),
    };
}

fn ipv4(out: &mut String, packet: &[u8]) {
    let (Some(source), Some(destination), Some(&protocol), Some(fragment), Some(total), Some(&first)) = (
        v4_at(packet, 12),
        v4_at(packet, 16),
        packet.get(9),
        u16_at(packet, 6),
        u16_at(packet, 2),
        packet.first(),
    ) else {
        return out.push_str("IP, cut short");
    };
    let packet = packet.get(..usize::from(total)).unwrap_or(packet);
    let body = packet.get(usize::from(first & 0xf) * 4..).unwrap_or_default();
    out.push_str("IP ");
    if fragment & 0x1fff != 0 {
        let offset = usize::from(fragment & 0x1fff) * 8;
        let _ = write!(out, "{source} > {destination}: fragment at {offset}");
        return;
    }
    transport(out, [source.to_string(), destination.to_string()], protocol, body);
    if fragment & 0x2000 != 0 {
        out.push_str(", first fragment");
    }
}

fn ipv6(out: &mut String, packet: &[u8]) {
    let (Some(source), Some(destination), Some(&protocol), Some(length)) =
        (v6_at(packet, 8), v6_at(packet, 24), packet.get(6), u16_at(packet, 4))
    else {
        return out.push_str("IP6, cut short");
    };
    let body = packet.get(40..).unwrap_or_default();
    let body = body.get(..usize::from(length)).unwrap_or(body);
    out.push_str("IP6 ");
    // MLD has an option before it.
    let (protocol, body) = match (protocol, body) {
        (0, [next, length, ..]) => (*next, body.get((usize::from(*length) + 1) * 8..).unwrap_or_default()),
        (protocol, body) => (protocol, body),
    };
    transport(out, [source.to_string(), destination.to_string()], protocol, body);
}

fn transport(out: &mut String, [source, destination]: [String; 2], protocol: u8, body: &[u8]) {
    let ports = u16_at(body, 0).zip(u16_at(body, 2));
    match (protocol, ports) {
        (6, Some((from, to))) => {
            let _ = write!(out, "{source}.{from} > {destination}.{to}: TCP");
            tcp(out, body);
        }
        (17, Some((from, to))) => {
            let _ = write!(out, "{source}.{from} > {destination}.{to}: UDP");
            let payload = body.get(8..).unwrap_or_default();
            match (from, to) {
                (67 | 68, 67 | 68) => dhcp::dhcp4(out, payload),
                (546 | 547, 546 | 547) => dhcp::dhcp6(out, payload),
                (53, _) | (_, 53) => dns(out, payload),
                (_, 4789) if payload.len() > 8 => {
                    let vni = u32_at(payload, 4).unwrap_or(0) >> 8;
                    let _ = write!(out, ", VXLAN {vni}: ");
                    ethernet(out, payload.get(8..).unwrap_or_default());
                }
                _ => {}
            }
        }
        (1, _) => {
            let _ = write!(out, "{source} > {destination}: ICMP {}", icmp4(body));
        }
        (58, _) => {
            let _ = write!(out, "{source} > {destination}: ICMPv6 {}", icmp6(body));
        }
        (other, _) => {
            let _ = write!(out, "{source} > {destination}: protocol {other}");
        }
    }
}

fn tcp(out: &mut String, segment: &[u8]) {
    let (Some(sequence), Some(acknowledged), Some(&flags), Some(window)) =
        (u32_at(segment, 4), u32_at(segment, 8), segment.get(13), u16_at(segment, 14))
    else {
        return out.push_str(", cut short");
    };
    let names = [(2, "S"), (1, "F"), (4, "R"), (8, "P"), (32, "U"), (16, ".")];
    let set: String = names.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| *name).collect();
    let _ = write!(out, " [{set}] seq {sequence}");
    if flags & 16 != 0 {
        let _ = write!(out, " ack {acknowledged}");
    }
    let _ = write!(out, " win {window}");
}

/// A DNS message: its questions and how many answers there are.
fn dns(out: &mut String, message: &[u8]) {
    use hickory_proto::op::Message;
    let Ok(message) = Message::from_vec(message) else { return out.push_str(", DNS that cannot be read") };
    out.push_str(", DNS");
    for query in &message.queries {
        let _ = write!(out, " {}? {}", query.query_type(), printable(query.name().to_string().as_bytes()));
    }
    if !message.answers.is_empty() {
        let _ = write!(out, ", {} answers", message.answers.len());
    }
}

fn icmp4(message: &[u8]) -> String {
    let [kind, code, ..] = *message else { return "cut short".into() };
    let id = u16_at(message, 4).unwrap_or(0);
    let sequence = u16_at(message, 6).unwrap_or(0);
    match (kind, code) {
        (8, _) => format!("echo request, id {id}, seq {sequence}"),
        (0, _) => format!("echo reply, id {id}, seq {sequence}"),
        (3, 0) => "network unreachable".into(),
        (3, 1) => "host unreachable".into(),
        (3, 3) => "port unreachable".into(),
        (3, 4) => format!("fragmentation needed, MTU {sequence}"),
        (3, 13) => "administratively prohibited".into(),
        (11, 0) => "time exceeded in transit".into(),
        _ => format!("type {kind}, code {code}"),
    }
}

fn icmp6(message: &[u8]) -> String {
    let [kind, code, ..] = *message else { return "cut short".into() };
    let target = || v6_at(message, 8).map_or_else(String::new, |target| target.to_string());
    match kind {
        1 => format!("destination unreachable, code {code}"),
        2 => format!("packet too big, MTU {}", u32_at(message, 4).unwrap_or(0)),
        3 => "time exceeded in transit".into(),
        128 => format!("echo request, id {}", u16_at(message, 4).unwrap_or(0)),
        129 => format!("echo reply, id {}", u16_at(message, 4).unwrap_or(0)),
        130..=132 | 143 => "multicast listener discovery".into(),
        133 => "router solicitation".into(),
        134 => router_advertisement(message),
        135 => format!("neighbour solicitation, who has {}", target()),
        136 => format!("neighbour advertisement, target is {}", target()),
        _ => format!("type {kind}, code {code}"),
    }
}

fn router_advertisement(message: &[u8]) -> String {
    let flags = message.get(5).copied().unwrap_or(0);
    let mut text = format!("router advertisement, lifetime {} s", u16_at(message, 6).unwrap_or(0));
    for (bit, name) in [(0x80, "managed"), (0x40, "other")] {
        if flags & bit != 0 {
            let _ = write!(text, ", {name}");
        }
    }
    let mut rest = message.get(16..).unwrap_or_default();
    while let [kind, units, ..] = *rest {
        let Some((option, after)) = rest.split_at_checked(usize::from(units) * 8).filter(|_| units > 0)
        else {
            break;
        };
        let _ = match kind {
            3 => {
                let prefix = v6_at(option, 16).unwrap_or(Ipv6Addr::UNSPECIFIED);
                let [valid, preferred] = [4, 8].map(|at| u32_at(option, at).unwrap_or(0));
                write!(text, ", prefix {prefix}/{} valid {valid} s preferred {preferred} s", option[2])
            }
            5 => write!(text, ", MTU {}", u32_at(option, 4).unwrap_or(0)),
            25 => write!(text, ", DNS {}", v6_at(option, 8).unwrap_or(Ipv6Addr::UNSPECIFIED)),
            _ => Ok(()),
        };
        rest = after;
    }
    text
}

#[cfg(test)]
mod tests;
