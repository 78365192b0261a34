//! What a pack may bring besides what paints, fetched and loaded when it is first asked for.

use fraise_engine::kernels::Border;
use fraise_engine::limits::DeviceLimits;
use fraise_engine::loader::{Phase, Progress, download_components};
use fraise_engine::picture::{Picture, PictureInfo, WATERMARKED_FROM, read_info};
use fraise_engine::request::{EffectiveRequest, StartPicture};
use fraise_engine::requirements::Requirements;
use fraise_engine::{Error, Result, encoder, scorer, upscaler};
use js_sys::{Array, Float32Array, Function, Uint8Array};
use wasm_bindgen::prelude::*;
use web_sys::{AbortSignal, ImageData};

use crate::cancel::until_aborted;
use crate::error::to_js;
use crate::presenter::{read_picture, read_to_the_end};
use crate::report::progress_to;
use crate::{FraiseEngine, Loaded};

#[wasm_bindgen]
impl FraiseEngine {
    /// Whether a component that the loaded pack may do without (`upscaler`, `scorer`, `vae_encoder`) is in the pack and not
    /// on the device yet, so that the first use of it fetches and loads it.
    pub fn lacks(&self, component: &str) -> bool {
        let Ok(Loaded { pipeline, manifest, .. }) = self.loaded() else { return false };
        let is_loaded = match component {
            upscaler::COMPONENT => pipeline.has_upscaler(),
            scorer::COMPONENT => pipeline.has_scorer(),
            encoder::COMPONENT => pipeline.has_encoder(),
            _ => return false,
        };
        !is_loaded && manifest.components.contains_key(component)
    }

    /// Makes a picture larger by the loaded pack's upscaler; resolves to a PNG. `picture`: a PNG as `Uint8Array`, whose
    /// settings go along where Fraise saved it, and a texture's edges fit together as before; or `ImageData`. `on_progress`:
    /// as for [`FraiseEngine::load`], called only where the upscaler is fetched or loaded.
    ///
    /// # Errors
    /// `Request` for what is no picture, or where the pack has no upscaler; `DeviceLimit` where the device has too
    /// little; `Network` where the upscaler cannot be fetched; `Cancelled` once `signal` aborts.
    pub async fn upscale(
        &self,
        picture: JsValue,
        on_progress: Function,
        signal: AbortSignal,
    ) -> Result<Uint8Array, JsValue> {
        let upscaling = self.upscale_picture(picture, &on_progress);
        let png = until_aborted(&signal, upscaling).await.map_err(|error| to_js(&error))?;
        Ok(Uint8Array::from(png.as_slice()))
    }

    /// How well each picture fits a prompt, by the loaded pack's scorer: in [−1, 1]. `pictures` and `on_progress`: as for
    /// [`FraiseEngine::upscale`].
    ///
    /// # Errors
    /// As [`FraiseEngine::upscale`], of the scorer.
    pub async fn score(
        &self,
        prompt: String,
        pictures: Array,
        on_progress: Function,
        signal: AbortSignal,
    ) -> Result<Float32Array, JsValue> {
        let scoring = self.score_pictures(prompt, pictures, &on_progress);
        let scores = until_aborted(&signal, scoring).await.map_err(|error| to_js(&error))?;
        Ok(Float32Array::from(scores.as_slice()))
    }
}

#[wasm_bindgen]
impl FraiseEngine {
    /// Pixels that were made from a picture painted here, as a PNG with that one's settings and the marks of AI. `like`: that
    /// picture, a PNG; where the pixels are more, they count as made larger.
    ///
    /// # Errors
    /// `Request` for what is no picture, or where Fraise did not save `like`.
    #[wasm_bindgen(js_name = savedLike)]
    pub fn saved_like(&self, pixels: ImageData, like: Uint8Array) -> Result<Uint8Array, JsValue> {
        let saved = || {
            let mut picture = Picture::from_rgba(pixels.width(), pixels.height(), &pixels.data())?;
            let info = read_info(&like.to_vec())?;
            let upscale = info.request.upscale || picture.width > info.request.width;
            picture.watermark(None);
            picture.to_png(Some(&PictureInfo { request: EffectiveRequest { upscale, ..info.request }, ..info }))
        };
        let png = saved().map_err(|error| to_js(&error))?;
        Ok(Uint8Array::from(png.as_slice()))
    }

    /// Whether a picture, as for [`FraiseEngine::upscale`], carries the mark that pictures made here have in their pixels.
    ///
    /// # Errors
    /// `Request` for what is no picture.
    #[wasm_bindgen(js_name = isMarked)]
    pub fn is_marked(&self, picture: JsValue) -> Result<bool, JsValue> {
        let (picture, _) = picture_from_js(picture).map_err(|error| to_js(&error))?;
        Ok(picture.watermark_score() >= WATERMARKED_FROM)
    }
}

impl FraiseEngine {
    async fn upscale_picture(&self, picture: JsValue, on_progress: &Function) -> Result<Vec<u8>> {
        let loaded = self.loaded()?;
        let compute = self.compute();
        compute.check()?;
        let (picture, info) = picture_from_js(picture)?;
        loaded.pipeline.requirements(picture.width, picture.height).check_upscaling()?;
        self.bring(&[upscaler::COMPONENT], &loaded, on_progress).await?;
        let border = info.as_ref().map_or(Border::Zeros, |info| info.request.border());
        let mut larger = read_picture(loaded.pipeline.upscale(picture.to_tensor(&compute.device), border)?).await?;
        compute.check()?;
        // The mark in the pixels does not outlive scaling.
        if info.is_some() || picture.watermark_score() >= WATERMARKED_FROM {
            larger.watermark(None);
        }
        let info = info.map(|info| PictureInfo { request: EffectiveRequest { upscale: true, ..info.request }, ..info });
        larger.to_png(info.as_ref())
    }

    async fn score_pictures(&self, prompt: String, pictures: Array, on_progress: &Function) -> Result<Vec<f32>> {
        let loaded = self.loaded()?;
        let compute = self.compute();
        compute.check()?;
        if pictures.length() as usize > scorer::MAX_PICTURES {
            let most = scorer::MAX_PICTURES;
            return Err(Error::request("pictures", format!("at most {most} are scored at once")));
        }
        let pictures = pictures.iter().map(|picture| Ok(picture_from_js(picture)?.0)).collect::<Result<Vec<_>>>()?;
        let limits = DeviceLimits::of(&compute.device);
        Requirements::recommended(&loaded.manifest, &limits)?.check_scoring()?;
        self.bring(&[scorer::COMPONENT], &loaded, on_progress).await?;
        let pipeline = loaded.pipeline.clone();
        let scores = read_to_the_end(async move { pipeline.score(&prompt, &pictures).await }).await?;
        compute.check()?;
        Ok(scores)
    }

    /// Fetches components that the pack came without, but for the pieces in the store, and loads them, unless that is done.
    pub(crate) async fn bring(&self, components: &[&str], loaded: &Loaded, on_progress: &Function) -> Result<()> {
        let Loaded { pipeline, manifest, address } = loaded;
        let place = async || {
            for &component in components {
                match component {
                    upscaler::COMPONENT => pipeline.load_upscaler(manifest, &self.packs, &self.digest).await?,
                    scorer::COMPONENT => pipeline.load_scorer(manifest, &self.packs, &self.digest).await?,
                    _ => pipeline.load_encoder(manifest, &self.packs, &self.digest).await?,
                }
            }
            Ok(())
        };
        let lacking: Vec<&str> = components.iter().copied().filter(|component| self.lacks(component)).collect();
        if lacking.is_empty() {
            // Nothing is left to do, or the pack has none, which is refused in words of its own.
            return place().await;
        }
        let source = self.source(address.clone());
        let sizes = lacking.iter().map(|name| manifest.component(name).map(|component| component.bytes));
        let total_bytes = sizes.sum::<Result<u64>>()?;
        let mut report = progress_to(on_progress);
        download_components(&lacking, manifest, (&source, &self.packs, &self.digest), &mut report).await?;
        report(Progress { phase: Phase::Upload, loaded_bytes: 0, total_bytes });
        place().await?;
        report(Progress { phase: Phase::Upload, loaded_bytes: total_bytes, total_bytes });
        Ok(())
    }
}

/// What a run starts from; both may be undefined.
pub(crate) fn start_from_js(image: JsValue, mask: JsValue) -> Result<Option<StartPicture>> {
    let picture = |value: JsValue| match value.is_undefined() {
        true => Ok(None),
        false => picture_from_js(value).map(|(picture, _)| Some(picture)),
    };
    match (picture(image)?, picture(mask)?) {
        (Some(image), mask) => Ok(Some(StartPicture { image, mask })),
        (None, None) => Ok(None),
        (None, Some(_)) => Err(Error::request("mask", "it needs an `image` to repaint a part of")),
    }
}

/// A picture from JavaScript, and its settings where Fraise saved it.
fn picture_from_js(picture: JsValue) -> Result<(Picture, Option<PictureInfo>)> {
    match picture.dyn_into::<ImageData>() {
        Ok(pixels) => Ok((Picture::from_rgba(pixels.width(), pixels.height(), &pixels.data())?, None)),
        Err(picture) => {
            let png = picture.dyn_into::<Uint8Array>();
            let png = png.map_err(|_| Error::request("picture", "it is neither a PNG nor ImageData"))?.to_vec();
            Ok((Picture::from_png(&png)?, read_info(&png).ok()))
        }
    }
}
