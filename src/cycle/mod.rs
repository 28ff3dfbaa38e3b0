//! One cycle, from the performer's brief to an archived clip: the InstruQtor writes the prompt,
//! the ConstruQtor has image and video made, the InspeQtor shapes the archived video and suggests
//! the next small change. [`make`] and [`finish`] lead a cycle through all of it.
//!
//! Holds: what happens to a cycle stands in its briq, saved at each stage. A cycle grows out of a
//! frame of the *raw* clip before; a loop is only a way to keep one.

mod briq;
pub mod construqtor;
mod guidance;
pub mod inspeqtor;
pub mod instruqtor;
mod run;

pub use briq::{Briq, BriqStatus, Spec, SteeredBy};
pub use guidance::{Course, Guidance, Wishes, faders};
pub use run::{
    Key, Made, OnStage, Order, Previous, Settings, Stage, Workshop, acknowledge, finish, give_up,
    give_up_key, make, make_between, make_key, resume_made, run_cycle,
};

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
pub(crate) mod tests;
