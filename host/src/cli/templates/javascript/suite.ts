import { skip, suite, test } from "@handoff/sdk";
import { expect } from "chai";

suite("{{name}}", {
  description: "What it tests, in Markdown.",
  timeout: "10s",
  // What it would like to reach. People see it; the suite's policy grants it.
  wantsHttp: ["http://127.0.0.1:8080"],
});

test("counts", { description: "Every assertion works." }, () => {
  expect("hello").to.have.lengthOf(5);
});

// Asks the tested system, which the parameter `target` names.
test("is healthy", { attempts: 2, tags: ["smoke"] }, async (t) => {
  const target = t.param("target") ?? skip("give the parameter `target`, a base URL");
  const answer = await fetch(`${target}/healthz`);
  expect(answer.status).to.equal(200);
  console.log(await answer.text());
});

// JSON in and out. Replace it by something of yours.
test("creates a book", { disabled: "an example" }, async (t) => {
  const answer = await fetch(`${t.requireParam("target")}/books`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ title: "Dune" }),
  });
  expect(answer.status).to.equal(201);
  expect(await answer.json()).to.include({ title: "Dune" });
});
