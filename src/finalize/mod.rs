//! What is left of a show when it is over: the base master and the deliverable.
//!
//! Holds: the files of a project are only read; what is made is whole or not there.

pub use crate::mp4;
