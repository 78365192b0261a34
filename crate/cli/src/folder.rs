//! A pack in a folder of this machine.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use fraise_engine::pack::manifest::is_sha256;
use fraise_engine::pack::{MAX_MANIFEST_BYTES, Manifest};
use fraise_engine::store::{Completion, Store};
use fraise_engine::{Error, Result};

/// File name of the manifest.
pub const MANIFEST: &str = "manifest.json";

/// A folder with a manifest and pieces, complete by being there.
#[derive(Debug, Clone)]
pub struct FolderStore {
    root: PathBuf,
}

impl FolderStore {
    /// The pack at `path`, which names the folder or its manifest.
    pub fn new(path: &Path) -> Self {
        let is_manifest = path.file_name().is_some_and(|name| name == MANIFEST);
        let root = if is_manifest { path.parent().unwrap_or(Path::new("")) } else { path };
        let root = if root.as_os_str().is_empty() { Path::new(".") } else { root };
        Self { root: root.to_owned() }
    }

    /// Reads and checks the manifest.
    ///
    /// # Errors
    /// [`Error::Request`] where there is none, [`Error::Manifest`] where it breaks a rule.
    pub fn manifest(&self) -> Result<Manifest> {
        let path = self.root.join(MANIFEST);
        let bytes = read_bounded(&path, MAX_MANIFEST_BYTES as u64)?
            .ok_or_else(|| Error::request("PACK", format!("{} holds no {MANIFEST}", self.root.display())))?;
        Manifest::parse(&bytes)
    }

    fn piece_path(&self, sha256: &str) -> PathBuf {
        self.root.join(format!("{sha256}.bin"))
    }

    /// Whether there is a file for that piece.
    pub fn has(&self, sha256: &str) -> bool {
        self.piece_path(sha256).exists()
    }

    /// Writes a piece's file.
    ///
    /// # Errors
    /// [`Error::Storage`] where it cannot be written.
    pub fn write(&self, sha256: &str, bytes: &[u8]) -> Result<()> {
        write_whole(&self.piece_path(sha256), bytes)
    }

    /// Deletes a piece's file.
    ///
    /// # Errors
    /// [`Error::Storage`] where it cannot be deleted.
    pub fn delete(&self, sha256: &str) -> Result<()> {
        let path = self.piece_path(sha256);
        fs::remove_file(&path).map_err(|error| failed("removing", &path, &error))
    }

    /// Removes files named like pieces that `manifest` does not list: what an older pack left in this folder.
    ///
    /// # Errors
    /// [`Error::Storage`] where the folder cannot be read or changed.
    pub fn remove_stale(&self, manifest: &Manifest) -> Result<()> {
        let kept: BTreeSet<&str> = manifest
            .components
            .values()
            .flat_map(|component| component.pieces.iter().map(|piece| piece.sha256.as_str()))
            .collect();
        for name in piece_names(&self.root)? {
            if !kept.contains(name.as_str()) {
                self.delete(&name)?;
            }
        }
        Ok(())
    }
}

impl Store for FolderStore {
    async fn get(&self, sha256: &str) -> Result<Option<Vec<u8>>> {
        read_bounded(&self.piece_path(sha256), fraise_engine::pack::manifest::MAX_PIECE_BYTES)
    }

    async fn put(&self, sha256: &str, bytes: Vec<u8>) -> Result<()> {
        self.write(sha256, &bytes)
    }

    async fn present(&self) -> Result<BTreeSet<String>> {
        piece_names(&self.root)
    }

    /// Keeps the file: the folder is its owner's copy, and nothing here can fetch another.
    async fn discard(&self, _sha256: &str, _damaged: &[u8]) -> Result<()> {
        Ok(())
    }

    async fn completion(&self, _address: &str) -> Result<Option<Completion>> {
        Ok(None)
    }

    async fn complete(&self, _address: &str, completion: Completion) -> Result<()> {
        write_whole(&self.root.join(MANIFEST), &completion.manifest)
    }
}

fn piece_names(root: &Path) -> Result<BTreeSet<String>> {
    let entries = fs::read_dir(root).map_err(|error| failed("reading", root, &error))?;
    let mut names = BTreeSet::new();
    for entry in entries {
        let entry = entry.map_err(|error| failed("reading", root, &error))?;
        let name = entry.file_name();
        let piece = name.to_str().and_then(|name| name.strip_suffix(".bin")).filter(|name| is_sha256(name));
        names.extend(piece.map(str::to_owned));
    }
    Ok(names)
}

/// The whole file, `None` where there is none; a file beyond `most` bytes comes back one byte longer than that.
///
/// # Errors
/// [`Error::Storage`] where it cannot be read.
pub fn read_bounded(path: &Path, most: u64) -> Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("reading", path, &error)),
    };
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes).map_err(|error| failed("reading", path, &error))?;
    Ok(Some(bytes))
}

/// Writes a file under another name first, so that no half of it is ever seen under its own.
///
/// # Errors
/// [`Error::Storage`] where it cannot be written.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let unfinished = path.with_extension("unfinished");
    File::create(&unfinished)
        .and_then(|mut file| file.write_all(bytes))
        .and_then(|()| fs::rename(&unfinished, path))
        .map_err(|error| {
            let _ = fs::remove_file(&unfinished); // it may never have been made
            failed("writing", path, &error)
        })
}

/// An input or output error as ours.
pub fn failed(operation: &str, path: &Path, error: &std::io::Error) -> Error {
    Error::Storage { operation: format!("{operation} {}", path.display()), reason: error.to_string() }
}
