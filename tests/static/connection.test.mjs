// The connection: backoff, silence, late events, against a socket and a clock that the test controls.

import assert from "node:assert/strict";
import { test } from "node:test";

import { RETRY_MS_MAX, RETRY_MS_MIN, retryDelay } from "../../static/backoff.js";
import { Connection } from "../../static/connection.js";
import { fakePlatform } from "./support.mjs";

const MESSAGE = JSON.stringify({ topic: "book.BTCUSDT", seq: 1 });

function connecting() {
  const fake = fakePlatform();
  /** @type {unknown[]} */
  const received = [];
  const connection = new Connection({
    onMessage: (message) => received.push("topic" in message && message.seq),
    onOpen: () => {},
    onChange: () => {},
    platform: fake.platform,
  });
  connection.open("ws://server/ws");
  return { connection, received, ...fake };
}

function opened() {
  const setup = connecting();
  setup.last().open();
  return setup;
}

test("messages arrive parsed once the connection is open", () => {
  const { connection, received, last } = opened();
  last().receive(MESSAGE);

  assert.equal(connection.status.phase, "open");
  assert.deepEqual(received, [1]);
});

test("data that is not a message is ignored", () => {
  const { received, last } = opened();
  for (const data of ["not json", "[]", "null", "{}"]) last().receive(data);

  assert.deepEqual(received, []);
});

test("a lost connection is retried after a wait with jitter that grows, and retryNow ends the wait", () => {
  const { connection, sockets, last } = opened();
  last().lose(1006);
  const first = connection.status.retryAtMs;
  connection.retryNow();
  last().lose(1006);

  assert.equal(connection.status.reason, "the connection was lost");
  assert.equal(sockets.length, 2);
  assert.ok(connection.status.retryAtMs > first);
  assert.equal(connection.status.attempt, 2);
});

test("the reason of a close is the server's own text, or a sentence for its code", () => {
  const reasons = [[1001], [4000], [4000, "full"]].map(([code, reason]) => {
    const { connection, last } = opened();
    last().lose(Number(code), reason === undefined ? "" : String(reason));
    return connection.status.reason;
  });

  assert.deepEqual(reasons, ["the server is shutting down", "the server closed the connection (code 4000)", "full"]);
});

test("the end of the wait reconnects", () => {
  const { sockets, due, last } = opened();
  last().lose(1001);
  due().act();

  assert.equal(sockets.length, 2);
});

test("a message after a reconnection resets the count of failures", () => {
  const { connection, last } = opened();
  last().lose(1006);
  connection.retryNow();
  last().open();
  last().receive(MESSAGE);

  assert.equal(connection.status.attempt, 0);
});

test("a connection that is open but silent for ten seconds is replaced", () => {
  const { connection, sockets, clock } = opened();
  clock.nowMs += 10_000;
  connection.check();
  assert.equal(connection.status.phase, "open");

  clock.nowMs += 1;
  connection.check();

  assert.equal(connection.status.phase, "waiting");
  assert.equal(connection.status.reason, "no message from the server for 10 s");
  assert.ok(sockets[0].isClosed);
});

test("a connection that does not open within ten seconds is given up", () => {
  const { connection, clock } = connecting();
  clock.nowMs += 10_001;
  connection.check();

  assert.equal(connection.status.phase, "waiting");
});

test("a check after the wait has passed, as after sleep, reconnects at once", () => {
  const { connection, sockets, clock, last } = opened();
  last().lose(1006);
  clock.nowMs += 60_000;
  connection.check();

  assert.equal(sockets.length, 2);
});

test("a replaced socket is closed and its events are ignored", () => {
  const { connection, sockets, received } = opened();
  connection.open("ws://server/ws");
  sockets[0].receive(MESSAGE);
  sockets[0].lose(1000);

  assert.ok(sockets[0].isClosed);
  assert.deepEqual(received, []);
  assert.equal(connection.status.phase, "connecting");
});

test("a closed connection stays closed", () => {
  const { connection, sockets } = opened();
  connection.close();
  connection.retryNow();

  assert.equal(connection.status.phase, "idle");
  assert.equal(sockets.length, 1);
});

test("waits have full jitter between one second and a ceiling that doubles to thirty", () => {
  assert.equal(
    retryDelay(0, () => 0),
    RETRY_MS_MIN,
  );
  const ceilings = [0, 1, 2, 3, 4, 99].map((at) => retryDelay(at, () => 1));
  assert.deepEqual(ceilings, [2_000, 4_000, 8_000, 16_000, 30_000, RETRY_MS_MAX]);
});
