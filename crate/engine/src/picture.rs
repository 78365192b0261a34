//! A finished picture: read back from the device, and saved as a PNG that says how it was made.

mod pixels;
mod resize;
mod watermark;

use burn::tensor::{DType, Tensor};
use png::text_metadata::ITXtChunk;
use serde::{Deserialize, Serialize};

pub(crate) use resize::bilinear;
pub use watermark::WATERMARKED_FROM;

use crate::kernels::Precision;
use crate::request::{EffectiveRequest, MAX_SIDE_PX, Request, RequestLimits, check_fraction};
use crate::{Error, Result};

/// Longest PNG whose settings are read, in bytes.
pub const MAX_PNG_BYTES: usize = 64 << 20;
/// Largest side of a PNG whose settings are read, in pixels.
pub const MAX_PNG_SIDE_PX: u32 = 16_384;
/// Longest text chunk that is read, in bytes after decompression.
const MAX_TEXT_BYTES: usize = 64 << 10;
/// Memory that a PNG's chunks before its pixels may take, in bytes.
const MAX_CHUNKS_BYTES: usize = 4 << 20;
/// Keyword of the chunk with [`PictureInfo`] as JSON.
const FRAISE: &str = "fraise";
/// Keyword of the chunk that AUTOMATIC1111's web UI and its many readers use.
const PARAMETERS: &str = "parameters";
/// Keyword of XMP packets. Source: XMP specification part 3, 1.1.5.
const XMP: &str = "XML:com.adobe.xmp";
/// Source: IPTC, <http://cv.iptc.org/newscodes/digitalsourcetype/>: "created by a trained model".
const GENERATED: &str = "trainedAlgorithmicMedia";
/// Likewise, "minor augmentation or correction by algorithm".
const ENHANCED: &str = "algorithmicallyEnhanced";
/// With the place of the digital source type left open.
const XMP_PACKET: &str = r#"<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    Iptc4xmpExt:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/{TYPE}"
    xmp:CreatorTool="Fraise"/>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="r"?>"#;

/// Pixels on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Red, green and blue of each pixel, row by row from the top left, 0 to 255.
    pub rgb: Vec<u8>,
}

/// How a picture was made, as saved with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PictureInfo {
    /// The request, every value decided.
    pub request: EffectiveRequest,
    /// The model's name.
    pub model: String,
    /// What it was computed with; not written where that is the usual.
    #[serde(default, skip_serializing_if = "Precision::is_usual")]
    pub precision: Precision,
}

impl Picture {
    /// Waits for the image and copies it to the host, rounding as diffusers does.
    ///
    /// # Shapes
    /// `image`: [1, 3, height, width], values in [0, 1]; what lies outside is clamped.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] where the device does not answer, or answers with what are no numbers; such a picture
    /// would only be black.
    ///
    /// Source: diffusers 0.42 `VaeImageProcessor.numpy_to_pil`.
    pub async fn read(image: Tensor<4>) -> Result<Self> {
        let [_, _, height, width] = image.dims();
        let data = image.into_data_async().await.map_err(|error| Error::DeviceLost { reason: error.to_string() })?;
        let values = data
            .convert_dtype(DType::F32)
            .try_into_vec::<f32>()
            .map_err(|error| Error::DeviceLost { reason: format!("the image came back unreadable: {error:?}") })?;
        if !values.iter().all(|value| value.is_finite()) {
            return Err(Error::DeviceLost { reason: "it computed a picture that is not made of numbers".to_owned() });
        }
        let byte = |value: f32| (value.clamp(0.0, 1.0) * 255.0).round_ties_even() as u8;
        let plane = width * height;
        let rgb = (0..plane).flat_map(|pixel| [0, 1, 2].map(|channel| byte(values[channel * plane + pixel]))).collect();
        Ok(Self { width: width as u32, height: height as u32, rgb })
    }

    /// The picture as a PNG that carries its settings and the mark that it was generated.
    ///
    /// Three text chunks precede the pixels: `parameters` as AUTOMATIC1111 writes it (tEXt where it is Latin-1, iTXt
    /// where not), `fraise` with [`PictureInfo`] as JSON, and XMP with the IPTC digital source type. A picture from
    /// elsewhere, which was only made larger, has no settings; its mark says that it was enhanced.
    ///
    /// # Errors
    /// [`Error::Storage`] where encoding fails, which the pixels' number alone can cause.
    pub fn to_png(&self, info: Option<&PictureInfo>) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, self.width, self.height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        if let Some(info) = info {
            let parameters = parameters(info, self.width);
            if is_latin_1(&parameters) {
                encoder.add_text_chunk(PARAMETERS.to_owned(), parameters).map_err(failed)?;
            } else {
                encoder.add_itxt_chunk(PARAMETERS.to_owned(), parameters).map_err(failed)?;
            }
            let json = serde_json::to_string(info).map_err(failed)?;
            encoder.add_itxt_chunk(FRAISE.to_owned(), json).map_err(failed)?;
        }
        let xmp = XMP_PACKET.replace("{TYPE}", if info.is_some() { GENERATED } else { ENHANCED });
        encoder.add_itxt_chunk(XMP.to_owned(), xmp).map_err(failed)?;
        let mut writer = encoder.write_header().map_err(failed)?;
        writer.write_image_data(&self.rgb).map_err(failed)?;
        writer.finish().map_err(failed)?;
        Ok(bytes)
    }
}

/// Reads back the settings of a PNG made by [`Picture::to_png`]; its pixels stay undecoded.
///
/// # Errors
/// [`Error::Request`] for what is no PNG, is larger than [`MAX_PNG_BYTES`] or [`MAX_PNG_SIDE_PX`], has oversized
/// chunks, holds no settings of ours, or settings that no request may have.
pub fn read_info(png: &[u8]) -> Result<PictureInfo> {
    let refuse = |reason: String| Error::request("png", reason);
    if png.len() > MAX_PNG_BYTES {
        return Err(refuse(format!("is {} bytes long, at most {MAX_PNG_BYTES} are read", png.len())));
    }
    let mut decoder = png::Decoder::new_with_limits(std::io::Cursor::new(png), png_limits());
    let unreadable = |error: png::DecodingError| refuse(format!("cannot be read: {error}"));
    let header = decoder.read_header_info().map_err(unreadable)?;
    if header.width.max(header.height) > MAX_PNG_SIDE_PX {
        let (width, height) = (header.width, header.height);
        return Err(refuse(format!("is {width}x{height} pixels, sides of at most {MAX_PNG_SIDE_PX} are read")));
    }
    let reader = decoder.read_info().map_err(unreadable)?;
    let chunk = reader.info().utf8_text.iter().find(|chunk| chunk.keyword == FRAISE);
    let text = text_of(chunk.ok_or_else(|| refuse("holds no settings saved by Fraise".to_owned()))?)?;
    let info: PictureInfo =
        serde_json::from_str(&text).map_err(|error| refuse(format!("holds damaged settings: {error}")))?;
    check(&info)?;
    Ok(info)
}

fn png_limits() -> png::Limits {
    png::Limits { bytes: MAX_CHUNKS_BYTES }
}

fn text_of(chunk: &ITXtChunk) -> Result<String> {
    let mut chunk = chunk.clone();
    let read = chunk.decompress_text_with_limit(MAX_TEXT_BYTES).and_then(|()| chunk.get_text());
    match read {
        Ok(text) if text.len() <= MAX_TEXT_BYTES => Ok(text),
        Ok(_) => Err(Error::request("png", format!("holds settings longer than {MAX_TEXT_BYTES} bytes"))),
        Err(error) => Err(Error::request("png", format!("holds unreadable settings: {error}"))),
    }
}

/// Foreign settings are held to the bounds of every request.
fn check(info: &PictureInfo) -> Result<()> {
    let request = &info.request;
    let limits = RequestLimits { steps: 1, guidance: 1.0, width_px: 8, height_px: 8, scale_px: 1 };
    Request {
        prompt: request.prompt.clone(),
        negative: request.negative.clone(),
        seed: request.seed,
        steps: Some(request.steps),
        guidance: Some(request.guidance),
        width: Some(request.width.min(MAX_SIDE_PX + 1)),
        height: Some(request.height.min(MAX_SIDE_PX + 1)),
        sampler: request.sampler.clone(),
        prompt_syntax: request.prompt_syntax,
        upscale: request.upscale,
        tiling: request.tiling,
        variation: request.variation,
        ..Request::default()
    }
    .resolve(&limits)?;
    // What it was started from is not in the file.
    request.strength.map_or(Ok(()), |strength| check_fraction("strength", strength))
}

/// The settings as AUTOMATIC1111 words them: prompt, negative prompt, then one line of `Key: value` pairs. `Size` is what
/// was painted; by how much it was made larger since is the hires upscale.
fn parameters(info: &PictureInfo, width_px: u32) -> String {
    let request = &info.request;
    let mut text = request.prompt.clone();
    if let Some(negative) = request.negative.as_ref().filter(|negative| !negative.is_empty()) {
        text += &format!("\nNegative prompt: {negative}");
    }
    text += &format!("\nSteps: {}, ", request.steps);
    if let Some(sampler) = &request.sampler {
        text += &format!("Sampler: {}, ", sampler_label(sampler));
    }
    text += &format!("CFG scale: {}, Seed: {}, ", request.guidance, request.seed);
    text += &format!("Size: {}x{}, Model: {}, ", request.width, request.height, info.model);
    if let Some(variation) = request.variation {
        text += &format!("Variation seed: {}, Variation seed strength: {}, ", variation.seed, variation.strength);
    }
    if let Some(strength) = request.strength {
        text += &format!("Denoising strength: {strength}, ");
    }
    if request.tiling {
        text += "Tiling: True, ";
    }
    if request.upscale {
        let factor = f64::from(width_px) / f64::from(request.width);
        text += &format!("Hires upscale: {factor}, Hires upscaler: SRVGGNetCompact, ");
    }
    text + concat!("Version: Fraise ", env!("CARGO_PKG_VERSION"))
}

/// What AUTOMATIC1111 calls a sampler; names without a counterpart there stay as they are.
fn sampler_label(name: &str) -> &str {
    match name {
        "ddim" => "DDIM",
        "pndm" => "PLMS",
        "euler" => "Euler",
        "euler_a" => "Euler a",
        "dpmpp_2m" => "DPM++ 2M",
        "dpmpp_2m_karras" => "DPM++ 2M Karras",
        "dpmpp_sde" => "DPM++ SDE",
        "heun" => "Heun",
        "lcm" => "LCM",
        other => other,
    }
}

fn is_latin_1(text: &str) -> bool {
    text.chars().all(|character| u32::from(character) < 256)
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::Storage { operation: "writing the PNG".to_owned(), reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;
    use crate::request::{PromptSyntax, Variation};

    fn request(prompt: &str) -> EffectiveRequest {
        EffectiveRequest {
            prompt: prompt.into(),
            negative: Some("rain".into()),
            seed: u64::MAX,
            steps: 12,
            guidance: 3.5,
            width: 3,
            height: 2,
            sampler: Some("euler_a".into()),
            prompt_syntax: PromptSyntax::A1111,
            upscale: false,
            strength: None,
            masked: false,
            tiling: false,
            variation: None,
            truncated: Vec::new(),
        }
    }

    fn png(picture: &Picture, request: EffectiveRequest) -> Vec<u8> {
        picture
            .to_png(Some(&PictureInfo { request, model: "fraise-1".into(), precision: Precision::default() }))
            .unwrap()
    }

    fn picture() -> Picture {
        Picture { width: 3, height: 2, rgb: (0..18).collect() }
    }

    #[test]
    fn rounds_and_interleaves_as_diffusers_does() {
        let values = [-0.5f32, 0.5, 2.0, 1.5 / 255.0, 0.0, 1.0];
        let image = Tensor::<4>::from_data(TensorData::new(values.to_vec(), [1, 3, 1, 2]), &Device::flex());
        let picture = pollster::block_on(Picture::read(image)).unwrap();
        // numpy rounds halves to even: 127.5 becomes 128, 1.5 becomes 2.
        assert_eq!(picture, Picture { width: 2, height: 1, rgb: vec![0, 255, 0, 128, 2, 255] });
    }

    #[test]
    fn a_picture_of_no_numbers_is_an_error_and_not_black() {
        let image = Tensor::<4>::full([1, 3, 2, 2], f32::NAN, &Device::flex());
        assert_eq!(pollster::block_on(Picture::read(image)).map_err(|error| error.code()), Err("DeviceLost"));
    }

    #[test]
    fn a_saved_picture_tells_a_precision_that_is_not_the_usual() {
        let info = |precision| PictureInfo { request: request("a cat"), model: "m".into(), precision };
        let [usual, half] = [Precision::Float32, Precision::Float16].map(info);
        for info in [&usual, &half] {
            assert_eq!(read_info(&picture().to_png(Some(info)).unwrap()).unwrap(), *info);
        }
        let [usual, half] = [usual, half].map(|info| serde_json::to_string(&info).unwrap());
        assert!(!usual.contains("precision") && half.contains(r#""precision":"float16""#), "{usual} {half}");
    }

    #[test]
    fn a_saved_picture_tells_its_settings_in_three_languages() {
        for prompt in ["a strawberry, drawn on paper", "星空下的草莓小岛"] {
            let request = request(prompt);
            let png = png(&picture(), request.clone());
            assert_eq!(
                read_info(&png).unwrap(),
                PictureInfo { request, model: "fraise-1".into(), precision: Precision::default() }
            );

            let mut reader = png::Decoder::new(std::io::Cursor::new(&png)).read_info().unwrap();
            let info = reader.info();
            let latin = info.uncompressed_latin1_text.iter().find(|chunk| chunk.keyword == PARAMETERS);
            let utf8 = info.utf8_text.iter().find(|chunk| chunk.keyword == PARAMETERS);
            assert_eq!((latin.is_some(), utf8.is_some()), (prompt.is_ascii(), !prompt.is_ascii()));
            let parameters = latin.map_or_else(|| utf8.unwrap().get_text().unwrap(), |chunk| chunk.text.clone());
            let settings = "Steps: 12, Sampler: Euler a, CFG scale: 3.5, Seed: 18446744073709551615, Size: 3x2, \
                            Model: fraise-1, Version: Fraise ";
            assert!(parameters.starts_with(&format!("{prompt}\nNegative prompt: rain\n{settings}")), "{parameters}");
            let xmp = info.utf8_text.iter().find(|chunk| chunk.keyword == XMP).unwrap().get_text().unwrap();
            assert!(xmp.contains("digitalsourcetype/trainedAlgorithmicMedia"));
            let mut pixels = vec![0; 18];
            reader.next_frame(&mut pixels).unwrap();
            assert_eq!(pixels, picture().rgb);
        }
    }

    #[test]
    fn a_picture_made_larger_says_so() {
        let larger = Picture { width: 6, height: 4, rgb: vec![0; 72] };
        let bytes = png(&larger, EffectiveRequest { upscale: true, ..request("p") });
        assert!(read_info(&bytes).unwrap().request.upscale);
        let text = String::from_utf8_lossy(&bytes);
        assert!(
            text.contains("Size: 3x2, Model: fraise-1, Hires upscale: 2, Hires upscaler: SRVGGNetCompact, Version")
        );
        assert!(text.contains("digitalsourcetype/trainedAlgorithmicMedia"));

        let foreign = larger.to_png(None).unwrap();
        assert_eq!(read_info(&foreign).map_err(|error| error.code()), Err("Request"));
        assert!(String::from_utf8_lossy(&foreign).contains("digitalsourcetype/algorithmicallyEnhanced"));
    }

    #[test]
    fn how_a_picture_was_begun_is_saved_and_held_to_its_bounds() {
        let begun = EffectiveRequest {
            strength: Some(0.5),
            masked: true,
            tiling: true,
            variation: Some(Variation { seed: u64::MAX, strength: 0.25 }),
            ..request("p")
        };
        let bytes = png(&picture(), begun.clone());
        assert_eq!(read_info(&bytes).unwrap().request, begun);
        let settings = "Model: fraise-1, Variation seed: 18446744073709551615, Variation seed strength: 0.25, \
                        Denoising strength: 0.5, Tiling: True, Version";
        assert!(String::from_utf8_lossy(&bytes).contains(settings));
        for bad in [
            EffectiveRequest { strength: Some(1.5), ..begun.clone() },
            EffectiveRequest { variation: Some(Variation { seed: 1, strength: -1.0 }), ..begun },
        ] {
            assert_eq!(read_info(&png(&picture(), bad)).map_err(|error| error.code()), Err("Request"));
        }
    }

    fn png_with(width: u32, add: impl FnOnce(&mut png::Encoder<&mut Vec<u8>>)) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, width, 65_535);
        add(&mut encoder);
        encoder.write_header().unwrap().write_chunk(png::chunk::IDAT, &[]).unwrap();
        bytes
    }

    #[test]
    fn refuses_hostile_files_before_decoding_them() {
        let mut bomb = ITXtChunk::new(FRAISE, " ".repeat(200 << 20));
        bomb.compressed = true;
        bomb.compress_text().unwrap();
        let whole = png(&picture(), request("p"));
        let mut too_many_steps = request("p");
        too_many_steps.steps = 100_000;
        let cases = [
            ("no picture", b"<svg xmlns='http://www.w3.org/2000/svg'/>".to_vec()),
            ("empty", Vec::new()),
            ("huge", png_with(65_535, |_| ())),
            ("cut short", whole[..60].to_vec()),
            ("foreign", png_with(1, |_| ())),
            ("steps", png(&picture(), too_many_steps)),
            ("text bomb", {
                let mut bytes = Vec::new();
                let mut writer = png::Encoder::new(&mut bytes, 1, 1).write_header().unwrap();
                writer.write_text_chunk(&bomb).unwrap();
                writer.write_chunk(png::chunk::IDAT, &[]).unwrap();
                drop(writer);
                bytes
            }),
        ];
        for (what, bytes) in cases {
            assert_eq!(read_info(&bytes).map_err(|error| error.code()), Err("Request"), "{what}");
        }
    }
}
