// Stands in for the modules of wasi that `fetch` imports: a server that is a function, and a clock that
// goes on when something waits for it.

import { register } from "node:module";

/** Answers requests; a test sets it. Gives `{status, headers, body}`, or `{error}` with an error code. */
export const server = { answer: undefined };
globalThis.__fakeServer = server;

const source = `
class Resource { [Symbol.dispose]() {} }
class Ready extends Resource {}
let time = 0n;
export const now = () => time;
export const subscribeInstant = (at) => Object.assign(new Ready(), { at });
export function poll(pollables) {
  const ready = pollables.flatMap(({ at }, index) => (at === undefined || at <= time ? [index] : []));
  if (ready.length > 0) return ready;
  time = pollables.map(({ at }) => at).reduce((first, at) => (at < first ? at : first));
  return poll(pollables);
}
export class Fields extends Resource {
  static fromList(entries) {
    if (entries.some(([name]) => name === "host")) throw { payload: { tag: "forbidden" } };
    return Object.assign(new Fields(), { list: entries });
  }
  entries() { return this.list; }
  get(name) { return this.list.filter(([key]) => key === name).map(([, value]) => value); }
}
export class OutgoingRequest {
  constructor(fields) { this.fields = fields; this.chunks = []; }
  setMethod(method) { this.method = method.val ?? method.tag.toUpperCase(); }
  setScheme(scheme) { this.scheme = scheme.tag; }
  setAuthority(authority) { this.authority = authority; }
  setPathWithQuery(path) { this.path = path; }
  body() { return this; }
  write() {
    const { chunks } = this;
    return Object.assign(new Resource(), {
      checkWrite: () => 4n, write: (chunk) => chunks.push(...chunk), flush() {}, subscribe: () => new Ready(),
    });
  }
}
export const OutgoingBody = { finish() {} };
export const IncomingBody = { finish: () => new Resource() };
export const httpErrorCode = (error) => error.code;
export function handle(request) {
  const text = (bytes) => new TextDecoder().decode(bytes);
  let got;
  const ask = () => globalThis.__fakeServer.answer({
    method: request.method,
    url: request.scheme.toLowerCase() + "://" + request.authority + request.path,
    headers: Object.fromEntries(request.fields.list.map(([name, value]) => [name, text(value)])),
    body: text(Uint8Array.from(request.chunks)),
  });
  return Object.assign(new Resource(), {
    subscribe: () => new Ready(),
    get() {
      const { error, ...answer } = ask();
      const val = error ? { tag: "err", val: error } : { tag: "ok", val: incoming(answer) };
      return { tag: "ok", val };
    },
  });
}
function incoming({ status = 200, headers = {}, body = [], broken }) {
  const encoder = new TextEncoder();
  const list = Object.entries(headers).map(([name, value]) => [name, encoder.encode(value)]);
  const chunks = body.map((chunk) => encoder.encode(chunk));
  return Object.assign(new Resource(), {
    status: () => status,
    headers: () => Object.assign(new Fields(), { list }),
    consume: () => ({
      stream: () => Object.assign(new Resource(), {
        subscribe: () => new Ready(),
        read() {
          if (chunks.length > 0) return chunks.shift();
          throw { payload: broken ? { tag: "last-operation-failed", val: { code: broken } } : { tag: "closed" } };
        },
      }),
    }),
  });
}
`;

const fake = `data:text/javascript,${encodeURIComponent(source)}`;
const hooks = `export const resolve = (name, context, next) =>
  name.startsWith("wasi:") ? { url: ${JSON.stringify(fake)}, shortCircuit: true } : next(name, context);`;
register(`data:text/javascript,${encodeURIComponent(hooks)}`);
