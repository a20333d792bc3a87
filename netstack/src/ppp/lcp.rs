//! LCP's options (RFC 1661 §6): MRU, magic number and authentication protocol. All others are rejected, among them
//! ACCM, FCS-Alternatives, PFC and ACFC, which have no place on Ethernet (RFC 2516 §7).

use serde::{Deserialize, Serialize};

use super::negotiation::{Judgement, Options};
use super::role::Role;
use crate::rng::Rng;
use crate::settings::Authentication;
use crate::wire::auth::chap_algorithm;
use crate::wire::ppp::{ConfigureOption, PacketBuilder, protocol};
use crate::wire::ppp_option::lcp_option;

/// MRU that holds where none is negotiated (RFC 1661 §6.1).
pub const DEFAULT_MRU: u16 = 1500;

/// Smallest MRU that we agree to: below it the control protocols themselves do not fit.
pub const MIN_MRU: u16 = 128;

/// Requests in a row that bear our own magic number and so show that the line is looped back.
const LOOPS: u8 = 4;

/// What the peer asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LcpPeer {
    /// Largest packet that it takes.
    pub mru: u16,
    /// Its magic number; 0 when it has none.
    pub magic: u32,
    /// How we have to prove who we are.
    pub authentication: Option<Authentication>,
}

impl Default for LcpPeer {
    fn default() -> Self {
        LcpPeer { mru: DEFAULT_MRU, magic: 0, authentication: None }
    }
}

/// What an open LCP has agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LcpAgreement {
    /// Identifier of our last request.
    pub(super) identifier: u8,
    /// Largest packet that we take; `None` when the peer does not know the option.
    mru: Option<u16>,
    /// Our magic number; 0 when the peer does not know the option.
    magic: u32,
    peer: LcpPeer,
}

/// How a server's demand for proof fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Demand {
    /// Ask for the protocol of this index in the settings.
    Ask(u8),
    /// The peer agrees to none.
    Refused,
}

/// LCP's options.
#[derive(Debug)]
pub(super) struct LcpOptions {
    role: Role,
    /// MRU that we ask for when a negotiation begins.
    pub(super) wanted_mru: u16,
    /// MRU that we ask for now; `None` once the peer has rejected the option.
    mru: Option<u16>,
    /// Our magic number; 0 once the peer has rejected the option.
    magic: u32,
    loops: u8,
    demand: Demand,
    /// We asked the peer for another authentication protocol.
    countered: bool,
    /// What the peer asked for and we acknowledged.
    pub(super) peer: LcpPeer,
}

impl LcpOptions {
    pub(super) fn new(role: Role) -> Self {
        LcpOptions {
            wanted_mru: role.mru(),
            role,
            mru: None,
            magic: 0,
            loops: 0,
            demand: Demand::Refused,
            countered: false,
            peer: LcpPeer::default(),
        }
    }

    /// The options of a client's link that has agreed on `agreement`, on a lower layer that carries `max_mru` octets.
    /// `None` when they could not have become of `role`.
    pub(super) fn adopt(role: Role, max_mru: u16, agreement: &LcpAgreement) -> Option<Self> {
        let LcpAgreement { mru, magic, peer, .. } = *agreement;
        let wanted_mru = role.mru().min(max_mru);
        let mrus = mru.is_none_or(|mru| (MIN_MRU..=wanted_mru).contains(&mru)) && peer.mru >= MIN_MRU;
        let known = |asked| role.authentication().contains(&asked);
        let fits = mrus && (magic == 0 || magic != peer.magic) && peer.authentication.is_none_or(known);
        fits.then(|| LcpOptions { wanted_mru, mru, magic, peer, ..LcpOptions::new(role) })
    }

    /// What it has agreed on, when it is open; `identifier` is that of our last request.
    pub(super) fn agreement(&self, identifier: u8) -> LcpAgreement {
        LcpAgreement { identifier, mru: self.mru, magic: self.magic, peer: self.peer }
    }

    /// Largest packet that the peer may send us.
    pub(super) fn mru(&self) -> u16 {
        self.mru.unwrap_or(DEFAULT_MRU)
    }

    /// True once the line has shown to be looped back: too often, or when it is our own demand for proof that comes
    /// back to us and that we reject.
    pub(super) fn is_looped(&self) -> bool {
        self.loops >= LOOPS || self.loops > 0 && self.demand == Demand::Refused && !self.role.is_client()
    }

    /// True once the two sides have shown to have no authentication protocol in common.
    pub(super) fn authentication_refused(&self) -> bool {
        match self.role {
            Role::Client(_) => self.countered,
            Role::Server(_) => self.demand == Demand::Refused,
        }
    }

    /// How the client has to prove who it is.
    pub(super) fn authentication(&self) -> Option<Authentication> {
        match self.role {
            Role::Client(_) => self.peer.authentication,
            Role::Server(_) => self.asked(),
        }
    }

    fn asked(&self) -> Option<Authentication> {
        match (&self.role, self.demand) {
            (Role::Server(settings), Demand::Ask(index)) => {
                settings.authentication.get(usize::from(index)).copied()
            }
            _ => None,
        }
    }

    /// The server's demand from `index` on, as far as there is one.
    fn demand(&self, index: u8) -> Demand {
        match &self.role {
            Role::Server(settings) if usize::from(index) < settings.authentication.len() => {
                Demand::Ask(index)
            }
            _ => Demand::Refused,
        }
    }
}

impl Options for LcpOptions {
    const PROTOCOL: u16 = protocol::LCP;
    type Peer = LcpPeer;

    fn reset(&mut self, rng: &mut dyn Rng) {
        self.mru = Some(self.wanted_mru);
        self.magic = draw_magic(rng);
        self.demand = self.demand(0);
        self.countered = false;
    }

    fn request(&self, out: &mut PacketBuilder) {
        if let Some(mru) = self.mru {
            out.option(lcp_option::MRU, &mru.to_be_bytes());
        }
        if let Some(asked) = self.asked() {
            emit_authentication(asked, out);
        }
        if self.magic != 0 {
            out.option(lcp_option::MAGIC, &self.magic.to_be_bytes());
        }
    }

    fn judge(
        &mut self,
        rng: &mut dyn Rng,
        option: &ConfigureOption<'_>,
        peer: &mut LcpPeer,
        nak: &mut PacketBuilder,
    ) -> Judgement {
        match option.kind {
            lcp_option::MRU => match option.u16() {
                Some(mru) if mru >= MIN_MRU => {
                    peer.mru = mru;
                    Judgement::Ack
                }
                _ => {
                    nak.option(lcp_option::MRU, &self.wanted_mru.to_be_bytes());
                    Judgement::Nak
                }
            },
            lcp_option::MAGIC => match option.u32() {
                Some(magic) if magic != 0 && magic != self.magic => {
                    peer.magic = magic;
                    self.loops = 0;
                    Judgement::Ack
                }
                other => {
                    if other.is_some_and(|magic| magic != 0) {
                        self.loops = self.loops.saturating_add(1);
                    }
                    nak.option(lcp_option::MAGIC, &draw_magic(rng).to_be_bytes());
                    Judgement::Nak
                }
            },
            lcp_option::AUTHENTICATION if self.role.is_client() => {
                let asked = read_authentication(option.data);
                match (asked, self.role.authentication()) {
                    (Some(asked), list) if list.contains(&asked) => {
                        peer.authentication = Some(asked);
                        self.countered = false;
                        Judgement::Ack
                    }
                    (_, [preferred, ..]) => {
                        self.countered = true;
                        emit_authentication(*preferred, nak);
                        Judgement::Nak
                    }
                    (_, []) => {
                        self.countered = true;
                        Judgement::Reject
                    }
                }
            }
            _ => Judgement::Reject,
        }
    }

    fn agreed(&mut self, peer: LcpPeer) {
        self.peer = peer;
    }

    fn nak(&mut self, rng: &mut dyn Rng, option: &ConfigureOption<'_>) {
        match option.kind {
            lcp_option::MRU => {
                if let (Some(_), Some(mru)) = (self.mru, option.u16())
                    && mru >= MIN_MRU
                {
                    self.mru = Some(mru.min(self.wanted_mru));
                }
            }
            lcp_option::MAGIC if self.magic != 0 => self.magic = draw_magic(rng),
            lcp_option::AUTHENTICATION => {
                if let Demand::Ask(index) = self.demand {
                    let wanted = read_authentication(option.data);
                    let list = self.role.authentication();
                    let found = list.iter().position(|&known| Some(known) == wanted);
                    let next = found.and_then(|at| u8::try_from(at).ok()).filter(|&at| at != index);
                    self.demand = self.demand(next.unwrap_or(index.saturating_add(1)));
                }
            }
            _ => {}
        }
    }

    fn reject(&mut self, option: &ConfigureOption<'_>) {
        match option.kind {
            lcp_option::MRU => self.mru = None,
            lcp_option::MAGIC => self.magic = 0,
            lcp_option::AUTHENTICATION => self.demand = Demand::Refused,
            _ => {}
        }
    }

    fn magic(&self) -> u32 {
        self.magic
    }
}

fn draw_magic(rng: &mut dyn Rng) -> u32 {
    rng.next_u32().max(1)
}

fn emit_authentication(authentication: Authentication, out: &mut PacketBuilder) {
    let [high, low] = match authentication {
        Authentication::Pap => protocol::PAP,
        Authentication::ChapMd5 | Authentication::MsChapV2 => protocol::CHAP,
    }
    .to_be_bytes();
    match authentication {
        Authentication::Pap => out.option(lcp_option::AUTHENTICATION, &[high, low]),
        Authentication::ChapMd5 => out.option(lcp_option::AUTHENTICATION, &[high, low, chap_algorithm::MD5]),
        Authentication::MsChapV2 => {
            out.option(lcp_option::AUTHENTICATION, &[high, low, chap_algorithm::MS_CHAP_V2]);
        }
    }
}

fn read_authentication(data: &[u8]) -> Option<Authentication> {
    let (number, data) = data.split_first_chunk()?;
    match (u16::from_be_bytes(*number), data) {
        (protocol::PAP, []) => Some(Authentication::Pap),
        (protocol::CHAP, [chap_algorithm::MD5]) => Some(Authentication::ChapMd5),
        (protocol::CHAP, [chap_algorithm::MS_CHAP_V2]) => Some(Authentication::MsChapV2),
        _ => None,
    }
}
