import assert from "node:assert/strict";
import { test } from "node:test";
import { server } from "./fake-wasi.js";

const { drive } = await import("../dist/loop.js");
const { enter } = await import("../dist/phase.js");
const sdk = await import("../dist/fetch.js");

test("what needs the server is refused while the suite is built", async () => {
  await assert.rejects(sdk.fetch("http://a.test/"), /fetch was used while the suite was built/);
  assert.throws(() => setTimeout(() => {}, 1), /setTimeout was used while the suite was built/);
  enter();
});

/** `fetch` as a test of a suite calls it; gives the answer with its text. */
function fetch(...request) {
  const ask = async () => {
    const answer = await sdk.fetch(...request);
    return { answer, text: await answer.text() };
  };
  return drive(ask);
}

function fails(request, kind, words) {
  return assert.rejects(fetch(...request), (error) => {
    assert.ok(error instanceof TypeError && error.name === "FetchError", `${error}`);
    assert.equal(error.kind, kind);
    assert.match(error.message, words);
    return true;
  });
}

test("a request is sent as it was made, and its answer read to the end", async () => {
  let seen;
  server.answer = (request) => {
    seen = request;
    return { status: 201, headers: { "x-a": "b" }, body: ["hello ", "wörld"] };
  };
  const url = "http://a.test:8080/b?q=ü#f";
  const { answer, text } = await fetch(url, { method: "post", body: "größe and more", headers: { "X-C": "d" } });
  assert.deepEqual([answer.status, answer.ok, answer.headers.get("x-a"), text], [201, true, "b", "hello wörld"]);
  assert.equal(answer.url, "http://a.test:8080/b?q=%C3%BC#f");
  assert.deepEqual(seen, {
    method: "POST",
    url: "http://a.test:8080/b?q=%C3%BC",
    headers: { "content-length": "16", "content-type": "text/plain;charset=UTF-8", "x-c": "d" },
    body: "größe and more",
  });
});

test("an answer without a body has none", async () => {
  server.answer = () => ({ status: 204 });
  assert.equal((await fetch("http://a.test/")).answer.body, null);
});

test("redirects are followed as the standard has it", async () => {
  const seen = [];
  server.answer = (request) => {
    seen.push(request);
    return seen.length === 1 ? { status, headers: { location: "http://b.test/there" } } : {};
  };
  const init = { method: "POST", body: "x", headers: { authorization: "secret" } };
  let status = 302;
  const { answer } = await fetch("http://a.test/here", init);
  assert.deepEqual([answer.redirected, answer.url], [true, "http://b.test/there"]);
  assert.deepEqual(seen[1], { method: "GET", url: "http://b.test/there", headers: {}, body: "" });

  seen.length = 0;
  status = 307;
  await fetch("http://a.test/here", init);
  assert.deepEqual([seen[1].method, seen[1].body, seen[1].headers.authorization], ["POST", "x", undefined]);

  seen.length = 0;
  assert.equal((await fetch("http://a.test/here", { redirect: "manual" })).answer.status, 307);
  seen.length = 0;
  await fails(["http://a.test/here", { redirect: "error" }], "broken", /redirected to http:\/\/b\.test\/there/);
  server.answer = () => ({ status: 301, headers: { location: "/again" } });
  await fails(["http://a.test/again"], "broken", /more than 20 redirects/);
});

test("an error says what kind of thing went wrong", async () => {
  const url = "http://a.test/";
  const kinds = [
    [{ tag: "HTTP-request-denied" }, "denied", /^GET http:\/\/a\.test\/: denied: .*`allow_http`$/],
    [{ tag: "connection-refused" }, "unreachable", /cannot reach the server: connection-refused/],
    [{ tag: "DNS-error", val: { rcode: "NXDOMAIN" } }, "unreachable", /DNS-error \{"rcode":"NXDOMAIN"\}/],
    [{ tag: "DNS-timeout" }, "timed-out", /took too long/],
    [{ tag: "HTTP-response-body-size", val: 10n }, "denied", /hit a limit: HTTP-response-body-size 10$/],
    [{ tag: "HTTP-protocol-error" }, "broken", /broke off/],
  ];
  for (const [error, kind, words] of kinds) {
    server.answer = () => ({ error });
    await fails([url], kind, words);
  }
  server.answer = () => ({ body: ["begin"], broken: { tag: "connection-terminated" } });
  await fails([url], "broken", /connection-terminated/);
});

test("a malformed request is not sent", async () => {
  server.answer = () => assert.fail("it was sent");
  await fails(["/relative"], "request", /no absolute URL/);
  await fails(["ftp://a.test/"], "request", /`ftp:` is not http/);
  await fails(["http://me:secret@a.test/"], "request", /^GET http:\/\/a\.test\/: a URL has no user/);
  await fails(["http://a.test/", { body: "x" }], "request", /has no body/);
  await fails(["http://a.test/", { headers: { host: "b.test" } }], "request", /cannot be sent: host/);
});

test("an aborted request ends with the signal's reason", async () => {
  server.answer = () => assert.fail("it was sent");
  const reason = new Error("enough");
  await assert.rejects(fetch("http://a.test/", { signal: AbortSignal.abort(reason) }), reason);
});

test("timers fire in the order of their times, and what they throw is not lost", async () => {
  const fired = [];
  const work = new Promise((done) => {
    setTimeout(() => done(fired.push("last")), 20);
    setTimeout(() => fired.push("first"), 5);
    clearTimeout(setTimeout(() => fired.push("never"), 1));
    const interval = setInterval(() => fired.push("again") === 3 && clearInterval(interval), 6);
  });
  await drive(() => work);
  assert.deepEqual(fired, ["first", "again", "again", "last"]);
  const throwing = () => new Promise(() => setTimeout(() => assert.fail("in a timer"), 1));
  await assert.rejects(drive(throwing), /in a timer/);
});

test("waiting for what can never happen is a failure", async () => {
  await assert.rejects(drive(() => new Promise(() => {})), /nothing is left to settle/);
});
