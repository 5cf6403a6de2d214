// The session of the page with its server: when a token is asked for, and how it is sent.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Session } from "../../static/session.js";

const PAGE = "http://page.test/";
const OWN = { http: (/** @type {string} */ path) => `${PAGE}${path}` };
const OTHER = { http: (/** @type {string} */ path) => `http://server.test/${path}` };

/** A WebSocket that notes what it was opened with. */
class FakeSocket extends EventTarget {
  /** @type {FakeSocket[]} */
  static opened = [];

  /**
   * @param {string} url
   * @param {string[]} protocols
   */
  constructor(url, protocols) {
    super();
    this.url = url;
    this.protocols = protocols;
    FakeSocket.opened.push(this);
  }
}

/**
 * Create a session whose server answers with these statuses and bodies, one after the other; the last one stays.
 * @param {{http: (path: string) => string}} server
 * @param {[number, object][]} answers
 * @param {Record<string, string>} stored
 */
function made(server, answers, stored = {}) {
  FakeSocket.opened = [];
  /** @type {{url: string, init: RequestInit | undefined}[]} */
  const requests = [];
  const counts = { changes: 0, opens: 0, reloads: 0 };
  const storage = {
    getItem: (/** @type {string} */ name) => stored[name] ?? null,
    setItem: (/** @type {string} */ name, /** @type {string} */ value) => {
      stored[name] = value;
    },
    removeItem: (/** @type {string} */ name) => {
      delete stored[name];
    },
  };
  const session = new Session(server, PAGE, {
    onChange: () => {
      counts.changes += 1;
    },
    onOpen: () => {
      counts.opens += 1;
    },
    platform: {
      fetch: (url, init) => {
        requests.push({ url, init });
        const [status, body] = (answers.length > 1 ? answers.shift() : answers[0]) ?? [200, {}];
        if (status === 0) return Promise.reject(new TypeError("network"));
        return Promise.resolve(new Response(status === 204 ? null : JSON.stringify(body), { status }));
      },
      WebSocket: /** @type {typeof WebSocket} */ (/** @type {unknown} */ (FakeSocket)),
      storage,
      reload: () => {
        counts.reloads += 1;
      },
    },
  });
  return { session, requests, counts, stored };
}

/** @param {{init: RequestInit | undefined}} request */
function authorization({ init }) {
  const headers = /** @type {Record<string, string> | undefined} */ (init?.headers);
  return headers?.authorization;
}

const NO_TOKEN = { role: "reader", token_needed: false, session: false };
const ANONYMOUS = { role: "anonymous", token_needed: true, session: false };
const READER = { role: "reader", token_needed: true, session: true };
const SIGNAL = { signal: new AbortController().signal };

test("a server without a token asks for none", async () => {
  const { session, requests } = made(OWN, [[200, NO_TOKEN]]);
  await session.check();
  assert.deepEqual(session.status, { isNeeded: false, isSending: false, canLogOut: false, reason: "" });
  assert.equal(authorization(requests[0]), undefined);
});

test("a refused request asks for the token, and fails for what made it", async () => {
  const { session } = made(OWN, [[401, { detail: "This server needs a token" }]]);
  await assert.rejects(session.platform.getJson("http://page.test/api/symbols", SIGNAL), /needs a token/);
  assert.equal(session.status.isNeeded, true);
});

test("other failures ask for nothing", async () => {
  const { session } = made(OWN, [[503, { detail: "later" }]]);
  await assert.rejects(session.platform.getJson("http://page.test/api/symbols", SIGNAL), /later/);
  await session.check();
  assert.equal(session.status.isNeeded, false);
});

test("the server's own page sends the token once and keeps nothing of it", async () => {
  const { session, requests, counts, stored } = made(OWN, [
    [200, ANONYMOUS],
    [200, READER],
  ]);
  await session.check();
  assert.equal(session.status.isNeeded, true);
  await session.logIn("the token");
  assert.equal(requests[1].init?.method, "POST");
  assert.equal(requests[1].init?.body, '{"token":"the token"}');
  assert.deepEqual(session.status, { isNeeded: false, isSending: false, canLogOut: true, reason: "" });
  assert.equal(counts.opens, 1);
  assert.deepEqual(stored, {});
  await session.platform.getJson("http://page.test/api/symbols", SIGNAL);
  assert.equal(authorization(requests[2]), undefined);
  new session.platform.WebSocket("ws://page.test/ws");
  assert.deepEqual(FakeSocket.opened[0].protocols, []);
});

test("a wrong token is said, and asked for again", async () => {
  const { session, counts } = made(OWN, [
    [200, ANONYMOUS],
    [401, { detail: "does not accept this token" }],
  ]);
  await session.check();
  await session.logIn("wrong");
  assert.equal(session.status.isNeeded, true);
  assert.equal(session.status.reason, "does not accept this token");
  assert.equal(session.status.isSending, false);
  assert.equal(counts.opens, 0);
});

test("a page of another origin sends the token with each request and with the feed", async () => {
  const { session, requests, stored } = made(OTHER, [[200, READER]]);
  await session.logIn("a?token~>");
  assert.equal(authorization(requests[0]), "Bearer a?token~>");
  assert.deepEqual(stored, { "pulse.token": "a?token~>" });
  await session.platform.getJson("http://server.test/api/symbols", SIGNAL);
  assert.equal(authorization(requests[1]), "Bearer a?token~>");
  new session.platform.WebSocket("ws://server.test/ws");
  assert.deepEqual(FakeSocket.opened[0].protocols, ["pulse.v1", "pulse.token.YT90b2tlbn4-"]);
});

test("a page of another origin remembers the token while its tab is open", async () => {
  const { session, requests } = made(OTHER, [[200, NO_TOKEN]], { "pulse.token": "kept" });
  await session.check();
  assert.equal(authorization(requests[0]), "Bearer kept");
  assert.equal(session.status.canLogOut, true);
});

test("a token that another origin's server does not take is not kept", async () => {
  const { session, stored } = made(OTHER, [[200, ANONYMOUS]]);
  await session.logIn("wrong");
  assert.match(session.status.reason, /does not accept this token/);
  assert.deepEqual(stored, {});
});

test("a handshake that fails asks who the page is, one that opened does not", async () => {
  const { session, requests } = made(OWN, [[200, ANONYMOUS]]);
  new session.platform.WebSocket("ws://page.test/ws");
  new session.platform.WebSocket("ws://page.test/ws");
  const [opened, refused] = FakeSocket.opened;
  opened.dispatchEvent(new Event("open"));
  opened.dispatchEvent(new Event("close"));
  assert.equal(requests.length, 0);
  refused.dispatchEvent(new Event("close"));
  await new Promise((resolve) => setTimeout(resolve));
  assert.equal(requests.length, 1);
  assert.equal(session.status.isNeeded, true);
});

test("the end of a session drops the cookie and loads the page anew", async () => {
  const { session, requests, counts } = made(OWN, [[204, {}]]);
  await session.logOut();
  assert.equal(requests[0].init?.method, "DELETE");
  assert.equal(counts.reloads, 1);
});

test("the end of a session of another origin forgets the token", async () => {
  const { session, requests, counts, stored } = made(OTHER, [[200, READER]], { "pulse.token": "kept" });
  await session.logOut();
  assert.deepEqual(stored, {});
  assert.equal(requests.length, 0);
  assert.equal(counts.reloads, 1);
});

test("a session whose end does not reach the server goes on", async () => {
  const { session, counts } = made(OWN, [[0, {}]]);
  await session.logOut();
  assert.equal(counts.reloads, 0);
  assert.equal(session.status.reason, "The server cannot be reached");
});
