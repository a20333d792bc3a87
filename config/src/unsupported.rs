//! What the contract has and this version does not support yet. Such keys are read and checked like all others; here, and
//! only here, their author is told that they have no effect. A version that carries one deletes its lines.

use toml::de::{DeTable, DeValue};

use crate::reader::Table;
use crate::report::Span;

/// Warns of everything written that has no effect.
pub(crate) fn warn(root: &Table) {
    let later = |span: Span, what: &str, instead: &str| {
        root.sink.warning(&span, format!("{what} yet"), instead);
    };
    for vpn in tables(root, "vpn") {
        later(vpn.span, "VPNs are not supported", "this one stays down");
    }
    for rule in each(root, "filter") {
        for key in ["from", "to"].into_iter().filter(|key| rule.str(key) == Some("vpn")) {
            later(rule.span_of(key), "VPNs are not supported", "this rule matches nothing");
        }
    }
    for capture in one(root, "capture") {
        let off = match capture.entries.get("ring").map(|ring| ring.get_ref()) {
            None => true,
            Some(DeValue::Integer(_)) => true,
            Some(ring) => ring.as_str() == Some("0"),
        };
        if !off {
            later(
                capture.span_of("ring"),
                "the capture ring is not kept",
                "`genkan capture` shows frames from now on",
            );
        }
    }
}

/// A table as it is written, whatever its readers made of it.
struct Written<'a> {
    entries: &'a DeTable<'a>,
    span: Span,
}

impl Written<'_> {
    fn str(&self, key: &str) -> Option<&str> {
        self.entries.get(key).and_then(|value| value.get_ref().as_str())
    }

    fn span_of(&self, key: &str) -> Span {
        self.entries.get(key).map_or_else(|| self.span.clone(), |value| value.span())
    }
}

/// The table `[key]`.
fn one<'a>(root: &Table<'a>, key: &'static str) -> impl Iterator<Item = Written<'a>> {
    let written =
        root.get(key).and_then(|node| Some(Written { entries: node.value().as_table()?, span: node.span() }));
    written.into_iter()
}

/// The tables `[key.NAME]`.
fn tables<'a>(root: &Table<'a>, key: &'static str) -> impl Iterator<Item = Written<'a>> {
    one(root, key).flat_map(|kind| {
        let named = |value: &'a toml::Spanned<DeValue<'a>>| {
            Some(Written { entries: value.get_ref().as_table()?, span: value.span() })
        };
        kind.entries.values().filter_map(named)
    })
}

/// The tables `[[key]]`.
fn each<'a>(root: &Table<'a>, key: &'static str) -> impl Iterator<Item = Written<'a>> {
    let items =
        root.get(key).and_then(|node| node.value().as_array()).into_iter().flat_map(|array| array.iter());
    items.filter_map(|item| Some(Written { entries: item.get_ref().as_table()?, span: item.span() }))
}
