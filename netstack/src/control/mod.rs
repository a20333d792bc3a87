//! Owns the machines: routes punts to them, turns their events into updates.
