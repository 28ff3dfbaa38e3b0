//! From the bytes of a packet to messages and when they are due.
//!
//! Holds: the structure is checked here, without recursion that a sender could drive deep: bundles
//! to a depth, messages with few arguments and no arrays; only then a message is decoded. A packet
//! is read whole or not at all, to its last byte. What belongs together stays together: the
//! messages of a bundle, and those of bundles in it that are due no later.

use rosc::{OscMessage, OscPacket};

use super::refusal::{Refusal, Why, shortened};

/// Bundles in bundles.
const DEEPEST: usize = 8;
/// Messages in one packet.
const MOST_MESSAGES: usize = 1024;
/// Longer addresses are none of ours.
const LONGEST_ADDRESS: usize = 255;
/// Arguments that anything here could be about.
const MOST_ARGUMENTS: usize = 16;
const BUNDLE: &[u8] = b"#bundle\0";

/// When something is due: an OSC time tag, seconds since 1900 in the upper half. `NOW` is at once.
pub type Tag = u64;
pub const NOW: Tag = 1;

/// Messages that are carried out together.
#[derive(Clone, Debug, PartialEq)]
pub struct Unit {
    pub due: Tag,
    pub messages: Vec<OscMessage>,
}

/// Reads a packet.
///
/// # Errors
/// What is wrong with it, and where.
pub fn read(bytes: &[u8]) -> Result<Vec<Unit>, Refusal> {
    let mut reader = Reader { units: Vec::new(), messages: 0 };
    reader.element(bytes, 0, NOW, None)?;
    Ok(reader.units)
}

struct Reader {
    units: Vec<Unit>,
    messages: usize,
}

fn malformed(address: &str, message: &str) -> Refusal {
    Refusal::new(Why::Malformed, address, message)
}

fn number(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?))
}

impl Reader {
    /// A message or a bundle, which belongs to the unit with that number.
    fn element(
        &mut self,
        bytes: &[u8],
        depth: usize,
        due: Tag,
        unit: Option<usize>,
    ) -> Result<(), Refusal> {
        if !bytes.starts_with(BUNDLE) {
            let message = message(bytes)?;
            self.messages += 1;
            if self.messages > MOST_MESSAGES {
                let message = format!("over {MOST_MESSAGES} messages in one packet");
                return Err(Refusal::new(Why::TooMany, "", message));
            }
            let unit = self.unit(due, unit);
            self.units[unit].messages.push(message);
            return Ok(());
        }
        if depth == DEEPEST {
            let message = format!("bundles in bundles, more than {DEEPEST} deep");
            return Err(Refusal::new(Why::TooDeep, "#bundle", message));
        }
        let cut_off = || malformed("#bundle", "the bundle is cut off");
        let mut rest = &bytes[BUNDLE.len()..];
        let (seconds, fraction) = (number(rest), rest.get(4..).and_then(number));
        let own = match (seconds, fraction) {
            (Some(seconds), Some(fraction)) => u64::from(seconds) << 32 | u64::from(fraction),
            _ => return Err(cut_off()),
        };
        rest = &rest[8..];
        // Nothing in a bundle is due before it.
        let (due, unit) = if own > due { (own, None) } else { (due, unit) };
        let unit = self.unit(due, unit);
        while !rest.is_empty() {
            let size = number(rest).ok_or_else(cut_off)? as usize;
            let element = rest.get(4..).and_then(|rest| rest.get(..size)).ok_or_else(cut_off)?;
            self.element(element, depth + 1, due, Some(unit))?;
            rest = &rest[4 + size..];
        }
        Ok(())
    }

    fn unit(&mut self, due: Tag, unit: Option<usize>) -> usize {
        unit.unwrap_or_else(|| {
            self.units.push(Unit { due, messages: Vec::new() });
            self.units.len() - 1
        })
    }
}

fn message(bytes: &[u8]) -> Result<OscMessage, Refusal> {
    if bytes.first() != Some(&b'/') {
        return Err(malformed(
            "",
            "this is no OSC: neither a bundle nor an address that begins with /",
        ));
    }
    if !bytes.len().is_multiple_of(4) {
        return Err(malformed("", "the length is no multiple of 4: it is cut off, or no OSC"));
    }
    let end = bytes.iter().take(LONGEST_ADDRESS + 1).position(|byte| *byte == 0);
    let Some(end) = end else {
        let start = String::from_utf8_lossy(&bytes[..bytes.len().min(LONGEST_ADDRESS)]);
        let message = format!("an address of over {LONGEST_ADDRESS} bytes");
        return Err(Refusal::new(Why::UnknownAddress, &start, message));
    };
    let address = String::from_utf8_lossy(&bytes[..end]).into_owned();
    // Old programs leave the types out where there is no argument.
    let types = bytes.get((end / 4 + 1) * 4..).unwrap_or_default();
    if types.is_empty() {
        return Ok(OscMessage { addr: address, args: Vec::new() });
    }
    let length = types.iter().take(MOST_ARGUMENTS + 2).position(|byte| *byte == 0);
    if types[0] != b',' {
        return Err(malformed(&address, "no types of arguments follow the address"));
    }
    let Some(length) = length else {
        let message = format!("over {MOST_ARGUMENTS} arguments");
        return Err(Refusal::new(Why::Arguments, &address, message));
    };
    if types[..length].contains(&b'[') {
        return Err(Refusal::new(Why::WrongType, &address, "an array; send one value"));
    }
    match rosc::decoder::decode_udp(bytes) {
        Ok(([], OscPacket::Message(message))) => Ok(message),
        Ok(_) => Err(malformed(&address, "there is more than the types say")),
        Err(error) => {
            let found = shortened(&error.to_string());
            Err(malformed(&address, &format!("the arguments cannot be read: {found}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rosc::{OscBundle, OscTime, OscType, encoder};

    use super::*;

    fn packet(address: &str, args: Vec<OscType>) -> OscPacket {
        OscPacket::Message(OscMessage { addr: address.into(), args })
    }

    fn bundle(seconds: u32, content: Vec<OscPacket>) -> OscPacket {
        let timetag = OscTime { seconds, fractional: u32::from(seconds == 0) };
        OscPacket::Bundle(OscBundle { timetag, content })
    }

    fn bytes(packet: &OscPacket) -> Vec<u8> {
        encoder::encode(packet).unwrap()
    }

    #[test]
    fn what_is_due_together_stays_together() {
        let sent = bundle(
            0,
            vec![
                packet("/a", vec![OscType::Float(1.0)]),
                bundle(0, vec![packet("/b", vec![])]),
                bundle(
                    4_000_000_000,
                    vec![packet("/c", vec![]), bundle(5, vec![packet("/d", vec![])])],
                ),
                packet("/e", vec![]),
            ],
        );
        let units = read(&bytes(&sent)).unwrap();
        let found: Vec<(bool, Vec<&str>)> = units
            .iter()
            .map(|u| (u.due == NOW, u.messages.iter().map(|m| &*m.addr).collect()))
            .collect();
        assert_eq!(found, [(true, vec!["/a", "/b", "/e"]), (false, vec!["/c", "/d"])]);
        assert_eq!(units[1].due, 4_000_000_000 << 32);
    }

    #[test]
    fn a_packet_that_is_cut_off_does_nothing() {
        let sent =
            bundle(0, vec![packet("/a", vec![OscType::Int(1)]), packet("/b", vec!["x".into()])]);
        let whole = bytes(&sent);
        assert!(read(&whole).is_ok());
        for length in (0..whole.len()).filter(|length| *length != 16) {
            // After its first element a bundle is whole too, only shorter.
            let first = 16 + 4 + 12;
            assert_eq!(read(&whole[..length]).is_ok(), length == first, "{length}");
        }
        assert_eq!(read(b"/vfaq/fx/zoom\0\0\0,f\0\0").unwrap_err().why, Why::Malformed);
        assert_eq!(read(b"GET / HTTP/1.1\r\n").unwrap_err().why, Why::Malformed);
        assert_eq!(read(b"/a\0\0").unwrap()[0].messages[0].addr, "/a");
    }

    #[test]
    fn what_would_cost_much_is_refused_before_it_is_decoded() {
        let mut deep = packet("/a", vec![]);
        for _ in 0..DEEPEST {
            deep = bundle(0, vec![deep]);
        }
        assert!(read(&bytes(&deep)).is_ok());
        assert_eq!(read(&bytes(&bundle(0, vec![deep]))).unwrap_err().why, Why::TooDeep);
        // As deep as 64 KB go.
        let mut nested = Vec::new();
        for left in (0..3200u32).rev() {
            nested.extend_from_slice(b"#bundle\0\0\0\0\0\0\0\0\x01");
            nested.extend_from_slice(&(left * 20).to_be_bytes());
        }
        assert!(read(&nested).is_err());
        let arrays = [b"/a\0\0,".to_vec(), vec![b'['; 14], vec![0; 1]].concat();
        assert_eq!(read(&arrays).unwrap_err().why, Why::WrongType);
        let many = [b"/a\0\0,".to_vec(), vec![b'['; 60_003]].concat();
        assert_eq!(read(&many).unwrap_err().why, Why::Arguments);
        let long = [b"/".to_vec(), vec![b'a'; 60_003]].concat();
        assert_eq!(read(&long).unwrap_err().why, Why::UnknownAddress);
        let messages = (0..1025).map(|_| packet("/a", vec![])).collect();
        assert_eq!(read(&bytes(&bundle(0, messages))).unwrap_err().why, Why::TooMany);
    }

    proptest! {
        #[test]
        fn no_bytes_do_harm(mut bytes in proptest::collection::vec(any::<u8>(), 0..600), as_bundle: bool) {
            let _ = read(&bytes);
            if as_bundle {
                bytes.splice(..0, BUNDLE.iter().copied());
            } else {
                bytes.splice(..0, *b"/a\0\0,");
            }
            let _ = read(&bytes);
        }
    }
}
