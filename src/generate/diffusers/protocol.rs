//! What vfaq and the Python worker say to each other: one JSON object a line.
//!
//! Holds: pictures never travel in a line, only the names of files in the folder of the job. The
//! other end is `scripts/diffusers_worker.py`; whoever changes one of them so that an old other end
//! would misunderstand it raises [`VERSION`] in both.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub const VERSION: u32 = 1;

/// From vfaq to the worker.
#[derive(Serialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Command<'a> {
    Job(&'a Job),
    Cancel { id: u64 },
}

/// A picture or clip to be made.
#[derive(Serialize)]
pub struct Job {
    pub id: u64,
    /// Where its files go.
    pub folder: PathBuf,
    /// An id on the Hugging Face hub, or a folder.
    pub model: String,
    pub prompt: String,
    pub negative_prompt: String,
    pub seed: i64,
    pub width: u32,
    pub height: u32,
    pub steps: u32,
    pub cfg_scale: f64,
    /// The name of the file in `folder` that it grows from.
    pub first: Option<&'static str>,
    #[serde(flatten)]
    pub kind: JobKind,
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum JobKind {
    Image { sampler: String, strength: f64, loras: Vec<Adapter> },
    Video { frames: u32, fps: f64, motion_bucket_id: u32, noise_aug_strength: f64 },
}

#[derive(Clone, Serialize)]
pub struct Adapter {
    pub name: String,
    pub strength: f64,
}

/// From the worker to vfaq.
#[derive(Debug, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    Hello(Hello),
    Progress {
        id: u64,
        what: String,
        done: Option<f32>,
    },
    /// The job is cancelled as soon as the model is loaded, which the next job needs anyway.
    Loading {
        id: u64,
    },
    Done {
        id: u64,
        /// In the order in which they are shown.
        files: Vec<String>,
        #[serde(default)]
        notes: Vec<String>,
    },
    Failed(Failure),
}

/// The first line of a worker.
#[derive(Clone, Debug, Deserialize)]
pub struct Hello {
    pub protocol: u32,
    pub python: String,
    pub diffusers: String,
    pub torch: String,
    pub device: String,
    #[serde(default)]
    pub notes: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Failure {
    /// `None`: it is the worker that cannot go on, not a job.
    pub id: Option<u64>,
    pub kind: FailureKind,
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    Cancelled,
    /// Out of GPU or main memory.
    Memory,
    /// A model is not there, is not to be had, or is of the wrong sort.
    Model,
    /// The network is needed and does not answer.
    Network,
    /// A Python package is missing or broken.
    Package,
    /// A setting makes no sense.
    Setting,
    #[serde(other)]
    Other,
}
