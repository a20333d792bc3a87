//! What a control packet says, in words. Names, texts and addresses are among them; passwords, responses, challenges, keys
//! and cookies never are.

use alloc::format;
use alloc::string::String;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::memory::Part;
use crate::arp;
use crate::dhcp4::message::option as option4;
use crate::dhcp4::wire::{self as dhcp, Message as Dhcp4};
use crate::dhcp6::message::{Message as Dhcp6, MessageType};
use crate::dhcp6::option::{IaKind, Status, StatusCode};
use crate::ndp::message::{Message as NdpMessage, Packet as Ndp};
use crate::ppp::event::protocol_name;
use crate::ppp::text::printable;
use crate::pppoe::DiscoveryFrame;
use crate::settings::Authentication;
use crate::wire::auth::{PapRequest, chap_algorithm, chap_code, pap_code, pap_message};
use crate::wire::ethernet::{Header, ethertype};
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::ipv6::Ipv6;
use crate::wire::octets::u16_at;
use crate::wire::ppp::{Options, Packet, code, protocol};
use crate::wire::ppp_option::{ipcp_option, ipv6cp_option, lcp_option};
use crate::wire::pppoe::{Code, SessionPacket, tag};

/// Words that are made into a text when somebody asks.
#[derive(Debug, Clone)]
pub(crate) enum Words {
    Fixed(&'static str),
    Address(&'static str, IpAddr),
    Text(String),
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Words::Fixed(text) => f.write_str(text),
            Words::Address(text, address) => write!(f, "{text} {address}"),
            Words::Text(text) => f.write_str(text),
        }
    }
}

/// What an answer means, beyond its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hint {
    /// The address 0.0.0.0 was given.
    ZeroAddress,
    /// There is no prefix to be had.
    NoPrefix,
    /// A DHCP server says no.
    Nak,
    /// A demand for proof by some protocol is not agreed to.
    Authentication,
    /// The proof is not accepted.
    Refused,
}

/// A packet: the part that it belongs to, its words, and what it hints at.
pub(crate) type Heard = (Part, Words, Option<Hint>);

/// The name of a PADO's concentrator.
pub(crate) fn ac_name(frame: &DiscoveryFrame<'_>) -> String {
    printable(frame.packet.find(tag::AC_NAME).unwrap_or_default())
}

/// A discovery packet of ours or for us.
pub(crate) fn discovery(frame: &DiscoveryFrame<'_>) -> Option<Words> {
    let packet = &frame.packet;
    let name = |kind| packet.find(kind).map(printable).filter(|name| !name.is_empty());
    let error = [
        (tag::SERVICE_NAME_ERROR, "Service-Name-Error"),
        (tag::AC_SYSTEM_ERROR, "AC-System-Error"),
        (tag::GENERIC_ERROR, "Generic-Error"),
    ]
    .into_iter()
    .find_map(|(kind, name)| packet.find(kind).map(|text| (name, printable(text))));
    let peer = frame.source;
    Some(match (packet.code, error) {
        (Code::Padi, _) => match name(tag::SERVICE_NAME) {
            Some(service) => Words::Text(format!("PADI to everyone, for the service \"{service}\"")),
            None => Words::Fixed("PADI to everyone, for any service"),
        },
        (Code::Pado, None) => {
            let service =
                name(tag::SERVICE_NAME).map(|name| format!(", service \"{name}\"")).unwrap_or_default();
            Words::Text(format!("PADO of \"{}\" ({peer}){service}", name(tag::AC_NAME).unwrap_or_default()))
        }
        (Code::Padr, _) => Words::Text(format!("PADR to {}", frame.destination)),
        (Code::Pads, None) if packet.session != 0 => {
            Words::Text(format!("PADS of {peer}: session {}", packet.session))
        }
        (Code::Pads, None) => Words::Text(format!("PADS of {peer} without a session")),
        (Code::Padt, Some((_, text))) if !text.is_empty() => {
            Words::Text(format!("PADT for session {}: \"{text}\"", packet.session))
        }
        (Code::Padt, _) => Words::Text(format!("PADT for session {}", packet.session)),
        (code, Some((error, text))) => {
            let kind = if code == Code::Pado { "PADO" } else { "PADS" };
            Words::Text(format!("{kind} of {peer} with {error}: \"{text}\""))
        }
    })
}

/// The packet of a session in an Ethernet frame, from its PPP protocol on, and the session's number.
pub(crate) fn session(frame: &[u8]) -> Option<(u16, &[u8])> {
    let (header, payload) = Header::parse(frame)?;
    if header.ethertype != ethertype::PPPOE_SESSION {
        return None;
    }
    let packet = SessionPacket::parse(payload)?;
    Some((packet.session, packet.packet))
}

/// A PPP packet that is no network data, from its protocol on.
pub(crate) fn ppp(bytes: &[u8]) -> Option<Heard> {
    let (&number, information) = bytes.split_first_chunk()?;
    let packet = Packet::parse(information)?;
    Some(match u16::from_be_bytes(number) {
        protocol::LCP => lcp(packet),
        protocol::PAP => {
            let refused = packet.code() == pap_code::NAK;
            (Part::Authentication, pap(packet)?, refused.then_some(Hint::Refused))
        }
        protocol::CHAP => {
            let refused = packet.code() == chap_code::FAILURE;
            (Part::Authentication, chap(packet)?, refused.then_some(Hint::Refused))
        }
        protocol::IPCP => ipcp(packet),
        protocol::IPV6CP => (Part::Ipv6cp, ipv6cp(packet), None),
        _ => return None,
    })
}

fn code_name(code: u8) -> &'static str {
    match code {
        code::CONFIGURE_REQUEST => "Configure-Request",
        code::CONFIGURE_ACK => "Configure-Ack",
        code::CONFIGURE_NAK => "Configure-Nak",
        code::CONFIGURE_REJECT => "Configure-Reject",
        code::TERMINATE_REQUEST => "Terminate-Request",
        code::TERMINATE_ACK => "Terminate-Ack",
        code::CODE_REJECT => "Code-Reject",
        code::PROTOCOL_REJECT => "Protocol-Reject",
        code::ECHO_REQUEST => "Echo-Request",
        code::ECHO_REPLY => "Echo-Reply",
        code::DISCARD_REQUEST => "Discard-Request",
        code::IDENTIFICATION => "Identification",
        code::TIME_REMAINING => "Time-Remaining",
        _ => "a packet of an unknown code",
    }
}

/// A negotiation's packet with its options in words.
fn configured(of: &str, packet: Packet<'_>, option: impl Fn(u8, &[u8]) -> Option<String>) -> Words {
    let is_list = (code::CONFIGURE_REQUEST..=code::CONFIGURE_REJECT).contains(&packet.code());
    let mut text = format!("{of} {}", code_name(packet.code()));
    if packet.code() == code::TERMINATE_REQUEST && !printable(packet.data()).is_empty() {
        text.push_str(&format!(": \"{}\"", printable(packet.data())));
    }
    let options = Options::parse(packet.data()).filter(|_| is_list);
    for (index, words) in
        options.into_iter().flatten().filter_map(|it| option(it.kind, it.data)).take(8).enumerate()
    {
        text.push_str(if index == 0 { ": " } else { ", " });
        text.push_str(&words);
    }
    Words::Text(text)
}

fn lcp(packet: Packet<'_>) -> Heard {
    match packet.code() {
        code::ECHO_REQUEST => (Part::Echo, Words::Fixed("LCP Echo-Request"), None),
        code::ECHO_REPLY => (Part::Echo, Words::Fixed("LCP Echo-Reply"), None),
        code::PROTOCOL_REJECT => {
            let of = packet.rejected_protocol().map(|(protocol, _)| protocol);
            let (part, name) = match of {
                Some(protocol::IPCP | protocol::IPV4) => (Part::Ipcp, "LCP Protocol-Reject of IPCP"),
                Some(protocol::IPV6CP | protocol::IPV6) => (Part::Ipv6cp, "LCP Protocol-Reject of IPV6CP"),
                Some(protocol::PAP) => (Part::Authentication, "LCP Protocol-Reject of PAP"),
                Some(protocol::CHAP) => (Part::Authentication, "LCP Protocol-Reject of CHAP"),
                _ => (Part::Lcp, "LCP Protocol-Reject"),
            };
            (part, Words::Fixed(name), None)
        }
        code => {
            let refuses = code == code::CONFIGURE_NAK || code == code::CONFIGURE_REJECT;
            let mut options = Options::parse(packet.data()).into_iter().flatten();
            let proof = refuses && options.any(|option| option.kind == lcp_option::AUTHENTICATION);
            (Part::Lcp, configured("LCP", packet, lcp_words), proof.then_some(Hint::Authentication))
        }
    }
}

fn lcp_words(kind: u8, data: &[u8]) -> Option<String> {
    Some(match kind {
        lcp_option::MRU => format!("MRU {}", u16_at(data, 0)?),
        lcp_option::MAGIC => "magic number".into(),
        lcp_option::AUTHENTICATION => match (u16_at(data, 0)?, data.get(2)) {
            (protocol::PAP, _) => "authentication by PAP".into(),
            (protocol::CHAP, Some(&chap_algorithm::MD5)) => "authentication by CHAP with MD5".into(),
            (protocol::CHAP, Some(&chap_algorithm::MS_CHAP_V2)) => {
                format!("authentication by {}", protocol_name(Authentication::MsChapV2))
            }
            (protocol::CHAP, _) => "authentication by CHAP of an unknown kind".into(),
            (protocol::EAP, _) => "authentication by EAP".into(),
            (other, _) => format!("authentication by protocol 0x{other:04x}"),
        },
        other => format!("option {other}"),
    })
}

fn pap(packet: Packet<'_>) -> Option<Words> {
    let said = |kind: &str, text: Option<&[u8]>| {
        let text = printable(text.unwrap_or_default());
        Words::Text(if text.is_empty() { format!("PAP {kind}") } else { format!("PAP {kind}: \"{text}\"") })
    };
    Some(match packet.code() {
        pap_code::REQUEST => {
            let name = PapRequest::parse(packet.data())?.peer_id;
            Words::Text(format!("PAP Authenticate-Request as \"{}\"", printable(name)))
        }
        pap_code::ACK => said("Authenticate-Ack", pap_message(packet.data())),
        pap_code::NAK => said("Authenticate-Nak", pap_message(packet.data())),
        _ => return None,
    })
}

fn chap(packet: Packet<'_>) -> Option<Words> {
    use crate::wire::auth::ChapValue;
    let quoted = |kind: &str, text: &[u8]| {
        let text = printable(text);
        Words::Text(if text.is_empty() { format!("CHAP {kind}") } else { format!("CHAP {kind}: \"{text}\"") })
    };
    Some(match packet.code() {
        chap_code::CHALLENGE => {
            let name = ChapValue::parse(packet.data())?.name;
            Words::Text(format!("CHAP Challenge of \"{}\"", printable(name)))
        }
        chap_code::RESPONSE => {
            let name = ChapValue::parse(packet.data())?.name;
            Words::Text(format!("CHAP Response as \"{}\"", printable(name)))
        }
        chap_code::SUCCESS => quoted("Success", packet.data()),
        chap_code::FAILURE => quoted("Failure", packet.data()),
        _ => return None,
    })
}

fn ipcp(packet: Packet<'_>) -> Heard {
    let options = || Options::parse(packet.data()).into_iter().flatten();
    let zero = packet.code() == code::CONFIGURE_NAK || packet.code() == code::CONFIGURE_ACK;
    let zero = zero && options().any(|option| option.kind == ipcp_option::ADDRESS && option.u32() == Some(0));
    let words = configured("IPCP", packet, |kind, data| {
        let address = || data.first_chunk::<4>().map(|octets| Ipv4Addr::from(*octets));
        Some(match kind {
            ipcp_option::ADDRESS => format!("address {}", address()?),
            ipcp_option::PRIMARY_DNS | ipcp_option::SECONDARY_DNS => format!("DNS {}", address()?),
            other => format!("option {other}"),
        })
    });
    (Part::Ipcp, words, zero.then_some(Hint::ZeroAddress))
}

fn ipv6cp(packet: Packet<'_>) -> Words {
    configured("IPV6CP", packet, |kind, data| match kind {
        ipv6cp_option::INTERFACE_IDENTIFIER => {
            let id = u64::from_be_bytes(*data.first_chunk()?);
            Some(format!("interface identifier {id:016x}"))
        }
        other => Some(format!("option {other}")),
    })
}

/// A DHCPv4 message in an Ethernet frame, of a server or to one.
pub(crate) fn dhcp4(frame: &[u8]) -> Option<Heard> {
    const KEPT: [u8; 4] =
        [option4::MESSAGE_TYPE, option4::SERVER_IDENTIFIER, option4::REQUESTED_ADDRESS, option4::MESSAGE];
    let message = Dhcp4::parse(frame, dhcp::CLIENT_PORT, &KEPT)
        .or_else(|| Dhcp4::parse(frame, dhcp::SERVER_PORT, &KEPT))?;
    let kind = *message.options.get(&option4::MESSAGE_TYPE)?.first()?;
    let address = |code| {
        let octets = message.options.get(&code)?.first_chunk::<4>()?;
        Some(Ipv4Addr::from(*octets))
    };
    let server = address(option4::SERVER_IDENTIFIER).unwrap_or(Ipv4Addr::UNSPECIFIED);
    let words = match kind {
        1 => Words::Fixed("DHCPDISCOVER to everyone"),
        2 => Words::Text(format!("DHCPOFFER of {server}: {}", message.yiaddr)),
        3 => {
            let wanted = address(option4::REQUESTED_ADDRESS).unwrap_or(message.ciaddr);
            Words::Text(format!("DHCPREQUEST for {wanted}"))
        }
        4 => Words::Fixed("DHCPDECLINE"),
        5 => Words::Text(format!("DHCPACK of {server}: {}", message.yiaddr)),
        6 => {
            let text = message.options.get(&option4::MESSAGE).map(|text| printable(text)).unwrap_or_default();
            let text = if text.is_empty() { text } else { format!(": \"{text}\"") };
            Words::Text(format!("DHCPNAK of {server}{text}"))
        }
        _ => return None,
    };
    Some((Part::Dhcp4, words, (kind == 6).then_some(Hint::Nak)))
}

/// An ARP frame: a question, or who answers.
pub(crate) fn arp(frame: &[u8]) -> Option<Heard> {
    let packet = arp::Packet::parse(frame).ok()?;
    let words = match packet.operation {
        arp::Operation::Request => Words::Address("ARP question for", packet.target.into()),
        arp::Operation::Reply => Words::Address("ARP answer of", packet.sender.into()),
    };
    Some((Part::Neighbour, words, None))
}

/// A message of Neighbor Discovery that belongs to Router Discovery, in its IPv6 packet.
pub(crate) fn ndp(packet: &[u8]) -> Option<Heard> {
    let packet = Ndp::parse(packet).ok()?;
    let words = match packet.message {
        NdpMessage::RouterSolicitation { .. } => Words::Fixed("Router Solicitation to all routers"),
        NdpMessage::RouterAdvertisement(advertised) => {
            let life = match advertised.router_lifetime {
                0 => String::from(", not a default router"),
                secs => format!(", default router for {secs} s"),
            };
            Words::Text(format!("Router Advertisement of {}{life}", packet.source))
        }
        _ => return None,
    };
    Some((Part::Router, words, None))
}

/// A DHCPv6 message in its IPv6 packet.
pub(crate) fn dhcp6(packet: &[u8]) -> Option<Heard> {
    let udp = Ipv6::parse(packet)?.udp()?;
    let ports = [udp.source_port, udp.destination_port];
    if !ports.contains(&crate::dhcp6::CLIENT_PORT) && !ports.contains(&crate::dhcp6::SERVER_PORT) {
        return None;
    }
    let message = Dhcp6::parse(udp.payload)?;
    let name = match message.kind {
        MessageType::Solicit => "Solicit to all servers",
        MessageType::Advertise => "Advertise",
        MessageType::Request => "Request",
        MessageType::Confirm => "Confirm",
        MessageType::Renew => "Renew",
        MessageType::Rebind => "Rebind",
        MessageType::Reply => "Reply",
        MessageType::Release => "Release",
        MessageType::Decline => "Decline",
        MessageType::Reconfigure => "Reconfigure",
        MessageType::InformationRequest => "Information-request",
    };
    let mut text = format!("DHCPv6 {name}");
    let inner = || message.options.associations(IaKind::Prefixes);
    for prefix in inner().flat_map(|ia| ia.options.ia_prefixes()).take(4) {
        text.push_str(&format!(", prefix {}", prefix.prefix));
    }
    let bad = |status: &Status<'_>| status.code != StatusCode::Success;
    let status = message.options.status().filter(bad);
    let status = status.or_else(|| inner().filter_map(|ia| ia.options.status()).find(bad));
    let hint =
        status.is_some_and(|status| status.code == StatusCode::NoPrefixAvail).then_some(Hint::NoPrefix);
    if let Some(status) = status {
        text.push_str(&format!(": {}", status.code));
        let said = printable(status.message);
        if !said.is_empty() {
            text.push_str(&format!(", \"{said}\""));
        }
    }
    Some((Part::Dhcp6, Words::Text(text), hint))
}

/// An IP packet of the router's own that is routed: a question to a DNS server, or of the DHCPv4 client. With its source.
pub(crate) fn routed(packet: &[u8]) -> Option<(IpAddr, Heard)> {
    let (source, destination, ports) = udp_of(packet)?;
    match ports.1 {
        crate::dns::PORT => Some((source, (Part::Dns, Words::Address("question to", destination), None))),
        dhcp::SERVER_PORT => {
            Some((source, (Part::Dhcp4, Words::Address("DHCPREQUEST to", destination), None)))
        }
        _ => None,
    }
}

/// An IP packet for the router that is a DNS server's answer.
pub(crate) fn dns_answer(packet: &[u8]) -> Option<Heard> {
    let (source, _, ports) = udp_of(packet)?;
    (ports.0 == crate::dns::PORT).then_some((Part::Dns, Words::Address("answer of", source), None))
}

/// Addresses and ports of a UDP packet of either family.
fn udp_of(packet: &[u8]) -> Option<(IpAddr, IpAddr, (u16, u16))> {
    let (source, destination, udp): (IpAddr, IpAddr, &[u8]) = if packet.first()? >> 4 == 4 {
        let view = Ipv4::parse(packet)?;
        if view.protocol() != ipv4::UDP || view.is_fragment() {
            return None;
        }
        (view.source().into(), view.destination().into(), view.payload())
    } else {
        let view = Ipv6::parse(packet)?;
        if view.next_header() != ipv4::UDP {
            return None;
        }
        let (source, destination): (Ipv6Addr, Ipv6Addr) = (view.source(), view.destination());
        (source.into(), destination.into(), view.payload())
    };
    Some((source, destination, (u16_at(udp, 0)?, u16_at(udp, 2)?)))
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    /// Reads octets as everything that they could be.
    fn read(bytes: &[u8]) {
        let heard = [ppp(bytes), dhcp4(bytes), arp(bytes), ndp(bytes), dhcp6(bytes), dns_answer(bytes)];
        let heard = heard.into_iter().flatten().chain(routed(bytes).map(|(_, heard)| heard));
        let frame = DiscoveryFrame::parse(bytes).ok().and_then(|frame| discovery(&frame));
        let words = heard.map(|(_, words, _)| words).chain(frame);
        // Whatever is said, what is kept of it is a few lines.
        words.for_each(|words| assert!(words.to_string().len() < 8192));
        if let Some((_, packet)) = session(bytes) {
            read(packet);
        }
    }

    proptest! {
        #[test]
        fn any_octets_are_harmless(mut bytes: Vec<u8>, kind in 0usize..5) {
            read(&bytes);
            let heads: [&[u8]; 5] = [
                &[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0x63, 0x11, 0x07, 0, 0, 0, 60],
                &[0xc0, 0x21, 1, 1, 0, 40],
                &[0xc0, 0x23, 1, 1, 0, 40],
                &[0xc2, 0x23, 4, 1, 0, 40],
                &[0x80, 0x21, 3, 1, 0, 40],
            ];
            bytes.splice(0..0, heads[kind].iter().copied());
            for cut in 0..bytes.len() {
                read(&bytes[..cut]);
            }
        }
    }
}
