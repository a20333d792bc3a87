//! What becomes of a connection, in words.
//!
//! The Forwarder knows (`Forwarder::inquire`): the flow that is there, or what its first packet would meet. Here it is told.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;

use serde::Serialize;

use super::{Span, Symptom, teach};
use crate::forward::Forwarder;
use crate::forward::inquiry::{Found, Known, Station};
use crate::id::Interface;
use crate::ledger::DropReason;
use crate::settings::{Action, Transport};
use crate::sight::{Fact, Names};
use crate::time::{Duration, Instant};
use crate::wire::ipv4::{TCP, UDP};

/// What becomes of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FlowDiagnosis {
    /// What was asked about: `tcp 192.168.1.20:51000 to 203.0.113.9:443`.
    pub subject: String,
    /// All in one sentence, without a full stop.
    pub sentence: String,
    /// Its packets pass.
    pub passes: bool,
    /// It has a flow already.
    pub known: bool,
    /// The `[[filter]]` that decides, counted from 1; `null` when the built-in rules do.
    pub rule: Option<usize>,
    /// The line of the configuration at which it stands, from 1.
    pub rule_line: Option<u32>,
    /// What was decided, in order.
    pub facts: Vec<String>,
    /// When it does not pass: what that means.
    pub meaning: Option<String>,
    /// The two likeliest causes.
    pub causes: Vec<String>,
    /// What to try.
    pub advice: Vec<String>,
}

impl fmt::Display for FlowDiagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}.", self.sentence)?;
        for fact in &self.facts {
            writeln!(f, "  {fact}")?;
        }
        let line = |label: &str, text: &str| writeln!(f, "  {label:<8}{text}");
        teach(line, self.meaning.as_deref(), &self.causes, &self.advice)
    }
}

/// What becomes of packets from `ends.0` to `ends.1`; without a protocol, of the one that has a flow, or of TCP.
pub(crate) fn diagnose(
    forwarder: &mut Forwarder,
    now: Instant,
    names: &Names,
    protocol: Option<Transport>,
    ends: (SocketAddr, SocketAddr),
) -> FlowDiagnosis {
    let mut ask = |number| (number, forwarder.inquire(now, names, number, ends));
    let (number, found) = match protocol {
        Some(Transport::Tcp) => ask(TCP),
        Some(Transport::Udp) => ask(UDP),
        None => {
            let tcp = ask(TCP);
            let udp = tcp.1.flow.is_none().then(|| ask(UDP)).filter(|(_, found)| found.flow.is_some());
            udp.unwrap_or(tcp)
        }
    };
    tell(number, ends, &found, names)
}

fn tell(
    number: u8,
    (source, destination): (SocketAddr, SocketAddr),
    found: &Found,
    names: &Names,
) -> FlowDiagnosis {
    let protocol = if number == UDP { "udp" } else { "tcp" };
    let subject = format!("{protocol} {source} to {destination}");
    let symptom = symptom(found);
    let rule = match (found.rule, &found.refused) {
        (Some((rule, Action::Accept)), _) => format!("{rule} lets it pass"),
        (Some((rule, Action::Drop | Action::Reject)), _) => format!("{rule} forbids it"),
        (None, Some(_)) => "no [[filter]] matches".into(),
        (None, None) if found.forwarded => "no [[filter]] matches; a port forward lets it pass".into(),
        (None, None) => "no [[filter]] matches; the built-in rules let it pass".into(),
    };
    let mut facts = Vec::new();
    facts.push(match &found.flow {
        Some(known) => known_words(known),
        None => "it has no flow yet: this is what its first packet would meet".into(),
    });
    facts.push(format!("comes in by {}", names.of(found.from)));
    facts.push(rule.clone());
    // What the rules say stands there already, and the flow is taken back.
    let told = |fact: &&Fact| matches!(fact, Fact::Inbound { .. } | Fact::Mapping { .. });
    facts.extend(found.facts.iter().filter(told).map(|fact| match fact {
        Fact::Mapping { is_new: true, inside, wan, .. } => {
            format!("a port of {wan} is free for {}:{}", inside.0, inside.1)
        }
        other => other.to_string(),
    }));
    if let Some((from, to)) = found.beyond.filter(|_| found.flow.is_some())
        && (from, to) != (source, destination)
    {
        facts.push(format!("there it is {from} to {to}"));
    }
    if let Some(to) = found.to.filter(|_| found.refused.is_none()) {
        facts.push(format!("goes out by {}", names.of(to)));
    }
    if let Some((address, station)) = found.station.filter(|_| found.refused.is_none()) {
        facts.push(match station {
            Station::Known(mac) => format!("next is {address}, at {mac}"),
            Station::Silent(secs) => {
                let age = Span(Duration::from_secs(secs));
                format!("next is {address}, which was asked for in vain {age} ago")
            }
            Station::Unknown => format!("next is {address}, which will be asked for"),
        });
    }
    if let Some((used, most)) = found.quota {
        facts.push(format!("its inside host has {used} of {most} flows"));
    }
    let (passes, sentence) = match symptom {
        None => {
            let way = found.to.map_or(String::new(), |to| format!(" by {}", names.of(to)));
            let path = found.flow.as_ref().map_or("", |known| match known.in_kernel {
                (true, true) => ", carried by the kernel path",
                (false, false) => ", carried in user space",
                _ => ", one direction carried by the kernel path",
            });
            (true, format!("{subject} passes{way}{path}: {rule}"))
        }
        Some(symptom) => {
            let known = symptom.knowledge();
            let [cause, other] = known.causes;
            let by = match (symptom, found.rule, found.refused) {
                (Symptom::FilterRule, Some((rule, _)), _) => format!(" ({rule})"),
                (Symptom::NoWay, _, Some(reason)) => format!(" ({})", reason.describe().trim()),
                _ => String::new(),
            };
            (false, format!("{subject} does not pass: {}{by}; usually {cause}, or {other}", known.clause))
        }
    };
    let known = symptom.map(Symptom::knowledge);
    FlowDiagnosis {
        subject,
        sentence,
        passes,
        known: found.flow.is_some(),
        rule: found.rule.map(|(rule, _)| rule.number),
        rule_line: found.rule.and_then(|(rule, _)| rule.line),
        facts,
        meaning: known.map(|known| known.meaning.into()),
        causes: known.iter().flat_map(|known| known.causes).map(String::from).collect(),
        advice: known.iter().flat_map(|known| known.advice).map(|&advice| advice.into()).collect(),
    }
}

fn known_words(known: &Known) -> String {
    let direction = if known.reply { "this is the answering direction of a flow" } else { "it has a flow" };
    let (then, present) = known.epochs;
    let epoch = match known.current {
        true => format!("epoch {then}, the present one"),
        false => format!("epoch {then}, and the present one is {present}"),
    };
    let path = match known.in_kernel {
        (true, true) => "in the kernel path",
        (false, false) => "in user space",
        (true, false) => "in the kernel path there, in user space back",
        (false, true) => "in user space there, in the kernel path back",
    };
    format!(
        "{direction}: {}, {epoch}, {path}, {} packets here and {} in the kernel, last kept alive {} ago",
        known.state,
        known.packets,
        known.kernel_packets,
        Span(Duration::from_secs(known.idle_s.into()))
    )
}

fn symptom(found: &Found) -> Option<Symptom> {
    use DropReason::{
        BogonSource, FilterDefault, FilterDrop, FilterReject, FlowTableFull, HostQuota, Land, NatExhausted,
        Spoofed, WanDown,
    };
    match found.refused {
        Some(FilterDrop | FilterReject) => Some(Symptom::FilterRule),
        Some(FilterDefault) => Some(Symptom::FilterDefault),
        Some(HostQuota) => Some(Symptom::HostQuota),
        Some(NatExhausted) => Some(Symptom::NatFull),
        Some(FlowTableFull) => Some(Symptom::FlowTableFull),
        Some(WanDown) => Some(Symptom::UplinkDown),
        Some(Spoofed | BogonSource | Land) => Some(Symptom::SourceWrong),
        Some(_) => Some(Symptom::NoWay),
        None if found.flow.is_some_and(|flow| !flow.current) => Some(Symptom::StaleFlow),
        None if matches!(found.station, Some((_, Station::Silent(_))))
            && found.to != Some(Interface::Router) =>
        {
            Some(Symptom::DeadHost)
        }
        None => None,
    }
}
