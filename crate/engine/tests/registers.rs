//! What a real GPU's compiler makes of the kernels that share memory, without such a GPU: Mesa's for AMD compiles for any of its
//! makers' families where `RADV_FORCE_FAMILY` names one, as long as nothing is run.
//!
//! An invocation that needs more registers than it may have is given memory instead, which is slower than all that tiles save;
//! nothing else would tell. `cargo test --locked -p fraise-engine --test registers -- --nocapture` prints the registers of each kernel.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a test prints, and may panic")]

mod common;

use std::ffi::{CStr, CString};
use std::process::Command;

use ash::vk;
use common::say;
use fraise_engine::kernels::texts::texts;

/// Tells the driver what to compile for.
const FAMILY: &str = "RADV_FORCE_FAMILY";
/// Of three generations: GCN 5, RDNA 2 and RDNA 3.
const FAMILIES: [&str; 3] = ["vega10", "navi21", "gfx1100"];
/// Registers that leave room for two invocations' at least where a unit has 256 for each of its lanes, some give or take.
const MOST: u64 = 132;
/// Where Debian's package has the driver's description.
const DRIVER: &str = "/usr/share/vulkan/icd.d/radeon_icd.x86_64.json";

#[test]
fn kernels_do_with_the_registers_there_are() {
    if std::env::var_os(FAMILY).is_some() {
        return compile();
    }
    if !std::path::Path::new(DRIVER).exists() {
        return say("SKIPPED: Mesa's Vulkan driver for AMD is not installed.");
    }
    for family in FAMILIES {
        // The driver reads the environment of its process.
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["kernels_do_with_the_registers_there_are", "--exact", "--nocapture"])
            .envs([("VK_DRIVER_FILES", DRIVER), ("VK_ICD_FILENAMES", DRIVER), (FAMILY, family)])
            .env("RADV_DEBUG", "nocache")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{family}: {text}{}", String::from_utf8_lossy(&output.stderr));
        let lines: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("kernel ")).collect();
        assert_eq!(lines.len(), texts().len(), "{family}: {text}");
        for line in lines {
            println!("{family}: {line}");
            let (name, numbers) = line.split_once(": ").unwrap();
            let numbers: Vec<u64> = numbers.split(' ').map(|number| number.parse().unwrap()).collect();
            let [registers, spilled] = numbers[..] else { panic!("{line}") };
            assert_eq!(spilled, 0, "{family}: {name} keeps {spilled} of its registers in memory");
            assert!(registers <= MOST, "{family}: {name} takes {registers} registers");
        }
    }
}

/// Prints a line for each kernel: its name, the registers of one invocation, and how many more are kept in memory.
fn compile() {
    let compiler = Compiler::new();
    for (name, text) in texts() {
        let [registers, spilled] = compiler.registers(&text);
        println!("kernel {name}: {registers} {spilled}");
    }
}

/// A device that compiles and runs nothing.
struct Compiler {
    device: ash::Device,
    statistics: ash::khr::pipeline_executable_properties::Device,
    // Ends last, and with it the driver.
    _entry: ash::Entry,
}

impl Compiler {
    fn new() -> Self {
        let application = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_3);
        let queues = [vk::DeviceQueueCreateInfo::default().queue_priorities(&[1.0])];
        let extensions = [ash::khr::pipeline_executable_properties::NAME.as_ptr()];
        let mut of_11 = vk::PhysicalDeviceVulkan11Features::default().storage_buffer16_bit_access(true);
        let mut of_12 = vk::PhysicalDeviceVulkan12Features::default().shader_float16(true).vulkan_memory_model(true);
        let mut statistics =
            vk::PhysicalDevicePipelineExecutablePropertiesFeaturesKHR::default().pipeline_executable_info(true);
        let wanted = vk::DeviceCreateInfo::default()
            .queue_create_infos(&queues)
            .enabled_extension_names(&extensions)
            .push_next(&mut of_11)
            .push_next(&mut of_12)
            .push_next(&mut statistics);
        // SAFETY: what is passed is valid by the structures' own types, and lives until the calls return.
        unsafe {
            let entry = ash::Entry::load().unwrap();
            let wanted_instance = vk::InstanceCreateInfo::default().application_info(&application);
            let instance = entry.create_instance(&wanted_instance, None).unwrap();
            let physical = instance.enumerate_physical_devices().unwrap()[0];
            let device = instance.create_device(physical, &wanted, None).unwrap();
            let statistics = ash::khr::pipeline_executable_properties::Device::new(&instance, &device);
            Self { device, statistics, _entry: entry }
        }
    }

    /// Registers of one invocation of a kernel, and how many more are kept in memory.
    fn registers(&self, text: &str) -> [u64; 2] {
        let module = naga::front::wgsl::parse_str(text).unwrap();
        let buffers = module.global_variables.iter().filter(|(_, variable)| variable.binding.is_some()).count() as u32;
        let words = spirv(&module);
        let bindings: Vec<_> = (0..buffers)
            .map(|binding| {
                vk::DescriptorSetLayoutBinding::default()
                    .binding(binding)
                    .descriptor_count(1)
                    .stage_flags(vk::ShaderStageFlags::COMPUTE)
                    .descriptor_type(match binding + 1 == buffers {
                        true => vk::DescriptorType::UNIFORM_BUFFER,
                        false => vk::DescriptorType::STORAGE_BUFFER,
                    })
            })
            .collect();
        let entry = CString::new("main").unwrap();
        // SAFETY: as in `new`; the handles are the device's own, and the process ends before any is let go.
        unsafe {
            let set = vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings);
            let sets = [self.device.create_descriptor_set_layout(&set, None).unwrap()];
            let layout = vk::PipelineLayoutCreateInfo::default().set_layouts(&sets);
            let layout = self.device.create_pipeline_layout(&layout, None).unwrap();
            let shader = vk::ShaderModuleCreateInfo::default().code(&words);
            let shader = self.device.create_shader_module(&shader, None).unwrap();
            let stage = vk::PipelineShaderStageCreateInfo::default()
                .stage(vk::ShaderStageFlags::COMPUTE)
                .module(shader)
                .name(&entry);
            let pipeline = vk::ComputePipelineCreateInfo::default()
                .stage(stage)
                .layout(layout)
                .flags(vk::PipelineCreateFlags::CAPTURE_STATISTICS_KHR);
            let pipelines = self.device.create_compute_pipelines(vk::PipelineCache::null(), &[pipeline], None).unwrap();
            let executable = vk::PipelineExecutableInfoKHR::default().pipeline(pipelines[0]);
            let found = self.statistics.get_pipeline_executable_statistics(&executable).unwrap();
            ["VGPRs", "Spilled VGPRs"].map(|name| {
                let is_named = |one: &&vk::PipelineExecutableStatisticKHR<'_>| {
                    CStr::from_ptr(one.name.as_ptr()).to_str() == Ok(name)
                };
                found.iter().find(is_named).unwrap().value.u64
            })
        }
    }
}

/// As wgpu has it for programs that are trusted.
fn spirv(module: &naga::Module) -> Vec<u32> {
    use naga::valid::{Capabilities, ValidationFlags, Validator};
    let info = Validator::new(ValidationFlags::all(), Capabilities::all()).validate(module).unwrap();
    let options = naga::back::spv::Options {
        lang_version: (1, 4),
        zero_initialize_workgroup_memory: naga::back::spv::ZeroInitializeWorkgroupMemoryMode::None,
        force_loop_bounding: false,
        ..Default::default()
    };
    naga::back::spv::write_vec(module, &info, &options, None).unwrap()
}
