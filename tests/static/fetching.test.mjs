// Addresses, JSON over HTTP, and asking until it comes.

import assert from "node:assert/strict";
import { test } from "node:test";

import { addresses, ApiTrouble, getJson } from "../../static/api.js";
import { Fetcher } from "../../static/fetcher.js";

const PROBLEM = { type: "about:blank", title: "Bad Request", status: 400, detail: "limit must be between 1 and 1000" };

function answer(body, status = 200) {
  return async () => new Response(typeof body === "string" ? body : JSON.stringify(body), { status });
}

test("empty bases mean the page's own place, also under a prefix", () => {
  const root = addresses({ apiBase: "", wsBase: "" }, "https://pulse.example/#BTCUSDT");
  const prefixed = addresses(undefined, "http://127.0.0.1:8000/pulse/index.html?x=1");

  assert.equal(root.http("api/symbols"), "https://pulse.example/api/symbols");
  assert.equal(root.feed(), "wss://pulse.example/ws");
  assert.equal(prefixed.feed(), "ws://127.0.0.1:8000/pulse/ws");
});

test("other bases point elsewhere, and the WebSocket's follows the API's when it is empty", () => {
  const both = addresses({ apiBase: "https://api.example/v1", wsBase: "wss://ws.example" }, "https://page.example/");
  const one = addresses({ apiBase: "https://api.example/v1", wsBase: "" }, "https://page.example/");

  assert.equal(both.http("api/ohlcv", { symbol: "A&B" }), "https://api.example/v1/api/ohlcv?symbol=A%26B");
  assert.equal(both.feed(), "wss://ws.example/ws");
  assert.equal(one.feed(), "wss://api.example/v1/ws");
});

test("a problem is its own detail", async () => {
  await assert.rejects(getJson("x", { fetch: answer(PROBLEM, 400) }), new ApiTrouble(PROBLEM.detail));
});

test("an answer that is no JSON is trouble, with the status where that says more", async () => {
  await assert.rejects(getJson("x", { fetch: answer("<html>", 502) }), new ApiTrouble("The server answered 502"));
  await assert.rejects(getJson("x", { fetch: answer("<html>") }), new ApiTrouble("The server's answer is not JSON"));
});

test("a server that cannot be reached is trouble in words", async () => {
  const fetch = async () => {
    throw new TypeError("Failed to fetch");
  };

  await assert.rejects(getJson("x", { fetch }), new ApiTrouble("The server cannot be reached"));
});

function fetcher(getJsonOf) {
  const came = [];
  const timers = new Map();
  const fetching = new Fetcher({
    onData: (body, subject) => came.push([subject, body]),
    onChange: () => {},
    getJson: getJsonOf,
    now: () => 0,
    random: () => 0,
    setTimeout: (act, ms) => timers.set(timers.size + 1, { act, ms }).size,
    clearTimeout: (id) => timers.delete(id),
  });
  return { fetching, came, timers, due: () => [...timers.values()].at(-1) };
}

async function settled() {
  for (let turn = 0; turn < 5; turn += 1) await Promise.resolve();
}

test("what comes is handed over with its subject", async () => {
  const { fetching, came } = fetcher(async () => [1]);
  fetching.load("u", "BTCUSDT");
  await settled();

  assert.deepEqual(came, [["BTCUSDT", [1]]]);
  assert.equal(fetching.status.phase, "ready");
});

test("a failure is said, and tried again by itself", async () => {
  const answers = [Promise.reject(new ApiTrouble("The store is away")), Promise.resolve([2])];
  const { fetching, came, due } = fetcher(() => answers.shift());
  fetching.load("u", "BTCUSDT");
  await settled();
  assert.deepEqual(fetching.status, { phase: "waiting", reason: "The store is away", retryAtMs: 1_000 });

  assert.equal(due().ms, 1_000);
  due().act();
  await settled();

  assert.deepEqual(came, [["BTCUSDT", [2]]]);
  assert.equal(fetching.status.reason, "");
});

test("retry now ends the wait", async () => {
  const answers = [Promise.reject(new ApiTrouble("away")), Promise.resolve([2])];
  const { fetching, came } = fetcher(() => answers.shift());
  fetching.load("u");
  await settled();
  fetching.retryNow();
  await settled();

  assert.equal(came.length, 1);
});

test("an answer to a question that was replaced is not handed over", async () => {
  let first;
  const answers = [new Promise((resolve) => (first = resolve)), Promise.resolve(["new"])];
  const { fetching, came } = fetcher(() => answers.shift());
  fetching.load("u", "BTCUSDT");
  fetching.load("u", "ETHUSDT");
  await settled();
  first(["old"]);
  await settled();

  assert.deepEqual(came, [["ETHUSDT", ["new"]]]);
});

test("a try that takes too long is given up", async () => {
  const { fetching, due } = fetcher(
    (url, { signal }) =>
      new Promise((_, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason));
      }),
  );
  fetching.load("u");
  assert.equal(due().ms, 10_000);
  due().act();
  await settled();

  assert.equal(fetching.status.reason, "The server took too long");
});

test("what was stopped brings nothing more, neither data nor another try", async () => {
  let give;
  const { fetching, came, timers } = fetcher(() => new Promise((resolve) => (give = resolve)));
  fetching.load("u", "BTCUSDT");
  fetching.stop();
  give([1]);
  await settled();

  assert.deepEqual(came, []);
  assert.deepEqual(fetching.status, { phase: "idle", reason: "", retryAtMs: 0 });
  assert.equal(timers.size, 0);
});

test("stopping ends the wait for the next try and forgets the trouble", async () => {
  const { fetching, timers } = fetcher(() => Promise.reject(new ApiTrouble("The store is away")));
  fetching.load("u");
  await settled();
  fetching.stop();

  assert.equal(fetching.status.phase, "idle");
  assert.equal(fetching.status.reason, "");
  assert.equal(timers.size, 0);
});
