//! Multicast Listener Discovery (RFC 3810) of one segment, the listener's half.
//!
//! Switches that look into it carry a group only to those who have asked for it, Neighbor Discovery's groups among them.
//! So the router reports every group that it is a member of, save all nodes', which everybody is:
//!
//! 1. When a group is joined or left a report goes out at once, and again within a second ([`ROBUSTNESS`]).
//! 2. A query, for one group or for all, is answered after a random time within the one that it grants.
//! 3. A router or switch that asks in version 1 (RFC 2710) is answered in it, until it has been silent for
//!    [`VERSION_1_TIMEOUT`] (RFC 3810 §8).
//!
//! The router wants groups whole, from any source; so a query for certain sources of a group is answered like one for the
//! group.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::Ipv6Addr;

use crate::frame::Frame;
use crate::ledger::DropReason;
use crate::machine::Cx;
use crate::time::{Duration, Instant, earliest};
use crate::wire::checksum::Sum;
use crate::wire::ipv6::{ALL_NODES, ALL_ROUTERS, HOP_BY_HOP, Header, ICMPV6, Ipv6, address_at};
use crate::wire::octets::{set_u16, u8_at, u16_at};

/// How often a change is reported (RFC 3810 §9.1).
pub const ROBUSTNESS: u8 = 2;
/// Longest time between the reports of one change (RFC 3810 §9.11).
pub const UNSOLICITED_REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// Time for which a querier of version 1 is remembered: [`ROBUSTNESS`] × 125 s + 10 s (RFC 3810 §9.12).
pub const VERSION_1_TIMEOUT: Duration = Duration::from_secs(260);

/// All routers that listen to reports (RFC 3810 §5.2.14).
const ALL_MLD_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);
/// Most groups in one report: it fits every link.
const RECORDS: usize = 50;
/// The hop-by-hop header with the router alert option for MLD (RFC 2711 §2.1), padded to 8 octets.
const ROUTER_ALERT: [u8; 8] = [ICMPV6, 0, 5, 2, 0, 0, 1, 0];

const QUERY: u8 = 130;
const REPORT_V1: u8 = 131;
const DONE_V1: u8 = 132;
const REPORT: u8 = 143;

/// True for a packet that begins like one of MLD, with a hop-by-hop header.
pub fn is_mld(packet: &[u8]) -> bool {
    Ipv6::parse(packet).is_some_and(|view| view.next_header() == HOP_BY_HOP)
}

/// What a report says of a group (RFC 3810 §5.2.12).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record {
    /// We are a member: MODE_IS_EXCLUDE.
    Member = 2,
    /// We are a member no longer: CHANGE_TO_INCLUDE_MODE.
    Left = 3,
    /// We have become a member: CHANGE_TO_EXCLUDE_MODE.
    Joined = 4,
}

/// A report, to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    source: Ipv6Addr,
    destination: Ipv6Addr,
    /// The message from its type on, its checksum field zero.
    message: Vec<u8>,
}

impl Report {
    fn new(source: Ipv6Addr, records: &[(Ipv6Addr, Record)]) -> Self {
        let [n0, n1] = u16::try_from(records.len()).unwrap_or(0).to_be_bytes();
        let mut message = Vec::from([REPORT, 0, 0, 0, 0, 0, n0, n1]);
        for (group, record) in records {
            message.extend([*record as u8, 0, 0, 0]);
            message.extend(group.octets());
        }
        Report { source, destination: ALL_MLD_ROUTERS, message }
    }

    /// A report of version 1 (RFC 2710 §3): one group, and to it.
    fn version_1(source: Ipv6Addr, group: Ipv6Addr, record: Record) -> Self {
        let (kind, destination) = match record {
            Record::Left => (DONE_V1, ALL_ROUTERS),
            Record::Member | Record::Joined => (REPORT_V1, group),
        };
        let mut message = Vec::from([kind, 0, 0, 0, 0, 0, 0, 0]);
        message.extend(group.octets());
        Report { source, destination, message }
    }

    /// Writes the IPv6 packet behind what `frame` holds. False, and no change, when it does not fit.
    pub fn emit(&self, frame: &mut Frame) -> bool {
        let mut message = self.message.clone();
        let len = u32::try_from(message.len()).unwrap_or(0);
        let pseudo = Sum::pseudo_v6(self.source, self.destination, ICMPV6, len);
        let checksum = pseudo.plus(Sum::of(&message)).checksum();
        set_u16(&mut message, 2, checksum);
        let header = Header { source: self.source, destination: self.destination, hop_limit: 1 };
        header.write(HOP_BY_HOP, &[&ROUTER_ALERT, &message], frame)
    }
}

#[derive(Debug, Default)]
struct Group {
    member: bool,
    /// Reports of its last change that are still to be sent.
    changes: u8,
    /// When a query for it is answered.
    answer: Option<Instant>,
}

/// The listener on one segment.
#[derive(Debug, Default)]
pub struct Listener {
    groups: BTreeMap<Ipv6Addr, Group>,
    /// When changes are reported.
    change: Option<Instant>,
    /// When a query for all groups is answered.
    answer: Option<Instant>,
    /// Until when reports are of version 1.
    version_1_until: Option<Instant>,
}

impl Listener {
    /// The router is a member of these groups now. What changes is due to be reported at once.
    pub fn set_groups(&mut self, cx: &mut Cx<'_>, groups: &BTreeSet<Ipv6Addr>) {
        for group in groups {
            self.groups.entry(*group).or_default();
        }
        for (address, group) in &mut self.groups {
            let member = groups.contains(address) && *address != ALL_NODES;
            if group.member != member {
                *group = Group { member, changes: ROBUSTNESS, answer: None };
                self.change = Some(cx.now);
            }
        }
        self.forget();
    }

    /// Reports every group anew, as if it had just been joined.
    pub fn repeat(&mut self, cx: &mut Cx<'_>) {
        for group in self.groups.values_mut() {
            group.changes = ROBUSTNESS;
            self.change = Some(cx.now);
        }
    }

    /// A packet of MLD came in. An error says why it was of no use.
    pub fn handle(&mut self, cx: &mut Cx<'_>, packet: &[u8]) -> Result<(), DropReason> {
        let malformed = DropReason::NdpMalformed;
        let view = Ipv6::parse(packet).ok_or(malformed)?;
        let message = view.icmp_after_hop_by_hop().ok_or(malformed)?;
        if u8_at(message, 0) != Some(QUERY) {
            // What others report is for routers that forward multicast.
            return Ok(());
        }
        let (code, group) = (u16_at(message, 4).ok_or(malformed)?, address_at(message, 8));
        let whole = message.len() == 24 || message.len() >= 28;
        let from_here = view.source().is_unicast_link_local() && view.hop_limit() == 1;
        if !whole || !from_here || !has_router_alert(view.payload()) {
            return Err(malformed);
        }
        let response = if message.len() == 24 {
            self.version_1_until = Some(cx.now + VERSION_1_TIMEOUT);
            u32::from(code)
        } else {
            response_time(code)
        };
        let bound = u64::from(response) * 1_000_000;
        let due = Some(cx.now + Duration::from_nanos(cx.rng.below(bound.saturating_add(1))));
        if group.is_unspecified() {
            self.answer = earliest(self.answer, due);
        } else if let Some(group) = self.groups.get_mut(&group).filter(|group| group.member) {
            group.answer = earliest(group.answer, due);
        }
        Ok(())
    }

    /// What is due to be said, from `source`.
    pub fn handle_timeout(&mut self, cx: &mut Cx<'_>, source: Ipv6Addr) -> Vec<Report> {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= cx.now);
        let mut records = Vec::new();
        if is_due(self.change) {
            for (address, group) in &mut self.groups {
                if group.changes > 0 {
                    group.changes -= 1;
                    records.push((*address, if group.member { Record::Joined } else { Record::Left }));
                }
            }
            let more = self.groups.values().any(|group| group.changes > 0);
            let interval = cx.rng.below(UNSOLICITED_REPORT_INTERVAL.as_nanos() as u64).saturating_add(1);
            self.change = more.then(|| cx.now + Duration::from_nanos(interval));
        }
        let all = is_due(self.answer);
        if all {
            self.answer = None;
        }
        for (address, group) in &mut self.groups {
            if group.member && (all || is_due(group.answer)) {
                group.answer = None;
                records.push((*address, Record::Member));
            }
        }
        self.forget();
        if self.version_1_until.is_some_and(|until| until > cx.now) {
            records.iter().map(|&(group, record)| Report::version_1(source, group, record)).collect()
        } else {
            self.version_1_until = None;
            records.chunks(RECORDS).map(|records| Report::new(source, records)).collect()
        }
    }

    /// When the listener wants to be called next, if ever.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let answers = self.groups.values().filter_map(|group| group.answer);
        answers.chain(self.change).chain(self.answer).min()
    }

    /// Drops groups whose end has been reported.
    fn forget(&mut self) {
        self.groups.retain(|_, group| group.member || group.changes > 0);
    }
}

/// Milliseconds in a maximum response code (RFC 3810 §5.1.3).
fn response_time(code: u16) -> u32 {
    let code = u32::from(code);
    if code < 0x8000 {
        return code;
    }
    let (exponent, mantissa) = (code >> 12 & 7, code & 0xfff);
    (mantissa | 0x1000) << (exponent + 3)
}

/// True when a hop-by-hop header has the router alert option for MLD (RFC 3810 §6.2).
fn has_router_alert(header: &[u8]) -> bool {
    let Some(len) = u8_at(header, 1).map(|units| (usize::from(units) + 1) * 8) else { return false };
    let Some(mut options) = header.get(2..len) else { return false };
    while let [kind, rest @ ..] = options {
        // Pad1 has no length (RFC 8200 §4.2).
        if *kind == 0 {
            options = rest;
            continue;
        }
        let Some((&len, rest)) = rest.split_first() else { return false };
        let Some((body, rest)) = rest.split_at_checked(usize::from(len)) else { return false };
        if (*kind, body) == (5, &[0, 0]) {
            return true;
        }
        options = rest;
    }
    false
}

#[cfg(test)]
mod tests;
