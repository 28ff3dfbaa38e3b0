//! Work that takes a core for long, off the threads that wait for others.

use std::io::Cursor;

use image::{ImageFormat, RgbImage};

use crate::base::error::{Error, Kind, Result};

/// Runs `work` on the blocking pool.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|e| {
        Err(Error::new(Kind::Internal, "a worker ended by a fault").with_source(e))
    })
}

/// The picture as a PNG file, to be sent away.
pub async fn encode_png(image: &RgbImage) -> Result<Vec<u8>> {
    let image = image.clone();
    blocking(move || {
        let mut png = Vec::new();
        image.write_to(&mut Cursor::new(&mut png), ImageFormat::Png).map_err(Error::fault)?;
        Ok(png)
    })
    .await
}
