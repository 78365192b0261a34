//! What a pack may bring besides what paints, fetched and loaded when it is first asked for.

use fraise_engine::limits::DeviceLimits;
use fraise_engine::loader::download_component;
use fraise_engine::picture::{Picture, PictureInfo, WATERMARKED_FROM, read_info};
use fraise_engine::request::{EffectiveRequest, StartPicture};
use fraise_engine::requirements::Requirements;
use fraise_engine::{Error, Result, encoder, scorer, upscaler};
use js_sys::{Array, Float32Array, Uint8Array};
use wasm_bindgen::prelude::*;
use web_sys::{AbortSignal, ImageData};

use crate::cancel::until_aborted;
use crate::error::to_js;
use crate::presenter::{read_picture, read_to_the_end};
use crate::{FraiseEngine, Loaded};

#[wasm_bindgen]
impl FraiseEngine {
    /// Makes a picture larger by the loaded pack's upscaler; resolves to a PNG. `picture`: a PNG as `Uint8Array`, whose
    /// settings go along where Fraise saved it, or `ImageData`.
    ///
    /// # Errors
    /// `Request` for what is no picture, or where the pack has no upscaler; `DeviceLimit` where the device has too
    /// little; `Network` where the upscaler cannot be fetched; `Cancelled` once `signal` aborts.
    pub async fn upscale(&self, picture: JsValue, signal: AbortSignal) -> Result<Uint8Array, JsValue> {
        let png = until_aborted(&signal, self.upscale_picture(picture)).await.map_err(|error| to_js(&error))?;
        Ok(Uint8Array::from(png.as_slice()))
    }

    /// How well each picture, as for [`FraiseEngine::upscale`], fits a prompt, by the loaded pack's scorer: in [−1, 1].
    ///
    /// # Errors
    /// As [`FraiseEngine::upscale`], of the scorer.
    pub async fn score(&self, prompt: String, pictures: Array, signal: AbortSignal) -> Result<Float32Array, JsValue> {
        let scoring = self.score_pictures(prompt, pictures);
        let scores = until_aborted(&signal, scoring).await.map_err(|error| to_js(&error))?;
        Ok(Float32Array::from(scores.as_slice()))
    }
}

#[wasm_bindgen]
impl FraiseEngine {
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
    async fn upscale_picture(&self, picture: JsValue) -> Result<Vec<u8>> {
        let loaded = self.loaded()?;
        let compute = self.compute();
        compute.check()?;
        let (picture, info) = picture_from_js(picture)?;
        loaded.pipeline.requirements(picture.width, picture.height).check_upscaling()?;
        self.bring_upscaler(&loaded).await?;
        let mut larger = read_picture(loaded.pipeline.upscale(picture.to_tensor(&compute.device))?).await?;
        compute.check()?;
        // The mark in the pixels does not outlive scaling.
        if info.is_some() || picture.watermark_score() >= WATERMARKED_FROM {
            larger.watermark(None);
        }
        let info = info.map(|info| PictureInfo { request: EffectiveRequest { upscale: true, ..info.request }, ..info });
        larger.to_png(info.as_ref())
    }

    async fn score_pictures(&self, prompt: String, pictures: Array) -> Result<Vec<f32>> {
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
        if !loaded.pipeline.has_scorer() {
            self.fetch(&loaded, scorer::COMPONENT).await?;
            loaded.pipeline.load_scorer(&loaded.manifest, &self.packs, &self.digest).await?;
        }
        let pipeline = loaded.pipeline.clone();
        let scores = read_to_the_end(async move { pipeline.score(&prompt, &pictures).await }).await?;
        compute.check()?;
        Ok(scores)
    }

    /// Fetches the pack's upscaler where the store lacks it, and loads it unless that is done.
    pub(crate) async fn bring_upscaler(&self, loaded: &Loaded) -> Result<()> {
        if loaded.pipeline.has_upscaler() {
            return Ok(());
        }
        self.fetch(loaded, upscaler::COMPONENT).await?;
        loaded.pipeline.load_upscaler(&loaded.manifest, &self.packs, &self.digest).await
    }

    /// The same of its encoder, which start pictures need.
    pub(crate) async fn bring_encoder(&self, loaded: &Loaded) -> Result<()> {
        if loaded.pipeline.has_encoder() {
            return Ok(());
        }
        self.fetch(loaded, encoder::COMPONENT).await?;
        loaded.pipeline.load_encoder(&loaded.manifest, &self.packs, &self.digest).await
    }

    async fn fetch(&self, loaded: &Loaded, component: &str) -> Result<()> {
        let source = self.source(loaded.address.clone());
        download_component(component, &loaded.manifest, (&source, &self.packs, &self.digest), &mut |_| ()).await
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
