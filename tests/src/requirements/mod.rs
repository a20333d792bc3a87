//! Which lines of the requirements list have a test.
//!
//! The list is a Markdown file. A section is a document, the first one that its title names (`## NAT — RFC 4787 (UDP)`);
//! its bullets and paragraphs are pieces, split at ` · `. A piece is one or several lines of the list:
//!
//! - It is numbered when it begins with an id or several: `WPD-5 null route`, `21, 22, 24 AH, ESP`. A number without a
//!   word takes the word of the piece before it (`WAA-1 SLAAC · 2 L flag`), and where there is none `REQ`, for RFC 6092
//!   `REC`.
//! - All others have a label in [`LABELS`], which says with which words they begin. A piece that has neither id nor
//!   label is an error, and so is a label without its piece.
//!
//! A test cites a line in its name or in its doc comment, by document and id: `rfc7084_wpd_5_…` or `RFC 7084 WPD-5`,
//! `rfc4787_req_1_…` or `RFC 4787 REQ-1`, `RFC 6092 REC-14`, `RFC 2516 PADI`, `RFC 8415 SOL`. A document holds for the ids
//! that follow it at once or after "and": `RFC 7084 WPD-5, WPD-6 and L-14` cites three lines. Case and punctuation do not
//! matter, and a letter after a number names a part of the same line (`REQ-5a`). Only what has `#[test]` is a test;
//! comments elsewhere cite nothing.
//!
//! What is left out on purpose says so in a comment of the code that would do it: `// Left out: RFC 7084 WPD-7: the reason`.

mod labels;
mod list;
mod source;

use std::fmt;
use std::path::Path;

pub use labels::LABELS;
pub use list::{Line, List, Section};

/// The list, and what the code has of it.
#[derive(Debug, Default)]
pub struct Report {
    sections: Vec<(String, Vec<Finding>)>,
    unknown: Vec<String>,
}

#[derive(Debug)]
struct Finding {
    line: Line,
    tests: usize,
    left_out: Option<String>,
}

impl Report {
    /// Looks for the lines of `list` in every Rust file under `folders`.
    pub fn new(list: List, folders: &[&Path]) -> Result<Report, String> {
        let mut sources = Vec::new();
        for folder in folders {
            source::read(folder, &mut sources)?;
        }
        Ok(Report::of(list, &sources))
    }

    fn of(list: List, sources: &[String]) -> Report {
        let mut report = Report::default();
        for section in &list.sections {
            let findings =
                section.lines.iter().map(|line| Finding { line: line.clone(), tests: 0, left_out: None });
            report.sections.push((section.title.clone(), findings.collect()));
        }
        for source in sources {
            for test in source::tests(source) {
                // A test that cites a line in its name and in its comment is one test.
                let mut cited = list.cited(&test.text);
                cited.lines.sort_unstable();
                cited.lines.dedup();
                for name in cited.lines {
                    if let Some(finding) = report.find(&name) {
                        finding.tests += 1;
                    }
                }
                report.unknown.extend(cited.unknown.into_iter().map(|id| format!("{id}, by {}", test.name)));
            }
            for comment in source::left_out(source) {
                let cited = list.cited(comment.what);
                for name in &cited.lines {
                    if let Some(finding) = report.find(name) {
                        finding.left_out = Some(comment.why.to_string());
                    }
                }
                if cited.lines.is_empty() {
                    report.unknown.push(format!("{}, left out", comment.what));
                }
            }
        }
        report.unknown.sort();
        report.unknown.dedup();
        report
    }

    fn find(&mut self, name: &str) -> Option<&mut Finding> {
        self.sections.iter_mut().flat_map(|(_, findings)| findings).find(|finding| finding.line.name == name)
    }
}

/// A line for each section with its count, and under it the lines of the list that have no test.
impl fmt::Display for Report {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut all, mut shown, mut without) = (0, 0, 0);
        for (title, findings) in &self.sections {
            let tested = findings.iter().filter(|finding| finding.tests > 0).count();
            writeln!(to, "{tested:3} of {:3}  {title}", findings.len())?;
            for Finding { line, tests, left_out } in findings {
                match (tests, left_out) {
                    (0, Some(why)) => writeln!(to, "            left out: {}: {why}", line.name)?,
                    (0, None) => {
                        without += 1;
                        writeln!(to, "            no test:  {}: {}", line.name, line.text)?;
                    }
                    _ => {}
                }
            }
            all += findings.len();
            shown += tested;
        }
        writeln!(
            to,
            "\n{shown} of {all} lines have a test, {} are left out on purpose, {without} have none.",
            all - shown - without
        )?;
        for unknown in &self.unknown {
            writeln!(to, "not in the list: {unknown}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "# A list\n\nText before the first section is no requirement.\n\n\
        ## PPPoE — RFC 2516\n- PADI: broadcast,\n  in two lines\n\n\
        ## NAT — RFC 4787 (UDP)\n1 mapping · 2, 3 pooling ·\n14 fragments\n\n\
        ## Router — RFC 7084\n- WPD-5 null route · 7 no routing protocol\n- L-14 stale\n";
    const LABELS: &[(&str, &str)] = &[("RFC 2516 PADI", "PADI: broadcast")];

    fn list() -> List {
        List::parse(LIST, LABELS).unwrap()
    }

    fn report(source: &str) -> String {
        Report::of(list(), &[source.to_string()]).to_string()
    }

    #[test]
    fn every_form_of_a_line_is_read() {
        let names: Vec<_> =
            list().sections.into_iter().flat_map(|section| section.lines).map(|line| line.name).collect();
        assert_eq!(
            names,
            [
                "RFC 2516 PADI",
                "RFC 4787 REQ-1",
                "RFC 4787 REQ-2",
                "RFC 4787 REQ-3",
                "RFC 4787 REQ-14",
                "RFC 7084 WPD-5",
                "RFC 7084 WPD-7",
                "RFC 7084 L-14"
            ]
        );
    }

    #[test]
    fn a_piece_without_a_label_and_a_label_without_a_piece_are_errors() {
        let error = List::parse(LIST, &[]).unwrap_err();
        assert!(error.contains("PADI: broadcast, in two lines"), "{error}");
        let error = List::parse(LIST, &[LABELS[0], ("RFC 2516 PADO", "PADO: AC-Name")]).unwrap_err();
        assert!(error.contains("RFC 2516 PADO"), "{error}");
    }

    #[test]
    fn names_and_doc_comments_of_tests_cite() {
        let report = report(
            "/// RFC 7084 WPD-5, L-14.\n#[test]\nfn it_works() {}\n\
             #[test]\n#[ignore]\npub fn rfc4787_req_2_and_req_3_pooling() {}\n\
             #[test]\nfn rfc2516_padi_is_broadcast() {}\n    /// RFC 4787 REQ-14a.\n    #[test]\n    fn parts() {}\n",
        );
        assert!(report.contains("1 of   1  PPPoE — RFC 2516"), "{report}");
        assert!(report.contains("3 of   4  NAT — RFC 4787 (UDP)"), "{report}");
        assert!(report.contains("no test:  RFC 4787 REQ-1: mapping"), "{report}");
        assert!(report.contains("2 of   3  Router — RFC 7084"), "{report}");
        assert!(
            report.contains("6 of 8 lines have a test, 0 are left out on purpose, 2 have none."),
            "{report}"
        );
    }

    #[test]
    fn what_is_no_test_cites_nothing() {
        let report = report(
            "/// RFC 7084 WPD-5.\nfn helper() {}\n//! RFC 7084 L-14.\n// RFC 4787 REQ-1\n#[test]\nfn it() {}\n",
        );
        assert!(report.contains("0 of 8 lines have a test"), "{report}");
    }

    #[test]
    fn what_is_left_out_says_why() {
        let report = report("// Left out: RFC 7084 WPD-7: none is spoken.\n");
        assert!(report.contains("left out: RFC 7084 WPD-7: none is spoken."), "{report}");
        assert!(report.contains("1 are left out on purpose, 7 have none."), "{report}");
    }

    #[test]
    fn an_id_that_the_list_does_not_have_is_told() {
        let report = report("#[test]\nfn rfc4787_req_15_typo() {}\n// Left out: RFC 7084 WPD-77: typo.\n");
        assert!(report.contains("not in the list: RFC 4787 REQ-15, by rfc4787_req_15_typo"), "{report}");
        assert!(report.contains("not in the list: RFC 7084 WPD-77, left out"), "{report}");
    }
}
