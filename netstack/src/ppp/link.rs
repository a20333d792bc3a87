//! A PPP link: LCP, then authentication, then the network control protocols, for either role.

use alloc::sync::Arc;
use core::net::Ipv4Addr;

use super::event::{Event, Phase};
use super::settings::{ClientSettings, ServerSettings};
use crate::frame::Frame;
use crate::ledger::DropReason;
use crate::machine::Cx;
use crate::secret::Secret;
use crate::time::Instant;

/// Addresses that a server gives a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv4Assignment {
    /// The server's own address.
    pub local: Ipv4Addr,
    /// The client's address.
    pub remote: Ipv4Addr,
    /// DNS servers to tell the client.
    pub dns: [Option<Ipv4Addr>; 2],
}

#[derive(Debug)]
enum Role {
    Client(Arc<ClientSettings>),
    Server(Arc<ServerSettings>),
}

/// A PPP link.
#[derive(Debug)]
pub struct Link {
    role: Role,
    phase: Phase,
}

impl Link {
    /// A link that dials: it proves who it is and is given its address. Nothing happens before [`Link::open`].
    pub fn client(settings: Arc<ClientSettings>) -> Self {
        Link { role: Role::Client(settings), phase: Phase::Dead }
    }

    /// A link that is dialled: it has the peer prove who it is and gives it an address.
    pub fn server(settings: Arc<ServerSettings>) -> Self {
        Link { role: Role::Server(settings), phase: Phase::Dead }
    }

    /// The lower layer is up and carries packets of up to `max_mru` octets (the PPP information field): start LCP.
    pub fn open(&mut self, _cx: &mut Cx<'_>, max_mru: u16) {
        let mru = match &self.role {
            Role::Client(settings) => settings.mru,
            Role::Server(settings) => settings.mru,
        };
        if mru.min(max_mru) > 0 {
            self.phase = Phase::Establish;
        }
    }

    /// A PPP packet came that is not network data of an open network protocol. An error says why it was dropped.
    pub fn receive(
        &mut self,
        _cx: &mut Cx<'_>,
        _protocol: u16,
        _information: &[u8],
    ) -> Result<(), DropReason> {
        Err(DropReason::PppPhase)
    }

    /// Network data was received at `at`: the peer lives.
    pub fn traffic_seen(&mut self, _at: Instant) {}

    /// Closes the link: Terminate-Request, then [`Event::Down`].
    pub fn close(&mut self, _cx: &mut Cx<'_>) {}

    /// The lower layer is gone: [`Event::Down`] follows at once and nothing more is sent.
    pub fn lower_down(&mut self, _cx: &mut Cx<'_>) {}

    /// Server: the answer to [`Event::Identify`]; `None` when nobody has that name.
    pub fn authenticate(&mut self, _cx: &mut Cx<'_>, _secret: Option<&Secret>) {}

    /// Server: the answer to [`Event::Authenticated`].
    pub fn assign(&mut self, _cx: &mut Cx<'_>, _assignment: Ipv4Assignment) {}

    /// The deadline of [`Link::poll_timeout`] may have come. Tell [`Link::traffic_seen`] first.
    pub fn handle_timeout(&mut self, _cx: &mut Cx<'_>) {}

    /// When the link wants to be called next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// Writes the next packet, PPP protocol field first, behind what `frame` holds; says whether there was one.
    pub fn poll_transmit(&mut self, _frame: &mut Frame) -> bool {
        false
    }

    /// The next fact.
    pub fn poll_event(&mut self) -> Option<Event> {
        None
    }

    /// The phase that the link is in.
    pub fn phase(&self) -> Phase {
        self.phase
    }
}
