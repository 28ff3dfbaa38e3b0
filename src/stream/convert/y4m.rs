//! YUV4MPEG2: raw pictures in a file or on a pipe, after the manual page yuv4mpeg(5) of mjpegtools
//! and the names for further formats that ffmpeg writes.
//!
//! What it says nothing of is taken for BT.709 in limited range, as this program writes it.

use std::io::{ErrorKind, Read, Write};

use gstreamer as gst;
use gstreamer_video as gst_video;
use gstreamer_video::prelude::*;

use crate::base::error::{Error, Kind, Result};
use crate::base::time::FrameRate;

/// With what a stream begins.
pub const MAGIC: &[u8] = b"YUV4MPEG2";
/// Longest header, of the stream or of a frame.
const LONGEST_LINE: usize = 4096;
/// No side of a picture is longer.
const LONGEST_SIDE: u32 = 16_384;

/// What the header says of all pictures.
#[derive(Clone, Debug)]
pub struct Header {
    pub info: gst_video::VideoInfo,
    /// Bytes of it.
    pub length: usize,
    planes: Vec<Plane>,
}

/// A plane as it lies in the stream, tight.
#[derive(Clone, Copy, Debug)]
struct Plane {
    row_bytes: usize,
    rows: usize,
}

impl Header {
    /// Bytes of a picture.
    pub fn picture_bytes(&self) -> usize {
        self.planes.iter().map(|plane| plane.row_bytes * plane.rows).sum()
    }

    /// Bytes of a picture with its own header, if that says nothing.
    pub fn frame_bytes(&self) -> usize {
        self.picture_bytes() + b"FRAME\n".len()
    }

    /// Where the planes begin and how far rows are apart, in bytes.
    fn layout(&self) -> (Vec<usize>, Vec<i32>) {
        let offsets = self.planes.iter().scan(0, |at, plane| {
            let offset = *at;
            *at += plane.row_bytes * plane.rows;
            Some(offset)
        });
        let strides = self.planes.iter().map(|plane| plane.row_bytes as i32);
        (offsets.collect(), strides.collect())
    }
}

/// Reads pictures one after the other.
pub struct Reader {
    input: Box<dyn Read + Send>,
    pub header: Header,
    /// Pictures so far.
    count: u64,
    line: Vec<u8>,
}

fn bad(text: impl Into<String>) -> Error {
    Error::new(Kind::Io, text)
}

impl Reader {
    /// # Errors
    /// What is wrong with the header.
    pub fn new(mut input: Box<dyn Read + Send>) -> Result<Self> {
        let mut line = Vec::new();
        if !read_line(&mut input, &mut line)? || !line.starts_with(MAGIC) {
            return Err(bad("it is no YUV4MPEG2: it does not begin with that word"));
        }
        let header = parse(&String::from_utf8_lossy(&line), line.len() + 1)?;
        Ok(Reader { input, header, count: 0, line })
    }

    /// Fills a buffer of [`Header::picture_bytes`] with the next picture; false: there is none.
    ///
    /// # Errors
    /// The stream ends within a picture, or holds something else.
    pub fn read(&mut self, buffer: &mut gst::BufferRef) -> Result<bool> {
        let n = self.count;
        if !read_line(&mut self.input, &mut self.line)? {
            return Ok(false);
        }
        if !self.line.starts_with(b"FRAME") {
            return Err(bad(format!("it is damaged: no FRAME where picture {n} should begin")));
        }
        {
            let mut map = buffer.map_writable().map_err(Error::fault)?;
            let picture = &mut map[..];
            let mut done = 0;
            while done < picture.len() {
                match self.input.read(&mut picture[done..]) {
                    Ok(0) => {
                        let all = picture.len();
                        return Err(bad(format!(
                            "it is cut short: picture {n} has {done} of {all} bytes"
                        )));
                    }
                    Ok(more) => done += more,
                    Err(e) if e.kind() == ErrorKind::Interrupted => {}
                    Err(e) => return Err(Error::io("reading failed", e)),
                }
            }
        }
        let info = &self.header.info;
        let (offsets, strides) = self.header.layout();
        gst_video::VideoMeta::add_full(
            buffer,
            gst_video::VideoFrameFlags::empty(),
            info.format(),
            info.width(),
            info.height(),
            &offsets,
            &strides,
        )
        .map_err(Error::fault)?;
        self.count += 1;
        Ok(true)
    }
}

/// Reads up to the end of a line, which is left out; false: there is nothing more.
fn read_line(input: &mut impl Read, line: &mut Vec<u8>) -> Result<bool> {
    line.clear();
    let mut byte = [0];
    loop {
        match input.read(&mut byte) {
            Ok(0) if line.is_empty() => return Ok(false),
            Ok(0) => return Err(bad("it is cut short: it ends within a header")),
            Ok(_) if byte == *b"\n" => return Ok(true),
            Ok(_) if line.len() == LONGEST_LINE => {
                return Err(bad("it is damaged: a header has no end"));
            }
            Ok(_) => line.push(byte[0]),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(Error::io("reading failed", e)),
        }
    }
}

fn parse(line: &str, length: usize) -> Result<Header> {
    let mut width = None;
    let mut height = None;
    let mut rate = None;
    let mut aspect = gst::Fraction::new(1, 1);
    let mut chroma = "420";
    let mut interlacing = "p";
    let mut full_range = false;
    for word in line.split_ascii_whitespace().skip(1) {
        let Some((key, value)) = word.split_at_checked(1) else { continue };
        match key {
            "W" => width = value.parse().ok(),
            "H" => height = value.parse().ok(),
            "F" => rate = value.replace(':', "/").parse::<FrameRate>().ok(),
            "A" => aspect = fraction(value).unwrap_or(aspect),
            "C" => chroma = value,
            "I" => interlacing = value,
            "X" => full_range |= value == "COLORRANGE=FULL",
            _ => {}
        }
    }
    let side = |side: Option<u32>, name| {
        side.filter(|side| (1..=LONGEST_SIDE).contains(side))
            .ok_or_else(|| bad(format!("its header has no usable {name}: {line}")))
    };
    let (width, height) = (side(width, "width (W)")?, side(height, "height (H)")?);
    let rate = rate.ok_or_else(|| bad(format!("its header has no usable rate (F): {line}")))?;
    use gst_video::VideoFormat as Format;
    // Format, bytes of a value, and by how much chroma is smaller.
    let (format, bytes, (across, down)) = match chroma {
        "420" | "420jpeg" | "420mpeg2" | "420paldv" => (Format::I420, 1, (2, 2)),
        "422" => (Format::Y42b, 1, (2, 1)),
        "444" => (Format::Y444, 1, (1, 1)),
        "411" => (Format::Y41b, 1, (4, 1)),
        "mono" => (Format::Gray8, 1, (1, 1)),
        "420p10" => (Format::I42010le, 2, (2, 2)),
        "422p10" => (Format::I42210le, 2, (2, 1)),
        "444p10" => (Format::Y44410le, 2, (1, 1)),
        "420p12" => (Format::I42012le, 2, (2, 2)),
        "422p12" => (Format::I42212le, 2, (2, 1)),
        "444p12" => (Format::Y44412le, 2, (1, 1)),
        other => {
            return Err(bad(format!(
                "its pictures are of the kind C{other}; those that are read: 420, 422, 444, 411, \
                 mono, and 420, 422, 444 with p10 or p12"
            )));
        }
    };
    let (mode, order) = match interlacing {
        "t" => (gst_video::VideoInterlaceMode::Interleaved, "top-field-first"),
        "b" => (gst_video::VideoInterlaceMode::Interleaved, "bottom-field-first"),
        _ => (gst_video::VideoInterlaceMode::Progressive, ""),
    };
    let range = match full_range {
        true => gst_video::VideoColorRange::Range0_255,
        false => gst_video::VideoColorRange::Range16_235,
    };
    let mut info = gst_video::VideoInfo::builder(format, width, height)
        .fps(gst::Fraction::new(rate.num() as i32, rate.den() as i32))
        .par(aspect)
        .interlace_mode(mode)
        .colorimetry(&gst_video::VideoColorimetry::new(
            range,
            gst_video::VideoColorMatrix::Bt709,
            gst_video::VideoTransferFunction::Bt709,
            gst_video::VideoColorPrimaries::Bt709,
        ));
    if (across, down) == (2, 2) {
        info = info.chroma_site(gst_video::VideoChromaSite::MPEG2);
    }
    match order {
        "top-field-first" => info = info.field_order(gst_video::VideoFieldOrder::TopFieldFirst),
        "bottom-field-first" => {
            info = info.field_order(gst_video::VideoFieldOrder::BottomFieldFirst);
        }
        _ => {}
    }
    let info = info.build().map_err(Error::fault)?;
    let (w, h) = (width as usize, height as usize);
    let luma = Plane { row_bytes: w * bytes, rows: h };
    let smaller = Plane { row_bytes: w.div_ceil(across) * bytes, rows: h.div_ceil(down) };
    let planes = match format {
        Format::Gray8 => vec![luma],
        _ => vec![luma, smaller, smaller],
    };
    Ok(Header { info, length, planes })
}

/// `10:11`; 0:0 is unknown.
fn fraction(text: &str) -> Option<gst::Fraction> {
    let (up, down) = text.split_once(':')?;
    let (up, down): (i32, i32) = (up.parse().ok()?, down.parse().ok()?);
    (up > 0 && down > 0).then(|| gst::Fraction::new(up, down))
}

/// Writes the header of a stream of I420 pictures.
pub fn write_header(out: &mut dyn Write, info: &gst_video::VideoInfo) -> std::io::Result<()> {
    let (rate, aspect) = (info.fps(), info.par());
    writeln!(
        out,
        "YUV4MPEG2 W{} H{} F{}:{} Ip A{}:{} C420mpeg2 XYSCSS=420MPEG2 XCOLORRANGE=LIMITED",
        info.width(),
        info.height(),
        rate.numer(),
        rate.denom(),
        aspect.numer(),
        aspect.denom()
    )
}

/// Writes one picture.
pub fn write_picture(
    out: &mut dyn Write,
    frame: &gst_video::VideoFrameRef<&gst::BufferRef>,
) -> std::io::Result<()> {
    out.write_all(b"FRAME\n")?;
    let (w, h) = (frame.width() as usize, frame.height() as usize);
    let (cw, ch) = (w.div_ceil(2), h.div_ceil(2));
    let planes = frame.planes_data();
    let strides = frame.plane_stride();
    for (i, (width, height)) in [(w, h), (cw, ch), (cw, ch)].into_iter().enumerate() {
        let (data, stride) = (planes[i], strides[i] as usize);
        if stride == width {
            // One piece, which is not copied on the way.
            out.write_all(&data[..width * height])?;
        } else {
            for row in data.chunks(stride).take(height) {
                out.write_all(&row[..width])?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &'static [u8]) -> Result<Reader> {
        gst::init().unwrap();
        Reader::new(Box::new(bytes))
    }

    #[test]
    fn headers_as_others_write_them() {
        let reader =
            read(b"YUV4MPEG2 W5 H3 F30000:1001 Ip A10:11 C420jpeg XYSCSS=420JPEG\n").unwrap();
        let info = &reader.header.info;
        assert_eq!((info.width(), info.height()), (5, 3));
        assert_eq!(info.fps(), gst::Fraction::new(30_000, 1001));
        assert_eq!(info.par(), gst::Fraction::new(10, 11));
        // Tight, with chroma rounded up.
        assert_eq!(reader.header.picture_bytes(), 15 + 2 * 3 * 2);
        let reader = read(b"YUV4MPEG2 W4 H2 F25:1 It A0:0 C422p10\n").unwrap();
        assert!(reader.header.info.is_interlaced());
        assert_eq!(reader.header.picture_bytes(), 16 + 2 * 8);
    }

    #[test]
    fn pictures_come_out_and_what_is_damaged_is_named() {
        let mut reader =
            read(b"YUV4MPEG2 W2 H2 F8:1\nFRAME\nabcdefFRAME Ip\nghijklFRAME\nmn").unwrap();
        let mut buffer = gst::Buffer::with_size(6).unwrap();
        let buffer = buffer.make_mut();
        assert!(reader.read(buffer).unwrap());
        assert_eq!(&buffer.map_readable().unwrap()[..], b"abcdef");
        assert!(reader.read(buffer).unwrap());
        assert_eq!(&buffer.map_readable().unwrap()[..], b"ghijkl");
        let error = reader.read(buffer).unwrap_err().to_string();
        assert!(error.contains("cut short: picture 2 has 2 of 6 bytes"), "{error}");
    }

    #[test]
    fn what_is_no_stream_is_refused() {
        for (bytes, word) in [
            (&b"RIFF....AVI LIST\n"[..], "no YUV4MPEG2"),
            (b"", "no YUV4MPEG2"),
            (b"YUV4MPEG2 W2 H2", "ends within a header"),
            (b"YUV4MPEG2 W2 H2\n", "rate (F)"),
            (b"YUV4MPEG2 W2 H2 F0:0\n", "rate (F)"),
            (b"YUV4MPEG2 W0 H2 F8:1\n", "width (W)"),
            (b"YUV4MPEG2 W2 H99999999999 F8:1\n", "height (H)"),
            (b"YUV4MPEG2 W2 H2 F8:1 C420p16\n", "C420p16"),
        ] {
            let error = read(bytes).map(|_| ()).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
        let mut reader = read(b"YUV4MPEG2 W2 H2 F8:1\njunk\n").unwrap();
        let mut buffer = gst::Buffer::with_size(6).unwrap();
        let error = reader.read(buffer.make_mut()).unwrap_err().to_string();
        assert!(error.contains("picture 0"), "{error}");
    }
}
