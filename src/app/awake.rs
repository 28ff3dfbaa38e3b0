//! Keeps the machine from sleeping and the screens from going blank during a show, where the
//! desktop allows it.
//!
//! Holds: the desktop is asked on a thread of its own, as its answer may take long; without one
//! the show goes on all the same.

use keepawake::Builder;

/// Asks for it; it holds until the process ends.
pub fn keep_awake() {
    // Nobody joins it: it may wait for the desktop longer than the show lasts.
    let started = std::thread::Builder::new().name("awake".into()).spawn(ask_all);
    if let Err(e) = started {
        tracing::info!("the machine is not kept awake: {e}");
    }
}

fn ask_all() {
    // Two services, of which a machine may have one: a stage computer without a desktop has no
    // screen saver, but a logind; and of that one, a policy may allow half.
    let (mut display, mut idle, mut sleep) =
        (Builder::default(), Builder::default(), Builder::default());
    let asked = [
        (ask(display.display(true)), "its screens from going blank"),
        (ask(idle.idle(true)), "the machine from idling"),
        (ask(sleep.sleep(true)), "the machine from sleeping"),
    ];
    let left: Vec<&str> = asked.iter().filter(|(granted, _)| !granted).map(|(_, of)| *of).collect();
    if !left.is_empty() {
        let left = left.join(" and ");
        tracing::info!("nobody here can be asked to keep {left}; see to that in its settings");
    }
}

/// Whether it was granted.
fn ask(wish: &mut Builder) -> bool {
    wish.app_name("Visual FaQtory Live")
        .app_reverse_domain("org.visualfaqtory.Live")
        .reason("a show is on air")
        .create()
        .inspect_err(|e| tracing::debug!("keeping awake: {e}"))
        // The end of the process takes the wish back. Dropping it says so to a desktop that may
        // have gone before, and panics then.
        .map(std::mem::forget)
        .is_ok()
}
