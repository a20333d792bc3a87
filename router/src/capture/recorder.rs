//! The way of a captured frame from the data thread to a listener.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use genkan_netstack::frame::Frame;
use genkan_netstack::id::PortId;
use genkan_netstack::sight::{Fact, Point, Sighting};
use tokio::sync::mpsc::{self, Receiver, Sender};

use super::layers::{self, Flow};
use super::{Direction, FastPathUse, Filter, Interface, Packet, Points, direction};

/// Frames that may wait for a listener.
const QUEUE_FRAMES: usize = 8192;

/// Octets that may wait for a listener.
const QUEUE_OCTETS: usize = 16 << 20;

/// Which frames a listener wants.
#[derive(Debug, Default)]
pub struct Selection {
    /// The points' numbers, in order; the place in the list is the interface's number in the capture.
    pub points: Vec<usize>,
    /// The same points, for the head of the capture.
    pub interfaces: Vec<Interface>,
    /// Only what a filter accepts.
    pub filter: Option<Filter>,
    /// Only what runs between two ends.
    pub flow: Option<Flow>,
    /// Everything that becomes of a frame of which one sighting is wanted.
    pub journeys: bool,
    /// Secrets stay as they are.
    pub unredacted: bool,
    /// What happens to the kernel path in the meantime.
    pub fast_path: FastPathUse,
}

#[derive(Debug, Default)]
struct Shared {
    octets: AtomicUsize,
    lost: AtomicU64,
}

/// The data thread's end of a listener.
#[derive(Debug)]
pub struct Tap {
    selection: Selection,
    queue: Sender<Packet>,
    shared: Arc<Shared>,
    lost: u64,
}

/// The end where frames come out.
#[derive(Debug)]
pub struct Listener {
    queue: Receiver<Packet>,
    shared: Arc<Shared>,
}

impl Selection {
    /// The two ends of a listener. Dropping the [`Listener`] ends it.
    pub fn listen(self) -> (Tap, Listener) {
        let (sender, receiver) = mpsc::channel(QUEUE_FRAMES);
        let shared = Arc::new(Shared::default());
        let tap = Tap { selection: self, queue: sender, shared: Arc::clone(&shared), lost: 0 };
        (tap, Listener { queue: receiver, shared })
    }

    /// What is to be said of the capture as a whole.
    pub fn remarks(&self) -> Vec<String> {
        let remark = match self.unredacted {
            true => "NOT REDACTED: passwords and responses to challenges are in this file",
            false => "secrets overwritten: PAP passwords, responses to challenges, RADIUS passwords and keys",
        };
        vec![remark.to_owned()]
    }

    fn interface(&self, number: usize) -> Option<u16> {
        u16::try_from(self.points.binary_search(&number).ok()?).ok()
    }

    /// True when neither flow nor filter has anything against a frame.
    fn accepts(&self, frame: &[u8]) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.matches(frame))
    }

    fn is_of_flow(&self, journey: &[Sighting]) -> bool {
        let Some(flow) = &self.flow else { return true };
        let told = |fact: &Fact| matches!(fact, Fact::Flow { before, after, .. } if flow.is_between(before) || flow.is_between(after));
        journey.iter().any(|sighting| {
            let ends = layers::packets(sighting.frame.bytes()).into_iter().filter_map(layers::Inner::ends);
            sighting.facts.iter().any(told) || ends.into_iter().any(|ends| flow.is_between(&ends))
        })
    }
}

impl Tap {
    /// Takes what it wants of a journey's sightings, or of a part of them.
    fn offer_journey(&mut self, points: &Points, at: Duration, journey: &[Sighting]) {
        let wants = |sighting: &Sighting| {
            let interface = self.selection.interface(points.number(sighting.point));
            interface.filter(|_| self.selection.accepts(sighting.frame.bytes()))
        };
        if self.selection.journeys && !journey.iter().any(|sighting| wants(sighting).is_some()) {
            return;
        }
        let chosen: Vec<Option<u16>> = match self.selection.journeys {
            true => journey.iter().map(|s| self.selection.interface(points.number(s.point))).collect(),
            false => journey.iter().map(wants).collect(),
        };
        if chosen.iter().all(Option::is_none) || !self.selection.is_of_flow(journey) {
            return;
        }
        // Facts of sightings that are passed over are told with the next one that is not.
        let mut told = 0;
        for (index, sighting) in journey.iter().enumerate() {
            let Some(interface) = chosen.get(index).copied().flatten() else { continue };
            // What has come in is told with all that becomes of it, unless each stage is there to tell its own.
            let until = match sighting.point {
                Point::Port(_) if !sighting.sent && !self.selection.journeys => journey.len(),
                _ => index + 1,
            };
            let facts = journey.get(told..until).unwrap_or_default().iter().flat_map(|s| &s.facts);
            let comments = std::iter::once(format!("frame {}", sighting.journey))
                .chain(facts.map(Fact::to_string))
                .collect();
            told = if sighting.sent || self.selection.journeys { index + 1 } else { told };
            self.lost += sighting.lost_before;
            self.shared.lost.fetch_add(sighting.lost_before, Ordering::Relaxed);
            self.offer(interface, direction(sighting), at, &sighting.frame, comments);
        }
    }

    fn offer(
        &mut self,
        interface: u16,
        direction: Direction,
        at: Duration,
        frame: &Frame,
        comments: Vec<String>,
    ) {
        let len = frame.len();
        let waiting = self.shared.octets.load(Ordering::Relaxed);
        let Some(place) = self.queue.try_reserve().ok().filter(|_| waiting + len <= QUEUE_OCTETS) else {
            self.lost += 1;
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let mut packet = Packet::of(interface, direction, at, frame, !self.selection.unredacted);
        packet.lost_before = std::mem::take(&mut self.lost);
        packet.comments.extend(comments);
        self.shared.octets.fetch_add(len, Ordering::Relaxed);
        place.send(packet);
    }
}

impl Listener {
    /// The next frame; `None` when the gateway has stopped.
    pub async fn next(&mut self) -> Option<Packet> {
        let packet = self.queue.recv().await;
        self.took(packet)
    }

    /// The next frame if one waits.
    pub fn try_next(&mut self) -> Option<Packet> {
        let packet = self.queue.try_recv().ok();
        self.took(packet)
    }

    /// The next frame, for a thread without an executor; `None` when the gateway has stopped.
    pub fn blocking_next(&mut self) -> Option<Packet> {
        let packet = self.queue.blocking_recv();
        self.took(packet)
    }

    /// Frames lost so far because this listener was too slow.
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }

    fn took(&self, packet: Option<Packet>) -> Option<Packet> {
        if let Some(packet) = &packet {
            self.shared.octets.fetch_sub(packet.bytes.len(), Ordering::Relaxed);
        }
        packet
    }
}

/// Every listener of a gateway. The data thread owns it.
#[derive(Debug)]
pub struct Recorder {
    points: Points,
    taps: Vec<Tap>,
}

impl Recorder {
    /// One without listeners, for a gateway with these points.
    pub fn new(points: Points) -> Self {
        Recorder { points, taps: Vec::new() }
    }

    /// Adds a listener.
    pub fn add(&mut self, tap: Tap) {
        self.taps.push(tap);
    }

    /// True while nobody listens: there is no need to show frames.
    #[inline]
    pub fn is_idle(&self) -> bool {
        self.taps.is_empty()
    }

    /// True while somebody wants the kernel path to pause.
    pub fn pauses_fast_path(&self) -> bool {
        self.taps.iter().any(|tap| tap.selection.fast_path == FastPathUse::Pause)
    }

    /// Shows sightings, those of a journey one after the other, at the time `at` since the Unix epoch.
    pub fn show(&mut self, at: Duration, sightings: &[Sighting]) {
        for journey in sightings.chunk_by(|one, next| one.journey == next.journey) {
            self.taps.iter_mut().for_each(|tap| tap.offer_journey(&self.points, at, journey));
        }
        self.taps.retain(|tap| !tap.queue.is_closed());
    }

    /// Shows a frame that the kernel path has carried, before or after, to those who want samples.
    pub fn show_sample(&mut self, at: Duration, port: PortId, direction: Direction, frame: &[u8]) {
        let number = self.points.number(Point::Port(port));
        for tap in &mut self.taps {
            if tap.selection.fast_path != FastPathUse::Sample || !tap.selection.accepts(frame) {
                continue;
            }
            if let Some(interface) = tap.selection.interface(number) {
                let comment = "carried by the kernel path, one packet in 4,096".to_owned();
                tap.offer(interface, direction, at, &Frame::from_bytes(frame), vec![comment]);
            }
        }
    }
}

#[cfg(test)]
mod tests;
