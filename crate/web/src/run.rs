//! Pictures in the making, mostly one, drawn step by step by JavaScript.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;

use burn::tensor::Tensor;
use fraise_engine::kernels::Precision;
use fraise_engine::picture::{Picture, PictureInfo};
use fraise_engine::pipeline::{Origin, Start, Step};
use fraise_engine::request::{EffectiveRequest, Variation};
use fraise_engine::{Error, Result};
use futures::{Stream, StreamExt};
use js_sys::Array;
use serde::Serialize;
use wasm_bindgen::prelude::*;
use web_sys::AbortSignal;

use crate::cancel::until_aborted;
use crate::crew::Muster;
use crate::device::ComputeDevice;
use crate::error::{serialize_or_throw, set, to_js};
use crate::presenter::{Presenter, image_data, read_picture, sheet};
use crate::previews::{Coming, PreviewWorker};
use crate::{Finished, Loaded};

type Steps = Pin<Box<dyn Stream<Item = Result<Step>>>>;

/// A run. Freeing it, or aborting its signal, drops everything that it holds on the device.
#[wasm_bindgen]
pub struct Run {
    loaded: Loaded,
    compute: Rc<ComputeDevice>,
    /// What each picture is asked for; they differ in their noise and their prompts alone.
    requests: Vec<EffectiveRequest>,
    start: Option<Start>,
    outlet: Outlet,
    /// `None` once the run is over, and while a step is being computed.
    steps: RefCell<Option<Steps>>,
    newest: RefCell<Option<HeldStep>>,
    /// The step after the newest, where it was computed while another worker decoded that one's preview.
    ahead: RefCell<Option<ComputedStep>>,
}

/// Where a run's pictures go, and what ends it early.
pub(crate) struct Outlet {
    pub presenter: Option<Rc<Presenter>>,
    /// The other worker that may decode previews for the presenter.
    pub previews: Option<PreviewWorker>,
    pub crew: Rc<Muster>,
    pub signal: AbortSignal,
    pub finished: Rc<RefCell<Vec<Finished>>>,
}

/// A step, and its preview where another worker decodes it.
struct ComputedStep {
    step: Step,
    preview: Option<(PreviewWorker, Coming)>,
}

/// The newest step, kept until the next one so that its pictures can be asked for.
#[derive(Clone)]
struct HeldStep {
    index: u32,
    /// What to decode: the finished latents, or the sampler's guess of them, [N, C, h, w].
    latents: Tensor<4>,
    is_last: bool,
    /// Each [1, 3, height, width] in [0, 1], once decoded.
    images: Option<Vec<Tensor<4>>>,
}

/// A step as JavaScript sees it.
#[derive(Serialize)]
struct StepInfo {
    index: u32,
    total: u32,
    /// How many steps are computed: those up to this one, or one more.
    computed: u32,
}

#[wasm_bindgen]
impl Run {
    /// The request of the first picture with every value decided.
    ///
    /// # Errors
    /// None in practice.
    pub fn request(&self) -> Result<JsValue, JsValue> {
        request_to_js(&self.requests[0])
    }

    /// Computes the next step and paints it where there is a canvas, several pictures side by side: `{index, total, computed}`, or undefined after the last.
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
                self.ahead.take();
                Err(to_js(&error))
            }
        }
    }

    /// The pictures as the model imagines them at step `index`, which must be the newest: an array of `ImageData`.
    ///
    /// # Errors
    /// `Request` where another step is the newest; `Cancelled` once the signal aborts; the device's own.
    pub async fn images(&self, index: u32) -> Result<Array, JsValue> {
        let reading = async {
            let pixels = Array::new();
            for image in self.newest_images(index)? {
                let picture = read_picture(image).await?;
                pixels.push(&image_data(&picture)?.into());
            }
            self.compute.check()?;
            Ok(pixels)
        };
        until_aborted(&self.outlet.signal, reading).await.map_err(|error| to_js(&error))
    }
}

impl Run {
    pub(crate) fn new(
        loaded: Loaded,
        compute: Rc<ComputeDevice>,
        (requests, start): (Vec<EffectiveRequest>, Option<Start>),
        outlet: Outlet,
    ) -> Self {
        let origin = Origin { latents: None, start: start.clone() };
        let steps: Steps = Box::pin(loaded.pipeline.generate_from(requests.clone(), origin));
        Self {
            loaded,
            compute,
            requests,
            start,
            outlet,
            steps: RefCell::new(Some(steps)),
            newest: RefCell::default(),
            ahead: RefCell::default(),
        }
    }

    async fn advance(&self, mut steps: Steps) -> Result<Option<StepInfo>> {
        let Some(info) = self.hold_next(&mut steps).await? else { return Ok(None) };
        let shown = match &self.outlet.presenter {
            Some(presenter) => presenter.present(&self.compute, sheet(self.newest_images(info.index)?)).await?,
            None => None,
        };
        // Waiting here keeps the queue short, so that cancelling takes effect within a step and times are true. A picture
        // that was read back has been waited for, and browsers may take a tenth of a second to tell of it again.
        match &shown {
            Some(_) => self.compute.check()?,
            None => self.compute.finish().await?,
        }
        if info.index + 1 == info.total {
            let mut pictures = Vec::new();
            match shown {
                Some(picture) if self.requests.len() == 1 => pictures.push(picture),
                _ => {
                    for image in self.newest_images(info.index)? {
                        pictures.push(read_picture(image).await?);
                    }
                }
            }
            self.compute.check()?;
            self.outlet.finished.replace(self.finished(pictures));
        } else {
            self.steps.replace(Some(steps));
        }
        Ok(Some(info))
    }

    /// Has the next step held as the newest. While another worker decodes its preview, the one after it is computed.
    async fn hold_next(&self, steps: &mut Steps) -> Result<Option<StepInfo>> {
        let next = match self.ahead.take() {
            Some(computed) => Some(computed),
            None => self.compute_next(steps).await?,
        };
        let Some(ComputedStep { step, preview }) = next else { return Ok(None) };
        let mut info = StepInfo { index: step.index, total: step.total, computed: step.index + 1 };
        let mut images = None;
        if let Some((worker, coming)) = preview {
            let alone = self.outlet.crew.rest();
            let after = self.compute_next(steps).await?;
            drop(alone);
            info.computed += u32::from(after.is_some());
            self.ahead.replace(after);
            let previews = worker.received(coming).await;
            images = previews.map(|previews| previews.into_iter().map(|preview| self.over_start(preview)).collect());
        }
        let is_last = is_last(&step);
        let latents = if is_last { step.latents } else { step.denoised };
        self.newest.replace(Some(HeldStep { index: info.index, latents, is_last, images }));
        Ok(Some(info))
    }

    /// The next step; its preview, where one is wanted and another worker can, is begun to be decoded there.
    async fn compute_next(&self, steps: &mut Steps) -> Result<Option<ComputedStep>> {
        let Some(step) = steps.next().await.transpose()? else { return Ok(None) };
        let Outlet { presenter, previews, .. } = &self.outlet;
        let previews =
            previews.as_ref().filter(|previews| presenter.is_some() && !is_last(&step) && previews.is_ready());
        let preview = match previews {
            Some(worker) => {
                Some((worker.clone(), worker.begin(step.denoised.clone(), self.requests[0].border()).await?))
            }
            None => None,
        };
        Ok(Some(ComputedStep { step, preview }))
    }

    /// A preview, over what is kept of the start picture.
    fn over_start(&self, preview: Tensor<4>) -> Tensor<4> {
        self.start.iter().fold(preview, |preview, start| start.over(preview))
    }

    /// The pictures with all that is saved with them.
    fn finished(&self, pictures: Vec<Picture>) -> Vec<Finished> {
        let repainted = self.start.as_ref().and_then(Start::repainted);
        let precision = Precision::on(&self.compute.device);
        let finish = |(picture, request): (Picture, &EffectiveRequest)| {
            let model = self.loaded.manifest.name.clone();
            let info = PictureInfo { request: request.clone(), model, precision };
            Finished { picture, info, repainted: repainted.clone() }
        };
        pictures.into_iter().zip(&self.requests).map(finish).collect()
    }

    /// The newest step's pictures on the device, decoded at most once; one by one, which takes the memory of one.
    fn newest_images(&self, index: u32) -> Result<Vec<Tensor<4>>> {
        let mut newest = self.newest.borrow_mut();
        let step = newest
            .as_mut()
            .filter(|step| step.index == index)
            .ok_or_else(|| Error::request("step", format!("step {index} is no longer held")))?;
        let images = match step.images.take() {
            Some(images) => images,
            None => {
                let rows = self.requests.iter().enumerate();
                let decode =
                    |(row, request)| self.decode(step.latents.clone().narrow(0, row, 1), request, step.is_last);
                rows.map(decode).collect::<Result<_>>()?
            }
        };
        step.images = Some(images.clone());
        Ok(images)
    }

    /// One picture on the device, finished or as a preview.
    fn decode(&self, latents: Tensor<4>, request: &EffectiveRequest, is_last: bool) -> Result<Tensor<4>> {
        if is_last {
            return self.loaded.pipeline.finish(latents, request, self.start.as_ref());
        }
        let preview = self.loaded.pipeline.preview(latents, request.border());
        Ok(self.over_start(preview))
    }
}

fn is_last(step: &Step) -> bool {
    step.index + 1 == step.total
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
