//! Waiting for time to pass.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::FutureExt;
use js_sys::{Function, Promise};
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::JsFuture;
use web_sys::WorkerGlobalScope;

/// Ends after a while; dropping it takes it off the browser's list.
pub struct Timer {
    scope: WorkerGlobalScope,
    started: Option<(i32, Function)>,
    ringing: JsFuture,
}

impl Timer {
    /// A timer of so many milliseconds.
    pub fn new(scope: &WorkerGlobalScope, ms: i32) -> Self {
        let mut started = None;
        let ringing = JsFuture::from(Promise::new(&mut |resolve, _| {
            let handle = scope.set_timeout_with_callback_and_timeout_and_arguments_0(&resolve, ms).ok();
            started = handle.map(|handle| (handle, resolve));
        }));
        Self { scope: scope.clone(), started, ringing }
    }
}

impl Future for Timer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.ringing.poll_unpin(context).map(|_| ())
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if let Some((handle, resolve)) = &self.started {
            self.scope.clear_timeout_with_handle(*handle);
            // A promise that never settles would keep for ever what waited for it.
            let _ = resolve.call0(&JsValue::UNDEFINED);
        }
    }
}
