//! Bringing a pack from its address to a device that is tuned for it.

use std::cell::RefCell;
use std::rc::Rc;

use fraise_engine::Result;
use fraise_engine::kernels::{Level, Tuning, cpu_rate};
use fraise_engine::limits::DeviceLimits;
use fraise_engine::loader::{Progress, download_if};
use fraise_engine::pack::{Manifest, Recommended};
use fraise_engine::pipeline::Pipeline;
use fraise_engine::requirements::{ModelShape, Requirements};
use futures::channel::oneshot;
use futures::future::{join, try_join};
use js_sys::Function;

use crate::calibration::{now_ms, tune};
use crate::device::ComputeDevice;
use crate::report::progress_to;
use crate::{FraiseEngine, Loaded};

impl FraiseEngine {
    pub(crate) async fn load_pack(&self, url: String, on_progress: Function) -> Result<Rc<Manifest>> {
        // The old pipeline goes first, so that two never share the device.
        self.loaded.take();
        self.crew.forget();
        self.previews.forget();
        // What `auto` left for a model that the processor is faster at may suit another.
        if self.compute().check().is_err() || self.compute().was_too_slow() {
            let fresh = ComputeDevice::open(&self.device_kind).await?;
            self.compute.replace(Rc::new(fresh));
        }
        self.compute().device.memory_cleanup();
        let mut report = progress_to(&on_progress);
        // Where the processor was asked for, that other worker is started meanwhile.
        let previews = async {
            if self.compute().gpu.is_none() {
                self.previews.assemble().await;
            }
        };
        let (manifest, ()) = join(self.download_and_tune(url.clone(), &mut report), previews).await;
        let manifest = manifest?;
        let compute = self.compute(); // after the tuning, which may have changed it
        let pipeline = Pipeline::load(&manifest, &self.packs, &self.digest, &compute.device, &mut report).await?;
        let pipeline = Rc::new(pipeline);
        compute.finish().await?;
        if compute.gpu.is_some() {
            pipeline.warm_up(async || compute.finish().await, &mut report).await?;
        }
        match compute.gpu {
            Some(_) => self.previews.disband(),
            None => self.previews.prepare(&manifest, &self.packs).await,
        }
        let manifest = Rc::new(manifest);
        self.loaded.replace(Some(Loaded { pipeline, manifest: manifest.clone(), address: url }));
        Ok(manifest)
    }

    /// Downloads what is missing, and meanwhile measures the GPU on the model's layers, whose shaders are compiled by that.
    async fn download_and_tune(&self, url: String, report: &mut dyn FnMut(Progress)) -> Result<Manifest> {
        let limits = DeviceLimits::of(&self.compute().device);
        let room = self.packs.begin().await;
        let (sender, accepted) = oneshot::channel();
        let sender = RefCell::new(Some(sender));
        let fits = |manifest: &Manifest| {
            let shape = ModelShape::of(manifest)?;
            Requirements::recommended(manifest, &limits)?.check()?;
            self.packs.plan(manifest, &room)?;
            if let Some(sender) = sender.take() {
                let _ = sender.send(shape.ends(manifest.recommended.width, manifest.recommended.height));
            }
            Ok(())
        };
        let source = self.source(url);
        let downloaded = download_if(&fits, &source, &self.packs, &self.digest, report);
        let tuned = async {
            match accepted.await {
                Ok(ends) => self.tune(ends).await,
                Err(_) => Ok(()), // refused: the download says why
            }
        };
        try_join(downloaded, tuned).await.map(|(manifest, ())| manifest)
    }

    /// Decides how the GPU is used, and with `auto`, whether it is used at all. The processor's crew is there afterwards, but
    /// beside a GPU it is not.
    async fn tune(&self, ends: [Level; 2]) -> Result<()> {
        let compute = self.compute();
        if let Some(measured) = tune((&compute, &self.crew), (ends, self.precision), &self.store, &self.scope).await? {
            if self.device_kind == "auto" && measured.prefers_cpu() {
                self.compute.replace(Rc::new(ComputeDevice::cpu_instead_of_gpu(measured.verdict())));
            } else {
                compute.measured.set(Some(measured));
            }
        }
        self.keep_crew().await;
        Ok(())
    }

    /// Has the crew there where the processor computes, and nowhere else.
    async fn keep_crew(&self) {
        match self.compute().gpu {
            Some(_) => self.crew.disband(),
            None => self.crew.assemble().await,
        }
    }

    /// What the steps of a picture as the pack recommends it take on this device, from its measured speed.
    pub(crate) async fn picture_ms(&self, manifest: &Manifest) -> Result<f64> {
        let (shape, compute) = (ModelShape::of(manifest)?, self.compute());
        let Recommended { width, height, guidance, steps, .. } = manifest.recommended;
        let ends = shape.ends(width, height);
        // The pack that is loaded keeps its own tuning.
        let tuning = Tuning::for_device(&compute.device);
        let measured = tune((&compute, &self.crew), (ends, self.precision), &self.store, &self.scope).await;
        tuning.set_for(&compute.device);
        self.keep_crew().await;
        let rate = match measured? {
            Some(measured) if self.device_kind == "auto" => measured.best_per_ms(),
            Some(measured) => measured.gpu_per_ms(),
            None => {
                let rate = cpu_rate(ends, &|| now_ms(&self.scope));
                self.crew.forget(); // the weights that were for measuring
                rate
            }
        };
        let rows = if guidance > 1.0 { 2.0 } else { 1.0 };
        Ok(f64::from(steps) * rows * shape.step_multiplications(width, height) as f64 / rate)
    }
}
