//! `vfaq` as a user runs it: the built program, in a worqspace of its own, on a free port.
//!
//! Holds: a show that a test leaves behind, by a panic too, is killed. Whoever waits, waits for an
//! event (a line, a state, the end of the process) and says for how long at most.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use vfaq::base::clock::{Clock, SystemClock};

/// The longest that anything takes that is no part of the show: a start, a request, a drain.
pub const SOON: Duration = Duration::from_secs(30);
/// Between two looks at something that tells nobody when it changes.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Settings of a show that costs little: a small canvas, and clips of one second, made at once.
pub fn small() -> Value {
    json!({
        "generation": {
            "width": 256, "height": 144, "video_frames": 8, "video_fps": 8, "clip_seconds": 1,
        },
        "live": {
            "canvas": "640x360", "bitrate_kbps": 1500, "buffer_seconds": 6,
            "join": {"kind": "fade", "seconds": 0.25},
        },
    })
}

/// `settings` with `changes` laid over it, key by key.
pub fn with(mut settings: Value, changes: Value) -> Value {
    fn lay(settings: &mut Value, changes: Value) {
        match (settings, changes) {
            (Value::Object(settings), Value::Object(changes)) => {
                for (key, change) in changes {
                    lay(settings.entry(key).or_insert(Value::Null), change);
                }
            }
            (settings, change) => *settings = change,
        }
    }
    lay(&mut settings, changes);
    settings
}

/// A folder with a worqspace `w` in it, and room for a project `out` beside it.
pub struct Stage {
    folder: tempfile::TempDir,
}

impl Stage {
    pub fn new(settings: &Value) -> Stage {
        let stage = Stage { folder: tempfile::tempdir().expect("a temporary folder") };
        stage.write(
            "w/tasq.md",
            "---\nseed: 7\n---\n# Tide\n\nBright golden clouds over a coral sea, fast waves.\n",
        );
        stage.settings(settings);
        stage
    }

    /// Replaces the settings; JSON is YAML.
    pub fn settings(&self, settings: &Value) {
        self.write("w/config.yaml", &format!("{settings:#}\n"));
    }

    /// Writes a file, and the folders that it needs.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file of the project.
    pub fn project(&self, name: &str) -> PathBuf {
        self.path("out").join(name)
    }

    /// `vfaq` with these arguments, from this folder.
    pub fn vfaq(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vfaq"));
        command.args(arguments).current_dir(self.folder.path());
        command.env("VFAQ_CACHE", self.folder.path().join("cache"));
        command.env_remove("RUST_LOG").stdin(Stdio::null());
        command
    }

    /// Starts `vfaq live` on this worqspace and project, with a summary and a page; waits for the
    /// page.
    pub fn live(&self, arguments: &[&str]) -> Show {
        let mut command = self.vfaq(&["-w", "w", "-o", "out", "live", "--summary", "summary.json"]);
        command.args(["--listen", "127.0.0.1:0"]).args(arguments);
        Show::start(command)
    }

    /// Runs a show of a given length to its end; it must end well. Returns the summary.
    pub fn whole_show(&self, arguments: &[&str]) -> Value {
        let mut show = self.live(arguments);
        let status = show.end(Duration::from_secs(180));
        assert!(status.success(), "{status}\n{}", show.log());
        self.summary()
    }

    pub fn summary(&self) -> Value {
        read_json(&self.path("summary.json"))
    }

    pub fn state(&self) -> Value {
        read_json(&self.project("factory_state.json"))
    }

    /// The journal's entries of the last session.
    pub fn journal(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.project("journal.jsonl")).expect("a journal");
        let entries: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
        let start = entries.iter().rposition(|e| e["event"] == "session_start");
        entries[start.expect("a session")..].to_vec()
    }

    /// The journal's entries of one kind, of the last session.
    pub fn events(&self, kind: &str) -> Vec<Value> {
        self.journal().into_iter().filter(|e| e["event"] == kind).collect()
    }

    /// The numbers of the cycles whose raw clips are there, in order.
    pub fn raw_cycles(&self) -> Vec<u64> {
        let names = std::fs::read_dir(self.project("videos")).into_iter().flatten();
        let mut cycles: Vec<u64> = names
            .filter_map(|entry| {
                let name = entry.ok()?.file_name().into_string().ok()?;
                name.strip_prefix("cycle")?.strip_suffix("_raw.mp4")?.parse().ok()
            })
            .collect();
        cycles.sort_unstable();
        cycles
    }

    /// The briq of a cycle; of several, the last that was begun.
    pub fn briq(&self, cycle: u64) -> Value {
        let briqs = std::fs::read_dir(self.project("briqs")).expect("briqs");
        let mut briqs: Vec<Value> = briqs
            .map(|entry| read_json(&entry.expect("a briq").path()))
            .filter(|briq| briq["cycle_index"] == cycle)
            .collect();
        briqs.sort_by_key(|briq| briq["created_at"].as_str().map(str::to_owned));
        briqs.pop().unwrap_or_else(|| panic!("no briq of cycle {cycle}"))
    }
}

pub fn read_json(path: &Path) -> Value {
    let text = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A running show.
pub struct Show {
    child: Child,
    lines: Receiver<String>,
    log: Vec<String>,
    /// `http://127.0.0.1:PORT`
    pub url: String,
    http: reqwest::blocking::Client,
    clock: SystemClock,
    ended: Option<ExitStatus>,
}

impl Show {
    /// Starts it and waits until it says where its page is.
    pub fn start(mut command: Command) -> Show {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("cannot run {command:?}: {e}"));
        let (sender, lines) = mpsc::channel();
        let pipes: [Box<dyn Read + Send>; 2] = [
            Box::new(child.stdout.take().expect("piped")),
            Box::new(child.stderr.take().expect("piped")),
        ];
        for pipe in pipes {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                    // The test may be over.
                    let _ = sender.send(line);
                }
            });
        }
        vfaq::web::use_ring();
        let http = reqwest::blocking::Client::builder().timeout(SOON).build().expect("a client");
        let clock = SystemClock::new();
        let (log, url, ended) = (Vec::new(), String::new(), None);
        let mut show = Show { child, lines, log, url, http, clock, ended };
        let line = show.line("listening on http://");
        show.url = line.trim_start_matches("listening on ").to_owned();
        show
    }

    /// All that it has printed so far.
    pub fn log(&mut self) -> String {
        self.log.extend(self.lines.try_iter());
        self.log.join("\n")
    }

    /// Waits for a line with `text` in it, printed before or to come.
    pub fn line(&mut self, text: &str) -> String {
        let deadline = self.clock.now() + SOON;
        let mut seen = 0;
        loop {
            if let Some(line) = self.log[seen..].iter().find(|line| line.contains(text)) {
                return line.clone();
            }
            seen = self.log.len();
            let left = deadline.saturating_sub(self.clock.now());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.log.push(line),
                Err(e) => panic!("no line with {text:?} ({e}):\n{}", self.log.join("\n")),
            }
        }
    }

    /// Lets a moment pass, unless the show ends.
    fn pause(&mut self) {
        match self.lines.recv_timeout(LOOK_EVERY) {
            Ok(line) => self.log.push(line),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                panic!("the show has ended:\n{}", self.log.join("\n"))
            }
        }
    }

    /// Waits until `answer` has one.
    pub fn until<T>(
        &mut self,
        what: &str,
        within: Duration,
        mut answer: impl FnMut(&mut Show) -> Option<T>,
    ) -> T {
        let deadline = self.clock.now() + within;
        loop {
            if let Some(found) = answer(self) {
                return found;
            }
            if self.clock.now() > deadline {
                let state = self.state();
                panic!("{what}: not within {within:?}; {state:#}\n{}", self.log());
            }
            self.pause();
        }
    }

    /// Waits for a state of the show that is as it should be, and returns it.
    pub fn until_state(&mut self, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        self.until(what, Duration::from_secs(90), |show| Some(show.state()).filter(&is_so))
    }

    pub fn state(&self) -> Value {
        self.get("/api/v1/state").json().expect("a state")
    }

    pub fn get(&self, path: &str) -> reqwest::blocking::Response {
        self.http.get(self.at(path)).send().expect("an answer")
    }

    pub fn post(&self, path: &str) -> reqwest::blocking::Response {
        self.http.post(self.at(path)).send().expect("an answer")
    }

    pub fn post_json(&self, path: &str, body: &Value) -> reqwest::blocking::Response {
        self.http.post(self.at(path)).json(body).send().expect("an answer")
    }

    pub fn put(&self, path: &str, body: &Value) -> reqwest::blocking::Response {
        self.http.put(self.at(path)).json(body).send().expect("an answer")
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).expect("a running process");
    }

    /// Waits for the end of the process.
    pub fn end(&mut self, within: Duration) -> ExitStatus {
        let deadline = self.clock.now() + within;
        loop {
            let left = deadline.saturating_sub(self.clock.now());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.log.push(line),
                // Both pipes are closed: the process is gone.
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    panic!("still running after {within:?}:\n{}", self.log.join("\n"))
                }
            }
        }
        let status = self.child.wait().expect("a child");
        self.ended = Some(status);
        status
    }

    /// The first interrupt: it must end well within five seconds. Returns what it printed.
    pub fn stop(mut self) -> String {
        self.signal(Signal::SIGINT);
        let status = self.end(SOON);
        assert!(status.success(), "{status}\n{}", self.log());
        self.log()
    }
}

impl Drop for Show {
    fn drop(&mut self) {
        if self.ended.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
