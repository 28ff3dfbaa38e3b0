//! `vfaq doctor`: prints what `app::doctor` finds, each line as soon as it is known.
//!
//! Holds: the last line on standard output is the verdict, and the exit code says the same.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::Args;
use unicode_width::UnicodeWidthStr;

use super::Folders;
use super::line::{Line, Style, clean};
use crate::app::doctor::{self, Finding, Mark, Report};
use crate::base::clock::Clock;
use crate::base::error::{Error, Kind, Result};

/// The widest line, in columns.
const WIDTH: usize = 100;
/// Columns of the group, the mark and the name, each with the space behind it.
const COLUMNS: [usize; 3] = [11, 6, 12];

#[derive(Args)]
pub struct DoctorArgs {
    /// Print all of it as one JSON object, for other programs
    #[arg(long)]
    json: bool,
}

pub fn run(folders: &Folders, args: &DoctorArgs, clock: &dyn Clock) -> Result<ExitCode> {
    let patient =
        doctor::Patient { worqspace: folders.worqspace.clone(), output: folders.output.clone() };
    let report = if args.json {
        let report = doctor::examine(&patient, clock, &mut |_| {})?;
        println!("{}", serde_json::to_string_pretty(&report).map_err(Error::fault)?);
        report
    } else {
        let mut page = Page::new();
        let report = doctor::examine(&patient, clock, &mut |finding| page.finding(finding))?;
        page.verdict(&report);
        report
    };
    let code = if report.can_run { 0 } else { Kind::Unavailable.exit_code() };
    Ok(ExitCode::from(code))
}

/// The screen as it fills.
struct Page {
    width: usize,
    colour: bool,
    group: &'static str,
}

impl Page {
    fn new() -> Self {
        let terminal = std::io::stdout().is_terminal();
        let width = crossterm::terminal::size().map_or(WIDTH, |(columns, _)| columns.into());
        Page {
            width: if terminal { width.clamp(50, WIDTH) } else { WIDTH },
            colour: terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()),
            group: "",
        }
    }

    fn finding(&mut self, finding: &Finding) {
        let group = if finding.group == self.group { "" } else { finding.group };
        self.group = finding.group;
        let (style, glyph, word) = match finding.mark {
            Mark::Ok => (Style::Good, "✓", "ok"),
            Mark::Note => (Style::Dim, "·", "note"),
            Mark::Warn => (Style::Warn, "!", "warn"),
            Mark::Bad => (Style::Bad, "✗", "bad"),
        };
        let mark = if self.colour { glyph } else { word };
        let text_style = if finding.mark == Mark::Note { Style::Dim } else { Style::Plain };
        let room = self.width - COLUMNS.iter().sum::<usize>();
        let mut rows: Vec<(Style, String)> =
            wrap(&finding.text, room).into_iter().map(|row| (text_style, row)).collect();
        if let Some(advice) = &finding.advice {
            let advice = wrap(&format!("-> {advice}"), room);
            rows.extend(advice.into_iter().map(|row| (Style::Accent, row)));
        }
        for (n, (style_of_row, row)) in rows.into_iter().enumerate() {
            let columns = [(Style::Bold, group), (style, mark), (text_style, finding.name)];
            let mut line = Line::unlabelled(self.width, self.colour);
            for ((style, text), width) in columns.into_iter().zip(COLUMNS) {
                line.put(style, &format!("{:width$}", if n == 0 { text } else { "" }));
            }
            line.put(style_of_row, &row);
            print(&line.finish());
        }
    }

    fn verdict(&self, report: &Report) {
        print("");
        if !report.install.is_empty() {
            let packages = report.install.join(" ");
            for row in
                wrap(&format!("On Debian or Ubuntu: sudo apt install {packages}"), self.width)
            {
                print(&row);
            }
        }
        let style = match (report.can_run, report.warnings) {
            (true, 0) => Style::Good,
            (true, _) => Style::Warn,
            (false, _) => Style::Bad,
        };
        let mut line = Line::unlabelled(self.width, self.colour);
        line.put(style, &report.verdict);
        print(&line.finish());
    }
}

/// Prints a line at once: the next one may take seconds.
fn print(line: &str) {
    let mut out = std::io::stdout();
    // Nobody reads any more: the exit code is still worth something.
    let _ = writeln!(out, "{}", line.trim_end()).and_then(|()| out.flush());
}

/// The text in rows of at most `room` columns, broken between words; a longer word stands alone.
fn wrap(text: &str, room: usize) -> Vec<String> {
    let mut rows = vec![String::new()];
    for word in clean(text).split_whitespace() {
        let last = rows.len() - 1;
        if rows[last].is_empty() {
            rows[last].push_str(word);
        } else if rows[last].width() + 1 + word.width() <= room {
            rows[last].push(' ');
            rows[last].push_str(word);
        } else {
            rows.push(word.to_owned());
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_never_torn() {
        assert_eq!(wrap("one two  three", 8), ["one two", "three"]);
        assert_eq!(wrap("a /very/long/path b", 5), ["a", "/very/long/path", "b"]);
        assert_eq!(wrap("", 5), [""]);
    }
}
