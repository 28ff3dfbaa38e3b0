//! Logos, good and bad.

use super::*;

fn png(width: u32, height: u32) -> Vec<u8> {
    let image = RgbaImage::from_pixel(width, height, image::Rgba([255, 0, 0, 128]));
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

#[test]
fn a_logo_is_read_from_its_folder_alone_and_says_what_is_wrong_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let overlays = folder.path().join("overlays");
    std::fs::create_dir(&overlays).unwrap();
    std::fs::write(folder.path().join("secret.png"), png(2, 2)).unwrap();
    std::fs::write(overlays.join("good.png"), png(400, 200)).unwrap();
    std::fs::write(overlays.join("text.png"), "no picture").unwrap();
    std::fs::write(overlays.join("cut.png"), &png(40, 20)[..60]).unwrap();
    std::fs::write(overlays.join("huge.png"), png(5000, 2)).unwrap();
    let read = |name: &str| read_logo(&overlays, name, (200, 200));
    assert_eq!(read("good.png").unwrap().dimensions(), (200, 100));
    assert_eq!(read("good.png").unwrap().get_pixel(100, 50).0, [128, 0, 0, 128]);
    for (name, said) in [
        ("none.png", "there is no such file"),
        ("../secret.png", "no name of a file"),
        ("/etc/passwd", "no name of a file"),
        ("..", "no name of a file"),
        ("text.png", "this is no PNG"),
        ("cut.png", "cannot be read"),
        ("huge.png", "larger than 4096x4096"),
    ] {
        let error = read(name).unwrap_err().to_string();
        assert!(error.contains(said) && error.contains(name), "{name}: {error}");
    }
}
