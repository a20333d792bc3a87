//! What a client has under way.

use super::leases::Leases;
use crate::dhcp6::duid::Duid;
use crate::dhcp6::message::MessageType;
use crate::dhcp6::retransmit::Transaction;
use crate::time::Instant;

/// A server's offer, in the form in which it is requested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) server: Duid,
    pub(super) preference: u8,
    pub(super) leases: Leases,
}

/// What is under way.
#[derive(Debug)]
pub(super) enum Phase {
    /// The link is down.
    Down,
    /// There is nothing to lease.
    Idle,
    /// Servers are being looked for; the best offer so far.
    Soliciting { transaction: Transaction, best: Option<Offer> },
    /// An offer was taken.
    Requesting { transaction: Transaction, offer: Offer },
    /// What we have from before is to be confirmed.
    Confirming(Transaction),
    /// We have leases, and wait for T1.
    Bound,
    /// Past T1.
    Renewing(Transaction),
    /// Past T2.
    Rebinding(Transaction),
}

impl Phase {
    pub(super) fn transaction(&self) -> Option<&Transaction> {
        match self {
            Phase::Down | Phase::Idle | Phase::Bound => None,
            Phase::Soliciting { transaction, .. }
            | Phase::Requesting { transaction, .. }
            | Phase::Confirming(transaction)
            | Phase::Renewing(transaction)
            | Phase::Rebinding(transaction) => Some(transaction),
        }
    }

    pub(super) fn transaction_mut(&mut self) -> Option<&mut Transaction> {
        match self {
            Phase::Down | Phase::Idle | Phase::Bound => None,
            Phase::Soliciting { transaction, .. }
            | Phase::Requesting { transaction, .. }
            | Phase::Confirming(transaction)
            | Phase::Renewing(transaction)
            | Phase::Rebinding(transaction) => Some(transaction),
        }
    }
}

/// Asking for what is told without leases.
#[derive(Debug)]
pub(super) enum Inquiry {
    /// Not needed.
    Off,
    /// An Information-request is under way.
    Asking(Transaction),
    /// It was answered; it is asked again at this instant.
    Known(Instant),
}

/// Leases that are given back.
#[derive(Debug)]
pub(super) struct Farewell {
    pub(super) kind: MessageType,
    pub(super) transaction: Transaction,
    pub(super) server: Duid,
    pub(super) leases: Leases,
}
