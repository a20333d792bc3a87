//! IPV6CP's option (RFC 5072 §4): the interface identifier of each end. Header compression is rejected.
//!
//! Each side asks for its own identifier and says what it thinks of the other's. Neither may be zero, and they have to
//! differ: whoever sees that they do not suggests another one to the other. Without both there is no IPv6: the
//! link-local addresses are made of them (RFC 5072 §5).

use core::fmt;
use core::net::Ipv6Addr;
use core::num::NonZeroU64;

use serde::{Deserialize, Serialize};

use super::event::{Event, NetworkDownReason};
use super::negotiation::{Judgement, Options};
use super::network::NetworkOptions;
use crate::id::Mac;
use crate::rng::Rng;
use crate::wire::ppp::{ConfigureOption, PacketBuilder, protocol};
use crate::wire::ppp_option::ipv6cp_option;

/// The interface identifier of one end of a link: the lower half of its link-local address. Never zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct InterfaceId(NonZeroU64);

/// What an open IPV6CP has agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ipv6Agreement {
    /// Identifier of our last request.
    pub(super) identifier: u8,
    /// Our interface identifier.
    pub local: InterfaceId,
    /// The peer's, which differs from ours.
    pub remote: InterfaceId,
}

/// The "u" bit of an identifier: it is unique in the whole world.
const UNIVERSAL: u64 = 0x0200_0000_0000_0000;

impl InterfaceId {
    /// The identifier with this value, unless that is zero.
    pub const fn new(value: u64) -> Option<Self> {
        match NonZeroU64::new(value) {
            Some(value) => Some(InterfaceId(value)),
            None => None,
        }
    }

    /// The modified EUI-64 of an Ethernet address (RFC 4291 appendix A): the best source of an identifier that there is
    /// (RFC 5072 §4.1), and the same one in every session.
    pub fn from_mac(Mac([a, b, c, d, e, f]): Mac) -> Self {
        let eui64 = u64::from_be_bytes([a, b, c, 0xff, 0xfe, d, e, f]);
        InterfaceId(NonZeroU64::new(eui64 ^ UNIVERSAL).unwrap_or(NonZeroU64::MIN))
    }

    /// An identifier drawn at random, which does not claim to be unique in the world (RFC 5072 §4.1).
    fn draw(rng: &mut dyn Rng) -> Self {
        InterfaceId(NonZeroU64::new(rng.next_u64() & !UNIVERSAL).unwrap_or(NonZeroU64::MIN))
    }

    /// Its eight octets.
    pub const fn octets(self) -> [u8; 8] {
        self.0.get().to_be_bytes()
    }

    /// The link-local address that is made of it (RFC 5072 §5).
    pub const fn link_local(self) -> Ipv6Addr {
        Ipv6Addr::from_bits(0xfe80 << 112 | self.0.get() as u128)
    }
}

impl fmt::Debug for InterfaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What the peer asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Ipv6cpPeer {
    identifier: Option<InterfaceId>,
}

/// IPV6CP's option, for either side.
#[derive(Debug)]
pub(super) struct Ipv6cpOptions {
    /// What we ask for.
    local: InterfaceId,
    /// The peer rejected the option: we have no identifier.
    mute: bool,
    /// What we suggest to a peer whose identifier does not do. Differs from `local`.
    suggestion: InterfaceId,
    /// The peer was told that it should ask for an identifier. It is told once (RFC 5072 §4.1).
    reminded: bool,
    /// What the peer asked for and we acknowledged.
    remote: Option<InterfaceId>,
}

impl Ipv6cpOptions {
    /// We wish to be `local`.
    pub(super) fn new(local: InterfaceId, rng: &mut dyn Rng) -> Self {
        let suggestion = other_than(local, rng);
        Ipv6cpOptions { local, mute: false, suggestion, reminded: false, remote: None }
    }

    /// Options that have agreed on `agreement`; `None` when they could not have.
    pub(super) fn adopt(agreement: &Ipv6Agreement, rng: &mut dyn Rng) -> Option<Self> {
        let Ipv6Agreement { local, remote, .. } = *agreement;
        (local != remote).then(|| Ipv6cpOptions { remote: Some(remote), ..Ipv6cpOptions::new(local, rng) })
    }

    /// What they have agreed on, when they are open; `identifier` is that of our last request.
    pub(super) fn agreement(&self, identifier: u8) -> Option<Ipv6Agreement> {
        let remote = self.remote.filter(|_| self.up().is_some())?;
        Some(Ipv6Agreement { identifier, local: self.local, remote })
    }

    fn choose(&mut self, identifier: InterfaceId, rng: &mut dyn Rng) {
        self.local = identifier;
        if self.suggestion == identifier {
            self.suggestion = other_than(identifier, rng);
        }
    }
}

/// An identifier that is not `taken`.
fn other_than(taken: InterfaceId, rng: &mut dyn Rng) -> InterfaceId {
    let drawn = InterfaceId::draw(rng);
    if drawn != taken {
        return drawn;
    }
    InterfaceId(NonZeroU64::new(drawn.0.get() ^ 1).unwrap_or(NonZeroU64::MAX))
}

impl Options for Ipv6cpOptions {
    const PROTOCOL: u16 = protocol::IPV6CP;
    type Peer = Ipv6cpPeer;

    /// The identifier stays what it has become: hosts beyond the link know the address that is made of it.
    fn reset(&mut self, _rng: &mut dyn Rng) {
        self.mute = false;
        self.reminded = false;
    }

    fn request(&self, out: &mut PacketBuilder) {
        if !self.mute {
            out.option(ipv6cp_option::INTERFACE_IDENTIFIER, &self.local.octets());
        }
    }

    fn judge(
        &mut self,
        _rng: &mut dyn Rng,
        option: &ConfigureOption<'_>,
        peer: &mut Ipv6cpPeer,
        nak: &mut PacketBuilder,
    ) -> Judgement {
        if option.kind != ipv6cp_option::INTERFACE_IDENTIFIER {
            return Judgement::Reject;
        }
        match option.u64().and_then(InterfaceId::new).filter(|&asked| asked != self.local) {
            Some(asked) => {
                peer.identifier = Some(asked);
                Judgement::Ack
            }
            // Zero, ours, or no identifier at all.
            None => {
                peer.identifier = Some(self.suggestion);
                nak.option(option.kind, &self.suggestion.octets());
                Judgement::Nak
            }
        }
    }

    fn missing(&mut self, peer: &Ipv6cpPeer, nak: &mut PacketBuilder) {
        if peer.identifier.is_none() && !self.reminded {
            self.reminded = true;
            nak.option(ipv6cp_option::INTERFACE_IDENTIFIER, &self.suggestion.octets());
        }
    }

    fn agreed(&mut self, agreed: Ipv6cpPeer) {
        self.remote = agreed.identifier;
    }

    fn nak(&mut self, rng: &mut dyn Rng, option: &ConfigureOption<'_>) {
        if option.kind != ipv6cp_option::INTERFACE_IDENTIFIER {
            return;
        }
        // What nobody may be, what we are already, what the peer is, or what we have just suggested to it: that would
        // go on for ever, so another one is chosen (RFC 5072 §4.1).
        let useless = |told: &InterfaceId| {
            [Some(self.local), Some(self.suggestion), self.remote].contains(&Some(*told))
        };
        let told = option.u64().and_then(InterfaceId::new).filter(|told| !useless(told));
        let identifier = told.unwrap_or_else(|| other_than(self.local, rng));
        self.choose(identifier, rng);
    }

    fn reject(&mut self, option: &ConfigureOption<'_>) {
        if option.kind == ipv6cp_option::INTERFACE_IDENTIFIER {
            self.mute = true;
        }
    }
}

impl NetworkOptions for Ipv6cpOptions {
    fn up(&self) -> Option<Event> {
        let remote = self.remote.filter(|&remote| !self.mute && remote != self.local)?;
        Some(Event::Ipv6Up { local: self.local, remote })
    }

    fn down(reason: NetworkDownReason) -> Event {
        Event::Ipv6Down { reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::SeededRng;

    /// RFC 4291 appendix A.
    #[test]
    fn rfc5072_4_1_an_ethernet_address_gives_its_modified_eui_64() {
        let id = InterfaceId::from_mac(Mac([0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde]));
        assert_eq!(id.octets(), [0x36, 0x56, 0x78, 0xff, 0xfe, 0x9a, 0xbc, 0xde]);
        assert_eq!(id.link_local(), "fe80::3656:78ff:fe9a:bcde".parse::<Ipv6Addr>().unwrap());
    }

    #[test]
    fn rfc5072_4_1_a_drawn_identifier_is_not_zero_and_does_not_claim_to_be_universal() {
        struct Stuck(u64);
        impl Rng for Stuck {
            fn next_u64(&mut self) -> u64 {
                self.0
            }
        }
        for value in [0, UNIVERSAL, 1, u64::MAX] {
            let drawn = InterfaceId::draw(&mut Stuck(value));
            assert!(drawn.0.get() & UNIVERSAL == 0);
            assert_ne!(other_than(drawn, &mut Stuck(value)), drawn, "even when the same is drawn again");
        }
        let mut rng = SeededRng::from_u64(1);
        assert_ne!(InterfaceId::draw(&mut rng), InterfaceId::draw(&mut rng));
    }
}
