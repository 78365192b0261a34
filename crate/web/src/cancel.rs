//! Cancelling: work races a browser `AbortSignal`, and losing drops it.

use std::future::Future;
use std::pin::pin;

use fraise_engine::{Error, Result};
use futures::channel::oneshot;
use futures::future::{Either, select};
use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;
use web_sys::AbortSignal;

/// Runs `work` until it ends or `signal` aborts; aborting drops `work` and everything that it holds.
///
/// # Errors
/// [`Error::Cancelled`] where the signal came first, otherwise `work`'s own.
pub async fn until_aborted<T>(signal: &AbortSignal, work: impl Future<Output = Result<T>>) -> Result<T> {
    if signal.aborted() {
        return Err(Error::Cancelled);
    }
    let (listener, aborted) = AbortListener::new(signal);
    let outcome = match select(pin!(work), aborted).await {
        Either::Left((outcome, _)) => outcome,
        Either::Right(_) => Err(Error::Cancelled),
    };
    drop(listener);
    outcome
}

/// Listens to a signal for as long as it lives.
struct AbortListener {
    signal: AbortSignal,
    callback: Closure<dyn FnMut()>,
}

impl AbortListener {
    fn new(signal: &AbortSignal) -> (Self, oneshot::Receiver<()>) {
        let (sender, aborted) = oneshot::channel();
        let callback = Closure::once(move || {
            let _ = sender.send(());
        });
        let _ = signal.add_event_listener_with_callback("abort", callback.as_ref().unchecked_ref());
        (Self { signal: signal.clone(), callback }, aborted)
    }
}

impl Drop for AbortListener {
    fn drop(&mut self) {
        let _ = self.signal.remove_event_listener_with_callback("abort", self.callback.as_ref().unchecked_ref());
    }
}
