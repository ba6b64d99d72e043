//! Whether what was sent is a picture that every browser shows and that can do nothing else.

use heliograph_domain::LogoKind;
use heliograph_store::Logo;
use imagesize::{ImageType, blob_size, image_type};

/// What a picture is written as, and its pixels.
///
/// # Errors
/// What is wrong with it, as a sentence.
pub(super) fn check(image: &[u8]) -> Result<(LogoKind, (u32, u32)), String> {
    let kind = kind(image)?;
    let size = blob_size(image).map_err(|_| "The picture is damaged: its size cannot be read.".to_owned())?;
    let pixels = |side: usize| u32::try_from(side).ok().filter(|side| (1..=Logo::MOST_PIXELS).contains(side));
    match (pixels(size.width), pixels(size.height)) {
        (Some(width), Some(height)) => Ok((kind, (width, height))),
        _ => Err(format!(
            "The picture has {} × {} pixels. It may have up to {} in either direction, and one at least.",
            size.width,
            size.height,
            Logo::MOST_PIXELS
        )),
    }
}

/// By the first bytes, whatever its name says.
fn kind(image: &[u8]) -> Result<LogoKind, String> {
    match image_type(image) {
        Ok(ImageType::Png) => Ok(LogoKind::Png),
        Ok(ImageType::Jpeg) => Ok(LogoKind::Jpeg),
        Ok(ImageType::Webp) => Ok(LogoKind::Webp),
        _ if is_markup(image) => {
            Err("SVG pictures may hold scripts and are not taken. Save it as PNG, and send that.".to_owned())
        }
        _ => Err("This is neither PNG nor JPEG nor WebP.".to_owned()),
    }
}

/// Whether it begins as XML does, in UTF-8 or UTF-16.
fn is_markup(image: &[u8]) -> bool {
    let marks: &[u8] = &[0xEF, 0xBB, 0xBF, 0xFE, 0xFF, 0];
    image.iter().find(|byte| !byte.is_ascii_whitespace() && !marks.contains(byte)) == Some(&b'<')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The head of a picture of so many pixels.
    fn png(width: u32, height: u32) -> Vec<u8> {
        let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
        bytes.extend(width.to_be_bytes());
        bytes.extend(height.to_be_bytes());
        bytes.extend([8, 6, 0, 0, 0, 0, 0, 0, 0]);
        bytes
    }

    fn jpeg(width: u16, height: u16) -> Vec<u8> {
        let mut bytes = b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0\xff\xc0\0\x11\x08".to_vec();
        bytes.extend(height.to_be_bytes());
        bytes.extend(width.to_be_bytes());
        bytes.extend([3, 1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1]);
        bytes
    }

    /// A lossless WebP: 14 bits for each side, less one.
    fn webp(width: u32, height: u32) -> Vec<u8> {
        let mut bytes = b"RIFF\x1a\0\0\0WEBPVP8L\x0d\0\0\0\x2f".to_vec();
        bytes.extend(((width - 1) | (height - 1) << 14).to_le_bytes());
        bytes.extend([0; 8]);
        bytes
    }

    #[test]
    fn pictures_are_told_by_their_bytes_and_measured() {
        assert_eq!(check(&png(320, 80)), Ok((LogoKind::Png, (320, 80))));
        assert_eq!(check(&jpeg(320, 80)), Ok((LogoKind::Jpeg, (320, 80))));
        assert_eq!(check(&webp(320, 80)), Ok((LogoKind::Webp, (320, 80))));
        assert_eq!(check(&png(2_000, 1)), Ok((LogoKind::Png, (2_000, 1))));
    }

    #[test]
    fn what_is_no_such_picture_is_refused_with_its_reason() {
        let svg = "SVG pictures may hold scripts";
        let cases: [(&[u8], &str); 11] = [
            (b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", svg),
            (b"\xEF\xBB\xBF\n <?xml version='1.0'?><svg/>", svg),
            (b"\xFF\xFE<\0s\0v\0g\0", svg),
            (b"<!doctype html><script>alert(1)</script>", svg),
            (b"GIF89a\x01\0\x01\0\0\0\0;", "This is neither PNG"),
            (b"just text", "This is neither PNG"),
            (b"", "This is neither PNG"),
            (&png(2_001, 10), "The picture has 2001 × 10 pixels."),
            (&png(10, u32::MAX), "The picture has 10 × 4294967295 pixels."),
            (&png(0, 10), "The picture has 0 × 10 pixels."),
            (&png(10, 10)[..18], "The picture is damaged"),
        ];
        for (image, problem) in cases {
            let refused = check(image).unwrap_err();
            assert!(refused.starts_with(problem), "{refused} for {image:?}");
        }
        assert!(check(&jpeg(10, 10)[..22]).is_err() && check(&webp(10, 10)[..22]).is_err());
    }
}
