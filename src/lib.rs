//! Visual FaQtory Live: AI visuals that never stop. Slow generators work ahead of the picture,
//! clip after clip, each growing out of the one before; sixty times a second the picture is
//! rendered from what is ready, steered, encoded once and sent everywhere.
//!
//! `docs/DESIGN.md` shows the rooms and the way data flows; `tests/rooms.rs` checks that no room
//! imports what it must not.

#[cfg(feature = "gst")]
pub mod app;
pub mod archive;
pub mod audio;
pub mod base;
pub mod cli;
pub mod config;
pub mod control;
pub mod cycle;
pub mod finalize;
pub mod generate;
pub mod llm;
pub mod media;
pub mod mp4;
pub mod music;
pub mod param;
pub mod playout;
pub mod prepare;
pub mod render;
pub mod ring;
pub mod show;
pub mod steer;
#[cfg(feature = "gst")]
pub mod stream;
pub mod web;
#[cfg(feature = "gst")]
pub mod window;
pub mod worqspace;
