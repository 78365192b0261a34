//! The one error type of the engine. Callers branch on [`Error::code`], never on the message.

use serde::Serialize;

/// Everything that can go wrong between a pack's address and a picture.
///
/// Each variant carries the facts a person needs to act; its `Display` says what happened, where, and what to do.
#[derive(Debug, Clone, PartialEq, thiserror::Error, Serialize)]
#[serde(tag = "code", content = "details")]
#[non_exhaustive]
pub enum Error {
    /// A tensor that the configuration calls for is not in the component's file.
    #[error("tensor `{name}` is missing from the pack; pack the model again from complete weights")]
    MissingTensor {
        /// Full tensor name, with its component.
        name: String,
    },
    /// The file holds a tensor that the configuration has no place for.
    #[error("tensor `{name}` is not part of the configured model; check that config.json belongs to these weights")]
    UnexpectedTensor {
        /// Full tensor name, with its component.
        name: String,
    },
    /// A tensor has another shape than the configuration says.
    #[error(
        "tensor `{name}` has shape {found:?} where the configuration needs {expected:?}; check that config.json belongs to these weights"
    )]
    ShapeMismatch {
        /// Full tensor name, with its component.
        name: String,
        /// Shape the configuration asks for.
        expected: Vec<usize>,
        /// Shape in the file.
        found: Vec<usize>,
    },
    /// A piece's bytes do not have the hash or the length that the manifest gives.
    #[error(
        "piece {sha256} from {origin} is corrupt; load the pack again, and if that fails upload the piece to the host again"
    )]
    CorruptPiece {
        /// The piece's name in the manifest.
        sha256: String,
        /// Where the bytes came from: `network`, `store` or a file name.
        origin: String,
    },
    /// The manifest, or a file that it describes, breaks a rule.
    #[error("manifest field `{field}`: {reason}; ask the pack's publisher for a corrected manifest")]
    Manifest {
        /// Path of the offending field, e.g. `components.unet.pieces[3].bytes`.
        field: String,
        /// Which rule it breaks.
        reason: String,
    },
    /// The browser will not give the pack the room it needs.
    #[error(
        "the pack needs {needed_bytes} bytes of storage and {available_bytes} are available; free some space or choose a smaller pack"
    )]
    Quota {
        /// Bytes still to be stored.
        needed_bytes: u64,
        /// Bytes the browser would grant.
        available_bytes: u64,
    },
    /// The model does not fit a limit of this GPU.
    #[error(
        "the GPU's limit `{limit}` is {available} and the pack needs {needed}; choose a smaller pack or picture size"
    )]
    DeviceLimit {
        /// The limit's WebGPU name.
        limit: String,
        /// What is needed, in the limit's unit.
        needed: u64,
        /// What the device has, in the limit's unit.
        available: u64,
    },
    /// WebGPU cannot be used here.
    #[error("WebGPU is not available: {reason}; update the browser or its GPU driver, or use the CPU device")]
    NoWebGpu {
        /// Why, in words.
        reason: String,
    },
    /// The GPU went away while working.
    #[error("the GPU device was lost: {reason}; load the pack again to go on")]
    DeviceLost {
        /// The reason the browser or driver gave.
        reason: String,
    },
    /// Memory for a tensor could not be had.
    #[error(
        "out of memory while allocating {needed_bytes} bytes; choose a smaller picture or pack, or close other programs"
    )]
    OutOfMemory {
        /// Size of the failed allocation.
        needed_bytes: u64,
    },
    /// A file could not be fetched or read.
    #[error("could not get {url} ({}), then try again", network_cause(*.status))]
    Network {
        /// Address or path.
        url: String,
        /// HTTP status, or 0 where there was no answer.
        status: u16,
    },
    /// The caller asked for something that cannot be done.
    #[error("request field `{field}`: {reason}")]
    Request {
        /// Name of the field.
        field: String,
        /// What is wrong and what is allowed.
        reason: String,
    },
    /// A store, file or device operation failed for a reason outside the pack.
    #[error("{operation} failed: {reason}; free space or permissions may be missing, try again")]
    Storage {
        /// What was attempted.
        operation: String,
        /// The underlying message.
        reason: String,
    },
    /// The caller cancelled the run.
    #[error("cancelled by the caller")]
    Cancelled,
}

/// The engine's result type.
pub type Result<T, E = Error> = core::result::Result<T, E>;

impl Error {
    /// Stable name of the variant; part of the contract with callers.
    pub fn code(&self) -> &'static str {
        match self {
            Self::MissingTensor { .. } => "MissingTensor",
            Self::UnexpectedTensor { .. } => "UnexpectedTensor",
            Self::ShapeMismatch { .. } => "ShapeMismatch",
            Self::CorruptPiece { .. } => "CorruptPiece",
            Self::Manifest { .. } => "Manifest",
            Self::Quota { .. } => "Quota",
            Self::DeviceLimit { .. } => "DeviceLimit",
            Self::NoWebGpu { .. } => "NoWebGpu",
            Self::DeviceLost { .. } => "DeviceLost",
            Self::OutOfMemory { .. } => "OutOfMemory",
            Self::Network { .. } => "Network",
            Self::Request { .. } => "Request",
            Self::Storage { .. } => "Storage",
            Self::Cancelled => "Cancelled",
        }
    }

    /// [`Error::Manifest`], its texts short enough to be shown: they may quote what is in the file.
    pub fn manifest(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Manifest { field: shortened(field.into()), reason: shortened(reason.into()) }
    }

    /// [`Error::Request`], likewise.
    pub fn request(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Request { field: shortened(field.into()), reason: shortened(reason.into()) }
    }
}

/// Most of a text that is shown, in bytes; and how much of it is its end.
const MAX_TEXT_BYTES: usize = 800;
const END_BYTES: usize = 200;

/// A text without its middle where it is too long to be shown.
fn shortened(text: String) -> String {
    if text.len() <= MAX_TEXT_BYTES {
        return text;
    }
    let start = text.floor_char_boundary(MAX_TEXT_BYTES - END_BYTES);
    let end = text.ceil_char_boundary(text.len() - END_BYTES);
    format!("{} … {}", &text[..start], &text[end..])
}

/// What an HTTP status says of a file that did not come, and what to check.
fn network_cause(status: u16) -> String {
    match status {
        0 => "no answer: the host cannot be reached, sends nothing more, redirects to a site that this page may not read, \
              or allows other sites nothing (CORS); check the address and the connection"
            .to_owned(),
        200 => "status 200, but it broke off or is a web page instead; check the address".to_owned(),
        status => format!("status {status}; check the address and the connection"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_the_ends_of_what_is_long() {
        let reason = format!("invalid type: string \"{}\", expected u64", "草".repeat(100_000));
        match Error::manifest("steps", reason) {
            Error::Manifest { field, reason } => {
                assert_eq!(field, "steps");
                assert!(reason.len() < 850 && reason.contains("草 … 草"), "{reason}");
                assert!(reason.starts_with("invalid type: string \"草") && reason.ends_with("草\", expected u64"));
            }
            other => panic!("{other:?}"),
        }
    }
}
