//! The DHCPv6 client of one uplink, with prefix delegation (RFC 8415, RFC 7084 WAA and WPD).
//!
//! How it works: the link comes up ([`Client::start`]). With a prefix from before, any server is asked by Rebind to confirm it;
//! otherwise servers are solicited, the best offer is requested (or a server commits at once), and the client is bound. At T1
//! it renews with that server, at T2 it rebinds with any, and when the last lease ends it solicits anew. What else servers tell
//! comes with the leases, or by Information-request when there are none to ask for.
//!
//! One message is under way at a time, and it has its own `Transaction`; Information-request and Decline are apart from it, for
//! they do not touch what is leased. `leases` keeps what is leased, `write` makes the messages, `hear` reads the
//! answers.
//!
//! Nothing is released when the link goes down or the router stops: leases are remembered, and confirmed later (RFC 9096
//! WPD-9). Where the link has outlived the program, they are used at once, and confirmed meanwhile ([`Client::resume`]). So they
//! are when the line was cut, or time has passed that nobody has counted ([`Client::reconfirm`]).

mod event;
mod hear;
mod leases;
mod phase;
#[cfg(test)]
mod tests;
mod write;

use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::Ipv6Addr;

pub use event::{Event, Loss};
pub use leases::{Address, Delegation};

use super::duid::Duid;
use super::message::{Message, MessageType};
use super::reconfigure::ReconfigureKey;
use super::retransmit::{self, Step, Timing, Transaction};
use super::{CLIENT_PORT, HOP_LIMIT, Information, SERVER_PORT};
use crate::frame::Frame;
use crate::ledger::DropReason;
use crate::machine::Cx;
use crate::settings::PrefixRequest;
use crate::time::{Duration, Instant, earliest};
use crate::wire::ipv6::{ALL_DHCP_SERVERS, Header, Ipv6};
use leases::{LEASES_MAX, Leases};
use phase::{Farewell, Inquiry, Offer, Phase};

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
    /// The last question asked for addresses, too.
    asked_address: bool,
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
            asked_address: false,
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

    /// The same on a link that was up in an earlier life and ever since: what is remembered is good until it ends. Since
    /// nobody remembers which server it is from, any server is asked to confirm it (RFC 8415 §18.2.5).
    pub fn resume(&mut self, cx: &mut Cx<'_>, source: Ipv6Addr) {
        if self.source.is_some() || self.leases.is_empty() {
            return self.start(cx, source);
        }
        self.source = Some(source);
        self.confirmed = true;
        self.rebind(cx);
        self.handle_timeout(cx);
    }

    /// What servers have said may hold no longer, though the link is up. What is leased stays in use, and any server is asked at
    /// once whether it is still ours, as on a link that has come up (RFC 8415 §18.2.12). Other questions begin anew.
    pub fn reconfirm(&mut self, cx: &mut Cx<'_>) {
        if self.source.is_none() {
            return;
        }
        self.refusals = 0;
        if self.leases.is_empty() {
            self.begin(cx);
        } else {
            let transaction = Transaction::new(cx, retransmit::CONFIRM);
            self.enter(cx, Phase::Confirming(transaction));
        }
        if !matches!(self.inquiry, Inquiry::Off) {
            self.inquiry = Inquiry::Asking(Transaction::at(cx, self.inform, cx.now));
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
        // Routers that disagree say it by turns; one that has offered it is believed for as long as the link is up.
        let anew = managed && !self.managed;
        self.managed |= managed;
        self.other |= other;
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
                self.asked_address = self.managed || !self.leases.addresses.is_empty();
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
