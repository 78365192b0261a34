//! Launching a WGSL kernel on tensors that Burn owns.

use std::cell::Cell;

use burn::tensor::{DType, Device, Int, Shape, Tensor};
use burn_cubecl::{kernel::into_contiguous, tensor::CubeTensor};
use burn_wgpu::{KernelSource, SourceKernel, SourceTemplate, Wgpu};
use cubecl::{
    CubeCount, CubeDim,
    ir::{ElemType, FloatKind},
    prelude::KernelId,
    server::{KernelArguments, MetadataBindingInfo},
};

use super::tuning::Tuning;
use crate::limits;

/// Invocations per workgroup. Small, because the kernels give each invocation a whole register tile: a layer of the
/// small models has only hundreds of them, and they must spread over all cores.
pub const WORKGROUP: u32 = 32;
/// Most workgroups along one dispatch dimension in WebGPU's default limits.
const MAX_GRID: u32 = 65_535;

/// What one unit of a kernel's work is done by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// An invocation, independent of all others.
    Invocation,
    /// A workgroup of so many invocations, which share memory.
    Workgroup(u32),
}

/// One operation at one shape. Equal keys mean equal text, so that a model's many shapes share few pipelines:
/// compiling one takes longer than running it, above all on software adapters.
#[derive(Clone)]
pub struct Wgsl {
    /// What the pipeline cache knows the kernel by: the operation and every constant in the text.
    pub key: (&'static str, Vec<u32>),
    /// Produces the text from the key's constants; called once per key. 16-bit floats are enabled where it names them.
    pub text: fn(&[u32]) -> String,
    /// Values of the text's `info` fields, in order.
    pub info: Vec<u32>,
    /// What a unit of work is done by.
    pub unit: Unit,
    /// Multiply-adds of the whole operation; 0 where it is too light to count.
    pub multiplications: u64,
}

impl Wgsl {
    /// A light operation, of independent invocations.
    pub fn new(key: (&'static str, Vec<u32>), text: fn(&[u32]) -> String, info: Vec<u32>) -> Self {
        Self { key, text, info, unit: Unit::Invocation, multiplications: 0 }
    }

    /// The same operation where invocations share memory: by workgroups of so many.
    pub fn by_workgroups(self, name: &'static str, text: fn(&[u32]) -> String, size: u32) -> Self {
        Self { key: (name, self.key.1), text, unit: Unit::Workgroup(size), ..self }
    }
}

impl KernelSource for Wgsl {
    fn source(&self) -> SourceTemplate {
        let text = (self.text)(&self.key.1);
        SourceTemplate::new(if text.contains("f16") { format!("enable f16;\n{text}") } else { text })
    }
    fn id(&self) -> KernelId {
        KernelId::new::<Self>().info(self.key.clone())
    }
    fn lang(&self) -> &'static str {
        "wgsl"
    }
}

thread_local! {
    static IS_COMPILING: Cell<bool> = const { Cell::new(false) };
}

/// Does `work`, in which each of our launches has one workgroup alone: its shaders are compiled, its results are nothing.
pub fn compiling<T>(work: impl FnOnce() -> T) -> T {
    let before = IS_COMPILING.replace(true);
    let result = work();
    IS_COMPILING.set(before);
    result
}

/// Whether results are nothing, as [`compiling`] has it.
pub fn is_compiling() -> bool {
    IS_COMPILING.get()
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

/// Runs `kernel` with at least `units` units of work over `inputs` plus a fresh f32 output of `shape`.
///
/// Bindings are numbered as in `inputs`, then the output, then the kernel's `info`; buffers are `read_write`, because
/// tensors share pool buffers and WebGPU forbids mixing access modes on one buffer in a dispatch. What would keep the
/// device busy for too long ([`Tuning::submit`]) is cut into several dispatches and sent off between them.
pub fn launch<const D: usize>(kernel: Wgsl, units: usize, inputs: &[&CubeTensor], shape: [usize; D]) -> Tensor<D> {
    let like = inputs[0];
    let elements: usize = shape.iter().product();
    let output = CubeTensor::new_contiguous(
        like.client.clone(),
        like.device.clone(),
        Shape::new(shape),
        like.client.empty(elements * size_of::<f32>()),
        DType::F32,
    );
    let (size, each) = match kernel.unit {
        Unit::Invocation => (WORKGROUP, lanes(units)),
        Unit::Workgroup(size) => (size, 1),
    };
    // What a caller must have seen to: indices are 32 bits wide, the last workgroup row included, and buffers bounded.
    debug_assert!(elements.max(units) as u64 + u64::from(MAX_GRID * WORKGROUP) < 1 << 32, "{:?}", kernel.key);
    debug_assert!(
        inputs.iter().copied().chain([&output]).all(|tensor| bytes(tensor) <= limits::binding_bytes_of(tensor)),
        "{:?} exceeds the device's largest binding",
        kernel.key
    );
    debug_assert!(
        (1..inputs.len()).all(|last| !inputs[..last].iter().any(|first| are_one(first, inputs[last]))),
        "{:?} has the same buffer twice, which browsers refuse",
        kernel.key
    );
    let workgroups = if is_compiling() { 1 } else { (units as u32).div_ceil(each).max(1) };
    let tuning = Tuning::of(&like.device);
    let parts = tuning.parts(kernel.multiplications);
    let most = u64::from(workgroups).div_ceil(parts) as u32;
    let mut bindings: Vec<_> = inputs.iter().map(|input| input.handle.clone().binding()).collect();
    bindings.push(output.handle.clone().binding());
    for first in (0..workgroups).step_by(most as usize) {
        let count = most.min(workgroups - first);
        make_room(like, kernel.multiplications / parts, tuning.submit);
        let grid = CubeCount::Static(count.min(MAX_GRID), count.div_ceil(MAX_GRID), 1);
        let info = pairs([first, each].into_iter().chain(kernel.info.iter().copied()).collect());
        let info = MetadataBindingInfo::custom(info);
        let arguments = KernelArguments::new().with_buffers(bindings.clone()).with_info(info);
        let source = SourceKernel::new(kernel.clone(), CubeDim::new_1d(size));
        like.client.launch(Box::new(source), grid, arguments);
    }
    Tensor::from_primitive::<Wgpu>(output)
}

/// Sends off what is queued where `multiplications` more would make it more than `most` for one submission.
fn make_room(like: &CubeTensor, multiplications: u64, most: u64) {
    thread_local! {
        static QUEUED: Cell<u64> = const { Cell::new(0) };
    }
    let queued = QUEUED.get() + multiplications;
    if multiplications > 0 && queued > most {
        // A device that is lost says so to whoever reads from it next.
        let _ = like.client.flush();
        return QUEUED.set(multiplications);
    }
    QUEUED.set(queued);
}

/// Invocations of a workgroup that work. Software adapters do all of one on one core, eight or four at a time, so that the few of a
/// small launch are spread over more workgroups than would hold them.
fn lanes(units: usize) -> u32 {
    /// Workgroups that keep all cores about equally busy.
    const MANY: usize = 16;
    const FEWEST: u32 = 8;
    ((units / MANY) as u32).next_power_of_two().clamp(FEWEST, WORKGROUP)
}

/// Whether two tensors are the same part of the same buffer.
pub fn are_one(first: &CubeTensor, second: &CubeTensor) -> bool {
    let [first, second] = [&first.handle, &second.handle];
    std::ptr::eq(first.memory.descriptor(), second.memory.descriptor()) && first.offset_start == second.offset_start
}

fn bytes(tensor: &CubeTensor) -> u64 {
    (tensor.meta.shape().iter().product::<usize>() * tensor.dtype.size()) as u64
}

/// Words two by two, padded to whole 16-byte rows as uniform buffers want.
fn pairs(mut words: Vec<u32>) -> Vec<u64> {
    words.resize(words.len().next_multiple_of(4), 0);
    words.chunks_exact(2).map(|pair| u64::from(pair[0]) | u64::from(pair[1]) << 32).collect()
}

/// Names of a vector's components.
pub const AXES: [&str; 4] = ["x", "y", "z", "w"];

/// Declarations that every kernel starts with: its buffers by name and element type, and the fields of `info`, of which
/// there are two more: `first`, the workgroup that this dispatch begins with, and `lanes`, how many of its invocations work.
pub fn prelude(buffers: &[(&str, &str)], info: &[&str]) -> String {
    let mut text = String::new();
    for (index, (name, element)) in buffers.iter().enumerate() {
        text += &format!("@group(0) @binding({index}) var<storage, read_write> {name}: array<{element}>;\n");
    }
    let fields = info.iter().map(|field| format!("{field}: u32, ")).collect::<String>();
    let count = info.len() + 2;
    let padding = (count..count.next_multiple_of(4)).map(|i| format!("padding{i}: u32, ")).collect::<String>();
    text + &format!(
        "struct Info {{ first: u32, lanes: u32, {fields}{padding} }}\n@group(0) @binding({}) var<uniform> info: Info;\n",
        buffers.len()
    )
}

/// Opens the entry point: `i` is the invocation's number, and those from `count` (an expression) on have nothing to do.
pub fn entry(count: &str) -> String {
    opening(WORKGROUP)
        + &format!("let i = g * info.lanes + lane; if (lane >= info.lanes || i >= {count}) {{ return; }}\n")
}

/// Opens the entry point of workgroups of `size`: `i` is the workgroup's number, of `count` (an expression), and `lane` the
/// invocation's in it.
pub fn entry_of_workgroup(size: u32, count: &str) -> String {
    opening(size) + &format!("let i = g; if (i >= {count}) {{ return; }}\n")
}

fn opening(size: u32) -> String {
    format!(
        "@compute @workgroup_size({size}, 1, 1) fn main(@builtin(workgroup_id) id: vec3<u32>, \
         @builtin(local_invocation_index) lane: u32) {{\n\
         let g = info.first + id.x + id.y * {MAX_GRID}u;\n"
    )
}
