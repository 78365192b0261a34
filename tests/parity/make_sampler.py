"""Writes goldens/sampler_steps.safetensors: whole runs of diffusers' schedulers on made-up model outputs.

    python tests/parity/make_sampler.py        (needs diffusers 0.42.1, torch 2.15)

Per case: `timesteps`, the initial `sample`, the `model_outputs`, the `scaled` model inputs, all `prev_samples` and
`pred_original_samples`, and the `noise` that was drawn. Every configuration is read from a saved scheduler_config.json by
`from_pretrained` of the class that the case's sampler names, or of the file's own: what `from_config` makes of the
configuration of a scheduler that was loaded from that file.
"""

import contextlib
import json
import pathlib
import sys
import tempfile
from unittest import mock

import diffusers
import torch
from safetensors.torch import save_file

SHAPE = (1, 1, 2, 4)
CLASSES = {
    "ddim": diffusers.DDIMScheduler,
    "pndm": diffusers.PNDMScheduler,
    "euler": diffusers.EulerDiscreteScheduler,
    "euler_a": diffusers.EulerAncestralDiscreteScheduler,
    "dpmpp_2m": diffusers.DPMSolverMultistepScheduler,
    "dpmpp_2m_karras": diffusers.DPMSolverMultistepScheduler,
    "dpmpp_sde": diffusers.DPMSolverMultistepScheduler,
    "heun": diffusers.HeunDiscreteScheduler,
    "lcm": diffusers.LCMScheduler,
    "tcd": diffusers.TCDScheduler,
    "flow_euler": diffusers.FlowMatchEulerDiscreteScheduler,
}
# What a name sets beyond its class.
ARGUMENTS = {
    "dpmpp_2m_karras": {"use_karras_sigmas": True},
    "dpmpp_sde": {"algorithm_type": "sde-dpmsolver++"},
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
# `eta` is an argument of diffusers' pipelines, 0 by default; a pack may keep it among the scheduler's fields.
TCD = LCM | {"_class_name": "TCDScheduler", "eta": 0.3}
# scheduler_config.json of models that ship DPM-Solver++.
DPM = SD | {
    "_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "dpmsolver++", "dynamic_thresholding_ratio": 0.995,
    "euler_at_final": False, "final_sigmas_type": "zero", "lower_order_final": True, "prediction_type": "epsilon",
    "solver_order": 2, "solver_type": "midpoint", "steps_offset": 1, "thresholding": False, "timestep_spacing": "leading",
    "use_karras_sigmas": False, "use_lu_lambdas": False, "variance_type": None,
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
    # PNDM
    "pndm_sd15": (None, SD15, 10),
    "pndm_sd15_seven_steps": ("pndm", SD15, 7),
    "pndm_one_step": (None, SD15, 1),
    "pndm_two_steps": (None, SD15, 2),
    "pndm_v_trailing": ("pndm", SD21 | {"timestep_spacing": "trailing"}, 6),
    "pndm_linspace_alpha_one": (None, SD15 | {"timestep_spacing": "linspace", "set_alpha_to_one": True}, 5),
    "pndm_prk_defaults": (None, own("pndm"), 6),
    "pndm_prk_v_four_steps": (None, SD15 | {"skip_prk_steps": False, "prediction_type": "v_prediction"}, 4),
    "pndm_prk_linspace": (None, own("pndm", timestep_spacing="linspace"), 9),
    "pndm_knows_no_zero_snr": ("pndm", TURBO | {"rescale_betas_zero_snr": True}, 4),
    # Euler, ancestral
    "euler_a_defaults": (None, own("euler_a"), 5),
    "euler_a_sd15": ("euler_a", SD15, 10),
    "euler_a_sd21_v": ("euler_a", SD21, 6),
    "euler_a_turbo_one_step": ("euler_a", TURBO, 1),
    "euler_a_leading": (None, own("euler_a", **SD, timestep_spacing="leading", steps_offset=1), 7),
    "euler_a_zero_snr_v": ("euler_a", TURBO | {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction"}, 5),
    # DPM-Solver++
    "dpmpp_2m_defaults": (None, own("dpmpp_2m"), 5),
    "dpmpp_2m_sd15": ("dpmpp_2m", SD15, 10),
    "dpmpp_2m_many_steps": ("dpmpp_2m", SD15, 17),
    "dpmpp_2m_one_step": ("dpmpp_2m", SD15, 1),
    "dpmpp_2m_leading": (None, DPM, 7),
    "dpmpp_2m_trailing_v": ("dpmpp_2m", SD21 | {"timestep_spacing": "trailing"}, 6),
    "dpmpp_2m_sample": (None, DPM | {"prediction_type": "sample"}, 5),
    "dpmpp_2m_zero_snr_v": (None, DPM | {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}, 6),
    "dpmpp_2m_heun": (None, DPM | {"solver_type": "heun", "lower_order_final": False}, 6),
    "dpmpp_2m_sigma_min": (None, DPM | {"final_sigmas_type": "sigma_min", "lower_order_final": False}, 6),
    "dpmpp_2m_first_order": (None, DPM | {"solver_order": 1}, 4),
    "dpmpp_2m_third_order": (None, DPM | {"solver_order": 3, "timestep_spacing": "linspace"}, 7),
    "dpmpp_2m_third_order_euler_at_final": (None, DPM | {"solver_order": 3, "lower_order_final": False, "euler_at_final": True, "final_sigmas_type": "sigma_min"}, 6),
    "dpmpp_2m_noise": (None, DPM | {"algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min", "prediction_type": "v_prediction"}, 6),
    "dpmpp_2m_noise_heun": (None, DPM | {"algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min", "solver_type": "heun"}, 5),
    "dpmpp_2m_noise_third_order": (None, DPM | {"algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min", "solver_order": 3, "prediction_type": "sample"}, 6),
    "dpmpp_2m_cosine_clipped": (None, own("dpmpp_2m", beta_schedule="squaredcos_cap_v2", lambda_min_clipped=-5.1), 6),
    "dpmpp_2m_cosine_clipped_trailing": (None, own("dpmpp_2m", beta_schedule="squaredcos_cap_v2", lambda_min_clipped=-2.0, timestep_spacing="trailing"), 9),
    "dpmpp_2m_own_karras": (None, DPM | {"use_karras_sigmas": True}, 5),
    "dpmpp_2m_exponential": (None, DPM | {"use_exponential_sigmas": True}, 6),
    "dpmpp_2m_lu": (None, DPM | {"use_lu_lambdas": True}, 6),
    "dpmpp_2m_lu_cosine": (None, own("dpmpp_2m", beta_schedule="squaredcos_cap_v2", use_lu_lambdas=True, use_exponential_sigmas=True), 5),
    "dpmpp_2m_karras_sd15": ("dpmpp_2m_karras", SD15, 10),
    "dpmpp_2m_karras_many_steps": ("dpmpp_2m_karras", DPM, 16),
    "dpmpp_2m_karras_v": ("dpmpp_2m_karras", SD21, 6),
    "dpmpp_2m_karras_bounds": ("dpmpp_2m_karras", TURBO | {"sigma_min": 0.1, "sigma_max": 12.0}, 5),
    "dpmpp_2m_karras_cosine": ("dpmpp_2m_karras", own("dpmpp_2m", beta_schedule="squaredcos_cap_v2"), 6),
    "dpmpp_2m_karras_one_step": ("dpmpp_2m_karras", SD15, 1),
    "dpmpp_2m_karras_over_default": ("dpmpp_2m_karras", SD15 | {"use_karras_sigmas": False, "_use_default_values": ["use_karras_sigmas"]}, 3),
    "dpmpp_sde_sd15": ("dpmpp_sde", SD15, 10),
    "dpmpp_sde_one_step": ("dpmpp_sde", SD15, 1),
    "dpmpp_sde_v": ("dpmpp_sde", SD21, 6),
    "dpmpp_sde_own_karras": (None, DPM | {"algorithm_type": "sde-dpmsolver++", "use_karras_sigmas": True}, 6),
    "dpmpp_sde_heun": ("dpmpp_sde", DPM | {"solver_type": "heun", "prediction_type": "sample"}, 5),
    "dpmpp_sde_third_order": ("dpmpp_sde", DPM | {"solver_order": 3, "euler_at_final": True}, 7),
    "dpmpp_sde_noise": (None, DPM | {"algorithm_type": "sde-dpmsolver", "final_sigmas_type": "sigma_min"}, 6),
    "dpmpp_sde_noise_heun": (None, DPM | {"algorithm_type": "sde-dpmsolver", "final_sigmas_type": "sigma_min", "solver_type": "heun"}, 5),
    # Heun
    "heun_defaults": (None, own("heun"), 4),
    "heun_sd15": ("heun", SD15, 7),
    "heun_one_step": ("heun", SD15, 1),
    "heun_v_trailing": ("heun", SD21 | {"timestep_spacing": "trailing"}, 4),
    "heun_leading_sample_clipped": (None, own("heun", **SD, timestep_spacing="leading", prediction_type="sample", clip_sample=True, clip_sample_range=0.7), 4),
    "heun_karras": (None, own("heun", **SD, use_karras_sigmas=True), 5),
    "heun_exponential_bounds": ("heun", TURBO | {"use_exponential_sigmas": True, "sigma_min": 0.1, "sigma_max": 12.0}, 3),
    "heun_knows_no_zero_snr": ("heun", TURBO | {"rescale_betas_zero_snr": True}, 3),
    # TCD
    "tcd_defaults": (None, own("tcd"), 4),
    "tcd_lcm": ("tcd", LCM, 4),
    "tcd_one_step": (None, TCD, 1),
    "tcd_seven_of_hundred": (None, TCD | {"original_inference_steps": 100}, 7),
    "tcd_sd15": ("tcd", SD15, 6),
    "tcd_v_zero_snr": (None, TCD | {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}, 5),
    "tcd_sample": (None, TCD | {"prediction_type": "sample"}, 3),
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
    class_ = CLASSES[name] if name else getattr(diffusers, config["_class_name"])
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "scheduler_config.json").write_text(json.dumps(config))
        return class_.from_pretrained(folder, **ARGUMENTS.get(name, {}))


def pred_original_sample(scheduler, index, model_output, sample):
    """The noise-free sample where the scheduler does not give it: TCD, PNDM, DPM-Solver and rectified flow."""
    if isinstance(scheduler, CLASSES["flow_euler"]):
        return sample - scheduler.sigmas[index] * model_output
    if isinstance(scheduler, CLASSES["dpmpp_2m"]):
        alpha_prod = 1 / (scheduler.sigmas[index] ** 2 + 1)
    else:
        alpha_prod = scheduler.alphas_cumprod[scheduler.timesteps[index]]
    signal, noise = alpha_prod.sqrt(), (1 - alpha_prod).sqrt()
    return {
        "epsilon": lambda: (sample - noise * model_output) / signal,
        "v_prediction": lambda: signal * sample - noise * model_output,
        "sample": lambda: model_output,
    }[scheduler.config.prediction_type]()


def run(case, name, config, steps):
    scheduler = scheduler_of(name, config)
    scheduler.set_timesteps(steps)
    # Without it, two first timesteps that round to one make some classes skip a step and then run out of them.
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(0)
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
    # Every class's module has the function under its own name.
    modules = {sys.modules[class_.__module__] for class_ in CLASSES.values()}
    with contextlib.ExitStack() as stack:
        for module in modules:
            if hasattr(module, "randn_tensor"):
                stack.enter_context(mock.patch.object(module, "randn_tensor", randn_tensor))
        for index, timestep in enumerate(scheduler.timesteps):
            scaled = scheduler.scale_model_input(sample, timestep) if hasattr(scheduler, "scale_model_input") else sample
            # Looks like a model's answer: part of what it was shown, and something else.
            model_output = 0.5 * scaled + 0.5 * torch.randn(SHAPE, generator=generator)
            eta = {"eta": config.get("eta", 0.0)} if isinstance(scheduler, diffusers.TCDScheduler) else {}
            out = scheduler.step(model_output, timestep, sample, **eta)
            original = getattr(out, "pred_original_sample", None)
            if original is None:
                original = getattr(out, "denoised", None)
            if original is None:
                original = pred_original_sample(scheduler, index, model_output, sample)
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
