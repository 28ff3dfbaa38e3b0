//! Keys of a terminal in raw mode, and what they mean to a show.

use std::io::{self, IsTerminal};
use std::time::Duration;

use crossbeam_channel::Sender;
use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::cli::terminal::restore;

/// Keys that wait to be handled; a further one is lost, but for Ctrl-C, which becomes a signal.
pub const MAX_KEYS: usize = 16;
pub const HELP: &str = "g go   b blackout   o retry outputs   q stop   ? hide keys";

/// What somebody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// `g`: start a show that stands by.
    Go,
    /// `b`: toggle the blackout.
    Blackout,
    /// `o`: have every output that waits connect now.
    RetryOutputs,
    /// `q`: end the show cleanly.
    Drain,
    /// Ctrl-C: as the signal, the first ends the show cleanly, the second at once.
    Interrupt,
}

pub struct Keyboard {
    keys: Sender<Key>,
}

impl Keyboard {
    /// `None` without a terminal to read from, or with this process not in front of it: a job in
    /// the background would be stopped for changing the terminal's mode.
    pub fn take(keys: Sender<Key>) -> Option<Keyboard> {
        #[cfg(unix)]
        let in_front = nix::unistd::tcgetpgrp(io::stdin()) == Ok(nix::unistd::getpgrp());
        #[cfg(not(unix))]
        let in_front = true;
        (io::stdin().is_terminal() && in_front).then_some(Keyboard { keys })
    }

    /// Waits for up to `patience` and passes on what was pressed; whether the list of keys is to
    /// be shown or hidden.
    pub fn read(&self, mut patience: Duration) -> io::Result<bool> {
        let mut toggled = false;
        while event::poll(patience)? {
            patience = Duration::ZERO;
            let Event::Key(key) = event::read()? else { continue };
            match meaning(&key) {
                Some(Meaning::Key(key)) => self.pass_on(key),
                Some(Meaning::ToggleKeys) => toggled = !toggled,
                None => {}
            }
        }
        Ok(toggled)
    }

    fn pass_on(&self, key: Key) {
        // Nobody listens any more: a signal still ends the process.
        if self.keys.try_send(key).is_err() && key == Key::Interrupt {
            restore();
            #[cfg(unix)]
            let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGINT);
        }
    }
}

#[derive(Debug, PartialEq)]
enum Meaning {
    Key(Key),
    ToggleKeys,
}

fn meaning(key: &KeyEvent) -> Option<Meaning> {
    if key.kind != KeyEventKind::Press {
        return None;
    }
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Char('c') if control => Some(Meaning::Key(Key::Interrupt)),
        _ if control || key.modifiers.contains(KeyModifiers::ALT) => None,
        KeyCode::Char('g') => Some(Meaning::Key(Key::Go)),
        KeyCode::Char('b') => Some(Meaning::Key(Key::Blackout)),
        KeyCode::Char('o') => Some(Meaning::Key(Key::RetryOutputs)),
        KeyCode::Char('q') => Some(Meaning::Key(Key::Drain)),
        KeyCode::Char('?') => Some(Meaning::ToggleKeys),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_mean_what_the_help_says() {
        let press = |c, modifiers| meaning(&KeyEvent::new(KeyCode::Char(c), modifiers));
        let plain = KeyModifiers::NONE;
        assert_eq!(press('g', plain), Some(Meaning::Key(Key::Go)));
        assert_eq!(press('b', plain), Some(Meaning::Key(Key::Blackout)));
        assert_eq!(press('o', plain), Some(Meaning::Key(Key::RetryOutputs)));
        assert_eq!(press('q', plain), Some(Meaning::Key(Key::Drain)));
        assert_eq!(press('?', KeyModifiers::SHIFT), Some(Meaning::ToggleKeys));
        assert_eq!(press('c', KeyModifiers::CONTROL), Some(Meaning::Key(Key::Interrupt)));
        for (c, modifiers) in
            [('c', plain), ('q', KeyModifiers::CONTROL), ('z', KeyModifiers::CONTROL)]
        {
            assert_eq!(press(c, modifiers), None, "{c} {modifiers:?}");
        }
    }
}
