//! What goes between the show and a window's process: an order as JSON on its command line,
//! pictures into its standard input, reports, each a line of JSON, from its standard output.
//!
//! Holds: both ends are the same build of the program, so nothing here has a version. A picture
//! is its width and height (32 bits each, little-endian) and its tight planes Y, U, V.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use super::{Closed, Failure, Monitor, Request};
use crate::media::{Frame, FrameRef};

#[derive(Debug, Serialize, Deserialize)]
pub enum Order {
    List,
    Open(Request),
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Report {
    /// The only answer to [`Order::List`], if it does not fail.
    Monitors(Vec<Monitor>),
    Failed(Failure),
    /// It is on the monitor; its size.
    Open((u32, u32)),
    Size((u32, u32)),
    /// A picture was handed to the display server.
    Shown,
    /// A picture gave way to the next one.
    Skipped,
    Closed(Closed),
}

/// No picture has a longer side.
const MAX_SIDE: u32 = 16384;

/// Copies a picture, tight, into `frame`.
pub fn copy(picture: &FrameRef, frame: &mut Frame) {
    (frame.width, frame.height) = (picture.y.width as u32, picture.y.height as u32);
    for (to, from) in
        [(&mut frame.y, &picture.y), (&mut frame.u, &picture.u), (&mut frame.v, &picture.v)]
    {
        to.clear();
        to.reserve(from.width * from.height);
        if from.stride == from.width {
            to.extend_from_slice(&from.data[..from.width * from.height]);
        } else {
            from.rows().for_each(|row| to.extend_from_slice(row));
        }
    }
}

pub fn write(to: &mut impl Write, frame: &Frame) -> io::Result<()> {
    let mut header = [0; 8];
    header[..4].copy_from_slice(&frame.width.to_le_bytes());
    header[4..].copy_from_slice(&frame.height.to_le_bytes());
    to.write_all(&header)?;
    for plane in [&frame.y, &frame.u, &frame.v] {
        to.write_all(plane)?;
    }
    to.flush()
}

pub fn read(from: &mut impl Read, frame: &mut Frame) -> io::Result<()> {
    let mut side = || -> io::Result<u32> {
        let mut bytes = [0; 4];
        from.read_exact(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    };
    let (width, height) = (side()?, side()?);
    if width > MAX_SIDE || height > MAX_SIDE {
        return Err(io::ErrorKind::InvalidData.into());
    }
    (frame.width, frame.height) = (width, height);
    let (luma, chroma) =
        (width as usize * height as usize, frame.chroma_width() * frame.chroma_height());
    for (plane, len) in [(&mut frame.y, luma), (&mut frame.u, chroma), (&mut frame.v, chroma)] {
        plane.resize(len, 0);
        from.read_exact(plane)?;
    }
    Ok(())
}

/// Makes the pipe as large as an ordinary user's may be: fewer switches between the processes.
#[cfg(target_os = "linux")]
pub fn widen(pipe: &impl std::os::fd::AsFd) {
    use nix::fcntl::{FcntlArg, fcntl};
    // Where that is not allowed it only costs time.
    let _ = fcntl(pipe, FcntlArg::F_SETPIPE_SZ(1 << 20));
}

#[cfg(not(target_os = "linux"))]
pub fn widen<T>(_: &T) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_arrives_as_it_was_whatever_its_strides() {
        let wide: Vec<u8> = (0..=255).collect();
        let plane =
            |stride, width, height| crate::media::PlaneRef { data: &wide, stride, width, height };
        // 5 x 3: chroma is 3 x 2.
        let picture = FrameRef { y: plane(16, 5, 3), u: plane(8, 3, 2), v: plane(3, 3, 2) };
        let (mut sent, mut pipe) = (Frame::black(64, 64), Vec::new());
        copy(&picture, &mut sent);
        write(&mut pipe, &sent).unwrap();
        let mut frame = Frame::black(2, 2);
        read(&mut pipe.as_slice(), &mut frame).unwrap();
        assert_eq!((frame.width, frame.height), (5, 3));
        assert_eq!(frame.y, [0, 1, 2, 3, 4, 16, 17, 18, 19, 20, 32, 33, 34, 35, 36]);
        assert_eq!((frame.u, frame.v), (vec![0, 1, 2, 8, 9, 10], vec![0, 1, 2, 3, 4, 5]));
        assert!(read(&mut [255u8; 8].as_slice(), &mut sent).is_err(), "too large");
    }
}
