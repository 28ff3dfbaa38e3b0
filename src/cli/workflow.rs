//! `vfaq workflow`: says where things go in a ComfyUI workflow. It asks no server.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};

use super::Folders;
use crate::base::error::{Error, Result};
use crate::config::{self, Mapping};
use crate::generate::comfyui::{ObjectInfo, Role, Workflow, guess_role};

/// A server with very many models and custom nodes has some 10 MiB.
const LARGEST_INFO: u64 = 64 << 20;

#[derive(Subcommand)]
pub enum WorkflowCommand {
    /// Say where prompt, seed, size and pictures go in a workflow, and what is wrong with it
    Check(CheckArgs),
}

#[derive(Args)]
#[command(after_help = "\
The workflow comes from ComfyUI's menu: Workflow > Export (API). What is not found by itself is
named in config.yaml, by node id and field:
  workflow_map: {video: {prompt: 6.text, output: 58}}
or written into the workflow as a placeholder: {{prompt}}, {{seed}}, {{width}}, ...

Examples:
  vfaq workflow check clip.json                     what it is for is guessed
  vfaq workflow check clip.json --as morph          clips between two pictures
  curl -o info.json http://127.0.0.1:8188/object_info
  vfaq workflow check clip.json --object-info info.json   has the server all its models?
  vfaq -w friday workflow check clip.json --json    with workflow_map of friday/config.yaml")]
pub struct CheckArgs {
    /// The workflow, as exported for the API
    file: PathBuf,

    /// What it is used for [default: guessed]
    #[arg(long = "as", value_enum, value_name = "ROLE")]
    role: Option<AsRole>,

    /// A server's answer to /object_info, to look for nodes and models in
    #[arg(long, value_name = "FILE")]
    object_info: Option<PathBuf>,

    /// Print JSON, for other programs
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum AsRole {
    Image,
    Img2img,
    Video,
    Morph,
}

impl From<AsRole> for Role {
    fn from(role: AsRole) -> Self {
        match role {
            AsRole::Image => Role::Image,
            AsRole::Img2img => Role::Img2img,
            AsRole::Video => Role::Video,
            AsRole::Morph => Role::Morph,
        }
    }
}

pub fn run(folders: &Folders, command: &WorkflowCommand) -> Result<()> {
    let WorkflowCommand::Check(args) = command;
    let role = match args.role {
        Some(role) => role.into(),
        None => guess_role(&args.file)?,
    };
    let workflow = Workflow::load(&args.file, role, &mappings(&folders.worqspace, role)?)?;
    let report = workflow.report();
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report).map_err(Error::fault)?);
    } else {
        print!("{report}");
    }
    if let Some(file) = &args.object_info {
        workflow.validate(&object_info(file)?)?;
        if !args.json {
            println!("  the server of {} has all that it needs", file.display());
        }
    }
    Ok(())
}

/// Those of `config.yaml`, if there is one: of the pictures' generators for pictures, of the
/// clips' for clips.
fn mappings(worqspace: &Path, role: Role) -> Result<Vec<Mapping>> {
    if !worqspace.join("config.yaml").is_file() {
        return Ok(Vec::new());
    }
    let config = config::load(worqspace)?.config;
    let servers = if role.is_clip() { config.video_backends } else { config.image_backends };
    let mut found = Vec::new();
    for mapping in servers.into_iter().flat_map(|server| server.workflow_map) {
        if !found.contains(&mapping) {
            found.push(mapping);
        }
    }
    Ok(found)
}

fn object_info(path: &Path) -> Result<ObjectInfo> {
    let name = path.display().to_string();
    let failed = |error| Error::io(format!("cannot read {name}"), error);
    let mut text = String::new();
    let file = File::open(path).map_err(failed)?;
    file.take(LARGEST_INFO).read_to_string(&mut text).map_err(failed)?;
    let value = serde_json::from_str(&text).map_err(|error| {
        Error::usage(format!("{name}: not the answer of a server to /object_info"))
            .with_source(error)
    })?;
    ObjectInfo::from_value(value, &name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workflow_is_checked_with_the_mappings_of_its_worqspace() {
        let folder = tempfile::tempdir().unwrap();
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/comfyui");
        let folders = Folders { worqspace: folder.path().to_path_buf(), output: None, verbose: 0 };
        let check = |info: Option<&str>| {
            let args = CheckArgs {
                file: data.join("graphs/wan_i2v.json"),
                role: None,
                object_info: info.map(|name| data.join(name)),
                json: false,
            };
            run(&folders, &WorkflowCommand::Check(args))
        };
        check(Some("object_info_0.33.0.json")).unwrap();
        let text = "backend: {type: comfyui, workflow_map: {video: {prompt: 6.txt}}}\n";
        std::fs::write(folder.path().join("config.yaml"), text).unwrap();
        let error = check(None).unwrap_err();
        assert_eq!(error.kind.exit_code(), 64);
        assert!(error.to_string().starts_with("workflow_map.video.prompt: 6.txt: "), "{error}");
    }
}
