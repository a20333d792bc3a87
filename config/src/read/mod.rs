//! From text to [`Config`]: one reader for each table.

mod across;
mod concentrator;
mod filter;
mod lan;
mod nat;
mod port;
mod secret;
mod system;
mod users;
mod vpn;
mod wan;

use std::cell::RefCell;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use crate::host::Host;
use crate::reader::{Form, Node, Table};
use crate::report::{Diagnostic, Report, Sink, Source, beside_syntax_errors, gives_secret, line_at};
use crate::schema::{Config, FastPath, System};
use crate::{Loaded, suggest, value};
use across::Facts;

/// Octets of the ring of captured frames.
const DEFAULT_RING: u64 = 8 << 20;

/// What every reader needs besides its own table.
struct Cx<'a> {
    host: &'a dyn Host,
    /// The file's own.
    text: &'a str,
    /// Paths are relative to it.
    directory: &'a Path,
    names: Names<'a>,
    facts: RefCell<Facts>,
    /// What the files that the configuration names have to complain about.
    elsewhere: RefCell<Report>,
}

/// The names that tables have, whether or not the rest of them is right.
#[derive(Default)]
struct Names<'a> {
    ports: Vec<&'a str>,
    wans: Vec<&'a str>,
    lans: Vec<&'a str>,
}

impl Cx<'_> {
    /// The line at which something stands, from 1.
    fn line(&self, place: &Range<usize>) -> u32 {
        let before = self.text.get(..place.start).unwrap_or_default();
        u32::try_from(before.matches('\n').count() + 1).unwrap_or(u32::MAX)
    }

    /// A path in the configuration, relative to the file that it stands in.
    fn path(&self, node: Node) -> Option<PathBuf> {
        let path = value::str(&node, &Form::new("a path", "\"/etc/genkan/isp.secret\""))?;
        if path.is_empty() {
            let help = "write a path, absolute or relative to this file";
            return node.fail(format!("`{}` must not be empty", node.key), help);
        }
        Some(self.directory.join(path))
    }

    /// The name of something that must exist.
    fn reference(node: Node, kind: &str, names: &[&str]) -> Option<String> {
        let name = value::str(
            &node,
            &Form::of(format!("the name of a {kind}"), format!("{:?}", names.first().unwrap_or(&kind))),
        )?;
        if names.contains(&name) {
            return Some(name.to_owned());
        }
        node.sink.absence(
            &node.span(),
            format!("`{}`: there is no [{kind}.{}]", node.key, name.escape_debug()),
            suggest::name(name, kind, names),
        );
        None
    }

    fn port(&self, node: Node) -> Option<String> {
        Self::reference(node, "port", &self.names.ports)
    }

    fn wan(&self, node: Node) -> Option<String> {
        Self::reference(node, "wan", &self.names.wans)
    }

    fn lan(&self, node: Node) -> Option<String> {
        Self::reference(node, "lan", &self.names.lans)
    }
}

pub(crate) fn load(path: &Path, host: &dyn Host) -> Result<Loaded, Report> {
    let (source, text_errors) = read_source(path, host, false);
    if !text_errors.is_empty() {
        return Err(Report { sources: vec![source], diagnostics: text_errors });
    }
    let (config, mut report) = read(&source, path.parent().unwrap_or(Path::new("")), host);
    report.sources.insert(0, source);
    match config {
        Some(config) if report.errors() == 0 => Ok(Loaded { config, warnings: report }),
        _ => Err(report),
    }
}

/// Where the gateway of this configuration listens for commands; nothing but `[system]` is read.
pub(crate) fn control_socket(path: &Path, host: &dyn Host) -> Result<PathBuf, Report> {
    let (source, text_errors) = read_source(path, host, false);
    let (document, syntax_errors) = DeTable::parse_recoverable(&source.text);
    if !text_errors.is_empty() || !syntax_errors.is_empty() {
        // A file that cannot be parsed is complained about as a whole.
        return load(path, host).map(|loaded| loaded.config.system.control);
    }
    let Some(table) = document.get_ref().get("system") else { return Ok(System::default().control) };
    let sink = Sink::new(false);
    let cx = Cx {
        host,
        text: &source.text,
        directory: path.parent().unwrap_or(Path::new("")),
        names: Names::default(),
        facts: RefCell::default(),
        elsewhere: RefCell::default(),
    };
    let control = match table.get_ref() {
        DeValue::Table(entries) => {
            Table::read(entries, table.span(), "system", &sink, |t| system::read(t, &cx).control)
        }
        _ => {
            sink.error(&table.span(), "`system` is no table", "write [system], and its keys below it");
            PathBuf::new()
        }
    };
    let diagnostics = sink.into_diagnostics(&source, 0);
    let report = Report { sources: vec![source], diagnostics };
    if report.errors() == 0 { Ok(control) } else { Err(report) }
}

/// The text of a configuration file, or what kept us from reading it.
fn read_source(path: &Path, host: &dyn Host, confidential: bool) -> (Source, Vec<Diagnostic>) {
    let sink = Sink::new(confidential);
    let text = match host.read(path) {
        Err(error) => {
            let help = "name a file that the user who runs genkan may read";
            sink.whole(format!("cannot read the configuration: {error}"), help);
            String::new()
        }
        Ok(file) => String::from_utf8(file.content).unwrap_or_else(|error| {
            let valid = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
            let help = "save the file in UTF-8";
            sink.error(&(valid..valid + 1), "this octet is not UTF-8 text", help);
            text
        }),
    };
    let source = Source { path: path.to_owned(), text, confidential };
    let diagnostics = sink.into_diagnostics(&source, 0);
    (source, diagnostics)
}

/// Parses `source` and reads it with `read`; `None` when it has syntax errors.
fn parse<T>(source: &Source, index: usize, read: impl FnOnce(&Table) -> T) -> (Option<T>, Vec<Diagnostic>) {
    let (document, errors) = DeTable::parse_recoverable(&source.text);
    let syntax = Sink::new(source.confidential);
    for error in &errors {
        let span = error.span().unwrap_or_default();
        let confidential = source.confidential || gives_secret(line_at(&source.text, span.start));
        let marked = source.text.get(span.clone()).filter(|_| !confidential).unwrap_or("…");
        let (message, help) = plain_words(error.message(), marked);
        syntax.error(&span, message, help);
    }
    let syntax = syntax.into_diagnostics(source, index);
    let sink = Sink::new(source.confidential);
    if syntax.is_empty() {
        let result = Table::read(document.get_ref(), 0..0, "", &sink, read);
        return (Some(result), sink.into_diagnostics(source, index));
    }
    // What a parser makes of a broken line with a password in it must not become a message.
    if !source.confidential {
        Table::read(document.get_ref(), 0..0, "", &sink, read);
    }
    let mut all = beside_syntax_errors(sink.into_diagnostics(source, index), &syntax);
    all.extend(syntax);
    all.sort_by_key(|d| d.place.as_ref().map(|p| p.span.start));
    (None, all)
}

/// A syntax error of the parser's about `marked`, and what to do about it.
fn plain_words(message: &str, marked: &str) -> (String, String) {
    let is = |start: &str| message.starts_with(start);
    if is("string values must be quoted") {
        return ("a string stands in quotes".to_owned(), format!("write \"{marked}\""));
    }
    if is("invalid boolean") {
        return (
            "this is neither true nor false".to_owned(),
            format!("if it is a string, write \"{marked}\""),
        );
    }
    let help = if is("duplicate key") {
        "a key or table may be written only once; delete one of them"
    } else if is("unclosed table") {
        "close the header with `]`"
    } else if is("invalid basic string") {
        "close the string with `\"`"
    } else {
        "a line is KEY = VALUE, [TABLE] or # comment"
    };
    (message.to_owned(), help.to_owned())
}

/// Reads the whole configuration. The report lacks `source` itself, which is to stand first in it.
fn read(source: &Source, directory: &Path, host: &dyn Host) -> (Option<Config>, Report) {
    let mut elsewhere = Report::default();
    let (config, mut diagnostics) = parse(source, 0, |root| {
        let tables = Tables::of(root);
        let cx = Cx {
            host,
            text: &source.text,
            directory,
            names: tables.names(),
            facts: RefCell::default(),
            elsewhere: RefCell::default(),
        };
        let config = read_tables(root, &tables, &cx);
        across::check(&cx.facts.into_inner(), root.sink);
        elsewhere = cx.elsewhere.into_inner();
        config
    });
    // The order of the file, then that of the files that it names.
    let sources = elsewhere.sources;
    diagnostics.extend(elsewhere.diagnostics);
    (config.flatten(), Report { sources, diagnostics })
}

/// The tables that have names.
struct Tables<'a> {
    ports: Vec<(&'a str, Node<'a>)>,
    wans: Vec<(&'a str, Node<'a>)>,
    lans: Vec<(&'a str, Node<'a>)>,
    vpns: Vec<(&'a str, Node<'a>)>,
    concentrators: Vec<(&'a str, Node<'a>)>,
}

impl<'a> Tables<'a> {
    fn of(root: &Table<'a>) -> Tables<'a> {
        Tables {
            ports: root.named("port"),
            wans: root.named("wan"),
            lans: root.named("lan"),
            vpns: root.named("vpn"),
            concentrators: root.named("concentrator"),
        }
    }

    fn names(&self) -> Names<'a> {
        let names = |tables: &[(&'a str, Node<'a>)]| tables.iter().map(|(name, _)| *name).collect();
        Names { ports: names(&self.ports), wans: names(&self.wans), lans: names(&self.lans) }
    }
}

/// `None` when a table could not be read; that has been complained about.
fn read_tables(root: &Table, tables: &Tables, cx: &Cx) -> Option<Config> {
    if tables.ports.is_empty() && !root.has("port") {
        let help = "a gateway has at least [port.NAME] and [lan.NAME]; see the examples";
        root.sink.whole("there is no port: nothing can come in or go out", help);
    }
    let system = root.sub("system", |t| system::read(t, cx));
    let ports = all(&tables.ports, "port", |name, t| port::read(name, t, cx));
    let wans = all(&tables.wans, "wan", |name, t| wan::read(name, t, cx));
    let lans = all(&tables.lans, "lan", |name, t| lan::read(name, t, cx));
    let nat = root.sub("nat", nat::read);
    let port_forwards: Vec<_> = (root.each("port-forward").into_iter())
        .map(|node| node.table("port-forward", |t| nat::port_forward(t, cx)).flatten())
        .collect();
    let filters: Vec<_> = (root.each("filter").into_iter())
        .map(|node| node.table("filter", |t| filter::read(t, cx)).flatten())
        .collect();
    let vpns = all(&tables.vpns, "vpn", |name, t| vpn::read(name, t, cx));
    let concentrators = all(&tables.concentrators, "concentrator", |name, t| concentrator::read(name, t, cx));
    const MODES: &[(&str, FastPath)] =
        &[("auto", FastPath::Auto), ("xdp", FastPath::Xdp), ("off", FastPath::Off)];
    let fast_path = root.sub("fast-path", |t| t.or("mode", FastPath::Auto, value::one_of(MODES)));
    let capture_ring = root.sub("capture", |t| t.or("ring", DEFAULT_RING, value::size));
    Some(Config {
        system: system.unwrap_or_default(),
        ports: ports?,
        wans: wans?,
        lans: lans?,
        nat: nat.unwrap_or_default(),
        port_forwards: port_forwards.into_iter().collect::<Option<_>>()?,
        filters: filters.into_iter().collect::<Option<_>>()?,
        vpns: vpns?,
        concentrators: concentrators?,
        fast_path: fast_path.unwrap_or_default(),
        capture_ring: capture_ring.unwrap_or(DEFAULT_RING),
    })
}

/// Reads every table of a kind, going on after those that are wrong.
fn all<T>(tables: &[(&str, Node)], kind: &str, read: impl Fn(&str, &Table) -> Option<T>) -> Option<Vec<T>> {
    let values: Vec<Option<T>> = (tables.iter())
        .map(|(name, node)| node.table(&format!("{kind}.{name}"), |t| read(name, t)).flatten())
        .collect();
    values.into_iter().collect()
}
