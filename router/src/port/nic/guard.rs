//! Keeps the host's kernel from a card: a classifier at its ingress drops every frame, one at its egress every frame
//! that does not carry our [`MARK`].
//!
//! Packet sockets of every protocol receive before the ingress classifier, those of one protocol behind it. When the
//! kernel half is to take frames at the ingress, data is received behind it, and the classifier there *diverts*: it lets
//! IP packets and PPPoE sessions through as frames for another host, which only packet sockets take, and drops the rest.
//! The kernel half does the same to what it does not carry, and takes the classifier's place ([`Links::set_program`]).
//!
//! On Linux 6.6 and newer the classifiers hang on TCX links, which vanish with this process, however it ends, or are
//! pinned and outlive it. On older kernels, and where the process may not load BPF programs (in a user namespace), they
//! are filters on a `clsact` queueing discipline, which stay until they are taken away: in classic BPF, but for those that
//! divert or carry.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::fastpath::pins::{Pins, pinned_or_new, remove_file};
use crate::sys::bpf::{self, Hook, Link};
use crate::sys::netlink::{Body, Netlink};

/// The mark (SO_MARK) of frames that we send: "genk".
pub const MARK: u32 = 0x6765_6e6b;

// BPF instructions as the kernel encodes them: operation, registers, offset, immediate, from the lowest octet up.
const EXIT: u64 = 0x95;
/// r0 = TC_ACT_SHOT.
const R0_DROP: u64 = 0xb7 | 2 << 32;
/// r0 = TC_ACT_UNSPEC: as the next classifier says, or pass.
const R0_NEXT: u64 = 0xb7 | 0xffff_ffff << 32;
/// r0 = skb->mark.
const R0_SKB_MARK: u64 = 0x61 | 0x10 << 8 | 8 << 16;
/// Skips two instructions when r0 is [`MARK`].
const SKIP_2_IF_OURS: u64 = 0x15 | 2 << 16 | (MARK as u64) << 32;

/// r0 = TC_ACT_OK.
const R0_PASS: u64 = 0xb7;
/// r0 = a 32-bit member of the context, r1, at an offset.
const fn r0_member(offset: u64) -> u64 {
    0x61 | 0x10 << 8 | offset << 16
}
/// Skips instructions when r0 is a number.
const fn skip_if(number: u64, skipped: u64) -> u64 {
    0x15 | skipped << 16 | number << 32
}
/// An ethertype as it is in `skb->protocol`.
const fn protocol(ethertype: u16) -> u64 {
    ethertype.to_be() as u64
}
/// r2 = PACKET_OTHERHOST.
const R2_OTHER_HOST: u64 = 0xb7 | 2 << 8 | 3 << 32;
/// r0 = bpf_skb_change_type(r1, r2).
const CHANGE_TYPE: u64 = 0x85 | 32 << 32;

/// The ethertypes of data that is received behind the classifier.
pub const DIVERTED: [u16; 3] = [0x0800, 0x86dd, 0x8864];

const DROP_ALL: [u64; 2] = [R0_DROP, EXIT];
const DIVERT: [u64; 14] = [
    // skb->vlan_present: what bears a tag is not diverted.
    r0_member(20),
    skip_if(0, 2),
    R0_DROP,
    EXIT,
    // skb->protocol
    r0_member(16),
    skip_if(protocol(DIVERTED[0]), 4),
    skip_if(protocol(DIVERTED[1]), 3),
    skip_if(protocol(DIVERTED[2]), 2),
    R0_DROP,
    EXIT,
    R2_OTHER_HOST,
    CHANGE_TYPE,
    R0_PASS,
    EXIT,
];
const DROP_UNMARKED: [u64; 6] = [R0_SKB_MARK, SKIP_2_IF_OURS, R0_DROP, EXIT, R0_NEXT, EXIT];

// The same in classic BPF, whose instructions are operation, two jump distances and operand.
const RETURN: u16 = 0x06;
const RETURN_DROP: (u16, u8, u8, u32) = (RETURN, 0, 0, 2);
const RETURN_NEXT: (u16, u8, u8, u32) = (RETURN, 0, 0, u32::MAX);
/// Loads skb->mark, an ancillary datum (SKF_AD_OFF + SKF_AD_MARK).
const LOAD_MARK: (u16, u8, u8, u32) = (0x20, 0, 0, 0xffff_f000 + 20);
const SKIP_UNLESS_OURS: (u16, u8, u8, u32) = (0x15, 0, 1, MARK);

const FILTER_ALL: &[(u16, u8, u8, u32)] = &[RETURN_DROP];
const FILTER_UNMARKED: &[(u16, u8, u8, u32)] = &[LOAD_MARK, SKIP_UNLESS_OURS, RETURN_NEXT, RETURN_DROP];

const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_OPS_LEN: u16 = 4;
const TCA_BPF_OPS: u16 = 5;
const TCA_BPF_FD: u16 = 6;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_FLAGS: u16 = 8;
const TCA_BPF_DIRECT: u32 = 1;
const CLSACT_HANDLE: u32 = 0xffff_0000;
const CLSACT_PARENT: u32 = 0xffff_fff1;
const INGRESS: u32 = 0xffff_fff2;
const EGRESS: u32 = 0xffff_fff3;
/// Priority 1 and every ethertype.
const FIRST_OF_ALL: u32 = 1 << 16 | (libc::ETH_P_ALL as u16).to_be() as u32;
const FILTER_HANDLE: u32 = 1;

/// A queueing discipline that carries our classifiers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clsact {
    /// We made it; otherwise it was there before, for classifiers of somebody else.
    pub made: bool,
    /// Data is received behind the filter at the ingress, as with [`Links::diverts`].
    #[serde(default)]
    pub diverts: bool,
}

/// Classifiers on TCX links. Dropping it takes them away, unless they are pinned.
#[derive(Debug)]
pub struct Links {
    ingress: Link,
    _egress: Link,
    index: i32,
    pins: Option<Pins>,
    diverts: bool,
}

impl Links {
    /// Attaches the classifiers. Pinned ones that an earlier run left are taken over; one that diverts goes on as it is, so
    /// that a kernel half in its place goes on carrying. `Unsupported` before Linux 6.6 and where the process may not load
    /// programs.
    pub fn attach(index: i32, divert: bool, pins: Option<&Pins>) -> io::Result<Links> {
        let attach = || {
            let egress = bpf::load_classifier(&DROP_UNMARKED)?;
            let egress = match path(pins, index, "egress")? {
                Some(path) => pinned_or_new(egress.as_fd(), index, Hook::Egress, &path)?,
                None => Link::create(egress.as_fd(), index, Hook::Egress)?,
            };
            let own = own_program(divert)?;
            let ingress = match path(pins, index, ingress_name(divert))? {
                Some(path) => match Link::pinned(&path) {
                    Ok(link) if divert && link.device()? == index => link,
                    _ => pinned_or_new(own.as_fd(), index, Hook::Ingress, &path)?,
                },
                None => Link::create(own.as_fd(), index, Hook::Ingress)?,
            };
            if let Some(other) = path(pins, index, ingress_name(!divert))? {
                remove_file(&other)?;
            }
            Ok(Links { ingress, _egress: egress, index, pins: pins.cloned(), diverts: divert })
        };
        attach().map_err(|error: io::Error| match error.raw_os_error() {
            Some(libc::EINVAL | libc::EPERM | libc::ENOSYS) => io::ErrorKind::Unsupported.into(),
            _ => error,
        })
    }

    /// Data is received behind the ingress classifier.
    pub fn diverts(&self) -> bool {
        self.diverts
    }

    /// Puts a program that diverts in the place of the ingress classifier; `None` puts the classifier back.
    pub fn set_program(&mut self, program: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let Some(program) = program else {
            return self.ingress.update(own_program(self.diverts)?.as_fd());
        };
        self.ingress.update(program)?;
        if !self.diverts {
            // It is known by its name that a link diverts.
            if let Some(path) = path(self.pins.as_ref(), self.index, ingress_name(true))? {
                remove_file(&path)?;
                self.ingress.pin(&path)?;
            }
            if let Some(path) = path(self.pins.as_ref(), self.index, ingress_name(false))? {
                remove_file(&path)?;
            }
            self.diverts = true;
        }
        Ok(())
    }
}

fn own_program(divert: bool) -> io::Result<std::os::fd::OwnedFd> {
    bpf::load_classifier(if divert { &DIVERT } else { &DROP_ALL })
}

fn ingress_name(divert: bool) -> &'static str {
    if divert { "divert" } else { "ingress" }
}

fn path(pins: Option<&Pins>, index: i32, what: &str) -> io::Result<Option<PathBuf>> {
    pins.map(|pins| pins.link(index, what)).transpose()
}

/// Makes the queueing discipline for [`attach_filters`].
pub fn make_clsact(netlink: &mut Netlink, index: i32) -> io::Result<Clsact> {
    let body = Body::new(&tc_header(index, CLSACT_HANDLE, CLSACT_PARENT, 0)).text(TCA_KIND, "clsact");
    match netlink.change(libc::RTM_NEWQDISC, libc::NLM_F_CREATE | libc::NLM_F_EXCL, &body) {
        Ok(()) => Ok(Clsact { made: true, diverts: false }),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Ok(Clsact { made: false, diverts: false })
        }
        Err(error) => Err(error),
    }
}

/// A filter.
enum Filter<'a> {
    Classic(&'a [(u16, u8, u8, u32)]),
    Program(BorrowedFd<'a>),
}

/// Attaches the classifiers to the queueing discipline, where there is nothing of that priority yet.
pub fn attach_filters(netlink: &mut Netlink, index: i32) -> io::Result<()> {
    put(netlink, index, EGRESS, &Filter::Classic(FILTER_UNMARKED), libc::NLM_F_EXCL)?;
    put(netlink, index, INGRESS, &Filter::Classic(FILTER_ALL), libc::NLM_F_EXCL)
}

/// Puts a program that diverts in the place of our filter at the ingress, between two frames; `None` puts a filter of our own
/// there, which diverts or not.
pub fn set_filter(
    netlink: &mut Netlink,
    index: i32,
    divert: bool,
    program: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let own;
    let filter = match (program, divert) {
        (Some(program), _) => Filter::Program(program),
        (None, true) => {
            own = own_program(true)?;
            Filter::Program(own.as_fd())
        }
        (None, false) => Filter::Classic(FILTER_ALL),
    };
    put(netlink, index, INGRESS, &filter, 0)
}

fn put(
    netlink: &mut Netlink,
    index: i32,
    parent: u32,
    filter: &Filter<'_>,
    flags: libc::c_int,
) -> io::Result<()> {
    let options = match filter {
        Filter::Classic(program) => {
            let mut octets = Vec::new();
            for (code, holds, fails, operand) in *program {
                octets.extend_from_slice(&code.to_ne_bytes());
                octets.extend_from_slice(&[*holds, *fails]);
                octets.extend_from_slice(&operand.to_ne_bytes());
            }
            let len = u16::try_from(program.len()).unwrap_or(u16::MAX);
            Body::default().attribute(TCA_BPF_OPS_LEN, &len.to_ne_bytes()).attribute(TCA_BPF_OPS, &octets)
        }
        Filter::Program(program) => Body::default()
            .number(TCA_BPF_FD, program.as_raw_fd().cast_unsigned())
            .text(TCA_BPF_NAME, "genkan"),
    };
    let body = Body::new(&tc_header(index, FILTER_HANDLE, parent, FIRST_OF_ALL))
        .text(TCA_KIND, "bpf")
        .nested(TCA_OPTIONS, options.number(TCA_BPF_FLAGS, TCA_BPF_DIRECT));
    netlink.change(libc::RTM_NEWTFILTER, libc::NLM_F_CREATE | flags, &body)
}

/// Takes away what [`make_clsact`] and [`attach_filters`] made.
pub fn detach_filters(netlink: &mut Netlink, index: i32, clsact: Clsact) -> io::Result<()> {
    if clsact.made {
        let body = Body::new(&tc_header(index, CLSACT_HANDLE, CLSACT_PARENT, 0));
        return gone_is_fine(netlink.change(libc::RTM_DELQDISC, 0, &body));
    }
    for parent in [INGRESS, EGRESS] {
        let body = Body::new(&tc_header(index, FILTER_HANDLE, parent, FIRST_OF_ALL)).text(TCA_KIND, "bpf");
        gone_is_fine(netlink.change(libc::RTM_DELTFILTER, 0, &body))?;
    }
    Ok(())
}

fn gone_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput) => Ok(()),
        other => other,
    }
}

/// `struct tcmsg`.
fn tc_header(index: i32, handle: u32, parent: u32, info: u32) -> [u8; 20] {
    let mut header = [0; 20];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&handle.to_ne_bytes());
    header[12..16].copy_from_slice(&parent.to_ne_bytes());
    header[16..20].copy_from_slice(&info.to_ne_bytes());
    header
}
