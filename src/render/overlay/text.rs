//! Text, white with a dark outline and a soft shadow, so that it can be read on any picture.
//!
//! The font is DejaVu Sans Bold, which has Latin, Cyrillic, Greek and many symbols; what it does not
//! have shows as an empty box. Letters stand one after the other, from left to right: scripts that
//! need more than that (Arabic, Indic ones) are not set as they should be.
//!
//! Holds: whatever the text, it is drawn, within the width that is given.

use ab_glyph::{Font, FontRef, Glyph, PxScale, PxScaleFont, ScaleFont, point};

use super::Bitmap;
use crate::base::error::{Error, Result};

static FONT: &[u8] = include_bytes!("../../../assets/fonts/DejaVuSans-Bold.ttf");

/// In heights of a line.
const OUTLINE: f32 = 0.045;
const SHADOW: f32 = 0.12;
const SHADOW_DARKNESS: f32 = 0.6;
/// Wide letters for titles.
const TITLE_SPACING: f32 = 0.06;

/// What text is drawn with.
pub struct Pen {
    font: FontRef<'static>,
}

/// How a text is to be set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Setting {
    /// Height of a line in pixels.
    pub line_px: f32,
    pub most_width: usize,
    /// A text with more lines, once it is wrapped, is shortened.
    pub most_lines: usize,
    /// In capitals, spaced.
    pub title: bool,
}

/// A line that has been fitted: its letters, and how long it is.
struct Line {
    text: Vec<char>,
    width: f32,
}

impl Pen {
    /// # Errors
    /// Only with another font than ours.
    pub fn new() -> Result<Self> {
        let font = FontRef::try_from_slice(FONT)
            .map_err(|e| Error::internal("the font cannot be read").with_source(e))?;
        Ok(Pen { font })
    }

    /// Draws a text, its lines centred; `None`: nothing of it can be seen.
    pub fn draw(&self, text: &str, setting: Setting) -> Option<Bitmap> {
        let line_px = setting.line_px.max(4.0);
        let font = self.font.as_scaled(PxScale::from(line_px));
        let outline = (line_px * OUTLINE).max(1.0);
        let pad = (outline + line_px * SHADOW * 1.5).ceil() as usize + 1;
        let spacing = if setting.title { line_px * TITLE_SPACING } else { 0.0 };
        let room = setting.most_width.saturating_sub(2 * pad).max(1) as f32;
        let text = if setting.title { text.to_uppercase() } else { text.to_owned() };
        let lines = fit(&font, &text, room, setting.most_lines.max(1), spacing);
        if lines.iter().all(|line| line.text.iter().all(|c| c.is_whitespace())) {
            return None;
        }
        let longest = lines.iter().map(|line| line.width).fold(1.0, f32::max);
        let width = longest.ceil() as usize + 2 * pad;
        let height = (font.height() * lines.len() as f32).ceil() as usize + 2 * pad;
        let mut fill = vec![0.0f32; width * height];
        for (place, line) in lines.iter().enumerate() {
            let x = pad as f32 + (longest - line.width) / 2.0;
            let y = pad as f32 + font.height() * place as f32 + font.ascent();
            for glyph in glyphs(&font, &line.text, (x, y), spacing) {
                let Some(shape) = font.outline_glyph(glyph) else { continue };
                let min = shape.px_bounds().min;
                shape.draw(|dx, dy, covered| {
                    let (x, y) = (min.x as i64 + i64::from(dx), min.y as i64 + i64::from(dy));
                    if (0..width as i64).contains(&x) && (0..height as i64).contains(&y) {
                        let at = &mut fill[y as usize * width + x as usize];
                        *at = (*at + covered).min(1.0);
                    }
                });
            }
        }
        let dark = surroundings(&fill, (width, height), outline, line_px * SHADOW);
        let pixels = fill
            .iter()
            .zip(dark)
            .map(|(&white, dark)| {
                let alpha = white + (1.0 - white) * dark;
                [white, white, white, alpha]
            })
            .collect();
        Some(Bitmap { width, height, pixels })
    }

    /// The words of a screen, in the middle of a clear picture.
    pub fn screen(&self, title: &str, line: &str, (width, height): (usize, usize)) -> Bitmap {
        let setting = |part: f32, most_lines: usize, title: bool| Setting {
            line_px: height as f32 * part,
            most_width: width * 9 / 10,
            most_lines,
            title,
        };
        let words =
            [self.draw(title, setting(0.115, 2, true)), self.draw(line, setting(0.055, 3, false))];
        let words: Vec<Bitmap> = words.into_iter().flatten().collect();
        let size = (
            words.iter().map(|word| word.width).max().unwrap_or(0),
            words.iter().map(|word| word.height).sum(),
        );
        let mut all = Bitmap::clear(size.0, size.1);
        let mut y = 0;
        for word in &words {
            all.lay(word, (size.0 - word.width) / 2, y);
            y += word.height;
        }
        all
    }
}

/// Where each letter of a line that begins at `x`, with its foot at `y`, stands.
fn glyphs(
    font: &PxScaleFont<&FontRef<'_>>,
    text: &[char],
    (mut x, y): (f32, f32),
    spacing: f32,
) -> Vec<Glyph> {
    let mut before = None;
    text.iter()
        .map(|&c| {
            let mut glyph = font.scaled_glyph(c);
            if let Some(before) = before {
                x += font.kern(before, glyph.id);
            }
            before = Some(glyph.id);
            glyph.position = point(x, y);
            x += font.h_advance(glyph.id) + spacing;
            glyph
        })
        .collect()
}

fn width(font: &PxScaleFont<&FontRef<'_>>, text: &[char], spacing: f32) -> f32 {
    let last = glyphs(font, text, (0.0, 0.0), spacing).pop();
    last.map_or(0.0, |glyph| glyph.position.x + font.h_advance(glyph.id))
}

/// Characters that say how others are drawn, and have no picture of their own.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{1f3fb}'..='\u{1f3ff}' | '\u{e0000}'..='\u{e01ff}')
}

/// Wraps a text into at most so many lines; what does not fit is cut, and an ellipsis says so.
fn fit(
    font: &PxScaleFont<&FontRef<'_>>,
    text: &str,
    room: f32,
    most_lines: usize,
    spacing: f32,
) -> Vec<Line> {
    let measure = |text: &[char]| width(font, text, spacing);
    let mut lines: Vec<Vec<char>> = Vec::new();
    'all: for paragraph in text.lines() {
        let mut line: Vec<char> = Vec::new();
        for word in paragraph.split_whitespace() {
            let word: Vec<char> = word.chars().filter(|c| !is_unseen(*c)).collect();
            if word.is_empty() {
                continue;
            }
            let mut longer = line.clone();
            if !line.is_empty() {
                longer.push(' ');
            }
            longer.extend(&word);
            if measure(&longer) <= room {
                line = longer;
                continue;
            }
            if !line.is_empty() {
                lines.push(std::mem::take(&mut line));
            }
            // A word that is longer than a line is broken where the line ends.
            let mut rest = &word[..];
            while measure(rest) > room && rest.len() > 1 {
                if lines.len() > most_lines {
                    break 'all;
                }
                let most = (1..rest.len()).rev().find(|&n| measure(&rest[..n]) <= room);
                let (fits, left) = rest.split_at(most.unwrap_or(1));
                lines.push(fits.to_vec());
                rest = left;
            }
            line = rest.to_vec();
        }
        lines.push(line);
        if lines.len() > most_lines {
            break;
        }
    }
    if lines.len() > most_lines {
        lines.truncate(most_lines);
        if let Some(last) = lines.last_mut() {
            last.push('…');
            while measure(last) > room && last.len() > 1 {
                last.remove(last.len() - 2);
            }
        }
    }
    lines.into_iter().map(|text| Line { width: measure(&text), text }).collect()
}

/// How dark it is around letters: all dark as far as the outline goes, then a shadow that falls off.
fn surroundings(
    fill: &[f32],
    (width, height): (usize, usize),
    outline: f32,
    shadow: f32,
) -> Vec<f32> {
    let reach = outline.ceil() as i64;
    let mut disc = Vec::new();
    for dy in -reach..=reach {
        for dx in -reach..=reach {
            let far = ((dx * dx + dy * dy) as f32).sqrt();
            let weight = (outline + 0.5 - far).clamp(0.0, 1.0);
            if weight > 0.0 {
                disc.push((dx, dy, weight));
            }
        }
    }
    let mut line = vec![0.0f32; fill.len()];
    for (place, &white) in fill.iter().enumerate().filter(|(_, white)| **white > 0.0) {
        let (x, y) = ((place % width) as i64, (place / width) as i64);
        for &(dx, dy, weight) in &disc {
            let (x, y) = (x + dx, y + dy);
            if (0..width as i64).contains(&x) && (0..height as i64).contains(&y) {
                let at = &mut line[y as usize * width + x as usize];
                *at = at.max(white * weight);
            }
        }
    }
    let mut soft = line.clone();
    let radius = (shadow / 2.0).round().max(1.0) as usize;
    for _ in 0..2 {
        soft = blurred(&soft, (width, height), radius);
    }
    line.iter()
        .zip(soft)
        .map(|(&line, soft)| line.max((soft * 1.4).min(1.0) * SHADOW_DARKNESS))
        .collect()
}

/// Averages over squares of `2 * radius + 1` pixels; beyond the edges there is nothing.
fn blurred(from: &[f32], (width, height): (usize, usize), radius: usize) -> Vec<f32> {
    let mut across = vec![0.0; from.len()];
    let mut down = vec![0.0; from.len()];
    let size = (2 * radius + 1) as f32;
    let line = |from: &[f32], to: &mut [f32], length: usize, start: usize, step: usize| {
        let at = |i: usize| if i < length { from[start + i * step] } else { 0.0 };
        let mut sum: f32 = (0..=radius).map(at).sum();
        for i in 0..length {
            to[start + i * step] = sum / size;
            sum += at(i + radius + 1) - if i >= radius { at(i - radius) } else { 0.0 };
        }
    };
    for y in 0..height {
        line(from, &mut across, width, y * width, 1);
    }
    for x in 0..width {
        line(&across, &mut down, height, x, width);
    }
    down
}
