//! The engine's goldens in a browser, for `tests/browser`. Built only with the feature `parity`.

use std::collections::BTreeMap;

use fraise_engine::parity::{self, Files};
use js_sys::{Array, Object, Uint8Array};
use serde::Serialize;
use wasm_bindgen::prelude::*;

use crate::FraiseEngine;
use crate::error::{serialize_or_throw, to_js};

/// How far one result is from the reference, with the verdict.
#[derive(Serialize)]
struct Verdict {
    name: String,
    relative: f64,
    tolerance: f64,
    passes: bool,
}

#[wasm_bindgen]
impl FraiseEngine {
    /// Every case with the files that it wants: `{[name]: string[]}`, paths below `tests/parity/goldens`.
    ///
    /// # Errors
    /// `Manifest` where the index is broken.
    #[wasm_bindgen(js_name = parityCases)]
    pub fn parity_cases() -> Result<JsValue, JsValue> {
        let cases = parity::cases().map_err(|error| to_js(&error))?;
        let files: BTreeMap<_, _> = cases.iter().map(|case| (case.name.as_str(), case.files())).collect();
        serialize_or_throw(&files)
    }

    /// Runs a case on this engine's device: `[{name, relative, tolerance, passes}]`.
    ///
    /// `files`: the case's files by path, as `Uint8Array`s.
    ///
    /// # Errors
    /// What the engine reports, the device's own among it.
    #[wasm_bindgen(js_name = parityCase)]
    pub async fn parity_case(&self, name: String, files: Object) -> Result<JsValue, JsValue> {
        let files: Files = Object::entries(&files)
            .iter()
            .filter_map(|entry| {
                let entry: Array = entry.dyn_into().ok()?;
                Some((entry.get(0).as_string()?, entry.get(1).dyn_into::<Uint8Array>().ok()?.to_vec()))
            })
            .collect();
        let compute = self.compute();
        let comparisons = parity::run_case(&name, &files, &compute.device).await.map_err(|error| to_js(&error))?;
        compute.finish().await.map_err(|error| to_js(&error))?;
        let verdicts: Vec<_> = comparisons
            .iter()
            .map(|comparison| Verdict {
                name: comparison.name.clone(),
                relative: comparison.relative(),
                tolerance: comparison.tolerance,
                passes: comparison.passes(),
            })
            .collect();
        serialize_or_throw(&verdicts)
    }
}
