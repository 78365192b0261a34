//! Pixels that come from outside: a PNG's, or a browser's.

use burn::tensor::{Device, Tensor, TensorData};
use png::Transformations;

use super::{MAX_PNG_BYTES, Picture, bilinear, png_limits};
use crate::request::MAX_SIDE_PX;
use crate::{Error, Result};

impl Picture {
    /// A PNG's pixels: 8 bits of red, green and blue, over white where it is transparent.
    ///
    /// # Errors
    /// [`Error::Request`] for what is no PNG, is damaged, is larger than [`MAX_PNG_BYTES`], or has sides above
    /// [`MAX_SIDE_PX`].
    pub fn from_png(png: &[u8]) -> Result<Self> {
        let refuse = |reason: String| Error::request("png", reason);
        if png.len() > MAX_PNG_BYTES {
            return Err(refuse(format!("is {} bytes long, at most {MAX_PNG_BYTES} are read", png.len())));
        }
        let mut decoder = png::Decoder::new_with_limits(std::io::Cursor::new(png), png_limits());
        let unreadable = |error: png::DecodingError| refuse(format!("cannot be read: {error}"));
        let (width, height) = {
            let header = decoder.read_header_info().map_err(unreadable)?;
            (header.width, header.height)
        };
        check_sides([width, height])?;
        decoder.set_transformations(Transformations::normalize_to_color8() | Transformations::ALPHA);
        let mut reader = decoder.read_info().map_err(unreadable)?;
        // png 0.18.1 panics at such a palette: <https://github.com/image-rs/image-png/issues/694>.
        if reader.info().palette.as_ref().is_some_and(|palette| !palette.len().is_multiple_of(3)) {
            return Err(refuse("has a palette that is not made of whole colours".to_owned()));
        }
        let channels = reader.output_color_type().0.samples();
        let mut pixels = vec![0; (width * height) as usize * channels];
        reader.next_frame(&mut pixels).map_err(unreadable)?;
        let rgb = pixels.chunks_exact(channels).flat_map(|pixel| match *pixel {
            [grey, alpha] => over_white([grey; 3], alpha),
            [red, green, blue, alpha] => over_white([red, green, blue], alpha),
            _ => [0; 3], // every pixel was given an alpha
        });
        Ok(Self { width, height, rgb: rgb.collect() })
    }

    /// A picture of pixels with red, green, blue and alpha, over white where they are transparent.
    ///
    /// # Errors
    /// [`Error::Request`] where sides are 0 or above [`MAX_SIDE_PX`], or there are not as many pixels.
    pub fn from_rgba(width: u32, height: u32, rgba: &[u8]) -> Result<Self> {
        check_sides([width, height])?;
        let (pixels, rest) = rgba.as_chunks::<4>();
        if pixels.len() != (width * height) as usize || !rest.is_empty() {
            return Err(Error::request("picture", format!("{width}x{height} pixels are not {} bytes", rgba.len())));
        }
        let rgb = pixels.iter().flat_map(|&[red, green, blue, alpha]| over_white([red, green, blue], alpha));
        Ok(Self { width, height, rgb: rgb.collect() })
    }

    /// The picture at another size, which it covers: scaled by an antialiased triangle, and what stands out cut off on both
    /// sides. One of that size already stays as it is.
    pub fn fitted(&self, width: u32, height: u32) -> Self {
        if (self.width, self.height) == (width, height) {
            return self.clone();
        }
        // Cut first, so that a thin picture never becomes a huge one.
        let cut = |side: u32, other: u32, target: u32, other_target: u32| {
            let kept = f64::from(other) * f64::from(target) / f64::from(other_target);
            (kept.round() as u32).clamp(1, side) as usize
        };
        let wide = cut(self.width, self.height, width, height);
        let tall = cut(self.height, self.width, height, width);
        let [left, top] = [(self.width as usize - wide) / 2, (self.height as usize - tall) / 2];
        let planes = self.planes().map(|plane| {
            let rows = plane.chunks_exact(self.width as usize).skip(top).take(tall);
            let cut: Vec<f32> = rows.flat_map(|row| &row[left..left + wide]).copied().collect();
            bilinear(&cut, [tall, wide], [height as usize, width as usize])
        });
        let byte = |value: f32| (value.clamp(0.0, 1.0) * 255.0).round_ties_even() as u8;
        let pixels = 0..planes[0].len();
        let rgb = pixels.flat_map(|pixel| [0, 1, 2].map(|channel| byte(planes[channel][pixel]))).collect();
        Self { width, height, rgb }
    }

    /// The picture on a device.
    ///
    /// # Shapes
    /// [1, 3, height, width], values in [0, 1].
    pub fn to_tensor(&self, device: &Device) -> Tensor<4> {
        let (width, height) = (self.width as usize, self.height as usize);
        let values: Vec<f32> = self.planes().concat();
        Tensor::from_data(TensorData::new(values, [1, 3, height, width]), device)
    }

    /// Red, green and blue, row by row from the top, values in [0, 1].
    pub fn planes(&self) -> [Vec<f32>; 3] {
        [0, 1, 2].map(|channel| self.rgb.chunks_exact(3).map(|pixel| f32::from(pixel[channel]) / 255.0).collect())
    }
}

fn check_sides(sides: [u32; 2]) -> Result<()> {
    match sides.iter().all(|side| (1..=MAX_SIDE_PX).contains(side)) {
        true => Ok(()),
        false => {
            let [width, height] = sides;
            Err(Error::request("picture", format!("sides of 1 to {MAX_SIDE_PX} pixels are read, not {width}x{height}")))
        }
    }
}

fn over_white(rgb: [u8; 3], alpha: u8) -> [u8; 3] {
    rgb.map(|value| {
        let (value, alpha) = (u32::from(value), u32::from(alpha));
        ((value * alpha + 255 * (255 - alpha) + 127) / 255) as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png(color: png::ColorType, depth: png::BitDepth, pixels: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 2, 1);
        encoder.set_color(color);
        encoder.set_depth(depth);
        encoder.set_palette(vec![1, 2, 3, 4, 5, 6]);
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(pixels).unwrap();
        drop(writer);
        bytes
    }

    #[test]
    fn every_kind_of_png_becomes_red_green_and_blue() {
        use png::{BitDepth, ColorType};
        let cases: [(ColorType, BitDepth, &[u8], [u8; 6]); 6] = [
            (ColorType::Rgb, BitDepth::Eight, &[1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6]),
            (ColorType::Rgba, BitDepth::Eight, &[9, 9, 9, 0, 0, 100, 200, 128], [255, 255, 255, 127, 177, 227]),
            (ColorType::Grayscale, BitDepth::Eight, &[7, 8], [7, 7, 7, 8, 8, 8]),
            (ColorType::Grayscale, BitDepth::One, &[0b0100_0000], [0, 0, 0, 255, 255, 255]),
            (ColorType::GrayscaleAlpha, BitDepth::Eight, &[7, 255, 7, 0], [7, 7, 7, 255, 255, 255]),
            (ColorType::Indexed, BitDepth::Eight, &[1, 0], [4, 5, 6, 1, 2, 3]),
        ];
        for (color, depth, pixels, rgb) in cases {
            let picture = Picture::from_png(&png(color, depth, pixels)).unwrap();
            assert_eq!(picture, Picture { width: 2, height: 1, rgb: rgb.to_vec() }, "{color:?} {depth:?}");
        }
        let sixteen = png(ColorType::Rgb, BitDepth::Sixteen, &[1, 99, 2, 0, 3, 0, 4, 0, 5, 0, 6, 255]);
        assert_eq!(Picture::from_png(&sixteen).unwrap().rgb, [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn pixels_of_another_number_or_size_are_refused() {
        assert_eq!(Picture::from_rgba(1, 1, &[10, 20, 30, 255]).unwrap().rgb, [10, 20, 30]);
        for (width, height, bytes) in [(1, 1, 3), (1, 1, 5), (2, 1, 4), (0, 1, 0), (4096, 1, 16384)] {
            assert_eq!(Picture::from_rgba(width, height, &vec![0; bytes]).unwrap_err().code(), "Request");
        }
        let whole = png(png::ColorType::Rgb, png::BitDepth::Eight, &[0; 6]);
        for broken in [&whole[..40], b"GIF89a", b""] {
            assert_eq!(Picture::from_png(broken).unwrap_err().code(), "Request");
        }
    }

    #[test]
    fn a_fitted_picture_covers_the_size_and_keeps_its_middle() {
        let grey = |width: u32, height: u32, value: fn(u32, u32) -> u8| {
            let pixels = (0..height).flat_map(|y| (0..width).map(move |x| value(x, y)));
            Picture { width, height, rgb: pixels.flat_map(|grey| [grey; 3]).collect() }
        };
        let columns = grey(8, 2, |x, _| 10 * x as u8);
        assert_eq!(columns.fitted(8, 2), columns);
        assert_eq!(columns.fitted(2, 2), grey(2, 2, |x, _| 30 + 10 * x as u8), "cut left and right");
        assert_eq!(
            grey(2, 8, |_, y| 10 * y as u8).fitted(2, 2),
            grey(2, 2, |_, y| 30 + 10 * y as u8),
            "above and below"
        );
        assert_eq!(grey(4, 4, |x, _| if x < 2 { 0 } else { 200 }).fitted(2, 2).rgb[..3], [29; 3], "antialiased");
        let thin = grey(MAX_SIDE_PX, 1, |_, _| 7);
        assert_eq!(thin.fitted(64, 128), grey(64, 128, |_, _| 7));
    }

    #[test]
    fn the_largest_picture_is_read() {
        let side = MAX_SIDE_PX;
        let noise = (0..side * side * 3).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let picture = Picture { width: side, height: side, rgb: noise };
        assert!(Picture::from_png(&picture.to_png(None).unwrap()).unwrap() == picture);
    }

    #[test]
    fn a_picture_survives_the_way_to_a_device_and_back() {
        let picture = Picture { width: 3, height: 2, rgb: (0..18).map(|value| value * 14).collect() };
        let tensor = picture.to_tensor(&Device::flex());
        assert_eq!(tensor.dims(), [1, 3, 2, 3]);
        assert_eq!(pollster::block_on(Picture::read(tensor)).unwrap(), picture);
    }
}
