//! The kernel's view of a device: what a port reads and changes through rtnetlink.

use std::io;

use genkan_netstack::id::Mac;

use super::Presence;
use crate::sys::netlink::{Body, Message, Netlink, attributes};

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_TXQLEN: u16 = 13;
const IFLA_LINKINFO: u16 = 18;
const IFLA_STATS64: u16 = 23;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_XDP: u16 = 43;
const IFLA_MAX_MTU: u16 = 51;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_XDP_ATTACHED: u16 = 2;
const XDP_ATTACHED_DRV: u8 = 1;

const RTA_OIF: u16 = 4;
const RTA_MULTIPATH: u16 = 9;
const RTA_CACHEINFO: u16 = 12;
const RTA_TABLE: u16 = 15;
const TABLE_LOCAL: u32 = 255;
const PROTOCOL_KERNEL: u8 = 2;
const PROTOCOL_RA: u8 = 9;
const ROUTE_CLONED: u32 = 0x200;
const ROUTE_ONLINK: u32 = 4;

/// A device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub index: i32,
    /// Its name.
    pub name: String,
    /// Its Ethernet address; zeros when it has none.
    pub mac: Mac,
    /// Ethernet hardware (ARPHRD_ETHER).
    pub ethernet: bool,
    /// Largest payload in octets.
    pub mtu: u32,
    /// Largest MTU that its driver takes; `None` when it does not say.
    pub max_mtu: Option<u32>,
    /// `IFF_…`.
    pub flags: u32,
    /// Number of the bridge, bond or VRF that it belongs to.
    pub master: Option<i32>,
    /// Number of the device below it in the same namespace: a VLAN's or macvlan's card.
    pub parent: Option<i32>,
    /// Frames for it that the kernel dropped before they were sent.
    pub tx_dropped: u64,
    /// Its driver runs an XDP program.
    pub xdp: bool,
}

/// The device called `name`.
pub fn by_name(netlink: &mut Netlink, name: &str) -> io::Result<Link> {
    find(netlink, &Body::new(&[0; 16]).text(IFLA_IFNAME, name))
}

/// The device with a number.
pub fn by_index(netlink: &mut Netlink, index: i32) -> io::Result<Link> {
    find(netlink, &Body::new(&link_header(index, 0, 0)))
}

fn find(netlink: &mut Netlink, body: &Body) -> io::Result<Link> {
    let answer = netlink.request(libc::RTM_GETLINK, 0, body)?;
    answer.first().and_then(read_link).ok_or_else(|| io::ErrorKind::NotFound.into())
}

fn read_link(message: &Message) -> Option<Link> {
    let hardware = u16::from_ne_bytes(*message.body.get(2..)?.first_chunk()?);
    let mut link = Link {
        index: word(&message.body, 4)?.cast_signed(),
        name: String::new(),
        mac: Mac::default(),
        ethernet: hardware == libc::ARPHRD_ETHER,
        mtu: 0,
        max_mtu: None,
        flags: word(&message.body, 8)?,
        master: None,
        parent: None,
        tx_dropped: 0,
        xdp: false,
    };
    let (mut elsewhere, mut peer) = (false, false);
    for (kind, value) in attributes(message.body.get(16..)?) {
        match kind {
            IFLA_IFNAME => link.name = String::from_utf8_lossy(value).trim_end_matches('\0').to_owned(),
            IFLA_ADDRESS => link.mac = Mac::read(value).unwrap_or_default(),
            IFLA_MTU => link.mtu = word(value, 0)?,
            IFLA_MAX_MTU => link.max_mtu = word(value, 0).filter(|max| *max > 0),
            IFLA_MASTER => link.master = word(value, 0).map(u32::cast_signed),
            IFLA_LINK => link.parent = word(value, 0).map(u32::cast_signed).filter(|parent| *parent != 0),
            IFLA_LINK_NETNSID => elsewhere = true,
            // A veth's "link" is its other end, not a device below it.
            IFLA_LINKINFO => {
                peer =
                    attributes(value).any(|(kind, name)| kind == IFLA_INFO_KIND && name.starts_with(b"veth"));
            }
            IFLA_XDP => {
                link.xdp = attributes(value)
                    .any(|(kind, how)| kind == IFLA_XDP_ATTACHED && how.first() == Some(&XDP_ATTACHED_DRV));
            }
            // rtnl_link_stats64: the eighth counter is tx_dropped.
            IFLA_STATS64 => {
                link.tx_dropped = value.get(56..)?.first_chunk().map_or(0, |c| u64::from_ne_bytes(*c))
            }
            _ => {}
        }
    }
    if elsewhere || peer {
        link.parent = None;
    }
    Some(link)
}

/// The driver of a device runs XDP programs itself, and sends their frames elsewhere; `None` before Linux 6.3, which does
/// not say.
pub fn native_xdp(index: i32) -> Option<bool> {
    const DEVICE_GET: [u8; 4] = [1, 1, 0, 0];
    const IFINDEX: u16 = 1;
    const XDP_FEATURES: u16 = 3;
    const BASIC_AND_REDIRECT: u64 = 3;
    let (mut netlink, kind) = Netlink::generic("netdev").ok()?;
    let body = Body::new(&DEVICE_GET).number(IFINDEX, index.cast_unsigned());
    let answer = netlink.request(kind, 0, &body).ok()?;
    let (_, features) = attributes(answer.first()?.body.get(4..)?).find(|(kind, _)| *kind == XDP_FEATURES)?;
    let features = u64::from_ne_bytes(*features.first_chunk()?);
    Some(features & BASIC_AND_REDIRECT == BASIC_AND_REDIRECT)
}

/// What the kernel says of the device that has the number `index`.
pub fn presence(netlink: &mut Netlink, index: i32) -> Presence {
    match by_index(netlink, index) {
        Ok(link) if link.flags & libc::IFF_UP as u32 != 0 => Presence::Up,
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Presence::Gone,
        // When the kernel cannot be asked, there is no reason to give the device up.
        _ => Presence::Down,
    }
}

/// A change of a device; what is `None` stays.
#[derive(Debug, Clone, Copy, Default)]
pub struct Change {
    /// The bits of `IFF_…` to change, and their new state.
    pub flags: Option<(u32, u32)>,
    /// MTU in octets.
    pub mtu: Option<u32>,
    /// Length of the transmit queue in frames.
    pub queue: Option<u32>,
}

/// Changes a device.
pub fn change(netlink: &mut Netlink, index: i32, change: Change) -> io::Result<()> {
    let (mask, flags) = change.flags.unwrap_or((0, 0));
    let mut body = Body::new(&link_header(index, flags, mask));
    if let Some(mtu) = change.mtu {
        body = body.number(IFLA_MTU, mtu);
    }
    if let Some(queue) = change.queue {
        body = body.number(IFLA_TXQLEN, queue);
    }
    netlink.change(libc::RTM_NEWLINK, 0, &body)
}

/// `struct ifinfomsg`.
fn link_header(index: i32, flags: u32, mask: u32) -> [u8; 16] {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&mask.to_ne_bytes());
    header
}

/// The addresses of a device, in the kernel's own words (`struct ifaddrmsg` and attributes), in the order in which they
/// can be given back.
pub fn addresses(netlink: &mut Netlink, index: i32) -> io::Result<Vec<Vec<u8>>> {
    let answer = netlink.dump(libc::RTM_GETADDR, &Body::new(&[0; 8]))?;
    let ours = |message: &Message| {
        message.kind == libc::RTM_NEWADDR && word(&message.body, 4) == Some(index.cast_unsigned())
    };
    Ok(answer.into_iter().filter(ours).map(|message| message.body).collect())
}

/// Takes an address away. One that has gone already is no error: a secondary address goes with its primary.
pub fn remove_address(netlink: &mut Netlink, address: &[u8]) -> io::Result<()> {
    match netlink.change(libc::RTM_DELADDR, 0, &Body::new(address)) {
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => Ok(()),
        other => other,
    }
}

/// Gives an address of [`addresses`] back to a device, whose number may have changed. One that is there already is no
/// error.
pub fn restore_address(netlink: &mut Netlink, index: i32, address: &[u8]) -> io::Result<()> {
    let Some((head, rest)) = address.split_first_chunk::<8>() else { return Err(cut("an address")) };
    let mut head = *head;
    head[4..8].copy_from_slice(&index.to_ne_bytes());
    let mut body = Body::new(&head);
    for (kind, value) in attributes(rest) {
        body = body.attribute(kind, value);
    }
    existing_is_fine(netlink.change(libc::RTM_NEWADDR, libc::NLM_F_CREATE | libc::NLM_F_EXCL, &body))
}

/// The routes by a device that somebody made, in the kernel's own words (`struct rtmsg` and attributes): not those
/// that come and go with its addresses, and not those learned from router advertisements.
pub fn routes(netlink: &mut Netlink, index: i32) -> io::Result<Vec<Vec<u8>>> {
    let answer = netlink.dump(libc::RTM_GETROUTE, &Body::new(&[0; 12]))?;
    let mut routes: Vec<_> = answer
        .into_iter()
        .filter(|message| message.kind == libc::RTM_NEWROUTE)
        .map(|message| message.body)
        .filter(|route| is_made_by_hand(route) && uses(route, index))
        .collect();
    // A gateway must be reachable when its route is made: the narrower scope (the larger number) first.
    routes.sort_by_key(|route| std::cmp::Reverse(route.get(6).copied()));
    Ok(routes)
}

fn is_made_by_hand(route: &[u8]) -> bool {
    let Some(rest) = route.get(12..) else { return false };
    let table = attributes(rest)
        .find(|(kind, _)| *kind == RTA_TABLE)
        .and_then(|(_, value)| word(value, 0))
        .or_else(|| route.get(4).copied().map(u32::from));
    let protocol = route.get(5).copied();
    table != Some(TABLE_LOCAL)
        && protocol != Some(PROTOCOL_KERNEL)
        && protocol != Some(PROTOCOL_RA)
        && word(route, 8).is_some_and(|flags| flags & ROUTE_CLONED == 0)
}

fn uses(route: &[u8], index: i32) -> bool {
    let index = index.cast_unsigned();
    attributes(route.get(12..).unwrap_or_default()).any(|(kind, value)| match kind {
        RTA_OIF => word(value, 0) == Some(index),
        RTA_MULTIPATH => hops(value).any(|(at, _)| word(value, at + 4) == Some(index)),
        _ => false,
    })
}

/// Offset and length of each `struct rtnexthop` in a multipath attribute.
fn hops(value: &[u8]) -> impl Iterator<Item = (usize, usize)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let len = usize::from(u16::from_ne_bytes(*value.get(at..)?.first_chunk()?));
        let hop = (at, len);
        value.get(at..at.checked_add(len.max(8))?)?;
        at += len.next_multiple_of(4);
        (len >= 8).then_some(hop)
    })
}

/// Gives a route of [`routes`] back, its device now having the number `index` instead of `old`.
pub fn restore_route(netlink: &mut Netlink, old: i32, index: i32, route: &[u8]) -> io::Result<()> {
    let Some((head, rest)) = route.split_first_chunk::<12>() else { return Err(cut("a route")) };
    let mut head = *head;
    let flags = word(&head, 8).unwrap_or(0) & ROUTE_ONLINK;
    head[8..12].copy_from_slice(&flags.to_ne_bytes());
    let renumber = |value: &mut [u8], at: usize| {
        if word(value, at) == Some(old.cast_unsigned())
            && let Some(room) = value.get_mut(at..at + 4)
        {
            room.copy_from_slice(&index.to_ne_bytes());
        }
    };
    let mut body = Body::new(&head);
    for (kind, value) in attributes(rest) {
        let mut value = value.to_vec();
        match kind {
            RTA_CACHEINFO => continue,
            RTA_OIF => renumber(&mut value, 0),
            RTA_MULTIPATH => {
                let hops: Vec<_> = hops(&value).collect();
                for (at, _) in hops {
                    // The kernel's own marks (dead, link down) are not for us to set.
                    if let Some(flags) = value.get_mut(at + 2) {
                        *flags &= ROUTE_ONLINK as u8;
                    }
                    renumber(&mut value, at + 4);
                }
            }
            _ => {}
        }
        body = body.attribute(kind, &value);
    }
    existing_is_fine(netlink.change(libc::RTM_NEWROUTE, libc::NLM_F_CREATE | libc::NLM_F_REPLACE, &body))
}

fn existing_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

fn cut(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what} in the journal is cut short"))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|octets| u32::from_ne_bytes(*octets))
}
