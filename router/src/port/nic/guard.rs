//! Keeps the host's kernel from a card: a classifier at its ingress drops every frame, one at its egress every frame
//! that does not carry our [`MARK`].
//!
//! Packet sockets receive before the ingress classifier. On Linux 6.6 and newer the classifiers hang on TCX links that
//! vanish with this process, however it ends. On older kernels, and where the process may not load BPF programs (in a user
//! namespace), they are classic BPF filters on a `clsact` queueing discipline, which stay until they are taken away.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use serde::{Deserialize, Serialize};

use crate::sys::bpf;
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

const DROP_ALL: [u64; 2] = [R0_DROP, EXIT];
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
}

/// Classifiers on TCX links: dropping it takes them away.
#[derive(Debug)]
pub struct Links {
    _ingress: OwnedFd,
    _egress: OwnedFd,
}

/// Attaches the classifiers by TCX links. `Unsupported` before Linux 6.6 and where the process may not load programs.
pub fn attach_links(index: i32) -> io::Result<Links> {
    let attach = |instructions: &[u64], egress| {
        let attached = bpf::load_classifier(instructions)
            .and_then(|program| bpf::attach_tcx(program.as_fd(), index, egress));
        attached.map_err(|error| match error.raw_os_error() {
            Some(libc::EINVAL | libc::EPERM | libc::ENOSYS) => io::ErrorKind::Unsupported.into(),
            _ => error,
        })
    };
    Ok(Links { _egress: attach(&DROP_UNMARKED, true)?, _ingress: attach(&DROP_ALL, false)? })
}

/// Makes the queueing discipline for [`attach_filters`].
pub fn make_clsact(netlink: &mut Netlink, index: i32) -> io::Result<Clsact> {
    let body = Body::new(&tc_header(index, CLSACT_HANDLE, CLSACT_PARENT, 0)).text(TCA_KIND, "clsact");
    match netlink.change(libc::RTM_NEWQDISC, libc::NLM_F_CREATE | libc::NLM_F_EXCL, &body) {
        Ok(()) => Ok(Clsact { made: true }),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Clsact { made: false }),
        Err(error) => Err(error),
    }
}

/// Attaches the classifiers to the queueing discipline.
pub fn attach_filters(netlink: &mut Netlink, index: i32) -> io::Result<()> {
    let mut attach = |program: &[(u16, u8, u8, u32)], parent| {
        let mut octets = Vec::new();
        for (code, holds, fails, operand) in program {
            octets.extend_from_slice(&code.to_ne_bytes());
            octets.extend_from_slice(&[*holds, *fails]);
            octets.extend_from_slice(&operand.to_ne_bytes());
        }
        let len = u16::try_from(program.len()).unwrap_or(u16::MAX);
        let options = Body::default()
            .attribute(TCA_BPF_OPS_LEN, &len.to_ne_bytes())
            .attribute(TCA_BPF_OPS, &octets)
            .number(TCA_BPF_FLAGS, TCA_BPF_DIRECT);
        let body = Body::new(&tc_header(index, FILTER_HANDLE, parent, FIRST_OF_ALL))
            .text(TCA_KIND, "bpf")
            .nested(TCA_OPTIONS, options);
        netlink.change(libc::RTM_NEWTFILTER, libc::NLM_F_CREATE | libc::NLM_F_EXCL, &body)
    };
    attach(FILTER_UNMARKED, EGRESS)?;
    attach(FILTER_ALL, INGRESS)
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
