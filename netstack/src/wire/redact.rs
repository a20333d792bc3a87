//! Takes secrets out of captured frames.
//!
//! [`redact`] overwrites, in place, what a reader could learn a password from:
//!
//! - in PPPoE, the password of a PAP Authenticate-Request (RFC 1334 §2.2.1) and the value of a CHAP Response (RFC 1994 §4.1;
//!   MS-CHAPv2 has its two responses there, RFC 2759 §4), the authenticator of MS-CHAPv2's Success and the challenge of its Failure (§5, §6),
//!   an EAP Response's data (RFC 3748 §5), and any of these that comes back inside an LCP Protocol-Reject or Code-Reject;
//! - in RADIUS of hosts that pass by (the router itself does not speak it), the attributes that are passwords, responses or keys (RFC 2865, RFC 2548, RFC 2868);
//! - all of it in an Ethernet frame that a VXLAN tunnel carries (RFC 7348), which itself may be in a PPPoE session.
//!
//! WireGuard's messages have nothing to overwrite: keys never pass, and what identifies a peer is encrypted. Lengths stay as they are, PPPoE has no
//! checksum, and that of UDP is put right.
//!
//! Length fields are not trusted: what cannot be told apart is overwritten up to the end of the frame.

use crate::wire::checksum::{Delta, Sum};
use crate::wire::ethernet::{Header, ethertype};
use crate::wire::ipv4::UDP;
use crate::wire::octets::{set_u16, u8_at, u16_at};
use crate::wire::ppp::protocol::{CHAP, EAP, LCP, PAP};

/// The octet that stands where a secret was.
pub const FILLER: u8 = b'*';

/// Frames inside frames that are looked into.
const DEEPEST: usize = 4;
/// PPP's numbers of IPv4 and IPv6 (RFC 1332 §2, RFC 5072 §3).
const PPP_IPV4: u16 = 0x0021;
const PPP_IPV6: u16 = 0x0057;
const UDP_HEADER: usize = 8;
const IPV6_HEADER: usize = 40;
const VXLAN_HEADER: usize = 8;
/// UDP port of VXLAN (RFC 7348 §8).
const VXLAN: u16 = 4789;
/// UDP ports of RADIUS: authentication and accounting, and those of old (RFC 2865 §3, RFC 2866 §3).
const RADIUS: [u16; 4] = [1812, 1813, 1645, 1646];
const RADIUS_HEADER: usize = 20;
/// Attributes of RADIUS that hold a password, a response or a key: User-Password, CHAP-Password, Vendor-Specific (the keys
/// and responses of RFC 2548), Tunnel-Password (RFC 2868 §3.5), ARAP-Password, EAP-Message.
const RADIUS_SECRETS: [u8; 6] = [2, 3, 26, 69, 70, 79];

/// Overwrites the secrets in an Ethernet frame, which may be cut short, and says whether there were any. Frames with up
/// to two VLAN tags are understood.
pub fn redact(frame: &mut [u8]) -> bool {
    redact_frame(frame, DEEPEST)
}

fn redact_frame(frame: &mut [u8], depth: usize) -> bool {
    let Some(mut offset) = Header::LEN.checked_sub(2) else { return false };
    for _ in 0..3 {
        match ethertype_at(frame, offset) {
            Some(ethertype::VLAN | ethertype::SERVICE_VLAN) => offset = offset.saturating_add(4),
            Some(ethertype::PPPOE_SESSION) => {
                let ppp = offset.saturating_add(2 + crate::wire::pppoe::HEADER_LEN);
                let Some(packet) = frame.get_mut(ppp..) else { return false };
                return match u16_at(packet, 0) {
                    Some(PPP_IPV4 | PPP_IPV6) => {
                        packet.get_mut(2..).is_some_and(|packet| redact_ip(packet, depth))
                    }
                    _ => redact_ppp(packet),
                };
            }
            Some(ethertype::IPV4 | ethertype::IPV6) => {
                let packet = frame.get_mut(offset.saturating_add(2)..);
                return packet.is_some_and(|packet| redact_ip(packet, depth));
            }
            _ => return false,
        }
    }
    false
}

fn ethertype_at(frame: &[u8], offset: usize) -> Option<u16> {
    frame.get(offset..)?.first_chunk::<2>().copied().map(u16::from_be_bytes)
}

/// `packet` begins at its IP header.
fn redact_ip(packet: &mut [u8], depth: usize) -> bool {
    let version = u8_at(packet, 0).map(|first| first >> 4);
    let (header, protocol) = match version {
        // A later fragment has no ports.
        Some(4) if u16_at(packet, 6).is_none_or(|fragment| fragment & 0x1fff != 0) => return false,
        Some(4) => (usize::from(u8_at(packet, 0).unwrap_or(0) & 0x0f).saturating_mul(4), u8_at(packet, 9)),
        Some(6) => (IPV6_HEADER, u8_at(packet, 6)),
        _ => return false,
    };
    match protocol {
        Some(UDP) => packet.get_mut(header..).is_some_and(|datagram| redact_udp(datagram, depth)),
        _ => false,
    }
}

fn redact_udp(datagram: &mut [u8], depth: usize) -> bool {
    let (Some(source), Some(destination), Some(checksum)) =
        (u16_at(datagram, 0), u16_at(datagram, 2), u16_at(datagram, 6))
    else {
        return false;
    };
    let is_radius = RADIUS.contains(&source) || RADIUS.contains(&destination);
    if !is_radius && destination != VXLAN {
        return false;
    }
    let Some((header, payload)) = datagram.split_at_mut_checked(UDP_HEADER) else { return false };
    let before = Sum::of(payload);
    let found = match payload.get_mut(VXLAN_HEADER..) {
        _ if is_radius => redact_radius(payload),
        Some(inner) if depth > 1 => redact_frame(inner, depth.saturating_sub(1)),
        _ => false,
    };
    if found {
        let delta = Delta::of(before.value(), Sum::of(payload).value());
        set_u16(header, 6, delta.apply_udp(checksum));
    }
    found
}

/// `message` begins at RADIUS's code field.
fn redact_radius(message: &mut [u8]) -> bool {
    let mut rest = message.get_mut(RADIUS_HEADER..).unwrap_or_default();
    let mut found = false;
    loop {
        let (kind, length) = match rest {
            [kind, length, ..] => (*kind, usize::from(*length)),
            [..] => return found,
        };
        // Where one attribute's length is wrong, nobody knows where the next begins.
        if length < 2 || length > rest.len() {
            return rest.get_mut(1..).is_some_and(blank) || found;
        }
        let (attribute, after) = core::mem::take(&mut rest).split_at_mut(length);
        if RADIUS_SECRETS.contains(&kind) {
            found |= attribute.get_mut(2..).is_some_and(blank);
        }
        rest = after;
    }
}

/// `packet` begins at the PPP protocol field, or at the address and control fields that PPPoE should not have.
fn redact_ppp(packet: &mut [u8]) -> bool {
    let mut packet = match packet {
        [0xff, 0x03, rest @ ..] => rest,
        packet => packet,
    };
    // Each turn takes one rejected packet out of the packet that rejects it.
    loop {
        let Some((&mut protocol, body)) = packet.split_first_chunk_mut::<2>() else { return false };
        packet = match (u16::from_be_bytes(protocol), body) {
            (PAP, body) => return redact_pap(body),
            (CHAP, [3 | 4, _, _, _, message @ ..]) => return redact_message(message),
            (CHAP, [code, _, _, _, data @ ..]) if *code != 1 => return redact_value(data),
            (EAP, [code, _, _, _, data @ ..]) if !matches!(code, 1 | 3 | 4) => return redact_eap(data),
            (LCP, [8, _, _, _, rejected @ ..]) => rejected,
            (LCP, [7, _, _, _, rejected @ ..]) => match skip_code_rejects(rejected) {
                Some(rejected) => rejected,
                None => return false,
            },
            _ => return false,
        };
    }
}

/// From an LCP packet inside a Code-Reject, what a Protocol-Reject in it had rejected.
fn skip_code_rejects(mut packet: &mut [u8]) -> Option<&mut [u8]> {
    loop {
        packet = match packet {
            [7, _, _, _, rejected @ ..] => rejected,
            [8, _, _, _, rejected @ ..] => return Some(rejected),
            _ => return None,
        };
    }
}

/// `packet` begins at PAP's code field. Acks and Naks (2, 3) carry a message only.
fn redact_pap(packet: &mut [u8]) -> bool {
    match packet {
        [2 | 3, ..] => false,
        [_, _, l0, l1, data @ ..] => {
            // Peer-ID and both lengths stay when they agree with the packet's length, and it is text.
            let length = usize::from(u16::from_be_bytes([*l0, *l1]));
            let name = data.first().map_or(0, |&name| usize::from(name));
            let end = name.saturating_add(1);
            let secret = data.get(end).map_or(0, |&secret| usize::from(secret));
            let agree = length == name.saturating_add(secret).saturating_add(6);
            let stays = agree && data.get(1..end).is_some_and(is_text);
            data.get_mut(if stays { end.saturating_add(1) } else { 0 }..).is_some_and(blank)
        }
        _ => false,
    }
}

/// `data` begins at CHAP's value size.
fn redact_value(data: &mut [u8]) -> bool {
    let Some((&mut size, rest)) = data.split_first_mut() else { return false };
    match rest.split_at_mut_checked(usize::from(size)) {
        // A name alone follows the value, and it is text. A size that no algorithm has is not believed, nor is one that
        // makes a name of what is none.
        Some((value, name)) if matches!(size, 16 | 49) && is_text(name) => blank(value),
        _ => blank(rest),
    }
}

/// The hexadecimal digits behind `S=` and `C=` of MS-CHAPv2's messages.
fn redact_message(message: &mut [u8]) -> bool {
    let mut found = false;
    let mut is_secret = false;
    let mut last = 0;
    for octet in message {
        is_secret = match (last, *octet) {
            (b'S' | b'C', b'=') => true,
            _ => is_secret && octet.is_ascii_hexdigit(),
        };
        last = *octet;
        if is_secret && last != b'=' {
            *octet = FILLER;
            found = true;
        }
    }
    found
}

fn is_text(name: &[u8]) -> bool {
    core::str::from_utf8(name).is_ok_and(|name| !name.chars().any(char::is_control))
}

/// `data` begins at the EAP type. Identity, Notification and Nak (1 to 3) have no secrets.
fn redact_eap(data: &mut [u8]) -> bool {
    match data {
        [1..=3, ..] => false,
        [_, data @ ..] => blank(data),
        [] => false,
    }
}

fn blank(secret: &mut [u8]) -> bool {
    secret.fill(FILLER);
    !secret.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    const SECRET: &[u8] = b"c4n4ry-s3cr3t!!!";

    fn ppp(protocol: u16, code: u8, data: &[&[u8]]) -> Vec<u8> {
        let data = data.concat();
        let mut packet = protocol.to_be_bytes().to_vec();
        packet.extend([code, 7]);
        packet.extend(u16::try_from(data.len() + 4).unwrap().to_be_bytes());
        packet.extend(data);
        packet
    }

    fn pap() -> Vec<u8> {
        ppp(PAP, 1, &[&[5], b"peter", &[16], SECRET])
    }

    fn frame(vlans: usize, ppp: &[u8]) -> Vec<u8> {
        let mut frame = [2; 12].to_vec();
        for vlan in 0..vlans {
            frame.extend(if vlan == 0 { [0x88, 0xa8, 0, 6] } else { [0x81, 0, 0, 7] });
        }
        frame.extend([0x88, 0x64, 0x11, 0, 0, 9]);
        frame.extend(u16::try_from(ppp.len()).unwrap().to_be_bytes());
        frame.extend(ppp);
        frame
    }

    fn holds_secret(frame: &[u8]) -> bool {
        frame.windows(4).any(|part| SECRET.windows(4).any(|secret| secret == part))
    }

    /// Every kind of packet that holds the secret.
    fn bearers() -> Vec<Vec<u8>> {
        let mschap = [&[1; 16], &[0; 8][..], SECRET, &SECRET[..8], &[0]].concat();
        let rejected = ppp(LCP, 8, &[&pap()]);
        Vec::from([
            pap(),
            ppp(PAP, 1, &[&[0], &[16], SECRET]),
            ppp(PAP, 9, &[&[0], &[16], SECRET]),
            ppp(CHAP, 2, &[&[16], SECRET, b"peter"]),
            ppp(CHAP, 2, &[&[49], &mschap, b"peter"]),
            ppp(CHAP, 2, &[&[3], SECRET, b"peter"]),
            ppp(EAP, 2, &[&[4, 16], SECRET]),
            rejected.clone(),
            ppp(LCP, 7, &[&rejected[2..]]),
            [&[0xff, 0x03], &pap()[..]].concat(),
        ])
    }

    #[test]
    fn tr124_6_passwords_and_responses_are_blanked_and_lengths_kept() {
        for vlans in 0..=2 {
            for packet in bearers() {
                let mut bytes = frame(vlans, &packet);
                let before = bytes.clone();
                assert!(redact(&mut bytes));
                assert!(!holds_secret(&bytes), "{bytes:02x?}");
                assert_eq!(bytes.len(), before.len());
                assert_eq!(bytes[..20], before[..20], "headers stay");
            }
        }
        let mut bytes = frame(0, &pap());
        redact(&mut bytes);
        assert!(bytes.windows(5).any(|part| part == b"peter"), "the name stays");
        let mut bytes = frame(0, &ppp(CHAP, 2, &[&[16], SECRET, b"peter"]));
        redact(&mut bytes);
        assert!(bytes.ends_with(b"peter"), "the name stays");
    }

    #[test]
    fn tr124_6_no_truncation_leaves_a_secret() {
        for packet in bearers() {
            let bytes = frame(1, &packet);
            for len in 0..=bytes.len() {
                let mut cut = bytes[..len].to_vec();
                redact(&mut cut);
                assert!(!holds_secret(&cut), "cut at {len}: {cut:02x?}");
            }
        }
    }

    #[test]
    fn tr124_6_no_wrong_length_leaves_a_secret() {
        // Behind the Ethernet type: PPPoE's and PPP's lengths, the name's and the value's.
        for packet in
            [pap(), ppp(CHAP, 2, &[&[16], SECRET, b""]), ppp(CHAP, 2, &[&[49], SECRET, SECRET, SECRET])]
        {
            let bytes = frame(0, &packet);
            for at in [14, 15, 16, 17, 18, 19, 24, 25] {
                for value in 0..=255 {
                    let mut wrong = bytes.clone();
                    wrong[at] = value;
                    redact(&mut wrong);
                    assert!(!holds_secret(&wrong), "octet {at} = {value}");
                }
            }
        }
        for length in 0..=255 {
            let mut wrong = frame(0, &ppp(PAP, 1, &[&[length], &[16], SECRET]));
            redact(&mut wrong);
            assert!(!holds_secret(&wrong), "name length {length}");
        }
    }

    #[test]
    fn tr124_6_no_password_is_taken_for_a_name() {
        // Two wrong lengths that agree make the name longer than the packet.
        let mut bytes = frame(0, &pap());
        bytes[24..27].copy_from_slice(&[0, 202, 196]);
        assert!(redact(&mut bytes));
        assert!(!holds_secret(&bytes));
    }

    #[test]
    fn tr124_6_no_response_is_taken_for_a_name() {
        let mut response = [&[1; 16], &[0; 8][..], &[0xc4; 8], SECRET, &[0]].concat();
        for value in 0..=255 {
            let mut wrong = frame(0, &ppp(CHAP, 2, &[&[value], &response, b"peter"]));
            assert!(redact(&mut wrong));
            assert!(!holds_secret(&wrong), "size {value}");
        }
        // Cut short, its size says 16 and it looks like one.
        response.truncate(40);
        let mut wrong = frame(0, &ppp(CHAP, 2, &[&[16], &response]));
        redact(&mut wrong);
        assert!(!holds_secret(&wrong));
    }

    fn udp(version: u8, ports: [u16; 2], payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len() + 8).unwrap();
        let mut datagram: Vec<u8> = ports.iter().flat_map(|port| port.to_be_bytes()).collect();
        datagram.extend(length.to_be_bytes());
        datagram.extend([0, 0]);
        datagram.extend(payload);
        let (source, destination) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        let (six, there) = (core::net::Ipv6Addr::LOCALHOST, core::net::Ipv6Addr::UNSPECIFIED);
        let pseudo = match version {
            4 => Sum::pseudo_v4(source, destination, UDP, length),
            _ => Sum::pseudo_v6(six, there, UDP, length.into()),
        };
        let checksum = pseudo.plus(Sum::of(&datagram)).udp_checksum();
        set_u16(&mut datagram, 6, checksum);
        let mut packet = match version {
            4 => {
                let mut header = [0x45, 0, 0, 0, 0, 0, 0, 0, 64, UDP, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
                header[2..4].copy_from_slice(&(length + 20).to_be_bytes());
                header.to_vec()
            }
            _ => {
                let mut header = Vec::from([0x60, 0, 0, 0]);
                header.extend(length.to_be_bytes());
                header.extend([UDP, 64]);
                header.extend(six.octets());
                header.extend(there.octets());
                header
            }
        };
        packet.extend(datagram);
        packet
    }

    /// True when the UDP checksum of a packet of [`udp`] is right.
    fn sums_up(packet: &[u8]) -> bool {
        let (pseudo, datagram) = if packet[0] >> 4 == 4 {
            let datagram = &packet[20..];
            let length = u16::try_from(datagram.len()).unwrap();
            (Sum::pseudo_v4([192, 0, 2, 1].into(), [192, 0, 2, 2].into(), UDP, length), datagram)
        } else {
            let datagram = &packet[40..];
            let length = u32::try_from(datagram.len()).unwrap();
            (
                Sum::pseudo_v6(core::net::Ipv6Addr::LOCALHOST, core::net::Ipv6Addr::UNSPECIFIED, UDP, length),
                datagram,
            )
        };
        pseudo.plus(Sum::of(datagram)).is_right()
    }

    fn ethernet(packet: &[u8]) -> Vec<u8> {
        let ethertype = if packet[0] >> 4 == 4 { [8, 0] } else { [0x86, 0xdd] };
        [&[2; 12][..], &ethertype, packet].concat()
    }

    #[test]
    fn tr124_6_secrets_inside_a_tunnel_are_blanked_and_its_checksum_is_right() {
        for (version, packet) in
            [4, 6].into_iter().flat_map(|version| bearers().into_iter().map(move |p| (version, p)))
        {
            let tunnelled = [&[8, 0, 0, 0, 0, 0, 42, 0][..], &frame(1, &packet)].concat();
            let outer = udp(version, [50_000, VXLAN], &tunnelled);
            let protocol: &[u8] = if version == 4 { &[0, 0x21] } else { &[0, 0x57] };
            for mut bytes in [ethernet(&outer), frame(0, &[protocol, &outer].concat())] {
                let at = bytes.len() - outer.len();
                assert!(sums_up(&bytes[at..]) && redact(&mut bytes));
                assert!(!holds_secret(&bytes), "{bytes:02x?}");
                assert!(sums_up(&bytes[at..]), "the checksum of version {version}");
            }
            let whole = ethernet(&outer);
            for len in 0..whole.len() {
                let mut cut = whole[..len].to_vec();
                redact(&mut cut);
                assert!(!holds_secret(&cut), "cut at {len}: {cut:02x?}");
            }
        }
    }

    #[test]
    fn tr124_6_radius_has_its_passwords_and_keys_blanked() {
        let attribute = |kind: u8, value: &[u8]| [&[kind, value.len() as u8 + 2], value].concat();
        for kind in RADIUS_SECRETS {
            let message = [
                &[1; RADIUS_HEADER][..],
                &attribute(1, b"peter"),
                &attribute(kind, SECRET),
                &attribute(4, &[9; 4]),
            ];
            let packet = udp(4, [40_000, 1812], &message.concat());
            let mut bytes = ethernet(&packet);
            assert!(redact(&mut bytes));
            assert!(!holds_secret(&bytes) && bytes.windows(5).any(|part| part == b"peter"));
            assert!(bytes.ends_with(&[4, 6, 9, 9, 9, 9]) && sums_up(&bytes[14..]));
            for length in 0..=255 {
                let mut wrong = ethernet(&packet);
                let at = wrong.len() - 6 - SECRET.len() - 1;
                wrong[at] = length;
                redact(&mut wrong);
                // A shorter attribute makes another one of what is left; its kind decides.
                if length < 2 || usize::from(length) >= SECRET.len() + 2 {
                    assert!(!holds_secret(&wrong), "length {length}");
                }
            }
        }
    }

    #[test]
    fn tr124_6_what_ms_chap_answers_is_blanked_but_for_its_error() {
        let authenticator = b"S=407A5589115FD0D6209F510FE9C04566932CDA56 M=Welcome";
        let mut bytes = frame(0, &ppp(CHAP, 3, &[authenticator]));
        assert!(redact(&mut bytes));
        assert!(bytes.ends_with(b"S=**************************************** M=Welcome"));
        let mut bytes = frame(0, &ppp(CHAP, 4, &[b"E=691 R=1 C=00ff V=3 M=wrong"]));
        assert!(redact(&mut bytes) && bytes.ends_with(b"E=691 R=1 C=**** V=3 M=wrong"));
    }

    #[test]
    fn everything_else_stays_as_it_is() {
        let challenge = ppp(CHAP, 1, &[&[16], SECRET, b"bras"]);
        for packet in
            [challenge, ppp(CHAP, 3, &[b"welcome"]), ppp(PAP, 2, &[&[7], b"welcome"]), ppp(LCP, 9, &[SECRET])]
        {
            let mut bytes = frame(0, &packet);
            let before = bytes.clone();
            assert!(!redact(&mut bytes));
            assert_eq!(bytes, before);
        }
        let mut other = frame(0, &pap());
        other[13] = 0x63;
        assert!(!redact(&mut other));
        let mut deep = frame(2, &pap());
        deep.splice(12..12, [0x81, 0, 0, 1]);
        assert!(!redact(&mut deep), "three tags are not understood");
    }
}
