//! A capture, run through the same gateway: on the capture's clock, with a fixed seed.
//!
//! 1. `sides` reads the capture once, and finds out which port each frame is at and which station is the captured router.
//!    Our gateway takes that station's Ethernet address, and remembers what the capture shows that the router had in mind.
//! 2. The gateway starts when the captured router first dialled, and runs on the capture's time from there. What the captured
//!    router received, ours receives: mended where a network card had not finished it (`mend`), and translated so that
//!    answers fit our questions (`translate`).
//! 3. What ours sends is shown beside what the captured router sent in its place (`pair`).
//!
//! [`Replay`] is an iterator of [`Outcome`]s: everything that happens, in order. The same capture, configuration and seed give
//! the same outcomes to the octet. Afterwards the gateway may be asked for its status, as a running one.
//!
//! Every memory is bounded, whatever the capture says, and so is the time: a gap of more than six hours is taken for six.

mod both;
pub mod case;
mod desk;
mod mend;
mod pair;
mod parts;
mod report;
mod sides;
mod translate;

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::path::Path;
use std::time::Duration;

use genkan_config::Config;
use genkan_config::schema::Uplink;
use genkan_netstack::control::Event;
use genkan_netstack::frame::Batch;
use genkan_netstack::gateway::Gateway;
use genkan_netstack::id::{Mac, PortId};
use genkan_netstack::ledger::DropReason;
use genkan_netstack::sight::{Fact, Watch};
use genkan_netstack::time::Instant;

pub use both::Both;
pub use desk::Desk;
pub use pair::Counterpart;

use crate::capture::reader::{Reader, Record};
use crate::settings::{PortFacts, settings, specs};
use mend::Mended;
use pair::Pairs;
use sides::{Place, Sides};
use translate::{Need, Translator, Verdict};

/// The router's address where neither the capture nor the configuration tells.
const DEFAULT_MAC: Mac = Mac([0x02, 0x67, 0x65, 0x6e, 0x6b, 0x61]);
/// How far ahead the capture is read, to find counterparts.
const AHEAD: Duration = Duration::from_secs(3);
/// Most records that are read ahead, and most octets of them.
const AHEAD_RECORDS: usize = 4096;
const AHEAD_OCTETS: usize = 16 << 20;
/// How long the gateway goes on behind the last frame: it dials within a second.
const AFTERMATH: Duration = Duration::from_secs(2);
/// How long an answer waits for our question.
const HOLD: Duration = Duration::from_secs(120);
/// Most answers that wait.
const HELD: usize = 2048;
/// The longest gap that is lived through, and the longest life: enough for a nightly redial.
const GAP: Duration = Duration::from_secs(6 * 3600);
const LIFE: Duration = Duration::from_secs(2 * 86_400);

/// How to replay.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The port of frames of which the capture does not tell.
    pub at: Option<String>,
    /// All randomness comes from it.
    pub seed: u64,
    /// Only the frames of these ports; all when empty.
    pub only: Vec<PortId>,
}

/// Why a capture cannot be replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// It is none, or holds nothing that can be replayed: a clause.
    Capture(String),
    /// A port was named that is not there: a clause.
    Port(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Error::Capture(text) | Error::Port(text)) = self;
        f.write_str(text)
    }
}

impl std::error::Error for Error {}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// When, since the Unix epoch.
    pub at: Duration,
    /// When, since the gateway started; zero before that.
    pub now: Instant,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// The gateway tells a fact.
    Event(Event),
    /// It received a frame of the capture.
    Received {
        /// Where.
        port: PortId,
        /// The frame's number in the capture.
        number: u64,
        /// The frame, as the gateway got it.
        frame: Vec<u8>,
        /// The captured one, when it was changed so that it fits.
        captured: Option<Vec<u8>>,
    },
    /// It sent a frame.
    Sent {
        /// Where.
        port: PortId,
        /// The frame.
        frame: Vec<u8>,
        /// What the captured router sent in its place.
        captured: Option<Counterpart>,
    },
    /// The captured router sent a frame, and ours did not.
    Missed {
        /// Where.
        port: PortId,
        /// The frame.
        captured: Counterpart,
    },
    /// What it decided about a frame that it received before this: clauses.
    Decided(Vec<String>),
    /// A frame that it received before this was dropped.
    Dropped {
        /// Where it came in.
        port: PortId,
        /// Why.
        reason: DropReason,
    },
    /// A frame of the capture was kept from it.
    Skipped {
        /// Where it would have come in.
        port: PortId,
        /// The frame's number in the capture.
        number: u64,
        /// The frame.
        frame: Vec<u8>,
        /// Why: a clause.
        why: String,
    },
    /// It received a frame that is not in the capture.
    Assumed {
        /// Where.
        port: PortId,
        /// The frame.
        frame: Vec<u8>,
        /// Why that is believed: a sentence.
        why: &'static str,
    },
    /// Something to know of the capture or the replay: a sentence.
    Note(String),
}

/// A frame that waits.
struct Held {
    place: Place,
    record: Record,
    need: Need,
}

/// A capture and the gateway that lives through it.
pub struct Replay {
    gateway: Gateway,
    reader: Reader,
    sides: Sides,
    names: Vec<String>,
    mtus: Vec<u16>,
    only: Vec<PortId>,
    translator: Translator,
    pairs: Pairs,
    mended: Mended,
    ahead: VecDeque<(Option<Place>, Record)>,
    ahead_octets: usize,
    held: VecDeque<Held>,
    outcomes: VecDeque<Outcome>,
    /// When the gateway started, since the Unix epoch.
    origin: Duration,
    /// Time that gaps had too much.
    skipped: Duration,
    now: Instant,
    last: Duration,
    early: u64,
    elsewhere: u64,
    /// Reasons for which answers were assumed, each told once.
    assumed: BTreeSet<&'static str>,
    drops: Vec<u64>,
    ends_at: Option<Instant>,
    ended: bool,
}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay").field("now", &self.now).finish_non_exhaustive()
    }
}

impl Replay {
    /// Opens a capture: pcap or pcapng, also in gzip, by whomever.
    ///
    /// # Errors
    /// The file cannot be read or replayed: a sentence with its name and what to do.
    pub fn open(config: &Config, capture: &Path, options: &Options) -> Result<Replay, Error> {
        let name = capture.display();
        let open =
            || Reader::open(capture).map_err(|error| Error::Capture(format!("cannot read {name}: {error}")));
        let with_name = |error| match error {
            Error::Capture(text) => Error::Capture(format!("{name} cannot be replayed: {text}")),
            Error::Port(text) => Error::Port(text),
        };
        let sides = Sides::survey(config, options.at.as_deref(), &mut open()?).map_err(with_name)?;
        Ok(Replay::new(config, sides, open()?, options))
    }

    fn new(config: &Config, mut sides: Sides, reader: Reader, options: &Options) -> Replay {
        let specs = specs(config);
        let facts: Vec<PortFacts> = (specs.iter().zip(&sides.sides))
            .map(|(spec, side)| PortFacts {
                mac: side.mac.or(spec.mac).unwrap_or(DEFAULT_MAC),
                mtu: spec.wanted_mtu.unwrap_or(1500),
                offload: false,
            })
            .collect();
        let logins = config.wans.iter().filter_map(|wan| match &wan.uplink {
            Uplink::Pppoe(pppoe) => Some((pppoe.username.clone().into_bytes(), pppoe.password.clone())),
            Uplink::Dhcp | Uplink::Static(_) => None,
        });
        let stations = std::mem::take(&mut sides.stations);
        let mut translator = Translator::new(logins.collect(), stations, sides.largest);
        for ((number, side), facts) in (0..).zip(&sides.sides).zip(&facts) {
            translator.port(PortId(number), side.role, facts.mac);
        }
        // All begins when the captured router began to dial: what it had done before is not in the capture.
        // It waits a little before it dials, and so is started that much earlier.
        let now = Instant::ZERO;
        let state = sides.memory(config, now);
        let settings = settings(config, &facts);
        let start = || Gateway::new(&settings, &state, seed(options.seed), now);
        let dialled_at = sides.dialled_at.map(|at| at.saturating_sub(time_to_dial(start(), &sides)));
        let origin = dialled_at.or(sides.first_at);
        let mut gateway = start();
        gateway.watch(Watch::Everything);
        if let Some(origin) = origin {
            gateway.set_clock(now, origin);
        }
        let mut replay = Replay {
            gateway,
            reader,
            names: sides.sides.iter().map(|side| side.name.clone()).collect(),
            mtus: facts.iter().map(|facts| facts.mtu).collect(),
            sides,
            only: options.only.clone(),
            translator,
            pairs: Pairs::default(),
            mended: Mended::default(),
            ahead: VecDeque::new(),
            ahead_octets: 0,
            held: VecDeque::new(),
            outcomes: VecDeque::new(),
            origin: origin.unwrap_or_default(),
            skipped: Duration::ZERO,
            now,
            last: origin.unwrap_or_default(),
            early: 0,
            elsewhere: 0,
            assumed: BTreeSet::new(),
            drops: vec![0; DropReason::ALL.len()],
            ends_at: None,
            ended: false,
        };
        replay.read_ahead();
        // Without a frame of the router's, it begins with the first that there is.
        if origin.is_none()
            && let Some((_, first)) = replay.ahead.front()
        {
            replay.origin = first.at;
            replay.last = first.at;
            replay.gateway.set_clock(now, first.at);
        }
        replay.drain();
        replay
    }

    /// The gateway, as it is by now.
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// The same, to be asked.
    pub fn gateway_mut(&mut self) -> &mut Gateway {
        &mut self.gateway
    }

    /// The gateway's present.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The ports' names, in the order of their numbers.
    pub fn ports(&self) -> &[String] {
        &self.names
    }

    /// When the gateway started, since the Unix epoch.
    pub fn origin(&self) -> Duration {
        self.origin
    }

    /// The name of a port.
    pub fn port_name(&self, port: PortId) -> &str {
        self.names.get(port.index()).map_or("", String::as_str)
    }

    /// Does the next thing that is due.
    fn step(&mut self) {
        self.read_ahead();
        let next = self.ahead.front().map(|(_, record)| record.at);
        if let Some(at) = next {
            self.shorten(at);
        }
        let due = self.gateway.poll_timeout();
        match (due, next.map(|at| self.instant(at))) {
            (Some(due), Some(next)) if due <= next => self.wait_until(due),
            (_, Some(_)) => self.take(),
            // What was due with the last frame is still done.
            (Some(due), None) if due <= *self.ends_at.get_or_insert(self.now + AFTERMATH) => {
                self.wait_until(due)
            }
            (_, None) => self.end(),
        }
        while let Some((port, captured)) = self.pairs.missed(self.wall(), self.ended) {
            let at = captured.at;
            self.tell_at(at, What::Missed { port, captured });
        }
    }

    fn wait_until(&mut self, due: Instant) {
        self.now = self.now.max(due);
        self.gateway.set_clock(self.now, self.wall());
        self.gateway.handle_timeout(self.now);
        self.drain();
        self.release();
    }

    /// Takes the next record of the capture.
    fn take(&mut self) {
        let Some((place, record)) = self.ahead.pop_front() else { return };
        self.ahead_octets = self.ahead_octets.saturating_sub(record.bytes.len());
        if record.at < self.origin {
            self.early += 1;
            return;
        }
        self.now = self.now.max(self.instant(record.at));
        let Some(place) = place else {
            self.elsewhere += 1;
            return;
        };
        if place.sent {
            self.translator.sent_then(place.port, &record.bytes);
            return;
        }
        self.translator.received_then(place.port, &record.bytes);
        let need = self.hold_behind(&place, &record);
        self.offer(Held { place, record, need: need.unwrap_or(Need::Session) }, need.is_some());
    }

    /// The time until `at` is not longer than can be lived through.
    fn shorten(&mut self, at: Duration) {
        let gap = at.saturating_sub(self.last);
        let left = LIFE.saturating_sub(self.now.since(Instant::ZERO));
        let lived = gap.min(GAP).min(left);
        if lived < gap {
            self.skipped = self.skipped.saturating_add(gap - lived);
            let hours = gap.as_secs() / 3600;
            let told = lived.as_secs() / 3600;
            self.tell(What::Note(format!(
                "The next frame is {hours} hours later, as the capture has it; the gateway lives through {told} of them."
            )));
        }
        self.last = self.last.max(at);
    }

    /// An answer behind one that waits, waits with it.
    fn hold_behind(&self, place: &Place, record: &Record) -> Option<Need> {
        let session = parts::Parts::of(&record.bytes)?.session()?;
        let waits = self
            .held
            .iter()
            .any(|held| held.place.port == place.port && matches!(held.need, Need::Dialling | Need::Session));
        let live = self.gateway.status(self.now).wans.iter().any(|wan| wan.session_id == Some(session));
        (waits && !live).then_some(Need::Session)
    }

    /// Gives a frame to the gateway if it says something to it by now.
    fn offer(&mut self, held: Held, waits: bool) {
        if waits {
            self.hold(held);
            return;
        }
        let Held { place, record, .. } = held;
        let dialling = self.is_dialling(place.port);
        match self.translator.receive(place.port, &record.bytes, dialling) {
            Verdict::AsIs => self.deliver(place.port, record, None),
            Verdict::Changed(bytes) => self.deliver(place.port, record, Some(bytes)),
            Verdict::Skip(why) => self.skip(place.port, record, why),
            Verdict::Wait(need) => self.hold(Held { place, record, need }),
        }
    }

    fn hold(&mut self, held: Held) {
        self.held.push_back(held);
        if self.held.len() > HELD {
            self.give_up_oldest();
        }
    }

    fn give_up_oldest(&mut self) {
        let Some(Held { place, record, need }) = self.held.pop_front() else { return };
        let why = match need {
            Need::Dialling => "it answers a PADI or PADR that ours did not send in time",
            Need::Session => "it is of a session that ours does not have",
            Need::Dhcp6 | Need::Dhcp4 => "it answers a DHCP message that ours did not send in time",
        };
        self.skip(place.port, record, why.to_owned());
    }

    fn skip(&mut self, port: PortId, record: Record, why: String) {
        self.tell(What::Skipped { port, number: record.number, frame: record.bytes, why });
    }

    /// Gives answers that have waited to the gateway, as long as it asks for them.
    fn release(&mut self) {
        while self.held.front().is_some_and(|held| held.record.at.saturating_add(HOLD) < self.wall()) {
            self.give_up_oldest();
        }
        let mut index = 0;
        while let Some(held) = self.held.get(index) {
            let Held { place, need, record } = held;
            let before = self.held.iter().take(index);
            let behind = *need == Need::Session
                && before
                    .clone()
                    .any(|other| other.place.port == place.port && matches!(other.need, Need::Dialling));
            let verdict = if behind {
                Verdict::Wait(Need::Session)
            } else {
                let dialling = self.is_dialling(place.port);
                self.translator.receive(place.port, &record.bytes, dialling)
            };
            if let Verdict::Wait(_) = verdict {
                index += 1;
                continue;
            }
            let Some(Held { place, record, .. }) = self.held.remove(index) else { return };
            match verdict {
                Verdict::Changed(bytes) => self.deliver_now(place.port, record, Some(bytes)),
                Verdict::Skip(why) => self.skip(place.port, record, why),
                Verdict::AsIs | Verdict::Wait(_) => self.deliver_now(place.port, record, None),
            }
            // What it has led to may free others, in order.
            index = 0;
        }
    }

    fn is_dialling(&self, port: PortId) -> bool {
        let name = self.port_name(port);
        let status = self.gateway.status(self.now);
        status.wans.iter().any(|wan| wan.port == name && wan.state == "discovering")
    }

    fn deliver(&mut self, port: PortId, record: Record, translated: Option<Vec<u8>>) {
        self.deliver_now(port, record, translated);
        self.release();
    }

    fn deliver_now(&mut self, port: PortId, record: Record, translated: Option<Vec<u8>>) {
        let (mut bytes, captured) = match translated {
            Some(translated) => (translated, Some(record.bytes)),
            None => (record.bytes, None),
        };
        let gso = self.mended.mend(&mut bytes, self.mtus.get(port.index()).copied().unwrap_or(1500));
        let what = What::Received { port, number: record.number, frame: bytes.clone(), captured };
        self.tell(what);
        self.receive(port, &bytes, gso);
    }

    fn receive(&mut self, port: PortId, bytes: &[u8], gso: Option<genkan_netstack::frame::Gso>) {
        let mut batch = Batch::from([mend::frame(bytes, gso)]);
        self.gateway.set_clock(self.now, self.wall());
        self.gateway.receive(self.now, port, &mut batch);
        self.tell_decisions();
        self.tell_drops(port);
        self.drain();
    }

    /// Tells what was decided since it was told last, and is not told otherwise.
    fn tell_decisions(&mut self) {
        let is_told = |fact: &Fact| {
            matches!(fact, Fact::Own | Fact::HandedUp { .. } | Fact::NextHop { .. } | Fact::Dropped(_))
        };
        while let Some(sighting) = self.gateway.poll_sighting() {
            let facts = sighting.facts.iter().filter(|fact| !is_told(fact));
            let decided: Vec<String> = facts.map(ToString::to_string).collect();
            if !decided.is_empty() {
                self.tell(What::Decided(decided));
            }
        }
    }

    /// Tells what was dropped since it was told last.
    fn tell_drops(&mut self, port: PortId) {
        for (index, reason) in DropReason::ALL.iter().enumerate() {
            let count = self.gateway.ledger().dropped(*reason);
            let Some(known) = self.drops.get_mut(index) else { continue };
            if std::mem::replace(known, count) < count {
                self.tell(What::Dropped { port, reason: *reason });
            }
        }
    }

    /// Takes out what the gateway has to say, and answers what only we asked.
    fn drain(&mut self) {
        loop {
            self.tell_decisions();
            while let Some(event) = self.gateway.poll_event() {
                self.tell(What::Event(event));
            }
            let mut answers = Vec::new();
            for port in self.gateway.ports() {
                let Some((queue, pool)) = self.gateway.outgoing(port) else { continue };
                let mut sent = Vec::new();
                while let Some(frame) = queue.pop_front() {
                    sent.push(frame.bytes().to_vec());
                    pool.give(frame);
                }
                for frame in sent {
                    answers.extend(self.sent(port, frame).map(|assumed| (port, assumed)));
                }
            }
            if answers.is_empty() {
                return;
            }
            for (port, translate::Assumed { frame, why }) in answers {
                if self.assumed.insert(why) {
                    self.tell(What::Note(why.to_owned()));
                }
                self.tell(What::Assumed { port, frame: frame.clone(), why });
                let mut batch = Batch::from([mend::frame(&frame, None)]);
                self.gateway.receive(self.now, port, &mut batch);
                self.tell_drops(port);
            }
        }
    }

    /// Ours sends a frame. The answer, if the capture cannot have it.
    fn sent(&mut self, port: PortId, frame: Vec<u8>) -> Option<translate::Assumed> {
        self.translator.sent_now(port, &frame);
        let captured = self.pairs.find(port, &frame);
        if let Some(captured) = &captured {
            self.translator.pair(&captured.frame, &frame);
        }
        let assumed = self.translator.assume(port, &frame);
        // Of a port that the capture does not have there is nothing to compare with.
        if self.sides.sides.get(port.index()).is_some_and(|side| side.frames > 0) {
            self.tell(What::Sent { port, frame, captured });
        }
        assumed
    }

    fn end(&mut self) {
        if self.ended {
            return;
        }
        self.ended = true;
        while !self.held.is_empty() {
            self.give_up_oldest();
        }
        let mut notes = self.reader.account().sentences();
        notes.extend(self.sides.sentences());
        notes.extend(self.mended.sentences());
        if self.early > 0 {
            notes.push(format!(
                "{} frames are from before the router began to dial, and are not replayed: what it knew then is not in the \
                 capture.",
                self.early
            ));
        }
        if !self.drops.is_empty() && self.gateway.ledger().dropped(DropReason::PppoeUnknownSession) > 0 {
            notes.push(
                "The capture has frames of PPPoE sessions whose beginning it does not have: capture from before the line \
                 is dialled."
                    .to_owned(),
            );
        }
        for note in notes {
            self.tell(What::Note(note));
        }
    }

    /// Reads so far ahead that counterparts are found.
    fn read_ahead(&mut self) {
        loop {
            let first = self.ahead.front().map(|(_, record)| record.at);
            let last = self.ahead.back().map(|(_, record)| record.at);
            let far =
                matches!((first, last), (Some(first), Some(last)) if last.saturating_sub(first) > AHEAD);
            if far || self.ahead.len() >= AHEAD_RECORDS || self.ahead_octets >= AHEAD_OCTETS {
                return;
            }
            let Some(record) = self.reader.next_record() else { return };
            let place = self.sides.place(&record);
            let place = place.filter(|place| self.only.is_empty() || self.only.contains(&place.port));
            if let Some(Place { port, sent: true }) = place
                && record.at >= self.origin
            {
                self.pairs.expect(port, record.number, record.at, &record.bytes);
            }
            self.ahead_octets += record.bytes.len();
            self.ahead.push_back((place, record));
        }
    }

    /// The gateway's time of a record.
    fn instant(&self, at: Duration) -> Instant {
        Instant::ZERO + at.saturating_sub(self.origin).saturating_sub(self.skipped)
    }

    /// The time since the Unix epoch.
    fn wall(&self) -> Duration {
        self.origin.saturating_add(self.now.since(Instant::ZERO)).saturating_add(self.skipped)
    }

    fn tell(&mut self, what: What) {
        self.tell_at(self.wall(), what);
    }

    fn tell_at(&mut self, at: Duration, what: What) {
        self.outcomes.push_back(Outcome { at, now: self.now, what });
    }
}

impl Iterator for Replay {
    type Item = Outcome;

    fn next(&mut self) -> Option<Outcome> {
        loop {
            if let Some(outcome) = self.outcomes.pop_front() {
                return Some(outcome);
            }
            if self.ended {
                return None;
            }
            self.step();
        }
    }
}

/// How long a gateway waits before it dials.
fn time_to_dial(mut gateway: Gateway, sides: &Sides) -> Duration {
    let uplinks: Vec<PortId> = gateway.ports().filter(|port| sides.is_uplink(*port)).collect();
    let mut now = Instant::ZERO;
    loop {
        for &port in &uplinks {
            let Some((queue, _)) = gateway.outgoing(port) else { continue };
            if queue.drain(..).any(|frame| sides::is_dialling(frame.bytes())) {
                return now.since(Instant::ZERO);
            }
        }
        match gateway.poll_timeout() {
            Some(due) if due <= Instant::ZERO + AFTERMATH => now = now.max(due),
            _ => return Duration::ZERO,
        }
        gateway.handle_timeout(now);
    }
}

/// A whole seed from a small number.
fn seed(number: u64) -> [u8; 32] {
    let mut seed = [0; 32];
    for (to, from) in seed.iter_mut().zip(number.to_le_bytes()) {
        *to = from;
    }
    seed
}
