//! `vfaq interpolate`: films at another rate.
#![cfg(feature = "gst")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop")]

mod support;

#[test]
fn starts() {}
