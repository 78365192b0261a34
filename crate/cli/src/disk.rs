//! A file on this machine, read at random.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

use fraise_engine::Result;
use fraise_engine::convert::ByteSource;

use crate::folder::failed;

/// An open file.
#[derive(Debug)]
pub struct DiskFile {
    name: String,
    file: File,
    len_bytes: u64,
}

impl DiskFile {
    /// Opens the file at `path`.
    ///
    /// # Errors
    /// [`fraise_engine::Error::Storage`] where it cannot be opened.
    pub fn open(path: &Path) -> Result<Self> {
        let opened = File::open(path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (len_bytes, file) = opened.map_err(|error| failed("reading", path, &error))?;
        Ok(Self { name: path.display().to_string(), file, len_bytes })
    }
}

impl ByteSource for DiskFile {
    fn name(&self) -> &str {
        &self.name
    }

    fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    async fn read(&mut self, range: Range<u64>) -> Result<Vec<u8>> {
        let mut bytes = vec![0; (range.end - range.start) as usize];
        self.file
            .seek(SeekFrom::Start(range.start))
            .and_then(|_| self.file.read_exact(&mut bytes))
            .map_err(|error| failed("reading", Path::new(&self.name), &error))?;
        Ok(bytes)
    }
}
