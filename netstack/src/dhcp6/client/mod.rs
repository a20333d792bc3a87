//! The DHCPv6 client of one uplink, with prefix delegation (RFC 8415, RFC 7084 WAA and WPD).
//!
//! How it works: the link comes up ([`Client::start`]). With a prefix from before, any server is asked by Rebind to confirm it;
//! otherwise servers are solicited, the best offer is requested (or a server commits at once), and the client is bound. At T1
//! it renews with that server, at T2 it rebinds with any, and when the last lease ends it solicits anew. What else servers tell
//! comes with the leases, or by Information-request when there are none to ask for.
//!
//! One message is under way at a time, and it has its own [`Transaction`]; Information-request and Decline are apart from it, for
//! they do not touch what is leased. [`leases`] keeps what is leased, [`write`] makes the messages.
//!
//! Nothing is released when the link goes down or the router stops: leases are remembered, and confirmed later (RFC 9096
//! WPD-9).

mod event;
mod leases;
#[cfg(test)]
mod tests;
mod write;

use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::Ipv6Addr;

pub use event::{Event, Loss};
pub use leases::{Address, Delegation};

use super::duid::Duid;
use super::message::{Message, MessageType};
use super::option::{IaKind, Options, StatusCode, code};
use super::reconfigure::ReconfigureKey;
use super::retransmit::{self, Step, Timing, Transaction};
use super::{CLIENT_PORT, HOP_LIMIT, Information, SERVER_PORT};
use crate::frame::Frame;
use crate::id::Ipv6Cidr;
use crate::ledger::DropReason;
use crate::machine::Cx;
use crate::settings::PrefixRequest;
use crate::time::{Duration, Instant, earliest};
use crate::wire::ipv6::{ALL_DHCP_SERVERS, Header, Ipv6};
use leases::{LEASES_MAX, Leases};

/// Most facts waiting to be told.
const EVENTS: usize = 64;
/// Seconds in which SOL_MAX_RT and INF_MAX_RT must lie to be taken (RFC 8415 §21.24, §21.25).
const MAX_RT: core::ops::RangeInclusive<u32> = 60..=86_400;
/// Number of Solicits without an answer after which the silence is told, and information is asked for by itself.
const SILENT_AFTER: u32 = 4;
/// How long the client waits, after the second refusal in a row, before it solicits again; doubled each time.
const HOLD_OFF: Duration = Duration::from_secs(10);
/// Most doublings of [`HOLD_OFF`].
const HOLD_OFF_DOUBLINGS: u32 = 6;
/// Information is asked for again after this many seconds unless the server says (IRT_DEFAULT, RFC 8415 §21.23).
const REFRESH_DEFAULT: u32 = 86_400;
/// But never earlier than after this many (IRT_MINIMUM).
const REFRESH_MIN: u32 = 600;
/// The preference with which an offer is taken at once (RFC 8415 §18.2.1).
const PREFERENCE_MAX: u8 = 255;

/// What an uplink's client is told to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientSettings {
    /// Who we are. The same on every uplink and in every life (RFC 7084 W-5).
    pub duid: Duid,
    /// Which of our interfaces this is. The same in every life and session (RFC 9096 WPD-10).
    pub iaid: u32,
    /// What prefix to ask for, if any.
    pub prefix: Option<PrefixRequest>,
}

/// What a client shows of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// What it does: `down`, `idle`, `asking` or `informed` (without leases), `soliciting`, `requesting`, `confirming`, `bound`,
    /// `renewing`, `rebinding`.
    pub state: &'static str,
    /// Since when.
    pub since: Instant,
    /// The server that has leased something to us.
    pub server: Option<Duid>,
    /// When it renews (T1).
    pub renew_at: Option<Instant>,
    /// When it rebinds (T2).
    pub rebind_at: Option<Instant>,
    /// What last went wrong, as a sentence, while nothing has gone well since.
    pub failure: Option<String>,
}

/// A server's offer, in the form in which it is requested.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Offer {
    server: Duid,
    preference: u8,
    leases: Leases,
}

/// What is under way.
#[derive(Debug)]
enum Phase {
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
    fn transaction(&self) -> Option<&Transaction> {
        match self {
            Phase::Down | Phase::Idle | Phase::Bound => None,
            Phase::Soliciting { transaction, .. }
            | Phase::Requesting { transaction, .. }
            | Phase::Confirming(transaction)
            | Phase::Renewing(transaction)
            | Phase::Rebinding(transaction) => Some(transaction),
        }
    }

    fn transaction_mut(&mut self) -> Option<&mut Transaction> {
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
enum Inquiry {
    /// Not needed.
    Off,
    /// An Information-request is under way.
    Asking(Transaction),
    /// It was answered; it is asked again at this instant.
    Known(Instant),
}

/// Leases that are given back.
#[derive(Debug)]
struct Farewell {
    kind: MessageType,
    transaction: Transaction,
    server: Duid,
    leases: Leases,
}

/// The DHCPv6 client of one uplink.
#[derive(Debug)]
pub struct Client {
    settings: ClientSettings,
    /// Our link-local address, while the link is up.
    source: Option<Ipv6Addr>,
    /// The router there says that addresses (M), or other things (O), are to be had by DHCPv6.
    managed: bool,
    other: bool,
    phase: Phase,
    since: Instant,
    leases: Leases,
    /// The leases were given or confirmed since the link came up.
    confirmed: bool,
    server: Option<Duid>,
    renew_at: Instant,
    rebind_at: Instant,
    key: Option<ReconfigureKey>,
    information: Information,
    inquiry: Inquiry,
    /// A server wants us to ask for information.
    woken: bool,
    farewell: Option<Farewell>,
    solicit: Timing,
    inform: Timing,
    /// Refusals in a row.
    refusals: u32,
    failure: Option<String>,
    transmit: VecDeque<Vec<u8>>,
    events: VecDeque<Event>,
}

impl Client {
    /// A client whose link is down.
    pub fn new(settings: ClientSettings) -> Self {
        Client {
            settings,
            source: None,
            managed: false,
            other: false,
            phase: Phase::Down,
            since: Instant::ZERO,
            leases: Leases::default(),
            confirmed: false,
            server: None,
            renew_at: Instant::FOREVER,
            rebind_at: Instant::FOREVER,
            key: None,
            information: Information::default(),
            inquiry: Inquiry::Off,
            woken: false,
            farewell: None,
            solicit: retransmit::SOLICIT,
            inform: retransmit::INFORMATION,
            refusals: 0,
            failure: None,
            transmit: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Remembers the prefixes of an earlier life, to be confirmed when the link comes up.
    pub fn restore(&mut self, cx: &mut Cx<'_>, prefixes: Vec<Delegation>) {
        if matches!(self.phase, Phase::Down) && self.settings.prefix.is_some() {
            self.leases.prefixes = prefixes;
            self.leases.prefixes.retain(|lease| leases::may_be_delegated(lease.prefix));
            self.leases.expire(cx.now);
            self.leases.prefixes.truncate(LEASES_MAX);
        }
    }

    /// The link is up, with this link-local address of ours: the one that was negotiated, for servers know us by it.
    pub fn start(&mut self, cx: &mut Cx<'_>, source: Ipv6Addr) {
        if self.source == Some(source) {
            return;
        }
        self.stop(cx);
        self.source = Some(source);
        self.refusals = 0;
        if !self.leases.is_empty() {
            let transaction = Transaction::new(cx, retransmit::CONFIRM);
            self.enter(cx, Phase::Confirming(transaction));
        } else {
            self.begin(cx);
        }
        self.handle_timeout(cx);
    }

    /// The link is down. What is leased stays remembered until it ends, but it counts for nothing until it is confirmed.
    pub fn stop(&mut self, cx: &mut Cx<'_>) {
        if self.source.take().is_none() {
            return;
        }
        self.enter(cx, Phase::Down);
        self.confirmed = false;
        self.managed = false;
        self.other = false;
        self.key = None;
        self.information = Information::default();
        self.inquiry = Inquiry::Off;
        self.woken = false;
        self.farewell = None;
        self.solicit = retransmit::SOLICIT;
        self.inform = retransmit::INFORMATION;
        self.transmit.clear();
    }

    /// A router of the link has told whether addresses (M) or other things (O) are to be had by DHCPv6.
    pub fn advise(&mut self, cx: &mut Cx<'_>, managed: bool, other: bool) {
        if self.source.is_none() {
            return;
        }
        let anew = managed && !self.managed;
        self.managed = managed;
        self.other = other;
        if anew {
            match self.phase {
                Phase::Idle | Phase::Soliciting { .. } => self.begin(cx),
                Phase::Bound => self.renew(cx),
                // What is sent next asks for an address, too.
                _ => {}
            }
        }
        self.handle_timeout(cx);
    }

    /// Another node uses `address`, which was leased to us: the server is told, and asked for another one (RFC 8415 §18.2.8).
    pub fn decline(&mut self, cx: &mut Cx<'_>, address: Ipv6Addr) {
        let (declined, kept): (Vec<_>, Vec<_>) =
            self.leases.addresses.iter().partition(|lease| lease.address == address);
        let Some(server) = self.server.clone().filter(|_| self.confirmed && !declined.is_empty()) else {
            return;
        };
        self.leases.addresses = kept;
        self.farewell = Some(Farewell {
            kind: MessageType::Decline,
            transaction: Transaction::new(cx, retransmit::DECLINE),
            server,
            leases: Leases { prefixes: Vec::new(), addresses: declined },
        });
        self.tell_change();
        self.handle_timeout(cx);
    }

    /// Gives everything back for good, as when the uplink is to be no more. Without this call nothing ever is (RFC 9096 WPD-9).
    pub fn release(&mut self, cx: &mut Cx<'_>) {
        if let Some(server) = self.server.take().filter(|_| self.confirmed && !self.leases.is_empty()) {
            self.farewell = Some(Farewell {
                kind: MessageType::Release,
                transaction: Transaction::new(cx, retransmit::RELEASE),
                server,
                leases: core::mem::take(&mut self.leases),
            });
            self.confirmed = false;
            self.enter(cx, Phase::Idle);
        }
        self.handle_timeout(cx);
    }

    /// A packet for our UDP port came in, from its IPv6 header on. An error says why it was of no use.
    pub fn handle(&mut self, cx: &mut Cx<'_>, packet: &[u8]) -> Result<(), DropReason> {
        let packet = Ipv6::parse(packet).ok_or(DropReason::DhcpMalformed)?;
        let udp = packet.udp().ok_or(DropReason::DhcpMalformed)?;
        let message = Message::parse(udp.payload).ok_or(DropReason::DhcpMalformed)?;
        let ours = Some(packet.destination()) == self.source && udp.destination_port == CLIENT_PORT;
        // RFC 8415 §16.3, §16.10, §16.11: both must say who they are.
        let server = message.server().ok_or(DropReason::DhcpMalformed)?;
        let for_us = message.client().is_some_and(|client| client == self.settings.duid);
        if !ours || !for_us {
            return Err(DropReason::DhcpUnexpected);
        }
        self.handle_timeout(cx);
        match message.kind {
            MessageType::Advertise => self.advertised(cx, message, server)?,
            MessageType::Reply => self.replied(cx, message, server)?,
            MessageType::Reconfigure => self.reconfigured(cx, message, server)?,
            _ => return Err(DropReason::DhcpUnexpected),
        }
        self.handle_timeout(cx);
        Ok(())
    }

    /// Ends what has run out, and sends what is due.
    pub fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        self.expire(cx);
        self.drive(cx);
        self.inquire(cx);
        self.part(cx);
    }

    /// When there is next something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let times = match self.phase {
            Phase::Bound => Some(self.renew_at.min(self.rebind_at)),
            Phase::Renewing(_) => Some(self.rebind_at),
            _ => None,
        };
        let inquiry = match &self.inquiry {
            Inquiry::Off => None,
            Inquiry::Asking(transaction) => Some(transaction.deadline()),
            Inquiry::Known(refresh) => Some(*refresh),
        };
        let farewell = self.farewell.as_ref().map(|farewell| farewell.transaction.deadline());
        let asking = earliest(self.phase.transaction().map(Transaction::deadline), times);
        let asking = earliest(asking, earliest(inquiry, farewell));
        earliest(asking, self.leases.deadline()).filter(|&at| at != Instant::FOREVER)
    }

    /// Writes the next packet, from the IPv6 header on, behind what `frame` holds, and says whether there was one.
    pub fn poll_transmit(&mut self, frame: &mut Frame) -> bool {
        let Some(source) = self.source else { return false };
        let header = Header { source, destination: ALL_DHCP_SERVERS, hop_limit: HOP_LIMIT };
        self.transmit
            .pop_front()
            .is_some_and(|message| header.write_udp(CLIENT_PORT, SERVER_PORT, &message, frame))
    }

    /// The next fact.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The prefixes that are ours on this link now. Those from before are not among them until they are confirmed.
    pub fn prefixes(&self) -> &[Delegation] {
        if self.confirmed { &self.leases.prefixes } else { &[] }
    }

    /// The addresses that are ours on this link now.
    pub fn addresses(&self) -> &[Address] {
        if self.confirmed { &self.leases.addresses } else { &[] }
    }

    /// What servers have told besides leases.
    pub fn information(&self) -> &Information {
        &self.information
    }

    /// The prefixes to store for [`Client::restore`], confirmed or not.
    pub fn remembered(&self) -> &[Delegation] {
        &self.leases.prefixes
    }

    /// What the client shows of itself.
    pub fn status(&self) -> Status {
        let state = match (&self.phase, &self.inquiry) {
            (Phase::Down, _) => "down",
            (Phase::Idle, Inquiry::Off) => "idle",
            (Phase::Idle, Inquiry::Asking(_)) => "asking",
            (Phase::Idle, Inquiry::Known(_)) => "informed",
            (Phase::Soliciting { .. }, _) => "soliciting",
            (Phase::Requesting { .. }, _) => "requesting",
            (Phase::Confirming(_), _) => "confirming",
            (Phase::Bound, _) => "bound",
            (Phase::Renewing(_), _) => "renewing",
            (Phase::Rebinding(_), _) => "rebinding",
        };
        let at = |at: Instant| Some(at).filter(|&at| self.confirmed && at != Instant::FOREVER);
        Status {
            state,
            since: self.since,
            server: self.server.clone().filter(|_| self.confirmed),
            renew_at: at(self.renew_at),
            rebind_at: at(self.rebind_at),
            failure: self.failure.clone(),
        }
    }

    fn enter(&mut self, cx: &Cx<'_>, phase: Phase) {
        self.phase = phase;
        self.since = cx.now;
    }

    /// Looks for servers, if there is anything to lease.
    fn begin(&mut self, cx: &mut Cx<'_>) {
        let phase = if self.settings.prefix.is_some() || self.managed {
            Phase::Soliciting { transaction: Transaction::new(cx, self.solicit), best: None }
        } else {
            Phase::Idle
        };
        self.enter(cx, phase);
    }

    fn renew(&mut self, cx: &mut Cx<'_>) {
        let transaction = Transaction::new(cx, retransmit::RENEW);
        self.enter(cx, Phase::Renewing(transaction));
    }

    fn rebind(&mut self, cx: &mut Cx<'_>) {
        let transaction = Transaction::new(cx, retransmit::REBIND);
        self.enter(cx, Phase::Rebinding(transaction));
    }

    fn request(&mut self, cx: &mut Cx<'_>, offer: Offer) {
        let transaction = Transaction::new(cx, retransmit::REQUEST);
        self.enter(cx, Phase::Requesting { transaction, offer });
    }

    /// Looks for servers after one has refused: at once, but when it happens again, after a while.
    fn begin_after_refusal(&mut self, cx: &mut Cx<'_>, status: String) {
        self.tell_refusal(status);
        self.begin(cx);
        if let (Phase::Soliciting { transaction, .. }, Some(doublings)) =
            (&mut self.phase, self.refusals.checked_sub(1))
        {
            let wait = HOLD_OFF.saturating_mul(1 << doublings.min(HOLD_OFF_DOUBLINGS));
            *transaction = Transaction::at(cx, self.solicit, cx.now + wait);
        }
        self.refusals = self.refusals.saturating_add(1);
    }

    fn expire(&mut self, cx: &mut Cx<'_>) {
        if !self.leases.expire(cx.now) {
            return;
        }
        match (self.confirmed, self.leases.is_empty()) {
            (true, true) => self.lose(cx, Loss::Expired),
            (true, false) => self.tell_change(),
            (false, true) if matches!(self.phase, Phase::Confirming(_)) => self.begin(cx),
            (false, _) => {}
        }
    }

    /// Nothing is leased to us any more.
    fn lose(&mut self, cx: &mut Cx<'_>, why: Loss) {
        self.leases = Leases::default();
        self.confirmed = false;
        self.server = None;
        self.key = None;
        self.failure = Some(format!("What was leased to us is lost: {why}."));
        self.tell(Event::Lost { why });
        if !matches!(self.phase, Phase::Soliciting { .. } | Phase::Requesting { .. }) {
            self.begin(cx);
        }
    }

    fn drive(&mut self, cx: &mut Cx<'_>) {
        match self.phase {
            Phase::Bound | Phase::Renewing(_) if cx.now >= self.rebind_at => {
                self.silent("to renew what it leased to us");
                self.rebind(cx);
            }
            Phase::Bound if cx.now >= self.renew_at => self.renew(cx),
            _ => {}
        }
        // The first retransmission time is over: the best offer is taken.
        if let Phase::Soliciting { transaction, best } = &mut self.phase
            && transaction.sent > 0
            && cx.now >= transaction.deadline()
            && let Some(offer) = best.take()
        {
            self.request(cx, offer);
        }
        let Some(transaction) = self.phase.transaction_mut() else { return };
        match transaction.step(cx) {
            Step::Wait => {}
            Step::Send => {
                let silent =
                    transaction.sent == SILENT_AFTER && matches!(self.phase, Phase::Soliciting { .. });
                if let Some(message) = self.message(cx.now) {
                    self.transmit.push_back(message);
                }
                if silent {
                    self.silent("who can lease us something");
                }
            }
            Step::Failed => {
                self.silent(match self.phase {
                    Phase::Confirming(_) => "to confirm what was leased to us",
                    _ => "to lease us what it has offered",
                });
                self.begin(cx);
                self.drive(cx);
            }
        }
    }

    /// Asks for what is told without leases, when that is all there is to be had.
    fn inquire(&mut self, cx: &mut Cx<'_>) {
        let alone = match &self.phase {
            Phase::Idle => true,
            Phase::Soliciting { transaction, .. } => transaction.sent >= SILENT_AFTER,
            _ => false,
        };
        let wanted = self.woken || (self.other && alone);
        match &mut self.inquiry {
            inquiry if !wanted => *inquiry = Inquiry::Off,
            Inquiry::Off => self.inquiry = Inquiry::Asking(Transaction::new(cx, self.inform)),
            Inquiry::Known(refresh) if cx.now >= *refresh => {
                self.inquiry = Inquiry::Asking(Transaction::at(cx, self.inform, cx.now));
            }
            _ => {}
        }
        if let Inquiry::Asking(transaction) = &mut self.inquiry
            && transaction.step(cx) == Step::Send
        {
            let transaction = transaction.clone();
            self.transmit.push_back(self.information_request(cx.now, &transaction));
        }
    }

    /// Gives leases back.
    fn part(&mut self, cx: &mut Cx<'_>) {
        match self.farewell.as_mut().map(|farewell| farewell.transaction.step(cx)) {
            Some(Step::Send) => {
                let message = self.farewell.as_ref().map(|farewell| self.farewell_message(cx.now, farewell));
                self.transmit.extend(message);
            }
            Some(Step::Failed) => self.parted(cx),
            Some(Step::Wait) | None => {}
        }
    }

    /// Leases were given back. When it was an address that another node uses, another one is asked for.
    fn parted(&mut self, cx: &mut Cx<'_>) {
        let Some(farewell) = self.farewell.take() else { return };
        if farewell.kind == MessageType::Decline {
            match self.phase {
                Phase::Bound if self.leases.is_empty() => self.begin(cx),
                Phase::Bound => self.renew(cx),
                _ => {}
            }
            self.drive(cx);
        }
    }

    fn advertised(&mut self, cx: &mut Cx<'_>, message: Message<'_>, server: Duid) -> Result<(), DropReason> {
        let Phase::Soliciting { transaction, .. } = &self.phase else {
            return Err(DropReason::DhcpUnexpected);
        };
        if transaction.xid != message.xid || transaction.sent == 0 {
            return Err(DropReason::DhcpUnexpected);
        }
        // Taken even from an Advertise that is of no other use (RFC 8415 §18.2.9).
        self.read_limits(message.options);
        let mut leases = Leases::default();
        self.read_leases(cx.now, message.options, &mut leases);
        if !self.suffices(&leases) {
            let status = self.refusal(message.options);
            self.tell_refusal(status);
            return Ok(());
        }
        let preference = match message.options.first(code::PREFERENCE) {
            Some(&[preference]) => preference,
            _ => 0,
        };
        let offer = Offer { server, preference, leases };
        let Phase::Soliciting { transaction, best } = &mut self.phase else { return Ok(()) };
        if preference == PREFERENCE_MAX || transaction.sent > 1 {
            self.request(cx, offer);
        } else if best.as_ref().is_none_or(|best| best.preference < preference) {
            *best = Some(offer);
        }
        Ok(())
    }

    fn replied(&mut self, cx: &mut Cx<'_>, message: Message<'_>, server: Duid) -> Result<(), DropReason> {
        if let Inquiry::Asking(transaction) = &self.inquiry
            && transaction.xid == message.xid
        {
            self.informed(cx, message.options);
            return Ok(());
        }
        if self.farewell.as_ref().is_some_and(|farewell| farewell.transaction.xid == message.xid) {
            self.parted(cx);
            return Ok(());
        }
        let expected = match &self.phase {
            Phase::Down | Phase::Idle | Phase::Bound => false,
            Phase::Soliciting { .. } => message.options.first(code::RAPID_COMMIT).is_some(),
            Phase::Requesting { offer, .. } => offer.server == server,
            Phase::Renewing(_) => self.server.as_ref() == Some(&server),
            Phase::Confirming(_) | Phase::Rebinding(_) => true,
        };
        let asked = self.phase.transaction().is_some_and(|asked| asked.sent > 0 && asked.xid == message.xid);
        if !expected || !asked {
            return Err(DropReason::DhcpUnexpected);
        }
        self.read_limits(message.options);
        match self.phase {
            Phase::Soliciting { .. } | Phase::Requesting { .. } => self.granted(cx, message, server),
            _ => self.renewed(cx, message, server),
        }
        Ok(())
    }

    /// A Reply to Request, or to Solicit.
    fn granted(&mut self, cx: &mut Cx<'_>, message: Message<'_>, server: Duid) {
        let mut leases = Leases::default();
        let times = self.read_leases(cx.now, message.options, &mut leases);
        if self.suffices(&leases) {
            let had = self.confirmed.then(|| self.leases.prefix_list());
            self.leases = leases;
            self.bind(cx, message, server, times, had);
            return;
        }
        let status = message.options.status().map(|status| status.code);
        // It may go better the next time it is sent (RFC 8415 §18.2.10).
        if status == Some(StatusCode::UnspecFail) || status == Some(StatusCode::UseMulticast) {
            let status = self.refusal(message.options);
            self.tell_refusal(status);
            return;
        }
        let status = self.refusal(message.options);
        self.begin_after_refusal(cx, status);
    }

    /// A Reply to Renew, Rebind or Confirm.
    fn renewed(&mut self, cx: &mut Cx<'_>, message: Message<'_>, server: Duid) {
        let status = message.options.status().map_or(StatusCode::Success, |status| status.code);
        if self.confirms_addresses() {
            match status {
                StatusCode::Success => {
                    // A Confirm is answered by a word alone: the times are what they were.
                    self.confirmed = true;
                    self.server.get_or_insert(server.clone());
                    self.enter(cx, Phase::Bound);
                    self.tell(Event::Bound { prefixes: self.leases.prefix_list(), server });
                }
                StatusCode::NotOnLink => self.lose(cx, Loss::NotOnLink),
                _ => {}
            }
            return;
        }
        if self.has_no_binding(message.options) {
            // The server can lease it anew (RFC 8415 §18.2.10.1).
            let status = self.refusal(message.options);
            self.tell_refusal(status);
            let leases = self.leases.clone();
            self.request(cx, Offer { server, preference: 0, leases });
            return;
        }
        if status == StatusCode::NotOnLink {
            self.lose(cx, Loss::NotOnLink);
            return;
        }
        let named = [IaKind::Prefixes, IaKind::Addresses]
            .into_iter()
            .flat_map(|kind| message.options.associations(kind))
            .any(|ia| {
                let leases = ia.options.ia_prefixes().next().is_some();
                ia.iaid == self.settings.iaid && (leases || ia.options.ia_addresses().next().is_some())
            });
        if !named {
            // It says nothing of our leases, and so it is no answer.
            let status = self.refusal(message.options);
            self.tell_refusal(status);
            return;
        }
        let had = self.confirmed.then(|| self.leases.prefix_list());
        let mut leases = self.leases.clone();
        let times = self.read_leases(cx.now, message.options, &mut leases);
        self.leases = leases;
        if self.leases.is_empty() {
            self.lose(cx, Loss::Withdrawn);
            return;
        }
        self.bind(cx, message, server, times, had);
    }

    /// The leases are ours from now on.
    fn bind(
        &mut self,
        cx: &mut Cx<'_>,
        message: Message<'_>,
        server: Duid,
        times: (u32, u32),
        had: Option<Vec<Ipv6Cidr>>,
    ) {
        (self.renew_at, self.rebind_at) = self.leases.times(cx.now, times);
        if let Some(key) = ReconfigureKey::from_reply(message) {
            self.key = Some(key);
        } else if self.server.as_ref() != Some(&server) {
            self.key = None;
        }
        self.confirmed = true;
        self.refusals = 0;
        self.failure = None;
        self.server = Some(server.clone());
        self.enter(cx, Phase::Bound);
        let prefixes = self.leases.prefix_list();
        self.tell(match had {
            None => Event::Bound { prefixes, server },
            Some(had) if had == prefixes => Event::Renewed { prefixes },
            Some(_) => Event::Changed { prefixes },
        });
        self.read_information(message.options);
    }

    fn informed(&mut self, cx: &mut Cx<'_>, options: Options<'_>) {
        self.woken = false;
        self.read_limits(options);
        let seconds = options.seconds(code::INFORMATION_REFRESH_TIME).unwrap_or(REFRESH_DEFAULT);
        self.inquiry = Inquiry::Known(cx.now.after_lifetime(seconds.max(REFRESH_MIN)));
        self.read_information(options);
    }

    /// A server wants us to ask (RFC 8415 §18.2.11). It must prove that it is ours.
    fn reconfigured(
        &mut self,
        cx: &mut Cx<'_>,
        message: Message<'_>,
        server: Duid,
    ) -> Result<(), DropReason> {
        let ours = matches!(self.phase, Phase::Bound) && self.server.as_ref() == Some(&server);
        let kind = match message.options.first(code::RECONFIGURE_MESSAGE) {
            Some(&[kind]) => MessageType::from_u8(kind),
            _ => None,
        };
        let key = self.key.as_mut().filter(|_| ours).ok_or(DropReason::DhcpUnexpected)?;
        let kind = kind.ok_or(DropReason::DhcpMalformed)?;
        if !matches!(kind, MessageType::Renew | MessageType::Rebind | MessageType::InformationRequest)
            || !key.accepts(message)
        {
            return Err(DropReason::DhcpUnexpected);
        }
        match kind {
            MessageType::Renew => self.renew(cx),
            MessageType::Rebind => self.rebind(cx),
            _ => self.woken = true,
        }
        Ok(())
    }

    /// Adds what the message says of our leases to `leases`; the shortest T1 and T2.
    fn read_leases(&self, now: Instant, options: Options<'_>, leases: &mut Leases) -> (u32, u32) {
        let mut times = (0, 0);
        for kind in [IaKind::Prefixes, IaKind::Addresses] {
            for ia in options.associations(kind).filter(|ia| ia.iaid == self.settings.iaid) {
                leases.update(now, kind, ia);
                times = (shorter(times.0, ia.t1), shorter(times.1, ia.t2));
            }
        }
        times
    }

    /// True when there is in `leases` what is asked for: a prefix, or an address where no prefix is asked for.
    fn suffices(&self, leases: &Leases) -> bool {
        match self.settings.prefix {
            Some(_) => !leases.prefixes.is_empty(),
            None => !leases.addresses.is_empty(),
        }
    }

    /// True when the server does not know leases that we have. Of an association that only asks for some, it cannot.
    fn has_no_binding(&self, options: Options<'_>) -> bool {
        let held = |kind| match kind {
            IaKind::Prefixes => !self.leases.prefixes.is_empty(),
            IaKind::Addresses => !self.leases.addresses.is_empty(),
        };
        let unknown = |options: Options<'_>| {
            options.status().is_some_and(|status| status.code == StatusCode::NoBinding)
        };
        unknown(options)
            || [IaKind::Prefixes, IaKind::Addresses].into_iter().filter(|&kind| held(kind)).any(|kind| {
                let mut ours = options.associations(kind).filter(|ia| ia.iaid == self.settings.iaid);
                ours.any(|ia| unknown(ia.options))
            })
    }

    /// The status of the message and of our leases in it.
    fn statuses<'a>(&'a self, options: Options<'a>) -> impl Iterator<Item = StatusCode> + 'a {
        let associations = [IaKind::Prefixes, IaKind::Addresses]
            .into_iter()
            .flat_map(move |kind| options.associations(kind))
            .filter(|ia| ia.iaid == self.settings.iaid)
            .filter_map(|ia| ia.options.status());
        options.status().into_iter().chain(associations).map(|status| status.code)
    }

    /// Why a message does not give what was asked for, as a clause.
    fn refusal(&self, options: Options<'_>) -> String {
        let status = self.statuses(options).find(|&code| code != StatusCode::Success);
        status.map_or_else(
            || "its answer holds no prefix and no address for us".to_string(),
            |code| code.to_string(),
        )
    }

    fn read_limits(&mut self, options: Options<'_>) {
        let limit = |code| options.seconds(code).filter(|seconds| MAX_RT.contains(seconds));
        if let Some(seconds) = limit(code::SOL_MAX_RT) {
            self.solicit.longest = Duration::from_secs(u64::from(seconds));
        }
        if let Some(seconds) = limit(code::INF_MAX_RT) {
            self.inform.longest = Duration::from_secs(u64::from(seconds));
        }
        if let Phase::Soliciting { transaction, .. } = &mut self.phase {
            transaction.timing.longest = self.solicit.longest;
        }
        if let Inquiry::Asking(transaction) = &mut self.inquiry {
            transaction.timing.longest = self.inform.longest;
        }
    }

    fn read_information(&mut self, options: Options<'_>) {
        let information = Information::read(options);
        if information != self.information {
            self.information = information;
            self.tell(Event::InformationChanged);
        }
    }

    fn tell_change(&mut self) {
        self.tell(Event::Changed { prefixes: self.leases.prefix_list() });
    }

    fn tell_refusal(&mut self, status: String) {
        let failure = format!("The server does not give what we ask for: {status}.");
        if self.failure.as_ref() != Some(&failure) {
            self.failure = Some(failure);
            self.tell(Event::Refused { status });
        }
    }

    fn silent(&mut self, asked: &'static str) {
        self.failure = Some(format!("No server answers when it is asked {asked}."));
        self.tell(Event::ServerSilent { asked });
    }

    fn tell(&mut self, event: Event) {
        if self.events.len() < EVENTS {
            self.events.push_back(event);
        }
    }
}

/// The shorter of two times that were told; 0 is none.
fn shorter(a: u32, b: u32) -> u32 {
    match (a, b) {
        (0, told) | (told, 0) => told,
        (a, b) => a.min(b),
    }
}
