//! Sums of tensors, each times a number, in one pass: what a sampler does at every step, guidance included.
//!
//! A [`Blend`] is only written down until it is computed. The same tensor counts once in it, however often it was added.

use std::cell::Cell;
use std::ops::{Add, Sub};

use burn::tensor::{Device, Tensor};

use super::launch::{Wgsl, entry, launch, on_gpu, prelude};

/// Tensors that one pass reads: with the result, as many buffers as WebGPU promises.
const MOST_SOURCES: usize = 7;

/// Σ wᵢ·xᵢ of tensors of one shape.
#[derive(Debug, Clone)]
pub struct Blend {
    terms: Vec<Term>,
    shape: [usize; 4],
}

/// Some rows of a tensor, times a number.
#[derive(Debug, Clone)]
struct Term {
    /// The same for terms of the same tensor.
    source: u64,
    tensor: Tensor<4>,
    /// The first of its rows.
    first: usize,
    weight: f64,
}

impl From<Tensor<4>> for Blend {
    fn from(tensor: Tensor<4>) -> Self {
        let shape = tensor.dims();
        Self { terms: vec![Term { source: next_source(), tensor, first: 0, weight: 1.0 }], shape }
    }
}

fn next_source() -> u64 {
    thread_local! {
        static LAST: Cell<u64> = const { Cell::new(0) };
    }
    LAST.set(LAST.get() + 1);
    LAST.get()
}

impl Blend {
    /// The first half of a tensor's rows, and the second.
    ///
    /// # Shapes
    /// [2·B, C, h, w] → [B, C, h, w] twice.
    pub fn halves(tensor: Tensor<4>) -> [Self; 2] {
        let [rows, channels, height, width] = tensor.dims();
        let (source, half) = (next_source(), rows / 2);
        [0, half].map(|first| Self {
            terms: vec![Term { source, tensor: tensor.clone(), first, weight: 1.0 }],
            shape: [half, channels, height, width],
        })
    }

    /// Times a number.
    pub fn mul_scalar(mut self, by: impl Into<f64>) -> Self {
        let by = by.into();
        self.terms.iter_mut().for_each(|term| term.weight *= by);
        self
    }

    /// Divided by a number.
    pub fn div_scalar(mut self, by: impl Into<f64>) -> Self {
        let by = by.into();
        self.terms.iter_mut().for_each(|term| term.weight /= by);
        self
    }

    /// Computed, with each number brought between two.
    pub fn clamp(self, least: f32, most: f32) -> Self {
        self.compute().clamp(least, most).into()
    }

    /// The sum. Shape: that of the tensors.
    pub fn compute(self) -> Tensor<4> {
        if let [Term { tensor, first: 0, weight: 1.0, .. }] = &self.terms[..]
            && tensor.dims() == self.shape
        {
            return tensor.clone();
        }
        let mut sources: Vec<u64> = self.terms.iter().map(|term| term.source).collect();
        sources.sort_unstable();
        sources.dedup();
        if sources.len() > MOST_SOURCES {
            let last = sources[MOST_SOURCES - 1];
            let (now, later) = self.terms.into_iter().partition(|term| term.source <= last);
            let of = |terms| Self { terms, shape: self.shape };
            return (Self::from(of(now).compute()) + of(later)).compute();
        }
        self.launch(&sources).unwrap_or_else(|| self.reference())
    }

    /// Plain-tensor twin of [`Self::compute`].
    pub fn reference(&self) -> Tensor<4> {
        let terms = self.terms.iter().map(|Term { tensor, first, weight, .. }| {
            tensor.clone().narrow(0, *first, self.shape[0]).mul_scalar(*weight)
        });
        terms.reduce(Tensor::add).unwrap_or_else(|| Tensor::zeros(self.shape, &Device::default()))
    }

    /// The sum on the GPU, or `None` where the tensors live on the CPU.
    fn launch(&self, sources: &[u64]) -> Option<Tensor<4>> {
        let place = |term: &Term| sources.partition_point(|source| *source < term.source) as u32;
        let tensors = sources.iter().map(|source| {
            let term = self.terms.iter().find(|term| term.source == *source)?;
            on_gpu(&term.tensor)
        });
        let tensors = tensors.collect::<Option<Vec<_>>>()?;
        let count: usize = self.shape.iter().product();
        let row = count / self.shape[0];
        let of_terms = self.terms.iter().flat_map(|term| [(term.first * row) as u32, (term.weight as f32).to_bits()]);
        let info = [count as u32].into_iter().chain(of_terms).collect();
        let kernel = Wgsl::new(("blend", self.terms.iter().map(place).collect()), text, info);
        Some(launch(kernel, count, &tensors.iter().collect::<Vec<_>>(), self.shape))
    }
}

impl Add for Blend {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        debug_assert_eq!(self.shape, other.shape, "tensors of one shape");
        for term in other.terms {
            match self.terms.iter_mut().find(|own| (own.source, own.first) == (term.source, term.first)) {
                Some(own) => own.weight += term.weight,
                None => self.terms.push(term),
            }
        }
        self
    }
}

impl Sub for Blend {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self + other.mul_scalar(-1.0)
    }
}

/// `places`: of each term, which of the buffers it is in.
fn text(places: &[u32]) -> String {
    let count = places.iter().max().map_or(0, |last| last + 1);
    let buffers: Vec<_> = (0..count).map(|place| format!("x{place}")).chain(["y".to_owned()]).collect();
    let buffers: Vec<_> = buffers.iter().map(|name| (name.as_str(), "f32")).collect();
    let fields = (0..places.len()).flat_map(|term| [format!("first{term}"), format!("weight{term}")]);
    let fields: Vec<_> = ["count".to_owned()].into_iter().chain(fields).collect();
    let sum: Vec<_> = (places.iter().enumerate())
        .map(|(term, place)| format!("bitcast<f32>(info.weight{term}) * x{place}[i + info.first{term}]"))
        .collect();
    prelude(&buffers, &fields.iter().map(String::as_str).collect::<Vec<_>>())
        + &entry("info.count")
        + &format!("y[i] = {};\n}}\n", sum.join(" + "))
}
