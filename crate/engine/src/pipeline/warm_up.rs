//! Having the GPU's driver compile what painting needs before the first picture.

use std::rc::Rc;

use super::{Origin, Pipeline, Run};
use crate::{
    Result,
    kernels::Tuning,
    loader::{Phase, Progress},
    request::Request,
};

/// Side of the picture that is painted for it, in latents: as small as any UNet halves.
const SIDE_LATENTS: u32 = 8;

impl Pipeline {
    /// Paints two steps of a tiny picture that nobody sees: shaders do not depend on sizes, so what a large picture needs is
    /// compiled then, up to the few kernels of a start picture, a texture or another sampler. `settled` waits until the
    /// device is done, between the parts. On the processor there is nothing to compile.
    ///
    /// # Errors
    /// What painting reports; what `settled` does.
    pub async fn warm_up(
        self: &Rc<Self>,
        settled: impl AsyncFn() -> Result<()>,
        on_progress: &mut dyn FnMut(Progress),
    ) -> Result<()> {
        let tuning = Tuning::for_device(&self.device);
        // A tiny picture has small products alone.
        let mut variants = vec![tuning.small, tuning.large];
        variants.dedup();
        let total_bytes = 2 * variants.len() as u64;
        let mut loaded_bytes = 0;
        let mut report = |done| {
            loaded_bytes += done;
            on_progress(Progress { phase: Phase::Compile, loaded_bytes, total_bytes });
        };
        report(0);
        for variant in variants {
            Tuning { small: variant, ..tuning }.set_for(&self.device);
            let painted = self.paint_tiny(&settled, &mut report).await;
            tuning.set_for(&self.device);
            painted?;
        }
        Ok(())
    }

    async fn paint_tiny(
        self: &Rc<Self>,
        settled: &impl AsyncFn() -> Result<()>,
        report: &mut impl FnMut(u64),
    ) -> Result<()> {
        let side = Some(SIDE_LATENTS * self.limits.scale_px);
        let request = Request { width: side, height: side, ..Request::default() };
        let request = request.resolve(&self.limits)?;
        let mut run = Run::new(self.clone(), std::slice::from_ref(&request), Origin::default())?;
        // Samplers that look back compute the second step otherwise than the first.
        let first = run.step();
        let Some(step) = run.step().or(first) else { return Ok(()) };
        settled().await?;
        report(1);
        let _ = self.preview(step.denoised, request.border());
        let _ = self.decode(step.latents, request.border());
        settled().await?;
        report(1);
        Ok(())
    }
}
