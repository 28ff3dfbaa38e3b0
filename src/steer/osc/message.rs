//! What a message asks for: its address and arguments against the registry.
//!
//! Holds: everything is typed and checked here, before anything is changed, so that a bundle is
//! taken whole or not at all. `docs/osc.md` has the rules.

use rosc::{OscMessage, OscType};

use super::pattern::{Pattern, is_pattern};
use super::refusal::{Refusal, Why};
use crate::music::{BPM, Heard};
use crate::param::{self, Change, Kind, Op, Param, REGISTRY, Value};

/// Before every address.
pub const ROOT: &str = "/vfaq";
/// The longest fade that can be asked for.
const LONGEST_FADE_S: f32 = 60.0;
/// What `+` and `-` do without a number, in parts of a range.
const STEP: f32 = 0.05;

/// What is asked for.
#[derive(Debug, PartialEq)]
pub enum Asked {
    /// Together; none for the release of a button.
    Changes(Vec<Change>),
    Values(Vec<&'static Param>),
    /// Feedback, to this port or that of the sender.
    Subscribe {
        port: Option<u16>,
        place: bool,
    },
    Unsubscribe,
    /// The tempo, or a beat, from a program that has one.
    Tempo(Heard),
    /// Not for us.
    Nothing,
}

/// What is done with the parameters of an address.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Verb {
    Set,
    Ask,
    More,
    Less,
    Toggle,
    Reset,
    Place,
}

const VERBS: [(&str, Verb); 6] = [
    ("?", Verb::Ask),
    ("+", Verb::More),
    ("-", Verb::Less),
    ("toggle", Verb::Toggle),
    ("reset", Verb::Reset),
    ("place", Verb::Place),
];

/// Reads a message; `explain`: an unknown address is worth looking for the nearest that exists.
///
/// # Errors
/// What is wrong with it, and what to send.
pub fn read(message: &OscMessage, explain: bool) -> Result<Asked, Refusal> {
    let refused = |why, text: String| Refusal::new(why, &message.addr, text);
    let args = &message.args[..];
    match message.addr.as_str() {
        "/vfaq/subscribe" => return subscribe(args).map_err(|(why, text)| refused(why, text)),
        // Two shows that answer each other would not end.
        "/vfaq/error" => return Ok(Asked::Nothing),
        "/vfaq/beat" | "/beat" => {
            return beat(args).map(Asked::Tempo).map_err(|(why, text)| refused(why, text));
        }
        "/vfaq/bpm" | "/bpm" | "/tempo" => {
            return tempo(args).map(Asked::Tempo).map_err(|(why, text)| refused(why, text));
        }
        _ => {}
    }
    let (address, mut verb) = split(&message.addr);
    let mut args = args;
    if let [OscType::String(text)] = args
        && text == "?"
    {
        (verb, args) = (Verb::Ask, &[]);
    }
    let (params, many) =
        resolve(address, verb, explain).map_err(|(why, text)| refused(why, text))?;
    let asked = match verb {
        Verb::Ask if !args.is_empty() => {
            Err((Why::Arguments, "a question has no arguments".to_owned()))
        }
        Verb::Ask => Ok(Asked::Values(params)),
        _ => changes(&params, many, verb, args).map(Asked::Changes),
    };
    asked.map_err(|(why, text)| refused(why, text))
}

type Fault = (Why, String);

/// A beat falls: nothing, or its number, from 1, or that and the tempo.
fn beat(args: &[OscType]) -> Result<Heard, Fault> {
    let number = |place: usize| args.get(place).map(finite).transpose();
    match args.len() {
        0..=2 => {
            let bpm = number(1)?.map(bpm).transpose()?;
            if number(0)?.is_some_and(|number| number < 1.0) {
                // A button that is let go of sends 0.
                return Err((Why::Arguments, "beats are numbered from 1".to_owned()));
            }
            // For this program the first is 0.
            Ok(Heard::Beat { number: number(0)?.map(|number| number - 1.0), bpm })
        }
        count => Err((
            Why::Arguments,
            format!("{count} arguments; send the number of the beat at most, and the tempo"),
        )),
    }
}

fn tempo(args: &[OscType]) -> Result<Heard, Fault> {
    match args {
        [one] => Ok(Heard::Bpm(bpm(finite(one)?)?)),
        _ => Err((Why::Arguments, "send the tempo in beats a minute".to_owned())),
    }
}

fn finite(arg: &OscType) -> Result<f64, Fault> {
    let number = match arg {
        OscType::Double(number) => *number,
        OscType::Int(number) => f64::from(*number),
        other => match value(other)? {
            Value::Number(number) => f64::from(number),
            _ => return Err((Why::WrongType, "no number where one belongs".to_owned())),
        },
    };
    match number.abs() < 1e9 {
        true => Ok(number),
        false => Err((Why::OutOfRange, format!("{number} is no number to go by"))),
    }
}

fn bpm(bpm: f64) -> Result<f64, Fault> {
    match BPM.contains(&bpm) {
        true => Ok(bpm),
        false => {
            let (least, most) = (BPM.start(), BPM.end());
            Err((Why::OutOfRange, format!("{bpm} is no tempo; send {least} to {most} bpm")))
        }
    }
}

/// The address of parameters, and what is done with them.
fn split(address: &str) -> (&str, Verb) {
    if exact(address).is_none()
        && let Some((before, last)) = address.rsplit_once('/')
        && let Some((_, verb)) = VERBS.iter().find(|(name, _)| *name == last)
    {
        return (before, *verb);
    }
    (address, Verb::Set)
}

fn exact(address: &str) -> Option<&'static Param> {
    let short = address.strip_prefix(ROOT)?;
    REGISTRY.iter().find(|param| param.address == short)
}

/// The parameters at an address, and whether it may mean several.
fn resolve(address: &str, verb: Verb, explain: bool) -> Result<(Vec<&'static Param>, bool), Fault> {
    if let Some(param) = exact(address) {
        return Ok((vec![param], false));
    }
    let all = |is: &dyn Fn(&str) -> bool| -> Vec<&'static Param> {
        REGISTRY.iter().filter(|param| is(&format!("{ROOT}{}", param.address))).collect()
    };
    let found = if is_pattern(address) {
        let pattern = Pattern::read(address).ok_or_else(|| {
            (Why::UnknownAddress, "a bracket is left open, or has nothing in it".to_owned())
        })?;
        all(&|address| pattern.matches(address))
    } else if verb == Verb::Ask && (address == ROOT || address.starts_with("/vfaq/")) {
        all(&|whole| whole.strip_prefix(address).is_some_and(|rest| rest.starts_with('/')))
    } else {
        Vec::new()
    };
    if !found.is_empty() {
        return Ok((found, true));
    }
    let text = if is_pattern(address) {
        "no parameter is like that".to_owned()
    } else if !explain {
        "no such parameter".to_owned()
    } else if !address.starts_with("/vfaq/") {
        "every address begins with /vfaq/, such as /vfaq/fx/zoom".to_owned()
    } else {
        let error = param::find(address).err().map(|error| error.to_string()).unwrap_or_default();
        match error.split_once("did you mean ") {
            Some((before, nearest)) => format!("{before}did you mean {ROOT}{nearest}"),
            None => error,
        }
    };
    Err((Why::UnknownAddress, text))
}

fn changes(
    params: &[&'static Param],
    many: bool,
    verb: Verb,
    args: &[OscType],
) -> Result<Vec<Change>, Fault> {
    let first = args.first().map(value).transpose()?;
    // Of several, those that it can be about: nobody means every trigger.
    let takes = |param: &&Param| match (verb, &first) {
        _ if !many => true,
        (Verb::Set, None | Some(Value::Nothing)) => param.kind == Kind::Trigger,
        (Verb::Set, Some(Value::Text(_))) => {
            !matches!(param.kind, Kind::Trigger | Kind::Float { .. })
        }
        (Verb::Reset, _) => param.kind != Kind::Trigger,
        _ => param.is_number(),
    };
    let mut taken: Vec<&'static Param> = params.iter().copied().filter(takes).collect();
    if taken.is_empty() && many && params.iter().all(|param| param.kind == Kind::Trigger) {
        taken = params.to_vec();
    }
    if taken.is_empty() {
        return Err((Why::WrongType, "nothing there takes that".to_owned()));
    }
    let mut changes = Vec::with_capacity(taken.len());
    for param in taken {
        changes.extend(change(param, verb, first.as_ref(), args)?);
    }
    Ok(changes)
}

/// What becomes of one parameter; `None` for the release of a button.
fn change(
    param: &'static Param,
    verb: Verb,
    first: Option<&Value>,
    args: &[OscType],
) -> Result<Option<Change>, Fault> {
    // A fade may follow the number.
    let fades =
        param.is_number() && matches!(verb, Verb::Set | Verb::Place | Verb::More | Verb::Less);
    let most = if fades { 2 } else { 1 };
    if args.len() > most {
        let text = format!("{} arguments; send at most {most}", args.len());
        return Err((Why::Arguments, text));
    }
    let fade_ms = args.get(1).map(fade).transpose()?.unwrap_or(0.0);
    let released = matches!(first, Some(Value::Number(0.0)));
    let number = || match first {
        None | Some(Value::Nothing) => Ok(None),
        Some(Value::Number(number)) if number.is_finite() => Ok(Some(*number)),
        Some(Value::Number(number)) => {
            Err((Why::OutOfRange, format!("{number} is no number to go by")))
        }
        Some(Value::Text(_)) => Err((Why::WrongType, "text where a number belongs".to_owned())),
    };
    let no_number = |what: &str| {
        let kind = if param.kind == Kind::Trigger { "a trigger" } else { "text" };
        Err((Why::WrongType, format!("it is {kind}, with nothing to {what}")))
    };
    let op = match verb {
        Verb::Ask => return Ok(None),
        Verb::Set if param.kind == Kind::Trigger => {
            if released {
                return Ok(None);
            }
            Op::Set(Value::Nothing)
        }
        Verb::Set => Op::Set(admitted(param, first)?),
        Verb::More | Verb::Less if !param.is_number() => return no_number("add to"),
        Verb::More | Verb::Less => {
            let sign = if verb == Verb::More { 1.0 } else { -1.0 };
            match (number()?, param.kind) {
                (Some(by), _) => Op::Add(sign * by),
                (None, Kind::Float { .. }) => Op::Turn(sign * STEP),
                (None, _) => Op::Add(sign),
            }
        }
        Verb::Toggle if !param.is_number() => return no_number("toggle"),
        Verb::Reset if param.kind == Kind::Trigger => return no_number("reset"),
        Verb::Toggle | Verb::Reset => {
            number()?;
            if released {
                return Ok(None);
            }
            if verb == Verb::Toggle { Op::Toggle } else { Op::Reset }
        }
        Verb::Place if !param.is_number() => return no_number("set by a fader"),
        Verb::Place => match number()? {
            None => return Err((Why::Arguments, "nothing was sent; send 0 to 1".to_owned())),
            Some(place) if (0.0..=1.0).contains(&place) => Op::Place(place),
            Some(place) => {
                return Err((Why::OutOfRange, format!("{place} is out of range; send 0 to 1")));
            }
        },
    };
    Ok(Some(Change { param, op, fade_ms }))
}

/// What a parameter makes of a value.
fn admitted(param: &Param, value: Option<&Value>) -> Result<Value, Fault> {
    let Some(value) = value else {
        let what = if param.is_number() { "a number" } else { "text" };
        return Err((Why::Arguments, format!("nothing was sent; send {what}")));
    };
    param.admit(value).map_err(|error| {
        let why = match (param.kind, value) {
            (_, Value::Nothing) | (Kind::Text { .. }, Value::Number(_)) => Why::WrongType,
            (Kind::Float { .. } | Kind::Int { .. }, Value::Text(text)) => {
                match text.trim().parse::<f32>() {
                    Ok(_) => Why::OutOfRange,
                    Err(_) => Why::WrongType,
                }
            }
            _ => Why::OutOfRange,
        };
        let text = error.to_string();
        // The answer has the address already.
        let short = text.strip_prefix(param.address).and_then(|rest| rest.strip_prefix(": "));
        (why, short.unwrap_or(&text).to_owned())
    })
}

fn fade(arg: &OscType) -> Result<f32, Fault> {
    match value(arg)? {
        Value::Number(seconds) if (0.0..=LONGEST_FADE_S).contains(&seconds) => Ok(seconds * 1000.0),
        Value::Number(seconds) => Err((
            Why::OutOfRange,
            format!("a fade of {seconds} seconds; send 0 to {LONGEST_FADE_S} behind the value"),
        )),
        _ => Err((Why::WrongType, "behind the value goes a fade, a number of seconds".to_owned())),
    }
}

fn value(arg: &OscType) -> Result<Value, Fault> {
    let what = match arg {
        OscType::Float(number) => return Ok(Value::Number(*number)),
        OscType::Double(number) => return Ok(Value::Number(*number as f32)),
        OscType::Int(number) => return Ok(Value::Number(*number as f32)),
        OscType::Long(number) => return Ok(Value::Number(*number as f32)),
        OscType::Bool(on) => return Ok(Value::Number(f32::from(u8::from(*on)))),
        OscType::String(text) => return Ok(Value::Text(text.as_str().into())),
        OscType::Nil | OscType::Inf => return Ok(Value::Nothing),
        OscType::Blob(_) => "a blob",
        OscType::Array(_) => "an array",
        OscType::Time(_) => "a time",
        OscType::Char(_) => "a single character",
        OscType::Color(_) => "a colour",
        OscType::Midi(_) => "a MIDI message",
    };
    Err((Why::WrongType, format!("{what}; send a number, a text, or true or false")))
}

fn subscribe(args: &[OscType]) -> Result<Asked, Fault> {
    let mut rest = args;
    let port = match rest {
        [OscType::String(_), ..] | [] => None,
        [port, after @ ..] => {
            rest = after;
            let Value::Number(port) = value(port)? else {
                return Err((Why::WrongType, "the port is a number".to_owned()));
            };
            if port.fract() != 0.0 || !(0.0..=65_535.0).contains(&port) {
                return Err((Why::OutOfRange, format!("{port} is no port; send 0 to 65535")));
            }
            Some(port as u16)
        }
    };
    match (port, rest) {
        (Some(0), []) => Ok(Asked::Unsubscribe),
        (port, []) => Ok(Asked::Subscribe { port, place: false }),
        (Some(0), _) => {
            Err((Why::Arguments, "0 ends a subscription; send nothing else".to_owned()))
        }
        (port, [OscType::String(kind)]) if kind == "place" => {
            Ok(Asked::Subscribe { port, place: true })
        }
        (port, [OscType::String(kind)]) if kind == "values" => {
            Ok(Asked::Subscribe { port, place: false })
        }
        (_, [OscType::String(_)]) => {
            Err((Why::OutOfRange, "send values or place behind the port".to_owned()))
        }
        _ => Err((Why::Arguments, "send a port, and values or place behind it".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::param::ParamId;

    fn asked(address: &str, args: Vec<OscType>) -> Result<Asked, Refusal> {
        read(&OscMessage { addr: address.into(), args }, true)
    }

    fn one(address: &str, args: Vec<OscType>) -> (ParamId, Op, f32) {
        match asked(address, args) {
            Ok(Asked::Changes(changes)) if changes.len() == 1 => {
                (changes[0].param.id, changes[0].op.clone(), changes[0].fade_ms)
            }
            other => panic!("{address}: {other:?}"),
        }
    }

    fn refused(address: &str, args: Vec<OscType>) -> (Why, String) {
        let refusal = asked(address, args).unwrap_err();
        (refusal.why, refusal.message)
    }

    #[test]
    fn every_type_of_number_sets_a_number() {
        for arg in [
            OscType::Float(2.0),
            OscType::Int(2),
            OscType::Double(2.0),
            OscType::Long(2),
            "2".into(),
        ] {
            let (id, op, _) = one("/vfaq/fx/zoom", vec![arg]);
            assert_eq!((id, op), (ParamId::Zoom, Op::Set(2.0.into())));
        }
        let (_, op, _) = one("/vfaq/fx/blackout", vec![OscType::Bool(true)]);
        assert_eq!(op, Op::Set(1.0.into()));
        let (_, op, _) = one("/vfaq/fx/mirror", vec!["quad".into()]);
        assert_eq!(op, Op::Set(3.0.into()));
        let (_, op, _) = one("/vfaq/prompt/text", vec!["a coral sea".into()]);
        assert_eq!(op, Op::Set("a coral sea".into()));
        let (_, op, fade_ms) = one("/vfaq/fx/zoom", vec![2.0f32.into(), OscType::Int(3)]);
        assert_eq!((op, fade_ms), (Op::Set(2.0.into()), 3000.0));
    }

    #[test]
    fn what_does_not_go_is_refused_with_a_reason() {
        for (address, args, why, says) in [
            ("/vfaq/fx/zom", vec![1.0f32.into()], Why::UnknownAddress, "/vfaq/fx/zoom"),
            ("/fx/zoom", vec![1.0f32.into()], Why::UnknownAddress, "begins with /vfaq/"),
            ("/vfaq/fx/zoom", vec![9.0f32.into()], Why::OutOfRange, "send 1 to 4"),
            ("/vfaq/fx/zoom", vec![f32::NAN.into()], Why::OutOfRange, "NaN"),
            ("/vfaq/fx/zoom", vec![], Why::Arguments, "send a number"),
            ("/vfaq/fx/zoom", vec![OscType::Nil], Why::WrongType, "send a number"),
            ("/vfaq/fx/zoom", vec!["wide".into()], Why::WrongType, "no number"),
            (
                "/vfaq/fx/zoom",
                vec![1.0f32.into(), 1.0f32.into(), 1.0f32.into()],
                Why::Arguments,
                "at most 2",
            ),
            ("/vfaq/fx/zoom", vec![1.0f32.into(), (-1.0f32).into()], Why::OutOfRange, "fade"),
            ("/vfaq/fx/zoom", vec![1.0f32.into(), "slow".into()], Why::WrongType, "fade"),
            ("/vfaq/fx/zoom", vec![OscType::Blob(vec![1])], Why::WrongType, "blob"),
            ("/vfaq/fx/zoom", vec![OscType::Char('x')], Why::WrongType, "character"),
            ("/vfaq/fx/mirror", vec!["octo".into()], Why::OutOfRange, "left_right"),
            ("/vfaq/fx/flash", vec![1.into(), 1.into()], Why::Arguments, "at most 1"),
            ("/vfaq/prompt/text", vec![1.0f32.into()], Why::WrongType, "send text"),
            ("/vfaq/prompt/text", vec!["a".into(), 1.0f32.into()], Why::Arguments, "at most 1"),
            ("/vfaq/fx/flash/toggle", vec![], Why::WrongType, "trigger"),
            ("/vfaq/fx/flash/reset", vec![], Why::WrongType, "trigger"),
            ("/vfaq/prompt/text/+", vec![1.into()], Why::WrongType, "text"),
            ("/vfaq/fx/zoom/place", vec![1.5f32.into()], Why::OutOfRange, "0 to 1"),
            ("/vfaq/fx/zoom/place", vec![], Why::Arguments, "0 to 1"),
            ("/vfaq/fx/zoom/?", vec![1.into()], Why::Arguments, "question"),
            ("/vfaq/fx/[", vec![1.into()], Why::UnknownAddress, "bracket"),
            ("/vfaq/subscribe", vec![70_000.into()], Why::OutOfRange, "port"),
            ("/vfaq/subscribe", vec![9000.into(), "knobs".into()], Why::OutOfRange, "place"),
        ] {
            let (found, message) = refused(address, args);
            assert_eq!(found, why, "{address}: {message}");
            assert!(message.contains(says), "{address}: {message}");
        }
    }

    #[test]
    fn suffixes_say_what_to_do() {
        assert_eq!(one("/vfaq/fx/zoom/+", vec![0.1f32.into()]).1, Op::Add(0.1));
        assert_eq!(one("/vfaq/fx/zoom/-", vec![0.1f32.into()]).1, Op::Add(-0.1));
        assert_eq!(one("/vfaq/fx/zoom/+", vec![]).1, Op::Turn(STEP));
        assert_eq!(one("/vfaq/fx/kaleidoscope/-", vec![]).1, Op::Add(-1.0));
        assert_eq!(one("/vfaq/fx/blackout/toggle", vec![1.into()]).1, Op::Toggle);
        assert_eq!(one("/vfaq/fx/zoom/reset", vec![]).1, Op::Reset);
        assert_eq!(one("/vfaq/fx/zoom/place", vec![0.5f32.into()]).1, Op::Place(0.5));
        let ask = |address: &str, args| match asked(address, args) {
            Ok(Asked::Values(params)) => params.len(),
            other => panic!("{other:?}"),
        };
        assert_eq!(ask("/vfaq/fx/zoom/?", vec![]), 1);
        assert_eq!(ask("/vfaq/fx/zoom", vec!["?".into()]), 1);
        assert_eq!(ask("/vfaq/?", vec![]), REGISTRY.len());
        assert!(ask("/vfaq/fx/?", vec![]) > 20 && ask("/vfaq/fx/pan_*/?", vec![]) == 2);
    }

    #[test]
    fn a_button_that_is_let_go_does_nothing() {
        for address in ["/vfaq/fx/flash", "/vfaq/fx/blackout/toggle", "/vfaq/fx/zoom/reset"] {
            for arg in [OscType::Int(0), OscType::Float(0.0), OscType::Bool(false)] {
                assert_eq!(asked(address, vec![arg]), Ok(Asked::Changes(vec![])), "{address}");
            }
        }
        for args in
            [vec![], vec![OscType::Inf], vec![OscType::Nil], vec![1.into()], vec![true.into()]]
        {
            assert_eq!(one("/vfaq/fx/flash", args).1, Op::Set(Value::Nothing));
        }
    }

    #[test]
    fn a_wildcard_is_about_those_that_can_take_it() {
        let ids = |address: &str, args| match asked(address, args) {
            Ok(Asked::Changes(changes)) => {
                changes.iter().map(|change| change.param.id).collect::<Vec<_>>()
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(ids("/vfaq/fx/pan_*", vec![0.5f32.into()]), [ParamId::PanX, ParamId::PanY]);
        let reset = ids("/vfaq/fx/*/reset", vec![]);
        assert!(reset.contains(&ParamId::Zoom) && !reset.contains(&ParamId::Flash));
        let fired = ids("/vfaq/fx/{flash,glitch_hit}", vec![1.into()]);
        assert_eq!(fired, [ParamId::GlitchHit, ParamId::Flash]);
        // One that cannot have it is enough.
        assert_eq!(refused("/vfaq/fx/*", vec![0.5f32.into()]).0, Why::OutOfRange);
    }

    #[test]
    fn who_wants_to_hear_says_where() {
        let subscribe = |port, place| Ok(Asked::Subscribe { port, place });
        assert_eq!(asked("/vfaq/subscribe", vec![]), subscribe(None, false));
        assert_eq!(asked("/vfaq/subscribe", vec![9002.into()]), subscribe(Some(9002), false));
        assert_eq!(
            asked("/vfaq/subscribe", vec![9002.into(), "place".into()]),
            subscribe(Some(9002), true)
        );
        assert_eq!(asked("/vfaq/subscribe", vec![0.into()]), Ok(Asked::Unsubscribe));
    }

    proptest! {
        /// What is let through does not fail later for its value.
        #[test]
        fn what_is_taken_the_board_takes(number: f32, place in 0.0f32..=1.0, at in 0..REGISTRY.len(), verb in 0..4usize) {
            let param = &REGISTRY[at];
            let suffix = ["", "/+", "/-", "/place"][verb];
            let number = if verb == 3 { place } else { number };
            let address = format!("{ROOT}{}{suffix}", param.address);
            if let Ok(Asked::Changes(changes)) = asked(&address, vec![number.into()]) {
                let (board, _reader) = param::board(param::Values::default(), &[]);
                let from = param::From { source: "osc".into(), received: std::time::Duration::ZERO };
                prop_assert!(board.apply_all(&changes, &from).is_ok(), "{address} {number}");
            }
        }
    }
}
