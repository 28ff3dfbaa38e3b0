//! Against a real server, whose address is in VFAQ_COMFYUI; `scripts/test-comfyui` starts one.

use serde_json::json;

use super::job::{Graph, execute};
use super::server::Server;
use crate::web::{Options, Web};

#[tokio::test]
#[ignore]
async fn a_graph_of_core_nodes() {
    let url = std::env::var("VFAQ_COMFYUI").unwrap();
    let server = Server { web: Web::new(&url, "api_url", &Options::default()).unwrap() };
    println!("{:?}", server.stats().await);
    let nodes = json!({
        "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 48, "batch_size": 8, "color": 13378048}},
        "6": {"class_type": "CreateVideo", "inputs": {"images": ["1", 0], "fps": 8.0}},
        "7": {"class_type": "SaveVideo", "inputs": {"video": ["6", 0], "filename_prefix": "vfaq/x", "format": "mp4", "codec": "h264"}}
    });
    let graph = Graph { nodes, outputs: vec![], wants_clip: true };
    for _ in 0..10 {
        #[allow(clippy::disallowed_methods)]
        let t = std::time::Instant::now();
        let files = execute(&server, &graph, &|p| println!("{p}")).await.unwrap();
        println!("{} files, {} bytes, {:?}", files.len(), files[0].len(), t.elapsed());
    }
}
