//! What packing came to: a summary for people, and every tensor's numbers for `--report`.

use std::collections::BTreeMap;

use fraise_engine::pack::Manifest;
use fraise_engine::pack::writer::{TensorReport, Written};
use fraise_engine::weights::Scheme;
use serde_json::{Value, json};

use crate::output::mebibytes;

/// Components as they were written.
type Components = BTreeMap<String, Written>;

/// Lines for standard output: every component, and in it every number format with its count, size and error.
pub fn summary(manifest: &Manifest, components: &Components) -> String {
    let mut text = format!("{} · {} · {} in all\n", manifest.name, manifest.license, mebibytes(manifest.total_bytes));
    for (name, component) in components {
        text += &format!(
            "  {name:<14} {:>12}  {} tensors in {} pieces\n",
            mebibytes(component.bytes),
            component.tensors.len(),
            component.pieces.len()
        );
        for scheme in Scheme::ALL {
            let tensors: Vec<_> = component.tensors.iter().filter(|tensor| tensor.scheme == Some(scheme)).collect();
            text += &line(scheme, &tensors);
        }
    }
    text
}

/// One number format of a component; nothing where no tensor has it.
fn line(scheme: Scheme, tensors: &[&TensorReport]) -> String {
    let by_error = |a: &&&TensorReport, b: &&&TensorReport| a.relative_error.total_cmp(&b.relative_error);
    let Some(worst) = tensors.iter().max_by(by_error) else { return String::new() };
    let bytes: usize = tensors.iter().map(|tensor| tensor.bytes).sum();
    let mut text = format!("    {:<3} {:>8} {:>12}", label(scheme), tensors.len(), mebibytes(bytes as u64));
    if worst.relative_error > 0.0 {
        let mean = tensors.iter().map(|tensor| tensor.relative_error).sum::<f64>() / tensors.len() as f64;
        text += &format!("  relative error {mean:.1e}, at most {:.1e} in {}", worst.relative_error, worst.name);
    }
    text + "\n"
}

/// The content of `--report`'s file. An error is the root mean square of the rounding over that of the tensor.
pub fn json(quant: &str, manifest: &Manifest, components: &Components) -> Value {
    let mut tensors = Vec::new();
    for (component, written) in components {
        let mut reports: Vec<&TensorReport> = written.tensors.iter().collect();
        reports.sort_by(|a, b| a.name.cmp(&b.name));
        tensors.extend(reports.into_iter().map(|tensor| {
            json!({
                "component": component,
                "tensor": tensor.name,
                "shape": tensor.shape,
                "scheme": tensor.scheme.map_or("file", label),
                "elements": tensor.elements,
                "bytes": tensor.bytes,
                "relative_error": tensor.relative_error,
            })
        }));
    }
    json!({ "name": manifest.name, "quant": quant, "total_bytes": manifest.total_bytes, "tensors": tensors })
}

fn label(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::F32 => "f32",
        Scheme::F16 => "f16",
        Scheme::Q8 => "q8",
        Scheme::Q4 => "q4",
    }
}
