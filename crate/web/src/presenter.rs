//! Paints image tensors on a canvas: straight from the GPU's memory where the browser can, else by way of the CPU.

use std::cell::RefCell;

use burn::tensor::Tensor;
use burn_wgpu::{AutoCompiler, Wgpu, into_contiguous};
use cubecl::wgpu::WgpuServer;
use fraise_engine::picture::Picture;
use fraise_engine::{Error, Result};
use futures::channel::oneshot;
use js_sys::Uint8ClampedArray;
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::spawn_local;
use web_sys::{ImageData, OffscreenCanvas, OffscreenCanvasRenderingContext2d};

use crate::device::{ComputeDevice, Gpu};
use crate::error::failure;

/// A canvas that was handed over for good, and the way that it is painted.
pub struct Presenter {
    canvas: OffscreenCanvas,
    may_use_gpu: bool,
    way: RefCell<Way>,
}

/// How a canvas is painted. A canvas keeps its first kind of context, so the choice is made once.
enum Way {
    /// Not painted yet.
    Unknown,
    /// By a render pass that reads the tensor's own buffer.
    Surface(Box<GpuSurface>),
    /// From pixels read back.
    Pixels(OffscreenCanvasRenderingContext2d),
}

/// A canvas as a texture of one GPU device.
struct GpuSurface {
    surface: wgpu::Surface<'static>,
    device: wgpu::Device,
    pipeline: wgpu::RenderPipeline,
    size_px: [u32; 2],
}

/// Every canvas may have this format. Firefox without dmabuf dies of the other one, `Rgba8Unorm`.
const FORMAT: wgpu::TextureFormat = wgpu::TextureFormat::Bgra8Unorm;

impl Presenter {
    /// A presenter for a canvas without a context; `may_use_gpu` says whether it may become a GPU surface.
    pub fn new(canvas: OffscreenCanvas, may_use_gpu: bool) -> Self {
        Self { canvas, may_use_gpu, way: RefCell::new(Way::Unknown) }
    }

    /// Paints `image` and gives the canvas its size. Returns the picture where it had to be read back for that.
    ///
    /// # Shapes
    /// `image`: [1, 3, height, width], pixels in [0, 1].
    ///
    /// # Errors
    /// [`Error::Storage`] where neither way works, or the device's own.
    pub async fn present(&self, compute: &ComputeDevice, image: Tensor<4>) -> Result<Option<Picture>> {
        let [_, _, height_px, width_px] = image.dims();
        let size_px = [width_px as u32, height_px as u32];
        if self.may_use_gpu
            && let Some(gpu) = &compute.gpu
            && self.is_on_surface(gpu, size_px)
        {
            return self.paint_surface(compute, gpu, image).map(|()| None);
        }
        let picture = read_picture(image).await?;
        let context = self.context_2d()?;
        // Setting a canvas's size blanks it, even to what it was.
        if [self.canvas.width(), self.canvas.height()] != size_px {
            self.canvas.set_width(size_px[0]);
            self.canvas.set_height(size_px[1]);
        }
        context
            .put_image_data(&image_data(&picture)?, 0, 0)
            .map_err(|thrown| failure("painting the canvas", &thrown))?;
        Ok(Some(picture))
    }

    /// Whether the canvas is, or has just become, a surface of this GPU with this size.
    fn is_on_surface(&self, gpu: &Gpu, size_px: [u32; 2]) -> bool {
        let mut way = self.way.borrow_mut();
        match &*way {
            Way::Pixels(_) => false,
            Way::Surface(surface) if surface.size_px == size_px && surface.device == gpu.setup.device => true,
            Way::Surface(_) | Way::Unknown => match GpuSurface::new(gpu, self.canvas.clone(), size_px) {
                Some(surface) => {
                    *way = Way::Surface(Box::new(surface));
                    true
                }
                None => false,
            },
        }
    }

    fn paint_surface(&self, compute: &ComputeDevice, gpu: &Gpu, image: Tensor<4>) -> Result<()> {
        // The image's commands must be on the queue before the pass that reads it.
        compute.flush()?;
        match &*self.way.borrow() {
            Way::Surface(surface) => surface.paint(gpu, image),
            Way::Unknown | Way::Pixels(_) => Err(painting_failed("the canvas has no GPU surface")),
        }
    }

    fn context_2d(&self) -> Result<OffscreenCanvasRenderingContext2d> {
        if let Way::Pixels(context) = &*self.way.borrow() {
            return Ok(context.clone());
        }
        let context = self.canvas.get_context("2d").map_err(|thrown| failure("painting the canvas", &thrown))?;
        let context: OffscreenCanvasRenderingContext2d = context
            .ok_or_else(|| painting_failed("the canvas offers neither a WebGPU nor a 2D context"))?
            .unchecked_into();
        self.way.replace(Way::Pixels(context.clone()));
        Ok(context)
    }
}

impl GpuSurface {
    /// Makes the canvas a surface, or gives `None` where the browser cannot present from a worker.
    fn new(gpu: &Gpu, canvas: OffscreenCanvas, size_px: [u32; 2]) -> Option<Self> {
        let setup = &gpu.setup;
        let surface = setup.instance.create_surface(wgpu::SurfaceTarget::OffscreenCanvas(canvas)).ok()?;
        surface.configure(
            &setup.device,
            &wgpu::SurfaceConfiguration {
                usage: wgpu::TextureUsages::RENDER_ATTACHMENT,
                format: FORMAT,
                color_space: wgpu::SurfaceColorSpace::Auto,
                width: size_px[0],
                height: size_px[1],
                present_mode: wgpu::PresentMode::Fifo,
                desired_maximum_frame_latency: 2,
                alpha_mode: wgpu::CompositeAlphaMode::Opaque,
                view_formats: Vec::new(),
            },
        );
        Some(Self { surface, device: setup.device.clone(), pipeline: pipeline(&setup.device, size_px), size_px })
    }

    fn paint(&self, gpu: &Gpu, image: Tensor<4>) -> Result<()> {
        let tensor = image
            .try_into_primitive::<Wgpu>()
            .map(into_contiguous)
            .map_err(|error| painting_failed(&format!("{error:?}")))?;
        let resource = tensor
            .client
            .get_resource::<WgpuServer<AutoCompiler>>(tensor.handle.clone())
            .map_err(|error| painting_failed(&format!("{error:?}")))?;
        let texture = match self.surface.get_current_texture() {
            wgpu::CurrentSurfaceTexture::Success(texture) | wgpu::CurrentSurfaceTexture::Suboptimal(texture) => texture,
            _ => return Err(painting_failed("the canvas gave no texture")),
        };
        let bindings = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("image"),
            layout: &self.pipeline.get_bind_group_layout(0),
            entries: &[wgpu::BindGroupEntry { binding: 0, resource: resource.resource().as_wgpu_bind_resource() }],
        });
        let view = texture.texture.create_view(&wgpu::TextureViewDescriptor::default());
        let mut commands = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let mut pass = commands.begin_render_pass(&wgpu::RenderPassDescriptor {
            label: Some("present"),
            color_attachments: &[Some(wgpu::RenderPassColorAttachment {
                view: &view,
                depth_slice: None,
                resolve_target: None,
                ops: wgpu::Operations { load: wgpu::LoadOp::Clear(wgpu::Color::BLACK), store: wgpu::StoreOp::Store },
            })],
            ..wgpu::RenderPassDescriptor::default()
        });
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &bindings, &[]);
        pass.draw(0..3, 0..1);
        drop(pass);
        gpu.setup.queue.submit([commands.finish()]);
        gpu.setup.queue.present(texture);
        Ok(())
    }
}

/// The render pipeline for pictures of one size.
fn pipeline(device: &wgpu::Device, [width_px, height_px]: [u32; 2]) -> wgpu::RenderPipeline {
    let module = device.create_shader_module(wgpu::include_wgsl!("present.wgsl"));
    let constants = [("width", f64::from(width_px)), ("height", f64::from(height_px))];
    device.create_render_pipeline(&wgpu::RenderPipelineDescriptor {
        label: Some("present"),
        layout: None,
        vertex: wgpu::VertexState {
            module: &module,
            entry_point: Some("cover"),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            buffers: &[],
        },
        primitive: wgpu::PrimitiveState::default(),
        depth_stencil: None,
        multisample: wgpu::MultisampleState::default(),
        fragment: Some(wgpu::FragmentState {
            module: &module,
            entry_point: Some("paint"),
            compilation_options: wgpu::PipelineCompilationOptions { constants: &constants, ..Default::default() },
            targets: &[Some(FORMAT.into())],
        }),
        multiview_mask: None,
        cache: None,
    })
}

/// Pictures of one size as one, side by side in rows of as many as there are rows at most.
///
/// # Shapes
/// N times [1, 3, height, width] → [1, 3, rows·height, columns·width]; black where a row is not full.
pub fn sheet(images: Vec<Tensor<4>>) -> Tensor<4> {
    let columns = (1..=images.len()).find(|columns| columns * columns >= images.len()).unwrap_or(1);
    if columns == 1 {
        return Tensor::cat(images, 3);
    }
    let row = |images: &[Tensor<4>]| {
        let mut row = images.to_vec();
        row.resize_with(columns, || images[0].zeros_like());
        Tensor::cat(row, 3)
    };
    Tensor::cat(images.chunks(columns).map(row).collect(), 2)
}

/// Copies an image to this side.
///
/// # Errors
/// As [`Picture::read`].
pub async fn read_picture(image: Tensor<4>) -> Result<Picture> {
    read_to_the_end(Picture::read(image)).await
}

/// Runs what reads from the GPU to its end even where the caller stops waiting: CubeCL 0.11 takes the buffer of a read
/// that was dropped half-way for the next one while the browser still has it mapped.
///
/// # Errors
/// What `reading` reports.
pub async fn read_to_the_end<T: 'static>(reading: impl Future<Output = Result<T>> + 'static) -> Result<T> {
    let (sender, result) = oneshot::channel();
    spawn_local(async move {
        let _ = sender.send(reading.await);
    });
    result.await.unwrap_or(Err(Error::Cancelled))
}

/// A picture as browsers take it: RGBA, opaque.
///
/// # Errors
/// [`Error::Storage`] where the browser refuses its size.
pub fn image_data(picture: &Picture) -> Result<ImageData> {
    let rgba: Vec<u8> = picture.rgb.chunks_exact(3).flat_map(|rgb| [rgb[0], rgb[1], rgb[2], 255]).collect();
    // Copied, because an ImageData keeps the array that it is given, and Rust's memory is about to be free again.
    let copy = Uint8ClampedArray::from(rgba.as_slice());
    ImageData::new_with_js_u8_clamped_array_and_sh(&copy, picture.width, picture.height)
        .map_err(|thrown| failure("making an image", &thrown))
}

fn painting_failed(reason: &str) -> Error {
    Error::Storage { operation: "painting the canvas".to_owned(), reason: reason.to_owned() }
}
