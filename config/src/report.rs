//! What is wrong with a configuration, said so that its author can mend it.
//!
//! Readers complain into a [`Sink`] with the octets concerned; a [`Report`] turns these into lines and columns and
//! renders each with its source line, a marker and a suggestion. A line that may hold a password is shown only up to
//! its equals sign.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use crate::suggest;

/// Octets of a source, from start to end.
pub(crate) type Span = Range<usize>;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The gateway cannot run with it.
    Error,
    /// The gateway runs, though not in every way as written.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        })
    }
}

/// One error or warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// The file concerned, as an index into [`Report::sources`].
    pub source: usize,
    /// The place in the file.
    pub place: Option<Place>,
    /// What to do about it, or what would be right.
    pub help: String,
    conceal: bool,
    absence: bool,
}

/// Where in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Octets from the start of the file.
    pub span: Range<usize>,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

/// A file that was read.
#[derive(Clone, PartialEq, Eq)]
pub struct Source {
    /// Its path, as it was given.
    pub path: PathBuf,
    /// Its text; not to be shown when `confidential`.
    pub(crate) text: String,
    /// It holds passwords.
    pub(crate) confidential: bool,
}

impl Source {
    /// Its path, fit for a terminal.
    fn shown(&self) -> String {
        self.path.display().to_string().chars().map(printable).collect()
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Source").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Everything found in a configuration and the files that it names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The configuration file first, then the files that it names and that have something to report.
    pub sources: Vec<Source>,
    /// Errors and warnings, by file and line.
    pub diagnostics: Vec<Diagnostic>,
}

impl Report {
    /// How many errors there are.
    pub fn errors(&self) -> usize {
        self.count(Severity::Error)
    }

    /// How many warnings there are.
    pub fn warnings(&self) -> usize {
        self.count(Severity::Warning)
    }

    fn count(&self, severity: Severity) -> usize {
        self.diagnostics.iter().filter(|d| d.severity == severity).count()
    }

    /// Every diagnostic as one line for a log: "gateway.toml:12:8: what is wrong (what to do)".
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.diagnostics.iter().map(|diagnostic| {
            let path = self.sources.get(diagnostic.source).map(Source::shown);
            let place = diagnostic.place.as_ref().map(|place| format!(":{}:{}", place.line, place.column));
            let (path, place) = (path.unwrap_or_default(), place.unwrap_or_default());
            format!("{path}{place}: {} ({})", diagnostic.message, diagnostic.help)
        })
    }

    /// Every diagnostic as text with its source line, a marker and a suggestion; with ANSI colours when `colour`.
    pub fn render(&self, colour: bool) -> String {
        let paint = Paint { colour };
        let mut text = String::new();
        for (index, diagnostic) in self.diagnostics.iter().enumerate() {
            if index > 0 {
                text.push('\n');
            }
            self.render_one(diagnostic, paint, &mut text);
        }
        text
    }

    /// The last line of a check: "2 errors and 1 warning".
    pub fn summary(&self) -> String {
        let plural = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
        match (self.errors(), self.warnings()) {
            (0, 0) => "no errors".to_owned(),
            (0, w) => format!("no errors, {}", plural(w, "warning")),
            (e, 0) => plural(e, "error"),
            (e, w) => format!("{} and {}", plural(e, "error"), plural(w, "warning")),
        }
    }

    fn render_one(&self, diagnostic: &Diagnostic, paint: Paint, text: &mut String) {
        let severity = paint.severity(diagnostic.severity);
        text.push_str(&format!("{severity}{}\n", paint.bold(&format!(": {}", diagnostic.message))));
        let Some(source) = self.sources.get(diagnostic.source) else { return };
        let path = source.shown();
        let mut gutter = 1;
        if let Some(place) = &diagnostic.place {
            let number = place.line.to_string();
            gutter = number.len();
            let blank = " ".repeat(gutter);
            let snippet = Snippet::new(source, place, diagnostic.conceal);
            let bar = paint.frame("|");
            text.push_str(&format!(
                "{blank}{} {path}:{}:{}\n{blank} {bar}\n{} {bar} {}\n{blank} {bar} {}{}\n",
                paint.frame("-->"),
                place.line,
                place.column,
                paint.frame(&number),
                snippet.line,
                snippet.indent,
                paint.marker(diagnostic.severity, &"^".repeat(snippet.width)),
            ));
        } else {
            text.push_str(&format!(" {} {path}\n", paint.frame("-->")));
        }
        let (blank, help) = (" ".repeat(gutter), &diagnostic.help);
        text.push_str(&format!("{blank} {} {} {help}\n", paint.frame("="), paint.bold("help:")));
    }
}

/// As [`Report::render`] without colours.
impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.render(false))
    }
}

impl std::error::Error for Report {}

#[derive(Clone, Copy)]
struct Paint {
    colour: bool,
}

impl Paint {
    fn with(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    fn frame(self, text: &str) -> String {
        self.with("1;34", text)
    }

    fn marker(self, severity: Severity, text: &str) -> String {
        let code = match severity {
            Severity::Error => "1;31",
            Severity::Warning => "1;33",
        };
        self.with(code, text)
    }

    fn severity(self, severity: Severity) -> String {
        self.marker(severity, &severity.to_string())
    }
}

/// The source line of a diagnostic, made fit for a terminal.
struct Snippet {
    line: String,
    indent: String,
    width: usize,
}

impl Snippet {
    fn new(source: &Source, place: &Place, conceal: bool) -> Snippet {
        let line = source.text.lines().nth(place.line.saturating_sub(1)).unwrap_or("");
        let start = place.column.saturating_sub(1);
        let marked = source.text.get(place.span.clone()).unwrap_or("");
        let width = marked.lines().next().unwrap_or("").chars().count();
        let shown = if conceal || gives_secret(line) || (source.confidential && !is_harmless(line)) {
            public_part(line)
        } else {
            line.len()
        };
        let visible = line.get(..shown).unwrap_or("");
        let count = visible.chars().count();
        let mut text: String = visible.chars().map(printable).collect();
        if shown < line.len() {
            text.push_str(" …");
        }
        let start = if shown < line.len() { start.min(count + 1) } else { start };
        let longest = (text.chars().count()).saturating_sub(start);
        Snippet { indent: " ".repeat(start), width: width.clamp(1, longest.max(1)), line: text }
    }
}

/// Tabs as one space (so that the marker stands right), other control characters made visible.
fn printable(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    }
}

/// True for a line of a confidential file that holds nothing secret: a header, or one of the keys that are no password.
fn is_harmless(line: &str) -> bool {
    let line = line.trim_start();
    if line.starts_with('[') {
        return !line.contains('=');
    }
    let key = line.split('=').next().unwrap_or("").trim();
    matches!(key, "name" | "ipv4" | "password-file") && !line.contains('{')
}

/// True for a line that gives a value to a key that may be a password, somewhere in it.
pub(crate) fn gives_secret(line: &str) -> bool {
    let keys = line.split('=').map(|before| {
        let before = before.trim_end().trim_end_matches(['"', '\'']);
        before.rsplit(|c: char| !(c.is_alphanumeric() || c == '-' || c == '_')).next().unwrap_or("")
    });
    // What follows the last equals sign is no key.
    let count = line.matches('=').count();
    keys.take(count).any(suggest::sounds_secret)
}

/// The line of `text` in which an octet stands.
pub(crate) fn line_at(text: &str, offset: usize) -> &str {
    let (before, after) = text.split_at_checked(offset).unwrap_or((text, ""));
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    let end = after.find('\n').map_or(text.len(), |at| offset + at);
    text.get(start..end).unwrap_or("")
}

/// Length of the part of a line that holds no value: up to and including its first equals sign.
fn public_part(line: &str) -> usize {
    line.find('=').map_or(0, |at| at + 1)
}

/// Collects what readers of one file complain about.
pub(crate) struct Sink {
    confidential: bool,
    found: RefCell<Vec<Found>>,
}

struct Found {
    severity: Severity,
    message: String,
    span: Option<Span>,
    help: String,
    conceal: bool,
    absence: bool,
}

impl Sink {
    /// A sink for a file that holds passwords, or not.
    pub(crate) fn new(confidential: bool) -> Sink {
        Sink { confidential, found: RefCell::default() }
    }

    /// True when values must not be repeated in messages.
    pub(crate) fn is_confidential(&self) -> bool {
        self.confidential
    }

    /// True when there is nothing to complain about so far.
    pub(crate) fn is_empty(&self) -> bool {
        self.found.borrow().is_empty()
    }

    /// An error at a place.
    pub(crate) fn error(&self, span: &Span, message: impl Into<String>, help: impl Into<String>) {
        self.push(Severity::Error, Some(span.clone()), message.into(), help.into(), Kind::Plain);
    }

    /// An error that follows from something's not being there: said only of files that could be parsed to the end.
    pub(crate) fn absence(&self, span: &Span, message: impl Into<String>, help: impl Into<String>) {
        self.push(Severity::Error, Some(span.clone()), message.into(), help.into(), Kind::Absence);
    }

    /// An error on a line whose value may be a password.
    pub(crate) fn concealed(&self, span: &Span, message: impl Into<String>, help: impl Into<String>) {
        self.push(Severity::Error, Some(span.clone()), message.into(), help.into(), Kind::Concealed);
    }

    /// An error of the file as a whole.
    pub(crate) fn whole(&self, message: impl Into<String>, help: impl Into<String>) {
        self.push(Severity::Error, None, message.into(), help.into(), Kind::Absence);
    }

    /// A warning at a place.
    pub(crate) fn warning(&self, span: &Span, message: impl Into<String>, help: impl Into<String>) {
        self.push(Severity::Warning, Some(span.clone()), message.into(), help.into(), Kind::Absence);
    }

    fn push(&self, severity: Severity, span: Option<Span>, message: String, help: String, kind: Kind) {
        // Both may repeat what the file says.
        let [message, help] = [message, help].map(|text| text.chars().map(printable).collect());
        self.found.borrow_mut().push(Found {
            severity,
            message,
            span,
            help,
            conceal: kind == Kind::Concealed,
            absence: kind == Kind::Absence,
        });
    }

    /// The complaints about `source`, which is to be the one with index `index`, in the order of the file.
    pub(crate) fn into_diagnostics(self, source: &Source, index: usize) -> Vec<Diagnostic> {
        let mut diagnostics: Vec<Diagnostic> = (self.found.into_inner().into_iter())
            .map(|found| Diagnostic {
                severity: found.severity,
                message: found.message,
                source: index,
                place: found.span.map(|span| place(&source.text, span)),
                help: found.help,
                conceal: found.conceal,
                absence: found.absence,
            })
            .collect();
        diagnostics.sort_by_key(|d| d.place.as_ref().map(|p| p.span.start));
        diagnostics
    }
}

#[derive(PartialEq)]
enum Kind {
    Plain,
    Absence,
    Concealed,
}

/// Of a file with syntax errors, keeps what is certain all the same: nothing about a line that could not be parsed, and
/// nothing that says a thing is missing, for the parser may have skipped it.
pub(crate) fn beside_syntax_errors(diagnostics: Vec<Diagnostic>, syntax: &[Diagnostic]) -> Vec<Diagnostic> {
    let line = |d: &Diagnostic| d.place.as_ref().map(|p| p.line);
    diagnostics.into_iter().filter(|d| !d.absence && syntax.iter().all(|s| line(s) != line(d))).collect()
}

fn place(text: &str, span: Span) -> Place {
    let mut start = span.start.min(text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    let before = text.get(..start).unwrap_or("");
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    Place {
        line: before.matches('\n').count() + 1,
        column: before.get(line_start..).unwrap_or("").chars().count() + 1,
        span,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// TR-124 WAN.PPP.6: passwords are never shown, whatever is wrong with their line.
    #[test]
    fn tr124_wan_ppp_6_a_line_that_gives_a_secret_is_known() {
        for line in [
            "password = \"x\"",
            "pppoe.password = x y",
            "pppoe = { username = \"u\", \"Password\" = \"x\" }",
            "  pasword=",
            "# private-key = x",
        ] {
            assert!(gives_secret(line), "{line}");
        }
        for line in [
            "password-file = \"isp.secret\"",
            "username = \"password\"",
            "public-key = \"x\"",
            "# password",
            "",
        ] {
            assert!(!gives_secret(line), "{line}");
        }
    }

    #[test]
    fn the_line_of_an_octet_is_found() {
        let text = "a\nbc\n\nd";
        let lines: Vec<_> = (0..=text.len()).map(|offset| line_at(text, offset)).collect();
        assert_eq!(lines, ["a", "a", "bc", "bc", "bc", "", "d", "d"]);
        assert_eq!(line_at("é", 1), "é");
    }
}
