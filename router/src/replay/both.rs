//! Both sides of a replay as one capture: for each port an interface with what the gateway received and sent, and one with what
//! the captured router sent.

use std::io::{self, Write};
use std::time::Duration;

use genkan_netstack::frame::Frame;
use genkan_netstack::id::PortId;

use super::{Counterpart, Outcome, Replay, What};
use crate::capture::{Direction, Interface, Packet, Writer};

/// Writes outcomes as pcapng, secrets redacted.
pub struct Both<W: Write> {
    writer: Writer<W>,
}

impl<W: Write> Both<W> {
    /// Begins a capture of a replay's ports.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn new(to: W, replay: &Replay) -> io::Result<Self> {
        let interfaces: Vec<Interface> = replay
            .ports()
            .iter()
            .flat_map(|name| {
                let ours = format!("what the replayed gateway received and sent at port {name}");
                let theirs = format!("what the captured router sent at port {name}");
                [(name.clone(), ours), (format!("captured.{name}"), theirs)]
            })
            .map(|(name, description)| Interface { name, description })
            .collect();
        Ok(Both { writer: Writer::new(to, &interfaces, &[])? })
    }

    /// Adds the frames of an outcome.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&mut self, outcome: &Outcome) -> io::Result<()> {
        let at = outcome.at;
        match &outcome.what {
            What::Received { port, frame, .. } => {
                self.frame(*port, false, Direction::Received, at, frame, None)
            }
            What::Assumed { port, frame, why } => {
                self.frame(*port, false, Direction::Received, at, frame, Some((*why).to_owned()))
            }
            What::Sent { port, frame, captured } => {
                self.frame(*port, false, Direction::Sent, at, frame, None)?;
                captured.as_ref().map_or(Ok(()), |captured| self.captured(*port, at, captured))
            }
            What::Missed { port, captured } => self.captured(*port, at, captured),
            What::Event(_)
            | What::Decided(_)
            | What::Dropped { .. }
            | What::Skipped { .. }
            | What::Note(_) => Ok(()),
        }
    }

    /// Writes out what is buffered.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.writer.get_mut().flush()
    }

    /// Where it was written to.
    pub fn into_inner(mut self) -> W
    where
        W: Default,
    {
        std::mem::take(self.writer.get_mut())
    }

    fn captured(&mut self, port: PortId, at: Duration, captured: &Counterpart) -> io::Result<()> {
        let comment = format!("frame {} of the capture", captured.number);
        // Beside ours, so that the two are read together.
        self.frame(port, true, Direction::Sent, at, &captured.frame, Some(comment))
    }

    fn frame(
        &mut self,
        port: PortId,
        captured: bool,
        direction: Direction,
        at: Duration,
        bytes: &[u8],
        comment: Option<String>,
    ) -> io::Result<()> {
        let interface = port.0.saturating_mul(2).saturating_add(u16::from(captured));
        let mut packet = Packet::of(interface, direction, at, &Frame::from_bytes(bytes), true);
        packet.comments.extend(comment);
        self.writer.write(&packet)
    }
}
