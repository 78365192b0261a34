//! A safetensors file read as its bytes stream by: first the header, then one tensor after another.
//!
//! Source: <https://huggingface.co/docs/safetensors>, and the checks of the `safetensors` crate 0.8, whose own reader
//! wants the whole file in memory.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::fmt;

use safetensors::Dtype;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::weights::Scheme;
use crate::{Error, Result};

/// Longest header accepted, in bytes.
pub const MAX_HEADER_BYTES: u64 = 4 << 20;
/// Most dimensions of a tensor accepted.
const MAX_DIMENSIONS: usize = 8;
/// Longest tensor name accepted, in bytes.
const MAX_NAME_BYTES: usize = 512;
/// The header's own length comes first, as a little-endian u64.
const LENGTH_BYTES: usize = 8;

/// One tensor of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Full name within the file.
    pub name: String,
    /// Type of one element.
    pub dtype: Dtype,
    /// Length along each dimension, outermost first.
    pub shape: Vec<usize>,
    /// Length of the contents.
    pub bytes: usize,
}

/// Receives the tensors of a file in the file's order.
pub trait TensorSink {
    /// A tensor begins; exactly `info.bytes` bytes follow.
    ///
    /// # Errors
    /// Whatever makes the tensor unusable; the stream stops there.
    fn begin(&mut self, info: &TensorInfo) -> Result<()>;

    /// Further bytes of the tensor, cut anywhere.
    ///
    /// # Errors
    /// As [`TensorSink::begin`].
    fn write(&mut self, bytes: &[u8]) -> Result<()>;

    /// The tensor is complete.
    ///
    /// # Errors
    /// As [`TensorSink::begin`].
    fn end(&mut self) -> Result<()>;
}

/// What a file's header says, checked: tensors follow each other without holes, and their sizes add up to the file's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The tensors in the file's order.
    pub tensors: Vec<TensorInfo>,
    /// `__metadata__`, empty where there is none.
    pub metadata: BTreeMap<String, String>,
    /// Where the first tensor begins, from the start of the file.
    pub data_start: u64,
}

impl Header {
    /// The quantized tensors, by name, from the metadata's `quantization`.
    ///
    /// # Errors
    /// [`Error::Manifest`] for an unknown scheme, or a tensor that is not of the scheme's type.
    pub fn schemes(&self, field: &str) -> Result<BTreeMap<String, Scheme>> {
        let Some(text) = self.metadata.get(QUANTIZATION) else { return Ok(BTreeMap::new()) };
        let field = format!("{field}.__metadata__.{QUANTIZATION}");
        let names: BTreeMap<String, String> =
            serde_json::from_str(text).map_err(|error| Error::manifest(&field, error.to_string()))?;
        let dtypes: BTreeMap<&str, Dtype> =
            self.tensors.iter().map(|tensor| (tensor.name.as_str(), tensor.dtype)).collect();
        let scheme_of = |(tensor, name): (String, String)| {
            let scheme = match (name.as_str(), dtypes.get(tensor.as_str())) {
                ("q8", Some(Dtype::I8)) => Scheme::Q8,
                ("q4", Some(Dtype::U8)) => Scheme::Q4,
                (_, None) => return Err(Error::manifest(&field, format!("names `{tensor}`, which is not there"))),
                (_, Some(dtype)) => {
                    return Err(Error::manifest(&field, format!("`{name}` does not fit `{tensor}` of type {dtype}")));
                }
            };
            Ok((tensor, scheme))
        };
        names.into_iter().map(scheme_of).collect()
    }
}

/// The metadata key under which a pack's files keep `{tensor: "q8" | "q4"}` as JSON.
pub const QUANTIZATION: &str = "quantization";

/// Collects a file's header from its first bytes.
#[derive(Debug)]
pub struct HeaderReader {
    field: String,
    file_bytes: u64,
    buffer: Vec<u8>,
}

impl HeaderReader {
    /// Starts on a file of `file_bytes` bytes; `field` names the file in errors, e.g. `components.unet`.
    pub fn new(field: impl Into<String>, file_bytes: u64) -> Self {
        Self { field: field.into(), file_bytes, buffer: Vec::new() }
    }

    /// Takes what belongs to the header from the front of `bytes`; returns the header once it is complete.
    ///
    /// Not to be called again after that. Memory grows with the bytes received, never by what they promise.
    ///
    /// # Errors
    /// [`Error::Manifest`] naming the file and the rule that its header breaks.
    pub fn feed(&mut self, bytes: &mut &[u8]) -> Result<Option<Header>> {
        if !self.fill(LENGTH_BYTES, bytes) {
            return Ok(None);
        }
        let header_bytes = self.header_bytes()?;
        if !self.fill(LENGTH_BYTES + header_bytes, bytes) {
            return Ok(None);
        }
        let header = parse(&self.buffer[LENGTH_BYTES..], &self.field, self.file_bytes)?;
        self.buffer = Vec::new();
        Ok(Some(header))
    }

    /// Grows the buffer to `target` bytes from `bytes`; whether it got there.
    fn fill(&mut self, target: usize, bytes: &mut &[u8]) -> bool {
        let wanted = target.saturating_sub(self.buffer.len()).min(bytes.len());
        let (taken, rest) = bytes.split_at(wanted);
        self.buffer.extend_from_slice(taken);
        *bytes = rest;
        self.buffer.len() >= target
    }

    fn header_bytes(&self) -> Result<usize> {
        let mut length = [0; LENGTH_BYTES];
        length.copy_from_slice(&self.buffer[..LENGTH_BYTES]);
        let length = u64::from_le_bytes(length);
        let room = self.file_bytes.saturating_sub(LENGTH_BYTES as u64);
        if length > MAX_HEADER_BYTES.min(room) {
            return Err(Error::manifest(
                &self.field,
                format!("its header claims {length} bytes, the file leaves {room} and {MAX_HEADER_BYTES} are allowed"),
            ));
        }
        Ok(length as usize) // at most MAX_HEADER_BYTES
    }
}

/// Hands the bytes after the header to a [`TensorSink`].
#[derive(Debug)]
pub struct TensorStream {
    field: String,
    tensors: std::vec::IntoIter<TensorInfo>,
    remaining_bytes: Option<usize>,
}

impl TensorStream {
    /// Starts on the first tensor; `field` names the file in errors.
    pub fn new(field: impl Into<String>, header: Header) -> Self {
        Self { field: field.into(), tensors: header.tensors.into_iter(), remaining_bytes: None }
    }

    /// Passes on further bytes, cut anywhere.
    ///
    /// # Errors
    /// The sink's, or [`Error::Manifest`] where there are more bytes than the header has tensors for.
    pub fn feed(&mut self, mut bytes: &[u8], sink: &mut dyn TensorSink) -> Result<()> {
        loop {
            let Some(remaining) = self.remaining_bytes else {
                let Some(tensor) = self.tensors.next() else {
                    return if bytes.is_empty() {
                        Ok(())
                    } else {
                        Err(Error::manifest(&self.field, format!("holds {} bytes after its last tensor", bytes.len())))
                    };
                };
                sink.begin(&tensor)?;
                self.remaining_bytes = Some(tensor.bytes);
                continue;
            };
            let (taken, rest) = bytes.split_at(remaining.min(bytes.len()));
            if !taken.is_empty() {
                sink.write(taken)?;
            }
            bytes = rest;
            self.remaining_bytes = Some(remaining - taken.len());
            if remaining > taken.len() {
                return Ok(());
            }
            sink.end()?;
            self.remaining_bytes = None;
        }
    }

    /// Checks that every tensor has arrived.
    ///
    /// # Errors
    /// [`Error::Manifest`] where bytes are missing.
    pub fn finish(self) -> Result<()> {
        if self.remaining_bytes.is_some() || self.tensors.len() > 0 {
            return Err(Error::manifest(self.field, "ends before its last tensor does"));
        }
        Ok(())
    }
}

fn parse(json: &[u8], field: &str, file_bytes: u64) -> Result<Header> {
    let refuse = |reason: String| Error::manifest(field, format!("its safetensors header is wrong: {reason}"));
    let RawHeader { metadata, mut tensors } =
        serde_json::from_slice(json).map_err(|error| refuse(error.to_string()))?;
    tensors.sort_by_key(|(_, info)| info.data_offsets);
    if let Some((name, _)) = tensors
        .iter()
        .find(|(name, info)| name.is_empty() || name.len() > MAX_NAME_BYTES || info.shape.len() > MAX_DIMENSIONS)
    {
        let name: String = name.chars().take(80).collect();
        return Err(refuse(format!("the name or the number of dimensions of `{name}` is out of bounds")));
    }
    check_places(&tensors).map_err(refuse)?;
    let data_start = (LENGTH_BYTES + json.len()) as u64;
    let data_bytes = tensors.last().map_or(0, |(_, info)| info.data_offsets.1);
    if data_start.checked_add(data_bytes) != Some(file_bytes) {
        return Err(refuse(format!(
            "its tensors end {data_bytes} bytes after byte {data_start}, the file after {file_bytes}"
        )));
    }
    let tensors = tensors
        .into_iter()
        .map(|(name, info)| TensorInfo {
            name,
            dtype: info.dtype,
            shape: info.shape,
            bytes: (info.data_offsets.1 - info.data_offsets.0) as usize, // checked in `check_places`
        })
        .collect();
    Ok(Header { tensors, metadata, data_start })
}

/// Checks that tensors follow each other without holes, and that every shape times its type is its range.
fn check_places(tensors: &[(String, FileTensorInfo)]) -> Result<(), String> {
    let mut end = 0;
    for (name, info) in tensors {
        let (start, stop) = info.data_offsets;
        let elements = info.shape.iter().try_fold(1u64, |product, &length| product.checked_mul(length as u64));
        let bits = elements.and_then(|elements| elements.checked_mul(info.dtype.bitsize() as u64));
        let bytes = bits.filter(|bits| bits % 8 == 0).map(|bits| bits / 8);
        if start != end || stop < start {
            return Err(format!("`{name}` lies at {start} to {stop}, the tensor before it ends at {end}"));
        }
        // A host with 32 bits reads files of any length, but no tensor beyond its own addresses; nor one that is empty by one
        // length, and whose others cannot be multiplied.
        let others =
            info.shape.iter().filter(|&&length| length > 0).try_fold(1usize, |product, &n| product.checked_mul(n));
        if bytes != Some(stop - start) || usize::try_from(stop - start).is_err() || others.is_none() {
            return Err(format!(
                "`{name}` of shape {:?} and type {} fills no {} bytes",
                info.shape,
                info.dtype,
                stop - start
            ));
        }
        end = stop;
    }
    Ok(())
}

/// An entry of the header. The crate's own type counts in the host's addresses, and a browser's end at 4 GiB.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct FileTensorInfo {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub data_offsets: (u64, u64),
}

/// The header's JSON with every entry kept; a map would lose the first of two tensors with one name.
struct RawHeader {
    metadata: BTreeMap<String, String>,
    tensors: Vec<(String, FileTensorInfo)>,
}

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = RawHeader;

            fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
                formatter.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<RawHeader, A::Error> {
                let mut metadata = None;
                let mut tensors = Vec::new();
                let mut names = std::collections::HashSet::new();
                while let Some(name) = access.next_key::<String>()? {
                    if !names.insert(name.clone()) {
                        return Err(A::Error::custom("a name appears twice"));
                    }
                    if name == "__metadata__" {
                        metadata = access.next_value::<Option<HashMap<String, String>>>()?;
                    } else {
                        tensors.push((name, access.next_value()?));
                    }
                }
                let metadata = metadata.unwrap_or_default().into_iter().collect();
                Ok(RawHeader { metadata, tensors })
            }
        }

        deserializer.deserialize_map(Entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each tensor, its bytes, and whether it was ended.
    type Collected = Vec<(TensorInfo, Vec<u8>, bool)>;

    #[derive(Default)]
    struct Collect(Collected);

    impl TensorSink for Collect {
        fn begin(&mut self, info: &TensorInfo) -> Result<()> {
            self.0.push((info.clone(), Vec::new(), false));
            Ok(())
        }

        fn write(&mut self, bytes: &[u8]) -> Result<()> {
            self.0.last_mut().unwrap().1.extend_from_slice(bytes);
            Ok(())
        }

        fn end(&mut self) -> Result<()> {
            self.0.last_mut().unwrap().2 = true;
            Ok(())
        }
    }

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
    }

    fn read(file: &[u8], slice_bytes: usize) -> Result<(Header, Collected)> {
        let mut reader = HeaderReader::new("components.unet", file.len() as u64);
        let mut sink = Collect::default();
        let mut started: Option<(Header, TensorStream)> = None;
        for mut slice in file.chunks(slice_bytes) {
            if started.is_none() {
                let Some(header) = reader.feed(&mut slice)? else { continue };
                started = Some((header.clone(), TensorStream::new("components.unet", header)));
            }
            started.as_mut().unwrap().1.feed(slice, &mut sink)?;
        }
        let (header, stream) = started.ok_or_else(|| Error::manifest("components.unet", "no header"))?;
        stream.finish()?;
        Ok((header, sink.0))
    }

    const GOOD: &str = r#"{"__metadata__":{"format":"pt"},"b":{"dtype":"F16","shape":[3],"data_offsets":[8,14]},
        "empty":{"dtype":"F32","shape":[0,4],"data_offsets":[8,8]},"a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}}"#;

    #[test]
    fn hands_out_the_same_tensors_however_the_bytes_are_cut() {
        let data: Vec<u8> = (0..14).collect();
        let file = file(GOOD, &data);
        for slice_bytes in [1, 2, 3, 7, 8, 9, file.len() - 14, file.len() - 7, file.len()] {
            let (header, tensors) = read(&file, slice_bytes).unwrap();
            assert_eq!(header.metadata["format"], "pt");
            let found: Vec<_> =
                tensors.iter().map(|(info, bytes, ended)| (info.name.as_str(), bytes.as_slice(), *ended)).collect();
            assert_eq!(
                found,
                [("a", &data[..8], true), ("empty", &[], true), ("b", &data[8..], true)],
                "{slice_bytes}"
            );
        }
    }

    #[test]
    fn a_file_may_be_longer_than_32_bits_count() {
        let header = r#"{"a":{"dtype":"F16","shape":[3,1073741824],"data_offsets":[0,6442450944]},
            "b":{"dtype":"F32","shape":[2],"data_offsets":[6442450944,6442450952]}}"#;
        let bytes = file(header, &[]);
        let mut reader = HeaderReader::new("f", bytes.len() as u64 + 6_442_450_952);
        let header = reader.feed(&mut bytes.as_slice()).unwrap().unwrap();
        assert_eq!(header.tensors.iter().map(|tensor| tensor.bytes).collect::<Vec<_>>(), [6_442_450_944, 8]);
    }

    #[test]
    fn refuses_every_wrong_header() {
        let a = |fields: &str| format!(r#"{{"a":{{{fields}}}}}"#);
        let cases = [
            ("hole before the first", a(r#""dtype":"U8","shape":[4],"data_offsets":[4,8]"#)),
            ("hole", r#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}"#.into()),
            ("overlap", r#"{"a":{"dtype":"U8","shape":[6],"data_offsets":[0,6]},"b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}"#.into()),
            ("backwards", a(r#""dtype":"U8","shape":[8],"data_offsets":[8,0]"#)),
            ("shape too small", a(r#""dtype":"U8","shape":[7],"data_offsets":[0,8]"#)),
            ("dtype too large", a(r#""dtype":"F32","shape":[8],"data_offsets":[0,8]"#)),
            ("overflow", a(r#""dtype":"F32","shape":[4611686018427387904,2],"data_offsets":[0,8]"#)),
            ("negative", a(r#""dtype":"U8","shape":[-8],"data_offsets":[0,8]"#)),
            ("2^53 shape", a(r#""dtype":"U8","shape":[9007199254740993],"data_offsets":[0,8]"#)),
            ("unknown dtype", a(r#""dtype":"Q9","shape":[8],"data_offsets":[0,8]"#)),
            ("dimensions", a(r#""dtype":"U8","shape":[8,1,1,1,1,1,1,1,1],"data_offsets":[0,8]"#)),
            ("longer than the file", a(r#""dtype":"U8","shape":[9],"data_offsets":[0,9]"#)),
            ("shorter than the file", a(r#""dtype":"U8","shape":[7],"data_offsets":[0,7]"#)),
            ("twice", r#"{"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"a":{"dtype":"U8","shape":[0],"data_offsets":[8,8]}}"#.into()),
            ("empty, and wider than any number", r#"{"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[0,4294967296,4294967296],"data_offsets":[8,8]}}"#.into()),
            ("an array", "[]".into()),
            ("not JSON", "{".into()),
            ("deep", "[".repeat(100_000)),
            ("empty", String::new()),
        ];
        for (what, header) in cases {
            match read(&file(&header, &[0; 8]), 5) {
                Err(Error::Manifest { field, .. }) => assert_eq!(field, "components.unet", "{what}"),
                other => panic!("{what}: {other:?}"),
            }
        }
    }

    #[test]
    fn believes_no_length_that_the_file_has_no_room_for() {
        for length in [u64::MAX, 100 << 30, MAX_HEADER_BYTES + 1, 93] {
            let bytes = [&length.to_le_bytes()[..], &[b' '; 92]].concat();
            let mut reader = HeaderReader::new("components.unet", 100);
            assert_eq!(reader.feed(&mut bytes.as_slice()).unwrap_err().code(), "Manifest", "{length}");
            assert!(reader.buffer.capacity() <= 64, "{length}: {} bytes allocated", reader.buffer.capacity());
        }
    }

    #[test]
    fn reports_a_file_that_ends_early_or_late() {
        let whole = file(GOOD, &[0; 14]);
        let mut reader = HeaderReader::new("f", whole.len() as u64);
        let mut bytes = whole.as_slice();
        let header = reader.feed(&mut bytes).unwrap().unwrap();
        let mut short = TensorStream::new("f", header.clone());
        short.feed(&bytes[..13], &mut Collect::default()).unwrap();
        assert_eq!(short.finish().unwrap_err().code(), "Manifest");
        let mut long = TensorStream::new("f", header);
        assert_eq!(long.feed(&[0; 15], &mut Collect::default()).unwrap_err().code(), "Manifest");
    }

    #[test]
    fn knows_the_quantized_tensors() {
        let header = |quantization: &str| Header {
            tensors: vec![TensorInfo { name: "w".into(), dtype: Dtype::I8, shape: vec![1, 32], bytes: 32 }],
            metadata: [(QUANTIZATION.to_owned(), quantization.to_owned())].into(),
            data_start: 8,
        };
        assert_eq!(header(r#"{"w":"q8"}"#).schemes("f").unwrap(), [("w".to_owned(), Scheme::Q8)].into());
        for wrong in [r#"{"w":"q4"}"#, r#"{"w":"q5"}"#, r#"{"v":"q8"}"#, "[]", r#"{"w":8}"#] {
            assert_eq!(header(wrong).schemes("f").unwrap_err().code(), "Manifest", "{wrong}");
        }
    }
}
