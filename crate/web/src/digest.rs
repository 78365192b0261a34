//! SHA-256 by the browser's WebCrypto, off this thread.

use fraise_engine::Result;
use fraise_engine::store::{Digest, Sha2Digest};
use js_sys::Uint8Array;
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::JsFuture;
use web_sys::{SubtleCrypto, WorkerGlobalScope};

use crate::error::failure;

/// Hashes by WebCrypto, or by `sha2` where a page without HTTPS has none.
pub struct WebDigest {
    subtle: Option<SubtleCrypto>,
}

impl WebDigest {
    /// Looks for WebCrypto in this worker.
    pub fn new(scope: &WorkerGlobalScope) -> Self {
        let subtle = scope.crypto().ok().map(|crypto| crypto.subtle()).filter(|subtle| !subtle.is_undefined());
        Self { subtle }
    }
}

impl Digest for WebDigest {
    async fn sha256(&self, bytes: &[u8]) -> Result<[u8; 32]> {
        let Some(subtle) = &self.subtle else { return Sha2Digest.sha256(bytes).await };
        let operation = "hashing a piece";
        let hashing =
            subtle.digest_with_str_and_u8_array("SHA-256", bytes).map_err(|thrown| failure(operation, &thrown))?;
        let buffer = JsFuture::from(hashing).await.map_err(|thrown| failure(operation, &thrown))?;
        let mut hash = [0; 32];
        Uint8Array::new(buffer.unchecked_ref()).copy_to(&mut hash);
        Ok(hash)
    }
}
