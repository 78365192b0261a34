/**
 * A policy in a page's markup does not bind the page's workers, whose scripts come with headers of their own or none. So the
 * page tells the engine's worker what its policy says of requests, and the worker keeps to it by itself.
 */

/** Whether this page's markup allows requests to its own origin alone: `connect-src 'self'`. */
export function keepsToOrigin(): boolean {
  const policies = globalThis.document?.querySelectorAll<HTMLMetaElement>("meta[http-equiv='Content-Security-Policy' i]") ?? [];
  return [...policies].some(({ content }) => /(^|;)\s*connect-src\s+'self'\s*(;|$)/.test(content));
}

/** From now on this worker asks no other origin for anything, nor follows a redirect to one. */
export function keepToOrigin(): void {
  const fetchAny = globalThis.fetch.bind(globalThis);
  globalThis.fetch = (input, init) => fetchAny(input, { ...init, mode: "same-origin" });
  for (const way of ["XMLHttpRequest", "WebSocket", "WebSocketStream", "WebTransport", "EventSource"]) Reflect.deleteProperty(globalThis, way);
}
