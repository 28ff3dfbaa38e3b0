//! All parts in one file, with pictures that are drawn anew: the sound is copied as in a join.
//!
//! Holds: every place of the grid gets a picture, in order. One that cannot be drawn is the
//! recording's own; where that has none, the one before goes out again.

use std::path::Path;

use gstreamer as gst;
use gstreamer_video as gst_video;
use gstreamer_video::prelude::*;

use super::encode::{Encoder, Quality};
use super::read::{Pictures, Reader};
use super::{Joined, Part, Plan, nearest_place};
use crate::base::error::{Error, Result};
use crate::media::{FrameMut, PlaneMut};
use crate::stream::encoding::stream_caps;
use crate::stream::fanout::StreamCaps;
use crate::stream::raw;

/// A picture of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The part, from 0, and the place in it.
    pub part: usize,
    pub frame: u64,
}

/// What became of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drawn {
    Drawn,
    /// It is to be as it was recorded.
    AsRecorded,
    /// No more pictures are wanted.
    Stop,
}

/// Draws the picture of a place, every pixel of it if it draws any.
pub type Draw<'a> = dyn FnMut(Place, &mut FrameMut<'_>) -> Result<Drawn> + 'a;

impl Plan {
    /// Places of the grid in all parts.
    pub fn places(&self) -> u64 {
        self.parts.iter().map(|part| part.places(self.fps)).sum()
    }

    /// Writes an MP4 at `path`; false: it was stopped, and what is there is not whole.
    ///
    /// # Errors
    /// A part that can be read no longer, a disk that is full, or what `draw` fails with. What was
    /// written stays.
    pub fn write_drawn(&self, path: &Path, quality: Quality, draw: &mut Draw<'_>) -> Result<bool> {
        let caps = StreamCaps {
            video: stream_caps(self.canvas, self.fps),
            audio: self.parts[0].audio.clone(),
        };
        let mut writing = Writing {
            plan: self,
            info: raw::video_info(self.canvas, self.fps)?,
            encoder: Encoder::start(self.canvas, self.fps, quality)?,
            file: Joined::create(path, &caps)?,
            last: None,
            draw,
        };
        let mut first_place = 0;
        for (number, part) in self.parts.iter().enumerate() {
            if !writing.add(number, part, first_place)? {
                return Ok(false);
            }
            first_place += part.places(self.fps);
        }
        writing.finish().map(|()| true)
    }
}

struct Writing<'a> {
    plan: &'a Plan,
    info: gst_video::VideoInfo,
    encoder: Encoder,
    file: Joined,
    /// The picture before, as it was recorded.
    last: Option<gst::Buffer>,
    draw: &'a mut Draw<'a>,
}

impl Writing<'_> {
    /// Adds a part; false: stop.
    fn add(&mut self, number: usize, part: &Part, first_place: u64) -> Result<bool> {
        let fps = self.plan.fps;
        let (start_ns, places) = (fps.pts_ns(first_place), part.places(fps));
        let end_ns = fps.pts_ns(first_place + places);
        let mut reader = Reader::open(part.source(), Pictures::Decoded)?;
        let (mut sounds, mut next) = (0, 0);
        while let Some(piece) = reader.next()? {
            let buffer =
                piece.sample.buffer_owned().ok_or_else(|| Error::internal("an empty sample"))?;
            if !piece.is_picture {
                sounds += 1;
                self.file.put_sound(buffer, start_ns + piece.pts_ns, end_ns)?;
                if sounds == part.sounds {
                    part.fill_with_silence(start_ns, end_ns, &mut self.file)?;
                }
                continue;
            }
            let place = nearest_place(fps, piece.pts_ns);
            while next < place {
                if !self.place(Place { part: number, frame: next }, first_place)? {
                    return Ok(false);
                }
                next += 1;
            }
            self.last = Some(buffer);
            if next == place {
                if !self.place(Place { part: number, frame: next }, first_place)? {
                    return Ok(false);
                }
                next += 1;
            }
        }
        for frame in next..places {
            if !self.place(Place { part: number, frame }, first_place)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Draws and encodes one picture; false: stop.
    fn place(&mut self, place: Place, first_place: u64) -> Result<bool> {
        let mut buffer = gst::Buffer::with_size(self.info.size()).map_err(Error::fault)?;
        let drawn = {
            let buffer = buffer.make_mut();
            let mut mapped = gst_video::VideoFrameRef::from_buffer_ref_writable(buffer, &self.info)
                .map_err(Error::fault)?;
            let strides = [0, 1, 2].map(|i| mapped.plane_stride()[i] as usize);
            let (w, h) = (self.info.width() as usize, self.info.height() as usize);
            let (cw, ch) = (w.div_ceil(2), h.div_ceil(2));
            let [y, u, v, _] = mapped.planes_data_mut();
            let mut out = FrameMut {
                y: PlaneMut { data: y, stride: strides[0], width: w, height: h },
                u: PlaneMut { data: u, stride: strides[1], width: cw, height: ch },
                v: PlaneMut { data: v, stride: strides[2], width: cw, height: ch },
            };
            (self.draw)(place, &mut out)?
        };
        match drawn {
            Drawn::Stop => return Ok(false),
            Drawn::Drawn => {}
            // Decoded at this size; how its rows lie it says itself. Before the first one that
            // could be decoded there is none, and the new picture is black.
            Drawn::AsRecorded => match &self.last {
                Some(recorded) => buffer = recorded.clone(),
                None => black(&mut buffer, &self.info)?,
            },
        }
        self.encoder.push(buffer, first_place + place.frame)?;
        while let Some(unit) = self.encoder.take()? {
            self.file.put(unit)?;
        }
        Ok(true)
    }

    fn finish(mut self) -> Result<()> {
        self.encoder.end()?;
        while let Some(unit) = self.encoder.take_rest()? {
            self.file.put(unit)?;
        }
        self.file.finish()
    }
}

fn black(buffer: &mut gst::Buffer, info: &gst_video::VideoInfo) -> Result<()> {
    let mut mapped = gst_video::VideoFrameRef::from_buffer_ref_writable(buffer.make_mut(), info)
        .map_err(Error::fault)?;
    let [y, u, v, _] = mapped.planes_data_mut();
    y.fill(16);
    u.fill(128);
    v.fill(128);
    Ok(())
}
