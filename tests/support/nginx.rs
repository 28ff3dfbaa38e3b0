//! A real RTMP server: nginx with its RTMP module, in a folder of its own, on free ports; and a
//! slow way to it.
//!
//! Holds: a server that a test leaves behind is killed, frozen or not.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use vfaq::base::clock::{Clock, SystemClock};

use super::show::SOON;

/// Where Debian and Ubuntu put it.
const MODULE: &str = "/usr/lib/nginx/modules/ngx_rtmp_module.so";

/// Its applications: `live` records what it gets, `deny` takes nobody, `hook` asks a web server
/// that says no.
pub struct Nginx {
    folder: tempfile::TempDir,
    child: Option<Child>,
    address: &'static str,
    pub port: u16,
    /// Speaks HTTP.
    pub http_port: u16,
}

pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

impl Nginx {
    pub fn start() -> Nginx {
        Nginx::start_at("127.0.0.1", free_port())
    }

    pub fn start_at(address: &'static str, port: u16) -> Nginx {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir(folder.path().join("recorded")).expect("a folder");
        let http_port = free_port();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path tmp; "))
            .concat();
        let settings = format!(
            "load_module {MODULE}; daemon off; master_process off; pid nginx.pid;
             error_log stderr info; events {{ worker_connections 64; }}
             rtmp {{ server {{ listen {address}:{port};
               application live {{ live on; record all; record_path recorded; record_unique on; }}
               application deny {{ live on; deny publish all; }}
               application hook {{ live on; on_publish http://127.0.0.1:{http_port}/no; }}
             }} }}
             http {{ access_log off; {temporary} server {{ listen 127.0.0.1:{http_port};
               location /no {{ return 403; }}
             }} }}\n"
        );
        std::fs::write(folder.path().join("nginx.conf"), settings).expect("a file");
        let mut nginx = Nginx { folder, child: None, address, port, http_port };
        nginx.again();
        nginx
    }

    /// Starts it anew, and waits until it listens.
    pub fn again(&mut self) {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("log"))
            .expect("a file");
        let child = Command::new("nginx")
            .arg("-p")
            .arg(self.folder.path())
            .args(["-c", "nginx.conf"])
            // Where it records is relative to its working folder.
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("nginx; scripts/test installs it");
        self.child = Some(child);
        let clock = SystemClock::new();
        let (_never, nothing) = mpsc::channel::<()>();
        while TcpStream::connect((self.address, self.port)).is_err() {
            assert!(clock.now() < SOON, "nginx does not start:\n{}", self.log());
            let _ = nothing.recv_timeout(Duration::from_millis(20));
        }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("a running server");
        kill(Pid::from_raw(child.id() as i32), signal).expect("a running server");
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Lets it close its files and go.
    pub fn stop(&mut self) {
        self.signal(Signal::SIGTERM);
        self.child.take().expect("a running server").wait().expect("a child");
    }

    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    pub fn url(&self, application: &str, key: &str) -> String {
        format!("rtmp://{}:{}/{application}/{key}", self.address, self.port)
    }

    /// What it recorded under names that begin so, oldest first.
    pub fn recorded(&self, name: &str) -> Vec<PathBuf> {
        let files = std::fs::read_dir(self.folder.path().join("recorded")).expect("a folder");
        let is_it = |path: &Path| {
            path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(name))
        };
        let mut files: Vec<PathBuf> =
            files.map(|file| file.expect("a file").path()).filter(|path| is_it(path)).collect();
        // Their names end in the time of day.
        files.sort();
        files
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A way to a server on this machine that carries only so much, as a poor uplink does.
pub struct SlowWay {
    pub port: u16,
    over: Arc<AtomicBool>,
}

impl SlowWay {
    /// Towards `to` it carries `kbps` kb/s; back everything.
    pub fn to(to: u16, kbps: u32) -> SlowWay {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let over = Arc::new(AtomicBool::new(false));
        let is_over = over.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if is_over.load(Ordering::Acquire) {
                    return;
                }
                let server = TcpStream::connect(("127.0.0.1", to)).expect("a server");
                let back = (server.try_clone().expect("one"), client.try_clone().expect("one"));
                std::thread::spawn(move || carry(client, server, Some(kbps)));
                std::thread::spawn(move || carry(back.0, back.1, None));
            }
        });
        SlowWay { port, over }
    }
}

impl Drop for SlowWay {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        // It waits for a client.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// Until one end closes.
fn carry(mut from: TcpStream, mut to: TcpStream, kbps: Option<u32>) {
    let clock = SystemClock::new();
    let (_never, nothing) = mpsc::channel::<()>();
    let (mut buffer, mut carried) = ([0; 4096], 0u64);
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        carried += count as u64;
        if let Some(kbps) = kbps {
            let due = Duration::from_secs_f64(carried as f64 * 8.0 / f64::from(kbps * 1000));
            let _ = nothing.recv_timeout(due.saturating_sub(clock.now()));
        }
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
    let _ = from.shutdown(std::net::Shutdown::Both);
}
