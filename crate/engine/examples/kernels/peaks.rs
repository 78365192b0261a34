//! The adapter's own peaks, by small shaders: multiply-adds in registers, and a copy between two buffers.

use std::time::Instant;

use burn::tensor::wgpu::wgpu;

/// Invocations of a workgroup.
const WORKGROUP: u32 = 256;
/// Invocations in all: many for each core of a big GPU.
const INVOCATIONS: u32 = 1 << 19;
/// Independent sums per invocation: too few wait for one another, too many spill.
const CHAINS: [u32; 2] = [4, 8];
/// Beyond caches, within the default binding limit.
const COPIED_BYTES: u64 = 128 << 20;
/// Vectors copied by one invocation.
const COPIES: u32 = 4;
/// What a measurement lasts at least, in s.
const LONG: f64 = 0.2;

/// What was measured.
pub struct Peaks {
    /// Name, kind, and driver.
    pub adapter: String,
    /// Of 32-bit multiply-adds, two operations each.
    pub gflops: f64,
    /// Read and written.
    pub copy_gb_s: f64,
}

/// Measures the default Vulkan adapter; `quick` for a software one.
pub fn measure(quick: bool) -> Peaks {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends: wgpu::Backends::VULKAN,
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    });
    let adapter = pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions {
        power_preference: wgpu::PowerPreference::HighPerformance,
        ..wgpu::RequestAdapterOptions::default()
    }))
    .unwrap();
    let info = adapter.get_info();
    let limits = adapter.limits();
    let adapter_text = format!(
        "{} ({:?}, {} {}); {} bytes of shared memory, {} invocations{}",
        info.name,
        info.device_type,
        info.driver,
        info.driver_info,
        limits.max_compute_workgroup_storage_size,
        limits.max_compute_invocations_per_workgroup,
        if adapter.features().contains(wgpu::Features::SHADER_F16) { ", shader-f16" } else { "" },
    );
    let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor::default())).unwrap();
    let gpu = Gpu { device, queue };
    let rounds = if quick { 64 } else { 1024 };
    let fma = CHAINS.map(|chains| {
        let seconds = gpu.seconds(&fma_text(chains, rounds), INVOCATIONS / WORKGROUP);
        f64::from(INVOCATIONS) * f64::from(rounds * chains * 4 * 2) / seconds / 1e9
    });
    let vectors = (COPIED_BYTES / 16) as u32;
    let copy_seconds = gpu.seconds(&copy_text(vectors / COPIES), vectors / COPIES / WORKGROUP);
    Peaks {
        adapter: adapter_text,
        gflops: fma.into_iter().fold(0.0, f64::max),
        copy_gb_s: 2.0 * COPIED_BYTES as f64 / copy_seconds / 1e9,
    }
}

const BUFFERS: &str = "@group(0) @binding(0) var<storage, read_write> to: array<vec4<f32>>;\n\
     @group(0) @binding(1) var<storage, read_write> source: array<vec4<f32>>;\n";

fn entry() -> String {
    format!("@compute @workgroup_size({WORKGROUP}) fn main(@builtin(global_invocation_id) id: vec3<u32>) {{\n")
}

fn fma_text(chains: u32, rounds: u32) -> String {
    let mut text = BUFFERS.to_owned() + &entry();
    text += "let a = source[id.x & 63u] + vec4<f32>(0.999); let b = vec4<f32>(0.001);\n";
    let each = |line: &dyn Fn(u32) -> String| (0..chains).map(line).collect::<String>();
    text += &each(&|i| format!("var s{i} = a + {i}.0;\n"));
    text += &format!("for (var round = 0u; round < {rounds}u; round++) {{\n");
    text += &each(&|i| format!("s{i} = fma(s{i}, a, b);\n"));
    text += "}\nvar sum = vec4<f32>();\n";
    text + &each(&|i| format!("sum += s{i};\n")) + "to[id.x & 63u] = sum;\n}\n"
}

fn copy_text(step: u32) -> String {
    BUFFERS.to_owned()
        + &entry()
        + &format!("for (var i = 0u; i < {COPIES}u; i++) {{ let at = i * {step}u + id.x; to[at] = source[at]; }}\n}}\n")
}

struct Gpu {
    device: wgpu::Device,
    queue: wgpu::Queue,
}

impl Gpu {
    /// Seconds of one dispatch, as a share of as many as take long.
    fn seconds(&self, text: &str, workgroups: u32) -> f64 {
        let module = self.device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: None,
            source: wgpu::ShaderSource::Wgsl(text.into()),
        });
        let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: None,
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        });
        let buffers = [0, 1].map(|_| {
            self.device.create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size: COPIED_BYTES,
                usage: wgpu::BufferUsages::STORAGE,
                mapped_at_creation: false,
            })
        });
        let entries: Vec<_> = (0..)
            .zip(&buffers)
            .map(|(binding, buffer)| wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() })
            .collect();
        let group = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &pipeline.get_bind_group_layout(0),
            entries: &entries,
        });
        let mut dispatches = 1;
        loop {
            let started = Instant::now();
            let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            {
                let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
                pass.set_pipeline(&pipeline);
                pass.set_bind_group(0, &group, &[]);
                for _ in 0..dispatches {
                    pass.dispatch_workgroups(workgroups, 1, 1);
                }
            }
            self.queue.submit([encoder.finish()]);
            self.device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
            let seconds = started.elapsed().as_secs_f64();
            if seconds > LONG {
                return seconds / f64::from(dispatches);
            }
            dispatches *= 4;
        }
    }
}
