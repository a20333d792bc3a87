//! The log of the gateway's events, which a peer who repeats itself does not fill.
//!
//! Whoever is on the line or in the LAN can cause an event as often as it likes: a wrong password, a refused request. So
//! each kind of event about each thing has an allowance; what goes beyond it is counted, and the count told with the
//! next one that is let through.

use std::collections::HashMap;
use std::mem::{Discriminant, discriminant};
use std::sync::Arc;

use genkan_netstack::control::{BridgeEvent, Event, Level, PrefixEvent, VpnEvent};
use genkan_netstack::time::{Duration, Instant};
use genkan_netstack::{arp, dhcp4, dhcp6, dns, ndp, pppoe};
use tracing::{debug, info, warn};

/// What an allowance is for: things with a name in the configuration, and kinds of events. So there are few of them.
type Subject = (Option<Arc<str>>, Kind);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Kind {
    Wan(Discriminant<pppoe::Event>),
    Concentrator(Discriminant<pppoe::subscriber::Event>),
    Dhcp(Discriminant<dhcp4::Event>),
    Arp(Discriminant<arp::Event>),
    Bridge(Discriminant<BridgeEvent>),
    Dns(Discriminant<dns::Event>),
    WanRouters(Discriminant<ndp::discover::Event>),
    WanDhcp4(Discriminant<dhcp4::client::Event>),
    WanDhcp6(Discriminant<dhcp6::client::Event>),
    LanPrefix(Discriminant<PrefixEvent>),
    LanRouter(Discriminant<ndp::advertise::Event>),
    Ndp(Discriminant<ndp::neighbour::Event>),
    LanDhcp6(Discriminant<dhcp6::server::Event>),
    Prefixes,
    Resumed,
    Delegation(Discriminant<dhcp6::delegate::Event>),
    Vpn(Discriminant<VpnEvent>),
}

fn subject(event: &Event) -> Subject {
    match event {
        Event::Wan { name, event } => (Some(Arc::clone(name)), Kind::Wan(discriminant(event))),
        Event::Concentrator { name, event } => {
            (Some(Arc::clone(name)), Kind::Concentrator(discriminant(event)))
        }
        Event::Dhcp { lan, event } => (Some(Arc::clone(lan)), Kind::Dhcp(discriminant(event))),
        Event::Arp { lan, event } => (Some(Arc::clone(lan)), Kind::Arp(discriminant(event))),
        Event::WanArp { wan, event } => (Some(Arc::clone(wan)), Kind::Arp(discriminant(event))),
        Event::Bridge { lan, event } => (Some(Arc::clone(lan)), Kind::Bridge(discriminant(event))),
        Event::Dns(event) => (None, Kind::Dns(discriminant(event))),
        Event::WanRouters { name, event } => (Some(Arc::clone(name)), Kind::WanRouters(discriminant(event))),
        Event::WanDhcp4 { name, event } => (Some(Arc::clone(name)), Kind::WanDhcp4(discriminant(event))),
        Event::WanDhcp6 { name, event } => (Some(Arc::clone(name)), Kind::WanDhcp6(discriminant(event))),
        Event::LanPrefix { lan, event } => (Some(Arc::clone(lan)), Kind::LanPrefix(discriminant(event))),
        Event::LanRouter { lan, event } => (Some(Arc::clone(lan)), Kind::LanRouter(discriminant(event))),
        Event::Ndp { name, event, .. } => (Some(Arc::clone(name)), Kind::Ndp(discriminant(event))),
        Event::LanDhcp6 { lan, event } => (Some(Arc::clone(lan)), Kind::LanDhcp6(discriminant(event))),
        Event::PrefixesChanged => (None, Kind::Prefixes),
        Event::Resumed => (None, Kind::Resumed),
        Event::Vpn { name, event } => (Some(Arc::clone(name)), Kind::Vpn(discriminant(event))),
        Event::Delegation { concentrator, event } => {
            (Some(Arc::clone(concentrator)), Kind::Delegation(discriminant(event)))
        }
    }
}

/// Lines that may come at once, and the time in which one more may come. What goes well is worth more lines: a
/// concentrator's subscribers all come back after an outage.
fn rate(level: Level) -> (u32, Duration) {
    match level {
        Level::Warning => (20, Duration::from_secs(30)),
        Level::Debug | Level::Info => (1000, Duration::from_millis(100)),
    }
}

#[derive(Debug)]
struct Allowance {
    lines: u32,
    /// When the last line was added to `lines`.
    filled: Instant,
    hidden: u64,
}

/// Writes events into the log.
#[derive(Debug, Default)]
pub(crate) struct EventLog {
    allowances: HashMap<Subject, Allowance>,
}

impl EventLog {
    /// Writes an event of `now`, unless there were too many of its kind.
    pub fn write(&mut self, event: &Event, now: Instant) {
        let Some(hidden) = self.admit(event, now) else { return };
        let more =
            if hidden > 0 { format!(" ({hidden} others of this kind are not shown)") } else { String::new() };
        match event.level() {
            Level::Debug => debug!("{event}{more}"),
            Level::Info => info!("{event}{more}"),
            Level::Warning => warn!("{event}{more}"),
        }
    }

    /// How many of the kind were hidden before this one; `None` when it is to be hidden too.
    fn admit(&mut self, event: &Event, now: Instant) -> Option<u64> {
        let (burst, every) = rate(event.level());
        let fresh = || Allowance { lines: burst, filled: now, hidden: 0 };
        let allowance = self.allowances.entry(subject(event)).or_insert_with(fresh);
        let earned = now.since(allowance.filled).as_millis() / every.as_millis();
        if let Ok(earned) = u32::try_from(earned)
            && earned < burst
        {
            allowance.lines = allowance.lines.saturating_add(earned).min(burst);
            allowance.filled += every * earned;
        } else {
            allowance.lines = burst;
            allowance.filled = now;
        }
        if allowance.lines == 0 {
            allowance.hidden += 1;
            return None;
        }
        allowance.lines -= 1;
        Some(std::mem::take(&mut allowance.hidden))
    }
}

#[cfg(test)]
mod tests {
    use genkan_netstack::id::Mac;
    use genkan_netstack::pppoe::subscriber;

    use super::*;

    fn failed(user: &str) -> Event {
        let event = subscriber::Event::AuthFailed { user: user.into(), peer: Mac([2; 6]) };
        Event::Concentrator { name: "bras".into(), event }
    }

    #[test]
    fn an_event_that_is_repeated_takes_a_bounded_number_of_lines_and_the_rest_is_counted() {
        let mut log = EventLog::default();
        let shown = |log: &mut EventLog, seconds: std::ops::Range<u64>| {
            let mut shown = Vec::new();
            for at in seconds.flat_map(|second| [second * 1000, second * 1000 + 500]) {
                shown.extend(log.admit(&failed(&at.to_string()), Instant::from_millis(at)));
            }
            shown
        };
        let hour = shown(&mut log, 0..3600);
        assert!((120..=140).contains(&hour.len()), "{} lines in an hour", hour.len());
        assert_eq!(hour.last(), Some(&59));
        assert_eq!(shown(&mut log, 7200..7201), [59, 0], "after a silence all is as at first");
    }

    #[test]
    fn what_is_about_something_else_has_an_allowance_of_its_own() {
        let mut log = EventLog::default();
        let now = Instant::from_secs(1);
        while log.admit(&failed("mallory"), now).is_some() {}
        let other = Event::Concentrator {
            name: "other".into(),
            event: subscriber::Event::AuthFailed { user: "alice".into(), peer: Mac([2; 6]) },
        };
        assert_eq!(log.admit(&other, now), Some(0));
    }
}
