//! Pictures of a source at other times than its own.

mod passages;

pub use passages::{MAX_REPEATS, Passage, Passages, is_repeat, passages};
