//! `vfaq osc`: the addresses, a layout for a controller, and a small client to try things with.

use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use rosc::{OscMessage, OscPacket, OscType, decoder, encoder};

use super::line::clean;
use crate::base::error::{Error, Result};
use crate::base::fsio;
use crate::param::{Kind, Param, REGISTRY};
use crate::steer::osc::{ROOT, layout};

/// How long a show may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// A subscription is renewed well within its 30 seconds.
const RENEW: Duration = Duration::from_secs(10);

/// OSC addresses, a controller layout, and a small client
#[derive(Args)]
#[command(after_help = "\
Examples:
  vfaq osc list                                 every address, its type and range
  vfaq osc list fx                              those with fx in them
  vfaq osc send /vfaq/fx/zoom 1.5               set it, and see what it is then
  vfaq osc send /vfaq/fx/zoom 1 4               the same within 4 seconds
  vfaq osc send /vfaq/fx/zoom/?                 ask what it is
  vfaq osc send /vfaq/fx/flash                  a trigger
  vfaq osc send '/vfaq/fx/*/reset'              all effects as they were at the start
  vfaq osc monitor                              changes as they happen, until Ctrl-C
  vfaq osc layout --open-stage-control vfaq.json
docs/osc.md has the rules, and how to set up controllers.")]
pub struct OscArgs {
    #[command(subcommand)]
    command: Wish,
}

#[derive(Subcommand)]
enum Wish {
    /// Every address with its type and range
    List {
        /// Only those with this in them
        part: Option<String>,
    },
    /// Send one message to a show, and print what became of it
    Send {
        address: String,
        /// Numbers are sent as numbers, true and false as such, all else as text
        #[arg(allow_negative_numbers = true)]
        values: Vec<String>,
        #[command(flatten)]
        at: At,
    },
    /// Print what changes in a show
    Monitor {
        #[command(flatten)]
        at: At,
    },
    /// Print a session with a widget for each parameter
    Layout {
        /// For Open Stage Control, into this file instead
        #[arg(long, value_name = "FILE")]
        open_stage_control: Option<PathBuf>,
    },
}

#[derive(Args)]
struct At {
    /// Where the show listens to OSC
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9000")]
    at: SocketAddr,
}

pub fn run(args: &OscArgs) -> Result<()> {
    match &args.command {
        Wish::List { part } => list(part.as_deref().unwrap_or_default()),
        Wish::Send { address, values, at } => send(at.at, address, values),
        Wish::Monitor { at } => monitor(at.at),
        Wish::Layout { open_stage_control } => layout_to(open_stage_control.as_deref()),
    }
}

/// Prints a line. Whoever reads no further has had enough: `false`.
fn print(line: &str) -> bool {
    writeln!(std::io::stdout(), "{line}").is_ok()
}

fn list(part: &str) -> Result<()> {
    let widest = REGISTRY.iter().map(|param| param.address.len() + ROOT.len()).max().unwrap_or(0);
    for param in REGISTRY {
        let address = format!("{ROOT}{}", param.address);
        if address.contains(part) && !print(&format!("{address:widest$}  {}", takes(param))) {
            break;
        }
    }
    Ok(())
}

/// What a parameter takes, in a few words.
fn takes(param: &Param) -> String {
    let takes = match param.kind {
        Kind::Float { min, max } => format!("f  {min} to {max} {}", param.unit),
        Kind::Int { min, max } => format!("i  {min} to {max} {}", param.unit),
        Kind::Bool => "T  0 or 1".to_owned(),
        Kind::Enum(choices) => format!("s  {} (or 0 to {})", choices.join(", "), choices.len() - 1),
        Kind::Text { most } => format!("s  text, {most} characters at most"),
        Kind::Trigger => "I  trigger".to_owned(),
    };
    takes.trim_end().to_owned()
}

fn layout_to(file: Option<&Path>) -> Result<()> {
    let session = layout::open_stage_control();
    match file {
        None => {
            print(session.trim_end());
        }
        Some(file) => {
            fsio::write_atomic(file, session.as_bytes())?;
            print(&format!("wrote {}; open it in Open Stage Control", file.display()));
        }
    }
    Ok(())
}

/// A value as it is written on a command line.
fn argument(text: &str) -> OscType {
    match text {
        "true" => return OscType::Bool(true),
        "false" => return OscType::Bool(false),
        _ => {}
    }
    if let Ok(number) = text.parse::<i32>() {
        return OscType::Int(number);
    }
    match text.parse::<f32>() {
        Ok(number) if number.is_finite() => OscType::Float(number),
        _ => OscType::String(text.to_owned()),
    }
}

/// As it would be written on a command line.
fn shown(message: &OscMessage) -> String {
    let mut line = clean(&message.addr);
    for arg in &message.args {
        line.push(' ');
        match arg {
            OscType::Float(number) => line.push_str(&number.to_string()),
            OscType::Int(number) => line.push_str(&number.to_string()),
            OscType::Bool(on) => line.push_str(&on.to_string()),
            OscType::String(text) => line.push_str(&format!("{:?}", clean(text))),
            OscType::Nil => line.push_str("(trigger)"),
            _ => line.push('?'),
        }
    }
    line
}

struct Client {
    socket: UdpSocket,
    at: SocketAddr,
}

impl Client {
    fn new(at: SocketAddr) -> Result<Self> {
        let own: SocketAddr = if at.is_ipv4() {
            ([0, 0, 0, 0], 0).into()
        } else {
            (std::net::Ipv6Addr::UNSPECIFIED, 0).into()
        };
        let fault = |e| Error::unavailable("cannot open a UDP socket").with_source(e);
        let socket = UdpSocket::bind(own).map_err(fault)?;
        // So that nobody else is heard, and a port where nothing listens is told.
        socket.connect(at).map_err(fault)?;
        Ok(Client { socket, at })
    }

    fn silent(&self) -> Error {
        Error::unavailable(format!(
            "no show answers at {}; it prints \"osc on ADDR\" when it starts: say with --at \
             where that is",
            self.at
        ))
    }

    fn send(&self, addr: &str, args: Vec<OscType>) -> Result<()> {
        let message = OscPacket::Message(OscMessage { addr: addr.to_owned(), args });
        let bytes = encoder::encode(&message).map_err(|e| Error::usage(format!("{addr}: {e}")))?;
        match self.socket.send(&bytes) {
            Ok(_) => Ok(()),
            Err(e) if e.kind() == ErrorKind::ConnectionRefused => Err(self.silent()),
            Err(e) => Err(Error::unavailable(format!("cannot send to {}", self.at)).with_source(e)),
        }
    }

    /// The messages of the next packet; none when nothing comes in that time.
    fn next(&self, within: Duration) -> Result<Vec<OscMessage>> {
        let fault = |e| Error::unavailable("cannot receive").with_source(e);
        self.socket.set_read_timeout(Some(within)).map_err(fault)?;
        let mut buffer = vec![0; 65_536];
        match self.socket.recv(&mut buffer) {
            Ok(length) => {
                let packet = decoder::decode_udp(&buffer[..length]);
                Ok(packet.map(|(_, packet)| messages(packet)).unwrap_or_default())
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(vec![]),
            Err(e) if e.kind() == ErrorKind::ConnectionRefused => Err(self.silent()),
            Err(e) => Err(fault(e)),
        }
    }
}

fn messages(packet: OscPacket) -> Vec<OscMessage> {
    match packet {
        OscPacket::Message(message) => vec![message],
        OscPacket::Bundle(bundle) => bundle.content.into_iter().flat_map(messages).collect(),
    }
}

fn send(at: SocketAddr, address: &str, values: &[String]) -> Result<()> {
    if !address.starts_with('/') {
        return Err(Error::usage(format!(
            "{}: an address begins with /, such as /vfaq/fx/zoom; vfaq osc list has them all",
            clean(address)
        )));
    }
    if address == "/vfaq/subscribe" {
        return Err(Error::usage("vfaq osc monitor subscribes, and shows what comes"));
    }
    let client = Client::new(at)?;
    client.send(address, values.iter().map(|value| argument(value)).collect())?;
    // Packets of one sender are taken in order, so the answer tells what became of it.
    let (before, last) = address.rsplit_once('/').unwrap_or_default();
    let verbs = ["?", "+", "-", "toggle", "reset", "place"];
    let about = if verbs.contains(&last) { before } else { address };
    let asks = last == "?" || values.first().is_some_and(|value| value == "?");
    if !asks {
        client.send(&format!("{about}/?"), vec![])?;
    }
    let answers = client.next(PATIENCE)?;
    if answers.is_empty() {
        return Err(client.silent());
    }
    for message in &answers {
        if message.addr == "/vfaq/error" {
            let text = |n: usize| match message.args.get(n) {
                Some(OscType::String(text)) => clean(text),
                _ => String::new(),
            };
            return Err(Error::usage(format!("{}: {}", text(0), text(1))));
        }
        print(&shown(message));
    }
    Ok(())
}

fn monitor(at: SocketAddr) -> Result<()> {
    let client = Client::new(at)?;
    let mut answered = false;
    loop {
        client.send("/vfaq/subscribe", vec![])?;
        // All is told at first, changes after that; where it is quiet there are none.
        let clock = crate::base::clock::SystemClock::new();
        use crate::base::clock::Clock;
        while clock.now() < RENEW {
            let patience = if answered { RENEW.saturating_sub(clock.now()) } else { PATIENCE };
            let heard = client.next(patience.max(Duration::from_millis(1)))?;
            if heard.is_empty() && !answered {
                return Err(client.silent());
            }
            answered = true;
            if !heard.iter().all(|message| print(&shown(message))) {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_sent_as_they_look() {
        assert_eq!(argument("2"), OscType::Int(2));
        assert_eq!(argument("-0.5"), OscType::Float(-0.5));
        assert_eq!(argument("true"), OscType::Bool(true));
        assert_eq!(argument("quad"), OscType::String("quad".into()));
        assert_eq!(argument("nan"), OscType::String("nan".into()));
    }

    #[test]
    fn where_no_show_listens_it_says_what_to_do() {
        let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = send(free, "/vfaq/fx/zoom", &["1".into()]).unwrap_err().to_string();
        assert!(error.contains("--at"), "{error}");
        assert!(send(free, "zoom", &[]).unwrap_err().to_string().contains("begins with /"));
    }

    #[test]
    fn the_list_says_what_each_takes() {
        let of = |address: &str| {
            let param = REGISTRY.iter().find(|param| param.address == address).unwrap();
            takes(param)
        };
        assert_eq!(of("/fx/zoom"), "f  1 to 4 x");
        assert_eq!(of("/fx/mirror"), "s  off, left_right, top_bottom, quad (or 0 to 3)");
        assert_eq!(of("/fx/flash"), "I  trigger");
    }
}
