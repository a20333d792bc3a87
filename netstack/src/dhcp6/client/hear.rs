//! What servers say to a client, and what becomes of it (RFC 8415 §18.2.9 to §18.2.11).

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::event::{Event, Loss};
use super::leases::{Delegation, Leases};
use super::phase::{Inquiry, Offer, Phase};
use super::{Client, MAX_RT, PREFERENCE_MAX, REFRESH_DEFAULT, REFRESH_MIN};
use crate::dhcp6::Information;
use crate::dhcp6::duid::Duid;
use crate::dhcp6::message::{Message, MessageType};
use crate::dhcp6::option::{IaKind, Options, StatusCode, code};
use crate::dhcp6::reconfigure::ReconfigureKey;
use crate::id::Ipv6Cidr;
use crate::ledger::DropReason;
use crate::machine::Cx;
use crate::time::{Duration, Instant};

impl Client {
    pub(super) fn advertised(
        &mut self,
        cx: &mut Cx<'_>,
        message: Message<'_>,
        server: Duid,
    ) -> Result<(), DropReason> {
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

    pub(super) fn replied(
        &mut self,
        cx: &mut Cx<'_>,
        message: Message<'_>,
        server: Duid,
    ) -> Result<(), DropReason> {
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
        // What is not named stays as it is (RFC 8415 §18.2.10.1); but on a link that has come up anew, it is not confirmed.
        let confirming = matches!(self.phase, Phase::Confirming(_));
        let mut leases = if confirming { Leases::default() } else { self.leases.clone() };
        let times = self.read_leases(cx.now, message.options, &mut leases);
        let withdrawn = |lease: &Delegation| {
            let ias = message.options.associations(IaKind::Prefixes);
            ias.flat_map(|ia| ia.options.ia_prefixes()).any(|named| named.prefix == lease.prefix)
        };
        if confirming && !self.suffices(&leases) && !self.leases.prefixes.iter().all(withdrawn) {
            let status = self.refusal(message.options);
            self.begin_after_refusal(cx, status);
            return;
        }
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
        // Addresses were offered while the question was under way.
        if self.managed && self.leases.addresses.is_empty() && !self.asked_address {
            self.renew(cx);
        }
    }

    fn informed(&mut self, cx: &mut Cx<'_>, options: Options<'_>) {
        self.woken = false;
        self.read_limits(options);
        let seconds = options.seconds(code::INFORMATION_REFRESH_TIME).unwrap_or(REFRESH_DEFAULT);
        self.inquiry = Inquiry::Known(cx.now.after_lifetime(seconds.max(REFRESH_MIN)));
        self.read_information(options);
    }

    /// A server wants us to ask (RFC 8415 §18.2.11). It must prove that it is ours.
    pub(super) fn reconfigured(
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
}

/// The shorter of two times that were told; 0 is none.
fn shorter(a: u32, b: u32) -> u32 {
    match (a, b) {
        (0, told) | (told, 0) => told,
        (a, b) => a.min(b),
    }
}
