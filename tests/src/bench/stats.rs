//! Medians, spreads and verdicts. Only ratios within a round mean anything, so all is done on those.

use std::fmt::{self, Display};

/// Values of a number of rounds.
#[derive(Debug, Clone, Default)]
pub struct Rounds(pub Vec<f64>);

impl Rounds {
    /// The middle one.
    pub fn median(&self) -> f64 {
        let mut values = self.0.clone();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// The lowest and the highest.
    pub fn spread(&self) -> (f64, f64) {
        self.0.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(*value), high.max(*value))
        })
    }

    /// Round by round, these to those.
    pub fn to(&self, those: &Rounds) -> Rounds {
        Rounds(self.0.iter().zip(&those.0).map(|(this, that)| this / that).collect())
    }
}

/// The median, and the spread in parentheses.
impl Display for Rounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("–");
        }
        let (low, high) = self.spread();
        write!(f, "{:.2} ({low:.2}–{high:.2})", self.median())
    }
}

/// What a measurement should be.
#[derive(Debug, Clone, Copy)]
pub enum Goal {
    /// As much as this, or more.
    AtLeast(f64),
    /// As much as this, or less.
    AtMost(f64),
}

impl Goal {
    /// Whether it is met. `control` has what measured the same thing twice: what is nearer to the goal than that was to 1, is
    /// not decided.
    pub fn verdict(self, measured: f64, control: Option<&Rounds>) -> &'static str {
        let doubt = control.map_or(0.0, |control| {
            let (low, high) = control.spread();
            (1.0 - low).max(high - 1.0).max(0.0)
        });
        let (margin, goal) = match self {
            Goal::AtLeast(goal) => (measured - goal, goal),
            Goal::AtMost(goal) => (goal - measured, goal),
        };
        if !measured.is_finite() {
            "not measured"
        } else if margin.abs() < doubt * goal {
            "within the control's spread"
        } else if margin >= 0.0 {
            "met"
        } else {
            "**missed**"
        }
    }
}

impl Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rounded = |goal: f64| (goal * 100.0).round() / 100.0;
        match *self {
            Goal::AtLeast(goal) => write!(f, "≥ {}", rounded(goal)),
            Goal::AtMost(goal) => write!(f, "≤ {}", rounded(goal)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_claimed_inside_the_spread_of_the_control() {
        let control = Rounds(vec![0.95, 1.0, 1.1]);
        assert_eq!(Goal::AtLeast(3.0).verdict(3.4, Some(&control)), "met");
        assert_eq!(Goal::AtLeast(3.0).verdict(3.2, Some(&control)), "within the control's spread");
        assert_eq!(Goal::AtLeast(3.0).verdict(2.8, Some(&control)), "within the control's spread");
        assert_eq!(Goal::AtLeast(3.0).verdict(2.6, Some(&control)), "**missed**");
        assert_eq!(Goal::AtMost(2.0).verdict(1.7, Some(&control)), "met");
        assert_eq!(Goal::AtMost(2.0).verdict(f64::NAN, Some(&control)), "not measured");
        assert_eq!(Goal::AtMost(0.0).verdict(0.0, None), "met");
        assert_eq!(Goal::AtMost(0.0).verdict(1.0, None), "**missed**");
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        let ratios = Rounds(vec![2.0, 6.0, 12.0]).to(&Rounds(vec![1.0, 2.0, 3.0]));
        assert_eq!(ratios.0, [2.0, 3.0, 4.0]);
        assert_eq!(ratios.to_string(), "3.00 (2.00–4.00)");
    }
}
