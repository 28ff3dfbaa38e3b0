//! What every room stands on: time, clocks, errors, durations of human hands, telemetry.
//! Imports no sibling.

pub mod clock;
pub mod effort;
pub mod error;
pub mod fsio;
pub mod redact;
pub mod summary;
pub mod telemetry;
pub mod time;
