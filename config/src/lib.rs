//! The TOML schema.
