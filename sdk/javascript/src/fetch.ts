// `fetch` on top of wasi:http.
//
// The engine has one of its own, which says of every request that fails no more than that it did. Here
// an error says which rule denied a request, or why the server was not reached.

import { handle } from "wasi:http/outgoing-handler@0.2.12";
import {
  type ErrorCode,
  Fields,
  type FutureIncomingResponse,
  httpErrorCode,
  IncomingBody,
  type IncomingResponse,
  type Method,
  OutgoingBody,
  OutgoingRequest,
} from "wasi:http/types@0.2.12";
import type { InputStream } from "wasi:io/streams@0.2.12";
import { until } from "./loop.js";
import { needsServer } from "./phase.js";

/** How many bytes are read or written at once. */
const CHUNK = 65_536;

/** How many redirects are followed, as the standard has it. */
const REDIRECTS = 20;

/** Which kind of thing went wrong with a request. */
export type FetchErrorKind =
  /** The request is malformed; nothing was sent. */
  | "request"
  /** The policy of the suite does not allow it, or a limit was hit. */
  | "denied"
  /** The server was not reached: unknown name, refused connection, wrong certificate. */
  | "unreachable"
  /** It took too long. */
  | "timed-out"
  /** The server was reached and the exchange broke off. */
  | "broken";

/** Why there is no answer. As the standard has it, a `TypeError`. */
export class FetchError extends TypeError {
  override readonly name = "FetchError";

  /** @internal */
  constructor(
    request: { method: string; url: URL | string },
    readonly kind: FetchErrorKind,
    reason: string,
  ) {
    super(`${request.method} ${request.url}: ${reason}`);
  }
}

interface Outgoing {
  method: string;
  url: URL;
  headers: Headers;
  body: Uint8Array | undefined;
  signal: AbortSignal | null;
}

/** The global `fetch`: sends a request and gives the answer, whatever its status. */
export async function fetch(input: RequestInfo | URL, init: RequestInit = {}): Promise<Response> {
  needsServer("fetch");
  let request = await outgoing(input, init);
  const mode = init.redirect ?? "follow";
  for (let hop = 0; ; hop += 1) {
    request.signal?.throwIfAborted();
    const incoming = await exchange(request);
    const target = redirectTarget(incoming);
    if (target === undefined || mode === "manual") {
      return response(incoming, request, hop > 0);
    }
    incoming[Symbol.dispose]();
    if (mode === "error" || hop === REDIRECTS) {
      const reason = mode === "error" ? `redirected to ${target.location}` : `more than ${REDIRECTS} redirects`;
      throw new FetchError(request, "broken", reason);
    }
    request = redirected(request, target.status, target.location);
  }
}

async function outgoing(input: RequestInfo | URL, init: RequestInit): Promise<Outgoing> {
  const given = input instanceof Request ? input : undefined;
  const method = (init.method ?? given?.method ?? "GET").toUpperCase();
  const headers = new Headers(init.headers ?? given?.headers);
  const url = absolute(given?.url ?? String(input), method);
  let body: Uint8Array | undefined;
  if (init.body !== undefined && init.body !== null) {
    // Whatever a body may be, the engine knows its bytes and its type.
    const content = new Response(init.body);
    const type = content.headers.get("content-type");
    if (type !== null && !headers.has("content-type")) {
      headers.set("content-type", type);
    }
    body = new Uint8Array(await content.arrayBuffer());
  } else if (given?.body) {
    body = new Uint8Array(await given.arrayBuffer());
  }
  if (body && (method === "GET" || method === "HEAD")) {
    throw new FetchError({ method, url }, "request", "a request with this method has no body");
  }
  if (body || ["POST", "PUT", "PATCH"].includes(method)) {
    headers.set("content-length", String(body?.length ?? 0));
  }
  return { method, url, headers, body, signal: init.signal ?? given?.signal ?? null };
}

function absolute(text: string, method: string, base?: URL): URL {
  let url: URL;
  try {
    url = new URL(text, base);
  } catch {
    throw new FetchError({ method, url: text }, "request", "this is no absolute URL");
  }
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    throw new FetchError({ method, url }, "request", `\`${url.protocol}\` is not http: or https:`);
  }
  if (url.username !== "" || url.password !== "") {
    const bare = new URL(url);
    bare.username = bare.password = "";
    const reason = "a URL has no user or password: use the header `authorization`";
    throw new FetchError({ method, url: bare }, "request", reason);
  }
  return url;
}

/** Sends a request and waits for the head of the answer. */
async function exchange(request: Outgoing): Promise<IncomingResponse> {
  const sent = start(request);
  try {
    await until(sent.future.subscribe(), request.signal);
    const got = sent.future.get();
    if (got?.tag !== "ok") {
      throw new FetchError(request, "broken", "the answer was taken twice");
    }
    if (got.val.tag === "err") {
      throw failed(request, got.val.val);
    }
    return got.val.val;
  } finally {
    sent.future[Symbol.dispose]();
  }
}

function start(request: Outgoing): { future: FutureIncomingResponse } {
  const { method, url, body } = request;
  const wasi = new OutgoingRequest(fields(request));
  try {
    wasi.setMethod(methodOf(method));
    wasi.setScheme({ tag: url.protocol === "https:" ? "HTTPS" : "HTTP" });
    wasi.setAuthority(url.host);
    wasi.setPathWithQuery(url.pathname + url.search);
  } catch {
    throw new FetchError(request, "request", "the method or the URL is malformed");
  }
  const content = wasi.body();
  let future: FutureIncomingResponse;
  try {
    future = handle(wasi, undefined);
  } catch (error) {
    throw failed(request, (error as { payload: ErrorCode }).payload);
  }
  // A server may answer before it has read everything, so the answer is waited for meanwhile; what is
  // wrong with the connection is told there.
  send(content, body ?? new Uint8Array()).catch(() => undefined);
  return { future };
}

function fields(request: Outgoing): Fields {
  const encoder = new TextEncoder();
  const entries = [...request.headers].map(
    ([name, value]): [string, Uint8Array] => [name, encoder.encode(value)],
  );
  try {
    return Fields.fromList(entries);
  } catch {
    const names = entries.map(([name]) => name).join(", ");
    throw new FetchError(request, "request", `one of these headers cannot be sent: ${names}`);
  }
}

function methodOf(method: string): Method {
  const tag = method.toLowerCase();
  const known = ["get", "head", "post", "put", "delete", "connect", "options", "trace", "patch"];
  return known.includes(tag) ? ({ tag } as Method) : { tag: "other", val: method };
}

async function send(content: OutgoingBody, body: Uint8Array): Promise<void> {
  const stream = content.write();
  try {
    for (let at = 0; at < body.length; ) {
      const room = Number(stream.checkWrite());
      if (room === 0) {
        await until(stream.subscribe());
        continue;
      }
      const chunk = body.subarray(at, at + Math.min(room, CHUNK));
      stream.write(chunk);
      at += chunk.length;
    }
    stream.flush();
    await until(stream.subscribe());
  } finally {
    stream[Symbol.dispose]();
  }
  OutgoingBody.finish(content, undefined);
}

function redirectTarget(
  incoming: IncomingResponse,
): { status: number; location: string } | undefined {
  const status = incoming.status();
  if (![301, 302, 303, 307, 308].includes(status)) {
    return undefined;
  }
  const headers = incoming.headers();
  const [location] = headers.get("location");
  headers[Symbol.dispose]();
  return location && { status, location: new TextDecoder().decode(location) };
}

/** The request that follows a redirect, as the standard has it. */
function redirected(request: Outgoing, status: number, location: string): Outgoing {
  const { method } = request;
  const url = absolute(location, method, request.url);
  const headers = new Headers(request.headers);
  if (url.origin !== request.url.origin) {
    headers.delete("authorization");
  }
  const asGet =
    (status === 303 && method !== "GET" && method !== "HEAD") || (status < 303 && method === "POST");
  if (!asGet) {
    return { ...request, url, headers };
  }
  for (const name of ["content-type", "content-length"]) {
    headers.delete(name);
  }
  return { ...request, method: "GET", url, headers, body: undefined };
}

function response(incoming: IncomingResponse, request: Outgoing, wasRedirected: boolean): Response {
  const status = incoming.status();
  const headers = new Headers();
  const given = incoming.headers();
  const decoder = new TextDecoder();
  for (const [name, value] of given.entries()) {
    headers.append(name, decoder.decode(value));
  }
  given[Symbol.dispose]();
  const empty = request.method === "HEAD" || [204, 205, 304].includes(status);
  if (empty) {
    incoming[Symbol.dispose]();
  }
  const answer = new Response(empty ? null : content(incoming, request), { status, headers });
  Object.defineProperties(answer, {
    url: { value: request.url.href },
    redirected: { value: wasRedirected },
  });
  return answer;
}

/** The body of an answer, read as it is asked for. */
function content(incoming: IncomingResponse, request: Outgoing): ReadableStream<Uint8Array> {
  const body = incoming.consume();
  const stream = body.stream();
  const end = () => {
    stream[Symbol.dispose]();
    IncomingBody.finish(body)[Symbol.dispose]();
    incoming[Symbol.dispose]();
  };
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const chunk = await read(stream, request);
        if (chunk) {
          controller.enqueue(chunk);
          return;
        }
        end();
        controller.close();
      } catch (error) {
        end();
        controller.error(error);
      }
    },
    cancel: end,
  });
}

/** What comes next; nothing at the end. */
async function read(stream: InputStream, request: Outgoing): Promise<Uint8Array | undefined> {
  for (;;) {
    try {
      const chunk = stream.read(BigInt(CHUNK));
      if (chunk.length > 0) {
        return chunk;
      }
    } catch (error) {
      const { payload } = error as { payload: { tag: string; val: Parameters<typeof httpErrorCode>[0] } };
      if (payload.tag === "closed") {
        return undefined;
      }
      const code = httpErrorCode(payload.val);
      throw code ? failed(request, code) : new FetchError(request, "broken", payload.val.toDebugString());
    }
    await until(stream.subscribe(), request.signal);
  }
}

const KINDS: [RegExp, FetchErrorKind, string][] = [
  [/^HTTP-request-denied$/, "denied", "denied: the suite's policy must grant this host in `allow_http`"],
  [/timeout$/, "timed-out", "took too long"],
  [/^(DNS|destination|TLS)-|^connection-refused$/, "unreachable", "cannot reach the server"],
  [/^(connection-limit-reached|HTTP-(request|response)-body-size)$/, "denied", "hit a limit"],
  [/^HTTP-request-(method|URI|length)/, "request", "malformed request"],
  [/./, "broken", "the exchange broke off"],
];

function failed(request: Outgoing, code: ErrorCode): FetchError {
  const [, kind, words] = KINDS.find(([pattern]) => pattern.test(code.tag)) as (typeof KINDS)[number];
  if (code.tag === "HTTP-request-denied") {
    return new FetchError(request, kind, words);
  }
  const detail = "val" in code && code.val !== undefined ? ` ${JSON.stringify(code.val, plain)}` : "";
  return new FetchError(request, kind, `${words}: ${code.tag}${detail}`);
}

function plain(_: string, value: unknown): unknown {
  return typeof value === "bigint" ? Number(value) : value;
}
