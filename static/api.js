// The server's addresses, and JSON over HTTP. A failure becomes one sentence for the user: the problem document's own
// detail where the server sent one. It knows no page and keeps no state.

export const REQUEST_MS_MAX = 10_000;

/** Where a static host says its server is: the content of config.js.
 * @typedef {{apiBase?: string, wsBase?: string}} Config
 */

/** @typedef {(url: string, init?: RequestInit) => Promise<Response>} Fetch */

/** A request that failed; the message is a sentence for the user, `status` the server's, 0 where it did not answer. */
export class ApiError extends Error {
  /**
   * @param {string} message
   * @param {number} status
   */
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

/**
 * Return the server's addresses: `http(path, parameters)` and `feed()`, as URL texts. Empty bases mean the place that
 * the page came from, also under a path prefix.
 * @param {Config | undefined} config
 * @param {string} pageUrl
 */
export function addresses(config, pageUrl) {
  const api = folder(new URL(config?.apiBase || ".", pageUrl));
  const sockets = config?.wsBase ? folder(new URL(config.wsBase, pageUrl)) : api;
  return {
    /**
     * @param {string} path
     * @param {Record<string, string | number>} parameters
     */
    http(path, parameters = {}) {
      return `${new URL(path, api)}${query(parameters)}`;
    },
    feed() {
      const url = new URL("ws", sockets);
      url.protocol = url.protocol.replace("http", "ws");
      return url.href;
    },
  };
}

/** @param {URL} url */
function folder(url) {
  const plain = new URL(url.href.split(/[?#]/)[0]);
  if (!plain.pathname.endsWith("/")) plain.pathname += "/";
  return plain;
}

/** @param {Record<string, string | number>} parameters */
function query(parameters) {
  const entries = Object.entries(parameters).map(([name, value]) => [name, String(value)]);
  const text = new URLSearchParams(entries).toString();
  return text === "" ? "" : `?${text}`;
}

/**
 * Fetch the JSON at `url`. Throws ApiError with a sentence; an abort through `signal` passes unchanged.
 * @param {string} url
 * @param {Omit<RequestInit, "headers"> & {headers?: Record<string, string>, fetch?: Fetch}} options
 * @returns {Promise<unknown>}
 */
export async function getJson(url, { headers = {}, fetch = globalThis.fetch.bind(globalThis), ...init } = {}) {
  const response = await reached(fetch(url, { ...init, headers: { accept: "application/json", ...headers } }));
  const body = await decoded(response);
  const { ok, status } = response;
  if (!ok) throw new ApiError(problemText(body) || `The server answered with status ${status}`, status);
  if (body === null) throw new ApiError("The server's answer is not JSON");
  return body;
}

/** @param {unknown} body a problem document (RFC 9457), or anything else */
function problemText(body) {
  const { detail, title } = /** @type {{detail?: string, title?: string}} */ (body ?? {});
  return detail || title || "";
}

/** @param {Promise<Response>} answer */
async function reached(answer) {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof TypeError) throw new ApiError("The server cannot be reached");
    throw error;
  }
}

/**
 * @param {Response} response
 * @returns {Promise<unknown>}
 */
async function decoded(response) {
  try {
    return await response.json();
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    if (error instanceof TypeError) throw new ApiError("The server's answer was cut off");
    throw error;
  }
}
