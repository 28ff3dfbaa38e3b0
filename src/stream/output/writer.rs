//! Writing encoded units into a file that a crash cannot spoil.
//!
//! While it is written an MP4 consists of fragments of a second, each playable with what stands
//! before it; at the end it is made an ordinary, seekable MP4. So a killed process loses at most
//! the last second. Matroska and MPEG-TS play up to where they were cut by nature.

use std::path::{Path, PathBuf};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::fragment_tables;
use crate::base::error::{Error, Result};
use crate::config::output::Container;
use crate::stream::fanout::{StreamCaps, Unit};
use crate::stream::priority::{self, Importance};
use crate::stream::{make, posted_error, take_down, wait_for_end};

/// Length of a fragment: what a crash may cost.
const FRAGMENT_MS: u32 = 1000;
/// Finishing an hours long file means writing its index.
const FINISH_LIMIT: Duration = Duration::from_secs(4);
/// How much may wait inside the pipeline; above that the writing thread waits for the disk.
const INSIDE_BYTES: u64 = 2 << 20;

pub struct FileWriter {
    pipeline: gst::Pipeline,
    video: gst_app::AppSrc,
    audio: gst_app::AppSrc,
    path: PathBuf,
    /// Show time of the first unit, which gets time 0 in the file.
    start_ns: u64,
    /// The file, to be flushed to the disk.
    file: std::fs::File,
    /// Time in the file up to which it was.
    flushed_ns: u64,
}

impl FileWriter {
    /// Makes `path`; an existing file is left alone and an error. The file's time 0 is `start_ns`
    /// of show time.
    pub fn create(
        path: &Path,
        container: Container,
        caps: &StreamCaps,
        start_ns: u64,
    ) -> Result<Self> {
        FileWriter::on(std::fs::File::create_new(path), path, container, caps, start_ns)
    }

    /// As [`FileWriter::create`] in the place of what is there: a temporary file.
    pub fn replace(path: &Path, container: Container, caps: &StreamCaps) -> Result<Self> {
        FileWriter::on(std::fs::File::create(path), path, container, caps, 0)
    }

    fn on(
        file: std::io::Result<std::fs::File>,
        path: &Path,
        container: Container,
        caps: &StreamCaps,
        start_ns: u64,
    ) -> Result<Self> {
        // filesink's own error would not say why.
        let file = file.map_err(|e| Error::io(format!("cannot write {}", path.display()), e))?;
        let pipeline = gst::Pipeline::new();
        priority::set_for(&pipeline, Importance::Picture);
        let source = |name: &str, caps: &gst::Caps| {
            gst_app::AppSrc::builder()
                .name(name)
                .caps(caps)
                .format(gst::Format::Time)
                .block(true)
                .max_bytes(INSIDE_BYTES)
                .build()
        };
        let video = source("video", &caps.video);
        let audio = source("audio", &caps.audio);
        let parse = make("h264parse")?;
        let mux = muxer(container)?;
        if container == Container::Mp4 {
            fragment_tables::mend(&mux);
        }
        let sound = make("aacparse")?;
        let sink = make("filesink")?;
        sink.set_property("location", path.to_string_lossy().as_ref());
        sink.set_property("async", false);
        // What is written must be in the kernel's hands when this process is killed.
        sink.set_property_from_str("buffer-mode", "unbuffered");
        pipeline
            .add_many([video.upcast_ref(), audio.upcast_ref(), &parse, &sound, &mux, &sink])
            .map_err(Error::fault)?;
        gst::Element::link_many([video.upcast_ref(), &parse, &mux, &sink]).map_err(Error::fault)?;
        gst::Element::link_many([audio.upcast_ref(), &sound, &mux]).map_err(Error::fault)?;
        let writer = FileWriter {
            pipeline,
            video,
            audio,
            path: path.to_path_buf(),
            start_ns,
            file,
            flushed_ns: 0,
        };
        writer
            .pipeline
            .set_state(gst::State::Playing)
            .map_err(|e| writer.failure().unwrap_or_else(|| Error::fault(e)))?;
        Ok(writer)
    }

    /// Writes a unit. One that ended before the file's start is left out.
    ///
    /// # Errors
    /// What went wrong since the last call, e.g. a full disk.
    pub fn write(&mut self, unit: &Unit) -> Result<()> {
        if let Some(error) = self.failure() {
            return Err(error);
        }
        let Some(buffer) = unit.rebased(self.start_ns) else { return Ok(()) };
        let pts_ns = unit.pts_ns - self.start_ns;
        if pts_ns >= self.flushed_ns + u64::from(FRAGMENT_MS) * 1_000_000 {
            // Against a power cut. It may take its time: the queue before this thread is long.
            self.flushed_ns = pts_ns;
            self.flush()?;
        }
        let source = if unit.is_picture() { &self.video } else { &self.audio };
        source.push_buffer(buffer).map(drop).map_err(|e| {
            self.failure().unwrap_or_else(|| Error::fault(e).context(self.path.display()))
        })
    }

    /// Makes an MP4 an ordinary one and closes the file, flushed to the disk.
    pub fn finish(self) -> Result<()> {
        self.finish_within(FINISH_LIMIT)
    }

    /// As [`FileWriter::finish`], where nobody waits for the next part.
    pub fn finish_within(self, limit: Duration) -> Result<()> {
        let _ = self.video.end_of_stream();
        let _ = self.audio.end_of_stream();
        wait_for_end(&self.pipeline, limit)
            .map_err(|e| e.context(format!("cannot finish {}", self.path.display())))?;
        take_down(&self.pipeline);
        self.flush()
    }

    fn flush(&self) -> Result<()> {
        self.file
            .sync_data()
            .map_err(|e| Error::io(format!("cannot flush {}", self.path.display()), e))
    }

    fn failure(&self) -> Option<Error> {
        let bus = self.pipeline.bus()?;
        let message = bus.pop_filtered(&[gst::MessageType::Error])?;
        posted_error(&message).map(|e| e.context(format!("cannot write {}", self.path.display())))
    }
}

fn muxer(container: Container) -> Result<gst::Element> {
    match container {
        Container::Mp4 => {
            let mux = make("mp4mux")?;
            mux.set_property("fragment-duration", FRAGMENT_MS);
            mux.set_property_from_str("fragment-mode", "first-moov-then-finalise");
            Ok(mux)
        }
        Container::Mkv => make("matroskamux"),
        Container::Ts => make("mpegtsmux"),
    }
}

impl Drop for FileWriter {
    fn drop(&mut self) {
        take_down(&self.pipeline);
    }
}
