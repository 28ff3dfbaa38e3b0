//! The show as HTTP sees it.

use std::sync::{Arc, Mutex, MutexGuard};

use arc_swap::ArcSwap;
use crossbeam_channel::Sender;

use super::Command;
use crate::archive;
use crate::archive::journal;
use crate::base::error::Result;
use crate::base::telemetry::{Phase, Status};
use crate::control::Desk;
use crate::media::Frame;
use crate::param::{self, Accepted, ParamId, Values};
use crate::render;
use crate::stream::output::Outputs;

/// JPEG quality of the preview.
const QUALITY: u8 = 80;

pub struct ShowDesk {
    pub status: ArcSwap<Status>,
    params: Mutex<param::Store>,
    preview: Mutex<Preview>,
    commands: Sender<Command>,
    archive: archive::Handle,
    outputs: Arc<Outputs>,
}

struct Preview {
    newest: triple_buffer::Output<Frame>,
    jpeg: Option<Arc<[u8]>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl ShowDesk {
    pub fn new(
        params: param::Store,
        preview: triple_buffer::Output<Frame>,
        commands: Sender<Command>,
        archive: archive::Handle,
        outputs: Arc<Outputs>,
    ) -> Self {
        ShowDesk {
            status: ArcSwap::default(),
            params: Mutex::new(params),
            preview: Mutex::new(Preview { newest: preview, jpeg: None }),
            commands,
            archive,
            outputs,
        }
    }

    /// Present values of all parameters.
    pub fn values(&self) -> Values {
        *lock(&self.params).values()
    }

    pub fn toggle_blackout(&self, source: &str) {
        let on = self.values()[ParamId::Blackout] > 0.5;
        // A bool at its own address is always accepted.
        let _ = self.set_param("/fx/blackout", if on { 0.0 } else { 1.0 }, source);
    }
}

impl Desk for ShowDesk {
    fn status(&self) -> Arc<Status> {
        self.status.load_full()
    }

    fn go(&self) -> Result<bool> {
        let standing_by = self.status.load().phase == Phase::Standby;
        if standing_by {
            // A full queue holds a go already.
            let _ = self.commands.try_send(Command::Go);
        }
        Ok(standing_by)
    }

    fn set_param(&self, address: &str, value: f32, source: &str) -> Result<Accepted> {
        // The journal has the changes in the order of their generations.
        let mut params = lock(&self.params);
        let accepted = params.set(address, value)?;
        self.archive.journal(journal::Event::Param {
            address: accepted.param.address.into(),
            value: f64::from(accepted.value),
            source: source.into(),
            generation: accepted.generation,
        });
        Ok(accepted)
    }

    fn preview_jpeg(&self) -> Option<Arc<[u8]>> {
        let mut preview = lock(&self.preview);
        if preview.newest.update() {
            match render::jpeg(preview.newest.output_buffer(), QUALITY) {
                Ok(jpeg) => preview.jpeg = Some(jpeg.into()),
                Err(error) => tracing::debug!("no preview: {error}"),
            }
        }
        preview.jpeg.clone()
    }

    fn healthy(&self) -> std::result::Result<(), String> {
        let status = self.status.load();
        match status.phase {
            Phase::Draining | Phase::Ended => Err("the show is ending".into()),
            _ if status.first_frame_ms.is_none() => Err("no picture has been sent yet".into()),
            _ if status.fps < status.target_fps / 2.0 => Err(format!(
                "the picture runs at {:.0} of {:.0} fps",
                status.fps, status.target_fps
            )),
            _ => Ok(()),
        }
    }
}
