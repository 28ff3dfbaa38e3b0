//! What comes of messages, by the values on the board.

use std::sync::Mutex;

use super::*;
use crate::param::{self, ParamId, Values};
use crate::steer::midi::event::Decoder;
use crate::steer::midi::parse::Parser;

/// What a device was sent.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<Vec<u8>>>>);

impl Out for Heard {
    fn send(&mut self, bytes: &[u8]) -> bool {
        self.0.lock().unwrap().push(bytes.to_vec());
        true
    }
}

impl Heard {
    fn take(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

struct Bench {
    core: Core,
    board: Arc<Board>,
    parser: Parser,
    decoder: Decoder,
    now: Duration,
    out: Heard,
    _reader: param::Reader,
}

impl Bench {
    /// With one device, on a map of these bindings.
    fn new(bindings: &str) -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let text = format!("match: [pads]\nbindings:\n{bindings}");
        std::fs::write(folder.path().join("mine.yaml"), text).unwrap();
        let (maps, said) = map::all(folder.path());
        assert_eq!(said, Vec::<String>::new());
        let (board, reader) = param::board(Values::default(), &[]);
        let mut core = Core::new(board.clone(), maps, Vec::new(), true);
        let out = Heard::default();
        let there = Box::new(out.clone());
        let (at, said) = core.connect(&["pads"], "test", true, Some(there)).unwrap();
        assert_eq!((at, said), (0, Vec::new()));
        let (parser, decoder) = (Parser::default(), Decoder::default());
        Bench { core, board, parser, decoder, now: Duration::from_secs(1), out, _reader: reader }
    }

    /// Sends bytes, ten milliseconds after those before.
    fn send(&mut self, bytes: &[u8]) {
        self.now += Duration::from_millis(10);
        let Bench { core, parser, decoder, now, .. } = self;
        parser.feed(bytes, |m| core.hear(0, &decoder.events(m), *now));
    }

    fn number(&self, id: ParamId) -> f32 {
        self.board.number(id)
    }

    fn set(&self, id: ParamId, value: f32) {
        let from = From { source: "http".into(), received: self.now };
        self.board.apply(&Change::set(id, value), &from).unwrap();
    }

    fn shown(&mut self) -> Vec<Vec<u8>> {
        self.core.send_feedback();
        self.out.take()
    }
}

#[test]
fn each_mode_does_what_it_says() {
    let mut b = Bench::new(
        "- {control: cc 1.1, to: fx/zoom, range: [1, 2]}\n\
         - {control: cc14 1.2, to: fx/hue}\n\
         - {control: note 1.36, to: fx/blackout}\n\
         - {control: note 1.37, to: fx/strobe, mode: momentary, value: 8}\n\
         - {control: note 1.38, to: fx/flash}\n\
         - {control: note 1.39, to: preset/recall, value: neon}\n\
         - {control: cc 1.40, to: fx/mirror, mode: toggle}\n\
         - {control: cc 1.41, to: fx/kaleidoscope, mode: relative}\n\
         - {control: cc 1.42, to: fx/bloom, mode: relative, encoding: binary_offset, range: [0, 0.5]}\n\
         - {control: bend 1, to: fx/pan_x}\n\
         - {control: program 1.5, to: playback/next}\n",
    );
    b.send(&[0xB0, 1, 127]);
    assert_eq!(b.number(ParamId::Zoom), 2.0);
    b.send(&[0xB0, 2, 64, 34, 1]);
    b.send(&[0xB0, 2, 64, 34, 3]);
    assert!((b.number(ParamId::Hue) - 0.08).abs() < 0.02, "{}", b.number(ParamId::Hue));
    for on in [1.0, 0.0] {
        b.send(&[0x90, 36, 100, 36, 0]);
        assert_eq!(b.number(ParamId::Blackout), on);
    }
    b.set(ParamId::Strobe, 2.0);
    b.send(&[0x90, 37, 100]);
    assert_eq!(b.number(ParamId::Strobe), 8.0);
    b.send(&[0x80, 37, 0]);
    assert_eq!(b.number(ParamId::Strobe), 2.0, "as it was before");
    let before = b.board.accepted.get();
    b.send(&[0x90, 38, 100, 38, 0, 38, 90, 38, 0]);
    assert_eq!(b.board.accepted.get(), before + 2, "two flashes");
    b.send(&[0x90, 39, 1]);
    assert_eq!(&*b.board.text(ParamId::Recall), "neon");
    for choice in [1.0, 2.0] {
        b.send(&[0xB0, 40, 127, 40, 0]);
        assert_eq!(b.number(ParamId::Mirror), choice);
    }
    b.send(&[0xB0, 41, 1, 41, 1, 41, 1, 41, 127]);
    assert_eq!(b.number(ParamId::Kaleidoscope), 2.0);
    for _ in 0..64 {
        b.send(&[0xB0, 42, 65]);
    }
    assert!((b.number(ParamId::Bloom) - 0.25).abs() < 0.01);
    b.send(&[0xE0, 127, 127]);
    assert_eq!(b.number(ParamId::PanX), 1.0);
    let before = b.board.accepted.get();
    b.send(&[0xC0, 5, 5]);
    assert_eq!(b.board.accepted.get(), before + 2);
    let last = b.board.changed_since(0).1;
    assert!(
        last.iter().filter(|s| s.param.id != ParamId::Strobe).all(|s| &*s.source == "midi pads")
    );
    b.send(&[0xB0, 99, 5]);
    assert_eq!(b.core.counters.ignored.get(), 1);
}

#[test]
fn a_fader_waits_until_it_meets_the_value_and_lets_go_when_it_is_moved_elsewhere() {
    let mut b = Bench::new("- {control: cc 1.1, to: fx/blur, mode: pickup}\n");
    b.set(ParamId::Blur, 0.5);
    b.send(&[0xB0, 1, 10, 1, 20]);
    assert_eq!(b.number(ParamId::Blur), 0.5);
    b.send(&[0xB0, 1, 100]);
    assert!((b.number(ParamId::Blur) - 100.0 / 127.0).abs() < 1e-3);
    b.set(ParamId::Blur, 0.1);
    b.send(&[0xB0, 1, 90]);
    assert_eq!(b.number(ParamId::Blur), 0.1);
    b.send(&[0xB0, 1, 12]);
    assert!((b.number(ParamId::Blur) - 12.0 / 127.0).abs() < 1e-3);
}

#[test]
fn of_a_flood_the_last_value_wins_and_every_trigger_counts() {
    let mut b =
        Bench::new("- {control: cc 1.1, to: fx/blur}\n- {control: note 1.1, to: playback/next}\n");
    let Bench { core, parser, decoder, now, .. } = &mut b;
    for i in 0..1000u32 {
        // A thousand a second.
        *now += Duration::from_millis(1);
        let bytes = [0xB0, 1, (i % 100) as u8, 0x90, 1, 100, 1, 0];
        parser.feed(&bytes, |m| core.hear(0, &decoder.events(m), *now));
    }
    assert!(!b.core.tick(b.now + Duration::from_millis(5)));
    assert!((b.number(ParamId::Blur) - 99.0 / 127.0).abs() < 1e-3);
    let made = b.board.accepted.get();
    assert!((1000..1300).contains(&made), "{made}: 1000 triggers and at most 250 moves");
}

#[test]
fn a_device_that_is_gone_lets_go_and_keeps_its_bindings() {
    let mut b = Bench::new("- {control: note 1.37, to: fx/strobe, mode: momentary, value: 8}\n");
    b.send(&[0x90, 37, 100]);
    assert_eq!(b.number(ParamId::Strobe), 8.0);
    drop(b.core.gone(0, b.now));
    assert_eq!(b.number(ParamId::Strobe), 0.0);
    let (at, _) = b.core.connect(&["pads"], "test", true, None).unwrap();
    assert_eq!((at, b.core.devices.len(), b.core.devices[0].bound.len()), (0, 1, 1));
    b.send(&[0x90, 37, 100]);
    assert_eq!(b.number(ParamId::Strobe), 8.0);
}

#[test]
fn what_is_learned_replaces_what_the_control_did() {
    let mut b = Bench::new("- {control: cc 1.1, to: fx/blur}\n");
    b.core.learn(param::find("/fx/zoom").unwrap(), b.now).unwrap();
    b.send(&[0xB0, 1, 10, 1, 60, 1, 70]);
    assert!(b.core.learning.is_none());
    b.send(&[0xB0, 1, 127]);
    assert_eq!((b.number(ParamId::Zoom), b.number(ParamId::Blur)), (4.0, 0.0));
    let bound = &b.core.devices[0].bound;
    assert_eq!((bound.len(), &*bound[0].map), (1, "learned"));
    let id = bound[0].id;
    b.core.forget(id).unwrap();
    assert!(b.core.forget(id).is_err());
    b.send(&[0xB0, 1, 0]);
    assert_eq!(b.number(ParamId::Zoom), 4.0);
    // Nobody moves anything: steering goes on by itself.
    b.core.learn(param::find("/fx/zoom").unwrap(), b.now).unwrap();
    b.core.tick(b.now + Duration::from_secs(31));
    assert!(b.core.learning.is_none());
    assert!(b.core.learn(param::find("/prompt/text").unwrap(), b.now).is_err());
}

#[test]
fn devices_show_what_is_and_each_change_once() {
    let mut b = Bench::new(
        "- {control: cc 1.1, to: fx/blur, feedback: true}\n\
         - {control: note 1.36, to: fx/blackout, feedback: {on: 3, off: 1}}\n\
         - {control: note 1.39, to: preset/recall, value: neon, feedback: {on: 5}}\n\
         - {control: note 1.40, to: fx/flash, feedback: {on: 1}}\n\
         - {control: cc14 1.2, to: fx/bloom, feedback: true}\n",
    );
    let mut shown = b.shown();
    shown.sort();
    let all = [
        vec![0x90, 36, 1],
        vec![0x90, 39, 0],
        vec![0x90, 40, 0],
        vec![0xB0, 1, 0],
        vec![0xB0, 2, 0],
        vec![0xB0, 34, 0],
    ];
    assert_eq!(shown, all, "the whole state when it is connected");
    assert!(b.shown().is_empty());
    b.send(&[0xB0, 1, 64]);
    assert!(b.shown().is_empty(), "its own fader");
    b.set(ParamId::Blur, 1.0);
    b.set(ParamId::Blackout, 1.0);
    assert_eq!(b.shown(), [[0xB0, 1, 127], [0x90, 36, 3]]);
    b.send(&[0x90, 40, 100]);
    assert_eq!(b.shown(), [[0x90, 40, 1]]);
    b.send(&[0x90, 40, 0, 39, 100]);
    assert_eq!(b.shown(), [[0x90, 39, 5], [0x90, 40, 0]]);
    b.send(&[0x90, 36, 100]);
    assert_eq!(b.shown(), [[0x90, 36, 1]], "its own lamp");
}

#[test]
fn of_two_maps_that_fight_the_first_wins_and_it_is_said() {
    let folder = tempfile::tempdir().unwrap();
    for (name, to) in [("a", "fx/zoom"), ("b", "fx/hue")] {
        let text = format!("match: [pads]\nbindings:\n- {{control: cc 1.1, to: {to}}}\n");
        std::fs::write(folder.path().join(format!("{name}.yaml")), text).unwrap();
    }
    let (board, _reader) = param::board(Values::default(), &[]);
    let mut core = Core::new(board, map::all(folder.path()).0, Vec::new(), true);
    let (_, said) = core.connect(&["pads"], "test", true, None).unwrap();
    assert!(said[0].contains("b.yaml:3") && said[0].contains("map a already"), "{said:?}");
    assert_eq!(core.devices[0].bound.len(), 1);
    // One that nobody has a map for is steered by the generic one, a known one by its own.
    core.connect(&["other"], "test", true, None).unwrap();
    core.connect(&["nanoKONTROL2"], "test", true, None).unwrap();
    let maps: Vec<_> = core.devices.iter().map(|d| d.maps.concat()).collect();
    assert_eq!(maps, ["ab", "generic", "nanokontrol2"]);
}
