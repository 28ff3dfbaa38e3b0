//! Replicate, played by a server of our own.
