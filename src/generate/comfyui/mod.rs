//! Pictures and clips from a ComfyUI server.

mod job;
mod outputs;
#[cfg(test)]
mod real;
mod refusal;
mod server;
mod socket;
