//! One line of text for a terminal, of which no column is left to chance.
//!
//! Holds: a [`Line`] is never wider than asked for and holds no control character but its own SGR
//! sequences, whatever the text put into it contains.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Widest bar, in columns.
const MAX_BAR: usize = 24;
/// Room for what stands before the content of a line, in columns.
const LABEL: usize = 9;

/// Printable text in one line: white space and control characters are spaces; what turns the
/// writing direction or changes the width of its neighbour is gone.
pub fn clean(text: &str) -> String {
    let hidden = |c: &char| {
        matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{61c}' | '\u{feff}' | '\u{fe00}'..='\u{fe0f}')
    };
    let visible = |c: char| if c.is_whitespace() || c.is_control() { ' ' } else { c };
    text.chars().filter(|c| !hidden(c)).map(visible).collect()
}

/// The text, if it is wider than `room` columns cut short with an ellipsis.
pub fn cut(text: &str, room: usize) -> String {
    // Sums of characters, never less than what a terminal takes for the whole.
    let wide = |c: char| c.width().unwrap_or(0);
    if text.chars().map(wide).sum::<usize>() <= room {
        return text.to_owned();
    }
    let mut short = String::new();
    let mut used = 0;
    for c in text.chars() {
        used += wide(c);
        if used + 1 > room {
            break;
        }
        short.push(c);
    }
    if room > 0 {
        short.push('…');
    }
    short
}

/// Columns that a line of the block takes, SGR sequences not counted.
pub fn visible_width(line: &str) -> usize {
    line.split('\x1b')
        .enumerate()
        .map(|(i, part)| match part.split_once('m') {
            Some((_, shown)) if i > 0 => shown.width(),
            _ => part.width(),
        })
        .sum()
}

#[derive(Clone, Copy, PartialEq)]
pub enum Style {
    Plain,
    Dim,
    Bold,
    Accent,
    Good,
    Warn,
    Bad,
    Alarm,
}

impl Style {
    fn sgr(self) -> &'static str {
        match self {
            Style::Plain => "",
            Style::Dim => "\x1b[2m",
            Style::Bold => "\x1b[1m",
            Style::Accent => "\x1b[36m",
            Style::Good => "\x1b[32m",
            Style::Warn => "\x1b[33m",
            Style::Bad => "\x1b[31m",
            Style::Alarm => "\x1b[1;7;31m",
        }
    }
}

/// A line in the making. All text goes through [`Line::put`], which keeps it clean and within
/// the room.
pub struct Line {
    text: String,
    room: usize,
    colour: bool,
}

impl Line {
    pub fn unlabelled(width: usize, colour: bool) -> Self {
        Line { text: String::new(), room: width, colour }
    }

    pub fn new(label: &str, width: usize, colour: bool) -> Self {
        let mut line = Line::unlabelled(width, colour);
        line.put(Style::Dim, &format!("{label:LABEL$}"));
        line
    }

    /// Columns left.
    pub fn room(&self) -> usize {
        self.room
    }

    pub fn finish(self) -> String {
        self.text
    }

    /// Adds text, cut to the room there is.
    pub fn put(&mut self, style: Style, text: &str) {
        let text = cut(&clean(text), self.room);
        self.room -= text.chars().map(|c| c.width().unwrap_or(0)).sum::<usize>();
        if self.colour && style != Style::Plain && !text.is_empty() {
            self.text.push_str(style.sgr());
            self.text.push_str(&text);
            self.text.push_str("\x1b[0m");
        } else {
            self.text.push_str(&text);
        }
    }

    /// Adds text after two spaces, or nothing where there is no room for all of it.
    pub fn piece(&mut self, style: Style, text: &str) {
        if text.width() + 2 <= self.room && !text.is_empty() {
            self.put(Style::Plain, "  ");
            self.put(style, text);
        }
    }

    /// Adds a bar that is full at a `share` of 1, with `text` behind it; without room for both,
    /// only the text.
    pub fn bar(&mut self, style: Style, share: f64, text: &str) {
        let cells = self.room.saturating_sub(text.width() + 2).min(MAX_BAR);
        if cells >= 4 {
            // A share of 0/0 is none.
            let full = (share.clamp(0.0, 1.0) * cells as f64).round() as usize;
            self.put(style, &"█".repeat(full));
            self.put(Style::Dim, &"░".repeat(cells - full));
            self.put(Style::Plain, "  ");
        }
        self.put(Style::Plain, text);
    }
}
