//! DNS messages (RFC 1035 §4), as a forwarder reads and writes them.
//!
//! Answers pass through as they came; only the id, the question's spelling and the times to live are changed in place. So
//! nothing is decoded that is not needed: a query's question and EDNS record, and of an answer where each record begins
//! and how long it lives. A name is kept in wire format, without compression. No octet of a length can be a letter
//! (lengths are at most 63, letters begin at 65), so letters can be told and changed in the wire format itself.

use alloc::vec::Vec;
use core::net::IpAddr;
use core::ops::Range;

use crate::wire::octets::{set_u16, set_u32, u8_at, u16_at, u32_at};

/// Octets of the header.
pub const HEADER: usize = 12;
/// Octets of the longest name (RFC 1035 §2.3.4).
pub const NAME_MAX: usize = 255;

/// Types and classes (RFC 1035 §3.2 and as noted).
pub mod rr {
    #![allow(missing_docs)]
    pub const A: u16 = 1;
    pub const SOA: u16 = 6;
    pub const PTR: u16 = 12;
    pub const AAAA: u16 = 28;
    /// RFC 6891.
    pub const OPT: u16 = 41;
    /// RFC 9460.
    pub const SVCB: u16 = 64;
    /// RFC 9460.
    pub const HTTPS: u16 = 65;
    /// RFC 1995.
    pub const IXFR: u16 = 251;
    /// RFC 5936.
    pub const AXFR: u16 = 252;
    pub const ANY: u16 = 255;
    pub const IN: u16 = 1;
}

/// Bits of the header's flags.
pub mod flag {
    #![allow(missing_docs)]
    pub const RESPONSE: u16 = 0x8000;
    pub const OPCODE: u16 = 0x7800;
    pub const AUTHORITATIVE: u16 = 0x0400;
    pub const TRUNCATED: u16 = 0x0200;
    pub const RECURSION_DESIRED: u16 = 0x0100;
    pub const RECURSION_AVAILABLE: u16 = 0x0080;
    pub const AUTHENTIC_DATA: u16 = 0x0020;
    pub const CHECKING_DISABLED: u16 = 0x0010;
    pub const RCODE: u16 = 0x000f;
}

/// A response code (RFC 1035 §4.1.1, RFC 6891 §9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rcode {
    /// No error.
    NoError = 0,
    /// The query cannot be read.
    FormErr = 1,
    /// The query cannot be answered now.
    ServFail = 2,
    /// The name does not exist.
    NxDomain = 3,
    /// The kind of query is not known.
    NotImp = 4,
    /// The query will not be answered.
    Refused = 5,
    /// The version of EDNS is not known.
    BadVers = 16,
}

/// What a question asks for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Question {
    /// The name in wire format, in lower case.
    pub name: Vec<u8>,
    /// The type.
    pub kind: u16,
    /// The class.
    pub class: u16,
}

/// EDNS of a query (RFC 6891 §6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edns {
    /// Largest UDP payload that the sender takes, in octets.
    pub size: u16,
    /// Its version.
    pub version: u8,
    /// DNSSEC records are wanted (RFC 3225).
    pub dnssec: bool,
}

/// A query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Its id.
    pub id: u16,
    /// The header's flags.
    pub flags: u16,
    /// The name as the client spells it.
    pub spelling: Vec<u8>,
    /// What it asks for.
    pub question: Question,
    /// EDNS, if the client speaks it.
    pub edns: Option<Edns>,
}

/// Why a message is no query that could be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryError {
    /// It is a response, or too short to be answered: silence.
    Ignore,
    /// The sender of `id` is to be told.
    Refuse {
        /// The query's id.
        id: u16,
        /// The query's flags.
        flags: u16,
        /// What to tell.
        rcode: Rcode,
    },
}

impl Query {
    /// Reads a query: one question, no records but EDNS.
    pub fn parse(message: &[u8]) -> Result<Query, QueryError> {
        let id = u16_at(message, 0).ok_or(QueryError::Ignore)?;
        let flags = u16_at(message, 2).ok_or(QueryError::Ignore)?;
        if flags & flag::RESPONSE != 0 || message.len() < HEADER {
            return Err(QueryError::Ignore);
        }
        if flags & flag::OPCODE != 0 {
            return Err(QueryError::Refuse { id, flags, rcode: Rcode::NotImp });
        }
        Query::parse_body(message, id, flags).ok_or(QueryError::Refuse { id, flags, rcode: Rcode::FormErr })
    }

    fn parse_body(message: &[u8], id: u16, flags: u16) -> Option<Query> {
        let counts = Counts::of(message)?;
        if (counts.questions, counts.answers, counts.authorities) != (1, 0, 0) {
            return None;
        }
        let end = HEADER + plain_name_len(message.get(HEADER..)?)?;
        let spelling = message.get(HEADER..end)?.to_vec();
        let name = spelling.to_ascii_lowercase();
        let question = Question { name, kind: u16_at(message, end)?, class: u16_at(message, end + 2)? };
        let mut edns = None;
        let mut at = end + 4;
        for _ in 0..counts.additionals {
            let record = Record::at(message, at)?;
            at = record.data.end;
            if record.kind == rr::OPT && edns.replace(record.edns()).is_some() {
                return None; // RFC 6891 §6.1.1: more than one is an error.
            }
        }
        Some(Query { id, flags, spelling, question, edns })
    }
}

/// The header's counts.
#[derive(Debug, Clone, Copy)]
struct Counts {
    questions: u16,
    answers: u16,
    authorities: u16,
    additionals: u16,
}

impl Counts {
    fn of(message: &[u8]) -> Option<Counts> {
        Some(Counts {
            questions: u16_at(message, 4)?,
            answers: u16_at(message, 6)?,
            authorities: u16_at(message, 8)?,
            additionals: u16_at(message, 10)?,
        })
    }
}

/// A record's place in a message.
#[derive(Debug, Clone)]
struct Record {
    kind: u16,
    class: u16,
    ttl: u32,
    /// Where the time to live stands.
    ttl_at: usize,
    data: Range<usize>,
}

impl Record {
    fn at(message: &[u8], at: usize) -> Option<Record> {
        let fixed = name_end(message, at)?;
        let ttl_at = fixed.checked_add(4)?;
        let start = fixed.checked_add(10)?;
        let end = start.checked_add(usize::from(u16_at(message, fixed.checked_add(8)?)?))?;
        message.get(start..end)?;
        Some(Record {
            kind: u16_at(message, fixed)?,
            class: u16_at(message, fixed.checked_add(2)?)?,
            ttl: u32_at(message, ttl_at)?,
            ttl_at,
            data: start..end,
        })
    }

    /// The time to live in seconds; the highest bit makes it 0 (RFC 2181 §8).
    fn ttl(&self) -> u32 {
        if self.ttl > i32::MAX as u32 { 0 } else { self.ttl }
    }

    fn edns(&self) -> Edns {
        let [_, version, flags, _] = self.ttl.to_be_bytes();
        Edns { size: self.class, version, dnssec: flags & 0x80 != 0 }
    }
}

/// Octets of an uncompressed name at the start of `bytes`. `None` when it is cut short, too long, or compressed.
pub fn plain_name_len(bytes: &[u8]) -> Option<usize> {
    let mut at = 0usize;
    loop {
        let len = usize::from(u8_at(bytes, at)?);
        at = at.checked_add(1)?.checked_add(len)?;
        if len > 63 || at > NAME_MAX {
            return None;
        }
        if len == 0 {
            return Some(at);
        }
    }
}

/// Where the name at `start` of a message ends. A compression pointer must point back, before the name, so that no
/// chain of them can be a loop.
fn name_end(message: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    loop {
        let len = u8_at(message, at)?;
        match len {
            0 => return at.checked_add(1),
            1..=63 => at = at.checked_add(1)?.checked_add(usize::from(len))?,
            0xc0..=0xff => {
                let target = usize::from(u16_at(message, at)? & 0x3fff);
                return (target >= HEADER && target < start).then_some(at.checked_add(2)?);
            }
            _ => return None,
        }
        if at.saturating_sub(start) > NAME_MAX {
            return None;
        }
    }
}

/// An answer, read as far as a forwarder needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its id.
    pub id: u16,
    /// The header's flags.
    pub flags: u16,
    /// The question's name as the server spells it.
    pub spelling: Vec<u8>,
    /// What the question asks for.
    pub question: Question,
    /// For how many seconds it may be kept; `None` when it may not.
    pub lifetime: Option<u32>,
}

impl Answer {
    /// Reads an answer, every record of it.
    pub fn parse(message: &[u8]) -> Option<Answer> {
        let (id, flags) = (u16_at(message, 0)?, u16_at(message, 2)?);
        let counts = Counts::of(message)?;
        if flags & flag::RESPONSE == 0 || flags & flag::OPCODE != 0 || counts.questions != 1 {
            return None;
        }
        let end = HEADER + plain_name_len(message.get(HEADER..)?)?;
        let spelling = message.get(HEADER..end)?.to_vec();
        let name = spelling.to_ascii_lowercase();
        let question = Question { name, kind: u16_at(message, end)?, class: u16_at(message, end + 2)? };

        let mut shortest = u32::MAX;
        let mut soa = None;
        let authorities =
            usize::from(counts.answers)..usize::from(counts.answers) + usize::from(counts.authorities);
        for (index, record) in records(message).enumerate() {
            let record = record?;
            if index < authorities.end {
                shortest = shortest.min(record.ttl());
            }
            if authorities.contains(&index) && record.kind == rr::SOA {
                // RFC 2308 §5: the lesser of the record's life and the SOA's last field.
                let minimum = u32_at(message, record.data.end.checked_sub(4)?)?;
                soa = Some(minimum.min(record.ttl()));
            }
        }
        let negative = flags & flag::RCODE == Rcode::NxDomain as u16 || counts.answers == 0;
        let cachable = flags & flag::TRUNCATED == 0
            && flags & flag::RCODE <= 3
            && flags & flag::RCODE != 1
            && flags & flag::RCODE != 2;
        let lifetime = match soa {
            _ if !cachable => None,
            Some(soa) => Some(shortest.min(soa)),
            None if negative => None,
            None => Some(shortest),
        };
        Some(Answer { id, flags, spelling, question, lifetime: lifetime.filter(|&lifetime| lifetime > 0) })
    }

    /// The response code, without EDNS's extension.
    pub fn rcode(&self) -> u16 {
        self.flags & flag::RCODE
    }

    /// The answer did not fit in its datagram.
    pub fn is_truncated(&self) -> bool {
        self.flags & flag::TRUNCATED != 0
    }
}

/// The addresses that an answer gives, of whatever name: names that stand for others have been followed by the server.
pub fn addresses(message: &[u8]) -> Vec<IpAddr> {
    let answers = Counts::of(message).map_or(0, |counts| usize::from(counts.answers));
    let records = records(message).take(answers).map_while(|record| record);
    records
        .filter_map(|record| {
            let data = message.get(record.data.clone())?;
            match (record.class, record.kind) {
                (rr::IN, rr::A) => Some(IpAddr::from(<[u8; 4]>::try_from(data).ok()?)),
                (rr::IN, rr::AAAA) => Some(IpAddr::from(<[u8; 16]>::try_from(data).ok()?)),
                _ => None,
            }
        })
        .collect()
}

/// The records of a message with one question, in order; `None` in place of one that cannot be read, and then no more.
fn records(message: &[u8]) -> impl Iterator<Item = Option<Record>> + '_ {
    let start = message.get(HEADER..).and_then(plain_name_len).map(|len| HEADER + len + 4);
    let total = Counts::of(message).map_or(0, |counts| {
        usize::from(counts.answers) + usize::from(counts.authorities) + usize::from(counts.additionals)
    });
    let mut at = start;
    (0..total).map_while(move |_| {
        let record = Record::at(message, at?);
        at = record.as_ref().map(|record| record.data.end);
        Some(record)
    })
}

/// Takes `seconds` off every record's time to live, EDNS excepted.
pub fn age(message: &mut [u8], seconds: u32) {
    let places: Vec<(usize, u32)> = records(message)
        .map_while(|record| record)
        .filter(|record| record.kind != rr::OPT)
        .map(|record| (record.ttl_at, record.ttl().saturating_sub(seconds)))
        .collect();
    for (at, ttl) in places {
        set_u32(message, at, ttl);
    }
}

/// Gives an answer the id and the spelling of the query that it goes to.
pub fn address_to(message: &mut [u8], id: u16, spelling: &[u8]) {
    set_u16(message, 0, id);
    if let Some(name) = message.get_mut(HEADER..).and_then(|rest| rest.get_mut(..spelling.len())) {
        name.copy_from_slice(spelling);
    }
}

/// A query to send on.
pub fn write_query(id: u16, flags: u16, spelling: &[u8], question: &Question, edns: Option<Edns>) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER + spelling.len() + 4 + 11);
    write_header(&mut out, id, flags, [1, 0, 0, u16::from(edns.is_some())]);
    out.extend_from_slice(spelling);
    out.extend_from_slice(&question.kind.to_be_bytes());
    out.extend_from_slice(&question.class.to_be_bytes());
    if let Some(edns) = edns {
        write_opt(&mut out, edns, 0);
    }
    out
}

/// An answer of the router's own.
#[derive(Debug, Clone)]
pub struct Response<'a> {
    /// The query that it answers.
    pub query: &'a Query,
    /// What it says.
    pub rcode: Rcode,
    /// Flags besides those that every answer has.
    pub flags: u16,
    /// Types and data of the answers; their name is the question's.
    pub answers: &'a [(u16, Vec<u8>)],
    /// Time to live of the answers, in seconds.
    pub ttl: u32,
    /// The zone that has no such name, or nothing of this type at it.
    pub zone: Option<&'a [u8]>,
}

impl Response<'_> {
    /// The message.
    pub fn to_bytes(&self) -> Vec<u8> {
        let query = self.query;
        let echoed = flag::RECURSION_DESIRED | flag::CHECKING_DISABLED;
        let rcode = self.rcode as u16;
        let flags = flag::RESPONSE
            | flag::RECURSION_AVAILABLE
            | (query.flags & echoed)
            | self.flags
            | (rcode & flag::RCODE);
        let count = |n: usize| u16::try_from(n).unwrap_or(0);
        let mut out = Vec::with_capacity(512);
        let counts =
            [1, count(self.answers.len()), u16::from(self.zone.is_some()), u16::from(query.edns.is_some())];
        write_header(&mut out, query.id, flags, counts);
        out.extend_from_slice(&query.spelling);
        out.extend_from_slice(&query.question.kind.to_be_bytes());
        out.extend_from_slice(&query.question.class.to_be_bytes());
        for (kind, data) in self.answers {
            out.extend_from_slice(&[0xc0, HEADER as u8]);
            write_record(&mut out, *kind, self.ttl, data);
        }
        if let Some(zone) = self.zone {
            out.extend_from_slice(zone);
            // Names: the zone's own, and nobody's mailbox; then serial, refresh, retry, expire and minimum.
            let mut data = [zone, &[0]].concat();
            for number in [1u32, 3600, 900, 86_400, self.ttl] {
                data.extend_from_slice(&number.to_be_bytes());
            }
            write_record(&mut out, rr::SOA, self.ttl, &data);
        }
        if let Some(edns) = query.edns {
            write_opt(
                &mut out,
                Edns { size: super::EDNS_SIZE, version: 0, dnssec: edns.dnssec },
                (rcode >> 4) as u8,
            );
        }
        out
    }
}

/// An answer to a query of which only the header could be read.
pub fn write_refusal(id: u16, flags: u16, rcode: Rcode) -> Vec<u8> {
    let kept = flags & (flag::OPCODE | flag::RECURSION_DESIRED);
    let mut out = Vec::with_capacity(HEADER);
    write_header(&mut out, id, flag::RESPONSE | kept | (rcode as u16 & flag::RCODE), [0; 4]);
    out
}

fn write_header(out: &mut Vec<u8>, id: u16, flags: u16, counts: [u16; 4]) {
    for number in [[id, flags].as_slice(), &counts].concat() {
        out.extend_from_slice(&number.to_be_bytes());
    }
}

fn write_record(out: &mut Vec<u8>, kind: u16, ttl: u32, data: &[u8]) {
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&rr::IN.to_be_bytes());
    out.extend_from_slice(&ttl.to_be_bytes());
    out.extend_from_slice(&u16::try_from(data.len()).unwrap_or(0).to_be_bytes());
    out.extend_from_slice(data);
}

fn write_opt(out: &mut Vec<u8>, edns: Edns, extended_rcode: u8) {
    let [size_high, size_low] = edns.size.to_be_bytes();
    let [kind_high, kind_low] = rr::OPT.to_be_bytes();
    let dnssec = if edns.dnssec { 0x80 } else { 0 };
    out.extend_from_slice(&[0, kind_high, kind_low, size_high, size_low, extended_rcode, 0, dnssec, 0, 0, 0]);
}
