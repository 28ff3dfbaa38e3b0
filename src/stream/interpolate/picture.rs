//! Pictures in GStreamer's memory as planes: those that are read, and those that are drawn into.
//!
//! NV12 has both chroma planes in one; it is taken apart on the way in and put together on the way
//! out.

use std::sync::{Arc, Mutex};

use gstreamer as gst;
use gstreamer_video as gst_video;

use crate::stream::lock;
use gstreamer_video::prelude::*;

use crate::media::{FrameMut, FrameRef, PlaneMut, PlaneRef};
use crate::render::Filter;
use crate::render::retime::{Drawer, Image};

/// Chroma planes, tight.
type Chroma = [Vec<u8>; 2];

/// Memory for chroma planes that nobody uses now.
#[derive(Clone, Default)]
pub struct Spare(Arc<Mutex<Vec<Chroma>>>);

impl Spare {
    /// Most that are kept: as many as source frames are held at once.
    const MOST: usize = 16;

    fn take(&self) -> Chroma {
        let mut spare = lock(&self.0);
        spare.pop().unwrap_or_default()
    }

    fn give(&self, chroma: Chroma) {
        let mut spare = lock(&self.0);
        if spare.len() < Self::MOST {
            spare.push(chroma);
        }
    }
}

/// A source frame, mapped for as long as it is held.
pub struct Picture {
    frame: gst_video::VideoFrame<gst_video::video_frame::Readable>,
    /// Of NV12.
    chroma: Option<Chroma>,
    spare: Spare,
}

impl Picture {
    /// `None`: the memory cannot be read, or is not a picture like that.
    pub fn new(buffer: gst::Buffer, info: &gst_video::VideoInfo, spare: &Spare) -> Option<Self> {
        let frame = gst_video::VideoFrame::from_buffer_readable(buffer, info).ok()?;
        let chroma = (info.format() == gst_video::VideoFormat::Nv12).then(|| {
            let mut chroma = spare.take();
            take_apart(&frame, &mut chroma);
            chroma
        });
        Some(Picture { frame, chroma, spare: spare.clone() })
    }

    pub fn buffer(&self) -> gst::Buffer {
        self.frame.buffer_owned()
    }

    /// Whether it lies in memory as `info` says, which is how it lies where nothing else is said.
    pub fn is_laid_out_as(&self, info: &gst_video::VideoInfo) -> bool {
        self.frame.plane_stride() == info.stride() && self.frame.plane_offset() == info.offset()
    }

    pub fn view(&self) -> FrameRef<'_> {
        let (w, h) = (self.frame.width() as usize, self.frame.height() as usize);
        let (cw, ch) = (w.div_ceil(2), h.div_ceil(2));
        let strides = self.frame.plane_stride();
        let [y, u, v, _] = self.frame.planes_data();
        let luma = PlaneRef { data: y, stride: strides[0] as usize, width: w, height: h };
        let plane = |data, stride| PlaneRef { data, stride, width: cw, height: ch };
        match &self.chroma {
            Some([u, v]) => FrameRef { y: luma, u: plane(u, cw), v: plane(v, cw) },
            None => FrameRef {
                y: luma,
                u: plane(u, strides[1] as usize),
                v: plane(v, strides[2] as usize),
            },
        }
    }
}

impl Drop for Picture {
    fn drop(&mut self) {
        if let Some(chroma) = self.chroma.take() {
            self.spare.give(chroma);
        }
    }
}

fn take_apart(
    frame: &gst_video::VideoFrame<gst_video::video_frame::Readable>,
    [u, v]: &mut Chroma,
) {
    let (width, height) = chroma_size(frame.info());
    u.resize(width * height, 0);
    v.resize(width * height, 0);
    let stride = frame.plane_stride()[1] as usize;
    let [_, pairs, ..] = frame.planes_data();
    let rows = u.chunks_exact_mut(width).zip(v.chunks_exact_mut(width));
    for ((u, v), pairs) in rows.zip(pairs.chunks(stride)) {
        for ((u, v), pair) in u.iter_mut().zip(v).zip(pairs.as_chunks::<2>().0) {
            [*u, *v] = *pair;
        }
    }
}

fn chroma_size(info: &gst_video::VideoInfo) -> (usize, usize) {
    ((info.width() as usize).div_ceil(2), (info.height() as usize).div_ceil(2))
}

/// Draws into buffers of one kind.
pub struct Canvas {
    drawer: Drawer,
    /// Of NV12.
    chroma: Chroma,
}

impl Canvas {
    pub fn new(scale: Filter) -> Self {
        Canvas { drawer: Drawer::with(scale), chroma: Chroma::default() }
    }

    /// `None`: the buffer cannot be written, or is not a picture like that.
    pub fn draw(
        &mut self,
        image: Image,
        buffer: gst::Buffer,
        info: &gst_video::VideoInfo,
    ) -> Option<gst::Buffer> {
        let mut frame = gst_video::VideoFrame::from_buffer_writable(buffer, info).ok()?;
        let (w, h) = (info.width() as usize, info.height() as usize);
        let (cw, ch) = chroma_size(info);
        let full_range = info.colorimetry().range() == gst_video::VideoColorRange::Range0_255;
        let strides = [0, 1, 2].map(|i| frame.plane_stride().get(i).map_or(0, |s| *s as usize));
        let [y, u, v, _] = frame.planes_data_mut();
        let y = PlaneMut { data: y, stride: strides[0], width: w, height: h };
        let plane = |data, stride| PlaneMut { data, stride, width: cw, height: ch };
        if info.format() == gst_video::VideoFormat::Nv12 {
            let [own_u, own_v] = &mut self.chroma;
            own_u.resize(cw * ch, 0);
            own_v.resize(cw * ch, 0);
            let mut out = FrameMut { y, u: plane(own_u, cw), v: plane(own_v, cw) };
            self.drawer.draw(image, full_range, &mut out);
            let rows = self.chroma[0].chunks_exact(cw).zip(self.chroma[1].chunks_exact(cw));
            for ((own_u, own_v), pairs) in rows.zip(u.chunks_mut(strides[1])) {
                let pairs = pairs.as_chunks_mut::<2>().0;
                for ((u, v), pair) in own_u.iter().zip(own_v).zip(pairs) {
                    *pair = [*u, *v];
                }
            }
        } else {
            let mut out = FrameMut { y, u: plane(u, strides[1]), v: plane(v, strides[2]) };
            self.drawer.draw(image, full_range, &mut out);
        }
        Some(frame.into_buffer())
    }
}
