// The line to the server: backoff, watchdog and late words, against a socket and a clock that do as they are told.

import assert from "node:assert/strict";
import { test } from "node:test";

import { RETRY_MS_MAX, RETRY_MS_MIN, retryDelay } from "../../static/backoff.js";
import { Connection } from "../../static/connection.js";

const PICTURE = JSON.stringify({ topic: "book.BTCUSDT", seq: 1 });

function line() {
  const sockets = [];
  const heard = [];
  const timers = new Map();
  const clock = { nowMs: 1_000 };
  class Socket {
    constructor(url) {
      this.url = url;
      this.closed = false;
      sockets.push(this);
    }
    close() {
      this.closed = true;
    }
  }
  const connection = new Connection({
    onMessage: (picture) => heard.push(picture.seq),
    onOpen: () => {},
    onChange: () => {},
    WebSocket: Socket,
    now: () => clock.nowMs,
    random: () => 0.5,
    setTimeout: (act, ms) => timers.set(timers.size + 1, { act, ms }).size,
    clearTimeout: (id) => timers.delete(id),
    setInterval: () => 0,
    clearInterval: () => {},
  });
  connection.open("ws://server/ws");
  return { connection, sockets, heard, timers, clock, last: () => sockets.at(-1) };
}

function opened() {
  const wire = line();
  wire.last().onopen();
  return wire;
}

test("pictures arrive parsed once the line is open", () => {
  const { connection, heard, last } = opened();
  last().onmessage({ data: PICTURE });

  assert.equal(connection.status.phase, "open");
  assert.deepEqual(heard, [1]);
});

test("what cannot be read is no message", () => {
  const { heard, last } = opened();
  for (const data of ["not json", "[]", "null", "{}"]) last().onmessage({ data });

  assert.deepEqual(heard, []);
});

test("a lost line is tried again after a jittered wait that grows, and retry now ends the wait", () => {
  const { connection, sockets, last } = opened();
  last().onclose({ code: 1006, reason: "" });
  const first = connection.status.retryAtMs;
  connection.retryNow();
  last().onclose({ code: 1006, reason: "" });

  assert.equal(connection.status.reason, "the line broke");
  assert.equal(sockets.length, 2);
  assert.ok(connection.status.retryAtMs > first);
  assert.equal(connection.status.attempt, 2);
});

test("the wait's end reconnects by itself", () => {
  const { sockets, timers, last } = opened();
  last().onclose({ code: 1001, reason: "" });
  [...timers.values()].at(-1).act();

  assert.equal(sockets.length, 2);
});

test("a message after a reconnection forgets the failures", () => {
  const { connection, last } = opened();
  last().onclose({ code: 1006, reason: "" });
  connection.retryNow();
  last().onopen();
  last().onmessage({ data: PICTURE });

  assert.equal(connection.status.attempt, 0);
});

test("a line that is open but mute for ten seconds is replaced", () => {
  const { connection, sockets, clock } = opened();
  clock.nowMs += 10_000;
  connection.check();
  assert.equal(connection.status.phase, "open");

  clock.nowMs += 1;
  connection.check();

  assert.equal(connection.status.phase, "waiting");
  assert.equal(connection.status.reason, "no word from the server for 10 s");
  assert.ok(sockets[0].closed);
});

test("a line that never opens is given up after ten seconds too", () => {
  const { connection, clock } = line();
  clock.nowMs += 10_001;
  connection.check();

  assert.equal(connection.status.phase, "waiting");
});

test("waking from sleep after the wait's end reconnects at the first look", () => {
  const { connection, sockets, clock, last } = opened();
  last().onclose({ code: 1006, reason: "" });
  clock.nowMs += 60_000;
  connection.check();

  assert.equal(sockets.length, 2);
});

test("a line that was left is closed and no longer heard", () => {
  const { connection, sockets, heard } = opened();
  connection.open("ws://server/ws");
  sockets[0].onmessage({ data: PICTURE });
  sockets[0].onclose({ code: 1000, reason: "" });

  assert.ok(sockets[0].closed);
  assert.deepEqual(heard, []);
  assert.equal(connection.status.phase, "connecting");
});

test("closing for good stays closed", () => {
  const { connection, sockets } = opened();
  connection.close();
  connection.retryNow();

  assert.equal(connection.status.phase, "idle");
  assert.equal(sockets.length, 1);
});

test("waits are fully jittered between one second and a ceiling that doubles to thirty", () => {
  assert.equal(
    retryDelay(0, () => 0),
    RETRY_MS_MIN,
  );
  const ceilings = [0, 1, 2, 3, 4, 99].map((at) => retryDelay(at, () => 1));
  assert.deepEqual(ceilings, [2_000, 4_000, 8_000, 16_000, 30_000, RETRY_MS_MAX]);
});
