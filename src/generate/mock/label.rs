//! Cycle number and prompt, drawn into a frame for rehearsals.

use font8x8::{BASIC_FONTS, LATIN_FONTS, UnicodeFonts};

use crate::media::{CycleId, Frame};

/// Most lines of prompt.
const LINES: usize = 2;

/// What is drawn into every frame of a clip.
pub struct Label {
    lines: Vec<String>,
    /// Pixels of the frame for one of the font.
    scale: usize,
}

impl Label {
    pub fn new(cycle: CycleId, prompt: &str, width: u32) -> Self {
        let scale = (width as usize / 480).max(1);
        let columns = (width as usize / (8 * scale)).saturating_sub(2).max(1);
        let text = format!("cycle {cycle}  {prompt}");
        let mut lines = vec![String::new()];
        for word in text.split_whitespace() {
            let length = |s: &str| s.chars().count();
            let line = &lines[lines.len() - 1];
            if !line.is_empty() && length(line) + 1 + length(word) > columns {
                lines.push(String::new());
            }
            let last = lines.len() - 1;
            if !lines[last].is_empty() {
                lines[last].push(' ');
            }
            lines[last].push_str(word);
        }
        let cut = lines.len() > LINES;
        lines.truncate(LINES);
        let count = lines.len();
        for (i, line) in lines.iter_mut().enumerate() {
            let too_long = line.chars().count() > columns;
            if too_long || (cut && i + 1 == count) {
                let kept: String = line.chars().take(columns.saturating_sub(3)).collect();
                *line = kept + "...";
            }
        }
        Label { lines, scale }
    }

    /// Draws white on a dark strip at the bottom.
    pub fn draw(&self, frame: &mut Frame) {
        let (width, height) = (frame.width as usize, frame.height as usize);
        let line_height = 10 * self.scale;
        let strip = (self.lines.len() * line_height + 2 * self.scale).min(height);
        let top = height - strip;
        for y in &mut frame.y[top * width..] {
            *y = 16 + (y.saturating_sub(16)) / 8;
        }
        let chroma_top = top.div_ceil(2) * frame.chroma_width();
        for plane in [&mut frame.u, &mut frame.v] {
            for c in &mut plane[chroma_top..] {
                *c = (112 + u32::from(*c) / 8) as u8;
            }
        }
        for (i, line) in self.lines.iter().enumerate() {
            for (column, c) in line.chars().enumerate() {
                let glyph = BASIC_FONTS.get(c).or_else(|| LATIN_FONTS.get(c));
                let Some(glyph) = glyph.or_else(|| BASIC_FONTS.get('?')) else { continue };
                let (x, y) =
                    ((column + 1) * 8 * self.scale, top + 2 * self.scale + i * line_height);
                self.glyph(glyph, x, y, frame);
            }
        }
    }

    fn glyph(&self, glyph: [u8; 8], x: usize, y: usize, frame: &mut Frame) {
        let (width, size) = (frame.width as usize, 8 * self.scale);
        for dy in 0..size {
            for dx in 0..size {
                let set = glyph[dy / self.scale] >> (dx / self.scale) & 1 == 1;
                if set && x + dx < width && y + dy < frame.height as usize {
                    frame.y[(y + dy) * width + x + dx] = 225;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_prompts_are_wrapped_and_shortened() {
        let label = Label::new(CycleId(12), &"liquid light and ".repeat(20), 1024);
        assert_eq!(label.lines.len(), LINES);
        assert!(label.lines[0].starts_with("cycle 0012 liquid"));
        assert!(label.lines[1].ends_with("..."));
        assert!(label.lines.iter().all(|l| l.chars().count() <= 62), "{:?}", label.lines);
        let one_word = Label::new(CycleId(1), &"x".repeat(500), 320);
        assert!(one_word.lines.iter().all(|l| l.chars().count() <= 38));
    }

    #[test]
    fn text_is_bright_on_a_dark_strip_at_the_bottom() {
        let mut frame = Frame::black(320, 180);
        frame.y.fill(200);
        Label::new(CycleId(3), "smoke", 320).draw(&mut frame);
        assert!(frame.y[..160 * 320].iter().all(|&y| y == 200));
        let strip = &frame.y[170 * 320..];
        assert!(strip.contains(&225) && strip.contains(&39));
    }
}
