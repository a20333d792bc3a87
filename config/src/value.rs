//! What values look like: durations, sizes, addresses, ranges, names.
//!
//! Each function takes a [`Node`] and gives the value, or complains and gives `None`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::{RangeBounds, RangeInclusive};
use std::time::Duration;

use genkan_netstack::id::{IpCidr, Ipv4Cidr, Ipv6Cidr, Mac};
use genkan_netstack::settings::{Network, Ula};
use toml::de::DeValue;

use crate::reader::{Form, Node};
use crate::suggest;

/// A string.
pub(crate) fn text(node: Node) -> Option<String> {
    str(&node, &Form::new("a string", "\"…\"")).map(str::to_owned)
}

/// A string of `length` octets.
pub(crate) fn bounded(length: RangeInclusive<usize>) -> impl Fn(Node) -> Option<String> {
    move |node| {
        let value = text(node)?;
        let octets = value.len();
        if length.contains(&octets) {
            return Some(value);
        }
        let (least, most) = (length.start(), length.end());
        let key = node.key;
        match octets {
            0 => node
                .fail(format!("`{key}` must not be empty"), format!("it may have {least} to {most} octets")),
            _ => node.fail(format!("`{key}` has {octets} octets"), format!("it may have {least} to {most}")),
        }
    }
}

/// The string that the value must be, of whatever form.
pub(crate) fn str<'a>(node: &Node<'a>, form: &Form) -> Option<&'a str> {
    match node.value() {
        DeValue::String(text) => Some(text.as_ref()),
        DeValue::Integer(number) if !node.sink.is_confidential() => {
            node.mismatch_help(form, format!("strings stand in quotes: \"{number}\""))
        }
        _ => node.mismatch(form),
    }
}

/// `true` or `false`.
pub(crate) fn boolean(node: Node) -> Option<bool> {
    const EXPECTED: Form = Form::new("true or false", "true");
    match node.value() {
        DeValue::Boolean(value) => Some(*value),
        DeValue::String(text) if matches!(text.as_ref(), "true" | "false") => {
            node.mismatch_help(&EXPECTED, format!("write {text} without quotes"))
        }
        _ => node.mismatch_help(&EXPECTED, "write true or false".to_owned()),
    }
}

/// An integer within bounds.
pub(crate) fn integer<T>(range: RangeInclusive<T>) -> impl Fn(Node) -> Option<T>
where
    T: TryFrom<i64> + PartialOrd + std::fmt::Display + Copy,
{
    move |node| {
        let form = Form::of("an integer".to_owned(), range.start().to_string());
        let bounds = format!("it may be {} to {}", range.start(), range.end());
        match node.value() {
            DeValue::Integer(digits) => {
                let number = i64::from_str_radix(digits.as_str(), digits.radix()).ok();
                let number = number.and_then(|n| T::try_from(n).ok()).filter(|n| range.contains(n));
                number.or_else(|| node.fail(format!("`{}`: {digits} is out of range", node.key), bounds))
            }
            DeValue::String(text) if text.parse::<i64>().is_ok() => {
                node.mismatch_help(&form, format!("write {text} without quotes"))
            }
            _ => node.mismatch_help(&form, bounds),
        }
    }
}

/// One of a few words, each with what it stands for.
pub(crate) fn one_of<T: Clone>(words: &'static [(&'static str, T)]) -> impl Fn(Node) -> Option<T> {
    move |node| {
        let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let quoted: Vec<String> = names.iter().map(|word| format!("{word:?}")).collect();
        let list = match quoted.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
            _ => quoted.join(""),
        };
        let form = Form::of("one of a few words".to_owned(), list.clone());
        let text = str(&node, &form)?;
        match words.iter().find(|(word, _)| *word == text) {
            Some((_, value)) => Some(value.clone()),
            None => {
                let near = suggest::did_you_mean(text, &names, |w| format!("{w:?}"));
                let help = near
                    .map_or_else(|| format!("it may be {list}"), |near| format!("{near} It may be {list}"));
                node.fail(format!("`{}`: {text:?} is unknown", node.key), help)
            }
        }
    }
}

/// A list; items that are wrong are reported and make the list wrong.
pub(crate) fn list<T>(item: impl Fn(Node) -> Option<T>) -> impl Fn(Node) -> Option<Vec<T>> {
    move |node| {
        let items: Vec<Option<T>> = node.items()?.into_iter().map(&item).collect();
        items.into_iter().collect()
    }
}

/// A duration within bounds: "30s", "500ms", "2h4m".
pub(crate) fn duration<R: RangeBounds<Duration>>(
    bounds: R,
    meaning: &str,
) -> impl Fn(Node) -> Option<Duration> {
    let meaning = meaning.to_owned();
    move |node| {
        const EXPECTED: Form = Form::new("a duration", "\"30s\", \"500ms\" or \"12h\"");
        if let DeValue::Integer(number) = node.value() {
            return node.mismatch_help(&EXPECTED, format!("durations have a unit: \"{number}s\""));
        }
        let text = str(&node, &EXPECTED)?;
        let Some(duration) = parse_duration(text) else {
            return node
                .mismatch_help(&EXPECTED, "units are ms, s, m, h and d, the largest first".to_owned());
        };
        if bounds.contains(&duration) {
            return Some(duration);
        }
        node.fail(format!("`{}`: {text} is out of range", node.key), format!("it may be {meaning}"))
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, u64); 5] =
        [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
    let mut rest = text.trim();
    let mut units = UNITS.iter();
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let (_, millis) = units.by_ref().find(|(name, _)| *name == unit)?;
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(*millis)?)?;
        rest = tail;
    }
    (!text.trim().is_empty()).then_some(Duration::from_millis(total))
}

/// A size in octets: "8MiB", or 0.
pub(crate) fn size(node: Node) -> Option<u64> {
    const EXPECTED: Form = Form::new("a size", "\"8MiB\", or 0 for none");
    if let DeValue::Integer(number) = node.value() {
        return match number.as_str() {
            "0" => Some(0),
            _ => {
                node.mismatch_help(&EXPECTED, format!("sizes have a unit: \"{number}B\" or \"{number}MiB\""))
            }
        };
    }
    let text = str(&node, &EXPECTED)?;
    match parse_size(text) {
        Some(size) => Some(size),
        None if text == "0" => Some(0),
        None => node.mismatch_help(&EXPECTED, "units are B, KiB, MiB and GiB".to_owned()),
    }
}

/// Octets of a size with its unit: `512KiB`, `64 MiB`, `1GiB`, `7B`.
pub fn parse_size(text: &str) -> Option<u64> {
    const UNITS: [(&str, u64); 4] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("B", 1)];
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit.trim())?;
    number.parse::<u64>().ok()?.checked_mul(*scale)
}

/// Octets written in hex.
pub(crate) fn hex(node: Node) -> Option<Vec<u8>> {
    const EXPECTED: Form = Form::new("octets in hex", "\"00c0ffee\"");
    let text = str(&node, &EXPECTED)?;
    let digit = |c: char| c.to_digit(16).and_then(|d| u8::try_from(d).ok());
    let Some(digits) = text.chars().map(digit).collect::<Option<Vec<u8>>>() else {
        let bare: String = text.trim_start_matches("0x").chars().filter(|c| !": -".contains(*c)).collect();
        let mended =
            !bare.is_empty() && bare.len().is_multiple_of(2) && bare.chars().all(|c| c.is_ascii_hexdigit());
        return node.mismatch_help(&EXPECTED, mended.then(|| format!("write \"{bare}\"")));
    };
    if !digits.len().is_multiple_of(2) {
        return node.mismatch_help(&EXPECTED, "two digits for each octet: one is missing".to_owned());
    }
    Some(digits.chunks(2).map(|pair| pair.iter().fold(0, |octet, digit| octet << 4 | digit)).collect())
}

/// A station's Ethernet address.
pub(crate) fn mac(node: Node) -> Option<Mac> {
    const EXPECTED: Form = Form::new("an Ethernet address", "\"02:00:00:00:00:01\"");
    let Ok(mac) = str(&node, &EXPECTED)?.parse::<Mac>() else { return node.mismatch(&EXPECTED) };
    if mac.is_station() {
        return Some(mac);
    }
    let what = if mac.is_group() { "is a group address" } else { "is no station's address" };
    node.fail(
        format!("`{}`: {mac} {what}", node.key),
        "the first octet must be even: 02:… for one of your own".to_owned(),
    )
}

/// An IPv4 address that a host can have.
pub(crate) fn ipv4(node: Node) -> Option<Ipv4Addr> {
    const EXPECTED: Form = Form::new("an IPv4 address", "\"192.168.1.1\"");
    let text = str(&node, &EXPECTED)?;
    let Ok(address) = text.parse() else {
        let bare = text.split_once('/').filter(|(address, _)| address.parse::<Ipv4Addr>().is_ok());
        return node.mismatch_help(
            &EXPECTED,
            bare.map(|(address, _)| format!("write {address:?} without the prefix length")),
        );
    };
    unicast(node, address)
}

/// Why no host can have this address, to follow it.
pub(crate) fn why_not_unicast(address: Ipv4Addr) -> Option<&'static str> {
    let [first, ..] = address.octets();
    match first {
        0 => Some("means \"no address\""),
        127 => Some("is a loopback address"),
        224..=239 => Some("is a multicast address"),
        240..=255 => Some("is a reserved address"),
        _ => None,
    }
}

fn unicast(node: Node, address: Ipv4Addr) -> Option<Ipv4Addr> {
    let Some(what) = why_not_unicast(address) else { return Some(address) };
    node.fail(
        format!("`{}`: {address} {what}; no host can have it", node.key),
        "write an address like \"192.168.1.1\"".to_owned(),
    )
}

/// A host's address with the length of its network's prefix: "192.168.1.1/24".
pub(crate) fn host_cidr(node: Node) -> Option<Ipv4Cidr> {
    const EXPECTED: Form = Form::new("an address with its prefix length", "\"192.168.1.1/24\"");
    let cidr = ipv4_cidr(node, &EXPECTED)?;
    unicast(node, cidr.address)?;
    if cidr.prefix > 30 || cidr.prefix < 8 {
        return node.fail(
            format!(
                "`{}`: a network of prefix length {} serves no hosts; it may be 8 to 30",
                node.key, cidr.prefix
            ),
            format!("for 254 hosts, write \"{}/24\"", cidr.address),
        );
    }
    let first = Ipv4Addr::from(cidr.network().to_bits().saturating_add(1));
    let help = format!("write \"{first}/{}\"", cidr.prefix);
    if cidr.address == cidr.network() {
        return node
            .fail(format!("`{}`: {} is the network itself, not a host in it", node.key, cidr.address), help);
    }
    if Some(cidr.address) == cidr.broadcast() {
        return node
            .fail(format!("`{}`: {} is the network's broadcast address", node.key, cidr.address), help);
    }
    Some(cidr)
}

/// A network: "100.64.0.0/16".
pub(crate) fn network_cidr(node: Node) -> Option<Ipv4Cidr> {
    let cidr = ipv4_cidr(node, &Form::new("a network", "\"100.64.0.0/16\""))?;
    if cidr.address == cidr.network() {
        return Some(cidr);
    }
    let network = Ipv4Cidr { address: cidr.network(), ..cidr };
    node.fail(
        format!("`{}`: {cidr} is not a network: it has host bits", node.key),
        format!("write \"{network}\""),
    )
}

fn ipv4_cidr(node: Node, form: &Form) -> Option<Ipv4Cidr> {
    let text = str(&node, form)?;
    match parse_cidr(text) {
        Some(IpCidr::V4(cidr)) => Some(cidr),
        _ if text.parse::<Ipv4Addr>().is_ok() => {
            node.mismatch_help(form, format!("add the prefix length: \"{text}/24\""))
        }
        _ => node.mismatch(form),
    }
}

/// An IPv4 or IPv6 address with a prefix length.
pub(crate) fn parse_cidr(text: &str) -> Option<IpCidr> {
    let (address, prefix) = text.split_once('/')?;
    let prefix: u8 = Some(prefix).filter(|p| p.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()?;
    if let Ok(address) = address.parse::<Ipv4Addr>() {
        return (prefix <= 32).then_some(IpCidr::V4(Ipv4Cidr { address, prefix }));
    }
    let address = address.parse::<Ipv6Addr>().ok()?;
    (prefix <= 128).then_some(IpCidr::V6(Ipv6Cidr { address, prefix }))
}

/// An IPv6 prefix: "2001:db8::/32".
pub(crate) fn ipv6_prefix(node: Node) -> Option<Ipv6Cidr> {
    const EXPECTED: Form = Form::new("an IPv6 prefix", "\"2001:db8::/32\"");
    match parse_cidr(str(&node, &EXPECTED)?) {
        Some(IpCidr::V6(cidr)) if cidr == cidr.network() => Some(cidr),
        Some(IpCidr::V6(cidr)) => node.mismatch_help(&EXPECTED, format!("write \"{}\"", cidr.network())),
        _ => node.mismatch(&EXPECTED),
    }
}

/// A host's IPv6 address with its network's prefix length: "2001:db8::2/64".
pub(crate) fn host_cidr6(node: Node) -> Option<Ipv6Cidr> {
    const EXPECTED: Form = Form::new("an IPv6 address with its prefix length", "\"2001:db8::2/64\"");
    match parse_cidr(str(&node, &EXPECTED)?) {
        Some(IpCidr::V6(cidr)) if cidr.address == cidr.network().address && cidr.prefix < 127 => {
            let message = format!("`{}`: {} is the network itself, not a host in it", node.key, cidr.address);
            node.fail(message, "write an address like \"2001:db8::2/64\"")
        }
        Some(IpCidr::V6(cidr)) => unicast6(node, cidr.address).map(|_| cidr),
        _ => node.mismatch(&EXPECTED),
    }
}

/// An IPv6 address that a host can have.
pub(crate) fn ipv6(node: Node) -> Option<Ipv6Addr> {
    const EXPECTED: Form = Form::new("an IPv6 address", "\"2001:db8::1\"");
    match str(&node, &EXPECTED)?.parse() {
        Ok(address) => unicast6(node, address),
        Err(_) => node.mismatch(&EXPECTED),
    }
}

/// The site's own addresses: "auto", "off", or a prefix (RFC 4193 §3.1: a /48 of fd00::/8).
pub(crate) fn ula(node: Node) -> Option<Ula> {
    const EXPECTED: Form =
        Form::new("\"auto\", \"off\" or a prefix of the site's own", "\"fd12:3456:789a::/48\"");
    let text = str(&node, &EXPECTED)?;
    let cidr = match text {
        "auto" => return Some(Ula::Generated),
        "off" => return Some(Ula::Off),
        _ => parse_cidr(text),
    };
    let Some(IpCidr::V6(cidr)) = cidr else { return node.mismatch(&EXPECTED) };
    let [first, ..] = cidr.address.octets();
    if first != 0xfd {
        let help = "write a /48 that begins with fd and forty bits drawn at random, or \"auto\"";
        return node
            .fail(format!("`{}`: {cidr} is no prefix for a site's own use (RFC 4193)", node.key), help);
    }
    if cidr.prefix != 48 {
        let whole = Ipv6Cidr { prefix: 48, ..cidr }.network();
        let help = format!("write \"{whole}\": each LAN takes a /64 of it");
        return node.fail(format!("`{}`: a site's own prefix is a /48", node.key), help);
    }
    if cidr != cidr.network() {
        return node.mismatch_help(&EXPECTED, format!("write \"{}\"", cidr.network()));
    }
    Some(Ula::Given(cidr))
}

/// The end of a host's IPv6 addresses: "::10".
pub(crate) fn suffix(node: Node) -> Option<Ipv6Addr> {
    const EXPECTED: Form = Form::new("the end of an IPv6 address", "\"::10\"");
    let text = str(&node, &EXPECTED)?;
    let Ok(address) = text.parse::<Ipv6Addr>() else {
        let bare = text.split_once('/').filter(|(address, _)| address.parse::<Ipv6Addr>().is_ok());
        let help = bare.map(|(address, _)| format!("write {address:?} without the prefix length"));
        return node.mismatch_help(&EXPECTED, help);
    };
    let end = Ipv6Addr::from(address.to_bits() & u128::from(u64::MAX));
    if end.is_unspecified() {
        let help = "write an end like \"::10\"";
        return node.fail(format!("`{}`: {address} ends like no host's address", node.key), help);
    }
    if end != address {
        let help = format!("write \"{end}\": the host has it in every prefix of the LAN");
        return node.fail(format!("`{}`: {address} is a whole address", node.key), help);
    }
    Some(end)
}

/// As [`why_not_unicast`], of IPv6.
pub(crate) fn why_not_unicast6(address: Ipv6Addr) -> Option<&'static str> {
    if address.is_unspecified() {
        Some("means \"no address\"")
    } else if address.is_loopback() {
        Some("is the loopback address")
    } else if address.is_multicast() {
        Some("is a multicast address")
    } else if address.to_ipv4_mapped().is_some() {
        Some("is an IPv4 address in disguise")
    } else {
        None
    }
}

/// An IPv6 address, if a host can have it.
fn unicast6(node: Node, address: Ipv6Addr) -> Option<Ipv6Addr> {
    let Some(what) = why_not_unicast6(address) else { return Some(address) };
    node.fail(
        format!("`{}`: {address} {what}; no host can have it", node.key),
        "write an address like \"2620:fe::9\"",
    )
}

/// An address of either family that a host can have.
pub(crate) fn ip(node: Node) -> Option<IpAddr> {
    const EXPECTED: Form = Form::new("an address", "\"9.9.9.9\" or \"2620:fe::9\"");
    let text = str(&node, &EXPECTED)?;
    match text.parse() {
        Ok(IpAddr::V4(address)) => unicast(node, address).map(IpAddr::V4),
        Ok(IpAddr::V6(address)) => unicast6(node, address).map(IpAddr::V6),
        Err(_) => {
            let bare = text.split_once('/').filter(|(address, _)| address.parse::<IpAddr>().is_ok());
            let help = bare.map(|(address, _)| format!("write {address:?} without the prefix length"));
            node.mismatch_help(&EXPECTED, help)
        }
    }
}

/// What a filter rule compares an address with: an IPv4 or IPv6 network, or the suffix of an IPv6 host ("::10/64").
pub(crate) fn network(node: Node) -> Option<Network> {
    const EXPECTED: Form = Form::new("a network or a suffix", "\"192.168.1.0/24\" or \"::10/64\"");
    let text = str(&node, &EXPECTED)?;
    match parse_cidr(text) {
        Some(IpCidr::V4(_)) => network_cidr(node).map(Network::V4),
        Some(IpCidr::V6(cidr)) => {
            let whole = cidr.network();
            if cidr == whole {
                Some(Network::V6(cidr))
            } else if whole.address.is_unspecified() {
                Some(Network::V6Suffix(cidr))
            } else {
                let suffix = Ipv6Addr::from(cidr.address.to_bits() ^ whole.address.to_bits());
                let (address, prefix) = (cidr.address, cidr.prefix);
                let help =
                    format!("write \"{address}/128\", \"{whole}\" or the suffix \"{suffix}/{prefix}\"");
                node.mismatch_help(&EXPECTED, help)
            }
        }
        None => match text.parse::<Ipv4Addr>() {
            Ok(address) => {
                node.mismatch_help(&EXPECTED, format!("for this host alone, write \"{address}/32\""))
            }
            Err(_) => node.mismatch(&EXPECTED),
        },
    }
}

/// Two addresses with a dash between: "192.168.1.100-192.168.1.199".
pub(crate) fn ipv4_range(node: Node) -> Option<RangeInclusive<Ipv4Addr>> {
    const EXPECTED: Form = Form::new("a range", "\"192.168.1.100-192.168.1.199\"");
    let text = str(&node, &EXPECTED)?;
    let ends = text.split_once('-').and_then(|(a, b)| a.trim().parse().ok().zip(b.trim().parse().ok()));
    let Some((first, last)) = ends else { return node.mismatch(&EXPECTED) };
    let (first, last): (Ipv4Addr, Ipv4Addr) = (first, last);
    if first > last {
        let help = format!("write \"{last}-{first}\"");
        return node.fail(format!("`{}`: {first} comes after {last}", node.key), help);
    }
    Some(first..=last)
}

/// A port or a range of ports: 443, "8000-8099".
pub(crate) fn port_range(node: Node) -> Option<RangeInclusive<u16>> {
    const EXPECTED: Form = Form::new("a port or a range of ports", "80 or \"8000-8099\"");
    if let DeValue::Integer(number) = node.value() {
        return match number.as_str().parse::<u16>() {
            Ok(port @ 1..) => Some(port..=port),
            _ => node.fail(format!("`{}`: {number} is no port", node.key), "ports are 1 to 65535"),
        };
    }
    let text = str(&node, &EXPECTED)?;
    let ends = text.split_once('-').and_then(|(a, b)| a.trim().parse().ok().zip(b.trim().parse().ok()));
    match ends {
        Some((first @ 1.., last)) if first <= last => Some(first..=last),
        Some((first, last @ 1..)) if first > last => {
            node.mismatch_help(&EXPECTED, format!("write \"{last}-{first}\""))
        }
        _ if text.parse::<u16>().is_ok() => {
            node.mismatch_help(&EXPECTED, format!("write {text} without quotes"))
        }
        _ => node.mismatch(&EXPECTED),
    }
}

/// An address and a port: "192.168.1.10:443".
pub(crate) fn endpoint(node: Node) -> Option<(Ipv4Addr, u16)> {
    const EXPECTED: Form = Form::new("an address and a port", "\"192.168.1.10:443\"");
    let text = str(&node, &EXPECTED)?;
    match text.parse::<std::net::SocketAddrV4>() {
        Ok(to) if to.port() > 0 => Some((*to.ip(), to.port())),
        Ok(_) => node.fail(format!("`{}`: port 0 cannot be reached", node.key), "ports are 1 to 65535"),
        Err(_) if text.parse::<Ipv4Addr>().is_ok() => {
            node.mismatch_help(&EXPECTED, format!("add the port: \"{text}:443\""))
        }
        Err(_) => node.mismatch(&EXPECTED),
    }
}

/// A single DNS label (RFC 1123 §2.1).
pub(crate) fn label(node: Node) -> Option<String> {
    let name = str(&node, &Form::new("a name of one label", "\"nas\""))?;
    if is_label(name) {
        return Some(name.to_owned());
    }
    let mended: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let mended = mended.trim_matches('-');
    let help = format!("write {:?}", if is_label(mended) { mended } else { "nas" });
    node.fail(
        format!("`{}`: {name:?} is not a host name: up to 63 letters, digits and inner `-`", node.key),
        help,
    )
}

/// A domain: labels with dots between.
pub(crate) fn domain(node: Node) -> Option<String> {
    let name = str(&node, &Form::new("a domain", "\"home.arpa\""))?;
    if is_domain(name) {
        return Some(name.to_owned());
    }
    let mended = name.trim_matches('.');
    let help = format!("write {:?}", if mended.split('.').all(is_label) { mended } else { "home.arpa" });
    node.fail(
        format!(
            "`{}`: {name:?} is not a domain: labels of letters, digits and inner `-`, dots between",
            node.key
        ),
        help,
    )
}

/// True for labels with dots between.
pub(crate) fn is_domain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}

fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_from_the_largest_down() {
        let cases = [
            ("30s", Some(30_000)),
            ("500ms", Some(500)),
            ("2h4m", Some(7_440_000)),
            ("1d12h", Some(129_600_000)),
            ("0s", Some(0)),
            ("", None),
            ("30", None),
            ("s", None),
            ("4m2h", None),
            ("1s1s", None),
            ("1 s", None),
            ("-1s", None),
            ("1.5h", None),
            ("99999999999999999999s", None),
            ("18446744073709551615d", None),
        ];
        for (text, millis) in cases {
            assert_eq!(parse_duration(text), millis.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn networks_have_a_prefix_length_of_plain_digits() {
        let v4 = |text: &str| matches!(parse_cidr(text), Some(IpCidr::V4(_)));
        let v6 = |text: &str| matches!(parse_cidr(text), Some(IpCidr::V6(_)));
        assert!(v4("10.0.0.0/8") && v4("0.0.0.0/0") && v4("1.2.3.4/32"));
        assert!(v6("::/0") && v6("2001:db8::/32") && v6("::10/64") && v6("::1/128"));
        for text in
            ["10.0.0.0", "10.0.0.0/33", "10.0.0.0/+8", "10.0.0.0/", "/8", "::/129", "10.0.0/8", "::/-1"]
        {
            assert_eq!(parse_cidr(text), None, "{text}");
        }
    }

    /// RFC 1123 §2.1.
    #[test]
    fn rfc1123_labels() {
        let longest = "a".repeat(63);
        for label in ["nas", "a", "3com", "my-nas", longest.as_str()] {
            assert!(is_label(label), "{label}");
        }
        let too_long = "a".repeat(64);
        for label in ["", "-a", "a-", "a_b", "a b", "ä", "a.b", "a\n", too_long.as_str()] {
            assert!(!is_label(label), "{label}");
        }
    }
}
