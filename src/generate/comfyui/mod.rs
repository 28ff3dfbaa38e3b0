//! Pictures and clips from a ComfyUI server: `client` is the generator; `workflow*` know where things
//! go in a graph; `job` has one executed by way of `server` and `socket`.

mod builtin;
mod client;
mod graph;
mod inject;
mod job;
mod object_info;
mod outputs;
mod refusal;
mod samplers;
mod server;
mod socket;
#[cfg(test)]
#[path = "../../../tests/support/comfyui.rs"]
mod testing;
#[cfg(test)]
mod tests;
mod workflow;
mod workflow_find;
mod workflow_input;
mod workflow_report;
#[cfg(test)]
mod workflow_tests;
mod workflow_validate;

pub use builtin::Checkpoints;
pub use client::{Comfyui, Uses};
pub use object_info::ObjectInfo;
pub use workflow::{Role, Workflow, guess_role};
pub use workflow_input::{Input, Values};
pub use workflow_report::Report;
