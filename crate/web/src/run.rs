//! One picture in the making, drawn step by step by JavaScript.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;

use burn::tensor::Tensor;
use fraise_engine::picture::PictureInfo;
use fraise_engine::pipeline::{Origin, Start, Step};
use fraise_engine::request::{EffectiveRequest, Variation};
use fraise_engine::{Error, Result};
use futures::{Stream, StreamExt};
use serde::Serialize;
use wasm_bindgen::prelude::*;
use web_sys::{AbortSignal, ImageData};

use crate::cancel::until_aborted;
use crate::device::ComputeDevice;
use crate::error::{serialize_or_throw, set, to_js};
use crate::presenter::{Presenter, image_data, read_picture};
use crate::{Finished, Loaded};

type Steps = Pin<Box<dyn Stream<Item = Result<Step>>>>;

/// A run. Freeing it, or aborting its signal, drops everything that it holds on the device.
#[wasm_bindgen]
pub struct Run {
    loaded: Loaded,
    compute: Rc<ComputeDevice>,
    request: EffectiveRequest,
    start: Option<Start>,
    outlet: Outlet,
    /// `None` once the run is over, and while a step is being computed.
    steps: RefCell<Option<Steps>>,
    newest: RefCell<Option<HeldStep>>,
}

/// Where a run's pictures go, and what ends it early.
pub(crate) struct Outlet {
    pub presenter: Option<Rc<Presenter>>,
    pub signal: AbortSignal,
    pub finished: Rc<RefCell<Option<Finished>>>,
}

/// The newest step, kept until the next one so that its picture can be asked for.
#[derive(Clone)]
struct HeldStep {
    index: u32,
    /// What to decode: the finished latents, or the sampler's guess of them.
    latents: Tensor<4>,
    is_last: bool,
    /// [1, 3, height, width] in [0, 1], once decoded.
    image: Option<Tensor<4>>,
}

/// A step as JavaScript sees it.
#[derive(Serialize)]
struct StepInfo {
    index: u32,
    total: u32,
}

#[wasm_bindgen]
impl Run {
    /// The request with every value decided.
    ///
    /// # Errors
    /// None in practice.
    pub fn request(&self) -> Result<JsValue, JsValue> {
        request_to_js(&self.request)
    }

    /// Computes the next step and paints it where there is a canvas: `{index, total}`, or undefined after the last.
    ///
    /// # Errors
    /// `Cancelled` once the signal aborts; the device's own.
    pub async fn next(&self) -> Result<JsValue, JsValue> {
        // Taken out: if the signal aborts, the race drops it.
        let Some(steps) = self.steps.take() else { return Ok(JsValue::UNDEFINED) };
        match until_aborted(&self.outlet.signal, self.advance(steps)).await {
            Ok(Some(step)) => serialize_or_throw(&step),
            Ok(None) => Ok(JsValue::UNDEFINED),
            Err(error) => {
                self.newest.take();
                Err(to_js(&error))
            }
        }
    }

    /// The picture as the model imagines it at step `index`, which must be the newest.
    ///
    /// # Errors
    /// `Request` where another step is the newest; `Cancelled` once the signal aborts; the device's own.
    pub async fn image(&self, index: u32) -> Result<ImageData, JsValue> {
        let reading = async {
            let image = self.newest_image(index)?;
            let picture = read_picture(image).await?;
            self.compute.check()?;
            image_data(&picture)
        };
        until_aborted(&self.outlet.signal, reading).await.map_err(|error| to_js(&error))
    }
}

impl Run {
    pub(crate) fn new(
        loaded: Loaded,
        compute: Rc<ComputeDevice>,
        (request, start): (EffectiveRequest, Option<Start>),
        outlet: Outlet,
    ) -> Self {
        let origin = Origin { latents: None, start: start.clone() };
        let steps: Steps = Box::pin(loaded.pipeline.generate_from(request.clone(), origin));
        Self { loaded, compute, request, start, outlet, steps: RefCell::new(Some(steps)), newest: RefCell::new(None) }
    }

    async fn advance(&self, mut steps: Steps) -> Result<Option<StepInfo>> {
        let Some(step) = steps.next().await.transpose()? else { return Ok(None) };
        let info = StepInfo { index: step.index, total: step.total };
        let is_last = step.index + 1 == step.total;
        let latents = if is_last { step.latents } else { step.denoised };
        self.newest.replace(Some(HeldStep { index: info.index, latents, is_last, image: None }));
        let shown = match &self.outlet.presenter {
            Some(presenter) => presenter.present(&self.compute, self.newest_image(info.index)?).await?,
            None => None,
        };
        // Waiting here keeps the queue short, so that cancelling takes effect within a step and times are true. A picture
        // that was read back has been waited for, and browsers may take a tenth of a second to tell of it again.
        match &shown {
            Some(_) => self.compute.check()?,
            None => self.compute.finish().await?,
        }
        if is_last {
            let picture = match shown {
                Some(picture) => picture,
                None => read_picture(self.newest_image(info.index)?).await?,
            };
            self.compute.check()?;
            let repainted = self.start.as_ref().and_then(Start::repainted);
            let info = PictureInfo { request: self.request.clone(), model: self.loaded.manifest.name.clone() };
            self.outlet.finished.replace(Some(Finished { picture, info, repainted }));
        } else {
            self.steps.replace(Some(steps));
        }
        Ok(Some(info))
    }

    /// The newest step's picture on the device, decoded at most once.
    fn newest_image(&self, index: u32) -> Result<Tensor<4>> {
        let mut newest = self.newest.borrow_mut();
        let step = newest
            .as_mut()
            .filter(|step| step.index == index)
            .ok_or_else(|| Error::request("step", format!("step {index} is no longer held")))?;
        let image = match step.image.take() {
            Some(image) => image,
            None if step.is_last => {
                self.loaded.pipeline.finish(step.latents.clone(), &self.request, self.start.as_ref())?
            }
            None => {
                let preview = self.loaded.pipeline.preview(step.latents.clone(), self.request.border());
                self.start.iter().fold(preview, |preview, start| start.over(preview))
            }
        };
        step.image = Some(image.clone());
        Ok(image)
    }
}

/// A request as JavaScript sees it; its seeds are bigints only where a number cannot hold them.
pub(crate) fn request_to_js(request: &EffectiveRequest) -> Result<JsValue, JsValue> {
    const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;
    let number = |seed: u64| if seed <= MAX_SAFE_INTEGER { JsValue::from(seed as f64) } else { JsValue::from(seed) };
    let object = serialize_or_throw(&EffectiveRequest { seed: 0, variation: None, ..request.clone() })?;
    set(&object, "seed", &number(request.seed));
    if let Some(Variation { seed, strength }) = request.variation {
        let variation = serialize_or_throw(&Variation { seed: 0, strength })?;
        set(&variation, "seed", &number(seed));
        set(&object, "variation", &variation);
    }
    Ok(object)
}
