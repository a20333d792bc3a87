//! Reading, in this order: the text becomes lines (`Lines`), the lines become tables of keys and values (`Section`), and each
//! table is read key by key. Errors are collected, each with its place.
//!
//! A file holds private keys, and commands that may hold other secrets. So a report shows a copy of the text (`Shown`) in which
//! everything is blanked that is not known to be harmless.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use genkan_netstack::id::{IpCidr, Ipv4Cidr, Ipv6Cidr};
use genkan_netstack::settings::VpnPeer;
use genkan_netstack::tunnel::wireguard::{PresharedKey, PrivateKey, PublicKey};
use zeroize::Zeroizing;

use super::{Import, LeftOut, WgQuick};
use crate::host::Host;
use crate::reader::is_name;
use crate::report::{Report, Sink, Source, Span};
use crate::tunnel::{self, Facts, PeerFacts, Wrong};
use crate::value::parse_cidr;
use crate::{key, suggest};

/// A key that a section may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key {
    name: &'static str,
    /// Its value may be a secret.
    secret: bool,
    /// It may stand in several lines.
    repeats: bool,
    /// Why it has no counterpart here.
    left_out: Option<&'static str>,
}

const fn plain(name: &'static str) -> Key {
    Key { name, secret: false, repeats: false, left_out: None }
}

const fn secret(name: &'static str) -> Key {
    Key { secret: true, ..plain(name) }
}

const fn left_out(name: &'static str, why: &'static str) -> Key {
    Key { left_out: Some(why), ..plain(name) }
}

const fn command(name: &'static str) -> Key {
    let why = "the gateway runs no commands; [nat], [port-forward] and [filter] say what is translated and let through";
    Key { secret: true, repeats: true, ..left_out(name, why) }
}

const PRIVATE_KEY: Key = secret("PrivateKey");
const LISTEN_PORT: Key = plain("ListenPort");
const ADDRESS: Key = Key { repeats: true, ..plain("Address") };
const DNS: Key = Key {
    repeats: true,
    ..left_out("DNS", "the gateway asks the DNS servers of its uplinks, and its LANs ask the gateway")
};
const MTU: Key = plain("MTU");
const TABLE: Key = left_out("Table", "the routes are those of allowed-ips, and the smallest network wins");
const FW_MARK: Key = left_out("FwMark", "the tunnel's own packets never go by a tunnel");
const SAVE_CONFIG: Key = left_out("SaveConfig", "the gateway never writes its configuration");

/// wg(8) and wg-quick(8), "CONFIGURATION".
const INTERFACE: [Key; 12] = [
    PRIVATE_KEY,
    LISTEN_PORT,
    FW_MARK,
    ADDRESS,
    DNS,
    MTU,
    TABLE,
    command("PreUp"),
    command("PostUp"),
    command("PreDown"),
    command("PostDown"),
    SAVE_CONFIG,
];

const PUBLIC_KEY: Key = plain("PublicKey");
const PRESHARED_KEY: Key = secret("PresharedKey");
const ALLOWED_IPS: Key = Key { repeats: true, ..plain("AllowedIPs") };
const ENDPOINT: Key = plain("Endpoint");
const KEEPALIVE: Key = plain("PersistentKeepalive");

const PEER: [Key; 5] = [PUBLIC_KEY, PRESHARED_KEY, ALLOWED_IPS, ENDPOINT, KEEPALIVE];

/// Longest word that is taken for a key with a slip in it, rather than for something that must not be shown.
const LONGEST_KEY: usize = 24;

pub(super) fn read(path: &Path, name: Option<&str>, host: &dyn Host) -> Result<Import, Report> {
    let sink = Sink::new(false);
    let text = match host.read(path) {
        Err(error) => {
            let help = "name a file that the user who runs genkan may read";
            sink.whole(format!("cannot read the wg-quick file: {error}"), help);
            Zeroizing::default()
        }
        Ok(file) => Zeroizing::new(String::from_utf8(file.content).unwrap_or_else(|error| {
            let valid = error.utf8_error().valid_up_to();
            sink.error(&(valid..valid + 1), "this octet is not UTF-8 text", "save the file in UTF-8");
            String::from_utf8_lossy(error.as_bytes()).into_owned()
        })),
    };
    let mut shown = Shown::new(&text);
    let import = match sink.is_empty() {
        true => {
            let name = name.map_or_else(|| name_of(path), str::to_owned);
            if !is_name(&name) {
                let help = "a name is of up to 32 letters, digits, `-` and `_`";
                sink.whole(format!("{name:?} cannot be the name of a VPN"), help);
            }
            let sections = sections(&text, &mut shown, &sink);
            import(name, &sections, &sink)
        }
        false => None,
    };
    let source = Source { path: path.to_owned(), text: shown.text(), confidential: false };
    let diagnostics = sink.into_diagnostics(&source, 0);
    match import {
        Some(import) if diagnostics.is_empty() => Ok(import),
        _ => Err(Report { sources: vec![source], diagnostics }),
    }
}

/// What a VPN from this file is called.
fn name_of(path: &Path) -> String {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("");
    spelled(stem).unwrap_or_else(|| "imported".to_owned())
}

/// A value, or another part of the text, with its place.
#[derive(Clone)]
struct Part<'a> {
    text: &'a str,
    /// Where `text` begins.
    start: usize,
    line: usize,
}

impl<'a> Part<'a> {
    fn span(&self) -> Span {
        self.start..self.start + self.text.len()
    }

    /// The same without blanks around it.
    fn trim(&self) -> Part<'a> {
        let text = self.text.trim_start();
        let start = self.start + (self.text.len() - text.len());
        Part { text: text.trim_end(), start, line: self.line }
    }

    /// What is before and after the first `mark`.
    fn split(&self, mark: char) -> (Part<'a>, Option<Part<'a>>) {
        match self.text.split_once(mark) {
            None => (self.clone(), None),
            Some((before, after)) => {
                let start = self.start + before.len() + mark.len_utf8();
                let after = Part { text: after, start, line: self.line };
                (Part { text: before, ..*self }, Some(after))
            }
        }
    }

    /// The items of a list with commas between. wg(8) takes an empty list, but no empty item.
    fn items(&self) -> Vec<Part<'a>> {
        let mut items = Vec::new();
        let mut rest = Some(self.clone()).filter(|list| !list.text.is_empty());
        while let Some(part) = rest {
            let (item, after) = part.split(',');
            items.push(item.trim());
            rest = after;
        }
        items
    }

    fn fail<T>(&self, key: Key, wrong: Wrong, sink: &Sink) -> Option<T> {
        sink.error(&self.span(), format!("`{}`: {}", key.name, wrong.what), wrong.help);
        None
    }
}

/// What a report may show of the text: blanks of the same length, until a part is known to be harmless.
struct Shown<'a> {
    text: &'a str,
    shown: Vec<u8>,
}

impl<'a> Shown<'a> {
    fn new(text: &'a str) -> Shown<'a> {
        let blank = |octet: u8| if octet.is_ascii_whitespace() { octet } else { b'*' };
        Shown { text, shown: text.bytes().map(blank).collect() }
    }

    fn show(&mut self, part: &Part) {
        let span = part.span();
        if let (Some(to), Some(from)) = (self.shown.get_mut(span.clone()), self.text.as_bytes().get(span)) {
            to.copy_from_slice(from);
        }
    }

    fn text(self) -> String {
        String::from_utf8_lossy(&self.shown).into_owned()
    }
}

/// What stands below a header.
struct Section<'a> {
    is_peer: bool,
    header: Part<'a>,
    /// The name that a comment gives.
    name: Option<String>,
    entries: Vec<(Key, Part<'a>)>,
}

/// The sections of a file. `[Interface]` may come again: all of them are one.
fn sections<'a>(text: &'a str, shown: &mut Shown, sink: &Sink) -> Vec<Section<'a>> {
    let mut sections: Vec<Section> = Vec::new();
    let mut in_unknown = false;
    let mut above = None;
    let mut start = 0;
    for (index, line) in text.split('\n').enumerate() {
        let whole = Part { text: line, start, line: index + 1 };
        start += line.len() + 1;
        let (body, comment) = whole.split('#');
        let body = body.trim();
        let body = match body.text.strip_prefix('\u{feff}') {
            Some(text) if index == 0 => Part { text, start: body.start + 3, ..body },
            _ => body,
        };
        let comment_name = comment.and_then(|comment| name_in(comment.text));
        if body.text.is_empty() {
            // A comment is about what follows it at once, or stands first below a peer's header.
            if let Some(last) =
                sections.last_mut().filter(|s| s.is_peer && s.entries.is_empty() && s.name.is_none())
            {
                last.name.clone_from(&comment_name);
            }
            above = comment_name;
            continue;
        }
        let above = above.take();
        if body.text.starts_with('[') {
            let is = |name: &str| body.text.eq_ignore_ascii_case(name);
            in_unknown = !is("[Interface]") && !is("[Peer]");
            if in_unknown {
                sink.error(
                    &body.span(),
                    "this is no section of a wg-quick file",
                    "there are [Interface] and [Peer]",
                );
                continue;
            }
            shown.show(&body);
            let is_peer = is("[Peer]");
            let name = comment_name.or(above).filter(|_| is_peer);
            sections.push(Section { is_peer, header: body, name, entries: Vec::new() });
        } else if !in_unknown {
            entry(&body, sections.last_mut(), shown, sink);
        }
    }
    sections
}

/// A line `KEY = VALUE`.
fn entry<'a>(body: &Part<'a>, section: Option<&mut Section<'a>>, shown: &mut Shown, sink: &Sink) {
    let (word, value) = body.split('=');
    let word = word.trim();
    let is_word = word.text.len() <= LONGEST_KEY && word.text.chars().all(|c| c.is_ascii_alphabetic());
    let Some(value) = value.filter(|_| is_word) else {
        let help = "a line is KEY = VALUE, [Interface], [Peer] or # comment";
        sink.error(&body.span(), "this is no line of a wg-quick file", help);
        return;
    };
    shown.show(&Part { text: body.text.get(..value.start - body.start).unwrap_or(""), ..body.clone() });
    let Some(section) = section else {
        let help = "write [Interface] or [Peer] above it";
        sink.error(&word.span(), format!("`{}` stands in no section", word.text), help);
        return;
    };
    let (keys, others) =
        if section.is_peer { (&PEER[..], &INTERFACE[..]) } else { (&INTERFACE[..], &PEER[..]) };
    let find = |keys: &[Key]| keys.iter().find(|key| key.name.eq_ignore_ascii_case(word.text)).copied();
    let Some(known) = find(keys) else {
        let place = if section.is_peer { "[Peer]" } else { "[Interface]" };
        let help = match find(others) {
            Some(_) => format!("it belongs under {}", if section.is_peer { "[Interface]" } else { "[Peer]" }),
            None => {
                let lower: Vec<String> = keys.iter().map(|key| key.name.to_lowercase()).collect();
                let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
                let near = suggest::nearest(word.text, &lower).and_then(find_in(keys));
                match near {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => {
                        format!("known here: {}", keys.iter().map(|k| k.name).collect::<Vec<_>>().join(", "))
                    }
                }
            }
        };
        sink.error(&word.span(), format!("unknown key `{}` in {place}", word.text), help);
        return;
    };
    let value = value.trim();
    if !known.secret {
        shown.show(&value);
    }
    if !known.repeats && section.entries.iter().any(|(key, _)| *key == known) {
        sink.error(&word.span(), format!("`{}` stands here a second time", known.name), "delete one of them");
        return;
    }
    section.entries.push((known, value));
}

/// The name as it is written in these tables.
fn find_in(keys: &[Key]) -> impl Fn(&str) -> Option<&'static str> {
    move |lower| keys.iter().find(|key| key.name.eq_ignore_ascii_case(lower)).map(|key| key.name)
}

/// The name in a comment such as "Anna's phone" or "friendly_name = anna".
fn name_in(comment: &str) -> Option<String> {
    const TITLES: [&str; 5] = ["friendly_name", "name", "client", "peer", "begin_peer"];
    let comment = comment.trim_start_matches('#').trim();
    let (title, rest) = comment.split_once([' ', '=', ':']).unwrap_or(("", comment));
    let is_title = TITLES.iter().any(|known| known.eq_ignore_ascii_case(title));
    let name = if is_title { rest.trim_matches([' ', '=', ':']) } else { comment };
    // With an equals sign it is a setting that somebody has turned off.
    spelled(name).filter(|_| !name.contains('='))
}

/// A name with other characters than a name may have written as dashes. What is too long for one may be a key.
fn spelled(text: &str) -> Option<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_'));
    let name = words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-");
    Some(name).filter(|name| {
        is_name(name) && text.len() <= 40 && name.contains(|c: char| c.is_ascii_alphanumeric())
    })
}

fn import(name: String, sections: &[Section], sink: &Sink) -> Option<Import> {
    let Some(interface) = sections.iter().find(|section| !section.is_peer) else {
        if sink.is_empty() {
            sink.whole(
                "there is no [Interface]",
                "a wg-quick file has one, with a PrivateKey and an Address",
            );
        }
        return None;
    };
    let mut left_out = Vec::new();
    let entries: Vec<&(Key, Part)> =
        sections.iter().filter(|section| !section.is_peer).flat_map(|section| &section.entries).collect();
    let value = |wanted: Key| entries.iter().find(|(key, _)| *key == wanted).map(|(_, value)| value);
    let values = |wanted: Key| entries.iter().filter(move |(key, _)| *key == wanted).map(|(_, value)| value);

    let private_key = required(interface, PRIVATE_KEY, value(PRIVATE_KEY), sink)
        .and_then(|value| secret_key(PRIVATE_KEY, value, sink))
        .map(|octets| PrivateKey::new(*octets));
    let listen_port = optional(value(LISTEN_PORT), |value| number(LISTEN_PORT, value, 0..=u16::MAX, sink));
    let listen_port = listen_port.map(|port| port.filter(|port| *port > 0));
    let addresses = addresses(values(ADDRESS), &mut left_out, sink);
    if addresses.as_ref().is_some_and(Vec::is_empty) {
        let help = "wg-quick does without, a gateway does not: add a line such as: Address = 10.77.0.2/32";
        sink.error(&interface.header.span(), "[Interface] lacks `Address`", help);
    }
    let mtu = optional(value(MTU), |value| number(MTU, value, tunnel::MTU, sink));
    if let (Some(Some(mtu)), Some(value)) = (mtu, value(MTU))
        && mtu < tunnel::IPV6_MTU
        && addresses.iter().flatten().any(|address| matches!(address, IpCidr::V6(_)))
    {
        let help = format!("write at least {}", tunnel::IPV6_MTU);
        sink.error(&value.span(), format!("`MTU`: {mtu} is too small for IPv6"), help);
    }
    for (key, value) in &entries {
        if let Some(why) = key.left_out.filter(|_| !is_default(*key, value.text)) {
            left_out.push(LeftOut { line: value.line, key: key.name, why });
        }
    }
    left_out.sort_by_key(|left| left.line);
    let dns = values(DNS).flat_map(|value| value.items()).map(|item| item.text.to_owned()).collect();

    let mut facts = Facts {
        name: name.clone(),
        public_key: private_key.as_ref().map(PrivateKey::public),
        addresses: addresses.clone().unwrap_or_default(),
        ..Facts::default()
    };
    let mut names = Vec::new();
    let peers: Vec<Option<VpnPeer>> = (sections.iter())
        .filter(|section| section.is_peer)
        .map(|section| {
            // Names in comments are for people: one that comes again is none.
            let name = section.name.clone().filter(|name| !names.contains(name));
            names.extend(name.clone());
            let mut noted = PeerFacts::default();
            let peer = peer(section, name, &mut noted, sink);
            facts.peers.push(noted);
            peer
        })
        .collect();
    facts.check(sink);
    let peers = peers.into_iter().collect::<Option<Vec<_>>>()?;
    let file = WgQuick {
        private_key: private_key?,
        listen_port: listen_port?,
        addresses: addresses?,
        dns,
        mtu: mtu?,
        peers,
    };
    Some(Import { name, file, left_out })
}

/// True for the value of a key without a counterpart that changes nothing.
fn is_default(key: Key, value: &str) -> bool {
    let is = |word: &str| value.eq_ignore_ascii_case(word);
    match key {
        TABLE => is("auto"),
        FW_MARK => is("off") || is("0") || is("0x0"),
        SAVE_CONFIG => is("false"),
        _ => value.is_empty(),
    }
}

/// Our addresses, the first of each family.
fn addresses<'a, 'b: 'a>(
    values: impl Iterator<Item = &'a Part<'b>>,
    left_out: &mut Vec<LeftOut>,
    sink: &Sink,
) -> Option<Vec<IpCidr>> {
    let mut addresses: Vec<Option<IpCidr>> = Vec::new();
    for item in values.flat_map(|value| value.items()) {
        let address = network(&item, ADDRESS, sink).and_then(|cidr| match tunnel::address_of(cidr) {
            Ok(cidr) => Some(cidr),
            Err(wrong) => item.fail(ADDRESS, wrong, sink),
        });
        let is_ipv4 = |cidr: &IpCidr| matches!(cidr, IpCidr::V4(_));
        let same = |cidr: &IpCidr| addresses.iter().flatten().any(|other| is_ipv4(other) == is_ipv4(cidr));
        if address.as_ref().is_some_and(same) {
            let why = "a VPN has one address of each family";
            left_out.push(LeftOut { line: item.line, key: ADDRESS.name, why });
        } else {
            addresses.push(address);
        }
    }
    addresses.into_iter().collect()
}

fn peer(section: &Section, name: Option<String>, noted: &mut PeerFacts, sink: &Sink) -> Option<VpnPeer> {
    let value = |wanted: Key| section.entries.iter().find(|(key, _)| *key == wanted).map(|(_, value)| value);
    let public_key = required(section, PUBLIC_KEY, value(PUBLIC_KEY), sink).and_then(|value| {
        let key: PublicKey = parsed(PUBLIC_KEY, value, tunnel::public_key, sink)?;
        noted.public_key = Some((key, value.span()));
        Some(key)
    });
    let preshared_key = optional(value(PRESHARED_KEY), |value| {
        secret_key(PRESHARED_KEY, value, sink).map(|octets| PresharedKey::new(*octets))
    });
    let endpoint = optional(value(ENDPOINT), |value| parsed(ENDPOINT, value, tunnel::endpoint, sink));
    let keepalive = optional(value(KEEPALIVE), |value| match value.text {
        off if off.eq_ignore_ascii_case("off") => Some(0),
        _ => number(KEEPALIVE, value, 0..=u16::MAX, sink),
    });
    let keepalive = keepalive.map(|seconds| seconds.filter(|seconds| *seconds > 0));
    noted.name =
        name.or_else(|| public_key.map(key::nickname)).unwrap_or_else(|| "without a name".to_owned());
    let lists = section.entries.iter().filter(|(key, _)| *key == ALLOWED_IPS);
    let networks: Vec<Option<IpCidr>> = lists
        .flat_map(|(_, list)| list.items())
        .map(|item| {
            let network = tunnel::network_of(network(&item, ALLOWED_IPS, sink)?);
            if noted.allowed.iter().all(|(other, _)| *other != network) {
                noted.allowed.push((network, item.span()));
            }
            Some(network)
        })
        .collect();
    networks.into_iter().collect::<Option<Vec<_>>>()?;
    Some(VpnPeer {
        name: noted.name.clone(),
        public_key: public_key?,
        preshared_key: preshared_key?,
        endpoint: endpoint?,
        allowed_ips: noted.allowed.iter().map(|(network, _)| *network).collect(),
        keepalive: keepalive?.map(|seconds| Duration::from_secs(seconds.into())),
    })
}

/// Reads a value that may be absent: `Some(None)` then, `None` when it is wrong.
fn optional<'a, 'b, T>(
    value: Option<&'a Part<'b>>,
    read: impl FnOnce(&'a Part<'b>) -> Option<T>,
) -> Option<Option<T>> {
    match value {
        Some(value) => read(value).map(Some),
        None => Some(None),
    }
}

fn required<'a, 'b>(
    section: &Section,
    key: Key,
    value: Option<&'a Part<'b>>,
    sink: &Sink,
) -> Option<&'a Part<'b>> {
    if value.is_none() {
        let message =
            format!("{} lacks `{}`", if section.is_peer { "[Peer]" } else { "[Interface]" }, key.name);
        sink.error(&section.header.span(), message, format!("add a line: {} = …", key.name));
    }
    value
}

fn parsed<T>(key: Key, value: &Part, parse: impl Fn(&str) -> Result<T, Wrong>, sink: &Sink) -> Option<T> {
    match parse(value.text) {
        Ok(parsed) => Some(parsed),
        Err(wrong) => value.fail(key, wrong, sink),
    }
}

/// A key that must not be shown.
fn secret_key(key: Key, value: &Part, sink: &Sink) -> Option<Zeroizing<[u8; 32]>> {
    let octets = key::parse(value.text.as_bytes()).filter(|octets| **octets != [0; 32]);
    if octets.is_none() {
        let help = "a key is 32 octets in base64: 44 characters, the last of them `=`";
        sink.concealed(&value.span(), format!("`{}`: this is no WireGuard key", key.name), help);
    }
    octets
}

fn number(key: Key, value: &Part, range: RangeInclusive<u16>, sink: &Sink) -> Option<u16> {
    let digits = Some(value.text).filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    let number = digits.and_then(|digits| digits.parse().ok()).filter(|number| range.contains(number));
    if number.is_none() {
        let message = format!("`{}`: expected a number, found {:?}", key.name, value.text);
        let help = format!("it may be {} to {}", range.start(), range.end());
        sink.error(&value.span(), message, help);
    }
    number
}

/// An address with or without a prefix length: without, it is alone in its network (wg(8), "AllowedIPs").
fn network(item: &Part, key: Key, sink: &Sink) -> Option<IpCidr> {
    let alone = || match item.text.parse().ok()? {
        IpAddr::V4(address) => Some(IpCidr::V4(Ipv4Cidr { address, prefix: 32 })),
        IpAddr::V6(address) => Some(IpCidr::V6(Ipv6Cidr { address, prefix: 128 })),
    };
    let cidr = parse_cidr(item.text).or_else(alone);
    if cidr.is_none() {
        let message = format!("`{}`: expected an address or a network, found {:?}", key.name, item.text);
        sink.error(&item.span(), message, "write it like 10.77.0.2/32 or fd00:77::/64");
    }
    cidr
}
