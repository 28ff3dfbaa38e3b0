//! What the kernel still holds of what was written to a connection.
//!
//! It takes up to 4 MB off a program's hands, which hides a frozen server for many seconds and a
//! slow one for longer. Linux tells how much of it the other side has not confirmed, and of a
//! server on this machine also what it has not read (`proc(5)`, `/proc/net/tcp`). Elsewhere nothing
//! is known, and what is written counts as sent.

use std::collections::BTreeSet;
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
    /// The newest connection to that port that no other output has. `None`: not known here, such
    /// as behind a proxy.
    pub fn find(port: u16) -> Option<Self> {
        let own = own_sockets(Path::new("/proc/self/fd"));
        let mut claimed = claimed();
        let newest = |table: &'static str| {
            let rows = std::fs::read_to_string(table).unwrap_or_default();
            rows.lines()
                .filter_map(Row::read)
                .filter(|row| row.port() == Some(port) && row.state == ESTABLISHED)
                .map(|row| row.socket)
                .filter(|socket| own.contains(socket) && !claimed.contains(socket))
                .max()
                .map(|socket| (socket, table))
        };
        let (socket, table) = TABLES.into_iter().filter_map(newest).max()?;
        claimed.insert(socket);
        Some(SendQueue { table, socket })
    }

    /// Bytes that the other side has not taken. Takes a millisecond or more: the kernel walks a
    /// table whose size goes with the machine's memory.
    pub fn bytes(&self) -> u64 {
        let table = std::fs::read_to_string(self.table).unwrap_or_default();
        let mut rows = table.lines().filter_map(Row::read);
        // A connection that is gone holds nothing.
        let Some(own) = rows.find(|row| row.socket == self.socket) else { return 0 };
        let here = own.local.split(':').next() == own.remote.split(':').next();
        own.unsent + if here { unread(&own) } else { 0 }
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

    /// The port at the other end.
    fn port(&self) -> Option<u16> {
        u16::from_str_radix(self.remote.rsplit_once(':')?.1, 16).ok()
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn what_a_frozen_server_does_not_take_is_seen() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = server.local_addr().unwrap().port();
        assert!(SendQueue::find(port).is_none());
        let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let queue = SendQueue::find(port).unwrap();
        assert!(SendQueue::find(port).is_none(), "claimed twice");
        assert_eq!(queue.bytes(), 0);
        // Nobody reads at the other end, which its own kernel hides at first.
        client.write_all(&[0; 10_000]).unwrap();
        assert_eq!(queue.bytes(), 10_000);
        client.set_nonblocking(true).unwrap();
        let mut written = 10_000;
        while let Ok(count) = client.write(&[0; 65536]) {
            written += count as u64;
        }
        // What is received and not yet confirmed counts twice.
        assert!((written..written + 65536).contains(&queue.bytes()), "{}", queue.bytes());
        drop(queue);
        assert!(SendQueue::find(port).is_some());
    }
}
