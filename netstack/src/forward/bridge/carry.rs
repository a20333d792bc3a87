//! A frame's way over a LAN's bridge.

use core::net::IpAddr;

use crate::forward::bridge::guard::Contents;
use crate::forward::bridge::suppress::{Answer, Reach};
use crate::forward::bridge::{Admission, BridgePort, Decision, Learned, Notice};
use crate::forward::{Forwarder, Turn};
use crate::frame::{Egress, Frame};
use crate::id::{Interface, LanId, Mac, Segment};
use crate::ledger::DropReason;
use crate::time::Instant;
use crate::wire::ethernet::Header;

/// Most facts that wait to be told.
const NOTICES: usize = 64;

impl Forwarder {
    /// A frame of a station's on a LAN with several bridge ports.
    pub(in crate::forward) fn bridge(
        &mut self,
        turn: &mut Turn<'_>,
        lan: LanId,
        from: BridgePort,
        header: Header,
        frame: Frame,
    ) {
        if let Err(reason) = self.check_from(lan, from, frame.bytes()) {
            return turn.egress.drop(frame, reason);
        }
        if !self.learn(turn.now, lan, header.source, from) {
            return turn.egress.drop(frame, DropReason::BridgeLoop);
        }
        let reach = self.reach(turn.now, lan, from, frame.bytes());
        let Some(state) = self.lans.get_mut(lan.index()) else {
            return turn.egress.drop(frame, DropReason::Internal);
        };
        let is_local = match state.bridge.decide(turn.now, header.destination, from) {
            Decision::Local => return self.receive_local(turn, lan, header, frame),
            Decision::Port(to) => return self.transmit_to(lan, Some(from), to, frame, turn.egress),
            Decision::Same => return turn.egress.drop(frame, DropReason::BridgeSamePort),
            Decision::Apart => return turn.egress.drop(frame, DropReason::BridgeSplitHorizon),
            Decision::Flood => false,
            Decision::LocalAndFlood => true,
        };
        if let Admission::Refused { is_news } = state.bridge.admit(turn.now, from) {
            if is_news {
                self.notice(Notice::Storm { lan, from });
            }
            return turn.egress.drop(frame, DropReason::BridgeStorm);
        }
        let to_peers = match reach {
            Reach::Everyone => true,
            Reach::Ports => false,
            Reach::Answered(answer) => {
                self.answer_for(turn, from, &answer);
                return self.receive_local(turn, lan, header, frame);
            }
        };
        match is_local {
            true => {
                self.flood_copies(turn.now, lan, from, to_peers, &frame, turn.egress);
                self.receive_local(turn, lan, header, frame);
            }
            false => self.flood(turn.now, lan, Some(from), to_peers, frame, turn.egress),
        }
    }

    /// Why what a frame holds may not come by a bridge port.
    fn check_from(&self, lan: LanId, from: BridgePort, bytes: &[u8]) -> Result<(), DropReason> {
        let via = match from {
            BridgePort::Port(_) => None,
            BridgePort::Peer(_) => self.lans.get(lan.index()).and_then(|lan| lan.bridge.via(from)),
        };
        via.map_or(Ok(()), |via| Contents::of(bytes).check_from_peer(&via))
    }

    /// A station of a LAN with several bridge ports is heard by one of them. False when nothing may come by it.
    #[inline]
    pub(in crate::forward) fn learn(
        &mut self,
        now: Instant,
        lan: LanId,
        station: Mac,
        from: BridgePort,
    ) -> bool {
        let Some(state) = self.lans.get_mut(lan.index()) else { return false };
        match state.bridge.learn(now, station, from) {
            Learned::Known => true,
            Learned::Refused => false,
            learned => self.note_move(now, lan, station, from, learned),
        }
    }

    #[cold]
    fn note_move(
        &mut self,
        now: Instant,
        lan: LanId,
        station: Mac,
        from: BridgePort,
        learned: Learned,
    ) -> bool {
        let Some(state) = self.lans.get_mut(lan.index()) else { return false };
        if let Learned::Loop { between, blocked } = learned {
            let (offloads, neighbours) = (&mut self.offloads, &state.neighbours);
            let forgotten = |station| offloads.tell_silent(Segment::Lan(lan), station, neighbours);
            state.bridge.block(now, blocked, forgotten);
            let is_open = blocked != from && state.bridge.learn(now, station, from) == Learned::Known;
            self.notice(Notice::Loop { lan, station, between, blocked });
            if !is_open {
                return false;
            }
        }
        let place = match learned {
            Learned::Held { between, at } => {
                self.notice(Notice::Held { lan, station, between, at });
                at
            }
            _ => from,
        };
        self.tell_place(lan, station, place);
        place == from
    }

    /// The kernel half carries nothing to who is behind a peer.
    fn tell_place(&mut self, lan: LanId, station: Mac, place: BridgePort) {
        match place {
            BridgePort::Port(port) => self.offloads.tell_moved(lan, station, port),
            BridgePort::Peer(_) => {
                if let Some(state) = self.lans.get(lan.index()) {
                    self.offloads.tell_silent(Segment::Lan(lan), station, &state.neighbours);
                }
            }
        }
    }

    /// How far a frame for everyone goes, as far as ARP and Neighbor Discovery are concerned.
    fn reach(&mut self, now: Instant, lan: LanId, from: BridgePort, bytes: &[u8]) -> Reach {
        let Some(state) = self.lans.get_mut(lan.index()) else { return Reach::Everyone };
        let Some(mut suppressor) = state.bridge.suppressor.take() else { return Reach::Everyone };
        let (bridge, networks, networks6) = (&state.bridge, &self.networks, &self.v6.networks);
        let is_own = |address| match address {
            IpAddr::V4(address) => networks.lan(lan).is_some_and(|network| network.address == address),
            IpAddr::V6(address) => networks6.is_router_at(Interface::Lan(lan), address),
        };
        let reach = suppressor.handle(now, from, bytes, |station| bridge.port(now, station), is_own);
        if let Some(state) = self.lans.get_mut(lan.index()) {
            state.bridge.suppressor = Some(suppressor);
        }
        reach
    }

    /// Answers in the name of the station that was asked for.
    fn answer_for(&mut self, turn: &mut Turn<'_>, asker: BridgePort, answer: &Answer) {
        let mut frame = turn.egress.originate(Answer::ROOM);
        match answer.emit(&mut frame) {
            true => self.transmit_by(asker, frame, turn.egress),
            false => turn.egress.drop(frame, DropReason::Internal),
        }
    }

    /// Sends an Ethernet frame of the router's own on a LAN: to where its destination is, or to everyone.
    pub(in crate::forward) fn transmit_on_lan(
        &mut self,
        now: Instant,
        lan: LanId,
        frame: Frame,
        egress: &mut Egress,
    ) {
        let Some(state) = self.lans.get(lan.index()) else {
            return egress.drop(frame, DropReason::Internal);
        };
        if let Some(only) = state.only {
            return self.transmit_on_port(only, frame, egress);
        }
        let station = Mac::read(frame.bytes()).unwrap_or(Mac::BROADCAST);
        match state.bridge.port(now, station) {
            Some(port) => self.transmit_to(lan, None, port, frame, egress),
            None => self.flood(now, lan, None, true, frame, egress),
        }
    }

    /// Sends a frame that came by `from`, or is the router's own, to a bridge port of a LAN, if it may go there.
    fn transmit_to(
        &mut self,
        lan: LanId,
        from: Option<BridgePort>,
        to: BridgePort,
        frame: Frame,
        egress: &mut Egress,
    ) {
        let via = match to {
            BridgePort::Port(_) => None,
            BridgePort::Peer(_) => self.lans.get(lan.index()).and_then(|lan| lan.bridge.via(to)),
        };
        match via.map_or(Ok(()), |via| self.contents(from, &frame).check_to_peer(&via)) {
            Ok(()) => self.transmit_by(to, frame, egress),
            Err(reason) => egress.drop(frame, reason),
        }
    }

    fn transmit_by(&mut self, to: BridgePort, frame: Frame, egress: &mut Egress) {
        match to {
            BridgePort::Port(port) => self.transmit_on_port(port, frame, egress),
            BridgePort::Peer(peer) => self.transmit_to_peer(peer, frame, egress),
        }
    }

    fn transmit_copy(&mut self, to: BridgePort, frame: &Frame, egress: &mut Egress) {
        let mut copy = egress.copy(frame.len());
        match copy.extend(frame.bytes()) {
            true => {
                copy.offload = frame.offload;
                self.transmit_by(to, copy, egress);
            }
            false => egress.drop(copy, DropReason::Internal),
        }
    }

    /// Sends a frame to every bridge port of a LAN that one from `from` goes to; to those behind a VPN only with `to_peers`.
    fn flood(
        &mut self,
        now: Instant,
        lan: LanId,
        from: Option<BridgePort>,
        to_peers: bool,
        frame: Frame,
        egress: &mut Egress,
    ) {
        let contents = self.contents_for_peers(now, lan, from, to_peers, &frame, egress);
        let count = self.bridge_ports(lan);
        let last =
            (0..count).rev().find_map(|index| Some((index, self.target(now, lan, from, contents, index)?)));
        let Some((last, target)) = last else {
            return egress.drop(frame, DropReason::BridgeSamePort);
        };
        for index in 0..last {
            if let Some(target) = self.target(now, lan, from, contents, index) {
                self.transmit_copy(target, &frame, egress);
            }
        }
        self.transmit_by(target, frame, egress);
    }

    /// As [`Forwarder::flood`], with copies alone.
    fn flood_copies(
        &mut self,
        now: Instant,
        lan: LanId,
        from: BridgePort,
        to_peers: bool,
        frame: &Frame,
        egress: &mut Egress,
    ) {
        let from = Some(from);
        let contents = self.contents_for_peers(now, lan, from, to_peers, frame, egress);
        for index in 0..self.bridge_ports(lan) {
            if let Some(target) = self.target(now, lan, from, contents, index) {
                self.transmit_copy(target, frame, egress);
            }
        }
    }

    fn bridge_ports(&self, lan: LanId) -> usize {
        self.lans.get(lan.index()).map_or(0, |lan| lan.bridge.ports())
    }

    /// The bridge port of this index, if a frame for everyone goes there: to a peer only if it is known what it holds, and
    /// that may go there.
    fn target(
        &self,
        now: Instant,
        lan: LanId,
        from: Option<BridgePort>,
        contents: Option<Contents>,
        index: usize,
    ) -> Option<BridgePort> {
        let (port, via) = self.lans.get(lan.index())?.bridge.target(now, index, from)?;
        match via {
            Some(via) => contents?.check_to_peer(&via).ok().map(|()| port),
            None => Some(port),
        }
    }

    /// What a frame for everyone holds, if it may go to peers. When there are too many of those, that is counted.
    fn contents_for_peers(
        &mut self,
        now: Instant,
        lan: LanId,
        from: Option<BridgePort>,
        to_peers: bool,
        frame: &Frame,
        egress: &mut Egress,
    ) -> Option<Contents> {
        let bridge = &mut self.lans.get_mut(lan.index())?.bridge;
        let meets_peers = to_peers
            && bridge.has_peers()
            && (0..bridge.ports()).any(|index| matches!(bridge.target(now, index, from), Some((_, Some(_)))));
        if !meets_peers {
            return None;
        }
        if !bridge.admit_to_peers(now) {
            let copy = egress.copy(0);
            egress.drop(copy, DropReason::BridgeStorm);
            return None;
        }
        Some(self.contents(from, frame))
    }

    /// What a frame holds that came by `from`, or is the router's own. A VPN does not travel in itself.
    fn contents(&self, from: Option<BridgePort>, frame: &Frame) -> Contents {
        match from {
            None if self.overlay.is_outer(frame.bytes()) => Contents::Site,
            _ => Contents::of(frame.bytes()),
        }
    }

    /// Something is to be told. Facts of which too many wait are lost; they come up again while they last.
    fn notice(&mut self, notice: Notice) {
        if self.notices.len() < NOTICES {
            self.notices.push_back(notice);
        }
    }

    /// The next fact about a LAN's bridge.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }
}
