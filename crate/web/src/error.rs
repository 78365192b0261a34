//! Errors on their way to JavaScript: plain objects `{code, message, details}`.

use fraise_engine::Error;
use js_sys::{Object, Reflect};
use serde::Serialize;
use wasm_bindgen::{JsCast, JsValue};

/// The JavaScript form of an engine error.
pub fn to_js(error: &Error) -> JsValue {
    // Serializes to `{code, details}`; a variant without facts has no `details`.
    let object = serialize(error).unwrap_or_else(|_| Object::new().into());
    set(&object, "code", &error.code().into());
    set(&object, "message", &error.to_string().into());
    if Reflect::get(&object, &"details".into()).is_ok_and(|details| details.is_undefined()) {
        set(&object, "details", &Object::new());
    }
    object
}

/// Any serializable value as plain JavaScript objects, arrays, strings and numbers.
pub fn serialize(value: &impl Serialize) -> Result<JsValue, serde_wasm_bindgen::Error> {
    value.serialize(&serde_wasm_bindgen::Serializer::json_compatible())
}

/// As [`serialize`], for exported functions: a value that does not fit becomes an error object.
pub fn serialize_or_throw(value: &impl Serialize) -> Result<JsValue, JsValue> {
    serialize(value).map_err(|error| to_js(&failure("passing a value to JavaScript", &error.into())))
}

/// Sets a property of a plain object, which cannot fail.
pub fn set(object: &JsValue, name: &str, value: &JsValue) {
    let _ = Reflect::set(object, &name.into(), value);
}

/// A browser function's exception as an engine error.
pub fn failure(operation: &str, thrown: &JsValue) -> Error {
    Error::Storage { operation: operation.to_owned(), reason: reason(thrown) }
}

/// What an exception says.
pub fn reason(thrown: &JsValue) -> String {
    let property = |name: &str| Reflect::get(thrown, &name.into()).ok().and_then(|value| value.as_string());
    match (property("name"), property("message")) {
        (Some(name), Some(message)) if !message.is_empty() => format!("{name}: {message}"),
        (Some(name), _) => name,
        (None, Some(message)) => message,
        (None, None) => thrown.as_string().unwrap_or_else(|| "unknown".to_owned()),
    }
}

/// An exception's name, e.g. `QuotaExceededError`.
pub fn name(thrown: &JsValue) -> Option<String> {
    thrown.dyn_ref::<web_sys::DomException>().map(web_sys::DomException::name)
}
