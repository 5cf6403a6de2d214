// Addresses, JSON over HTTP, and requests that are repeated until they succeed.

import assert from "node:assert/strict";
import { test } from "node:test";

import { ApiError, addresses, getJson } from "../../static/api.js";
import { Fetcher } from "../../static/fetcher.js";
import { fakePlatform } from "./support.mjs";

/** @import {Platform} from "../../static/fetcher.js" */

const PROBLEM = { type: "about:blank", title: "Bad Request", status: 400, detail: "limit must be between 1 and 1000" };

/**
 * @param {unknown} body
 * @param {number} status
 */
function answer(body, status = 200) {
  return () => Promise.resolve(new Response(typeof body === "string" ? body : JSON.stringify(body), { status }));
}

test("empty bases mean the page's own address, also under a prefix", () => {
  const root = addresses({ apiBase: "", wsBase: "" }, "https://pulse.example/#BTCUSDT");
  const prefixed = addresses(undefined, "http://127.0.0.1:8000/pulse/index.html?x=1");

  assert.equal(root.http("api/symbols"), "https://pulse.example/api/symbols");
  assert.equal(root.feed(), "wss://pulse.example/ws");
  assert.equal(prefixed.feed(), "ws://127.0.0.1:8000/pulse/ws");
});

test("other bases point to another server, and an empty WebSocket base follows the API's", () => {
  const both = addresses({ apiBase: "https://api.example/v1", wsBase: "wss://ws.example" }, "https://page.example/");
  const one = addresses({ apiBase: "https://api.example/v1", wsBase: "" }, "https://page.example/");

  assert.equal(both.http("api/ohlcv", { symbol: "A&B" }), "https://api.example/v1/api/ohlcv?symbol=A%26B");
  assert.equal(both.feed(), "wss://ws.example/ws");
  assert.equal(one.feed(), "wss://api.example/v1/ws");
});

test("a problem document becomes an error with its detail", async () => {
  await assert.rejects(getJson("x", { fetch: answer(PROBLEM, 400) }), new ApiError(PROBLEM.detail, 400));
});

test("an answer that is not JSON is an error, with the status where that says more", async () => {
  const status = new ApiError("The server answered with status 502", 502);
  await assert.rejects(getJson("x", { fetch: answer("<html>", 502) }), status);
  await assert.rejects(getJson("x", { fetch: answer("<html>") }), new ApiError("The server's answer is not JSON"));
});

test("a server that cannot be reached is an error in a sentence", async () => {
  const fetch = () => Promise.reject(new TypeError("Failed to fetch"));

  await assert.rejects(getJson("x", { fetch }), new ApiError("The server cannot be reached"));
});

/** @param {Platform["getJson"]} get */
function fetching(get) {
  const { platform, timers, due } = fakePlatform(0);
  /** @type {unknown[]} */
  const arrived = [];
  /** @type {Fetcher<unknown, string>} */
  const fetcher = new Fetcher({
    onData: (body, subject) => arrived.push([subject, body]),
    onChange: () => {},
    platform: { ...platform, now: () => 0, getJson: get },
  });
  return { fetcher, arrived, timers, due };
}

/**
 * Return a `getJson` that gives these answers in turn.
 * @param {(() => Promise<unknown>)[]} answers
 */
function inTurn(...answers) {
  return () => answers.shift()?.() ?? Promise.reject(new Error("expected no further request"));
}

function unavailable() {
  return Promise.reject(new ApiError("The store is not available"));
}

async function settled() {
  for (let turn = 0; turn < 5; turn += 1) await Promise.resolve();
}

test("data is delivered with the subject of its request", async () => {
  const { fetcher, arrived } = fetching(() => Promise.resolve([1]));
  fetcher.load("u", "BTCUSDT");
  await settled();

  assert.deepEqual(arrived, [["BTCUSDT", [1]]]);
  assert.equal(fetcher.status.phase, "ready");
});

test("a failure is reported and retried after a wait", async () => {
  const { fetcher, arrived, due } = fetching(inTurn(unavailable, () => Promise.resolve([2])));
  fetcher.load("u", "BTCUSDT");
  await settled();
  assert.deepEqual(fetcher.status, { phase: "waiting", reason: "The store is not available", retryAtMs: 1_000 });

  assert.equal(due().ms, 1_000);
  due().act();
  await settled();

  assert.deepEqual(arrived, [["BTCUSDT", [2]]]);
  assert.equal(fetcher.status.reason, "");
});

test("retryNow ends the wait", async () => {
  const { fetcher, arrived } = fetching(inTurn(unavailable, () => Promise.resolve([2])));
  fetcher.load("u", "BTCUSDT");
  await settled();
  fetcher.retryNow();
  await settled();

  assert.equal(arrived.length, 1);
});

test("the answer to a replaced request is dropped", async () => {
  let first = (/** @type {unknown} */ _) => {};
  const late = new Promise((resolve) => {
    first = resolve;
  });
  const { fetcher, arrived } = fetching(
    inTurn(
      () => late,
      () => Promise.resolve(["new"]),
    ),
  );
  fetcher.load("u", "BTCUSDT");
  fetcher.load("u", "ETHUSDT");
  await settled();
  first(["old"]);
  await settled();

  assert.deepEqual(arrived, [["ETHUSDT", ["new"]]]);
});

test("a request without an answer is given up after ten seconds", async () => {
  const { fetcher, due } = fetching(
    (_, { signal }) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason));
      }),
  );
  fetcher.load("u", "BTCUSDT");
  assert.equal(due().ms, 10_000);
  due().act();
  await settled();

  assert.equal(fetcher.status.reason, "The server did not answer within 10 s");
});

test("a stopped request delivers no data and is not retried", async () => {
  let give = (/** @type {unknown} */ _) => {};
  const { fetcher, arrived, timers } = fetching(
    () =>
      new Promise((resolve) => {
        give = resolve;
      }),
  );
  fetcher.load("u", "BTCUSDT");
  fetcher.stop();
  give([1]);
  await settled();

  assert.deepEqual(arrived, []);
  assert.deepEqual(fetcher.status, { phase: "idle", reason: "", retryAtMs: 0 });
  assert.equal(timers.size, 0);
});

test("stopping ends the wait and clears the reason", async () => {
  const { fetcher, timers } = fetching(unavailable);
  fetcher.load("u", "BTCUSDT");
  await settled();
  fetcher.stop();

  assert.equal(fetcher.status.phase, "idle");
  assert.equal(fetcher.status.reason, "");
  assert.equal(timers.size, 0);
});
