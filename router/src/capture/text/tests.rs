use super::super::layers::tests::{ethernet, pppoe, udp};
use super::*;

fn told(bytes: &[u8]) -> String {
    line(&Shown {
        at: Duration::from_micros(1_700_000_000_123_456),
        point: "port.wan0",
        direction: Some(Direction::Sent),
        bytes,
        length: bytes.len(),
        comment: "",
    })
}

#[test]
fn a_line_has_time_point_way_and_packet() {
    let packet = ethernet(0x0800, &udp([10, 0, 0, 1], [10, 0, 0, 2], [5000, 9999], b"data"));
    assert_eq!(
        told(&packet),
        "22:13:20.123456 port.wan0 > 02:02:02:02:02:02 > 02:02:02:02:02:02, IP 10.0.0.1.5000 > 10.0.0.2.9999: UDP, length 46"
    );
    let inside = [&[0; 12][..], &packet[12..]].concat();
    assert!(told(&inside).contains("port.wan0 > IP 10.0.0.1"), "an empty header is not shown");
}

#[test]
fn discovery_has_its_tags_by_name() {
    let tags =
        [&[1, 1, 0, 0][..], &[1, 2, 0, 5], b"bras1", &[1, 3, 0, 2, 0xab, 0xcd], &[2, 3, 0, 4], b"\x1b[2J"];
    let tags = tags.concat();
    let packet = [&[0x11, 0x07, 0, 0, 0, tags.len() as u8][..], &tags].concat();
    let text = told(&ethernet(0x8863, &packet));
    for part in ["PPPoE PADO", "[Service-Name \"\"]", "[AC-Name \"bras1\"]", "[Host-Uniq 0xabcd]", "\".[2J\""]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn ppp_has_its_packets_and_options_by_name() {
    let lcp = [1, 7, 0, 19, 1, 4, 5, 0xd4, 3, 5, 0xc2, 0x23, 5, 5, 6, 1, 2, 3, 4];
    let text = told(&pppoe(0xc021, &lcp));
    assert!(
        text.contains(
            "PPPoE session 0x0007, LCP Configure-Request, id 7 [Maximum-Receive-Unit 1492] \
             [Authentication-Protocol CHAP with MD5] [Magic-Number 0x01020304]"
        ),
        "{text}"
    );
    let text = told(&pppoe(0x8021, &[3, 1, 0, 16, 3, 6, 10, 0, 0, 9, 129, 6, 9, 9, 9, 9]));
    assert!(
        text.contains("IPCP Configure-Nak, id 1 [IP-Address 10.0.0.9] [Primary-DNS-Server-Address 9.9.9.9]"),
        "{text}"
    );
    let text = told(&pppoe(0x8057, &[2, 1, 0, 14, 1, 10, 2, 0, 0, 0xff, 0xfe, 0, 0, 1]));
    assert!(text.contains("IPV6CP Configure-Ack, id 1 [Interface-Identifier ::200:ff:fe00:1]"), "{text}");
    let text = told(&pppoe(0xc223, &[4, 1, 0, 14, b'n', b'o']));
    assert!(text.contains("CHAP Failure, id 1, message \"no\""), "{text}");
}

#[test]
fn dhcpv6_has_its_options_in_full() {
    let prefix =
        [&[0, 26, 0, 25][..], &[0, 0, 0x0e, 0x10, 0, 0, 0x1c, 0x20, 56, 0x20, 1, 0x0d, 0xb8], &[0; 12]]
            .concat();
    let ia = [&[0, 25, 0, 41, 0, 0, 0, 1, 0, 0, 7, 8, 0, 0, 0xb, 0x40][..], &prefix].concat();
    let message = [&[7, 1, 2, 3][..], &ia, &[0, 13, 0, 6, 0, 6, b'n', b'o', b'n', b'e']].concat();
    let text = told(&ethernet(0x0800, &udp([1; 4], [2; 4], [547, 546], &message)));
    for part in [
        "DHCPv6 Reply xid 0x010203",
        "[IA_PD 1 T1 1800 s T2 2880 s [IA-Prefix 2001:db8::/56 preferred 3600 s valid 7200 s]]",
        "[Status-Code NoPrefixAvail \"none\"]",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn dhcp_has_its_options_by_name() {
    let options = [53, 1, 5, 51, 4, 0, 0, 0xa8, 0xc0, 12, 3, b'n', b'a', b's', 255];
    let message = [&[2, 1, 6, 0][..], &[0; 232], &[0x63, 0x82, 0x53, 0x63], &options].concat();
    let text = told(&ethernet(0x0800, &udp([1; 4], [2; 4], [67, 68], &message)));
    assert!(text.contains("[Message-Type Ack] [Lease-Time 43200 s] [Host-Name \"nas\"]"), "{text}");
}

#[test]
fn no_cut_and_no_flipped_octet_makes_a_fault() {
    let dhcp = [&[2, 1, 6, 0][..], &[0; 236], &[53, 1, 5, 12, 3, b'n', b'a', b's']].concat();
    let dhcp6 = [&[7, 1, 2, 3, 0, 25, 0, 16][..], &[0; 12], &[0, 13, 0, 0]].concat();
    let advertisement =
        [&[0x60, 0, 0, 0, 0, 32, 58, 255][..], &[0; 32], &[134, 0, 0, 0], &[0; 12], &[3, 4], &[9; 14]];
    let frames = [
        ethernet(0x0800, &udp([1; 4], [2; 4], [67, 68], &dhcp)),
        ethernet(0x0800, &udp([1; 4], [2; 4], [546, 547], &dhcp6)),
        ethernet(0x86dd, &advertisement.concat()),
        ethernet(0x8863, &[0x11, 9, 0, 0, 0, 8, 1, 1, 0, 0, 1, 3, 0, 0]),
        pppoe(0xc021, &[1, 7, 0, 8, 1, 4, 5, 0xd4]),
        pppoe(0xc223, &[1, 7, 0, 8, 3, 4, 5, 0xd4]),
        ethernet(0x0806, &[0; 28]),
    ];
    for frame in frames {
        for len in 0..=frame.len() {
            told(&frame[..len]);
        }
        for at in 12..frame.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut wrong = frame.clone();
                wrong[at] = value;
                told(&wrong);
            }
        }
    }
}
