/**
 * The page's one say in what scripts it runs, for browsers that enforce Trusted Types: workers and the service worker of its
 * own origin. HTML from strings has no way in but Lit's templates, which have a policy of their own.
 */
interface PolicyFactory {
  createPolicy(name: string, rules: { createScriptURL(url: string): string }): unknown;
}

const { trustedTypes } = globalThis as { trustedTypes?: PolicyFactory };
trustedTypes?.createPolicy("default", {
  createScriptURL(url) {
    if (new URL(url, location.href).origin === location.origin) return url;
    throw new TypeError(`no script is taken from ${url}`);
  },
});
