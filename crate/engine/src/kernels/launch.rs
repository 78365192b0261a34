//! Launching a WGSL kernel on tensors that Burn owns.

use burn::tensor::{DType, Int, Shape, Tensor};
use burn_cubecl::{kernel::into_contiguous, tensor::CubeTensor};
use burn_wgpu::{KernelSource, SourceKernel, SourceTemplate, Wgpu};
use cubecl::{CubeCount, CubeDim, prelude::KernelId, server::KernelArguments};

/// Invocations per workgroup. Small, because the kernels give each invocation a whole register tile: a layer of the
/// small models has only hundreds of them, and they must spread over all cores.
pub const WORKGROUP: u32 = 32;
/// Most workgroups along one dispatch dimension in WebGPU's default limits.
const MAX_GRID: u32 = 65_535;

/// WGSL text for one operation at one shape; equal keys mean equal text.
pub struct Wgsl {
    /// What the pipeline cache knows the kernel by: operation and every constant in the text.
    pub key: (&'static str, Vec<u32>),
    /// Produces the text; called once per key.
    pub text: fn(&[u32]) -> String,
}

impl KernelSource for Wgsl {
    fn source(&self) -> SourceTemplate {
        SourceTemplate::new((self.text)(&self.key.1))
    }
    fn id(&self) -> KernelId {
        KernelId::new::<Self>().info(self.key.clone())
    }
    fn lang(&self) -> &'static str {
        "wgsl"
    }
}

/// The contiguous GPU buffer behind `tensor`, or `None` where it lives on the CPU.
pub fn on_gpu<const D: usize>(tensor: &Tensor<D>) -> Option<CubeTensor> {
    tensor.clone().try_into_primitive::<Wgpu>().ok().map(into_contiguous)
}

/// As [`on_gpu`], for packed words.
pub fn words_on_gpu(tensor: &Tensor<1, Int>) -> Option<CubeTensor> {
    tensor.clone().try_into_primitive::<Wgpu>().ok()
}

/// Runs `kernel` with at least `invocations` invocations over `inputs` plus a fresh f32 output of `shape`.
///
/// Bindings are numbered as in `inputs`, the output last; all are `read_write`, because tensors share pool buffers
/// and WebGPU forbids mixing access modes on one buffer in a dispatch. The text finds its invocation number in
/// `invocation()` of [`prelude`].
pub fn launch<const D: usize>(
    kernel: Wgsl,
    invocations: usize,
    inputs: &[&CubeTensor],
    shape: [usize; D],
) -> Tensor<D> {
    let like = inputs[0];
    let elements: usize = shape.iter().product();
    let output = CubeTensor::new_contiguous(
        like.client.clone(),
        like.device.clone(),
        Shape::new(shape),
        like.client.empty(elements * size_of::<f32>()),
        DType::F32,
    );
    let workgroups = (invocations as u32).div_ceil(WORKGROUP).max(1);
    let grid = CubeCount::Static(workgroups.min(MAX_GRID), workgroups.div_ceil(MAX_GRID), 1);
    let mut bindings: Vec<_> = inputs.iter().map(|input| input.handle.clone().binding()).collect();
    bindings.push(output.handle.clone().binding());
    let kernel = SourceKernel::new(kernel, CubeDim::new_1d(WORKGROUP));
    like.client.launch(Box::new(kernel), grid, KernelArguments::new().with_buffers(bindings));
    Tensor::from_primitive::<Wgpu>(output)
}

/// Declarations that every kernel starts with: its bindings, named and typed in order, and `invocation()`.
pub fn prelude(bindings: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (index, (name, element)) in bindings.iter().enumerate() {
        text += &format!("@group(0) @binding({index}) var<storage, read_write> {name}: array<{element}>;\n");
    }
    text += &format!("fn invocation(id: vec3<u32>) -> u32 {{ return id.x + id.y * {}u; }}\n", MAX_GRID * WORKGROUP);
    text
}

/// The line that opens every entry point.
pub const ENTRY: &str = "@compute @workgroup_size(32, 1, 1) fn main(@builtin(global_invocation_id) id: vec3<u32>) {\n";
