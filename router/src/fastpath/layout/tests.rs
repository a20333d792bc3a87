//! Both halves say the same: sizes and places as clang has put them into the object (BTF, the kernel's
//! Documentation/bpf/btf.rst), numbers and names as they are written in `layout.h`.

use std::collections::HashMap;
use std::mem::offset_of;

use super::*;
use crate::fastpath::OBJECT;

const HEADER: &str = include_str!("../bpf/layout.h");

fn u16_at(bytes: &[u8], at: usize) -> usize {
    u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap()).into()
}

fn u32_at(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}

fn u64_at(bytes: &[u8], at: usize) -> usize {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize
}

fn string_at(bytes: &[u8], at: usize) -> &str {
    let end = at + bytes[at..].iter().position(|octet| *octet == 0).unwrap();
    std::str::from_utf8(&bytes[at..end]).unwrap()
}

/// A section of an ELF file of 64 bits.
fn section<'a>(object: &'a [u8], name: &str) -> &'a [u8] {
    let (headers, size, count) = (u64_at(object, 40), u16_at(object, 58), u16_at(object, 60));
    let contents = |index: usize| {
        let header = &object[headers + index * size..][..size];
        &object[u64_at(header, 24)..][..u64_at(header, 32)]
    };
    let names = contents(u16_at(object, 62));
    let found = (0..count).find(|&index| string_at(names, u32_at(object, headers + index * size)) == name);
    contents(found.unwrap_or_else(|| panic!("the object has no section {name}")))
}

/// A structure: its size, and each member's offset, in order.
type Structure = (usize, Vec<(String, usize)>);

/// Every structure of the object.
fn structures() -> HashMap<String, Structure> {
    let btf = section(OBJECT, ".BTF");
    let (header, types, length, strings) = (u32_at(btf, 4), u32_at(btf, 8), u32_at(btf, 12), u32_at(btf, 16));
    let name = |at: usize| string_at(btf, header + strings + at).to_owned();
    let (mut at, end) = (header + types, header + types + length);
    let mut structures = HashMap::new();
    while at < end {
        let (info, size) = (u32_at(btf, at + 4), u32_at(btf, at + 8));
        let (kind, count) = (info >> 24 & 0x1f, info & 0xffff);
        let more = match kind {
            // Integers, variables, tags of declarations.
            1 | 14 | 17 => 4,
            // Arrays.
            3 => 12,
            4 | 5 => {
                let members = (0..count).map(|index| at + 12 + index * 12);
                let members =
                    members.map(|at| (name(u32_at(btf, at)), (u32_at(btf, at + 8) & 0xff_ffff) / 8));
                structures.insert(name(u32_at(btf, at)), (size, members.collect()));
                count * 12
            }
            // Enumerations and prototypes.
            6 | 13 => count * 8,
            // Sections, and enumerations of 64 bits.
            15 | 19 => count * 12,
            _ => 0,
        };
        at += 12 + more;
    }
    structures
}

macro_rules! structure {
    ($type:ident: $($member:ident),*) => {
        (size_of::<$type>(), vec![$((stringify!($member).to_owned(), offset_of!($type, $member))),*])
    };
}

#[test]
fn structures_are_laid_out_alike() {
    let in_c = structures();
    let in_rust: [(&str, Structure); 9] = [
        ("port", structure!(Port: ifindex, number, link, own, pppoe, sampled)),
        ("link", structure!(Link: epoch, identity)),
        (
            "adjacency",
            structure!(Adjacency: sequence, ifindex, port, link, mtu, length, flags, header, padding, address),
        ),
        ("key4", structure!(Key4: source, destination, ports, link, protocol, zero)),
        ("key6", structure!(Key6: source, destination, ports, link, protocol, zero)),
        (
            "course",
            structure!(Course: adjacency, ingress_epoch, egress_epoch, ingress_port, tick, last, packets, octets),
        ),
        (
            "flow4",
            structure!(Flow4: sequence, key, course, source, destination, ports, address_delta, port_delta),
        ),
        ("flow6", structure!(Flow6: sequence, key, course)),
        ("usage", structure!(Usage: rx_packets, rx_octets, tx_packets, tx_octets)),
    ];
    for (name, structure) in in_rust {
        assert_eq!(in_c.get(name), Some(&structure), "struct {name}");
    }
    assert_eq!(in_c["session_key"], structure!(SessionKey: port, id, peer, own));
    assert_eq!(in_c["bucket"], (BUCKET * 4, vec![("entries".into(), 0)]));
}

#[test]
fn a_sample_is_two_frames_behind_seven_numbers() {
    let (size, members) = &structures()["sample"];
    let names =
        ["ingress_ifindex", "egress_ifindex", "before_length", "after_length", "flow", "version", "partial"];
    let numbers = names.iter().enumerate().map(|(index, name)| (name.to_string(), index * 4));
    let frames = [("before".to_owned(), 28), ("after".to_owned(), 28 + SAMPLE)];
    assert_eq!(*members, numbers.chain(frames).collect::<Vec<_>>());
    assert_eq!(*size, 28 + 2 * SAMPLE);
}

/// The numbers that `layout.h` defines.
fn defined() -> HashMap<&'static str, u64> {
    let numbers = HEADER.lines().filter_map(|line| {
        let (name, value) = line.strip_prefix("#define ")?.split_once(' ')?;
        let value = value.trim_end_matches("ULL");
        let number = match value.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => value.parse(),
        };
        Some((name, number.unwrap_or_else(|_| panic!("{name} is not a number"))))
    });
    numbers.collect()
}

#[test]
fn numbers_are_the_same() {
    let expected = HashMap::from([
        ("LAYOUT", LAYOUT.into()),
        ("IPV4", IPV4 as u64),
        ("IPV6", IPV6 as u64),
        ("NO_LINK", NO_LINK.into()),
        ("PORT_SLOTS", PORT_SLOTS.into()),
        ("QUEUES", QUEUES.into()),
        ("PORTS", PORTS.into()),
        ("ADJACENT_XDP", ADJACENT_XDP.into()),
        ("ADJACENT_TAP", ADJACENT_TAP.into()),
        ("ADJACENT_CHECKSUM", ADJACENT_CHECKSUM.into()),
        ("BUCKET", BUCKET as u64),
        ("NUMBER_BITS", NUMBER_BITS.into()),
        ("FIRST_PLACE", FIRST_PLACE.into()),
        ("HASH_FACTOR", HASH_FACTOR),
        ("SAMPLE", SAMPLE as u64),
    ]);
    assert_eq!(defined(), expected);
}

#[test]
fn verdicts_have_their_names_for_users() {
    let (_, list) = HEADER.split_once("enum verdict {\n").unwrap();
    let (list, _) = list.split_once("VERDICTS,").unwrap();
    let names = list.lines().filter_map(|line| Some(line.trim().split_once(',')?.0.to_lowercase()));
    assert_eq!(names.collect::<Vec<_>>(), VERDICTS);
}
