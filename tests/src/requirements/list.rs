//! The list itself: its format, and the ids in a text.

use std::collections::BTreeMap;

/// The requirements list.
#[derive(Debug)]
pub struct List {
    /// In the order of the file.
    pub sections: Vec<Section>,
    /// The name of each line under its words.
    names: BTreeMap<Vec<String>, String>,
}

/// The requirements of one document, or of a few that belong together.
#[derive(Debug)]
pub struct Section {
    /// As the list has it: "NAT — RFC 4787 (UDP)".
    pub title: String,
    /// In the order of the file.
    pub lines: Vec<Line>,
}

/// One requirement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Document and id: "RFC 7084 WPD-5".
    pub name: String,
    /// What a test observes.
    pub text: String,
}

/// What a text cites.
#[derive(Debug, Default)]
pub(super) struct Cited {
    /// Names of lines of the list.
    pub(super) lines: Vec<String>,
    /// Ids in the form of the document's, which the list does not have.
    pub(super) unknown: Vec<String>,
}

impl List {
    /// Reads the list. `labels` are the names of lines without a number, each with the words that the line begins with.
    pub fn parse(text: &str, labels: &[(&str, &str)]) -> Result<List, String> {
        let mut list = List { sections: Vec::new(), names: BTreeMap::new() };
        let mut used = vec![false; labels.len()];
        for (title, blocks) in sections(text) {
            let document = document(&title).ok_or(format!("the section \"{title}\" names no document"))?;
            let mut lines = Vec::new();
            for block in blocks {
                let mut word = if document == "RFC 6092" { "REC" } else { "REQ" }.to_string();
                for piece in block.split(" · ").map(|piece| piece.trim().trim_end_matches(" ·")) {
                    if let Some(at) = labels.iter().position(|(_, start)| piece.starts_with(start)) {
                        used[at] = true;
                        lines.push(Line { name: labels[at].0.into(), text: piece.into() });
                        // Several lines may begin alike: "REN, REB 10 s" is two.
                        for (other, (name, start)) in labels.iter().enumerate().skip(at + 1) {
                            if *start == labels[at].1 {
                                used[other] = true;
                                lines.push(Line { name: (*name).into(), text: piece.into() });
                            }
                        }
                        continue;
                    }
                    let (ids, text) = numbers(piece, &mut word);
                    if ids.is_empty() {
                        return Err(format!("\"{piece}\" in \"{title}\" has neither an id nor a label"));
                    }
                    lines.extend(
                        ids.into_iter()
                            .map(|id| Line { name: format!("{document} {id}"), text: text.into() }),
                    );
                }
            }
            list.sections.push(Section { title, lines });
        }
        if let Some(at) = used.iter().position(|used| !used) {
            return Err(format!(
                "nothing in the list begins with \"{}\", as {} does",
                labels[at].1, labels[at].0
            ));
        }
        for line in list.sections.iter().flat_map(|section| &section.lines) {
            if list.names.insert(words(&line.name), line.name.clone()).is_some() {
                return Err(format!("the list has {} twice", line.name));
            }
        }
        Ok(list)
    }

    /// The lines that a text names.
    pub(super) fn cited(&self, text: &str) -> Cited {
        let mut cited = Cited::default();
        let words = words(text);
        let mut rest = &words[..];
        while let Some((document, after)) = rest.split_first() {
            rest = after;
            if !self.names.keys().any(|name| name.first() == Some(document)) {
                continue;
            }
            loop {
                let and = usize::from(rest.first().is_some_and(|word| word == "and"));
                let Some(taken) = self.take(document, &rest[and..], &mut cited) else { break };
                rest = &rest[and + taken..];
            }
        }
        cited
    }

    /// Takes the longest id of `document` that `words` begin with; returns how many words it has.
    fn take(&self, document: &String, words: &[String], cited: &mut Cited) -> Option<usize> {
        let of_document = || self.names.iter().filter(|(name, _)| name.first() == Some(document));
        let found = of_document()
            .filter(|(name, _)| {
                let id = &name[1..];
                id.len() <= words.len() && id.iter().zip(words).all(|(id, word)| id == whole(word))
            })
            .max_by_key(|(name, _)| name.len());
        if let Some((name, line)) = found {
            cited.lines.push(line.clone());
            return Some(name.len() - 1);
        }
        // In the form of a number of this document, but none of its numbers.
        let [word, number, ..] = words else { return None };
        let alike = |name: &[String]| {
            name.get(1) == Some(word) && name.get(2).is_some_and(|number| number.parse::<u32>().is_ok())
        };
        if number.parse::<u32>().is_ok() && of_document().any(|(name, _)| alike(name)) {
            let document = document.to_uppercase().replacen("RFC", "RFC ", 1);
            cited.unknown.push(format!("{document} {}-{number}", word.to_uppercase()));
            return Some(2);
        }
        None
    }
}

/// Titles of sections and their blocks: each bullet or paragraph on one line.
fn sections(text: &str) -> Vec<(String, Vec<String>)> {
    let mut sections: Vec<(String, Vec<String>)> = Vec::new();
    let mut begin = true;
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            sections.push((title.trim().into(), Vec::new()));
            begin = true;
            continue;
        }
        let Some((_, blocks)) = sections.last_mut() else { continue };
        if line.trim().is_empty() {
            begin = true;
            continue;
        }
        let bullet = line.strip_prefix("- ");
        match blocks.last_mut() {
            Some(block) if bullet.is_none() && !begin => {
                block.push(' ');
                block.push_str(line.trim());
            }
            _ => blocks.push(bullet.unwrap_or(line).trim().into()),
        }
        begin = false;
    }
    sections
}

/// The first document that a title names: "RFC 4787".
fn document(title: &str) -> Option<String> {
    let at = title.find("RFC ").or_else(|| title.find("TR-"))?;
    let rest = &title[at..];
    let end = rest
        .char_indices()
        .skip(4)
        .find(|(_, letter)| !letter.is_ascii_digit())
        .map_or(rest.len(), |(at, _)| at);
    Some(rest[..end].into())
}

/// The ids that a piece begins with, and the rest of it. `word` is that of the piece before.
fn numbers<'a>(piece: &'a str, word: &mut String) -> (Vec<String>, &'a str) {
    let (mut ids, mut rest) = (Vec::new(), piece);
    while let Some((first, after)) = rest.split_once(' ') {
        let (id, more) = first.strip_suffix(',').map_or((first, false), |id| (id, true));
        let (own, number) = id.rsplit_once('-').map_or((None, id), |(own, number)| (Some(own), number));
        let own_is_word = own.is_none_or(|own| own.starts_with(|letter: char| letter.is_ascii_uppercase()));
        let parts: Vec<_> = number.split('.').collect();
        if !own_is_word || parts.len() > 2 || !parts.iter().all(|part| part.parse::<u32>().is_ok()) {
            break;
        }
        if let Some(own) = own {
            *word = own.into();
        }
        ids.push(format!("{word}-{number}"));
        rest = after;
        if !more {
            break;
        }
    }
    (ids, rest)
}

/// A text's words in small letters, a document's name one of them: "rfc4787", "req", "1".
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in text.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty()) {
        let word = word.to_ascii_lowercase();
        match words.last_mut() {
            Some(last) if (last == "rfc" || last == "tr") && word.parse::<u32>().is_ok() => {
                last.push_str(&word)
            }
            _ => words.push(word),
        }
    }
    words
}

/// A number without the letter that names a part of it.
fn whole(word: &str) -> &str {
    let number = word.trim_end_matches(|letter: char| letter.is_ascii_lowercase());
    if !number.is_empty() && word.len() - number.len() == 1 && number.parse::<u32>().is_ok() {
        number
    } else {
        word
    }
}
