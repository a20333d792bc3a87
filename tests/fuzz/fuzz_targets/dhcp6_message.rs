//! The DHCPv6 decoder and builder. What is read stays within what came; what is built stays within its limit, holds whole options
//! and is read by another implementation.
#![no_main]

use dhcproto::v6::Message as Other;
use dhcproto::{Decodable, Decoder};
use genkan_fuzz::Numbers;
use genkan_netstack::dhcp6::Duid;
use genkan_netstack::dhcp6::message::{Builder, Message, MessageType};
use genkan_netstack::dhcp6::option::{IaKind, StatusCode, code};
use genkan_netstack::id::Ipv6Cidr;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    read(data);
    write(Numbers(data));
});

fn read(data: &[u8]) {
    let Some(message) = Message::parse(data) else { return };
    let mut octets = 4;
    for (_, value) in message.options.iter() {
        octets += 4 + value.len();
    }
    assert_eq!(octets, data.len(), "the options are all there is");
    for duid in [message.client(), message.server()].into_iter().flatten() {
        assert!((3..=130).contains(&duid.as_bytes().len()));
        assert_eq!(duid.to_string().parse(), Ok(duid));
    }
    for kind in [IaKind::Addresses, IaKind::Prefixes] {
        for ia in message.options.associations(kind) {
            assert!(ia.t2 == 0 || ia.t1 <= ia.t2);
            for lease in ia.options.ia_prefixes() {
                assert!(lease.preferred <= lease.valid && lease.prefix.prefix <= 128);
                assert_eq!(lease.prefix, lease.prefix.network());
                if let Some(part) = lease.exclude() {
                    assert!(lease.prefix.covers(part) && part != lease.prefix);
                }
            }
            assert!(ia.options.ia_addresses().all(|lease| lease.preferred <= lease.valid));
            let _ = ia.options.status().map(|status| status.code.to_string());
        }
    }
    let names = message.options.domains();
    assert!(names.len() <= 16);
    for name in names {
        let harmless = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
        assert!(!name.is_empty() && name.len() <= 255 && name.chars().all(harmless), "{name:?}");
    }
    let servers = message.options.addresses(code::DNS_SERVERS).count();
    assert!(servers * 16 <= data.len());
    assert!(message.options.seconds(code::SOL_MAX_RT).is_none() || data.len() >= 12);
}

fn write(mut input: Numbers) {
    let limit = usize::from(input.u16() % 1500);
    let mut message = Builder::new(MessageType::Reply, [1, 2, 3], limit);
    for _ in 0..input.u8() % 24 {
        match input.u8() % 9 {
            0 => {
                if let Some(duid) = Duid::new(input.take(usize::from(input.0.len() as u8))) {
                    message.duid(code::SERVER_ID, &duid);
                }
            }
            1 | 2 => {
                let (count, iaid, wanted) = (input.u8() % 8, u32::from(input.u8()), input.u8() != 0);
                message.ia(IaKind::Prefixes, iaid, (1, 2), |ia| {
                    (0..count).all(|_| {
                        let address = [input.u8(); 16].into();
                        let prefix = Ipv6Cidr { address, prefix: input.u8() % 129 };
                        ia.ia_prefix(prefix.network(), (3, 4))
                    }) && wanted
                });
            }
            3 => {
                let count = input.u8() % 8;
                message.ia(IaKind::Addresses, 9, (1, 2), |ia| {
                    (0..count).all(|_| ia.ia_address([input.u8(); 16].into(), (3, 4)))
                });
            }
            4 => {
                message.ia(IaKind::Addresses, 9, (0, 0), |ia| ia.status(StatusCode::NoAddrsAvail, "none"));
            }
            5 => {
                message.addresses(code::DNS_SERVERS, &vec![[7; 16].into(); usize::from(input.u8() % 9)]);
            }
            6 => {
                let label = "a".repeat(usize::from(input.u8() % 70));
                message.domains(&[format!("{label}.example"), label]);
            }
            7 => {
                message.option_request(&[input.u16(), input.u16()]);
            }
            _ => {
                message.option(code::NTP_SERVER, &vec![1; usize::from(input.u16() % 600)]);
            }
        }
    }
    let bytes = message.finish();
    assert!(bytes.len() <= limit.max(4), "{} octets of {limit}", bytes.len());
    assert!(Message::parse(&bytes).is_some(), "whole options: {bytes:02x?}");
    assert!(
        Other::decode(&mut Decoder::new(&bytes)).is_ok(),
        "another implementation reads it: {bytes:02x?}"
    );
}
