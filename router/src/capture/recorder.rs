//! The way of a captured frame from the data thread to a listener.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use genkan_netstack::frame::Frame;
use genkan_netstack::id::PortId;
use tokio::sync::mpsc::{self, Receiver, Sender};

use super::{Direction, Filter, Packet};

/// Frames that may wait for a listener.
const QUEUE_FRAMES: usize = 8192;

/// Octets that may wait for a listener.
const QUEUE_OCTETS: usize = 16 << 20;

/// Which frames a listener wants.
#[derive(Debug, Default)]
pub struct Selection {
    /// Only those of these ports; all when there is none.
    pub ports: Vec<PortId>,
    /// Only those that a filter accepts.
    pub filter: Option<Filter>,
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

    fn wants(&self, port: PortId, frame: &Frame) -> bool {
        (self.ports.is_empty() || self.ports.contains(&port))
            && self.filter.as_ref().is_none_or(|filter| filter.matches(frame.bytes()))
    }
}

impl Tap {
    fn offer(&mut self, port: PortId, direction: Direction, at: Duration, frame: &Frame) {
        if !self.selection.wants(port, frame) {
            return;
        }
        let len = frame.len();
        let waiting = self.shared.octets.load(Ordering::Relaxed);
        let Some(place) = self.queue.try_reserve().ok().filter(|_| waiting + len <= QUEUE_OCTETS) else {
            self.lost += 1;
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let mut packet = Packet::of(port.0, direction, at, frame);
        packet.lost_before = std::mem::take(&mut self.lost);
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
#[derive(Debug, Default)]
pub struct Recorder {
    taps: Vec<Tap>,
}

impl Recorder {
    /// Adds a listener.
    pub fn add(&mut self, tap: Tap) {
        self.taps.push(tap);
    }

    /// True while nobody listens: there is no need to show frames.
    #[inline]
    pub fn is_idle(&self) -> bool {
        self.taps.is_empty()
    }

    /// Shows a frame that came in by or is about to leave by `port`, at the time `at` since the Unix epoch.
    #[inline]
    pub fn show(&mut self, port: PortId, direction: Direction, at: Duration, frame: &Frame) {
        if !self.taps.is_empty() {
            self.offer(port, direction, at, frame);
        }
    }

    #[cold]
    fn offer(&mut self, port: PortId, direction: Direction, at: Duration, frame: &Frame) {
        self.taps.retain_mut(|tap| {
            tap.offer(port, direction, at, frame);
            !tap.queue.is_closed()
        });
    }
}

#[cfg(test)]
mod tests {
    use genkan_netstack::frame::{Checksum, Gso, GsoKind, Offload};

    use super::*;

    const AT: Duration = Duration::from_nanos(1_700_000_000_123_456_789);

    #[test]
    fn a_listener_gets_what_it_selected_and_leaves_when_dropped() {
        let mut recorder = Recorder::default();
        let arp = Frame::from_bytes(&[&[0xff; 12][..], &[8, 6], &[0; 46]].concat());
        recorder.show(PortId(0), Direction::Received, AT, &arp);
        let filter = Some(Filter::compile("arp").unwrap());
        let (tap, mut listener) = Selection { ports: vec![PortId(1)], filter }.listen();
        recorder.add(tap);
        recorder.show(PortId(0), Direction::Received, AT, &arp);
        recorder.show(PortId(1), Direction::Sent, AT, &Frame::from_bytes(&[0; 60]));
        recorder.show(PortId(1), Direction::Sent, AT, &arp);
        let packet = listener.try_next().unwrap();
        assert_eq!((packet.interface, packet.direction, packet.at), (1, Direction::Sent, AT));
        assert_eq!(packet.bytes, arp.bytes());
        assert_eq!(listener.try_next(), None);
        drop(listener);
        recorder.show(PortId(0), Direction::Received, AT, &arp);
        assert!(recorder.is_idle());
    }

    #[test]
    fn frames_that_find_the_queue_full_are_counted_and_told_with_the_next_one() {
        let mut recorder = Recorder::default();
        let (tap, mut listener) = Selection::default().listen();
        recorder.add(tap);
        let frame = Frame::from_bytes(&[0; 60]);
        for _ in 0..QUEUE_FRAMES + 3 {
            recorder.show(PortId(0), Direction::Received, AT, &frame);
        }
        assert_eq!(listener.lost(), 3);
        assert_eq!(listener.try_next().unwrap().lost_before, 0);
        recorder.show(PortId(0), Direction::Received, AT, &frame);
        let last = std::iter::from_fn(|| listener.try_next()).last().unwrap();
        assert_eq!(last.lost_before, 3);
    }

    #[test]
    fn large_frames_fill_the_queue_by_their_octets() {
        let mut recorder = Recorder::default();
        let (tap, mut listener) = Selection::default().listen();
        recorder.add(tap);
        let frame = Frame::from_bytes(&[0; 65_000]);
        for _ in 0..QUEUE_OCTETS / 65_000 + 2 {
            recorder.show(PortId(0), Direction::Received, AT, &frame);
        }
        assert_eq!(listener.lost(), 2);
        while listener.try_next().is_some() {}
        assert_eq!(listener.shared.octets.load(Ordering::Relaxed), 0);
    }

    /// TR-124 WAN.PPP.6: passwords are never displayed.
    #[test]
    fn tr124_wan_ppp_6_a_password_never_enters_the_queue() {
        let pap = [
            &[2; 12][..],
            &[0x88, 0x64, 0x11, 0, 0, 1, 0, 20, 0xc0, 0x23],
            &[1, 1, 0, 18, 4],
            b"user",
            &[8],
            b"s3cret!!",
        ]
        .concat();
        let packet = Packet::of(0, Direction::Sent, AT, &Frame::from_bytes(&pap));
        assert_eq!(packet.bytes.len(), pap.len());
        assert!(!packet.bytes.windows(8).any(|window| window == b"s3cret!!"));
        assert!(packet.bytes.windows(4).any(|window| window == b"user"));
        assert!(packet.comment.is_some());
    }

    #[test]
    fn the_copy_has_the_checksum_that_the_device_would_complete() {
        // Pseudo-header sum 0x1234 in the field; the octets to sum are 0x1234 and 0x0001.
        let mut frame = Frame::from_bytes(&[0; 14]);
        frame.extend(&[0x12, 0x34, 0x00, 0x01]);
        let gso = Some(Gso { kind: GsoKind::TcpV4, size: 1448, ecn: false });
        frame.offload = Offload { checksum: Checksum::Partial { start: 14, offset: 0 }, gso };
        let packet = Packet::of(0, Direction::Sent, AT, &frame);
        assert_eq!(packet.bytes.get(14..16), Some(&(!0x1235u16).to_be_bytes()[..]));
        assert!(packet.comment.unwrap().contains("1448"));
        frame.offload.checksum = Checksum::Partial { start: 4000, offset: 16 };
        assert_eq!(
            Packet::of(0, Direction::Sent, AT, &frame).bytes,
            frame.bytes(),
            "offsets outside change nothing"
        );
    }
}
