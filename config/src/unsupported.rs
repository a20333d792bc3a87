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
