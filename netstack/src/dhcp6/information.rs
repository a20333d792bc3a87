//! What servers tell besides leases: DNS and time servers, to use and to pass on (RFC 7084 WAA-4, WAA-5, L-12).

use alloc::string::String;
use alloc::vec::Vec;
use core::net::Ipv6Addr;

use super::option::{Options, code};

/// Most DNS servers that are kept.
const DNS_MAX: usize = 8;
/// Most octets of an option that is passed on unread.
const PASSED_ON_MAX: usize = 512;

/// What servers tell besides leases.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Information {
    /// DNS servers (RFC 3646), 8 at most.
    pub dns: Vec<Ipv6Addr>,
    /// Domains to search (RFC 3646), lower case, without a last dot; 16 at most.
    pub domains: Vec<String>,
    /// Options to pass on to hosts as they came, each with its code: NTP servers (RFC 5908), SNTP servers (RFC 4075). Up to
    /// 512 octets each.
    pub passed_on: Vec<(u16, Vec<u8>)>,
}

impl Information {
    /// What a Reply tells.
    pub(super) fn read(options: Options<'_>) -> Self {
        let mut dns = Vec::new();
        for server in options.addresses(code::DNS_SERVERS) {
            let usable = !server.is_unspecified() && !server.is_multicast() && !server.is_loopback();
            if usable && !dns.contains(&server) && dns.len() < DNS_MAX {
                dns.push(server);
            }
        }
        let passed_on = [code::NTP_SERVER, code::SNTP_SERVERS]
            .into_iter()
            .filter_map(|code| {
                let value = options.first(code)?;
                let whole = match code {
                    // Suboptions have the shape of options.
                    code::NTP_SERVER => Options::parse(value).is_some(),
                    _ => value.len() % 16 == 0,
                };
                (whole && !value.is_empty() && value.len() <= PASSED_ON_MAX).then(|| (code, value.to_vec()))
            })
            .collect();
        Information { dns, domains: options.domains(), passed_on }
    }
}
