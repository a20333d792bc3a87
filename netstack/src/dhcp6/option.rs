//! DHCPv6 options (RFC 8415 §21 and as noted): views to read them, and what they hold.
//!
//! A list of options is whole or it is none: [`Options::parse`] walks it once. What is inside an option is looked at when it
//! is asked for, so that one that is malformed does not take the others with it.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::Ipv6Addr;

use super::domain;
use crate::id::Ipv6Cidr;
use crate::wire::octets::{u8_at, u16_at, u32_at};

/// Option codes.
pub mod code {
    #![allow(missing_docs)]
    pub const CLIENT_ID: u16 = 1;
    pub const SERVER_ID: u16 = 2;
    pub const IA_NA: u16 = 3;
    pub const IA_ADDRESS: u16 = 5;
    pub const OPTION_REQUEST: u16 = 6;
    pub const PREFERENCE: u16 = 7;
    pub const ELAPSED_TIME: u16 = 8;
    pub const AUTHENTICATION: u16 = 11;
    pub const STATUS_CODE: u16 = 13;
    pub const RAPID_COMMIT: u16 = 14;
    pub const RECONFIGURE_MESSAGE: u16 = 19;
    pub const RECONFIGURE_ACCEPT: u16 = 20;
    /// RFC 3646.
    pub const DNS_SERVERS: u16 = 23;
    /// RFC 3646.
    pub const DOMAIN_LIST: u16 = 24;
    pub const IA_PD: u16 = 25;
    pub const IA_PREFIX: u16 = 26;
    /// RFC 4075.
    pub const SNTP_SERVERS: u16 = 31;
    pub const INFORMATION_REFRESH_TIME: u16 = 32;
    /// RFC 4704.
    pub const CLIENT_FQDN: u16 = 39;
    /// RFC 5908.
    pub const NTP_SERVER: u16 = 56;
    /// RFC 6603.
    pub const PREFIX_EXCLUDE: u16 = 67;
    pub const SOL_MAX_RT: u16 = 82;
    pub const INF_MAX_RT: u16 = 83;
}

/// A lifetime or time without end (RFC 8415 §7.7).
pub const INFINITY: u32 = u32::MAX;

/// An option's code and value.
pub type CodeAndValue<'a> = (u16, &'a [u8]);

/// A list of options, each of them whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options<'a>(&'a [u8]);

impl<'a> Options<'a> {
    /// The options in `bytes`. `None` when one is cut short or says that it is longer than what is there.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = bytes;
        while !rest.is_empty() {
            (_, rest) = split(rest)?;
        }
        Some(Options(bytes))
    }

    /// Each option's code and value, in order; codes that mean nothing here, and 0, are among them.
    pub fn iter(self) -> impl Iterator<Item = CodeAndValue<'a>> {
        let mut rest = self.0;
        core::iter::from_fn(move || {
            let (option, after) = split(rest)?;
            rest = after;
            Some(option)
        })
    }

    /// The value of the first option `code`.
    pub fn first(self, code: u16) -> Option<&'a [u8]> {
        self.all(code).next()
    }

    /// The values of every option `code`.
    pub fn all(self, code: u16) -> impl Iterator<Item = &'a [u8]> {
        self.iter().filter_map(move |(found, value)| (found == code).then_some(value))
    }

    /// The status code option, if it is there and whole.
    pub fn status(self) -> Option<Status<'a>> {
        Status::parse(self.first(code::STATUS_CODE)?)
    }

    /// The number in the first option `code`, when it is one of four octets.
    pub fn seconds(self, code: u16) -> Option<u32> {
        self.first(code)?.try_into().ok().map(u32::from_be_bytes)
    }

    /// The addresses in the first option `code`; what is left over at its end is not one.
    pub fn addresses(self, code: u16) -> impl Iterator<Item = Ipv6Addr> {
        let (chunks, _) = self.first(code).unwrap_or_default().as_chunks::<16>();
        chunks.iter().copied().map(Ipv6Addr::from)
    }

    /// The names in the domain list, those that are malformed or could do harm left out.
    pub fn domains(self) -> Vec<String> {
        domain::parse_list(self.first(code::DOMAIN_LIST).unwrap_or_default())
    }

    /// Every identity association of this kind that is whole.
    pub fn associations(self, kind: IaKind) -> impl Iterator<Item = Ia<'a>> {
        self.all(kind.code()).filter_map(Ia::parse)
    }

    /// Every address of an identity association that is whole.
    pub fn ia_addresses(self) -> impl Iterator<Item = IaAddress<'a>> {
        self.all(code::IA_ADDRESS).filter_map(IaAddress::parse)
    }

    /// Every prefix of an identity association that is whole.
    pub fn ia_prefixes(self) -> impl Iterator<Item = IaPrefix<'a>> {
        self.all(code::IA_PREFIX).filter_map(IaPrefix::parse)
    }

    /// True when the option request (RFC 8415 §21.7) names `code`.
    pub fn requests(self, code: u16) -> bool {
        self.first(code::OPTION_REQUEST)
            .is_some_and(|value| value.as_chunks::<2>().0.iter().any(|c| u16::from_be_bytes(*c) == code))
    }
}

/// The code and the value of the option at the start of `bytes`, and what follows it.
fn split(bytes: &[u8]) -> Option<(CodeAndValue<'_>, &[u8])> {
    let (&[c0, c1, l0, l1], rest) = bytes.split_first_chunk()?;
    let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([l0, l1])))?;
    Some(((u16::from_be_bytes([c0, c1]), value), rest))
}

/// What an identity association holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum IaKind {
    /// Addresses (RFC 8415 §21.4).
    Addresses,
    /// Delegated prefixes (RFC 8415 §21.21).
    Prefixes,
}

impl IaKind {
    /// Its option code.
    pub const fn code(self) -> u16 {
        match self {
            IaKind::Addresses => code::IA_NA,
            IaKind::Prefixes => code::IA_PD,
        }
    }
}

/// An identity association: IA_NA or IA_PD, which have the same shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ia<'a> {
    /// Which of the client's associations it is.
    pub iaid: u32,
    /// Seconds after which the client renews; 0 leaves it to the client.
    pub t1: u32,
    /// Seconds after which the client rebinds; 0 leaves it to the client.
    pub t2: u32,
    /// Its addresses or prefixes, and its status.
    pub options: Options<'a>,
}

impl<'a> Ia<'a> {
    /// The association in the value of an IA_NA or IA_PD. `None` when it is cut short, or when T1 is later than a T2 that
    /// is given (RFC 8415 §21.4, §21.21).
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let (iaid, t1, t2) = (u32_at(value, 0)?, u32_at(value, 4)?, u32_at(value, 8)?);
        let options = Options::parse(value.get(12..)?)?;
        (t2 == 0 || t1 <= t2).then_some(Ia { iaid, t1, t2, options })
    }
}

/// An address of an IA_NA (RFC 8415 §21.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IaAddress<'a> {
    /// The address.
    pub address: Ipv6Addr,
    /// Preferred lifetime in seconds.
    pub preferred: u32,
    /// Valid lifetime in seconds.
    pub valid: u32,
    /// Its status.
    pub options: Options<'a>,
}

impl<'a> IaAddress<'a> {
    /// The address in the value of an IA Address option. `None` when it is cut short or its preferred lifetime is longer
    /// than its valid one.
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let address = Ipv6Addr::from(*value.first_chunk::<16>()?);
        let (preferred, valid) = (u32_at(value, 16)?, u32_at(value, 20)?);
        let options = Options::parse(value.get(24..)?)?;
        (preferred <= valid).then_some(IaAddress { address, preferred, valid, options })
    }
}

/// A prefix of an IA_PD (RFC 8415 §21.22).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IaPrefix<'a> {
    /// Preferred lifetime in seconds.
    pub preferred: u32,
    /// Valid lifetime in seconds.
    pub valid: u32,
    /// The prefix, without the bits behind its length. A client that only wishes for a length gives `::`.
    pub prefix: Ipv6Cidr,
    /// Its status, and the prefix to exclude.
    pub options: Options<'a>,
}

impl<'a> IaPrefix<'a> {
    /// The prefix in the value of an IA Prefix option. `None` when it is cut short, longer than 128 bits, or its preferred
    /// lifetime is longer than its valid one.
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let (preferred, valid) = (u32_at(value, 0)?, u32_at(value, 4)?);
        let length = u8_at(value, 8).filter(|&length| length <= 128)?;
        let address = Ipv6Addr::from(*value.get(9..)?.first_chunk::<16>()?);
        let options = Options::parse(value.get(25..)?)?;
        (preferred <= valid).then_some(IaPrefix {
            preferred,
            valid,
            prefix: Ipv6Cidr { address, prefix: length }.network(),
            options,
        })
    }

    /// The part of the prefix that the delegating router keeps for the link to us (RFC 6603 §4.2). `None` when there is
    /// none, or when it does not lie within the prefix.
    pub fn exclude(self) -> Option<Ipv6Cidr> {
        let (&length, subnet) = self.options.first(code::PREFIX_EXCLUDE)?.split_first()?;
        let outer = self.prefix.prefix;
        let bits = length.checked_sub(outer).filter(|&bits| bits > 0 && length <= 128)?;
        if subnet.len() != usize::from(bits.div_ceil(8)) {
            return None;
        }
        // The subnet's bits begin where those of the delegated prefix end.
        let id = subnet.iter().fold(0u128, |id, &octet| (id << 8) | u128::from(octet));
        let id = id.checked_shr((8 - u32::from(bits) % 8) % 8)?;
        let id = id.checked_shl(128u32.saturating_sub(u32::from(length)))?;
        let address = Ipv6Addr::from_bits(self.prefix.address.to_bits() | id);
        Some(Ipv6Cidr { address, prefix: length }.network())
    }
}

/// How something went (RFC 8415 §21.13).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusCode {
    /// Well.
    Success,
    /// It failed, and the server does not say why.
    UnspecFail,
    /// The server has no address to give.
    NoAddrsAvail,
    /// The server does not know the client's lease.
    NoBinding,
    /// The addresses do not belong on this link.
    NotOnLink,
    /// The client shall send by multicast.
    UseMulticast,
    /// The server has no prefix to give.
    NoPrefixAvail,
    /// A code that this router does not know.
    Other(u16),
}

impl StatusCode {
    /// The code of `value`.
    pub const fn from_u16(value: u16) -> Self {
        match value {
            0 => StatusCode::Success,
            1 => StatusCode::UnspecFail,
            2 => StatusCode::NoAddrsAvail,
            3 => StatusCode::NoBinding,
            4 => StatusCode::NotOnLink,
            5 => StatusCode::UseMulticast,
            6 => StatusCode::NoPrefixAvail,
            other => StatusCode::Other(other),
        }
    }

    /// The number on the wire.
    pub const fn to_u16(self) -> u16 {
        match self {
            StatusCode::Success => 0,
            StatusCode::UnspecFail => 1,
            StatusCode::NoAddrsAvail => 2,
            StatusCode::NoBinding => 3,
            StatusCode::NotOnLink => 4,
            StatusCode::UseMulticast => 5,
            StatusCode::NoPrefixAvail => 6,
            StatusCode::Other(other) => other,
        }
    }
}

impl fmt::Display for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StatusCode::Success => "success",
            StatusCode::UnspecFail => "it failed for a reason it does not tell (UnspecFail)",
            StatusCode::NoAddrsAvail => "it has no address to give (NoAddrsAvail)",
            StatusCode::NoBinding => "it does not know our lease (NoBinding)",
            StatusCode::NotOnLink => "our addresses do not belong on this link (NotOnLink)",
            StatusCode::UseMulticast => "it wants to be asked by multicast (UseMulticast)",
            StatusCode::NoPrefixAvail => "it has no prefix to delegate (NoPrefixAvail)",
            StatusCode::Other(code) => return write!(f, "it answered with the unknown status {code}"),
        })
    }
}

/// A status code option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status<'a> {
    /// How it went.
    pub code: StatusCode,
    /// What the server says about it: text from a stranger, to be shown with care.
    pub message: &'a [u8],
}

impl<'a> Status<'a> {
    /// The status in the value of a status code option. `None` when it is cut short.
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        Some(Status { code: StatusCode::from_u16(u16_at(value, 0)?), message: value.get(2..)? })
    }
}
