//! A model on Replicate: its name, and the inputs that it says it has.

use std::fmt;

use serde_json::Value;

use super::api::{Api, is_id};
use super::inputs::Inputs;
use crate::base::error::{Error, Result};

/// `OWNER/NAME` or `OWNER/NAME:VERSION`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    pub owner: String,
    pub name: String,
    pub version: Option<String>,
    /// The setting that names it.
    pub key: &'static str,
}

/// What the API says of a model.
pub struct About {
    pub inputs: Inputs,
    /// The id of its latest version.
    pub latest: Option<String>,
}

impl Model {
    pub fn parse(text: &str, key: &'static str) -> Result<Model> {
        let text = text.trim();
        let (path, version) = match text.split_once(':') {
            Some((path, version)) => (path, Some(version)),
            None => (text, None),
        };
        let is_name = |part: &str| {
            let fine = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            !part.is_empty()
                && part.len() <= 128
                && !part.starts_with('.')
                && part.chars().all(fine)
        };
        match path.split_once('/') {
            Some((owner, name)) if is_name(owner) && is_name(name) && version.is_none_or(is_id) => {
                Ok(Model {
                    owner: owner.to_owned(),
                    name: name.to_owned(),
                    version: version.map(str::to_owned),
                    key,
                })
            }
            _ => Err(Error::usage(format!(
                "{key}: {text:?} names no model; expected OWNER/NAME or OWNER/NAME:VERSION as on \
                 replicate.com, such as stability-ai/sdxl"
            ))),
        }
    }

    /// As it stands in addresses.
    pub fn path(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }

    /// Asks what it is like.
    pub async fn about(&self, api: &Api) -> Result<About> {
        let what = format!("asking for {self} ({})", self.key);
        let path = format!("models/{}", self.path());
        let answer = match &self.version {
            Some(version) => api.json(&format!("{path}/versions/{version}"), &what).await?,
            None => api.json(&path, &what).await?,
        };
        let schema = match &self.version {
            Some(_) => answer.get("openapi_schema"),
            None => answer.pointer("/latest_version/openapi_schema"),
        };
        let latest = answer.pointer("/latest_version/id").and_then(Value::as_str);
        Ok(About {
            inputs: Inputs::new(schema.unwrap_or(&Value::Null)),
            latest: latest.filter(|id| is_id(id)).map(str::to_owned),
        })
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)?;
        match &self.version {
            Some(version) => write!(f, ":{}", &version[..version.len().min(12)]),
            None => Ok(()),
        }
    }
}
