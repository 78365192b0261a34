//! Fraise in a browser's worker: what JavaScript calls, and the browser's side of the engine's seams.
//!
//! [`FraiseEngine`] owns the device, the store and the loaded pipeline; [`Run`] is one picture in the making. The
//! TypeScript beside it (`www/src/engine`) is its only caller: it queues, counts and talks to the page. Errors arrive
//! there as `{code, message, details}` (see [`error`]).
#![cfg(target_arch = "wasm32")]

pub mod calibration;
pub mod cancel;
pub mod checkpoint;
pub mod convert;
pub mod crew;
pub mod device;
pub mod digest;
pub mod error;
pub mod fetch;
pub mod indexed_db;
pub mod library;
mod load;
#[cfg(feature = "parity")]
pub mod modules;
pub mod optional;
pub mod pack_store;
#[cfg(feature = "parity")]
pub mod parity;
pub mod presenter;
pub mod previews;
pub mod report;
pub mod run;
pub mod timer;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use fraise_engine::kernels::Precision;
use fraise_engine::limits::DeviceLimits;
use fraise_engine::loader::read_manifest;
use fraise_engine::pack::Manifest;
use fraise_engine::picture::{Picture, PictureInfo};
use fraise_engine::pipeline::Pipeline;
use fraise_engine::request::{Request, StartPicture};
use fraise_engine::requirements::Requirements;
use fraise_engine::{Error, Result, encoder, upscaler};
use js_sys::{Array, Function, Object, Uint8Array};
use wasm_bindgen::prelude::*;
use web_sys::{AbortSignal, ImageData, OffscreenCanvas, WorkerGlobalScope};

use crate::cancel::until_aborted;
use crate::crew::{Muster, PAGE};
use crate::device::ComputeDevice;
use crate::digest::WebDigest;
use crate::error::{serialize_or_throw, set, to_js};
use crate::fetch::{NetworkCount, PackSource};
use crate::indexed_db::IndexedDbStore;
use crate::pack_store::PackStore;
use crate::presenter::{Presenter, image_data};
use crate::previews::Previews;
use crate::report::{LoadedPack, MemoryReport, PackInfo, PackRequirements};
use crate::run::Run;

/// The engine of one worker.
#[wasm_bindgen]
pub struct FraiseEngine {
    scope: WorkerGlobalScope,
    device_kind: String,
    precision: Precision,
    paints_from_gpu: bool,
    compute: RefCell<Rc<ComputeDevice>>,
    crew: Rc<Muster>,
    previews: Previews,
    store: Rc<IndexedDbStore>,
    packs: PackStore,
    digest: WebDigest,
    network: Rc<NetworkCount>,
    loaded: RefCell<Option<Loaded>>,
    presenters: RefCell<BTreeMap<u32, Rc<Presenter>>>,
    /// The pictures of the run that finished last.
    finished: Rc<RefCell<Vec<Finished>>>,
}

#[wasm_bindgen]
extern "C" {
    /// How an engine's worker has others started.
    pub type Helpers;
    /// As for [`Muster::new`].
    #[wasm_bindgen(method, getter)]
    fn members(this: &Helpers) -> u32;
    /// Likewise.
    #[wasm_bindgen(method, getter, js_name = startCrew)]
    fn start_crew(this: &Helpers) -> Function;
    /// As for [`Previews::new`].
    #[wasm_bindgen(method, getter, js_name = startPreviews)]
    fn start_previews(this: &Helpers) -> Function;
}

/// A pack on the device.
#[derive(Clone)]
pub(crate) struct Loaded {
    pipeline: Rc<Pipeline>,
    manifest: Rc<Manifest>,
    /// Where it came from: a URL, or a converted pack's address.
    address: String,
}

/// A finished picture.
pub(crate) struct Finished {
    picture: Picture,
    info: PictureInfo,
    /// How much of each pixel was painted anew, where a mask kept some.
    repainted: Option<Rc<[u8]>>,
}

impl Finished {
    /// As it is saved: with the mark in its pixels, but for those that were kept.
    fn png(&self) -> Result<Vec<u8>> {
        let mut picture = self.picture.clone();
        let places = self.repainted.as_deref().filter(|places| places.len() * 3 == picture.rgb.len());
        picture.watermark(places);
        picture.to_png(Some(&self.info))
    }
}

#[wasm_bindgen]
impl FraiseEngine {
    /// Opens the device of that kind (`gpu`, `cpu` or `auto`). `precision`: of a UNet on a GPU, `float32` (which it is where it is
    /// absent) or `float16` where that is faster. `on_panic` is told why, should the engine ever stop: its
    /// open promises then never settle. `paints_from_gpu` says whether canvases may be painted without a readback. `helpers`: how
    /// other workers are had; without it there are none.
    ///
    /// # Errors
    /// `NoWebGpu`, or `Request` for another kind or precision.
    pub async fn create(
        device: String,
        on_panic: Function,
        paints_from_gpu: bool,
        helpers: Option<Helpers>,
        precision: JsValue,
    ) -> Result<FraiseEngine, JsValue> {
        report_panics_to(on_panic);
        let scope: WorkerGlobalScope = js_sys::global().unchecked_into();
        let precision = match precision.is_undefined() {
            true => Ok(Precision::default()),
            false => Precision::named(&precision.as_string().unwrap_or_default()),
        };
        let precision = precision.map_err(|error| to_js(&error))?;
        let compute = ComputeDevice::open(&device).await.map_err(|error| to_js(&error))?;
        let store = Rc::new(IndexedDbStore::new(scope.clone()));
        Ok(Self {
            packs: PackStore::new(store.clone()),
            store,
            digest: WebDigest::new(&scope),
            scope,
            device_kind: device,
            precision,
            paints_from_gpu,
            compute: RefCell::new(Rc::new(compute)),
            crew: Rc::new(Muster::new(
                helpers.as_ref().map_or(1, Helpers::members),
                helpers.as_ref().map(Helpers::start_crew),
            )),
            previews: Previews::new(helpers.as_ref().map(Helpers::start_previews)),
            network: Rc::default(),
            loaded: RefCell::default(),
            presenters: RefCell::default(),
            finished: Rc::default(),
        })
    }

    /// What is computed on.
    ///
    /// # Errors
    /// None in practice.
    pub fn info(&self) -> Result<JsValue, JsValue> {
        serialize_or_throw(&self.compute().info())
    }

    /// What the pack whose manifest is at `url`, absolute, needs of this device; fetches the manifest at most.
    ///
    /// # Errors
    /// `Network` or `Manifest` where it cannot be read; `Cancelled` once `signal` aborts.
    pub async fn requirements(&self, url: String, signal: AbortSignal) -> Result<JsValue, JsValue> {
        let needs = until_aborted(&signal, self.pack_requirements(url)).await.map_err(|error| to_js(&error))?;
        serialize_or_throw(&needs)
    }

    /// Loads the pack whose manifest is at `url`, absolute, or the converted one of that address; resolves to what the pack
    /// says of itself.
    ///
    /// `on_progress(phase, loadedBytes, totalBytes)` is called for every chunk.
    ///
    /// # Errors
    /// Whatever can go wrong on the way; `Cancelled` once `signal` aborts.
    pub async fn load(&self, url: String, on_progress: Function, signal: AbortSignal) -> Result<JsValue, JsValue> {
        let loading = until_aborted(&signal, self.load_pack(url, on_progress));
        let manifest = loading.await.map_err(|error| to_js(&error))?;
        serialize_or_throw(&LoadedPack { is_kept: self.packs.is_kept(), pack: PackInfo::of(&manifest) })
    }

    /// Takes over a canvas, to be named by `canvas` from now on.
    pub fn attach(&self, canvas: u32, surface: OffscreenCanvas) {
        self.presenters.borrow_mut().insert(canvas, Rc::new(Presenter::new(surface, self.paints_from_gpu)));
    }

    /// Lets go of a canvas.
    pub fn release(&self, canvas: u32) {
        self.presenters.borrow_mut().remove(&canvas);
    }

    /// Begins a picture, or several that are painted together; nothing of it is computed before its first step is asked for.
    /// Where it is to be made larger, the upscaler is loaded first; where it starts from `image`, the encoder, and the picture
    /// is encoded. `given`: that picture and the mask of what is repainted, both as for [`FraiseEngine::upscale`], and the
    /// canvas to paint on, each of which may be undefined. `on_progress`: as there.
    ///
    /// # Errors
    /// `Request` naming the field that is out of range, or that no pack is loaded; `Network` where the upscaler or the
    /// encoder cannot be fetched; `Cancelled` once `signal` aborts; the device's own.
    pub async fn generate(
        &self,
        request: JsValue,
        given: Array,
        on_progress: Function,
        signal: AbortSignal,
    ) -> Result<Run, JsValue> {
        let begun = async {
            let start = optional::start_from_js(given.get(0), given.get(1))?;
            let canvas = given.get(2).as_f64().map(|canvas| canvas as u32);
            self.begin(request, start, (canvas, signal.clone()), &on_progress).await
        };
        until_aborted(&signal, begun).await.map_err(|error| to_js(&error))
    }

    /// The pictures of the run that finished last, an array of `{png: Uint8Array, request, width, height}`, sides in
    /// pixels.
    ///
    /// # Errors
    /// `Request` where there are none yet.
    pub fn last(&self) -> Result<Array, JsValue> {
        let results = Array::new();
        for finished in self.finished.borrow().iter() {
            let Finished { picture, info, .. } = finished;
            let png = finished.png().map_err(|error| to_js(&error))?;
            let result = Object::new();
            set(&result, "png", &Uint8Array::from(png.as_slice()));
            set(&result, "request", &run::request_to_js(&info.request)?);
            set(&result, "width", &picture.width.into());
            set(&result, "height", &picture.height.into());
            results.push(&result);
        }
        if results.length() == 0 { Err(to_js(&no_picture())) } else { Ok(results) }
    }

    /// The same as pixels, an array of `ImageData`, as the canvas shows them.
    ///
    /// # Errors
    /// None in practice.
    #[wasm_bindgen(js_name = lastImages)]
    pub fn last_images(&self) -> Result<Array, JsValue> {
        let images = self.finished.borrow().iter().map(|finished| image_data(&finished.picture)).collect::<Result<_>>();
        let images: Vec<ImageData> = images.map_err(|error| to_js(&error))?;
        Ok(images.into_iter().collect())
    }

    /// The loaded pack's address, or undefined.
    pub fn address(&self) -> Option<String> {
        self.loaded.borrow().as_ref().map(|loaded| loaded.address.clone())
    }

    /// What is held right now.
    ///
    /// # Errors
    /// None in practice.
    pub fn memory(&self) -> Result<JsValue, JsValue> {
        let held = self.loaded.borrow().as_ref().map(|loaded| loaded.pipeline.memory());
        let compute = self.compute();
        serialize_or_throw(&MemoryReport {
            wasm_bytes: core::arch::wasm32::memory_size::<0>() as u64 * PAGE
                + self.crew.bytes()
                + self.previews.bytes(),
            pack_bytes: held.map_or(0, |held| held.pack_bytes),
            device_bytes: held.map_or(0, |held| held.device_bytes),
            reserved_bytes: compute
                .gpu
                .as_ref()
                .and(compute.device.memory_pool_usage())
                .map(|pool| pool.bytes_reserved),
            pieces_fetched: self.network.pieces.get(),
            bytes_fetched: self.network.bytes.get(),
        })
    }
}

impl FraiseEngine {
    fn compute(&self) -> Rc<ComputeDevice> {
        self.compute.borrow().clone()
    }

    fn loaded(&self) -> Result<Loaded> {
        self.loaded.borrow().clone().ok_or_else(|| Error::request("model", "no pack is loaded; load one first"))
    }

    fn source(&self, url: String) -> PackSource {
        PackSource::new(self.scope.clone(), url, self.network.clone())
    }

    async fn pack_requirements(&self, url: String) -> Result<PackRequirements> {
        let manifest = read_manifest(&self.source(url), &self.packs, &self.digest).await?;
        let limits = DeviceLimits::of(&self.compute().device);
        let needs = Requirements::recommended(&manifest, &limits)?;
        let batch = if needs.fits_batch(2) { 2 } else { 1 };
        Ok(PackRequirements {
            total_bytes: manifest.required_pieces().iter().map(|piece| piece.bytes).sum(),
            weights_bytes: needs.weights_bytes,
            painting_bytes: needs.denoising[batch - 1].live_bytes,
            decoding_bytes: needs.decoding().live_bytes,
            upscaling_bytes: needs.upscaling.map(|demand| demand.live_bytes),
            scoring_bytes: needs.scoring.map(|demand| demand.live_bytes),
            largest_buffer_bytes: needs.largest_binding_bytes(batch),
            buffer_limit_bytes: Some(limits.binding_bytes).filter(|&bytes| bytes != u64::MAX),
            fits: needs.check().is_ok(),
            picture_ms: self.picture_ms(&manifest).await?,
        })
    }

    async fn begin(
        &self,
        request: JsValue,
        start: Option<StartPicture>,
        (canvas, signal): (Option<u32>, AbortSignal),
        on_progress: &Function,
    ) -> Result<Run> {
        let compute = self.compute();
        compute.check()?;
        let loaded = self.loaded()?;
        let request: Request =
            serde_wasm_bindgen::from_value(request).map_err(|error| Error::request("request", error.to_string()))?;
        let request = Request { start, ..request };
        let pictures = loaded.pipeline.resolve_batch(&request)?;
        let effective = &pictures[0];
        let presenter = match canvas {
            Some(canvas) => {
                let presenter = self.presenters.borrow().get(&canvas).cloned();
                Some(presenter.ok_or_else(|| Error::request("canvas", "it was never handed over"))?)
            }
            None => None,
        };
        let needed = [(effective.upscale, upscaler::COMPONENT), (request.start.is_some(), encoder::COMPONENT)];
        let needed: Vec<&str> = needed.into_iter().filter_map(|(is_needed, name)| is_needed.then_some(name)).collect();
        self.bring(&needed, &loaded, on_progress).await?;
        let start = match &request.start {
            Some(picture) => Some(loaded.pipeline.start(picture, effective)?),
            None => None,
        };
        Ok(Run::new(
            loaded,
            compute,
            (pictures, start),
            run::Outlet {
                presenter,
                previews: self.previews.worker(),
                crew: self.crew.clone(),
                signal,
                finished: self.finished.clone(),
            },
        ))
    }
}

fn no_picture() -> Error {
    Error::request("picture", "none is finished yet; generate one first")
}

/// Runs the module's constructors (CubeCL registers its dialects in them), once.
///
/// The linker takes a module that does not call them for a command, and runs them again before **every** call from
/// JavaScript, however small; that took nearly all of a step's time.
#[wasm_bindgen(start)]
fn start() {
    unsafe extern "C" {
        fn __wasm_call_ctors();
    }
    // SAFETY: the linker provides the function; this is the module's start, before anything depends on them.
    unsafe { __wasm_call_ctors() };
}

/// A panic in WebAssembly ends in a trap that no promise hears of; this tells JavaScript the reason while it can.
fn report_panics_to(on_panic: Function) {
    thread_local! {
        static LISTENER: RefCell<Option<Function>> = const { RefCell::new(None) };
        static IS_PANICKING: Cell<bool> = const { Cell::new(false) };
    }
    LISTENER.set(Some(on_panic));
    std::panic::set_hook(Box::new(|info| {
        if IS_PANICKING.replace(true) {
            return;
        }
        console_error_panic_hook::hook(info);
        if let Some(listener) = LISTENER.take() {
            let _ = listener.call1(&JsValue::NULL, &info.to_string().into());
        }
    }));
}
