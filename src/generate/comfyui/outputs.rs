//! Which of the files that a job left are its result.
//!
//! Holds: files are found under every key that nodes use (`images`, `gifs`, `videos`, `video`), in
//! any order; previews (type `temp`) count only where nothing else is there. The result is what one
//! node left: several pictures are the frames of a clip.

use serde_json::Value;

use super::server::RemoteFile;

/// Files of one node that are looked at, at most.
const MOST_FILES: usize = 4000;

/// What one node left.
struct Left<'v> {
    node: &'v str,
    files: Vec<RemoteFile>,
    /// Its key or a flag says that these move.
    moves: bool,
}

/// The files of the result: of the first of the `preferred` nodes that has any, else of whichever
/// fits best. Empty if there is no file at all.
pub fn result_files(outputs: &Value, preferred: &[String], wants_clip: bool) -> Vec<RemoteFile> {
    let nodes = outputs.as_object();
    let mut left: Vec<Left> =
        nodes.into_iter().flatten().filter_map(|(node, output)| left_by(node, output)).collect();
    let lasting = |l: &Left| l.files.iter().all(|file| file.kind != "temp");
    left.sort_by_key(|l| {
        let rank = preferred.iter().position(|p| p == l.node).unwrap_or(preferred.len());
        // A clip is sought among what moves, then among the most frames.
        let unfit = wants_clip && !l.moves;
        let frames = if wants_clip { usize::MAX - l.files.len() } else { 0 };
        (!lasting(l), rank, unfit, frames, node_number(l.node))
    });
    left.into_iter().next().map(|l| l.files).unwrap_or_default()
}

fn node_number(id: &str) -> u64 {
    id.split(':').next().and_then(|n| n.parse().ok()).unwrap_or(u64::MAX)
}

fn left_by<'v>(node: &'v str, output: &'v Value) -> Option<Left<'v>> {
    let output = output.as_object()?;
    let animated = output.get("animated").and_then(Value::as_array);
    let animated = animated.is_some_and(|flags| flags.iter().any(|f| f.as_bool() == Some(true)));
    for (key, moves) in [("videos", true), ("video", true), ("gifs", true), ("images", animated)] {
        let files: Vec<RemoteFile> = output
            .get(key)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .take(MOST_FILES)
            .filter_map(file)
            .collect();
        if !files.is_empty() {
            return Some(Left { node, files, moves });
        }
    }
    None
}

fn file(value: &Value) -> Option<RemoteFile> {
    let text = |key: &str| value.get(key).and_then(Value::as_str);
    let name = text("filename").filter(|name| !name.is_empty())?.to_owned();
    // VideoHelperSuite leaves a picture beside each clip.
    Some(RemoteFile {
        name,
        subfolder: text("subfolder").unwrap_or_default().to_owned(),
        kind: text("type").unwrap_or("output").to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn names(outputs: &Value, preferred: &[&str], wants_clip: bool) -> Vec<String> {
        let preferred: Vec<String> = preferred.iter().map(|p| (*p).to_owned()).collect();
        let files = result_files(outputs, &preferred, wants_clip);
        files.into_iter().map(|f| f.name).collect()
    }

    #[test]
    fn files_are_found_under_every_key() {
        let file = |name: &str| json!([{"filename": name, "subfolder": "", "type": "output"}]);
        for (key, more) in [("images", json!({})), ("gifs", json!({})), ("videos", json!({}))] {
            let outputs = json!({"9": {key: file("a.mp4"), "more": more, "text": ["hello"]}});
            assert_eq!(names(&outputs, &[], true), ["a.mp4"], "{key}");
        }
        let outputs =
            json!({"8": {"text": ["x"]}, "9": {"audio": file("a.flac"), "latents": file("l")}});
        assert!(names(&outputs, &[], true).is_empty());
    }

    #[test]
    fn previews_count_last_and_what_moves_first() {
        let outputs = json!({
            "3": {"images": [{"filename": "t.png", "subfolder": "", "type": "temp"}]},
            "4": {"images": [{"filename": "f1.png", "type": "output"}, {"filename": "f2.png", "type": "output"}]},
            "5": {"images": [{"filename": "v.mp4", "type": "output"}], "animated": [true]},
        });
        assert_eq!(names(&outputs, &[], true), ["v.mp4"]);
        assert_eq!(names(&outputs, &["4"], true), ["f1.png", "f2.png"]);
        assert_eq!(names(&outputs, &["3"], false), ["f1.png", "f2.png"], "a preview is no result");
        assert_eq!(names(&json!({"3": outputs["3"].clone()}), &[], false), ["t.png"]);
    }

    proptest::proptest! {
        #[test]
        fn anything_may_stand_there(text in "\\PC{0,40}", number in proptest::num::i64::ANY) {
            for value in [
                json!(text), json!(number), json!([text]), json!({"1": text.clone()}),
                json!({"1": {"images": text.clone(), "gifs": [number, {"filename": number}]}}),
                json!({"1": {"images": [[text.clone()]], "animated": number}}),
            ] {
                let _ = result_files(&value, std::slice::from_ref(&text), number % 2 == 0);
            }
        }
    }
}
