//! What can be asked of a ComfyUI server, one request each.
//!
//! Holds: every answer is read within limits and taken apart without trust. Nothing here waits for
//! a job.

use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

use crate::base::error::{Error, Result};
use crate::generate::LARGEST_FILE;
use crate::web::{Web, words};

/// A file that a job left on the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteFile {
    pub name: String,
    pub subfolder: String,
    /// `output`, `temp` or `input`.
    pub kind: String,
}

/// What the history says of a job.
#[derive(Clone, Debug)]
pub enum Past {
    /// Nothing: it waits, runs, or is not known (any more).
    Unknown,
    /// It has ended well; what each output node left.
    Done(Value),
    /// It has ended otherwise.
    Failed(String),
}

/// Where a job is in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Running,
    /// Behind so many others.
    Waiting(u32),
    Unknown,
}

#[derive(Clone)]
pub struct Server {
    pub web: Web,
}

impl Server {
    /// Its version, and what it runs on.
    pub async fn stats(&self) -> Result<(Option<String>, Vec<String>)> {
        let request = self.web.request(Method::GET, "system_stats");
        let stats = self.web.ask_json(request, "asking for its state").await?;
        if stats.get("system").is_none() {
            return Err(Error::usage(format!(
                "{} answers, but not as ComfyUI does; check the port and the path of api_url",
                self.web.shown()
            )));
        }
        let version = stats.pointer("/system/comfyui_version").and_then(Value::as_str);
        let version = version.map(|v| format!("ComfyUI {}", words(v.as_bytes())));
        let devices = stats.get("devices").and_then(Value::as_array);
        let devices = devices.into_iter().flatten().take(16).filter_map(|device| {
            let name = words(device.get("name")?.as_str()?.as_bytes());
            let memory = device.get("vram_total").and_then(Value::as_f64).unwrap_or(0.0);
            Some(format!("{name}, {:.0} GB", memory / 1e9))
        });
        Ok((version, devices.collect()))
    }

    /// Every node class with its inputs.
    pub async fn object_info(&self) -> Result<Value> {
        let request = self.web.request(Method::GET, "object_info");
        self.web.ask_json(request, "asking for its nodes").await
    }

    /// Uploads a picture (PNG) under `name`, over what has that name; returns what `LoadImage` is
    /// to be given.
    pub async fn upload(&self, name: &str, png: Vec<u8>) -> Result<String> {
        const WHAT: &str = "uploading a picture";
        let image = Part::bytes(png)
            .file_name(name.to_owned())
            .mime_str("image/png")
            .map_err(Error::fault)?;
        let form = Form::new()
            .part("image", image)
            .text("subfolder", "vfaq")
            .text("type", "input")
            .text("overwrite", "true");
        let request = self.web.request(Method::POST, "upload/image").multipart(form);
        let answer = self.web.ask_json(request, WHAT).await?;
        let text = |key: &str| answer.get(key).and_then(Value::as_str).unwrap_or_default();
        match (text("name"), text("subfolder")) {
            ("", _) => Err(Error::unavailable(format!(
                "{WHAT}: {} does not say under which name it kept it",
                self.web.shown()
            ))),
            (name, "") => Ok(name.to_owned()),
            (name, subfolder) => Ok(format!("{}/{name}", subfolder.replace('\\', "/"))),
        }
    }

    /// Puts a graph into the queue, under our own `id`; returns the id that it really has (servers
    /// of before 2025 choose it). `outputs`: the nodes that matter; that others are refused is no
    /// fault.
    pub async fn submit(
        &self,
        graph: &Value,
        client: &str,
        id: &str,
        outputs: &[String],
    ) -> Result<String> {
        const WHAT: &str = "submitting a workflow";
        let body = json!({
            "prompt": graph,
            "client_id": client,
            "prompt_id": id,
            "extra_data": {"preview_method": "auto"},
        });
        let request = self.web.request(Method::POST, "prompt").json(&body);
        let response = self.web.send(request, WHAT).await?;
        let status = response.status();
        if status == 400 {
            let answer = self.web.json(response, WHAT).await?;
            return Err(Error::usage(format!(
                "{} refuses the workflow: {}",
                self.web.shown(),
                super::refusal::explain(&answer, graph)
            )));
        }
        if status.as_u16() == 500 {
            let said = self.web.refusal(response, WHAT).await;
            return Err(Error::usage(
                "the workflow is broken, or not in the API format; `vfaq workflow check` tells more",
            )
            .with_source(said));
        }
        if !status.is_success() {
            return Err(self.web.refusal(response, WHAT).await);
        }
        let answer = self.web.json(response, WHAT).await?;
        let refused = answer.get("node_errors").and_then(Value::as_object);
        let refused = refused.is_some_and(|errors| {
            let hit = |error: &Value| {
                let lost = error.get("dependent_outputs").and_then(Value::as_array);
                lost.into_iter().flatten().any(|node| {
                    outputs.is_empty()
                        || node.as_str().is_some_and(|n| outputs.iter().any(|o| o == n))
                })
            };
            errors.values().any(hit)
        });
        if refused {
            return Err(Error::usage(format!(
                "{} refuses the part of the workflow that makes the result: {}",
                self.web.shown(),
                super::refusal::explain(&answer, graph)
            )));
        }
        Ok(answer.get("prompt_id").and_then(Value::as_str).unwrap_or(id).to_owned())
    }

    /// What has become of a job.
    pub async fn past(&self, id: &str) -> Result<Past> {
        let request = self.web.request(Method::GET, &format!("history/{id}"));
        let answer = self.web.ask_json(request, "asking for a result").await?;
        let Some(entry) = answer.get(id) else { return Ok(Past::Unknown) };
        let status = entry.get("status");
        let said = status.and_then(|s| s.get("status_str")).and_then(Value::as_str);
        if said == Some("error") {
            return Ok(Past::Failed(super::refusal::failure(entry)));
        }
        let completed = status.and_then(|s| s.get("completed")).and_then(Value::as_bool);
        match entry.get("outputs") {
            Some(outputs) if completed != Some(false) => Ok(Past::Done(outputs.clone())),
            _ => Ok(Past::Unknown),
        }
    }

    /// Where a job is.
    pub async fn place(&self, id: &str) -> Result<Place> {
        let request = self.web.request(Method::GET, "queue");
        let queue = self.web.ask_json(request, "asking for the queue").await?;
        let jobs = |key: &str| {
            let jobs = queue.get(key).and_then(Value::as_array);
            jobs.into_iter().flatten().filter_map(Value::as_array)
        };
        let is_ours = |job: &&Vec<Value>| job.get(1).and_then(Value::as_str) == Some(id);
        if jobs("queue_running").any(|job| is_ours(&job)) {
            return Ok(Place::Running);
        }
        let number = |job: &Vec<Value>| job.first().and_then(Value::as_f64).unwrap_or(f64::MAX);
        let Some(ours) = jobs("queue_pending").find(is_ours).map(number) else {
            return Ok(Place::Unknown);
        };
        // Pending jobs come as a heap: their numbers say the order.
        let before = jobs("queue_pending").filter(|job| number(job) < ours).count();
        Ok(Place::Waiting((before + jobs("queue_running").count()) as u32))
    }

    /// A file's content; `None`: it is gone.
    pub async fn view(&self, file: &RemoteFile) -> Result<Option<Vec<u8>>> {
        let what = format!("fetching {}", words(file.name.as_bytes()));
        let request = self.web.request(Method::GET, "view").query(&[
            ("filename", &file.name),
            ("subfolder", &file.subfolder),
            ("type", &file.kind),
        ]);
        let response = self.web.send(request, &what).await?;
        if response.status() == 404 {
            return Ok(None);
        }
        if !response.status().is_success() {
            return Err(self.web.refusal(response, &what).await);
        }
        self.web.bytes(response, LARGEST_FILE, &what).await.map(Some)
    }

    /// Takes this one job out of the queue, or interrupts it if it is the one that runs. A server
    /// of before 2025 interrupts whatever runs, so that is made sure of first.
    pub async fn cancel(&self, id: &str) -> Result<()> {
        const WHAT: &str = "cancelling a job";
        let request = self.web.request(Method::POST, "queue").json(&json!({"delete": [id]}));
        self.web.ask(request, WHAT).await?;
        if self.place(id).await? == Place::Running {
            let request = self.web.request(Method::POST, "interrupt");
            self.web.ask(request.json(&json!({"prompt_id": id})), WHAT).await?;
        }
        Ok(())
    }
}
