//! Makes a component of a pack: tensors in, pieces of one safetensors file out, a few megabytes at a time.
//!
//! The result depends on names, shapes and numbers alone, so packing twice gives the same bytes.

use std::collections::BTreeMap;
use std::ops::Range;

use safetensors::Dtype;

use super::cutter::Cutter;
use super::header::{FileTensorInfo, QUANTIZATION, TensorInfo};
use super::layout::{Layout, Quantization};
use super::manifest::{MAX_PIECE_BYTES, Piece};
use super::mixed;
use super::quantize::{self, BLOCK, Encoded, Rounding};
use super::streams::{PieceSink, TensorSource, chunks};
use crate::weights::Scheme;
use crate::{Error, Result};

/// What the packer is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackOptions {
    /// How weights are stored where [`Layout`] allows it.
    pub quantization: Quantization,
    /// Length of every piece but a component's last, 1 to [`MAX_PIECE_BYTES`].
    pub piece_bytes: u64,
}

/// A component as it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// The pieces in order.
    pub pieces: Vec<Piece>,
    /// Their total length.
    pub bytes: u64,
    /// What became of each tensor, in the order of the list given.
    pub tensors: Vec<TensorReport>,
}

/// What became of one tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorReport {
    /// Its name in the pack.
    pub name: String,
    /// Its length along each dimension, outermost first.
    pub shape: Vec<usize>,
    /// How it is stored; `None` for bytes that are no weights.
    pub scheme: Option<Scheme>,
    /// Its number of elements.
    pub elements: usize,
    /// Length of what is stored, scales included.
    pub bytes: usize,
    /// Root mean square of the rounding over that of the weight.
    pub relative_error: f64,
}

/// Writes one component from `tensors`, whose contents `source` reads; U8 tensors are files and stay as they are.
///
/// # Errors
/// [`Error::Manifest`] naming a tensor that holds no finite floats; whatever `source` and `sink` report.
pub async fn write_component(
    component: &str,
    options: PackOptions,
    tensors: &[TensorInfo],
    source: &mut impl TensorSource,
    sink: &mut impl PieceSink,
) -> Result<Written> {
    if options.piece_bytes == 0 || options.piece_bytes > MAX_PIECE_BYTES {
        return Err(Error::request("shard-mib", format!("pieces hold 1 to {MAX_PIECE_BYTES} bytes")));
    }
    let layout = Layout::new(tensors);
    let schemes = match options.quantization {
        Quantization::All(scheme) => tensors.iter().map(|tensor| layout.scheme(tensor, scheme)).collect(),
        Quantization::Mixed => mixed::schemes(component, tensors, &layout, source).await?,
    };
    let plan = plan(tensors, &schemes);
    let mut reports = reports(tensors, &schemes, &plan);
    let header = header_bytes(&plan)?;
    let mut cutter = Cutter::new(component, options.piece_bytes, file_bytes(&header, &plan), sink);
    cutter.write(&header).await?;
    for part in &plan {
        let tensor = &tensors[part.source];
        let mut rounding = Rounding::default();
        for range in chunks(tensor) {
            if cutter.skip(part.converted_bytes(tensor, &range)) {
                continue;
            }
            let bytes = source.read(part.source, range).await?;
            let converted =
                part.convert(&format!("{component}.{}", tensor.name), tensor.dtype, &bytes, &mut rounding)?;
            cutter.write(&converted).await?;
        }
        if let Content::Weights(_) = part.content {
            reports[part.source].relative_error = rounding.relative_error();
        }
    }
    let pieces = cutter.finish().await?;
    Ok(Written { bytes: pieces.iter().map(|piece| piece.bytes).sum(), pieces, tensors: reports })
}

/// Length of the file that [`write_component`] makes of `tensors`, known without their contents; for
/// [`Quantization::Mixed`], which depends on them, that of `q8`, which it hardly ever exceeds.
///
/// # Errors
/// As [`write_component`], for names that cannot stand in a header.
pub fn component_bytes(tensors: &[TensorInfo], options: PackOptions) -> Result<u64> {
    let layout = Layout::new(tensors);
    let wanted = match options.quantization {
        Quantization::All(scheme) => scheme,
        Quantization::Mixed => Scheme::Q8,
    };
    let schemes: Vec<Option<Scheme>> = tensors.iter().map(|tensor| layout.scheme(tensor, wanted)).collect();
    let plan = plan(tensors, &schemes);
    Ok(file_bytes(&header_bytes(&plan)?, &plan))
}

fn file_bytes(header: &[u8], plan: &[Part]) -> u64 {
    header.len() as u64 + plan.iter().map(|part| part.bytes as u64).sum::<u64>()
}

/// One tensor of the file that is written.
struct Part {
    source: usize,
    content: Content,
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Content {
    /// Bytes as they are.
    File,
    /// Numbers, or the integers of quantized ones.
    Weights(Scheme),
    /// The scales that belong to quantized integers.
    Scales(Scheme),
}

impl Part {
    /// Length of what [`Part::convert`] makes of `range`, a whole number of blocks.
    fn converted_bytes(&self, tensor: &TensorInfo, range: &Range<usize>) -> u64 {
        (self.bytes as u64 * range.len() as u64).checked_div(tensor.bytes as u64).unwrap_or(0)
    }

    fn convert(&self, name: &str, dtype: Dtype, bytes: &[u8], rounding: &mut Rounding) -> Result<Vec<u8>> {
        let (scheme, is_scales) = match self.content {
            Content::File => return Ok(bytes.to_vec()),
            Content::Weights(scheme) => (scheme, false),
            Content::Scales(scheme) => (scheme, true),
        };
        let values = quantize::decode(name, dtype, bytes)?;
        let Encoded { numbers, scales } = quantize::encode(name, scheme, &values)?;
        if is_scales {
            return Ok(scales);
        }
        rounding.add(&values, &quantize::decode_scheme(scheme, &numbers, &scales));
        Ok(numbers)
    }
}

/// What is known of each tensor before its numbers are converted.
fn reports(tensors: &[TensorInfo], schemes: &[Option<Scheme>], plan: &[Part]) -> Vec<TensorReport> {
    let report = |(index, (tensor, scheme)): (usize, (&TensorInfo, &Option<Scheme>))| TensorReport {
        name: tensor.name.clone(),
        shape: tensor.shape.clone(),
        scheme: *scheme,
        elements: tensor.shape.iter().product(),
        bytes: plan.iter().filter(|part| part.source == index).map(|part| part.bytes).sum(),
        relative_error: 0.0,
    };
    tensors.iter().zip(schemes).enumerate().map(report).collect()
}

/// The tensors of the new file in its order: by type, widest first, then by name, as the `safetensors` crate sorts.
fn plan(tensors: &[TensorInfo], schemes: &[Option<Scheme>]) -> Vec<Part> {
    let mut parts = Vec::with_capacity(tensors.len());
    for (source, (tensor, scheme)) in tensors.iter().zip(schemes).enumerate() {
        let name = tensor.name.clone();
        let mut part = |content, name, dtype, shape: Vec<usize>| {
            let bytes = shape.iter().product::<usize>() * dtype_bytes(dtype);
            parts.push(Part { source, content, name, dtype, shape, bytes });
        };
        let &Some(scheme) = scheme else {
            part(Content::File, name, Dtype::U8, tensor.shape.clone());
            continue;
        };
        let content = Content::Weights(scheme);
        let rows = tensor.shape.first().copied().unwrap_or(1);
        let columns: usize = tensor.shape.iter().skip(1).product();
        if scheme.is_quantized() {
            part(Content::Scales(scheme), format!("{name}.scales"), Dtype::F16, vec![rows, columns / BLOCK]);
        }
        match scheme {
            Scheme::F32 => part(content, name, Dtype::F32, tensor.shape.clone()),
            Scheme::F16 => part(content, name, Dtype::F16, tensor.shape.clone()),
            Scheme::Q8 => part(content, name, Dtype::I8, tensor.shape.clone()),
            Scheme::Q4 => part(content, name, Dtype::U8, vec![rows, columns / 2]),
        }
    }
    parts.sort_by(|left, right| right.dtype.cmp(&left.dtype).then_with(|| left.name.cmp(&right.name)));
    parts
}

fn dtype_bytes(dtype: Dtype) -> usize {
    dtype.bitsize() / 8
}

/// The header with its length in front. Written here because the crate's own keeps metadata in a map without order.
fn header_bytes(plan: &[Part]) -> Result<Vec<u8>> {
    let quantization: BTreeMap<&str, &str> = plan
        .iter()
        .filter_map(|part| match part.content {
            Content::Weights(Scheme::Q8) => Some((part.name.as_str(), "q8")),
            Content::Weights(Scheme::Q4) => Some((part.name.as_str(), "q4")),
            _ => None,
        })
        .collect();
    let json = |value: serde_json::Result<String>| value.map_err(|error| Error::manifest("header", error.to_string()));
    let quantization = json(serde_json::to_string(&quantization))?;
    let metadata = BTreeMap::from([("format", "pt"), (QUANTIZATION, &quantization)]);
    let mut header = format!("{{\"__metadata__\":{}", json(serde_json::to_string(&metadata))?);
    let mut offset = 0;
    for part in plan {
        let data_offsets = (offset, offset + part.bytes as u64);
        let info = FileTensorInfo { dtype: part.dtype, shape: part.shape.clone(), data_offsets };
        let entry = format!(",{}:{}", json(serde_json::to_string(&part.name))?, json(serde_json::to_string(&info))?);
        header.push_str(&entry);
        offset += part.bytes as u64;
    }
    header.push('}');
    let padded = header.len().next_multiple_of(8);
    Ok([&(padded as u64).to_le_bytes(), header.as_bytes(), &vec![b' '; padded - header.len()]].concat())
}
