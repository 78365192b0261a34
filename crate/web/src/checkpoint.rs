//! Checkpoints that a visitor gives: files of the visitor's own, and addresses on hosts that serve parts of files.

use std::ops::Range;

use fraise_engine::convert::ByteSource;
use fraise_engine::store::{Digest, hex};
use fraise_engine::{Error, Result};
use js_sys::{Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Blob, Headers, RequestCache, RequestInit, Response, Url, WorkerGlobalScope};

use crate::error::reason;
use crate::fetch::{OpenRequest, read_body};

/// Bytes of a file's beginning and of its end that stand for its contents.
const SAMPLE_BYTES: u64 = 1 << 20;
/// Bytes asked of a host at once: requests cost more than bytes do.
const READ_AHEAD_BYTES: u64 = 8 << 20;

/// A checkpoint, read slice by slice and never held as a whole.
pub enum Checkpoint {
    /// A file that was dropped or picked.
    File(FileSource),
    /// An address.
    Url(UrlSource),
}

impl Checkpoint {
    /// Opens a `File` or an absolute URL.
    ///
    /// # Errors
    /// [`Error::Request`] for anything else, or a host that serves whole files only; [`Error::Network`].
    pub async fn open(scope: &WorkerGlobalScope, source: JsValue) -> Result<Self> {
        match (source.as_string(), source.dyn_into::<Blob>()) {
            (Some(url), _) => UrlSource::open(scope, url).await.map(Self::Url),
            (None, Ok(blob)) => Ok(Self::File(FileSource::new(blob))),
            (None, Err(_)) => Err(Error::request("source", "it is neither a file nor an address")),
        }
    }

    /// What tells this checkpoint from others and from earlier states of itself: 64 hexadecimal digits over its name,
    /// its length, its date, and samples of its contents.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub async fn fingerprint(&mut self, digest: &impl Digest) -> Result<String> {
        let length = self.len_bytes();
        let (name, version) = match self {
            Self::File(file) => (file.name.clone(), file.version.clone()),
            Self::Url(url) => (url.url.clone(), url.version.clone()),
        };
        let mut identity = format!("{name}\n{length}\n{version}\n").into_bytes();
        identity.extend(self.read(0..SAMPLE_BYTES.min(length)).await?);
        identity.extend(self.read(length.saturating_sub(SAMPLE_BYTES)..length).await?);
        Ok(hex(&digest.sha256(&identity).await?))
    }
}

impl ByteSource for Checkpoint {
    fn name(&self) -> &str {
        match self {
            Self::File(file) => &file.name,
            Self::Url(url) => &url.name,
        }
    }

    fn len_bytes(&self) -> u64 {
        match self {
            Self::File(file) => file.bytes,
            Self::Url(url) => url.bytes,
        }
    }

    async fn read(&mut self, range: Range<u64>) -> Result<Vec<u8>> {
        match self {
            Self::File(file) => file.read(range).await,
            Self::Url(url) => url.read(range).await,
        }
    }
}

/// A file of the visitor's own.
pub struct FileSource {
    blob: Blob,
    name: String,
    bytes: u64,
    /// When it was last changed.
    version: String,
}

impl FileSource {
    fn new(blob: Blob) -> Self {
        let property = |name: &str| Reflect::get(&blob, &name.into()).unwrap_or(JsValue::UNDEFINED);
        let name = property("name").as_string().unwrap_or_else(|| "checkpoint".to_owned());
        let version = property("lastModified").as_f64().unwrap_or(0.0).to_string();
        Self { name, bytes: blob.size() as u64, version, blob }
    }

    async fn read(&self, range: Range<u64>) -> Result<Vec<u8>> {
        let slice = self.blob.slice_with_f64_and_f64(range.start as f64, range.end as f64);
        let slice = slice.map_err(|thrown| self.unreadable(&reason(&thrown)))?;
        let buffer = JsFuture::from(slice.array_buffer()).await;
        let buffer = buffer.map_err(|thrown| self.unreadable(&reason(&thrown)))?;
        let bytes = Uint8Array::new(&buffer).to_vec();
        if bytes.len() as u64 != range.end - range.start {
            return Err(self.unreadable("it ended early"));
        }
        Ok(bytes)
    }

    /// Browsers refuse a file that was moved or changed since it was given.
    fn unreadable(&self, reason: &str) -> Error {
        let reason = format!("`{}` could not be read ({reason}); if it was moved or changed, give it again", self.name);
        Error::request("source", reason)
    }
}

/// A file on a host that serves parts of files.
pub struct UrlSource {
    scope: WorkerGlobalScope,
    url: String,
    name: String,
    bytes: u64,
    /// The host's own mark of this state of the file.
    version: String,
    /// Where the bytes read last begin, and the bytes.
    ahead: (u64, Vec<u8>),
}

impl UrlSource {
    async fn open(scope: &WorkerGlobalScope, url: String) -> Result<Self> {
        let path = Url::new(&url).map_err(|_| Error::request("source", format!("`{url}` is no address")))?.pathname();
        let name = path.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("checkpoint").to_owned();
        let mut source =
            Self { scope: scope.clone(), url, name, bytes: 0, version: String::new(), ahead: (0, Vec::new()) };
        // The first byte tells whether the host serves parts, and how long the file is.
        let request = OpenRequest::new(&source.url)?;
        let response = source.part(&request, 0..1).await?;
        source.bytes = total_bytes(&response).ok_or_else(|| source.serves_no_parts())?;
        source.version = version(&response);
        Ok(source)
    }

    async fn read(&mut self, range: Range<u64>) -> Result<Vec<u8>> {
        let (start, bytes) = &self.ahead;
        if range.start < *start || range.end > start + bytes.len() as u64 {
            let end = range.end.max(range.start + READ_AHEAD_BYTES).min(self.bytes);
            self.ahead = (range.start, self.fetch(range.start..end).await?);
        }
        let (start, bytes) = &self.ahead;
        let [from, to] = [range.start - start, range.end - start].map(|at| at as usize);
        Ok(bytes[from..to].to_vec())
    }

    async fn fetch(&self, range: Range<u64>) -> Result<Vec<u8>> {
        let length = range.end - range.start;
        let request = OpenRequest::new(&self.url)?;
        let response = self.part(&request, range).await?;
        if version(&response) != self.version || total_bytes(&response) != Some(self.bytes) {
            return Err(Error::request("source", format!("{} changed while it was read; try again", self.url)));
        }
        let bytes = read_body(&self.scope, &response, length, &mut |_, _| {}).await?;
        if bytes.len() as u64 != length {
            return Err(Error::Network { url: self.url.clone(), status: response.status() });
        }
        request.finish();
        Ok(bytes)
    }

    /// The answer to a request for some of the bytes; its body is not read yet.
    async fn part(&self, request: &OpenRequest, range: Range<u64>) -> Result<Response> {
        let network = |status| Error::Network { url: self.url.clone(), status };
        let headers = Headers::new().map_err(|_| network(0))?;
        headers.set("range", &format!("bytes={}-{}", range.start, range.end - 1)).map_err(|_| network(0))?;
        let init = RequestInit::new();
        init.set_headers(&headers);
        init.set_cache(RequestCache::NoStore);
        init.set_signal(Some(&request.signal()));
        let fetching = JsFuture::from(self.scope.fetch_with_str_and_init(&self.url, &init));
        let response: Response = match fetching.await {
            Ok(response) => response.unchecked_into(),
            Err(_) if self.is_foreign() => return Err(self.is_out_of_bounds()),
            Err(_) => return Err(network(0)),
        };
        match response.status() {
            206 => Ok(response),
            200 => Err(self.serves_no_parts()),
            status => Err(network(status)),
        }
    }

    fn is_foreign(&self) -> bool {
        Url::new(&self.url).is_ok_and(|url| url.origin() != self.scope.origin())
    }

    /// Browsers do not say which of the two it was.
    fn is_out_of_bounds(&self) -> Error {
        let advice = "is on another site: this page's security policy, or that site, does not let it be fetched from \
                      here; download the file and give it as a file";
        Error::request("source", format!("{} {advice}", self.url))
    }

    fn serves_no_parts(&self) -> Error {
        let advice = "comes from a host that serves whole files only, without HTTP ranges, so it would have to be held in \
                      memory; download the file and give it as a file";
        Error::request("source", format!("{} {advice}", self.url))
    }
}

/// The file's length in `content-range: bytes 0-0/LENGTH`.
fn total_bytes(response: &Response) -> Option<u64> {
    response.headers().get("content-range").ok()??.rsplit_once('/')?.1.parse().ok()
}

fn version(response: &Response) -> String {
    let header = |name| response.headers().get(name).ok().flatten();
    header("etag").or_else(|| header("last-modified")).unwrap_or_default()
}
