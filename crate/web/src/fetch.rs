//! A pack on a static host, read with `fetch`.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;

use fraise_engine::pack::MAX_MANIFEST_BYTES;
use fraise_engine::store::Source;
use fraise_engine::{Error, Result};
use futures::future::{Either, select};
use js_sys::{Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    AbortController, AbortSignal, ReadableStreamDefaultReader, RequestCache, RequestInit, Response, Url,
    WorkerGlobalScope,
};

use crate::timer::Timer;

/// Pauses before a request that failed is made again, in milliseconds.
const RETRY_PAUSES_MS: [i32; 3] = [400, 1000, 2500];
/// How long a host may send nothing before its answer counts as broken off, in milliseconds.
const STALL_LIMIT_MS: i32 = 20_000;

/// What came over the network, for reports and for tests that expect nothing.
#[derive(Debug, Default)]
pub struct NetworkCount {
    /// Pieces whose body arrived.
    pub pieces: Cell<u32>,
    /// Bytes of all bodies.
    pub bytes: Cell<u64>,
}

/// A pack behind the URL of its manifest; its pieces lie beside it.
pub struct FetchSource {
    scope: WorkerGlobalScope,
    manifest_url: String,
    count: Rc<NetworkCount>,
}

impl FetchSource {
    /// A source for the manifest at `manifest_url`, an absolute address.
    pub fn new(scope: WorkerGlobalScope, manifest_url: String, count: Rc<NetworkCount>) -> Self {
        Self { scope, manifest_url, count }
    }

    /// As [`FetchSource::get_once`]; again after a pause, then a longer one, where the network or the host may get well.
    async fn get(
        &self,
        url: &str,
        cache: RequestCache,
        limit_bytes: u64,
        on_bytes: &mut dyn FnMut(u64),
    ) -> Result<Vec<u8>> {
        for pause_ms in RETRY_PAUSES_MS {
            match self.get_once(url, cache, limit_bytes, on_bytes).await {
                Err(Error::Network { status, .. }) if may_get_well(status) => Timer::new(&self.scope, pause_ms).await,
                outcome => return outcome,
            }
        }
        self.get_once(url, cache, limit_bytes, on_bytes).await
    }

    /// Fetches `url`, reading at most one chunk beyond `limit_bytes`. Dropping the future ends the request.
    async fn get_once(
        &self,
        url: &str,
        cache: RequestCache,
        limit_bytes: u64,
        on_bytes: &mut dyn FnMut(u64),
    ) -> Result<Vec<u8>> {
        let request = OpenRequest::new(url)?;
        let init = RequestInit::new();
        init.set_cache(cache);
        init.set_signal(Some(&request.signal()));
        let fetching = JsFuture::from(self.scope.fetch_with_str_and_init(url, &init));
        // A `TypeError` says no more than that there was no answer: offline, unknown host, or CORS.
        let response = unless_stalled(&self.scope, fetching).await.and_then(std::result::Result::ok);
        let response: Response = response.ok_or_else(|| network(url, 0))?.unchecked_into();
        // Hosts that answer every address with their start page do so with status 200.
        let is_page =
            response.headers().get("content-type").ok().flatten().is_some_and(|kind| kind.starts_with("text/html"));
        if !response.ok() || is_page {
            return Err(network(url, response.status()));
        }
        let mut on_chunk = |chunk: u64, arrived: u64| {
            self.count.bytes.set(self.count.bytes.get() + chunk);
            on_bytes(arrived.min(limit_bytes));
        };
        let bytes = read_body(&self.scope, &response, limit_bytes, &mut on_chunk).await;
        let bytes = bytes.map_err(|_| network(url, 0))?;
        if bytes.len() as u64 <= limit_bytes {
            request.finish();
        }
        Ok(bytes)
    }
}

impl Source for FetchSource {
    fn address(&self) -> &str {
        &self.manifest_url
    }

    async fn manifest(&self) -> Result<Vec<u8>> {
        self.get(&self.manifest_url, RequestCache::NoCache, MAX_MANIFEST_BYTES as u64, &mut |_| {}).await
    }

    async fn piece(&self, sha256: &str, bytes: u64, on_bytes: &mut dyn FnMut(u64)) -> Result<Vec<u8>> {
        let name = format!("{sha256}.bin");
        let url = Url::new_with_base(&name, &self.manifest_url).map_err(|_| network(&self.manifest_url, 0))?.href();
        // The store keeps it; a second copy in the browser's cache would only take room.
        let piece = self.get(&url, RequestCache::NoStore, bytes, on_bytes).await?;
        self.count.pieces.set(self.count.pieces.get() + 1);
        Ok(piece)
    }
}

/// A pack that was converted in this browser: it is in the store, or nowhere.
pub struct LocalSource {
    address: String,
}

impl LocalSource {
    /// What the addresses of such packs begin with; no address on the network does.
    pub const SCHEME: &str = "local:";

    /// The pack of that address.
    pub fn new(address: String) -> Self {
        Self { address }
    }

    fn is_gone(&self) -> Error {
        let advice = "is not completely stored in this browser (any more); convert its checkpoint again";
        Error::request("model", format!("`{}` {advice}", self.address))
    }
}

impl Source for LocalSource {
    fn address(&self) -> &str {
        &self.address
    }

    async fn manifest(&self) -> Result<Vec<u8>> {
        Err(self.is_gone())
    }

    async fn piece(&self, _sha256: &str, _bytes: u64, _on_bytes: &mut dyn FnMut(u64)) -> Result<Vec<u8>> {
        Err(self.is_gone())
    }
}

/// Either kind of pack, by its address.
pub enum PackSource {
    /// On a static host.
    Host(FetchSource),
    /// Converted in this browser.
    Local(LocalSource),
}

impl PackSource {
    /// The pack at `address`: its manifest's absolute URL, or what begins with [`LocalSource::SCHEME`].
    pub fn new(scope: WorkerGlobalScope, address: String, count: Rc<NetworkCount>) -> Self {
        match address.starts_with(LocalSource::SCHEME) {
            true => Self::Local(LocalSource::new(address)),
            false => Self::Host(FetchSource::new(scope, address, count)),
        }
    }
}

impl Source for PackSource {
    fn address(&self) -> &str {
        match self {
            Self::Host(source) => source.address(),
            Self::Local(source) => source.address(),
        }
    }

    async fn manifest(&self) -> Result<Vec<u8>> {
        match self {
            Self::Host(source) => source.manifest().await,
            Self::Local(source) => source.manifest().await,
        }
    }

    async fn piece(&self, sha256: &str, bytes: u64, on_bytes: &mut dyn FnMut(u64)) -> Result<Vec<u8>> {
        match self {
            Self::Host(source) => source.piece(sha256, bytes, on_bytes).await,
            Self::Local(source) => source.piece(sha256, bytes, on_bytes).await,
        }
    }
}

/// A request that is aborted when dropped before its end.
pub(crate) struct OpenRequest {
    controller: AbortController,
    is_finished: Cell<bool>,
}

impl OpenRequest {
    pub(crate) fn new(url: &str) -> Result<Self> {
        let controller = AbortController::new().map_err(|_| network(url, 0))?;
        Ok(Self { controller, is_finished: Cell::new(false) })
    }

    pub(crate) fn signal(&self) -> AbortSignal {
        self.controller.signal()
    }

    pub(crate) fn finish(&self) {
        self.is_finished.set(true);
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        if !self.is_finished.get() {
            self.controller.abort();
        }
    }
}

/// A response's body: at most `limit_bytes`, and one byte more where there is more than that, for the caller to refuse.
///
/// `on_chunk(chunk, arrived)` is told each chunk's length and the length so far.
///
/// # Errors
/// [`Error::Network`] where the body breaks off, or nothing more of it comes.
pub(crate) async fn read_body(
    scope: &WorkerGlobalScope,
    response: &Response,
    limit_bytes: u64,
    on_chunk: &mut dyn FnMut(u64, u64),
) -> Result<Vec<u8>> {
    let broken = || network(&response.url(), 0);
    let body = response.body().ok_or_else(broken)?;
    let reader: ReadableStreamDefaultReader = body.get_reader().unchecked_into();
    let mut bytes = Vec::new();
    while let Some(chunk) =
        unless_stalled(scope, next_chunk(&reader)).await.and_then(std::result::Result::ok).ok_or_else(broken)?
    {
        let start = bytes.len();
        if start == 0 {
            bytes.reserve_exact(limit_bytes as usize);
        }
        let arrived = start as u64 + u64::from(chunk.length());
        on_chunk(u64::from(chunk.length()), arrived);
        if arrived > limit_bytes {
            // One byte too many is enough for the caller to refuse it; the rest is not read.
            bytes.resize(limit_bytes as usize + 1, 0);
            break;
        }
        bytes.resize(arrived as usize, 0);
        chunk.copy_to(&mut bytes[start..]);
    }
    Ok(bytes)
}

/// The body's next chunk, or `None` at its end.
async fn next_chunk(reader: &ReadableStreamDefaultReader) -> std::result::Result<Option<Uint8Array>, JsValue> {
    let result = JsFuture::from(reader.read()).await?;
    if Reflect::get(&result, &"done".into())?.is_truthy() {
        return Ok(None);
    }
    Reflect::get(&result, &"value".into())?.dyn_into().map(Some)
}

/// What `work` gives, or `None` where that takes too long.
async fn unless_stalled<T>(scope: &WorkerGlobalScope, work: impl Future<Output = T>) -> Option<T> {
    match select(pin!(work), Timer::new(scope, STALL_LIMIT_MS)).await {
        Either::Left((outcome, _)) => Some(outcome),
        Either::Right(_) => None,
    }
}

/// Whether the same request may succeed a moment later: there was no answer, or the host is in trouble.
fn may_get_well(status: u16) -> bool {
    status == 0 || status == 429 || status >= 500
}

fn network(url: &str, status: u16) -> Error {
    Error::Network { url: url.to_owned(), status }
}
