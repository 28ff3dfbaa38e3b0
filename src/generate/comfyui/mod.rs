//! Pictures and clips from a ComfyUI server.

mod builtin;
mod graph;
mod inject;
mod object_info;
mod samplers;
mod workflow;
mod workflow_find;
mod workflow_input;
mod workflow_report;
#[cfg(test)]
mod workflow_tests;
mod workflow_validate;

pub use builtin::Checkpoints;
pub use object_info::ObjectInfo;
pub use workflow::{Role, Workflow, guess_role};
pub use workflow_input::{Input, Values};
pub use workflow_report::Report;
