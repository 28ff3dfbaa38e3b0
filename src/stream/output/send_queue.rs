//! What the kernel still holds of what was written to a connection.
//!
//! It takes up to 4 MB off a program's hands, which hides a frozen server for many seconds and a
//! slow one for longer. Linux tells how much of it the other side has not confirmed, and of a
//! server on this machine also what it has not read (`proc(5)`, `/proc/net/tcp`). Elsewhere nothing
//! is known, and what is written counts as sent.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

const TABLES: [&str; 2] = ["/proc/self/net/tcp", "/proc/self/net/tcp6"];
const ESTABLISHED: &str = "01";

/// Connections that belong to an output, by the number of their socket: two outputs may go to one
/// server.
static CLAIMED: Mutex<BTreeSet<u64>> = Mutex::new(BTreeSet::new());

/// The send queue of one of this process's TCP connections.
pub struct SendQueue {
    table: &'static str,
    socket: u64,
}

impl SendQueue {
    /// The newest connection to one of a server's addresses that no other output has. `None`: not
    /// known here, such as behind a proxy.
    pub fn find(server: &[SocketAddr]) -> Option<Self> {
        let server: BTreeSet<String> = server.iter().flat_map(as_in_tables).collect();
        let own = own_sockets(Path::new("/proc/self/fd"));
        let mut claimed = claimed();
        let newest = |table: &'static str| {
            let rows = std::fs::read_to_string(table).unwrap_or_default();
            rows.lines()
                .filter_map(Row::read)
                .filter(|row| server.contains(row.remote) && row.state == ESTABLISHED)
                .map(|row| row.socket)
                .filter(|socket| own.contains(socket) && !claimed.contains(socket))
                .max()
                .map(|socket| (socket, table))
        };
        let (socket, table) = TABLES.into_iter().filter_map(newest).max()?;
        claimed.insert(socket);
        Some(SendQueue { table, socket })
    }

    /// Whether the connection is still there.
    pub fn is_open(&self) -> bool {
        let table = std::fs::read_to_string(self.table).unwrap_or_default();
        table
            .lines()
            .filter_map(Row::read)
            .any(|row| row.socket == self.socket && row.state == ESTABLISHED)
    }

    /// Bytes that the other side has not taken; `None`: the connection is gone. Takes a millisecond
    /// or more: the kernel walks a table whose size goes with the machine's memory.
    pub fn bytes(&self) -> Option<u64> {
        let table = std::fs::read_to_string(self.table).unwrap_or_default();
        let mut rows = table.lines().filter_map(Row::read);
        let own = rows.find(|row| row.socket == self.socket)?;
        let here = own.local.split(':').next() == own.remote.split(':').next();
        Some(own.unsent + if here { unread(&own) } else { 0 })
    }
}

/// What a server on this machine has received and not read.
fn unread(own: &Row<'_>) -> u64 {
    // A server that listens for IPv6 has an IPv4 client's address in a longer form.
    let same = |theirs: &str, ours: &str| theirs.ends_with(ours);
    let server = TABLES.iter().find_map(|table| {
        let table = std::fs::read_to_string(table).ok()?;
        let mut rows = table.lines().filter_map(Row::read);
        rows.find(|row| same(row.local, own.remote) && same(row.remote, own.local))
            .map(|row| row.unread)
    });
    server.unwrap_or(0)
}

impl Drop for SendQueue {
    fn drop(&mut self) {
        claimed().remove(&self.socket);
    }
}

fn claimed() -> MutexGuard<'static, BTreeSet<u64>> {
    CLAIMED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn own_sockets(folder: &Path) -> BTreeSet<u64> {
    let Ok(entries) = std::fs::read_dir(folder) else { return BTreeSet::new() };
    entries
        .filter_map(|entry| {
            let target = std::fs::read_link(entry.ok()?.path()).ok()?;
            target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
        })
        .collect()
}

/// A connection in the kernel's table.
#[derive(Debug, PartialEq, Eq)]
struct Row<'a> {
    /// Address and port, in hexadecimal.
    local: &'a str,
    remote: &'a str,
    state: &'a str,
    unsent: u64,
    unread: u64,
    socket: u64,
}

impl<'a> Row<'a> {
    fn read(line: &'a str) -> Option<Self> {
        // sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (local, remote, state) = (fields.next()?, fields.next()?, fields.next()?);
        let (unsent, unread) = fields.next()?.split_once(':')?;
        Some(Row {
            local,
            remote,
            state,
            unsent: u64::from_str_radix(unsent, 16).ok()?,
            unread: u64::from_str_radix(unread, 16).ok()?,
            socket: fields.nth(4)?.parse().ok()?,
        })
    }
}

/// How the tables write an address: in hexadecimal, in words of the machine's byte order. A socket
/// for IPv6 may have an IPv4 address, in a longer form.
fn as_in_tables(address: &SocketAddr) -> Vec<String> {
    let words = |octets: &[u8]| -> String {
        let word = |four: &[u8; 4]| format!("{:08X}", u32::from_ne_bytes(*four));
        octets.as_chunks().0.iter().map(word).collect()
    };
    let long = |ip: Ipv6Addr| words(&ip.octets());
    let forms = match address.ip() {
        IpAddr::V4(ip) => vec![words(&ip.octets()), long(ip.to_ipv6_mapped())],
        IpAddr::V6(ip) => vec![long(ip)],
    };
    forms.into_iter().map(|form| format!("{form}:{:04X}", address.port())).collect()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn what_a_frozen_server_does_not_take_is_seen() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = [server.local_addr().unwrap()];
        assert!(SendQueue::find(&address).is_none());
        let mut client = TcpStream::connect(address[0]).unwrap();
        let queue = SendQueue::find(&address).unwrap();
        assert!(queue.is_open());
        assert!(SendQueue::find(&address).is_none(), "claimed twice");
        assert_eq!(queue.bytes(), Some(0));
        // Nobody reads at the other end, which its own kernel hides at first.
        client.write_all(&[0; 10_000]).unwrap();
        assert_eq!(queue.bytes(), Some(10_000));
        client.set_nonblocking(true).unwrap();
        let mut written = 10_000;
        while let Ok(count) = client.write(&[0; 65536]) {
            written += count as u64;
        }
        // What is received and not yet confirmed counts twice.
        let held = queue.bytes().unwrap();
        assert!((written..written + 65536).contains(&held), "{held}");
        drop(queue);
        assert!(SendQueue::find(&address).is_some());
    }

    #[test]
    fn servers_on_one_port_number_are_told_apart() {
        let one = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let servers = [one, ([127, 0, 0, 2], one.port()).into()];
        let _listening = servers.map(|address| TcpListener::bind(address).unwrap());
        let mut clients = servers.map(|address| TcpStream::connect(address).unwrap());
        // The second is the newer one; the first is asked for first.
        let queues = servers.map(|address| SendQueue::find(&[address]).unwrap());
        clients[0].set_nonblocking(true).unwrap();
        while clients[0].write(&[0; 65536]).is_ok() {}
        assert!(queues[0].bytes() > Some(65536));
        assert_eq!(queues[1].bytes(), Some(0));
    }

    #[test]
    fn addresses_are_written_as_in_the_tables() {
        let forms = as_in_tables(&"[::1]:1935".parse().unwrap());
        assert_eq!(forms, [format!("{}{:08X}:078F", "0".repeat(24), 1u32.to_be())]);
    }
}
