//! What is wrong with a line, or with a connection, in words.
//!
//! How it works. Nothing is asked of a machine that it does not show already:
//!
//! 1. `memory` stands at the door between Control and the Forwarder, and keeps of each uplink the last thing that was
//!    said in each part of its life and the last thing that was heard. `words` reads the packets for it; passwords,
//!    responses and keys are never among the words. It hears Control's facts, too.
//! 2. `wan` walks the line in order, from the port to the DNS server. The first step that fails is a `Symptom`.
//! 3. [`symptom`] is the one table of what a symptom means, what usually causes it, and what to try.
//! 4. [`flow`] tells what becomes of a connection, by the tables that decide it. Nothing is changed by asking.
//! 5. `vpn` tells why a peer of a VPN does not answer.
//!
//! All of it is bounded: a few strings for each uplink.

pub mod flow;
pub(crate) mod memory;
pub mod symptom;
#[cfg(test)]
#[cfg(feature = "sim")]
mod tests;
pub(crate) mod vpn;
pub(crate) mod wan;
mod words;

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::Serialize;

pub use flow::FlowDiagnosis;
pub use symptom::Symptom;

use crate::secret::Secret;
use crate::time::Duration;

/// What is wrong with an uplink or a VPN's peer, or that nothing is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnosis {
    /// What it is about: `wan isp`, `vpn sites, peer office`.
    pub subject: String,
    /// All in one sentence, without a full stop.
    pub sentence: String,
    /// It carries traffic, and nothing is worth a word.
    pub healthy: bool,
    /// Seconds for which it has been in this state.
    pub since_s: u64,
    /// The line from its beginning, in order.
    pub steps: Vec<Step>,
}

impl Diagnosis {
    /// Blanks a secret wherever the other side has repeated it.
    pub(crate) fn blank(&mut self, secret: &Secret) {
        let steps = self.steps.iter_mut().flat_map(|step| [&mut step.result, &mut step.sent, &mut step.came]);
        for text in steps.flatten().chain([&mut self.sentence]) {
            *text = secret.blanked(core::mem::take(text));
        }
    }

    /// The first step that fails.
    pub fn failed(&self) -> Option<&Step> {
        self.steps.iter().find(|step| step.state == StepState::Failed)
    }
}

/// One step of a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Its name: `discovery`, `LCP` …
    pub name: &'static str,
    /// How it stands.
    pub state: StepState,
    /// What it has brought, when it is done: an address, a prefix.
    pub result: Option<String>,
    /// What we have said last, how often, and when.
    pub sent: Option<String>,
    /// What has come back last, in words, and when.
    pub came: Option<String>,
    /// What that means; also of a step that is done and leaves something to be wished for.
    pub meaning: Option<String>,
    /// The two likeliest causes.
    pub causes: Vec<String>,
    /// What to try.
    pub advice: Vec<String>,
}

/// How a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepState {
    /// It has succeeded.
    Done,
    /// It does not succeed.
    Failed,
    /// It is under way, or cannot begin yet.
    Waiting,
    /// This line does without it.
    NotNeeded,
}

impl Step {
    /// A step of which nothing is known yet.
    pub(crate) fn new(name: &'static str, state: StepState) -> Self {
        let (result, sent, came, meaning) = (None, None, None, None);
        Step { name, state, result, sent, came, meaning, causes: Vec::new(), advice: Vec::new() }
    }

    /// What the table says of `symptom`.
    pub(crate) fn explained(mut self, symptom: Symptom) -> Self {
        let known = symptom.knowledge();
        self.meaning = Some(known.meaning.into());
        self.causes = known.causes.iter().map(|&cause| cause.into()).collect();
        self.advice = known.advice.iter().map(|&advice| advice.into()).collect();
        self
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}.", self.sentence)?;
        for step in &self.steps {
            step.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.state {
            StepState::Done => "ok",
            StepState::Failed => "FAILED",
            StepState::Waiting => "waiting",
            StepState::NotNeeded => "not needed",
        };
        write!(f, "  {:<21} {mark}", self.name)?;
        match &self.result {
            Some(result) => writeln!(f, ": {result}")?,
            None => writeln!(f)?,
        }
        if self.state == StepState::Failed || self.meaning.is_some() {
            let mut line = |label: &str, text: &str| writeln!(f, "      {label:<12}{text}");
            line("sent", self.sent.as_deref().unwrap_or("nothing"))?;
            line("came back", self.came.as_deref().unwrap_or("nothing"))?;
            teach(line, self.meaning.as_deref(), &self.causes, &self.advice)?;
        }
        Ok(())
    }
}

/// What a symptom means, its causes and what to try, a `line` with a label each.
fn teach(
    mut line: impl FnMut(&str, &str) -> fmt::Result,
    meaning: Option<&str>,
    causes: &[String],
    advice: &[String],
) -> fmt::Result {
    if let Some(meaning) = meaning {
        line("means", meaning)?;
    }
    for (index, cause) in causes.iter().enumerate() {
        line(if index == 0 { "likely" } else { "or" }, cause)?;
    }
    for (index, advice) in advice.iter().enumerate() {
        line(if index == 0 { "try" } else { "" }, advice)?;
    }
    Ok(())
}

/// A span of time in words: `3 s`, `5 min`, `2 h`, `4 days`.
pub(crate) struct Span(pub Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs() {
            secs @ 0..120 => write!(f, "{secs} s"),
            secs @ 120..7200 => write!(f, "{} min", secs / 60),
            secs @ 7200..172_800 => write!(f, "{} h", secs / 3600),
            secs => write!(f, "{} days", secs / 86_400),
        }
    }
}
