//! Zero-copy views and builders for wire formats.
