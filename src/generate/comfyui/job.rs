//! One job on a ComfyUI server, from submitting it to its files.
//!
//! Events say at once how far it is; beside them the history is polled, so that neither silence nor
//! a lost connection matters. A server that has forgotten the job (it was started anew) is given it
//! again.
//!
//! Holds: the job is cancelled on the server when its future is dropped, and only this job. Nothing
//! waits without an end: whoever asked sets the deadline.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::Value;
use uuid::Uuid;

use super::outputs::result_files;
use super::refusal::node_name;
use super::server::{Past, Place, RemoteFile, Server};
use super::socket::{Event, Socket};
use crate::base::error::{Error, Kind, Result};
use crate::generate::{OnProgress, Progress};

/// Between two looks at the history while events come.
const CALM: Duration = Duration::from_secs(2);
/// The same without events.
const ALERT: Duration = Duration::from_millis(500);
/// Right after the server has said that it is done: the history can lag.
const EAGER: Duration = Duration::from_millis(20);
/// Looks in a row without an answer from the server, after which it is gone.
const SILENT_LOOKS: u32 = 8;
/// Looks in a row for which the server does not know the job, after which it is lost.
const LOST_LOOKS: u32 = 3;
/// How often a job that was lost is given to the server again.
const RESUBMITS: u32 = 2;
/// How often a file is asked for.
const FETCHES: u32 = 4;
/// Longest wait for a job to be cancelled.
const CANCEL_PATIENCE: Duration = Duration::from_secs(10);

/// A job is not held up longer than this for want of a socket.
const SOCKET_FIRST: Duration = Duration::from_secs(1);

/// A graph that is ready to be submitted.
pub struct Graph {
    pub nodes: Value,
    /// The nodes whose files are the result, the best first; empty: whatever fits.
    pub outputs: Vec<String>,
    pub wants_clip: bool,
}

/// Cancels the job when dropped before it has ended.
struct Cancel {
    server: Server,
    id: String,
    armed: bool,
}

impl Drop for Cancel {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        let (server, id) = (self.server.clone(), std::mem::take(&mut self.id));
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let cancelled = tokio::time::timeout(CANCEL_PATIENCE, server.cancel(&id)).await;
                if let Ok(Err(error)) = cancelled {
                    tracing::debug!("a job could not be cancelled: {error}");
                }
            });
        }
    }
}

/// What came of the socket.
enum Heard {
    Event(Option<Event>),
    Connected(Option<Box<Socket>>),
}

/// How a round of a job ended.
enum Ending {
    Files(Vec<RemoteFile>),
    /// The server does not know it any more.
    Lost,
}

/// Has the graph executed; returns the content of the files that are its result.
pub async fn execute(
    server: &Server,
    graph: &Graph,
    on_progress: OnProgress<'_>,
) -> Result<Vec<Vec<u8>>> {
    let mut nodes = graph.nodes.clone();
    for round in 0..=RESUBMITS {
        if round > 0 {
            tracing::info!("{} has lost a job; it is given to it again", server.web.shown());
        }
        let ending = follow(server, graph, &nodes, on_progress).await.map_err(|e| match round {
            0 => e,
            // What was uploaded may be gone as well: with another try it is uploaded anew.
            _ => Error::unavailable("given to the server again").with_source(e),
        })?;
        let Ending::Files(files) = ending else { continue };
        if files.is_empty() {
            return Err(Error::usage(format!(
                "{}: the workflow has run, and left no picture or clip; does it end in a node that \
                 saves one, such as Save Image?",
                server.web.shown()
            )));
        }
        match fetch(server, &files).await? {
            Some(contents) => return Ok(contents),
            // A result of before, whose file somebody has deleted.
            None => {
                tracing::info!("{} has lost a file; it is made again", server.web.shown());
                defeat_cache(&mut nodes, &graph.outputs);
            }
        }
    }
    Err(Error::unavailable(format!(
        "{} has lost the job, or its files, {} times",
        server.web.shown(),
        RESUBMITS + 1
    )))
}

/// All files, or `None` if one is gone.
async fn fetch(server: &Server, files: &[RemoteFile]) -> Result<Option<Vec<Vec<u8>>>> {
    let mut contents = Vec::with_capacity(files.len());
    let mut bytes = 0;
    for file in files {
        let mut tries = 1;
        let content = loop {
            match server.view(file).await {
                // The work of minutes is not thrown away for a hiccup.
                Err(error) if error.kind == Kind::Unavailable && tries < FETCHES => tries += 1,
                other => break other?,
            }
            tokio::time::sleep(ALERT).await;
        };
        let Some(content) = content else { return Ok(None) };
        bytes += content.len();
        if bytes > crate::generate::LARGEST_FILE {
            return Err(Error::unavailable(format!(
                "{}: the result is over {} MB, which is not taken",
                server.web.shown(),
                crate::generate::LARGEST_FILE >> 20
            )));
        }
        contents.push(content);
    }
    Ok(Some(contents))
}

/// Makes the server take the output nodes for new ones: an input that no node knows is ignored, but
/// counts for the cache.
fn defeat_cache(nodes: &mut Value, outputs: &[String]) {
    let unique = Uuid::new_v4().to_string();
    for (id, node) in nodes.as_object_mut().into_iter().flatten() {
        if !outputs.is_empty() && !outputs.contains(id) {
            continue;
        }
        if let Some(inputs) = node.get_mut("inputs").and_then(Value::as_object_mut) {
            inputs.insert("vfaq_again".to_owned(), Value::String(unique.clone()));
        }
    }
}

async fn follow(
    server: &Server,
    graph: &Graph,
    nodes: &Value,
    on_progress: OnProgress<'_>,
) -> Result<Ending> {
    let client = Uuid::new_v4().to_string();
    let connect = || Box::pin(Socket::connect(server, &client));
    // Without a socket before the job begins, its first events are lost; but it is not waited for
    // when something swallows it.
    let mut connecting = Some(connect());
    let mut socket = match tokio::time::timeout(SOCKET_FIRST, async {
        match &mut connecting {
            Some(connecting) => connecting.await.ok(),
            None => None,
        }
    })
    .await
    {
        Ok(socket) => {
            connecting = None;
            socket
        }
        Err(_) => None,
    };
    let ours = Uuid::new_v4().to_string();
    // It may be in the queue before the answer is here, or although the answer is a refusal.
    let mut cancel = Cancel { server: server.clone(), id: ours.clone(), armed: true };
    let id = server.submit(nodes, &client, &ours, &graph.outputs).await?;
    cancel.id.clone_from(&id);
    let mut reckoning = Reckoning::new(nodes);
    let (mut silent, mut lost) = (0, 0);
    let mut eager = 0;
    let mut look = Box::pin(tokio::time::sleep(ALERT));
    loop {
        let event = async {
            match (&mut socket, &mut connecting) {
                (Some(socket), _) => Heard::Event(socket.next(&id).await),
                (None, Some(connecting)) => Heard::Connected(connecting.await.ok().map(Box::new)),
                (None, None) => std::future::pending().await,
            }
        };
        tokio::select! {
            heard = event => match heard {
                Heard::Event(Some(Event::Succeeded | Event::Ended | Event::Failed)) => {
                    eager = eager.max(1);
                }
                Heard::Event(Some(event)) => {
                    if let Some(progress) = reckoning.note(event) {
                        on_progress(progress);
                    }
                    continue;
                }
                Heard::Event(None) => {
                    socket = None;
                    look = Box::pin(tokio::time::sleep(ALERT));
                    continue;
                }
                Heard::Connected(connected) => {
                    socket = connected.map(|connected| *connected);
                    connecting = None;
                    continue;
                }
            },
            () = &mut look => {}
        }
        let pause = match (eager, &socket) {
            (1.., _) => EAGER,
            (0, Some(_)) if reckoning.begun => CALM,
            _ => ALERT,
        };
        look = Box::pin(tokio::time::sleep(pause));
        match server.past(&id).await {
            Ok(Past::Done(outputs)) => {
                cancel.armed = false;
                return Ok(Ending::Files(result_files(&outputs, &graph.outputs, graph.wants_clip)));
            }
            Ok(Past::Failed(why)) => {
                cancel.armed = false;
                return Err(Error::unavailable(format!("{}: {why}", server.web.shown())));
            }
            Ok(Past::Unknown) => silent = 0,
            Err(error) => {
                silent += 1;
                if silent >= SILENT_LOOKS {
                    return Err(error);
                }
                look = Box::pin(tokio::time::sleep(ALERT));
                continue;
            }
        }
        // After a while it was no lag.
        eager = if (1..50).contains(&eager) { eager + 1 } else { 0 };
        if eager > 0 {
            continue;
        }
        match server.place(&id).await {
            Ok(Place::Waiting(ahead)) => {
                lost = 0;
                on_progress(Progress::Queued(ahead));
            }
            Ok(Place::Running) => lost = 0,
            Ok(Place::Unknown) => {
                lost += 1;
                if lost >= LOST_LOOKS {
                    cancel.armed = false;
                    return Ok(Ending::Lost);
                }
            }
            Err(_) => silent += 1,
        }
        if socket.is_none() && connecting.is_none() {
            connecting = Some(connect());
        }
    }
}

/// How much of a graph is done.
struct Reckoning<'g> {
    nodes: &'g Value,
    total: usize,
    done: HashSet<String>,
    now: Option<String>,
    begun: bool,
}

impl<'g> Reckoning<'g> {
    fn new(nodes: &'g Value) -> Self {
        let total = nodes.as_object().map_or(1, |nodes| nodes.len().max(1));
        Reckoning { nodes, total, done: HashSet::new(), now: None, begun: false }
    }

    fn note(&mut self, event: Event) -> Option<Progress> {
        self.begun = true;
        match event {
            Event::Preview(picture) => Some(Progress::Preview(picture)),
            Event::Cached(nodes) => {
                // No more than there are: the graph is ours, the event is not.
                self.done.extend(nodes.into_iter().take(self.total));
                None
            }
            Event::Executing(node) => {
                let before = self.now.replace(node);
                self.done.extend(before);
                Some(self.working(0.0))
            }
            Event::Progress { node, value, max } => {
                if node.is_some() {
                    self.now = node;
                }
                Some(self.working(if max > 0.0 { (value / max).clamp(0.0, 1.0) } else { 0.0 }))
            }
            Event::Started | Event::Succeeded | Event::Ended | Event::Failed => None,
        }
    }

    fn working(&self, share: f64) -> Progress {
        let what = self
            .now
            .as_deref()
            .map_or_else(|| "at work".to_owned(), |node| node_name(self.nodes, node));
        let done = (self.done.len() as f64 + share) / self.total as f64;
        Progress::Working { what: what.into(), done: Some(done.clamp(0.0, 1.0) as f32) }
    }
}
