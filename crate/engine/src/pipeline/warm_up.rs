//! Having the GPU's driver compile what painting needs before the first picture.

use std::rc::Rc;

use super::{Origin, Pipeline, Run};
use crate::{
    Result,
    kernels::compiling,
    loader::{Phase, Progress},
    request::Request,
};

/// Side of the picture that is painted for it where there is no room for the pack's own, in latents: as small as any UNet halves.
const SIDE_LATENTS: u32 = 8;

impl Pipeline {
    /// Paints two steps of the picture that the pack recommends, of which each launch has one workgroup alone: which shaders
    /// there are depends on sizes, since they decide on tiles. So what such a picture needs is compiled then, up to the few
    /// kernels of a start picture, a texture or another sampler. `settled` waits until the
    /// device is done, between the parts. On the processor there is nothing to compile.
    ///
    /// # Errors
    /// What painting reports; what `settled` does.
    pub async fn warm_up(
        self: &Rc<Self>,
        settled: impl AsyncFn() -> Result<()>,
        on_progress: &mut dyn FnMut(Progress),
    ) -> Result<()> {
        let mut report = |loaded_bytes| on_progress(Progress { phase: Phase::Compile, loaded_bytes, total_bytes: 2 });
        report(0);
        let side = Some(SIDE_LATENTS * self.limits.scale_px);
        let tiny = Request { width: side, height: side, ..Request::default() };
        let request = Request::default().resolve(&self.limits).or_else(|_| tiny.resolve(&self.limits))?;
        let mut run = Run::new(self.clone(), std::slice::from_ref(&request), Origin::default())?;
        // Samplers that look back compute the second step otherwise than the first.
        let first = compiling(|| run.step());
        let Some(step) = compiling(|| run.step()).or(first) else { return Ok(()) };
        settled().await?;
        report(1);
        compiling(|| {
            let _ = self.preview(step.denoised, request.border());
            let _ = self.decode(step.latents, request.border());
        });
        settled().await?;
        report(2);
        Ok(())
    }
}
