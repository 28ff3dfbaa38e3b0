//! The contact sheet: one page with a picture of every cycle, to be opened without a server.
//!
//! Holds: the page stands alone but for the clips, which it links to relative to where it lies. Texts
//! from files are escaped, and secrets in them hidden.

use std::fmt::Write;
use std::num::NonZero;
use std::path::{Component, Path, PathBuf};
use std::thread;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::{ImageReader, RgbImage};
use jpeg_encoder::{ColorType, Encoder};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::status::{FilmState, Looked};
use crate::archive::survey::{Cycle, Held};
use crate::base::error::{Error, Result};
use crate::base::fsio::write_atomic;
use crate::base::redact::hide;
use crate::base::time::hms;
use crate::media::ClipDecoder;
use crate::render;
use crate::stream::clip::GstClipDecoder;

const PAGE: &str = include_str!("contact_sheet.html");
/// The longer side of a picture.
const WIDTH: u32 = 320;
/// What all pictures may take, as JPEG; a third more in the page.
const ALL_PICTURES_BYTES: usize = 10_500_000;
/// From the best that is worth its bytes down to what still shows what is in it.
const QUALITIES: [u8; 5] = [82, 70, 55, 40, 25];
const IN_PATHS: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// What tells a contact sheet from other files.
const MARK: &[u8] = b"Visual FaQtory Live, contact sheet";

/// Writes the page of a project to `file`.
///
/// # Errors
/// It cannot be written, or another file has the name. A picture that cannot be read is left out.
pub fn write(looked: &Looked, file: &Path) -> Result<()> {
    crate::stream::init()?;
    let is_sheet =
        || std::fs::read(file).is_ok_and(|text| text.windows(MARK.len()).any(|part| part == MARK));
    if file.exists() && !is_sheet() {
        return Err(Error::conflict(format!(
            "--html {}: this file is there already, and is no contact sheet; give another name",
            file.display()
        )));
    }
    let failed = |e| Error::io(format!("cannot write {}", file.display()), e);
    let home = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let home = std::path::absolute(home.unwrap_or(Path::new("."))).map_err(failed)?;
    let pictures = pictures(&looked.survey.cycles);
    let page = page(looked, &pictures, &|path| link(&home, path));
    write_atomic(file, page.as_bytes())
}

/// A picture of each cycle, where there is one.
fn pictures(cycles: &[Cycle]) -> Vec<Option<Picture>> {
    let most = ALL_PICTURES_BYTES / cycles.len().max(1);
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let each = cycles.len().div_ceil(threads).max(1);
    thread::scope(|scope| {
        let part = |part: &[Cycle]| part.iter().map(|cycle| picture(cycle, most)).collect();
        let work: Vec<_> = cycles
            .chunks(each)
            .map(|cycles| scope.spawn(move || -> Vec<_> { part(cycles) }))
            .collect();
        // What a damaged file did to a decoder costs its pictures, not the page.
        let of = |(work, cycles): (thread::ScopedJoinHandle<'_, Vec<_>>, &[Cycle])| {
            work.join().unwrap_or_else(|_| cycles.iter().map(|_| None).collect())
        };
        work.into_iter().zip(cycles.chunks(each)).flat_map(of).collect()
    })
}

struct Picture {
    width: u32,
    height: u32,
    jpeg: Vec<u8>,
}

/// A small picture of a cycle: of the still that it starts from, or else its first frame.
pub fn small_picture(cycle: &Cycle) -> Option<RgbImage> {
    let still = cycle.image.as_deref().and_then(still);
    let rgb = still.or_else(|| first_frame(cycle.video.whole().or(cycle.raw.whole())?))?;
    let longer = rgb.width().max(rgb.height()).max(1);
    let small = |side: u32| (side * WIDTH.min(longer) / longer).max(1);
    let (width, height) = (small(rgb.width()), small(rgb.height()));
    Some(image::imageops::thumbnail(&rgb, width, height))
}

fn picture(cycle: &Cycle, most_bytes: usize) -> Option<Picture> {
    let rgb = small_picture(cycle)?;
    let (width, height) = (rgb.width(), rgb.height());
    let mut smallest = None;
    for quality in QUALITIES {
        let mut jpeg = Vec::new();
        let (w, h) = (u16::try_from(width).ok()?, u16::try_from(height).ok()?);
        Encoder::new(&mut jpeg, quality).encode(&rgb, w, h, ColorType::Rgb).ok()?;
        let fits = jpeg.len() <= most_bytes;
        smallest = Some(Picture { width, height, jpeg });
        if fits {
            break;
        }
    }
    smallest
}

fn still(path: &Path) -> Option<RgbImage> {
    let reader = ImageReader::open(path).ok()?.with_guessed_format().ok()?;
    Some(reader.decode().ok()?.to_rgb8())
}

fn first_frame(clip: &Path) -> Option<RgbImage> {
    let frames = GstClipDecoder.decode(clip).ok()?.frames;
    let first = frames.first()?;
    RgbImage::from_raw(first.width, first.height, render::to_rgb(first))
}

fn page(looked: &Looked, pictures: &[Option<Picture>], link: &dyn Fn(&Path) -> String) -> String {
    let status = &looked.status;
    let first = looked.survey.state.as_ref().map_or(0, |state| state.first_cycle);
    let cycles = looked.survey.cycles.iter().zip(pictures);
    let cards: Vec<String> =
        cycles.map(|(cycle, picture)| card(cycle, picture.as_ref(), first, link)).collect();
    let aspect = pictures.iter().flatten().next();
    let aspect =
        aspect.map_or("16/9".into(), |picture| format!("{}/{}", picture.width, picture.height));
    let all_good = status.cycles.failed + status.cycles.lost == 0;
    let no_failed = if all_good { " hidden" } else { "" };
    let title = match &status.name {
        Some(name) => text(name),
        None => text(&folder_name(&looked.survey.folder)),
    };
    let started = status.started_at.as_deref().and_then(|at| at.get(..10));
    let subtitle = match started {
        Some(day) => text(&format!("Visual FaQtory Live, begun on {day}")),
        None => "Visual FaQtory Live".into(),
    };
    // In one go, so that nothing that a prompt contains is taken for a place.
    let mut page = String::with_capacity(PAGE.len() + cards.iter().map(String::len).sum::<usize>());
    let mut rest = PAGE;
    while let Some((before, behind)) = rest.split_once("{{") {
        page.push_str(before);
        let Some((place, behind)) = behind.split_once("}}") else { break };
        rest = behind;
        match place {
            "title" => page.push_str(&title),
            "subtitle" => page.push_str(&subtitle),
            "summary" => page.push_str(&summary(looked)),
            "aspect" => page.push_str(&aspect),
            "no_failed" => page.push_str(no_failed),
            "cards" => cards.iter().for_each(|card| page.push_str(card)),
            _ => {}
        }
    }
    page.push_str(rest);
    page
}

fn folder_name(folder: &Path) -> String {
    let whole = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    whole.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn summary(looked: &Looked) -> String {
    let status = &looked.status;
    let counts = &status.cycles;
    let made = match counts.requested {
        Some(requested) => format!("{} of {requested}", counts.made),
        None => counts.made.to_string(),
    };
    let film = match status.deliverable.state {
        FilmState::Current => "current",
        FilmState::Outdated => "outdated",
        FilmState::Unknown => "the predecessor's",
        FilmState::Damaged => "damaged",
        FilmState::Missing if status.recordings.is_empty() => "not made",
        FilmState::Missing => "recorded live",
    };
    let mut out = String::new();
    let mut add = |name: &str, value: &str, bad: bool| {
        let class = if bad { " class=\"bad\"" } else { "" };
        let _ = write!(out, "<div><dt>{name}</dt><dd{class}>{}</dd></div>", text(value));
    };
    add("Cycles made", &made, false);
    if counts.failed > 0 {
        add("Failed", &counts.failed.to_string(), true);
    }
    if counts.lost > 0 {
        add("Lost", &counts.lost.to_string(), true);
    }
    if let Some(open @ 1..) = counts.open {
        add("Open", &open.to_string(), false);
    }
    add("Content", &time(status.content_s), false);
    add("Generation", &time(status.generation_s), false);
    add("Disk", &format!("{:.1} MB", status.disk.used_bytes as f64 / 1e6), false);
    add("Film", film, status.deliverable.state == FilmState::Damaged);
    out
}

fn card(
    cycle: &Cycle,
    picture: Option<&Picture>,
    first: u32,
    link: &dyn Fn(&Path) -> String,
) -> String {
    let number = cycle.cycle.0;
    let clip = cycle.video.whole().or(cycle.raw.whole());
    let failed = cycle.failure.is_some() && clip.is_none();
    let lost = !failed && clip.is_none() && cycle.was_made();
    let mark = match () {
        () if failed => "failed",
        () if lost => "lost",
        () if clip.is_none() => "not finished",
        () if number < first => "earlier session",
        () => "",
    };
    let class = if failed || lost { " class=\"failed\"" } else { "" };
    let mut out = format!("<article{class}>");
    let (tag, target) = match clip {
        Some(clip) => ("a", format!(" href=\"{}\"", link(clip))),
        None => ("div", String::new()),
    };
    let _ = write!(out, "<{tag} class=\"picture\"{target}>");
    let _ = match picture {
        Some(Picture { width, height, jpeg }) => write!(
            out,
            "<img loading=\"lazy\" decoding=\"async\" width=\"{width}\" height=\"{height}\" \
             alt=\"Cycle {number}\" src=\"data:image/jpeg;base64,{}\">",
            STANDARD.encode(jpeg)
        ),
        None => write!(out, "<div class=\"none\">no picture</div>"),
    };
    let _ = write!(out, "<span class=\"number\">{number}</span>");
    if !mark.is_empty() {
        let _ = write!(out, "<span class=\"mark\">{mark}</span>");
    }
    let _ = write!(out, "</{tag}><div class=\"text\">");
    if let Some(reason) = &cycle.failure {
        let _ = write!(out, "<p class=\"reason\">{}</p>", text(reason));
    }
    for held in [&cycle.raw, &cycle.video] {
        if let Held::Damaged(path, what) = held {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let _ = write!(out, "<p class=\"reason\">{} {}</p>", text(&name), text(what));
        }
    }
    if let Some(briq) = &cycle.briq {
        let _ = write!(out, "<p class=\"prompt\">{}</p><dl>", text(&briq.prompt));
        let size = match (briq.spec.width, briq.spec.height) {
            (0, _) | (_, 0) => String::new(),
            (width, height) => format!("{width}×{height}"),
        };
        let seconds = |s: f64| if s > 0.0 { format!("{s:.1} s") } else { String::new() };
        let facts = [
            ("Seed", briq.seed.to_string()),
            ("Backend", briq.backend_used.clone()),
            ("Mode", briq.mode.clone()),
            ("Clip", seconds(clip.and_then(crate::archive::mp4::seconds).unwrap_or(0.0))),
            ("Took", seconds(briq.generation_time)),
            ("Size", size),
        ];
        for (name, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
            let _ = write!(out, "<div><dt>{name}</dt><dd>{}</dd></div>", text(value));
        }
        out.push_str("</dl>");
    }
    let links = [
        ("video", cycle.video.whole()),
        ("raw clip", cycle.raw.whole()),
        ("still", cycle.image.as_deref()),
    ];
    out.push_str("<nav>");
    for (name, path) in links {
        if let Some(path) = path {
            let _ = write!(out, "<a href=\"{}\">{name}</a>", link(path));
        }
    }
    out.push_str("</nav></div></article>\n");
    out
}

fn time(seconds: f64) -> String {
    hms(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

/// Text as HTML shows it, in an element or an attribute.
fn text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in hide(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// `path` as a link from a page in `home`, which is absolute.
fn link(home: &Path, path: &Path) -> String {
    let Ok(path) = std::path::absolute(path) else { return String::new() };
    let (home, path) = (plain(home), plain(&path));
    let shared = home.iter().zip(&path).take_while(|(a, b)| a == b).count();
    let up = home[shared..].iter().map(|_| "..".to_owned());
    let down = path[shared..].iter().map(|part| utf8_percent_encode(part, IN_PATHS).to_string());
    up.chain(down).collect::<Vec<_>>().join("/")
}

/// The parts of an absolute path; `..` as a browser reads it.
fn plain(path: &Path) -> Vec<String> {
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(parts.pop()),
            Component::Normal(_) | Component::Prefix(_) => {
                parts.push(PathBuf::from(part.as_os_str()).to_string_lossy().into_owned());
            }
            Component::RootDir | Component::CurDir => {}
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_relative_and_escaped() {
        let home = Path::new("/w/qonstructions/night");
        let at = |path: &str| link(home, Path::new(path));
        assert_eq!(
            at("/w/qonstructions/night/videos/cycle0001_raw.mp4"),
            "videos/cycle0001_raw.mp4"
        );
        assert_eq!(at("/w/x/../a b\"#?.mp4"), "../../a%20b%22%23%3F.mp4");
        assert_eq!(at("/elsewhere/x"), "../../../elsewhere/x");
    }

    #[test]
    fn texts_cannot_leave_their_place() {
        assert_eq!(text("<b a=\"'&\n"), "&lt;b a=&quot;&#39;&amp; ");
    }
}
