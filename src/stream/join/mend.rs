//! A part that a kill left unfinished, copied into a finished file that can be read.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use gstreamer as gst;
use tempfile::TempPath;

use super::fragments;
use super::read::{Pictures, Reader};
use super::{FINISH_LIMIT, FileWriter, StreamCaps};
use crate::base::error::{Error, Kind, Result};
use crate::config::output::Container;
use crate::stream::fanout::{Unit, UnitKind};

/// A finished copy of `path` in `folder`; `None`: it needs none.
///
/// # Errors
/// Names the file.
pub fn finished_copy(path: &Path, folder: &Path) -> Result<Option<TempPath>> {
    let failed = |e| Error::io(format!("cannot read {}", path.display()), e);
    let mut file = File::open(path).map_err(failed)?;
    let Some(samples) = fragments::unfinished(&mut file).map_err(failed)? else { return Ok(None) };
    let caps = stream_caps(path)?;
    let copy = tempfile::Builder::new()
        .prefix(".vfaq-")
        .suffix(".mp4")
        .tempfile_in(folder)
        .map_err(|e| Error::io(format!("cannot write in {}", folder.display()), e))?
        .into_temp_path();
    let mut writer = FileWriter::replace(&copy, Container::Mp4, &caps)?;
    for sample in samples {
        let mut bytes = vec![0; sample.bytes as usize];
        file.seek(SeekFrom::Start(sample.offset)).map_err(failed)?;
        file.read_exact(&mut bytes).map_err(failed)?;
        let mut buffer = gst::Buffer::from_mut_slice(bytes);
        if !sample.is_key {
            buffer.make_mut().set_flags(gst::BufferFlags::DELTA_UNIT);
        }
        let kind = match sample.is_picture {
            true => UnitKind::Video { key: sample.is_key, mark: false, new_encoder: false },
            false => UnitKind::Audio,
        };
        let (pts_ns, duration_ns) = (sample.pts_ns, sample.duration_ns);
        writer.write(&Unit { kind, pts_ns, duration_ns, buffer })?;
    }
    writer.finish_within(FINISH_LIMIT)?;
    Ok(Some(copy))
}

/// What the streams are: the beginning can be read.
fn stream_caps(path: &Path) -> Result<StreamCaps> {
    let mut reader = Reader::open(path, Pictures::Encoded)?;
    let (mut video, mut audio) = (None, None);
    while let Some(piece) = reader.next()? {
        let caps = if piece.is_picture { &mut video } else { &mut audio };
        *caps = piece.sample.caps_owned();
        if let (Some(video), Some(audio)) = (&video, &audio) {
            return Ok(StreamCaps { video: video.clone(), audio: audio.clone() });
        }
    }
    Err(reader.unreadable(Error::new(Kind::Io, "pictures or sound are missing in it")))
}
