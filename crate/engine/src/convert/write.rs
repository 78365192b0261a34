//! Carries a plan out: reads the files part by part, and hands the numbers to the pack's writer.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;

use safetensors::Dtype;

use super::file::SafetensorsFile;
use super::lora::Difference;
use super::plan::{Content, Plan, PlannedComponent, Stored};
use super::{ByteSource, ConvertProgress};
use crate::pack::quantize;
use crate::pack::streams::{PieceSink, TensorSource};
use crate::pack::writer::{PackOptions, Written, write_component};
use crate::pack::{Piece, Quantization};
use crate::{Error, Result};

/// Progress is told after at least so many input bytes, and after every piece.
const TOLD_BYTES: u64 = 8 << 20;

/// Writes every component of a plan; `files` are those that it was made from, in the same order.
///
/// # Errors
/// As [`write_component`].
pub async fn write<B: ByteSource>(
    plan: &Plan,
    files: &mut [SafetensorsFile<B>],
    options: PackOptions,
    sink: &mut impl PieceSink,
    on_progress: &mut dyn FnMut(ConvertProgress),
) -> Result<BTreeMap<String, Written>> {
    let total_bytes = plan.components.iter().map(PlannedComponent::input_bytes).sum();
    let mut before_bytes = 0;
    let mut written = BTreeMap::new();
    for component in &plan.components {
        let progress = Progress {
            component,
            before_bytes,
            total_bytes,
            reads_bytes: component.input_bytes() * if options.quantization == Quantization::Mixed { 3 } else { 2 },
            pack_bytes: component.pack_bytes(options)?,
            state: RefCell::new(State { read_bytes: 0, kept_bytes: 0, told_bytes: before_bytes, on_progress }),
        };
        progress.kept(sink.kept(&component.name).iter().map(|piece| piece.bytes).sum());
        let mut source = PlanSource { component, files, loaded: None, progress: &progress };
        let mut watched = Watched { sink, progress: &progress };
        let infos = component.infos();
        let done = write_component(&component.name, options, &infos, &mut source, &mut watched).await?;
        before_bytes += component.input_bytes();
        progress.tell(before_bytes);
        written.insert(component.name.clone(), done);
    }
    Ok(written)
}

/// How far one component is: by what has been read of it or by the pieces that are kept, whichever is further.
struct Progress<'a> {
    component: &'a PlannedComponent,
    /// Input bytes of the components before.
    before_bytes: u64,
    /// Input bytes of all.
    total_bytes: u64,
    /// What the writer reads of this one at most: measures, scales, numbers.
    reads_bytes: u64,
    pack_bytes: u64,
    state: RefCell<State<'a>>,
}

struct State<'a> {
    read_bytes: u64,
    kept_bytes: u64,
    told_bytes: u64,
    on_progress: &'a mut dyn FnMut(ConvertProgress),
}

impl Progress<'_> {
    fn read(&self, bytes: usize) {
        self.state.borrow_mut().read_bytes += bytes as u64;
        let done_bytes = self.done_bytes();
        if done_bytes >= self.state.borrow().told_bytes + TOLD_BYTES {
            self.tell(done_bytes);
        }
    }

    fn kept(&self, bytes: u64) {
        self.state.borrow_mut().kept_bytes += bytes;
        self.tell(self.done_bytes());
    }

    fn done_bytes(&self) -> u64 {
        let state = self.state.borrow();
        let share = |part: u64, whole: u64| {
            let part = u128::from(part.min(whole));
            (u128::from(self.component.input_bytes()) * part / u128::from(whole.max(1))) as u64 // at most the input
        };
        let by_reading = share(state.read_bytes, self.reads_bytes);
        self.before_bytes + by_reading.max(share(state.kept_bytes, self.pack_bytes))
    }

    fn tell(&self, done_bytes: u64) {
        let mut state = self.state.borrow_mut();
        state.told_bytes = state.told_bytes.max(done_bytes);
        let (component, done_bytes) = (self.component.name.clone(), state.told_bytes);
        (state.on_progress)(ConvertProgress { component, done_bytes, total_bytes: self.total_bytes });
    }
}

/// Reports every piece on its way to the sink.
struct Watched<'a, S> {
    sink: &'a mut S,
    progress: &'a Progress<'a>,
}

impl<S: PieceSink> PieceSink for Watched<'_, S> {
    async fn put(&mut self, component: &str, piece: &Piece, bytes: &[u8]) -> Result<()> {
        self.sink.put(component, piece, bytes).await?;
        self.progress.kept(piece.bytes);
        Ok(())
    }

    fn kept(&self, component: &str) -> Vec<Piece> {
        self.sink.kept(component)
    }
}

/// Reads the tensors of one planned component.
struct PlanSource<'a, B> {
    component: &'a PlannedComponent,
    files: &'a mut [SafetensorsFile<B>],
    /// What was last loaded whole, and for which tensor.
    loaded: Option<(usize, Loaded)>,
    progress: &'a Progress<'a>,
}

enum Loaded {
    /// A matrix turned, as bytes.
    Turned(Vec<u8>),
    /// What LoRAs add.
    Differences(Vec<Difference>),
}

impl<B: ByteSource> TensorSource for PlanSource<'_, B> {
    async fn read(&mut self, index: usize, range: Range<usize>) -> Result<Vec<u8>> {
        self.progress.read(range.len());
        let tensor = &self.component.tensors[index];
        if tensor.deltas.is_empty() {
            return self.read_content(index, range).await;
        }
        let (numbers, dtype) = (range.start / 4..range.end / 4, content_dtype(&tensor.content));
        let width = dtype.bitsize() / 8;
        let bytes = self.read_content(index, numbers.start * width..numbers.end * width).await?;
        let name = format!("{}.{}", self.component.name, tensor.info.name);
        let mut values = quantize::decode(&name, dtype, &bytes)?;
        for difference in self.differences(index).await? {
            difference.add_to(&mut values, numbers.start);
        }
        Ok(values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }
}

/// Type of what [`PlanSource::read_content`] gives.
fn content_dtype(content: &Content) -> Dtype {
    match content {
        Content::Bytes(_) => Dtype::U8,
        Content::Stored(stored) | Content::Transposed(stored, _) => stored.dtype,
        Content::Extended(..) => Dtype::F32,
    }
}

impl<B: ByteSource> PlanSource<'_, B> {
    async fn read_content(&mut self, index: usize, range: Range<usize>) -> Result<Vec<u8>> {
        let tensor = &self.component.tensors[index];
        match &tensor.content {
            Content::Bytes(bytes) => Ok(bytes[range].to_vec()),
            Content::Stored(stored) => self.read_stored(*stored, range).await,
            Content::Transposed(stored, shape) => self.read_turned(index, *stored, *shape, range).await,
            Content::Extended(stored, rows) => {
                let width = stored.dtype.bitsize() / 8;
                let stored_numbers = stored.bytes / width;
                let numbers = range.start / 4..range.end / 4;
                let old = numbers.start.min(stored_numbers)..numbers.end.min(stored_numbers);
                let bytes = self.read_stored(*stored, old.start * width..old.end * width).await?;
                let name = format!("{}.{}", self.component.name, tensor.info.name);
                let mut values = quantize::decode(&name, stored.dtype, &bytes)?;
                let new = numbers.start.max(stored_numbers) - stored_numbers
                    ..numbers.end.max(stored_numbers) - stored_numbers;
                values.extend_from_slice(&rows[new]);
                Ok(values.iter().flat_map(|value| value.to_le_bytes()).collect())
            }
        }
    }

    async fn read_stored(&mut self, stored: Stored, range: Range<usize>) -> Result<Vec<u8>> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let start = stored.start + range.start as u64;
        self.files[stored.file].read(start..start + range.len() as u64).await
    }

    async fn read_turned(
        &mut self,
        index: usize,
        stored: Stored,
        [rows, columns]: [usize; 2],
        range: Range<usize>,
    ) -> Result<Vec<u8>> {
        if let Some((loaded, Loaded::Turned(turned))) = &self.loaded
            && *loaded == index
        {
            return Ok(turned[range].to_vec());
        }
        let bytes = self.read_stored(stored, 0..stored.bytes).await?;
        let width = stored.dtype.bitsize() / 8;
        let mut turned = Vec::with_capacity(bytes.len());
        for row in 0..rows {
            for column in 0..columns {
                let start = (column * rows + row) * width;
                turned.extend_from_slice(&bytes[start..start + width]);
            }
        }
        let asked = turned[range].to_vec();
        self.loaded = Some((index, Loaded::Turned(turned)));
        Ok(asked)
    }

    /// What is to be added to the tensor, loaded once for all its parts.
    async fn differences(&mut self, index: usize) -> Result<&[Difference]> {
        let is_loaded = matches!(&self.loaded, Some((loaded, Loaded::Differences(_))) if *loaded == index);
        if !is_loaded {
            let tensor = &self.component.tensors[index];
            let mut differences = Vec::new();
            for delta in &tensor.deltas {
                differences.push(Difference::load(delta, &mut self.files[delta.file], &tensor.info.shape).await?);
            }
            self.loaded = Some((index, Loaded::Differences(differences)));
        }
        match &self.loaded {
            Some((_, Loaded::Differences(differences))) => Ok(differences),
            _ => Err(Error::request("lora", "could not be loaded")),
        }
    }
}
