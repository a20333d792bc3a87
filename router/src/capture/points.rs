//! Where captures look, by name, and what a client may ask to see there.

use genkan_config::Config;
use genkan_netstack::id::Interface as Place;
use genkan_netstack::sight::Point;
use serde::{Deserialize, Serialize};

use super::layers::Flow;
use super::{Filter, Interface, Selection};

/// What happens to the kernel path while somebody captures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum FastPathUse {
    /// It pauses: everything goes through user space and is seen. Costs the speed of the kernel path.
    #[default]
    Pause,
    /// It goes on; of what it carries, one packet in 4,096 of each flow is seen, before and after. Costs next to nothing.
    Sample,
    /// It goes on, and what it carries is not seen. Costs nothing.
    Off,
}

/// What a client wants to see.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Wanted {
    /// Names of points; none means every port, and inside every VPN.
    pub points: Vec<String>,
    /// A libpcap expression; empty means every frame.
    pub filter: String,
    /// The expression is asked of the IP packets inside a frame as well.
    pub inner: bool,
    /// Only what runs between these two ends, before and after translation.
    pub flow: Option<Flow>,
    /// Whole ways: everything that becomes of a frame of which one sighting, at any point, is wanted.
    pub journeys: bool,
    /// Secrets are not overwritten.
    pub unredacted: bool,
    /// What happens to the kernel path in the meantime.
    pub fast_path: FastPathUse,
}

/// Every point of a gateway: its number is the place in the list.
#[derive(Debug, Clone)]
pub struct Points {
    interfaces: Vec<Interface>,
    ports: usize,
    wans: usize,
    lans: usize,
    vpns: usize,
}

impl Points {
    /// Those of a configuration.
    pub fn new(config: &Config) -> Self {
        let point = |name: String, description: String| Interface { name, description };
        let empty = "the Ethernet header is empty";
        let ports = config.ports.iter().map(|port| &port.name);
        let mut interfaces: Vec<Interface> =
            ports.map(|name| point(format!("port.{name}"), format!("the wire of port {name}"))).collect();
        let packets = |kind: &str, name: &str| {
            point(format!("{kind}.{name}"), format!("IP packets of {kind} {name}; {empty}"))
        };
        interfaces.extend(config.wans.iter().map(|wan| packets("wan", &wan.name)));
        interfaces.extend(config.lans.iter().map(|lan| packets("lan", &lan.name)));
        interfaces.extend(config.vpns.iter().map(|vpn| packets("vpn", &vpn.name)));
        interfaces.push(point("subscribers".into(), format!("IP packets of all subscribers; {empty}")));
        interfaces.push(point("router".into(), "what the router takes in and says itself".into()));
        interfaces.push(point("drop".into(), "dropped frames as they came in; a comment says why".into()));
        Points {
            interfaces,
            ports: config.ports.len(),
            wans: config.wans.len(),
            lans: config.lans.len(),
            vpns: config.vpns.len(),
        }
    }

    /// Those of so many ports and nothing else, for a measurement.
    pub fn of_ports(ports: usize) -> Self {
        let interface = |number| Interface { name: format!("port.{number}"), description: String::new() };
        let others = ["subscribers", "router", "drop"];
        let others = others.map(|name| Interface { name: name.into(), description: String::new() });
        let interfaces = (0..ports).map(interface).chain(others).collect();
        Points { interfaces, ports, wans: 0, lans: 0, vpns: 0 }
    }

    /// Every point, in the order of their numbers.
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// A point's number.
    pub fn number(&self, point: Point) -> usize {
        let links = self.ports + self.wans + self.lans + self.vpns;
        match point {
            Point::Port(port) => port.index(),
            Point::Interface(Place::Wan(wan)) => self.ports + wan.index(),
            Point::Interface(Place::Lan(lan)) => self.ports + self.wans + lan.index(),
            Point::Interface(Place::Vpn(vpn)) => self.ports + self.wans + self.lans + vpn.index(),
            Point::Interface(Place::Subscriber(_)) => links,
            Point::Interface(Place::Router) => links + 1,
            Point::Drop => links + 2,
        }
    }

    /// The numbers of the points that go by a name: a point's own, a port's, or `all`.
    fn named(&self, name: &str) -> Option<Vec<usize>> {
        if name == "all" {
            return Some((0..self.interfaces.len()).collect());
        }
        let find = |name: &str| self.interfaces.iter().position(|point| point.name == name);
        find(name).or_else(|| find(&format!("port.{name}"))).map(|number| vec![number])
    }

    /// What is to be shown to a client; the error names what it asked for in vain.
    pub fn select(&self, wanted: &Wanted) -> Result<Selection, String> {
        let mut points = Vec::new();
        for name in &wanted.points {
            points.extend(self.named(name).ok_or_else(|| {
                let names: Vec<&str> = self.interfaces.iter().map(|point| point.name.as_str()).collect();
                format!("there is no point `{name}`; there are: {}", names.join(", "))
            })?);
        }
        if wanted.journeys {
            points = (0..self.interfaces.len()).collect();
        } else if points.is_empty() {
            let vpns = self.ports + self.wans + self.lans;
            points = (0..self.ports).chain(vpns..vpns + self.vpns).collect();
        }
        points.sort_unstable();
        points.dedup();
        let filter = match wanted.filter.as_str() {
            "" => None,
            expression => Some(Filter::compile(expression, wanted.inner).map_err(|error| error.to_string())?),
        };
        Ok(Selection {
            interfaces: points.iter().filter_map(|&number| self.interfaces.get(number).cloned()).collect(),
            points,
            filter,
            flow: wanted.flow,
            journeys: wanted.journeys,
            unredacted: wanted.unredacted,
            fast_path: wanted.fast_path,
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use genkan_netstack::id::{LanId, PortId, VpnId, WanId};

    use super::*;

    pub fn points() -> Points {
        let names =
            ["port.wan0", "port.lan0", "wan.isp", "lan.home", "vpn.friends", "subscribers", "router", "drop"];
        let interface = |name: &str| Interface { name: name.into(), description: String::new() };
        let interfaces = names.into_iter().map(interface).collect();
        Points { interfaces, ports: 2, wans: 1, lans: 1, vpns: 1 }
    }

    fn asked(names: &[&str]) -> Result<Vec<String>, String> {
        let wanted = Wanted { points: names.iter().map(|&name| name.into()).collect(), ..Wanted::default() };
        let chosen = points().select(&wanted)?;
        assert_eq!(chosen.points.len(), chosen.interfaces.len());
        Ok(chosen.interfaces.into_iter().map(|point| point.name).collect())
    }

    #[test]
    fn points_go_by_their_names_and_ports_by_their_bare_ones_too() {
        assert_eq!(asked(&["wan.isp", "lan0", "port.lan0"]).unwrap(), ["port.lan0", "wan.isp"]);
        assert_eq!(asked(&[]).unwrap(), ["port.wan0", "port.lan0", "vpn.friends"]);
        assert_eq!(asked(&["all"]).unwrap().len(), 8);
        let error = asked(&["wan1"]).unwrap_err();
        assert!(error.contains("`wan1`") && error.contains("wan.isp, lan.home"), "{error}");
    }

    #[test]
    fn every_point_has_the_number_of_its_name() {
        let points = points();
        let name = |point| points.interfaces()[points.number(point)].name.clone();
        assert_eq!(name(Point::Port(PortId(1))), "port.lan0");
        assert_eq!(name(Point::Interface(Place::Wan(WanId(0)))), "wan.isp");
        assert_eq!(name(Point::Interface(Place::Lan(LanId(0)))), "lan.home");
        assert_eq!(name(Point::Interface(Place::Vpn(VpnId(0)))), "vpn.friends");
        assert_eq!(name(Point::Interface(Place::Router)), "router");
        assert_eq!(name(Point::Drop), "drop");
    }
}
