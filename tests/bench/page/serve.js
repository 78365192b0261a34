/** Answers the page's questions by calling methods of these names. */
export function serve(methods) {
  onmessage = async ({ data: { id, method, args } }) => {
    try {
      postMessage({ id, answer: await methods[method](...args) });
    } catch (error) {
      postMessage({ id, error: reason(error) });
    }
  };
  onunhandledrejection = ({ reason: error }) => postMessage({ error: reason(error) });
}

const reason = (error) => (error?.code ? `${error.code}: ${error.message}` : String(error?.message ?? error));
