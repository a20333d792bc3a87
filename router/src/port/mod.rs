//! Ports: where frames come from and where they go.
