//! Keeps the host's kernel from a card: a classifier at its ingress drops every frame, one at its egress every frame
//! that does not carry our [`MARK`].
//!
//! Packet sockets receive before the ingress classifier. On Linux 6.6 and newer the classifiers hang on TCX links that
//! vanish with this process, however it ends. On older kernels they hang on a `clsact` queueing discipline, which stays
//! until it is taken away.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

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

const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
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
}

/// Classifiers on TCX links: dropping it takes them away.
#[derive(Debug)]
pub struct Links {
    _ingress: OwnedFd,
    _egress: OwnedFd,
}

/// Attaches the classifiers by TCX links. `Unsupported` before Linux 6.6.
pub fn attach_links(index: i32) -> io::Result<Links> {
    let attach = |instructions: &[u64], egress| {
        let program = bpf::load_classifier(instructions)?;
        bpf::attach_tcx(program.as_fd(), index, egress).map_err(|error| match error.raw_os_error() {
            Some(libc::EINVAL) => io::Error::from(io::ErrorKind::Unsupported),
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
    let mut attach = |instructions: &[u64], parent| {
        let program = bpf::load_classifier(instructions)?;
        let options = |program: BorrowedFd<'_>| {
            Body::default()
                .number(TCA_BPF_FD, program.as_raw_fd().cast_unsigned())
                .text(TCA_BPF_NAME, "genkan")
                .number(TCA_BPF_FLAGS, TCA_BPF_DIRECT)
        };
        let body = Body::new(&tc_header(index, FILTER_HANDLE, parent, FIRST_OF_ALL))
            .text(TCA_KIND, "bpf")
            .nested(TCA_OPTIONS, options(program.as_fd()));
        netlink.change(libc::RTM_NEWTFILTER, libc::NLM_F_CREATE | libc::NLM_F_EXCL, &body)
    };
    attach(&DROP_UNMARKED, EGRESS)?;
    attach(&DROP_ALL, INGRESS)
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
