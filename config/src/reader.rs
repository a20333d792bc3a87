//! Reading tables: each key is asked for once by name and by what it must hold; what nobody asked for is unknown.
//!
//! A reader goes on after every error. A key that is missing or wrong has been complained about when its reader gets
//! `None`, so readers only ever say what they expect.

use std::borrow::Cow;
use std::cell::RefCell;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::report::{Sink, Span};
use crate::suggest;

/// What a value must look like, in words and by example.
#[derive(Clone)]
pub(crate) struct Form {
    what: Cow<'static, str>,
    like: Cow<'static, str>,
}

impl Form {
    /// `what` follows "expected"; `like` follows "write it like".
    pub(crate) const fn new(what: &'static str, like: &'static str) -> Form {
        Form { what: Cow::Borrowed(what), like: Cow::Borrowed(like) }
    }

    /// As [`Form::new`], with words made up at the time.
    pub(crate) fn of(what: String, like: String) -> Form {
        Form { what: Cow::Owned(what), like: Cow::Owned(like) }
    }
}

const TABLE: Form = Form::new("a table", "{ KEY = VALUE }, or each key after a dot: NAME.KEY = VALUE");
const LIST: Form = Form::new("a list", "[…, …]");
const TABLES_EACH: Form = Form::new("a list of tables", "[[KIND]]");
const TABLES: Form = Form::new("tables with names", "[KIND.NAME]");

/// One value with its place in the file.
#[derive(Clone, Copy)]
pub(crate) struct Node<'a> {
    /// The key that it stands under, as written in messages.
    pub(crate) key: &'a str,
    value: &'a Spanned<DeValue<'a>>,
    pub(crate) sink: &'a Sink,
}

impl<'a> Node<'a> {
    pub(crate) fn value(&self) -> &'a DeValue<'a> {
        self.value.get_ref()
    }

    /// Where the value stands; of a table that has a header, the header.
    pub(crate) fn span(&self) -> Span {
        self.value.span()
    }

    /// The same place in an array under the same key.
    fn item(&self, value: &'a Spanned<DeValue<'a>>) -> Node<'a> {
        Node { value, ..*self }
    }

    /// Complains that the value has not the form that it must have.
    pub(crate) fn mismatch<T>(&self, form: &Form) -> Option<T> {
        self.mismatch_help(form, None)
    }

    /// As [`Node::mismatch`], with better advice than the form's example.
    pub(crate) fn mismatch_help<T>(&self, form: &Form, help: impl Into<Option<String>>) -> Option<T> {
        let help = help.into().unwrap_or_else(|| format!("write it like {}", form.like));
        self.fail(format!("`{}`: expected {}, found {}", self.key, form.what, self.describe()), help)
    }

    /// Complains about the value.
    pub(crate) fn fail<T>(&self, message: impl Into<String>, help: impl Into<String>) -> Option<T> {
        self.sink.error(&self.span(), message, help);
        None
    }

    fn describe(&self) -> String {
        let kind = match self.value() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        match self.value() {
            DeValue::String(text) if !self.sink.is_confidential() => format!("{text:?}"),
            DeValue::Integer(number) if !self.sink.is_confidential() => format!("the integer {number}"),
            DeValue::Boolean(value) => format!("`{value}`"),
            _ => kind.to_owned(),
        }
    }

    /// The items of an array.
    pub(crate) fn items(&self) -> Option<Vec<Node<'a>>> {
        match self.value() {
            DeValue::Array(items) => Some(items.iter().map(|item| self.item(item)).collect()),
            DeValue::String(text) if !self.sink.is_confidential() => {
                self.mismatch_help(&LIST, format!("write [{text:?}]"))
            }
            _ => self.mismatch(&LIST),
        }
    }

    /// Reads a table; unknown keys are reported when `read` is done. `path` names the table in messages.
    pub(crate) fn table<T>(&self, path: &str, read: impl FnOnce(&Table<'a>) -> T) -> Option<T> {
        match self.value() {
            DeValue::Table(entries) => Some(Table::read(entries, self.span(), path, self.sink, read)),
            _ => self.mismatch(&TABLE),
        }
    }
}

/// A table that is being read.
pub(crate) struct Table<'a> {
    /// Its name in messages, such as `wan.isp`.
    pub(crate) path: String,
    /// Its header.
    pub(crate) span: Span,
    pub(crate) sink: &'a Sink,
    entries: &'a DeTable<'a>,
    known: RefCell<Vec<&'static str>>,
    missing: RefCell<Vec<(&'static str, String)>>,
    hints: RefCell<Vec<(&'static str, &'static str)>>,
}

impl<'a> Table<'a> {
    /// Reads `entries` with `read`, then reports every key that it did not ask for.
    pub(crate) fn read<T>(
        entries: &'a DeTable<'a>,
        span: Span,
        path: &str,
        sink: &'a Sink,
        read: impl FnOnce(&Table<'a>) -> T,
    ) -> T {
        let table = Table {
            path: path.to_owned(),
            span,
            sink,
            entries,
            known: RefCell::default(),
            missing: RefCell::default(),
            hints: RefCell::default(),
        };
        let result = read(&table);
        table.report_keys();
        result
    }

    /// The value of `key`, which is known from now on.
    pub(crate) fn get(&self, key: &'static str) -> Option<Node<'a>> {
        let mut known = self.known.borrow_mut();
        if !known.contains(&key) {
            known.push(key);
        }
        let value = self.entries.get(key)?;
        Some(Node { key, value, sink: self.sink })
    }

    /// True when `key` is written.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Where the value of `key` stands; the table's header when it is not written.
    pub(crate) fn span_of(&self, key: &str) -> Span {
        self.entries.get(key).map_or_else(|| self.span.clone(), Spanned::span)
    }

    /// Reads a key that may be absent.
    pub(crate) fn optional<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(Node<'a>) -> Option<T>,
    ) -> Option<T> {
        read(self.get(key)?)
    }

    /// Reads a key that has a default, which also stands in for a value that is wrong.
    pub(crate) fn or<T>(&self, key: &'static str, default: T, read: impl FnOnce(Node<'a>) -> Option<T>) -> T {
        self.optional(key, read).unwrap_or(default)
    }

    /// Reads a key that must be there; `example` is what to write otherwise.
    pub(crate) fn required<T>(
        &self,
        key: &'static str,
        example: &str,
        read: impl FnOnce(Node<'a>) -> Option<T>,
    ) -> Option<T> {
        match self.get(key) {
            Some(node) => read(node),
            None => self.missing(key, example),
        }
    }

    /// Complains that `key` is missing; not if it turns out to be there with a slip in its spelling.
    pub(crate) fn missing<T>(&self, key: &'static str, example: &str) -> Option<T> {
        self.missing.borrow_mut().push((key, example.to_owned()));
        None
    }

    /// Reads a table under `key` that may be absent.
    pub(crate) fn sub<T>(&self, key: &'static str, read: impl FnOnce(&Table<'a>) -> T) -> Option<T> {
        self.optional(key, |node| node.table(&self.path_of(key), read))
    }

    /// The full name of `key` in messages.
    pub(crate) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Says what to do about a key that people write here though it belongs elsewhere.
    pub(crate) fn hint(&self, key: &'static str, help: &'static str) {
        self.hints.borrow_mut().push((key, help));
    }

    /// The sub-tables of `[key.NAME]`, in the order of the file.
    pub(crate) fn named(&self, key: &'static str) -> Vec<(&'a str, Node<'a>)> {
        let Some(node) = self.get(key) else { return Vec::new() };
        let DeValue::Table(entries) = node.value() else {
            node.mismatch_help::<()>(&TABLES, format!("name it: [{key}.NAME]"));
            return Vec::new();
        };
        let mut entries: Vec<_> = entries.iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        let mut tables = Vec::new();
        for (name, value) in entries {
            let (span, name) = (name.span(), name.get_ref().as_ref());
            if !value.get_ref().is_table() {
                let help = format!("each has a name: [{key}.NAME]");
                self.sink.error(&span, format!("`{key}.{name}`: expected a table"), help);
            } else if !is_name(name) {
                let help = "a name is of up to 32 letters, digits, `-` and `_`";
                self.sink.error(&span, format!("{name:?} cannot be the name of a table"), help);
            } else {
                tables.push((name, Node { key: name, value, sink: self.sink }));
            }
        }
        tables
    }

    /// The tables of `[[key]]`.
    pub(crate) fn each(&self, key: &'static str) -> Vec<Node<'a>> {
        let Some(node) = self.get(key) else { return Vec::new() };
        match node.value() {
            DeValue::Array(items) => items.iter().map(|item| node.item(item)).collect(),
            _ => {
                let full = self.path_of(key);
                node.mismatch_help::<()>(&TABLES_EACH, format!("write [[{full}]]"));
                Vec::new()
            }
        }
    }

    /// Reports the keys that nobody asked for, then those that somebody asked for in vain.
    fn report_keys(&self) {
        let known = self.known.borrow();
        let free: Vec<&str> = known.iter().copied().filter(|k| !self.has(k)).collect();
        let mut misspelt: Vec<&str> = Vec::new();
        for (key, _) in self.entries.iter().filter(|(key, _)| !known.contains(&key.get_ref().as_ref())) {
            let (span, key) = (key.span(), key.get_ref().as_ref());
            let hint = self.hints.borrow().iter().find(|(wrong, _)| *wrong == key).map(|(_, help)| *help);
            let near = suggest::nearest(key, &free).or_else(|| suggest::nearest(key, &known));
            let help = match (hint, near) {
                (Some(help), _) => help.to_owned(),
                (None, Some(near)) => {
                    misspelt.push(near);
                    format!("did you mean `{near}`?")
                }
                (None, None) if free.is_empty() => "no other key is known here; delete it".to_owned(),
                (None, None) => format!("known here: {}", free.join(", ")),
            };
            let place = if self.path.is_empty() { String::new() } else { format!(" in `{}`", self.path) };
            let message = format!("unknown key `{}`{place}", key.escape_debug());
            if suggest::sounds_secret(key) {
                self.sink.concealed(&span, message, help);
            } else {
                self.sink.error(&span, message, help);
            }
        }
        for (key, example) in self.missing.borrow().iter().filter(|(key, _)| !misspelt.contains(key)) {
            let help = format!("add a line such as: {example}");
            self.sink.absence(&self.span, format!("`{}` lacks `{key}`", self.path), help);
        }
    }
}

/// True for what a table or a peer may be called: up to 32 letters, digits, `-` and `_`.
pub fn is_name(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    (1..=32).contains(&text.len()) && text.chars().all(fits)
}
