"""Writes goldens/sampler_steps.safetensors: whole runs of diffusers' schedulers on made-up model outputs.

    python tests/parity/make_sampler.py        (needs diffusers 0.42.1, torch 2.15)

Per case: `timesteps`, the initial `sample`, the `model_outputs`, the `scaled` model inputs, all `prev_samples` and
`pred_original_samples`, and the `noise` that was drawn. A case that names a sampler starts from another class's
configuration and goes through `from_config`, as `pipe.scheduler = X.from_config(pipe.scheduler.config)` does.
"""

import json
import pathlib
from unittest import mock

import diffusers
import torch
from diffusers.schedulers import scheduling_flow_match_euler_discrete, scheduling_lcm
from safetensors.torch import save_file

SHAPE = (1, 2, 4, 4)
CLASSES = {
    "ddim": diffusers.DDIMScheduler,
    "euler": diffusers.EulerDiscreteScheduler,
    "lcm": diffusers.LCMScheduler,
    "flow_euler": diffusers.FlowMatchEulerDiscreteScheduler,
}
# The beta schedule of Stable Diffusion.
SD = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000}
# scheduler_config.json of Stable Diffusion 1.5, with what several library versions left in it.
SD15 = SD | {
    "_class_name": "PNDMScheduler", "_diffusers_version": "0.6.0", "clip_sample": False, "set_alpha_to_one": False,
    "skip_prk_steps": True, "steps_offset": 1, "trained_betas": None, "prediction_type": "epsilon",
}
SD21 = SD | {
    "_class_name": "DDIMScheduler", "_diffusers_version": "0.8.0", "clip_sample": False, "set_alpha_to_one": False,
    "skip_prk_steps": True, "steps_offset": 1, "trained_betas": None, "prediction_type": "v_prediction",
}
TURBO = SD | {
    "_class_name": "EulerDiscreteScheduler", "interpolation_type": "linear", "prediction_type": "epsilon", "sigma_max": None,
    "sigma_min": None, "steps_offset": 1, "timestep_spacing": "trailing", "timestep_type": "discrete", "trained_betas": None,
    "use_karras_sigmas": False, "sample_max_value": 1.0, "set_alpha_to_one": False, "skip_prk_steps": True,
}
LCM = SD | {
    "_class_name": "LCMScheduler", "clip_sample": False, "clip_sample_range": 1.0, "original_inference_steps": 50,
    "prediction_type": "epsilon", "rescale_betas_zero_snr": False, "set_alpha_to_one": True, "steps_offset": 0,
    "timestep_scaling": 10.0, "timestep_spacing": "leading", "dynamic_thresholding_ratio": 0.995, "thresholding": False,
}
FLOW = {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "shift": 1.0}


def own(name, **fields):
    return {"_class_name": CLASSES[name].__name__} | fields


# name -> (sampler named by the caller or None, scheduler_config.json, steps)
CASES = {
    # DDIM
    "ddim_defaults": (None, own("ddim"), 5),
    "ddim_sd15": ("ddim", SD15, 10),
    "ddim_sd15_seven_steps": ("ddim", SD15, 7),
    "ddim_sd21_v": (None, SD21, 6),
    "ddim_one_step": ("ddim", SD15, 1),
    "ddim_fifty_steps": ("ddim", SD15, 50),
    "ddim_trailing_zero_snr_v": (None, own("ddim", **SD, prediction_type="v_prediction", timestep_spacing="trailing", rescale_betas_zero_snr=True, clip_sample=False), 8),
    "ddim_linspace_sample_clipped": (None, own("ddim", prediction_type="sample", timestep_spacing="linspace", clip_sample=True, clip_sample_range=0.7), 9),
    "ddim_cosine_clipped": (None, own("ddim", beta_schedule="squaredcos_cap_v2"), 6),
    "ddim_trained_betas": (None, own("ddim", trained_betas=[0.01 + 0.002 * i for i in range(40)], num_train_timesteps=40, clip_sample=False), 6),
    "ddim_short_schedule_trailing": (None, own("ddim", num_train_timesteps=100, timestep_spacing="trailing", set_alpha_to_one=False), 7),
    "ddim_from_turbo": ("ddim", TURBO, 4),
    "ddim_from_flow": ("ddim", FLOW, 4),
    # Euler
    "euler_defaults": (None, own("euler"), 5),
    "euler_sd15": ("euler", SD15, 10),
    "euler_sd21_v": ("euler", SD21, 6),
    "euler_turbo_one_step": (None, TURBO, 1),
    "euler_turbo_four_steps": (None, TURBO, 4),
    "euler_leading": (None, TURBO | {"timestep_spacing": "leading"}, 9),
    "euler_linspace_thirty": (None, TURBO | {"timestep_spacing": "linspace"}, 30),
    "euler_log_linear": (None, TURBO | {"interpolation_type": "log_linear"}, 6),
    "euler_karras": (None, TURBO | {"use_karras_sigmas": True, "timestep_spacing": "leading"}, 8),
    "euler_karras_bounds": (None, TURBO | {"use_karras_sigmas": True, "sigma_min": 0.1, "sigma_max": 12.0}, 8),
    "euler_exponential": (None, TURBO | {"use_exponential_sigmas": True, "final_sigmas_type": "sigma_min"}, 5),
    "euler_zero_snr_v": (None, TURBO | {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction"}, 6),
    "euler_continuous_v": (None, TURBO | {"timestep_type": "continuous", "prediction_type": "v_prediction", "use_karras_sigmas": True, "sigma_min": 0.002, "sigma_max": 700.0}, 6),
    "euler_sample": (None, TURBO | {"prediction_type": "sample"}, 5),
    "euler_from_lcm": ("euler", LCM, 5),
    # LCM
    "lcm_defaults": (None, own("lcm"), 4),
    "lcm_dreamshaper": (None, LCM, 4),
    "lcm_one_step": (None, LCM, 1),
    "lcm_eight_of_fifty": (None, LCM, 8),
    "lcm_seven_of_hundred": (None, LCM | {"original_inference_steps": 100}, 7),
    "lcm_from_sd15": ("lcm", SD15, 6),
    "lcm_v_clipped": (None, LCM | {"prediction_type": "v_prediction", "clip_sample": True, "timestep_scaling": 0.01}, 5),
    "lcm_sample_zero_snr": (None, LCM | {"prediction_type": "sample", "rescale_betas_zero_snr": True}, 3),
    # Rectified flow
    "flow_euler_defaults": (None, own("flow_euler"), 5),
    "flow_euler_shift_3": (None, FLOW | {"shift": 3.0}, 8),
    "flow_euler_one_step": (None, FLOW, 1),
    "flow_euler_stochastic": (None, FLOW | {"shift": 1.5, "stochastic_sampling": True}, 4),
    "flow_euler_terminal": (None, FLOW | {"shift": 2.0, "shift_terminal": 0.1}, 6),
    "flow_euler_karras": (None, FLOW | {"use_karras_sigmas": True}, 6),
    "flow_euler_exponential": (None, FLOW | {"use_exponential_sigmas": True, "num_train_timesteps": 500}, 6),
    "flow_euler_from_sd15": ("flow_euler", SD15, 6),
    # A field listed here had its default when the file was written: another class takes its own default.
    "euler_use_default_values": ("euler", SD15 | {"timestep_spacing": "trailing", "_use_default_values": ["timestep_spacing", "beta_end"]}, 5),
}


def scheduler_of(name, config):
    class_name = CLASSES[name].__name__ if name else config["_class_name"]
    original = getattr(diffusers, config["_class_name"]).from_config(config)
    if name is None:
        return original
    by_hop = getattr(diffusers, class_name).from_config(original.config)
    if not config.get("_use_default_values"):
        # What Fraise does, without the pipeline's own scheduler in between, is the same thing.
        straight = getattr(diffusers, class_name).from_config(config)
        for key in by_hop._get_init_keys(by_hop) - {"self"}:
            assert by_hop.config[key] == straight.config[key], (name, key)
    return by_hop


def run(case, name, config, steps):
    scheduler = scheduler_of(name, config)
    scheduler.set_timesteps(steps)
    generator = torch.Generator().manual_seed(sum(map(ord, case)))
    drawn = []

    def randn_tensor(shape, dtype=None, **_):
        drawn.append(torch.randn(shape, generator=generator, dtype=dtype))
        return drawn[-1]

    # The flow scheduler neither scales its input nor its initial noise.
    init_noise_sigma = float(getattr(scheduler, "init_noise_sigma", 1.0))
    sample = initial = torch.randn(SHAPE, generator=generator) * init_noise_sigma
    names = ("scaled", "model_outputs", "prev_samples", "pred_original_samples")
    lists = {key: [] for key in names}
    with (
        mock.patch.object(scheduling_lcm, "randn_tensor", randn_tensor),
        mock.patch.object(scheduling_flow_match_euler_discrete, "randn_tensor", randn_tensor),
    ):
        for index, timestep in enumerate(scheduler.timesteps):
            scaled = scheduler.scale_model_input(sample, timestep) if hasattr(scheduler, "scale_model_input") else sample
            # Looks like a model's answer: part of what it was shown, and something else.
            model_output = 0.5 * scaled + 0.5 * torch.randn(SHAPE, generator=generator)
            out = scheduler.step(model_output, timestep, sample)
            original = getattr(out, "pred_original_sample", None)
            if original is None:
                original = getattr(out, "denoised", None)
            if original is None:
                original = sample - scheduler.sigmas[index] * model_output
            for key, value in zip(names, (scaled, model_output, out.prev_sample, original)):
                lists[key].append(value)
            sample = out.prev_sample
    tensors = {key: torch.stack(values) for key, values in lists.items()}
    tensors |= {"timesteps": scheduler.timesteps.double(), "sample": initial}
    if drawn:
        tensors["noise"] = torch.stack(drawn)
    for key, tensor in tensors.items():
        assert tensor.isfinite().all(), (case, key)
    about = {"name": case, "sampler": name, "config": config, "steps": steps, "init_noise_sigma": init_noise_sigma}
    return about, {f"{case}.{key}": tensor.contiguous() for key, tensor in tensors.items()}


def main():
    cases, tensors = [], {}
    for case, (name, config, steps) in CASES.items():
        about, more = run(case, name, config, steps)
        cases.append(about)
        tensors |= more
    out = pathlib.Path(__file__).parent / "goldens" / "sampler_steps.safetensors"
    # One key only: the order of several is not the same on every run.
    metadata = {"golden": json.dumps({"cases": cases, "diffusers": diffusers.__version__, "torch": torch.__version__})}
    save_file(tensors, out, metadata=metadata)
    print(out.name, out.stat().st_size, "bytes,", len(cases), "cases")


if __name__ == "__main__":
    main()
