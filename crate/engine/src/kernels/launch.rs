//! Launching a WGSL kernel on tensors that Burn owns.

use crate::limits;
use burn::tensor::{DType, Device, Int, Shape, Tensor};
use burn_cubecl::{kernel::into_contiguous, tensor::CubeTensor};
use burn_wgpu::{KernelSource, SourceKernel, SourceTemplate, Wgpu};
use cubecl::{
    CubeCount, CubeDim,
    ir::{ElemType, FloatKind},
    prelude::KernelId,
    server::{KernelArguments, MetadataBindingInfo},
};

/// Invocations per workgroup. Small, because the kernels give each invocation a whole register tile: a layer of the
/// small models has only hundreds of them, and they must spread over all cores.
pub const WORKGROUP: u32 = 32;
/// Most workgroups along one dispatch dimension in WebGPU's default limits.
const MAX_GRID: u32 = 65_535;

/// One operation at one shape. Equal keys mean equal text, so that a model's many shapes share few pipelines:
/// compiling one takes longer than running it, above all on software adapters.
pub struct Wgsl {
    /// What the pipeline cache knows the kernel by: the operation and every constant in the text.
    pub key: (&'static str, Vec<u32>),
    /// Produces the text from the key's constants; called once per key.
    pub text: fn(&[u32]) -> String,
    /// Values of the text's `info` fields, in order.
    pub info: Vec<u32>,
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

/// Whether the tensor's numbers are in this program's own memory. Cheaper than a conversion, which explains its failure.
pub fn is_on_cpu<const D: usize>(tensor: &Tensor<D>) -> bool {
    tensor.device() == Device::flex()
}

/// The contiguous GPU buffer behind `tensor`, or `None` where it lives on the CPU.
pub fn on_gpu<const D: usize>(tensor: &Tensor<D>) -> Option<CubeTensor> {
    if is_on_cpu(tensor) {
        return None;
    }
    tensor.clone().try_into_primitive::<Wgpu>().ok().map(into_contiguous)
}

/// As [`on_gpu`], for packed words.
pub fn words_on_gpu(tensor: &Tensor<1, Int>) -> Option<CubeTensor> {
    tensor.clone().try_into_primitive::<Wgpu>().ok()
}

/// Whether shaders on the tensor's device may use 16-bit floats (WebGPU's `shader-f16`).
pub fn has_f16(tensor: &CubeTensor) -> bool {
    tensor.client.properties().supports_type(ElemType::Float(FloatKind::F16))
}

/// Runs `kernel` with at least `invocations` invocations over `inputs` plus a fresh f32 output of `shape`.
///
/// Bindings are numbered as in `inputs`, then the output, then the kernel's `info`; buffers are `read_write`, because
/// tensors share pool buffers and WebGPU forbids mixing access modes on one buffer in a dispatch.
pub fn launch<const D: usize>(
    mut kernel: Wgsl,
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
    // What a caller must have seen to: indices are 32 bits wide, the last workgroup row included, and buffers bounded.
    debug_assert!(elements.max(invocations) as u64 + u64::from(MAX_GRID * WORKGROUP) < 1 << 32, "{:?}", kernel.key);
    debug_assert!(
        inputs.iter().copied().chain([&output]).all(|tensor| bytes(tensor) <= limits::binding_bytes_of(tensor)),
        "{:?} exceeds the device's largest binding",
        kernel.key
    );
    let workgroups = (invocations as u32).div_ceil(WORKGROUP).max(1);
    let grid = CubeCount::Static(workgroups.min(MAX_GRID), workgroups.div_ceil(MAX_GRID), 1);
    let mut bindings: Vec<_> = inputs.iter().map(|input| input.handle.clone().binding()).collect();
    bindings.push(output.handle.clone().binding());
    let info = pairs(std::mem::take(&mut kernel.info));
    let arguments = KernelArguments::new().with_buffers(bindings).with_info(MetadataBindingInfo::custom(info));
    like.client.launch(Box::new(SourceKernel::new(kernel, CubeDim::new_1d(WORKGROUP))), grid, arguments);
    Tensor::from_primitive::<Wgpu>(output)
}

fn bytes(tensor: &CubeTensor) -> u64 {
    (tensor.meta.shape().iter().product::<usize>() * tensor.dtype.size()) as u64
}

/// Words two by two, padded to whole 16-byte rows as uniform buffers want.
fn pairs(mut words: Vec<u32>) -> Vec<u64> {
    words.resize(words.len().next_multiple_of(4), 0);
    words.chunks_exact(2).map(|pair| u64::from(pair[0]) | u64::from(pair[1]) << 32).collect()
}

/// Declarations that every kernel starts with: its buffers by name and element type, and the fields of `info`.
pub fn prelude(buffers: &[(&str, &str)], info: &[&str]) -> String {
    let uses_f16 = buffers.iter().any(|(_, element)| element.contains("f16"));
    let mut text = if uses_f16 { "enable f16;\n".to_owned() } else { String::new() };
    for (index, (name, element)) in buffers.iter().enumerate() {
        text += &format!("@group(0) @binding({index}) var<storage, read_write> {name}: array<{element}>;\n");
    }
    let fields = info.iter().map(|field| format!("{field}: u32, ")).collect::<String>();
    let padding =
        (info.len()..info.len().next_multiple_of(4)).map(|i| format!("padding{i}: u32, ")).collect::<String>();
    text + &format!(
        "struct Info {{ {fields}{padding} }}\n@group(0) @binding({}) var<uniform> info: Info;\n",
        buffers.len()
    )
}

/// Opens the entry point: `i` is the invocation's number, and those from `count` (an expression) on have nothing to do.
pub fn entry(count: &str) -> String {
    format!(
        "@compute @workgroup_size({WORKGROUP}, 1, 1) fn main(@builtin(global_invocation_id) id: vec3<u32>) {{\n\
         let i = id.x + id.y * {}u; if (i >= {count}) {{ return; }}\n",
        MAX_GRID * WORKGROUP
    )
}
