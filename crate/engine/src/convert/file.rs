//! A safetensors file that is read at random: its header once, then whatever is asked for.

use std::collections::BTreeMap;
use std::ops::Range;

use super::ByteSource;
use crate::pack::header::MAX_HEADER_BYTES;
use crate::pack::quantize;
use crate::pack::{Header, HeaderReader, TensorInfo};
use crate::{Error, Result};

/// Bytes of a file's beginning that are read at once.
const HEADER_CHUNK_BYTES: u64 = 1 << 16;
/// Largest tensor that is read whole, in bytes: factors of a LoRA, embeddings, a projection that is transposed.
const MAX_WHOLE_BYTES: usize = 256 << 20;

/// An open safetensors file.
#[derive(Debug)]
pub struct SafetensorsFile<B> {
    source: B,
    header: Header,
    /// Index into the header's tensors, and start in the file, by name.
    places: BTreeMap<String, (usize, u64)>,
}

/// Where a tensor lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place<'a> {
    /// What the header says of it.
    pub info: &'a TensorInfo,
    /// Its first byte, from the start of the file.
    pub start: u64,
}

impl<B: ByteSource> SafetensorsFile<B> {
    /// Reads the header. `field` says in errors what the file was given as.
    ///
    /// # Errors
    /// [`Error::Request`] where it is a pickle; [`Error::Manifest`] naming the file where its header is damaged; what
    /// the source reports.
    pub async fn open(field: &str, mut source: B) -> Result<Self> {
        let (name, file_bytes) = (source.name().to_owned(), source.len_bytes());
        let mut reader = HeaderReader::new(&name, file_bytes);
        let mut at = 0;
        while at < file_bytes.min(MAX_HEADER_BYTES + HEADER_CHUNK_BYTES) {
            let end = (at + HEADER_CHUNK_BYTES).min(file_bytes);
            let bytes = source.read(at..end).await?;
            if at == 0 {
                refuse_pickle(field, &name, &bytes)?;
            }
            if let Some(header) = reader.feed(&mut bytes.as_slice())? {
                return Ok(Self::new(source, header));
            }
            at = end;
        }
        Err(Error::manifest(name, "ends within its safetensors header"))
    }

    fn new(source: B, header: Header) -> Self {
        let mut start = header.data_start;
        let mut places = BTreeMap::new();
        for (index, tensor) in header.tensors.iter().enumerate() {
            places.insert(tensor.name.clone(), (index, start));
            start += tensor.bytes as u64;
        }
        Self { source, header, places }
    }

    /// The file's name.
    pub fn name(&self) -> &str {
        self.source.name()
    }

    /// What its header says.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The tensor of that name.
    pub fn get(&self, name: &str) -> Option<Place<'_>> {
        let &(index, start) = self.places.get(name)?;
        Some(Place { info: &self.header.tensors[index], start })
    }

    /// All tensors in the order of their names.
    pub fn places(&self) -> impl Iterator<Item = Place<'_>> {
        self.places.values().map(|&(index, start)| Place { info: &self.header.tensors[index], start })
    }

    /// The file's bytes in `range`.
    ///
    /// # Errors
    /// What the source reports; [`Error::Manifest`] where it gives fewer bytes than asked for.
    pub async fn read(&mut self, range: Range<u64>) -> Result<Vec<u8>> {
        let wanted = range.end - range.start;
        let bytes = self.source.read(range).await?;
        if bytes.len() as u64 == wanted {
            return Ok(bytes);
        }
        Err(Error::manifest(self.source.name(), "became shorter while it was read"))
    }

    /// All numbers of a small tensor.
    ///
    /// # Errors
    /// [`Error::MissingTensor`]; [`Error::Manifest`] where it is too large or holds no finite floats; what the source
    /// reports.
    pub async fn numbers(&mut self, name: &str) -> Result<Vec<f32>> {
        let Some(Place { info, start }) = self.get(name) else {
            return Err(Error::MissingTensor { name: format!("{}: {name}", self.name()) });
        };
        let (dtype, bytes) = (info.dtype, info.bytes);
        let field = format!("{}: {name}", self.name());
        if bytes > MAX_WHOLE_BYTES {
            return Err(Error::manifest(field, format!("is larger than {MAX_WHOLE_BYTES} bytes")));
        }
        let bytes = self.read(start..start + bytes as u64).await?;
        quantize::decode(&field, dtype, &bytes)
    }
}

/// Refuses pickles by their first bytes, whatever they are named: reading one runs what its author wrote.
fn refuse_pickle(field: &str, name: &str, bytes: &[u8]) -> Result<()> {
    let is_zip = bytes.starts_with(b"PK\x03\x04");
    // A bare pickle names its protocol first. A safetensors file of which this is the header's length has a header
    // beyond what is accepted, or opens with `{` after it.
    let is_bare_pickle = matches!(bytes, [0x80, 2..=5, ..]) && bytes.get(8) != Some(&b'{');
    if is_zip || is_bare_pickle { Err(pickle(field, name)) } else { Ok(()) }
}

/// The error for a pickle.
pub fn pickle(field: &str, name: &str) -> Error {
    let advice = "is a pickle, which can run code when it is opened; get the same model as .safetensors, or save it so \
                  (diffusers: save_pretrained(…, safe_serialization=True))";
    Error::request(field, format!("{name} {advice}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Memory(Vec<u8>);

    impl ByteSource for Memory {
        fn name(&self) -> &str {
            "m.safetensors"
        }

        fn len_bytes(&self) -> u64 {
            self.0.len() as u64
        }

        async fn read(&mut self, range: Range<u64>) -> Result<Vec<u8>> {
            Ok(self.0[range.start as usize..range.end as usize].to_vec())
        }
    }

    fn open(bytes: Vec<u8>) -> Result<SafetensorsFile<Memory>> {
        pollster::block_on(SafetensorsFile::open("SRC", Memory(bytes)))
    }

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
    }

    #[test]
    fn finds_tensors_behind_a_long_header() {
        let filler = " ".repeat(200_000);
        let header = format!(
            r#"{{"b":{{"dtype":"F32","shape":[1],"data_offsets":[4,8]}},{filler}"a":{{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}}}"#
        );
        let data = [&[0, 0x3c, 0, 0xc0][..], &2.5f32.to_le_bytes()].concat();
        let mut file = open(file(&header, &data)).unwrap();
        assert_eq!(pollster::block_on(file.numbers("a")).unwrap(), [1.0, -2.0]);
        assert_eq!(pollster::block_on(file.numbers("b")).unwrap(), [2.5]);
        assert_eq!(file.places().map(|place| place.info.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(pollster::block_on(file.numbers("c")).unwrap_err().code(), "MissingTensor");
    }

    #[test]
    fn refuses_pickles_and_reads_a_header_whose_length_looks_like_one() {
        for pickle in [&b"PK\x03\x04rest of it"[..], b"\x80\x02}q\x00X\x04\x00\x00\x00"] {
            let error = open(pickle.to_vec()).unwrap_err();
            assert!(error.code() == "Request" && error.to_string().contains("is a pickle"), "{error}");
        }
        let padded = format!("{{{}}}", " ".repeat(0x280 - 2));
        assert!(open(file(&padded, &[])).is_ok());
    }

    #[test]
    fn refuses_damaged_files() {
        let good = file(r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}"#, &[0; 4]);
        let huge = [&(100u64 << 30).to_le_bytes()[..], &good[8..]].concat();
        for wrong in [good[..good.len() - 1].to_vec(), good[..20].to_vec(), huge, Vec::new(), vec![1, 2, 3]] {
            assert_eq!(open(wrong).unwrap_err().code(), "Manifest");
        }
    }
}
