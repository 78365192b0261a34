//! LoRAs: which weight each of a file's matrices belongs to, and their sum with it.
//!
//! Names are kohya's (`lora_unet_…`, `lora_te_…`, for SDXL also in the original layout's names), or diffusers' and
//! PEFT's (`unet.….lora_A.weight`). A module's difference is `weight · α/rank · up · down`.
//!
//! Source: Hu et al., *LoRA: Low-Rank Adaptation of Large Language Models* (2021); diffusers 0.42.1
//! `loaders/lora_conversion_utils.py` for the names, PEFT 0.21 `tuners/lora` for α.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::ByteSource;
use super::file::SafetensorsFile;
use super::plan::{Delta, Plan};
use super::unet_table::original_names;
use crate::{Error, Result};

/// Components that LoRAs change, with the beginnings of their names in kohya's files and in diffusers'.
const PARTS: [(&str, &[&str], &str); 3] = [
    ("unet", &["lora_unet_"], "unet."),
    ("text_encoder_2", &["lora_te2_"], "text_encoder_2."),
    ("text_encoder", &["lora_te1_", "lora_te_"], "text_encoder."),
];

/// Ends of the names of a module's tensors.
const ENDS: [(&str, Role); 16] = [
    (".lora_down.weight", Role::Down),
    (".lora_up.weight", Role::Up),
    (".lora_mid.weight", Role::Mid),
    (".lora_A.weight", Role::Down),
    (".lora_B.weight", Role::Up),
    (".lora_A.default.weight", Role::Down),
    (".lora_B.default.weight", Role::Up),
    (".lora_linear_layer.down.weight", Role::Down),
    (".lora_linear_layer.up.weight", Role::Up),
    (".lora.down.weight", Role::Down),
    (".lora.up.weight", Role::Up),
    ("_lora.down.weight", Role::Down),
    ("_lora.up.weight", Role::Up),
    (".lora_linear_layer.alpha", Role::Alpha),
    (".lora.alpha", Role::Alpha),
    (".alpha", Role::Alpha),
];

/// Most ranks accepted.
const MAX_RANK: usize = 4096;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Down,
    Up,
    Mid,
    Alpha,
}

/// The tensors of one module in a LoRA file, by name.
#[derive(Debug, Default)]
struct Module {
    down: Option<String>,
    up: Option<String>,
    mid: Option<String>,
    alpha: Option<String>,
}

/// Adds the LoRA in the file of index `index` to a plan, `weight` times.
///
/// # Errors
/// [`Error::UnexpectedTensor`] naming a tensor that matches no weight of the model; [`Error::ShapeMismatch`] for one
/// that does not fit it; [`Error::Request`] for kinds of adapters that are not LoRAs; [`Error::MissingTensor`] where
/// one of a pair is missing.
pub async fn add<B: ByteSource>(
    plan: &mut Plan,
    index: usize,
    file: &mut SafetensorsFile<B>,
    weight: f32,
) -> Result<()> {
    if !weight.is_finite() {
        return Err(Error::request("lora", format!("weight {weight} is no number")));
    }
    let targets = Targets::new(plan);
    let alphas = Alphas::new(file)?;
    let mut found: Vec<(String, String, Delta)> = Vec::new();
    for (name, module) in modules(file)? {
        let first = [&module.down, &module.up, &module.mid, &module.alpha].into_iter().flatten().next();
        let first = first.cloned().unwrap_or_default();
        let named = |tensor: &str| format!("{}: {tensor}", file.name());
        let Some((component, target)) = targets.find(&name) else {
            return Err(Error::UnexpectedTensor { name: named(&first) });
        };
        let (Some(up), Some(down)) = (module.up, module.down) else {
            return Err(Error::MissingTensor { name: format!("{} (the other half of {first})", named(&name)) });
        };
        let shape = targets.shape(&component, &target);
        let rank = check_shapes(file, [&up, &down], module.mid.as_deref(), shape)?;
        let alpha = match module.alpha {
            Some(alpha) => file.numbers(&alpha).await?.first().copied(),
            None => alphas.of(&component),
        };
        let factor = weight * alpha.map_or(1.0, |alpha| alpha / rank as f32);
        found.push((component, target, Delta { file: index, up, down, mid: module.mid, factor }));
    }
    if found.is_empty() {
        return Err(Error::request("lora", format!("{} holds no LoRA", file.name())));
    }
    for (component, target, delta) in found {
        if let Some(tensor) = plan.component_mut(&component).and_then(|component| component.tensor_mut(&target)) {
            tensor.deltas.push(delta);
            tensor.widen();
        }
    }
    Ok(())
}

/// The file's tensors by module.
fn modules<B: ByteSource>(file: &SafetensorsFile<B>) -> Result<BTreeMap<String, Module>> {
    let mut modules: BTreeMap<String, Module> = BTreeMap::new();
    for place in file.places() {
        let name = &place.info.name;
        let Some((module, role)) = ENDS.iter().find_map(|(end, role)| Some((name.strip_suffix(end)?, *role))) else {
            let kinds = ["hada_", "lokr_", "dora_scale", "magnitude_vector", ".diff", "oft_", "_norm"];
            return Err(match kinds.iter().any(|kind| name.contains(kind)) {
                true => Error::request(
                    "lora",
                    format!(
                        "{} holds `{name}`: LoHa, LoKr, DoRA, OFT and full differences are not supported",
                        file.name()
                    ),
                ),
                false => Error::UnexpectedTensor { name: format!("{}: {name}", file.name()) },
            });
        };
        let module = modules.entry(module.to_owned()).or_default();
        let slot = match role {
            Role::Down => &mut module.down,
            Role::Up => &mut module.up,
            Role::Mid => &mut module.mid,
            Role::Alpha => &mut module.alpha,
        };
        *slot = Some(name.clone());
    }
    Ok(modules)
}

/// The rank, where the factors' product has as many numbers as the weight, in its order.
fn check_shapes<B: ByteSource>(
    file: &SafetensorsFile<B>,
    [up, down]: [&str; 2],
    mid: Option<&str>,
    weight: &[usize],
) -> Result<usize> {
    let shape = |name: &str| file.get(name).map_or(&[][..], |place| &place.info.shape);
    let length = |shape: &[usize]| shape.iter().product::<usize>();
    let wrong = |name: &str, expected: Vec<usize>| {
        let name_in_file = format!("{}: {name}", file.name());
        Err(Error::ShapeMismatch { name: name_in_file, expected, found: shape(name).to_vec() })
    };
    let rank = shape(down).first().copied().unwrap_or(0);
    let [outputs, inputs @ ..] = weight else { return wrong(down, weight.to_vec()) };
    let kernel: &[usize] = if mid.is_some() { inputs.get(1..).unwrap_or_default() } else { &[] };
    let inputs = &inputs[..inputs.len() - kernel.len()];
    if !(1..=MAX_RANK).contains(&rank) || length(shape(down)) != rank * length(inputs) {
        return wrong(down, [&[rank], inputs].concat());
    }
    if shape(up).first() != Some(outputs) || length(shape(up)) != outputs * rank {
        return wrong(up, vec![*outputs, rank]);
    }
    match mid {
        Some(mid) if shape(mid) != [&[rank, rank], kernel].concat() => wrong(mid, [&[rank, rank], kernel].concat()),
        _ => Ok(rank),
    }
}

/// The model's weights by every name that LoRA files have for them.
struct Targets {
    /// (component, flattened module name) → tensor.
    flat: HashMap<(&'static str, String), String>,
    shapes: HashMap<(&'static str, String), Vec<usize>>,
}

impl Targets {
    fn new(plan: &Plan) -> Self {
        let mut targets = Self { flat: HashMap::new(), shapes: HashMap::new() };
        for (part, ..) in PARTS {
            let Some(component) = plan.component(part) else { continue };
            for tensor in &component.tensors {
                let name = &tensor.info.name;
                let Some(module) = name.strip_suffix(".weight").filter(|_| tensor.info.shape.len() > 1) else {
                    continue;
                };
                let flat = module.replace('.', "_");
                // Text encoders lie one level deeper in older files than in newer ones.
                let deeper = format!("text_model_{flat}");
                let shallower = flat.strip_prefix("text_model_").map(str::to_owned);
                for alias in [Some(deeper), shallower, Some(flat)].into_iter().flatten() {
                    targets.flat.insert((part, alias), name.clone());
                }
                targets.shapes.insert((part, name.clone()), tensor.info.shape.clone());
            }
        }
        let unet = plan.component("unet").map_or(&Value::Null, |component| &component.config);
        for (original, name) in original_names(unet) {
            if targets.shapes.contains_key(&("unet", name.clone())) {
                targets.flat.entry(("unet", original)).or_insert(name);
            }
        }
        targets
    }

    /// The component and the tensor that a module's name in a LoRA file stands for.
    fn find(&self, module: &str) -> Option<(String, String)> {
        let module = module.strip_prefix("base_model.model.").unwrap_or(module);
        for (part, kohya, diffusers) in PARTS {
            let flat = kohya.iter().find_map(|start| module.strip_prefix(start).map(str::to_owned));
            let dotted = || module.strip_prefix(diffusers).map(flattened);
            if let Some(flat) = flat.or_else(dotted) {
                let tensor = self.flat.get(&(part, flat))?;
                return Some((part.to_owned(), tensor.clone()));
            }
        }
        None
    }

    fn shape(&self, component: &str, tensor: &str) -> &[usize] {
        let key = PARTS.iter().find(|(part, ..)| *part == component).map(|(part, ..)| (*part, tensor.to_owned()));
        key.and_then(|key| self.shapes.get(&key)).map_or(&[], Vec::as_slice)
    }
}

/// A dotted module name with `_` for `.`. Older files name attention's processors rather than its layers, and text
/// encoders' projections as UNets have them.
fn flattened(module: &str) -> String {
    let flat = module.replace(".processor.", ".").replace('.', "_");
    let is_text = flat.contains("self_attn");
    match (flat.strip_suffix("_to_out"), is_text) {
        (Some(start), true) => return format!("{start}_out_proj"),
        (Some(start), false) => return format!("{start}_to_out_0"),
        (None, _) => {}
    }
    let projection = |name: &str| flat.strip_suffix(&format!("_to_{name}")).filter(|_| is_text);
    match ["q", "k", "v"].into_iter().find_map(|name| Some(format!("{}_{name}_proj", projection(name)?))) {
        Some(projection) => projection,
        None => flat,
    }
}

/// α by component, from the metadata that newer files carry instead of tensors.
struct Alphas(BTreeMap<String, f32>);

impl Alphas {
    fn new<B: ByteSource>(file: &SafetensorsFile<B>) -> Result<Self> {
        let Some(text) = file.header().metadata.get("lora_adapter_metadata") else { return Ok(Self(BTreeMap::new())) };
        let wrong = |reason: &str| Error::request("lora", format!("{}: lora_adapter_metadata {reason}", file.name()));
        let metadata: Value = serde_json::from_str(text).map_err(|error| wrong(&error.to_string()))?;
        let mut alphas = BTreeMap::new();
        for (part, ..) in PARTS {
            let field = |name: &str| &metadata[format!("{part}.{name}")];
            let is_set = |name: &str| match field(name) {
                Value::Bool(is_set) => *is_set,
                Value::Object(pattern) => !pattern.is_empty(),
                _ => false,
            };
            if let Some(name) = ["use_dora", "use_rslora", "alpha_pattern"].into_iter().find(|name| is_set(name)) {
                return Err(wrong(&format!("sets {name}, which is not supported")));
            }
            if let Some(alpha) = field("lora_alpha").as_f64() {
                alphas.insert(part.to_owned(), alpha as f32);
            }
        }
        Ok(Self(alphas))
    }

    fn of(&self, component: &str) -> Option<f32> {
        self.0.get(component).copied()
    }
}

/// A [`Delta`] with its factors in memory.
#[derive(Debug)]
pub struct Difference {
    /// [outputs, rank], times the delta's factor.
    up: Vec<f32>,
    /// [rank, columns].
    down: Vec<f32>,
    rank: usize,
    columns: usize,
}

impl Difference {
    /// Loads the factors of the difference for a weight of `shape`.
    ///
    /// # Errors
    /// As [`SafetensorsFile::numbers`].
    pub async fn load<B: ByteSource>(delta: &Delta, file: &mut SafetensorsFile<B>, shape: &[usize]) -> Result<Self> {
        let mut up = file.numbers(&delta.up).await?;
        let mut down = file.numbers(&delta.down).await?;
        let columns: usize = shape.iter().skip(1).product();
        let rank = up.len() / shape.first().copied().unwrap_or(1).max(1);
        up.iter_mut().for_each(|value| *value *= delta.factor);
        if let Some(mid) = &delta.mid {
            down = with_kernel(&file.numbers(mid).await?, &down, rank);
        }
        Ok(Self { up, down, rank, columns })
    }

    /// Adds the difference to the weight's numbers from the one at `start` of its flattened form.
    pub fn add_to(&self, values: &mut [f32], start: usize) {
        let (mut at, mut values) = (start, values);
        while !values.is_empty() {
            let (row, column) = (at / self.columns, at % self.columns);
            let length = values.len().min(self.columns - column);
            let (chunk, rest) = std::mem::take(&mut values).split_at_mut(length);
            let mut sum = vec![0.0f32; chunk.len()];
            for rank in 0..self.rank {
                let factor = self.up[row * self.rank + rank];
                let down = &self.down[rank * self.columns + column..][..chunk.len()];
                sum.iter_mut().zip(down).for_each(|(sum, value)| *sum += factor * value);
            }
            chunk.iter_mut().zip(&sum).for_each(|(value, sum)| *value += sum);
            at += chunk.len();
            values = rest;
        }
    }
}

/// `down` of [rank, inputs] behind a kernel of [rank, rank, ky, kx]: [rank, inputs, ky, kx].
fn with_kernel(kernel: &[f32], down: &[f32], rank: usize) -> Vec<f32> {
    let (inputs, taps) = (down.len() / rank, kernel.len() / (rank * rank));
    let mut product = vec![0.0; rank * inputs * taps];
    for (outer, row) in product.chunks_mut(inputs * taps).enumerate() {
        for inner in 0..rank {
            let taps_of = &kernel[(outer * rank + inner) * taps..][..taps];
            for (input, target) in row.chunks_mut(taps).enumerate() {
                let value = down[inner * inputs + input];
                target.iter_mut().zip(taps_of).for_each(|(target, tap)| *target += value * tap);
            }
        }
    }
    product
}
