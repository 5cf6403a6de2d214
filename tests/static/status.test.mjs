// The header's texts.

import assert from "node:assert/strict";
import { test } from "node:test";

import { instanceText } from "../../static/panels/status.js";

test("the instance that made the view is named with its venue", () => {
  assert.equal(instanceText({ instance: "413fbbbb", venue: "us" }), "Instance 413fbbbb, venue us");
  assert.equal(instanceText(null), "");
});
