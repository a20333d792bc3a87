//! Captures: frames shown to whoever asks, as pcapng, without secrets.
