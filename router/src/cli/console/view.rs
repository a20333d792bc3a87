//! From facts to lines: uplinks first, then what needs somebody's attention, then as many leases as there is room for.
//!
//! Much of it was said by others: names of hosts, the ISP's words. Every line is cleaned and cut as the last thing that
//! happens to it, so that nothing said on the wire can move the cursor.
//!
//! `genkan-vm` reads it, too: by the bar and by the styles of what begins a line it knows what a guest does, which nothing that is
//! quoted can pretend.

use std::fmt::Write as _;

use serde_json::Value;

use super::dialogue::Dialogue;
use super::facts::Facts;
use crate::cli::status::{count, list, octets, span, text};

/// Most lines of a refusal, or of a log.
const MOST: usize = 8;

/// A terminal's content.
#[derive(Debug)]
pub(super) struct Screen {
    lines: Vec<Line>,
    rows: usize,
    columns: usize,
    /// Where somebody types: the row from the top, and the text up to it.
    typing: Option<usize>,
}

#[derive(Debug)]
struct Line {
    style: Style,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Style {
    Plain,
    /// Reversed.
    Bar,
    Bold,
    /// Something is wrong.
    Alarm,
}

impl Style {
    fn code(self) -> &'static str {
        match self {
            Style::Plain => "",
            Style::Bar => "\x1b[7m",
            Style::Bold => "\x1b[1m",
            Style::Alarm => "\x1b[1;31m",
        }
    }
}

fn plain(text: impl Into<String>) -> Line {
    Line { style: Style::Plain, text: text.into() }
}

fn bold(text: impl Into<String>) -> Line {
    Line { style: Style::Bold, text: text.into() }
}

fn alarm(text: impl Into<String>) -> Line {
    Line { style: Style::Alarm, text: text.into() }
}

/// What a terminal of this size shows.
pub(super) fn screen(facts: &Facts, dialogue: &Dialogue, rows: u16, columns: u16) -> Screen {
    let (rows, columns) = (usize::from(rows).max(4), usize::from(columns).max(20));
    let bar = Line { style: Style::Bar, text: format!("{:<columns$}", title(facts)) };
    let (mut lines, mut rest, leases) = match &facts.status {
        Ok(status) => (uplinks(status, facts, columns), kernel_path(status), leases(status)),
        Err(why) => (silence(why, facts, columns), Vec::new(), Vec::new()),
    };
    rest.splice(0..0, attention(facts, columns));
    let end = end(dialogue);
    let typing = dialogue.question().is_some();
    // The bar, an empty line before the end, and an empty line before what follows the leases.
    let room = rows.saturating_sub(1 + 1 + end.len());
    lines.truncate(room);
    let left = room.saturating_sub(lines.len() + rest.len() + 1);
    let fits = leases.len() <= left;
    let shown = if fits { leases.len() } else { left.saturating_sub(1) };
    let hidden = leases.len() - shown;
    lines.extend(leases.into_iter().take(shown));
    if hidden > 0 && left > 0 {
        lines.push(plain(format!("  and {hidden} more lines; `genkan status` shows all")));
    }
    if !rest.is_empty() {
        lines.push(plain(""));
    }
    lines.append(&mut rest);
    lines.truncate(room);
    lines.resize_with(room + 1, || plain(""));
    lines.insert(0, bar);
    let typing = typing.then_some(lines.len() + end.len() - 1);
    lines.extend(end);
    Screen { lines, rows, columns, typing }
}

fn title(facts: &Facts) -> String {
    let mut title = match &facts.status {
        Ok(status) => format!(
            " {}   version {}   up {}",
            text(&status["hostname"]),
            text(&status["version"]),
            span(&status["uptime_s"])
        ),
        Err(_) => format!(" genkan   version {}", env!("CARGO_PKG_VERSION")),
    };
    if let Some((used, all)) = facts.memory {
        let _ = write!(title, "   memory {} of {} MB", used / 1024, all / 1024);
    }
    title
}

fn uplinks(status: &Value, facts: &Facts, columns: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    for wan in list(&status["wans"]) {
        let name = text(&wan["name"]);
        let mut head = format!("wan {name}: {} for {}", text(&wan["state"]), span(&wan["since_s"]));
        if !wan["retry_in_s"].is_null() {
            let _ = write!(head, ", dials again in {}", span(&wan["retry_in_s"]));
        }
        let diagnosis = list(&facts.diagnosis).iter().find(|told| told["subject"] == format!("wan {name}"));
        let healthy = diagnosis.is_none_or(|told| told["healthy"] == true);
        lines.push(if wan["up"] == true { bold(head) } else { alarm(head) });
        let sentence = diagnosis.and_then(|told| told["sentence"].as_str()).or(wan["problem"].as_str());
        if let Some(sentence) = sentence.filter(|_| !healthy || wan["up"] != true) {
            lines.extend(wrapped(sentence, columns));
        }
        let ipv6 = &wan["ipv6"];
        let addresses = wan["address"].as_str().into_iter().chain(list(&ipv6["addresses"]).iter().map(text));
        let addresses: Vec<&str> = addresses.collect();
        let prefixes: Vec<&str> =
            list(&ipv6["prefixes"]).iter().map(|prefix| text(&prefix["prefix"])).collect();
        if !addresses.is_empty() {
            lines.push(plain(format!("  address {}", addresses.join(", "))));
        }
        if !prefixes.is_empty() {
            lines.push(plain(format!("  prefix {}", prefixes.join(", "))));
        }
        if wan["up"] == true {
            let usage = &wan["usage"];
            let (received, sent) = (octets(&usage["rx_octets"]), octets(&usage["tx_octets"]));
            let (rx, tx) = match facts.rates.get(name) {
                Some((rx, tx)) => (rate(*rx), rate(*tx)),
                None => ("-".into(), "-".into()),
            };
            lines.push(plain(format!("  in {rx:<14} out {tx:<14} received {received}, sent {sent}")));
        }
    }
    lines
}

/// Octets a second, in bits.
fn rate(octets: u64) -> String {
    let bits = octets.saturating_mul(8);
    let units = [("Gbit/s", 1_000_000_000), ("Mbit/s", 1_000_000), ("kbit/s", 1_000)];
    match units.into_iter().find(|&(_, size)| bits >= size) {
        Some((unit, size)) => format!("{}.{} {unit}", bits / size, bits % size * 10 / size),
        None => format!("{bits} bit/s"),
    }
}

/// Each LAN with who is in it.
fn leases(status: &Value) -> Vec<Line> {
    let mut lines = Vec::new();
    for lan in list(&status["lans"]) {
        let leases = list(&lan["leases"]);
        let ports: Vec<&str> = list(&lan["ports"]).iter().map(text).collect();
        let address = &lan["address"];
        lines.push(bold(format!(
            "lan {}: {}/{} on {}, leases: {}",
            text(&lan["name"]),
            text(&address["address"]),
            address["prefix"],
            ports.join(", "),
            leases.len()
        )));
        for prefix in list(&lan["ipv6"]["prefixes"]).iter().filter(|prefix| prefix["state"] == "preferred") {
            lines.push(plain(format!("  prefix {}", text(&prefix["prefix"]))));
        }
        for lease in leases {
            lines.push(plain(format!(
                "  {:<16} {}  {}",
                text(&lease["address"]),
                text(&lease["mac"]),
                lease["hostname"].as_str().unwrap_or("")
            )));
        }
    }
    lines
}

fn kernel_path(status: &Value) -> Vec<Line> {
    let path = &status["fast_path"];
    if path.is_null() {
        return Vec::new();
    }
    vec![plain(match path["off"].as_str() {
        Some(why) => format!("kernel path: none, {why}"),
        None => format!(
            "kernel path: {} packets carried, {} directions of {} flows",
            count(&path["carried"]),
            count(&path["directions"]),
            count(&status["nat"]["flows"])
        ),
    })]
}

/// A gateway that does not answer, and why that may be.
fn silence(why: &str, facts: &Facts, columns: usize) -> Vec<Line> {
    let mut lines = vec![alarm(why.to_owned())];
    if !facts.errors.is_empty() {
        lines.push(plain("The configuration in force is wrong:"));
        lines.extend(facts.errors.iter().flat_map(|error| wrapped(error, columns)).take(MOST));
    } else if !facts.log.is_empty() {
        lines.push(plain("The end of its log:"));
        lines.extend(facts.log.iter().flat_map(|line| wrapped(line, columns)));
    }
    lines
}

/// What somebody should know besides.
fn attention(facts: &Facts, columns: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    if let Some(why) = &facts.missing_cards {
        lines.extend(wrapped(why, columns).into_iter().map(|line| alarm(line.text)));
    }
    if let Some(why) = &facts.not_kept {
        lines.extend(why.lines().take(2).map(alarm));
    }
    if let Some(refused) = &facts.refused {
        let mut told = refused.lines().filter(|line| !line.trim().is_empty());
        lines.extend(told.next().map(alarm));
        lines.extend(told.by_ref().take(MOST).map(|line| plain(format!("  {line}"))));
        if told.next().is_some() {
            lines.push(plain("  .. all of it is in refused.txt"));
        }
    }
    lines
}

/// The lowest lines: a question, or what the keys do.
fn end(dialogue: &Dialogue) -> Vec<Line> {
    let mut lines = Vec::new();
    lines.extend(dialogue.notice().map(bold));
    let Some((question, typed)) = dialogue.question() else {
        lines.push(plain("Enter: log in"));
        return lines;
    };
    match dialogue.username() {
        None => lines.push(bold("The uplink waits for the credentials of PPPoE. (Enter alone: log in)")),
        Some(username) => lines.push(plain(format!("PPPoE user name: {username}   (Ctrl-U: another)"))),
    }
    lines.push(plain(format!("{question}{typed}")));
    lines
}

/// A sentence on as many lines as it needs, indented; a word that is longer than a line is left to be cut.
fn wrapped(sentence: &str, columns: usize) -> Vec<Line> {
    const INDENT: &str = "  ";
    let mut lines: Vec<String> = Vec::new();
    for word in sentence.split(' ').filter(|word| !word.is_empty()) {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(format!("{INDENT}{word}")),
        }
    }
    lines.into_iter().map(plain).collect()
}

impl Screen {
    /// What to write to the terminal: nothing in it but our own control sequences.
    pub(super) fn text(&self) -> String {
        // Lines are not wrapped, and the cursor is hidden unless somebody types.
        let mut out = String::from("\x1b[?7l\x1b[?25l\x1b[H");
        let mut cursor = None;
        for (row, line) in self.lines.iter().take(self.rows).enumerate() {
            let shown = fit(&line.text, self.columns);
            if self.typing == Some(row) {
                cursor = Some((row + 1, shown.chars().count() + 1));
            }
            if row > 0 {
                out.push_str("\r\n");
            }
            let _ = write!(out, "{}{shown}\x1b[0m\x1b[K", line.style.code());
        }
        out.push_str("\x1b[J");
        if let Some((row, column)) = cursor {
            let _ = write!(out, "\x1b[{row};{column}H\x1b[?25h");
        }
        out
    }
}

/// A line without anything that a terminal obeys, of at most `columns` characters; a longer one shows that it is.
fn fit(line: &str, columns: usize) -> String {
    let mut clean: String = line.chars().map(harmless).collect();
    if clean.chars().count() > columns {
        clean = clean.chars().take(columns.saturating_sub(2)).collect();
        clean.push_str("..");
    }
    clean
}

fn harmless(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() => '?',
        // They have no width, or turn the direction of what follows.
        '\u{ad}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}' => '?',
        c => c,
    }
}

#[cfg(test)]
mod tests;
