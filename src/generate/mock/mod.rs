//! The built-in generator.
pub mod colour;
pub mod flow;
pub mod light;
pub mod noise;
pub mod paint;
pub mod strands;
pub mod style;
pub mod words;
