//! NDI: raw pictures and sound to whoever on the network asks for them by name.
//!
//! NDI's runtime library is proprietary: it is loaded where the user has installed it, and never
//! comes with this program. Holds: this thread never waits for NDI; pictures that find no room
//! are left out, and counted.

use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::kind::{Ending, Kind, Life, Next};
use super::open_source;
use crate::base::error::{Error, Result};
use crate::base::time::FrameRate;
use crate::render::overlay::View;
use crate::stream::priority::{self, Importance};
use crate::stream::raw::{self, RawUnit};
use crate::stream::{make, take_down};

/// Pictures that may wait for this thread; further ones are left out and counted.
const FEED_PICTURES: usize = 4;
/// Pictures inside the pipeline; the combiner holds them back until their sound is complete, which
/// comes a few frames later than they do.
const MOST_INSIDE: u64 = 12;
/// Longer than this nothing stands still that works.
const STILL_LIMIT: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_millis(100);

#[cfg(target_os = "linux")]
const LIBRARY: &str = "libndi.so.6";
#[cfg(target_os = "macos")]
const LIBRARY: &str = "libndi.dylib";
#[cfg(windows)]
const LIBRARY: &str = "Processing.NDI.Lib.x64.dll";
#[cfg(not(any(target_os = "linux", target_os = "macos", windows)))]
const LIBRARY: &str = "libndi.so";

pub struct Ndi {
    /// What receivers see behind the name of this machine.
    pub name: String,
    pub canvas: (u32, u32),
    pub fps: FrameRate,
}

impl Ndi {
    /// `Ok`: as was asked for.
    fn run(&self, life: &mut Life<'_>) -> Result<(), Ending> {
        let connection = Connection::build(&self.name, self.canvas, self.fps)
            .map_err(|e| Ending::Unavailable(e.to_string()))?;
        connection.start().map_err(|refusal| self.why(refusal))?;
        let units = life.raw(FEED_PICTURES, true, View::Stream);
        let (mut began, mut moved_at, mut missed) = (false, life.clock.now(), 0);
        loop {
            let next = life.next(&units, PATIENCE);
            if let Some(refusal) = connection.failure() {
                return Err(Ending::Lost(refusal.said));
            }
            let missed_before = std::mem::replace(&mut missed, life.raw_missed());
            life.info.dropped_frames.add(missed - missed_before);
            match next {
                Next::Got(RawUnit::Picture(picture)) => {
                    if connection.inside() < MOST_INSIDE {
                        moved_at = life.clock.now();
                        connection.picture(&picture.buffer);
                        life.info.frames.add(1);
                        life.info.bytes.add(picture.buffer.size() as u64);
                        if !std::mem::replace(&mut began, true) {
                            life.is_live(None);
                        }
                    } else {
                        life.info.dropped_frames.add(1);
                        if life.clock.now() > moved_at + STILL_LIMIT {
                            let seconds = STILL_LIMIT.as_secs();
                            let said = format!("NDI has taken no picture for {seconds} s");
                            return Err(Ending::Lost(said));
                        }
                    }
                }
                Next::Got(RawUnit::Sound { buffer, .. }) => connection.sound(&buffer),
                Next::Nothing => {}
                Next::End => return Ok(()),
            }
        }
    }

    fn why(&self, refusal: Refusal) -> Ending {
        match refusal.kind {
            RefusalKind::NoRuntime => Ending::Unavailable(no_runtime()),
            RefusalKind::NoSource => Ending::Failed(format!(
                "NDI gives no source called '{}': most likely another program on this machine has \
                 one of that name; end that one and retry, or choose another name",
                self.name
            )),
            RefusalKind::Other => Ending::Failed(refusal.said),
        }
    }
}

impl Kind for Ndi {
    fn live(&mut self, life: &mut Life<'_>) -> Ending {
        self.run(life).err().unwrap_or(Ending::Finished)
    }
}

/// What to install, and where it was looked for.
fn no_runtime() -> String {
    let folder = match std::env::var_os("NDI_RUNTIME_DIR_V6") {
        Some(folder) => format!("is {}", folder.to_string_lossy()),
        None => "is not set".into(),
    };
    format!(
        "the NDI runtime is not installed: no {LIBRARY} in the folder NDI_RUNTIME_DIR_V6 (which \
         {folder}), in LD_LIBRARY_PATH and among the system's libraries; get it from \
         https://ndi.video, then start vfaq again"
    )
}

#[derive(Debug)]
enum RefusalKind {
    NoRuntime,
    NoSource,
    Other,
}

/// What an element said.
#[derive(Debug)]
struct Refusal {
    kind: RefusalKind,
    said: String,
}

/// One small pipeline: `appsrc, appsrc ! ndisinkcombiner ! ndisink`.
struct Connection {
    pipeline: gst::Pipeline,
    video: gst_app::AppSrc,
    audio: gst_app::AppSrc,
}

impl Connection {
    fn build(name: &str, canvas: (u32, u32), fps: FrameRate) -> Result<Self> {
        // Again is harmless.
        gstndi::plugin_register_static().map_err(Error::fault)?;
        let pipeline = gst::Pipeline::new();
        priority::set_for(&pipeline, Importance::Picture);
        let video = open_source(&raw::video_caps(canvas, fps)?);
        let audio = open_source(&raw::audio_caps());
        let combiner = make("ndisinkcombiner")?;
        let sink = make("ndisink")?;
        sink.set_property("ndi-name", name);
        sink.set_property("sync", false);
        sink.set_property("async", false);
        let elements = [video.upcast_ref(), audio.upcast_ref(), &combiner, &sink];
        pipeline.add_many(elements).map_err(Error::fault)?;
        video.link_pads(Some("src"), &combiner, Some("video")).map_err(Error::fault)?;
        audio.link_pads(Some("src"), &combiner, Some("audio")).map_err(Error::fault)?;
        combiner.link(&sink).map_err(Error::fault)?;
        Ok(Connection { pipeline, video, audio })
    }

    fn start(&self) -> Result<(), Refusal> {
        match self.pipeline.set_state(gst::State::Playing) {
            Ok(_) => Ok(()),
            Err(e) => Err(self.failure().unwrap_or_else(|| {
                let said = e.to_string();
                Refusal { kind: RefusalKind::Other, said }
            })),
        }
    }

    /// What went wrong since the last call.
    fn failure(&self) -> Option<Refusal> {
        let message = self.pipeline.bus()?.pop_filtered(&[gst::MessageType::Error])?;
        let gst::MessageView::Error(error) = message.view() else { return None };
        tracing::debug!("NDI: {} ({:?})", error.error(), error.debug());
        let error = error.error();
        let kind = if error.is::<gst::LibraryError>() {
            RefusalKind::NoRuntime
        } else if error.kind::<gst::ResourceError>() == Some(gst::ResourceError::OpenWrite) {
            RefusalKind::NoSource
        } else {
            RefusalKind::Other
        };
        Some(Refusal { kind, said: error.to_string() })
    }

    fn inside(&self) -> u64 {
        self.video.current_level_buffers()
    }

    fn picture(&self, buffer: &gst::Buffer) {
        // An error here stands on the bus as well.
        let _ = self.video.push_buffer(buffer.clone());
    }

    fn sound(&self, buffer: &gst::Buffer) {
        let _ = self.audio.push_buffer(buffer.clone());
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        take_down(&self.pipeline);
    }
}
