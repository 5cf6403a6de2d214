// The server's addresses and its JSON over HTTP. Trouble comes back as one sentence for a person: the problem's own
// detail where the server gave one. It knows no page and keeps nothing.

export const REQUEST_MS_MAX = 10_000;

/** Why a request brought nothing, as a sentence. */
export class ApiTrouble extends Error {}

/**
 * Where things are: `http(path, parameters)` and `feed()`, as URL texts. `config` is `window.PULSE`; empty
 * bases mean the place `page` (an URL text) came from, also under a path prefix.
 */
export function addresses(config, page) {
  const api = folder(new URL(config?.apiBase || ".", page));
  const sockets = config?.wsBase ? folder(new URL(config.wsBase, page)) : api;
  return {
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

function folder(url) {
  const plain = new URL(url.href.split(/[?#]/)[0]);
  if (!plain.pathname.endsWith("/")) plain.pathname += "/";
  return plain;
}

function query(parameters) {
  const text = new URLSearchParams(parameters).toString();
  return text === "" ? "" : `?${text}`;
}

/** The JSON at `url`. Raises ApiTrouble with a sentence; an abort through `signal` passes as it is. */
export async function getJson(url, { signal, fetch = globalThis.fetch.bind(globalThis) } = {}) {
  const response = await reached(fetch(url, { signal, headers: { accept: "application/json" } }));
  const body = await decoded(response);
  if (!response.ok) throw new ApiTrouble(body?.detail || body?.title || `The server answered ${response.status}`);
  if (body === null) throw new ApiTrouble("The server's answer is not JSON");
  return body;
}

async function reached(answer) {
  try {
    return await answer;
  } catch (trouble) {
    if (trouble instanceof TypeError) throw new ApiTrouble("The server cannot be reached");
    throw trouble;
  }
}

async function decoded(response) {
  try {
    return await response.json();
  } catch (trouble) {
    if (trouble instanceof SyntaxError) return null;
    if (trouble instanceof TypeError) throw new ApiTrouble("The server's answer broke off");
    throw trouble;
  }
}
