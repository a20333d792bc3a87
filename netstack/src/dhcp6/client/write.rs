//! The messages of a client (RFC 8415 §18.2).

use alloc::vec::Vec;

use super::Client;
use super::leases::Leases;
use super::phase::{Farewell, Phase};
use crate::dhcp6::duid::Duid;
use crate::dhcp6::message::{Builder, MESSAGE_MAX, MessageType};
use crate::dhcp6::option::{IaKind, code};
use crate::dhcp6::retransmit::Transaction;
use crate::id::Ipv6Cidr;
use crate::time::Instant;

/// What is asked for with leases (RFC 7084 WAA-4, WAA-5, WAA-8).
const WITH_LEASES: [u16; 5] =
    [code::DNS_SERVERS, code::DOMAIN_LIST, code::SNTP_SERVERS, code::NTP_SERVER, code::SOL_MAX_RT];
/// What is asked for by Information-request.
const INFORMATION: [u16; 6] = [
    code::DNS_SERVERS,
    code::DOMAIN_LIST,
    code::SNTP_SERVERS,
    code::NTP_SERVER,
    code::INFORMATION_REFRESH_TIME,
    code::INF_MAX_RT,
];
/// Lifetimes and times in a client's message: the server decides (RFC 8415 §21.4, §21.6).
const SERVER_DECIDES: (u32, u32) = (0, 0);

impl Client {
    /// The message of what is under way.
    pub(super) fn message(&self, now: Instant) -> Option<Vec<u8>> {
        let message = match &self.phase {
            Phase::Down | Phase::Idle | Phase::Bound => return None,
            Phase::Soliciting { transaction, .. } => {
                let mut message = self.head(MessageType::Solicit, now, transaction, None);
                message.option(code::RAPID_COMMIT, &[]);
                self.ask(&mut message, &self.hints());
                message
            }
            Phase::Requesting { transaction, offer } => {
                let mut message = self.head(MessageType::Request, now, transaction, Some(&offer.server));
                self.ask(&mut message, &offer.leases);
                message
            }
            Phase::Confirming(transaction) if self.confirms_addresses() => {
                let mut message = self.head(MessageType::Confirm, now, transaction, None);
                self.leases(&mut message, &self.leases);
                message
            }
            Phase::Renewing(transaction) => {
                let mut message = self.head(MessageType::Renew, now, transaction, self.server.as_ref());
                self.ask(&mut message, &self.leases);
                message
            }
            Phase::Confirming(transaction) | Phase::Rebinding(transaction) => {
                let mut message = self.head(MessageType::Rebind, now, transaction, None);
                self.ask(&mut message, &self.leases);
                message
            }
        };
        Some(message.finish())
    }

    /// True when addresses alone are to be confirmed, which is done by Confirm and not by Rebind (RFC 8415 §18.2.12). Those in
    /// use are rebound: the answer to a Confirm does not say how long they last.
    pub(super) fn confirms_addresses(&self) -> bool {
        matches!(self.phase, Phase::Confirming(_)) && self.leases.prefixes.is_empty() && !self.confirmed
    }

    pub(super) fn information_request(&self, now: Instant, transaction: &Transaction) -> Vec<u8> {
        let mut message = self.head(MessageType::InformationRequest, now, transaction, None);
        message.option_request(&INFORMATION);
        message.option(code::RECONFIGURE_ACCEPT, &[]);
        message.finish()
    }

    pub(super) fn farewell_message(&self, now: Instant, farewell: &Farewell) -> Vec<u8> {
        let mut message = self.head(farewell.kind, now, &farewell.transaction, Some(&farewell.server));
        self.leases(&mut message, &farewell.leases);
        message.finish()
    }

    fn head(&self, kind: MessageType, now: Instant, asked: &Transaction, server: Option<&Duid>) -> Builder {
        let mut message = Builder::new(kind, asked.xid, MESSAGE_MAX);
        message.duid(code::CLIENT_ID, &self.settings.duid);
        if let Some(server) = server {
            message.duid(code::SERVER_ID, server);
        }
        message.option(code::ELAPSED_TIME, &asked.elapsed(now).to_be_bytes());
        message
    }

    /// Asks for leases, and for what comes with them.
    fn ask(&self, message: &mut Builder, leases: &Leases) {
        let mut codes = WITH_LEASES.to_vec();
        if self.settings.prefix.is_some() {
            codes.push(code::PREFIX_EXCLUDE);
        }
        message.option_request(&codes);
        message.option(code::RECONFIGURE_ACCEPT, &[]);
        self.leases(message, leases);
        // An association without leases asks for some.
        if self.settings.prefix.is_some() && leases.prefixes.is_empty() {
            let hint = self.settings.prefix.and_then(|prefix| prefix.length);
            message.ia(IaKind::Prefixes, self.settings.iaid, SERVER_DECIDES, |ia| {
                hint.is_none_or(|prefix| {
                    ia.ia_prefix(Ipv6Cidr { address: [0; 16].into(), prefix }, SERVER_DECIDES)
                })
            });
        }
        if self.managed && leases.addresses.is_empty() {
            message.ia(IaKind::Addresses, self.settings.iaid, SERVER_DECIDES, |_| true);
        }
    }

    fn leases(&self, message: &mut Builder, leases: &Leases) {
        if !leases.prefixes.is_empty() {
            message.ia(IaKind::Prefixes, self.settings.iaid, SERVER_DECIDES, |ia| {
                leases.prefixes.iter().all(|lease| ia.ia_prefix(lease.prefix, SERVER_DECIDES))
            });
        }
        if !leases.addresses.is_empty() {
            message.ia(IaKind::Addresses, self.settings.iaid, SERVER_DECIDES, |ia| {
                leases.addresses.iter().all(|lease| ia.ia_address(lease.address, SERVER_DECIDES))
            });
        }
    }

    /// What a Solicit wishes for: the prefixes from before, unless another length is wanted (RFC 7084 WPD-2).
    fn hints(&self) -> Leases {
        let wanted = self.settings.prefix.and_then(|prefix| prefix.length);
        let mut hints = self.leases.clone();
        hints.prefixes.retain(|lease| wanted.is_none_or(|length| length == lease.prefix.prefix));
        hints
    }
}
