//! Messages of real clients and servers (the tcpdump project's test captures), cut and bent in every way.

use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use core::net::Ipv6Addr;

use dhcproto::v6::{DhcpOption, Message as Other, OptionCode};
use dhcproto::{Decodable, Decoder};

use crate::dhcp6::duid::Duid;
use crate::dhcp6::message::{Builder, Message, MessageType};
use crate::dhcp6::option::{Ia, IaAddress, IaKind, IaPrefix, Options, Status, StatusCode, code};
use crate::id::Ipv6Cidr;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// An Advertise with a delegated prefix.
fn advertise() -> Vec<u8> {
    hex("02e1e093
         0019 0029 020302c1 00000e10 00001518
              001a 0019 00001194 00001c20 38 2a000001000101000000000000000000
         0001 000a 00030001000102030405
         0002 000e 000100011846 3529 001122334455")
}

fn cidr(text: &str) -> Ipv6Cidr {
    text.parse().unwrap()
}

fn ip(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

#[test]
fn a_recorded_advertise_is_read() {
    let bytes = advertise();
    let message = Message::parse(&bytes).unwrap();
    assert_eq!((message.kind, message.xid), (MessageType::Advertise, [0xe1, 0xe0, 0x93]));
    assert_eq!(message.client().unwrap().to_string(), "00030001000102030405");
    assert_eq!(message.server().unwrap().to_string(), "0001000118463529001122334455");
    let ia = message.options.associations(IaKind::Prefixes).next().unwrap();
    assert_eq!((ia.iaid, ia.t1, ia.t2), (0x0203_02c1, 3600, 5400));
    let lease = ia.options.ia_prefixes().next().unwrap();
    assert_eq!((lease.prefix, lease.preferred, lease.valid), (cidr("2a00:1:1:100::/56"), 4500, 7200));
    assert_eq!(message.options.associations(IaKind::Addresses).count(), 0);
}

#[test]
fn a_message_that_is_cut_is_none_or_a_shorter_one() {
    let bytes = advertise();
    // A message may end behind any of its options.
    let ends = [4, 4 + 45, 4 + 45 + 14, bytes.len()];
    for len in 0..=bytes.len() {
        assert_eq!(Message::parse(&bytes[..len]).is_some(), ends.contains(&len), "{len} octets");
    }
}

#[test]
fn a_length_beyond_the_message_is_malformed() {
    let bytes = advertise();
    for at in [6, 4 + 45 + 2, 4 + 45 + 14 + 2] {
        let mut bad = bytes.clone();
        bad[at] = 0xff;
        assert!(Message::parse(&bad).is_none(), "the length at {at}");
    }
}

#[test]
fn every_value_of_every_octet_is_read_without_harm() {
    let bytes = advertise();
    for at in 0..bytes.len() {
        for value in 0..=255 {
            let mut bad = bytes.clone();
            bad[at] = value;
            let Some(message) = Message::parse(&bad) else { continue };
            for ia in message.options.associations(IaKind::Prefixes) {
                for lease in ia.options.ia_prefixes() {
                    assert!(lease.prefix.prefix <= 128 && lease.preferred <= lease.valid);
                    assert_eq!(lease.prefix, lease.prefix.network());
                }
            }
        }
    }
}

/// Option lengths from 0 to more than each needs.
#[test]
fn options_that_are_too_short_are_left_out() {
    for len in 0..64 {
        let value = vec![0; len];
        assert_eq!(Ia::parse(&value).is_some(), len == 12 || len >= 16 && (len - 12) % 4 == 0, "IA {len}");
        assert_eq!(IaAddress::parse(&value).is_some(), len >= 24 && (len - 24) % 4 == 0, "address {len}");
        assert_eq!(IaPrefix::parse(&value).is_some(), len >= 25 && (len - 25) % 4 == 0, "prefix {len}");
        assert_eq!(Status::parse(&value).is_some(), len >= 2, "status {len}");
        let mut bytes = vec![7, 1, 2, 3, 0, 23, 0, len as u8];
        bytes.extend_from_slice(&value);
        bytes.extend_from_slice(&[0, 0, 0, 0, 0, 7, 0, 1, 9]);
        let options = Message::parse(&bytes).unwrap().options;
        assert_eq!(options.addresses(code::DNS_SERVERS).count(), len / 16);
        assert_eq!(options.first(code::PREFERENCE), Some(&[9][..]), "behind an option 0");
        assert_eq!(options.seconds(code::DNS_SERVERS).is_some(), len == 4);
    }
}

#[test]
fn the_types_of_relays_and_unknown_ones_are_no_messages() {
    for kind in 0..=255 {
        let bytes = [kind, 1, 2, 3];
        assert_eq!(Message::parse(&bytes).is_some(), (1..=11).contains(&kind), "type {kind}");
    }
}

#[test]
fn status_codes_are_what_rfc_8415_says() {
    for value in 0..=u16::MAX {
        assert_eq!(StatusCode::from_u16(value).to_u16(), value);
    }
    assert_eq!(StatusCode::NoPrefixAvail.to_u16(), 6);
    assert!(StatusCode::Other(77).to_string().contains("77"));
}

/// Every option that we write, as another implementation reads it.
fn everything(limit: usize) -> Vec<u8> {
    let mut message = Builder::new(MessageType::Reply, [1, 2, 3], limit);
    let duid = Duid::new(&[9; 130]).unwrap();
    message.duid(code::CLIENT_ID, &duid);
    message.ia(IaKind::Prefixes, 5, (10, 20), |ia| {
        ia.ia_prefix(cidr("2001:db8:1::/48"), (30, 40)) && ia.ia_prefix(cidr("2001:db8:2::/48"), (50, 60))
    });
    message.ia(IaKind::Addresses, 6, (10, 20), |ia| ia.ia_address(ip("2001:db8::7"), (30, 40)));
    message.ia(IaKind::Addresses, 7, (0, 0), |ia| ia.status(StatusCode::NoAddrsAvail, "none"));
    message.addresses(code::DNS_SERVERS, &[ip("2001:db8::53"), ip("2001:db8::54")]);
    message.domains(&["example.net".to_string(), "home.arpa".to_string()]);
    message.option_request(&[23, 24]);
    message.status(StatusCode::Success, "well");
    message.finish()
}

#[test]
fn another_implementation_reads_what_is_written() {
    let bytes = everything(1000);
    let other = Other::decode(&mut Decoder::new(&bytes)).unwrap();
    let Some(DhcpOption::IAPD(ia)) = other.opts().get(OptionCode::IAPD) else { panic!("an IA_PD") };
    assert_eq!((ia.id, ia.t1, ia.t2), (5, 10, 20));
    let Some(DhcpOption::IAPrefix(prefix)) = ia.opts.get(OptionCode::IAPrefix) else { panic!("a prefix") };
    assert_eq!((prefix.prefix_ip, prefix.prefix_len), (ip("2001:db8:1::"), 48));
    assert_eq!((prefix.preferred_lifetime, prefix.valid_lifetime), (30, 40));
    let Some(DhcpOption::IANA(ia)) = other.opts().get(OptionCode::IANA) else { panic!("an IA_NA") };
    let Some(DhcpOption::IAAddr(address)) = ia.opts.get(OptionCode::IAAddr) else { panic!("an address") };
    assert_eq!((address.addr, address.preferred_life, address.valid_life), (ip("2001:db8::7"), 30, 40));
    let dns = DhcpOption::DomainNameServers(vec![ip("2001:db8::53"), ip("2001:db8::54")]);
    assert_eq!(other.opts().get(OptionCode::DomainNameServers), Some(&dns));
    let Some(DhcpOption::DomainSearchList(names)) = other.opts().get(OptionCode::DomainSearchList) else {
        panic!("a domain list")
    };
    let names: Vec<_> = names.iter().map(|name| name.to_string().trim_end_matches('.').to_string()).collect();
    assert_eq!(names, ["example.net", "home.arpa"]);
}

/// systemd CVE-2018-15688; odhcpd CVE-2026-53921, CVE-2026-53920: a message of every size, none of it stale, none cut.
#[test]
fn a_message_stays_within_its_limit_and_holds_whole_options() {
    let whole = everything(usize::MAX);
    let values: Vec<_> = Message::parse(&whole).unwrap().options.iter().collect();
    for limit in 0..=whole.len() + 1 {
        let bytes = everything(limit);
        assert!(bytes.len() <= limit.max(4), "{limit}");
        let options = Message::parse(&bytes).expect("whole options").options;
        let mut expected = values.iter();
        for option in options.iter() {
            assert!(expected.any(|value| *value == option), "{limit}: {option:?} was not written");
        }
        assert_eq!(bytes.len() == whole.len(), limit >= whole.len());
    }
}

#[test]
fn a_nested_option_that_does_not_fit_leaves_nothing_behind() {
    let mut message = Builder::new(MessageType::Reply, [1, 2, 3], 60);
    assert!(!message.ia(IaKind::Prefixes, 5, (0, 0), |ia| {
        ia.ia_prefix(cidr("2001:db8:1::/48"), (1, 1)) && ia.ia_prefix(cidr("2001:db8:2::/48"), (1, 1))
    }));
    assert!(!message.option(9, &[0; 53]));
    assert!(message.option(9, &[0; 52]));
    assert!(!message.option(9, &[]));
    assert_eq!(message.finish().len(), 60);
    let mut large = Builder::new(MessageType::Reply, [1, 2, 3], usize::MAX);
    assert!(!large.option(9, &vec![0; 65_536]), "a length of 16 bits");
    assert!(large.option(9, &vec![0; 65_535]));
}

#[test]
fn an_option_request_is_read_code_by_code() {
    let bytes = [0, 6, 0, 5, 0, 23, 0, 24, 0];
    let options = Options::parse(&bytes).unwrap();
    assert!(options.requests(23) && options.requests(24) && !options.requests(0) && !options.requests(6));
}
