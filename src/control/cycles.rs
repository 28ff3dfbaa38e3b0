//! The cycles of the project: the list, a small picture of each, and its video.
//!
//! Holds: what reads a disk does so where waiting harms nobody; a video goes out in pieces, as fast
//! as it is read.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::error::Refusal;
use super::outputs::aside;
use super::routes::Show;
use super::{CycleEntry, CyclePage};
use crate::base::error::{Error, Result as BaseResult};

const USUAL_PAGE: usize = 50;
const LONGEST_PAGE: usize = 200;
/// Bytes of a video that are read at a time.
const PIECE: u64 = 256 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    before: Option<u32>,
    limit: Option<usize>,
}

pub async fn list(
    State(desk): Show,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Json<CyclePage>, Refusal> {
    let Query(Wanted { before, limit }) = wanted
        .map_err(|_| Refusal::usage("ask like /api/v1/cycles?limit=50&before=120, in numbers"))?;
    let most = limit.unwrap_or(USUAL_PAGE).clamp(1, LONGEST_PAGE);
    Ok(Json(aside(move || desk.cycles(before, most)).await?))
}

fn number(path: Result<Path<u32>, PathRejection>) -> Result<u32, Refusal> {
    path.map(|Path(cycle)| cycle)
        .map_err(|_| Refusal::not_found("a cycle has a number, as in /api/v1/cycles/7"))
}

pub async fn one(
    State(desk): Show,
    cycle: Result<Path<u32>, PathRejection>,
) -> Result<Json<CycleEntry>, Refusal> {
    let cycle = number(cycle)?;
    Ok(Json(aside(move || desk.cycle(cycle)).await?))
}

pub async fn thumbnail(
    State(desk): Show,
    cycle: Result<Path<u32>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let cycle = number(cycle)?;
    let jpeg = aside(move || desk.thumbnail(cycle)).await?;
    let digest = Sha256::digest(&jpeg);
    let tag: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let tag = format!("\"{tag}\"");
    // The cycle of this number may be another project's the next time.
    let about =
        [(header::CACHE_CONTROL, "private, max-age=60".into()), (header::ETAG, tag.clone())];
    if headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        return Ok((StatusCode::NOT_MODIFIED, about).into_response());
    }
    let kind = [(header::CONTENT_TYPE, "image/jpeg")];
    Ok((about, kind, Bytes::from_owner(jpeg)).into_response())
}

pub async fn video(
    State(desk): Show,
    cycle: Result<Path<u32>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let cycle = number(cycle)?;
    let (file, length) = aside(move || open(desk.cycle_video(cycle)?)).await?;
    // A part of what it was before may be a part of something else now.
    let asked = headers.get(header::RANGE).filter(|_| !headers.contains_key(header::IF_RANGE));
    let range =
        asked.and_then(|range| range.to_str().ok()).map_or(Range::All, |r| range(r, length));
    let (status, start, end) = match range {
        Range::All => (StatusCode::OK, 0, length),
        Range::Part(start, end) => (StatusCode::PARTIAL_CONTENT, start, end),
        Range::Outside => {
            let refusal = Refusal::new(
                StatusCode::RANGE_NOT_SATISFIABLE,
                "usage",
                format!("the video has {length} bytes; ask for some of them"),
            );
            return Ok(
                ([(header::CONTENT_RANGE, format!("bytes */{length}"))], refusal).into_response()
            );
        }
    };
    let mut response = (
        status,
        [
            (header::CONTENT_TYPE, HeaderValue::from_static("video/mp4")),
            (header::ACCEPT_RANGES, HeaderValue::from_static("bytes")),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
            (header::CONTENT_LENGTH, HeaderValue::from(end - start)),
        ],
        Body::from_stream(pieces(file, start, end)),
    )
        .into_response();
    if status == StatusCode::PARTIAL_CONTENT {
        let said = format!("bytes {start}-{}/{length}", end - 1);
        if let Ok(said) = HeaderValue::try_from(said) {
            response.headers_mut().insert(header::CONTENT_RANGE, said);
        }
    }
    Ok(response)
}

fn open(path: PathBuf) -> BaseResult<(File, u64)> {
    let failed = |e| Error::io(format!("cannot read {}", path.display()), e);
    let file = File::open(&path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    Ok((file, length))
}

/// The bytes from `start` up to `end`.
fn pieces(
    file: File,
    start: u64,
    end: u64,
) -> impl futures_util::Stream<Item = std::io::Result<Bytes>> {
    futures_util::stream::try_unfold((file, start), move |(mut file, at)| async move {
        if at >= end {
            return Ok(None);
        }
        let read = tokio::task::spawn_blocking(move || {
            let mut piece = vec![0; PIECE.min(end - at) as usize];
            file.seek(SeekFrom::Start(at))?;
            file.read_exact(&mut piece)?;
            std::io::Result::Ok((piece, file))
        });
        let (piece, file) = read.await.map_err(std::io::Error::other)??;
        let next = at + piece.len() as u64;
        Ok(Some((Bytes::from(piece), (file, next))))
    })
}

#[derive(Debug, PartialEq)]
enum Range {
    All,
    /// From, and up to but without.
    Part(u64, u64),
    Outside,
}

/// What `Range` asks for. Several ranges, and what cannot be read, are answered with all.
fn range(text: &str, length: u64) -> Range {
    let Some((first, last)) = text.trim().strip_prefix("bytes=").and_then(|r| r.split_once('-'))
    else {
        return Range::All;
    };
    let (first, last) = (first.trim(), last.trim());
    let (start, end) = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => (first, last.saturating_add(1).min(length)),
        (Ok(first), Err(_)) if last.is_empty() => (first, length),
        (Err(_), Ok(last)) if first.is_empty() => (length - last.min(length), length),
        _ => return Range::All,
    };
    if start < end { Range::Part(start, end) } else { Range::Outside }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_are_read_as_browsers_send_them() {
        for (text, expected) in [
            ("bytes=0-", Range::Part(0, 100)),
            ("bytes=0-0", Range::Part(0, 1)),
            ("bytes=10-19", Range::Part(10, 20)),
            ("bytes=90-200", Range::Part(90, 100)),
            ("bytes=-10", Range::Part(90, 100)),
            ("bytes=-1000", Range::Part(0, 100)),
            ("bytes=100-", Range::Outside),
            ("bytes=-0", Range::Outside),
            ("bytes=5-4", Range::All),
            ("bytes=0-1,5-6", Range::All),
            ("bytes=-", Range::All),
            ("lines=1-2", Range::All),
            ("", Range::All),
        ] {
            assert_eq!(range(text, 100), expected, "{text}");
        }
        assert_eq!(range("bytes=0-", 0), Range::Outside);
    }

    proptest! {
        #[test]
        fn a_part_is_never_empty_and_never_beyond_the_end(
            text in "bytes=[0-9]{0,20}-[0-9]{0,20}",
            length in any::<u64>(),
        ) {
            if let Range::Part(start, end) = range(&text, length) {
                prop_assert!(start < end && end <= length);
            }
        }
    }
}
