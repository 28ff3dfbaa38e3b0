//! The built-in generator.
