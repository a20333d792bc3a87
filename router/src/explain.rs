//! What is wrong, asked of a running gateway or of one that has lived through a capture: the same questions, the same
//! answers.

use std::net::SocketAddr;

use genkan_netstack::explain::{Diagnosis, FlowDiagnosis};
use genkan_netstack::gateway::Gateway;
use genkan_netstack::id::WanId;
use genkan_netstack::settings::Transport;
use genkan_netstack::time::Instant;
use serde::{Deserialize, Serialize};

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Question {
    /// What is wrong with an uplink; without a name, with each.
    Wan {
        /// Its name.
        name: Option<String>,
    },
    /// What becomes of a connection.
    Flow {
        /// UDP; otherwise TCP. `None`: whichever has a flow.
        udp: Option<bool>,
        /// Its packets' source.
        source: SocketAddr,
        /// Their destination.
        destination: SocketAddr,
    },
    /// What is wrong with the peers of a VPN.
    Vpn {
        /// The VPN's name.
        name: String,
        /// One peer's name; without it, each.
        peer: Option<String>,
    },
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// About lines.
    Lines(Vec<Diagnosis>),
    /// About a connection.
    Flow(FlowDiagnosis),
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Answer::Flow(flow) => flow.fmt(f),
            Answer::Lines(lines) => {
                for (index, line) in lines.iter().enumerate() {
                    if index > 0 {
                        writeln!(f)?;
                    }
                    line.fmt(f)?;
                }
                Ok(())
            }
        }
    }
}

/// Asks the gateway.
///
/// # Errors
/// There is nothing of that name: a sentence that says what there is.
pub fn answer(gateway: &mut Gateway, now: Instant, question: &Question) -> Result<Answer, String> {
    match question {
        Question::Wan { name } => {
            let names: Vec<String> = gateway.status(now).wans.into_iter().map(|wan| wan.name).collect();
            let wanted = (0u16..).map(WanId).zip(&names);
            let wanted = wanted.filter(|(_, known)| name.as_ref().is_none_or(|name| name == *known));
            let lines: Vec<Diagnosis> = wanted.filter_map(|(wan, _)| gateway.explain_wan(now, wan)).collect();
            match name {
                Some(name) if lines.is_empty() => {
                    Err(format!("there is no uplink {name}; the uplinks are {}", list(&names)))
                }
                _ => Ok(Answer::Lines(lines)),
            }
        }
        Question::Flow { udp, source, destination } => {
            if source.is_ipv4() != destination.is_ipv4() {
                return Err("both addresses of a flow are of one version of IP".into());
            }
            let protocol = udp.map(|udp| if udp { Transport::Udp } else { Transport::Tcp });
            Ok(Answer::Flow(gateway.explain_flow(now, protocol, *source, *destination)))
        }
        Question::Vpn { name, peer } => {
            let lines = gateway.explain_vpn(now, name, peer.as_deref());
            if !lines.is_empty() {
                return Ok(Answer::Lines(lines));
            }
            let vpns = gateway.status(now).vpns;
            match vpns.iter().find(|vpn| vpn.name == *name) {
                Some(vpn) => {
                    let names: Vec<String> = vpn.peers.iter().map(|peer| peer.name.clone()).collect();
                    Err(format!("vpn {name} has no such peer; its peers are {}", list(&names)))
                }
                None => {
                    let names: Vec<String> = vpns.into_iter().map(|vpn| vpn.name).collect();
                    Err(format!("there is no VPN {name}; the VPNs are {}", list(&names)))
                }
            }
        }
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".into() } else { names.join(", ") }
}
