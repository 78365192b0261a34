//! Previews decoded by another worker while this one computes the next step; where the processor computes, half of a
//! picture's time is its previews'. Unlike the [crew](crate::crew) it shares no memory, so that any page may have it.
//!
//! Both sides are here: [`Previews`] is the engine's, [`Previewer`] the other worker's. Messages go by
//! `www/src/engine/previews.ts`.

use std::cell::{Cell, RefCell};

use burn::tensor::{Device, Tensor, TensorData};
use fraise_engine::kernels::Border;
use fraise_engine::pack::Manifest;
use fraise_engine::pipeline::Previewer as Decoding;
use fraise_engine::store::{MemoryStore, Store};
use fraise_engine::{Error, Result};
use futures::future::{Either, select};
use js_sys::{Array, Float32Array, Function, Promise, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::WorkerGlobalScope;

use crate::digest::WebDigest;
use crate::error::to_js;
use crate::timer::Timer;

/// Largest decoder that another worker gets, in bytes of its file: each has its weights once more. Larger ones belong to models
/// whose steps take so long on the processor that previews hardly count.
const MOST_BYTES: u64 = 16 << 20;
/// How long a preview is waited for once the next step is computed, in ms. It is not much more work than a step.
const PATIENCE_MS: i32 = 10_000;

#[wasm_bindgen]
extern "C" {
    /// The other worker: `PreviewWorker` of `www/src/engine/previews.ts`.
    #[derive(Debug, Clone)]
    pub type PreviewWorker;
    /// Whether it has the decoder of the pack that was loaded last.
    #[wasm_bindgen(method, getter, js_name = isReady)]
    pub fn is_ready(this: &PreviewWorker) -> bool;
    #[wasm_bindgen(method, getter)]
    fn bytes(this: &PreviewWorker) -> f64;
    #[wasm_bindgen(method)]
    fn load(this: &PreviewWorker, manifest: Uint8Array, pieces: Array);
    #[wasm_bindgen(method)]
    fn decode(this: &PreviewWorker, latents: Float32Array, shape: Vec<u32>, tiling: bool) -> Promise;
    #[wasm_bindgen(method)]
    fn forget(this: &PreviewWorker);
    #[wasm_bindgen(method)]
    fn end(this: &PreviewWorker);
}

/// The engine's previewer, there or not.
pub struct Previews {
    start: Option<Function>,
    /// Whether starting it was tried for the present load.
    is_tried: Cell<bool>,
    worker: RefCell<Option<PreviewWorker>>,
}

/// A preview that is being decoded.
pub struct Coming(Promise);

impl Previews {
    /// `start(module)` promises a [`PreviewWorker`], or null where it cannot be had; without it there is none.
    pub fn new(start: Option<Function>) -> Self {
        Self { start, is_tried: Cell::new(false), worker: RefCell::default() }
    }

    /// The worker, where there is one.
    pub fn worker(&self) -> Option<PreviewWorker> {
        self.worker.borrow().clone()
    }

    /// Has it decode nothing until the next [`Previews::prepare`].
    pub fn forget(&self) {
        self.is_tried.set(false);
        if let Some(worker) = &*self.worker.borrow() {
            worker.forget();
        }
    }

    /// Starts it where it is not there, once for each load. Afterwards nothing of it is asked of the network any more.
    pub async fn assemble(&self) {
        let Some(start) = self.start.as_ref().filter(|_| self.worker.borrow().is_none()) else { return };
        if self.is_tried.replace(true) {
            return;
        }
        let Ok(promise) = start.call1(&JsValue::NULL, &wasm_bindgen::module()) else { return };
        let Ok(worker) = JsFuture::from(promise.unchecked_into::<Promise>()).await else { return };
        self.worker.replace((!worker.is_null()).then(|| worker.unchecked_into()));
    }

    /// Gives it a loaded pack's decoder, unless that is large; it is ready a little later. What goes wrong leaves the previews to
    /// the engine's own worker.
    pub async fn prepare(&self, manifest: &Manifest, store: &impl Store) {
        let Ok(component) = Decoding::component(manifest) else { return };
        if component.bytes > MOST_BYTES {
            return self.disband();
        }
        self.assemble().await;
        let Some(worker) = self.worker() else { return };
        let Ok(manifest) = serde_json::to_vec(manifest) else { return };
        let pieces = Array::new();
        for piece in &component.pieces {
            let Ok(Some(bytes)) = store.get(&piece.sha256).await else { return };
            pieces.push(&Uint8Array::from(bytes.as_slice()));
        }
        worker.load(Uint8Array::from(manifest.as_slice()), pieces);
    }

    /// Ends it, until it is wanted again.
    pub fn disband(&self) {
        if let Some(worker) = self.worker.take() {
            worker.end();
        }
    }

    /// Bytes of its memory.
    pub fn bytes(&self) -> u64 {
        self.worker.borrow().as_ref().map_or(0, |worker| worker.bytes() as u64)
    }
}

impl PreviewWorker {
    /// Begins to decode `latents` [N, C, h, w].
    ///
    /// # Errors
    /// [`Error::DeviceLost`] where they cannot be read.
    pub async fn begin(&self, latents: Tensor<4>, border: Border) -> Result<Coming> {
        let shape = latents.dims().map(|side| side as u32).to_vec();
        let latents = Float32Array::from(numbers(latents).await?.as_slice());
        Ok(Coming(self.decode(latents, shape, border == Border::Circular)))
    }

    /// What was begun, N times [1, 3, height, width] in [0, 1]; `None` where the worker fails, which has it decode nothing more.
    pub async fn received(&self, coming: Coming) -> Option<Vec<Tensor<4>>> {
        let scope: WorkerGlobalScope = js_sys::global().unchecked_into();
        let images = match select(JsFuture::from(coming.0), Timer::new(&scope, PATIENCE_MS)).await {
            Either::Left((answer, _)) => answer.ok().and_then(images_of),
            Either::Right(_) => None,
        };
        if images.is_none() {
            self.forget();
        }
        images
    }
}

/// The answer to a request: of each picture `[Float32Array, height, width]`; null where the worker failed.
fn images_of(answer: JsValue) -> Option<Vec<Tensor<4>>> {
    let image = |answer: JsValue| {
        let answer = answer.dyn_into::<Array>().ok()?;
        let values = answer.get(0).dyn_into::<Float32Array>().ok()?.to_vec();
        let [height, width] = [1, 2].map(|at| answer.get(at).as_f64().unwrap_or(0.0) as usize);
        let is_whole = values.len() == 3 * height * width && !values.is_empty();
        is_whole.then(|| Tensor::from_data(TensorData::new(values, [1, 3, height, width]), &Device::flex()))
    };
    let images = answer.dyn_into::<Array>().ok()?.iter().map(image).collect::<Option<Vec<_>>>()?;
    (!images.is_empty()).then_some(images)
}

/// What decodes previews in the other worker, on the processor.
#[wasm_bindgen]
pub struct Previewer {
    decoding: Decoding,
}

#[wasm_bindgen]
impl Previewer {
    /// From a pack's manifest and the pieces of the component that decodes its previews.
    ///
    /// # Errors
    /// `Manifest` or `CorruptPiece` where they do not fit together.
    pub async fn load(manifest: Vec<u8>, pieces: Vec<Uint8Array>) -> Result<Previewer, JsValue> {
        let loading = async {
            let manifest = Manifest::parse(&manifest)?;
            let store = MemoryStore::default();
            for (piece, bytes) in Decoding::component(&manifest)?.pieces.iter().zip(&pieces) {
                store.put(&piece.sha256, bytes.to_vec()).await?;
            }
            let digest = WebDigest::new(&js_sys::global().unchecked_into());
            Decoding::load(&manifest, &store, &digest, &Device::flex()).await
        };
        loading.await.map(|decoding| Self { decoding }).map_err(|error| to_js(&error))
    }

    /// Decodes latents of `shape` [N, C, h, w]: of each of the N `[Float32Array, height, width]`, the numbers [3, height, width]
    /// in [0, 1]. `tiling`: whether opposite edges fit together.
    ///
    /// # Errors
    /// `Request` where the shape is none of so many numbers.
    pub async fn decode(&self, latents: Vec<f32>, shape: Vec<usize>, tiling: bool) -> Result<Array, JsValue> {
        let border = if tiling { Border::Circular } else { Border::Zeros };
        let decoding = async {
            let Some(&[count, ..]) =
                shape.as_array::<4>().filter(|shape| shape.iter().product::<usize>() == latents.len())
            else {
                return Err(Error::request("latents", format!("{} numbers are not of shape {shape:?}", latents.len())));
            };
            let latents = Tensor::<4>::from_data(TensorData::new(latents, shape), &Device::flex());
            let images = Array::new();
            for row in 0..count {
                let image = self.decoding.preview(latents.clone().narrow(0, row, 1), border);
                let [_, _, height, width] = image.dims();
                let values = Float32Array::from(numbers(image).await?.as_slice());
                images.push(&Array::of3(&values, &(height as u32).into(), &(width as u32).into()));
            }
            Ok(images)
        };
        decoding.await.map_err(|error| to_js(&error))
    }
}

/// A tensor's numbers.
async fn numbers(tensor: Tensor<4>) -> Result<Vec<f32>> {
    let lost = |reason: String| Error::DeviceLost { reason };
    let data = tensor.into_data_async().await.map_err(|error| lost(error.to_string()))?;
    data.try_into_vec::<f32>().map_err(|error| lost(format!("{error:?}")))
}
