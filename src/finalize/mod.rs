//! What is made of a project when no show runs: the files that are kept of it.

pub mod replay;
