//! What a parameter is, as a message.

use rosc::{OscBundle, OscMessage, OscPacket, OscTime, OscType, encoder};

use super::message::ROOT;
use crate::param::{Kind, Param, Value};

/// How values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Numbers, as every controller can show them: switches 0 and 1, choices by number.
    Plain,
    /// As faders stand, 0 to 1, at `ADDRESS/place`.
    Place,
    /// By the types that the OSCQuery tree says: switches T and F, choices by name.
    Typed,
}

/// Bytes of messages in one datagram, so that a network need not cut it up.
const DATAGRAM: usize = 1400;

pub fn message(param: &Param, value: &Value, style: Style) -> OscMessage {
    let mut addr = format!("{ROOT}{}", param.address);
    let arg = match (value, param.kind) {
        (Value::Number(number), _) if style == Style::Place => {
            addr.push_str("/place");
            OscType::Float(param.place(*number))
        }
        (Value::Number(number), Kind::Float { .. }) => OscType::Float(*number),
        (Value::Number(number), Kind::Bool) if style == Style::Typed => {
            OscType::Bool(*number > 0.5)
        }
        (Value::Number(number), Kind::Enum(choices)) if style == Style::Typed => {
            OscType::String(choices.get(*number as usize).copied().unwrap_or_default().to_owned())
        }
        (Value::Number(number), _) => OscType::Int(*number as i32),
        (Value::Text(text), _) => OscType::String(text.to_string()),
        (Value::Nothing, _) if style == Style::Typed => OscType::Inf,
        (Value::Nothing, _) => OscType::Nil,
    };
    OscMessage { addr, args: vec![arg] }
}

/// As people write it: 0.4, not 0.4000000059604645, in JSON.
pub fn plain(number: f32) -> f64 {
    number.to_string().parse().unwrap_or_else(|_| f64::from(number))
}

/// Messages as datagrams: one alone as it is, several in bundles.
pub fn datagrams(messages: Vec<OscMessage>) -> Vec<Vec<u8>> {
    let mut datagrams = Vec::new();
    let mut bundle: Vec<OscPacket> = Vec::new();
    let mut size = 0;
    let mut close = |bundle: &mut Vec<OscPacket>| {
        let content = std::mem::take(bundle);
        let packet = match <[OscPacket; 1]>::try_from(content) {
            Ok([one]) => one,
            Err(content) if content.is_empty() => return,
            Err(content) => {
                let timetag = OscTime { seconds: 0, fractional: 1 };
                OscPacket::Bundle(OscBundle { timetag, content })
            }
        };
        datagrams.extend(encoder::encode(&packet));
    };
    for message in messages {
        let packet = OscPacket::Message(message);
        let length = encoder::encode(&packet).map_or(0, |bytes| bytes.len() + 4);
        if size + length > DATAGRAM {
            close(&mut bundle);
            size = 0;
        }
        size += length;
        bundle.push(packet);
    }
    close(&mut bundle);
    datagrams
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::param::{self, REGISTRY};
    use crate::steer::osc::{message, packet};

    /// What is sent back can be sent again.
    #[test]
    fn feedback_is_what_would_set_it() {
        let (board, _reader) = param::board(param::Values::default(), &[]);
        let values = |style| {
            let params = REGISTRY.iter().filter(|param| param.kind != Kind::Trigger);
            params.map(|param| message(param, &board.value(param), style)).collect::<Vec<_>>()
        };
        for style in [Style::Plain, Style::Place, Style::Typed] {
            let sent = values(style);
            let mut heard = 0;
            for datagram in datagrams(sent.clone()) {
                assert!(datagram.len() <= DATAGRAM + 16);
                for unit in packet::read(&datagram).unwrap() {
                    for message in unit.messages {
                        message::read(&message, true).unwrap();
                        heard += 1;
                    }
                }
            }
            assert_eq!(heard, sent.len());
        }
    }

    fn message(param: &Param, value: &Value, style: Style) -> OscMessage {
        super::message(param, value, style)
    }
}
