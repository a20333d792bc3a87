//! Takes secrets out of captured frames.
//!
//! [`redact`] overwrites, in place, what authentication over PPPoE lets a reader learn the password from: the password
//! of a PAP Authenticate-Request (RFC 1334 §2.2.1) and the value of a CHAP Response (RFC 1994 §4.1; MS-CHAPv2 has its
//! two responses there, RFC 2759 §4), an EAP Response's data (RFC 3748 §5), and any of these that comes back inside an
//! LCP Protocol-Reject or Code-Reject. Lengths stay as they are, and PPPoE has no checksum.
//!
//! Length fields are not trusted: what cannot be told apart is overwritten up to the end of the frame.

use crate::wire::ethernet::{Header, ethertype};
use crate::wire::ppp::protocol::{CHAP, EAP, LCP, PAP};

/// The octet that stands where a secret was.
pub const FILLER: u8 = b'*';

/// Overwrites the secrets in an Ethernet frame, which may be cut short, and says whether there were any. Frames with up
/// to two VLAN tags are understood; frames that carry no PPPoE session data stay as they are.
pub fn redact(frame: &mut [u8]) -> bool {
    let Some(mut offset) = Header::LEN.checked_sub(2) else { return false };
    for _ in 0..3 {
        match ethertype_at(frame, offset) {
            Some(ethertype::VLAN | ethertype::SERVICE_VLAN) => offset = offset.saturating_add(4),
            Some(ethertype::PPPOE_SESSION) => {
                let ppp = offset.saturating_add(2 + crate::wire::pppoe::HEADER_LEN);
                return frame.get_mut(ppp..).is_some_and(redact_ppp);
            }
            _ => return false,
        }
    }
    false
}

fn ethertype_at(frame: &[u8], offset: usize) -> Option<u16> {
    frame.get(offset..)?.first_chunk::<2>().copied().map(u16::from_be_bytes)
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
            (CHAP, [code, _, _, _, data @ ..]) if !matches!(code, 1 | 3 | 4) => return redact_value(data),
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
