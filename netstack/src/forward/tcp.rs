//! The state of a TCP connection as a translator in the middle sees it (RFC 7857 §2, after RFC 6146 §3.5.2).
//!
//! Directions are those of the flow: 0 is that of the packet that made it.

use crate::forward::parse::{ACK, FIN, RST, SYN};
use crate::settings::Timeouts;
use crate::time::Duration;

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TcpState {
    /// One side has sent SYN.
    Opening,
    /// Both sides have sent SYN (an answer, or a simultaneous open); the originator has not acknowledged yet.
    Answered,
    /// Open.
    Established,
    /// The side of this direction has sent FIN.
    HalfClosed(u8),
    /// Both sides have sent FIN.
    Closing,
    /// One side has sent RST. Nothing else has come since.
    Reset,
}

/// What a segment does to the connection's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clock {
    /// It starts again, whichever side the segment came from: the state has changed.
    Restart,
    /// It starts again if the segment came from a side that may refresh.
    Refresh,
    /// It goes on.
    Leave,
}

impl TcpState {
    /// The state after a segment with `flags` in direction `direction`, and what becomes of the clock.
    pub fn after(self, flags: u8, direction: u8) -> (TcpState, Clock) {
        use TcpState::*;
        if flags & RST != 0 {
            // The state stays for the transitory time, for the RST may be forged (RFC 7857 §2.2); while the
            // connection was transitory already, RST gives it no new lease.
            return match self {
                Established | HalfClosed(_) => (Reset, Clock::Restart),
                _ => (Reset, Clock::Leave),
            };
        }
        if flags & SYN != 0 {
            return match self {
                Opening if direction == 1 => (Answered, Clock::Refresh),
                // In a simultaneous open the originator's SYN and ACK come together.
                Answered if direction == 0 && flags & ACK != 0 => (Established, Clock::Refresh),
                Opening | Answered => (self, Clock::Refresh),
                // The same addresses and ports are used for a new connection.
                Closing | Reset if direction == 0 => (Opening, Clock::Refresh),
                _ => (self, Clock::Leave),
            };
        }
        match self {
            Opening => (Opening, Clock::Refresh),
            Answered if direction == 0 && flags & ACK != 0 => match flags & FIN {
                0 => (Established, Clock::Refresh),
                _ => (HalfClosed(0), Clock::Refresh),
            },
            Answered => (Answered, Clock::Refresh),
            Established if flags & FIN != 0 => (HalfClosed(direction), Clock::Refresh),
            Established => (Established, Clock::Refresh),
            HalfClosed(closed) if flags & FIN != 0 && closed != direction => (Closing, Clock::Restart),
            HalfClosed(_) => (self, Clock::Refresh),
            Closing => (Closing, Clock::Leave),
            // The RST was not believed: the connection lives on.
            Reset => (Established, Clock::Refresh),
        }
    }

    /// How long a connection in this state may be idle.
    pub fn timeout(self, timeouts: &Timeouts) -> Duration {
        match self {
            TcpState::Opening | TcpState::Answered => timeouts.tcp_transitory,
            TcpState::Established | TcpState::HalfClosed(_) => timeouts.tcp_established,
            TcpState::Closing | TcpState::Reset => timeouts.tcp_closing,
        }
    }
}
