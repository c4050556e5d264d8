// Assertions whose message is the first difference, short enough for a table.

export class Difference extends Error {}

/** Thrown by a feature that has no meaning for a client or server; the reason is printed. */
export class Skip extends Error {}

const isBinary = (value) => value instanceof Uint8Array;

export function show(value, max = 120) {
  let text;
  if (isBinary(value)) {
    text = `<${value.length} bytes ${Buffer.from(value.buffer, value.byteOffset, Math.min(value.length, 16)).toString("hex")}>`;
  } else if (value === undefined) {
    text = "undefined";
  } else {
    text = JSON.stringify(value, (_key, inner) => {
      // Buffer.toJSON runs before this function sees the value
      if (inner?.type === "Buffer" && Array.isArray(inner.data)) return `<${inner.data.length} bytes>`;
      if (isBinary(inner)) return `<${inner.length} bytes>`;
      if (typeof inner === "string" && inner.length > max) return `${inner.slice(0, max)}...(${inner.length})`;
      return inner;
    });
  }
  return text.length > max ? `${text.slice(0, max)}...(${text.length})` : text;
}

function kind(value) {
  if (value === null) return "null";
  if (isBinary(value)) return "binary";
  if (Array.isArray(value)) return "array";
  return typeof value;
}

/** The path and the two values of the first difference, or undefined. */
function compare(actual, expected, path) {
  const kinds = [kind(actual), kind(expected)];
  if (kinds[0] !== kinds[1]) return { path, actual, expected };
  switch (kinds[0]) {
    case "binary":
      return Buffer.compare(Buffer.from(actual), Buffer.from(expected)) === 0 ? undefined : { path, actual, expected };
    case "array":
      for (let i = 0; i < Math.min(actual.length, expected.length); i++) {
        const found = compare(actual[i], expected[i], `${path}[${i}]`);
        if (found) return found;
      }
      return actual.length === expected.length ? undefined : { path, actual, expected };
    case "object": {
      for (const key of new Set([...Object.keys(expected), ...Object.keys(actual)])) {
        const found = compare(actual[key], expected[key], `${path}.${key}`);
        if (found) return found;
      }
      return undefined;
    }
    default:
      return Object.is(actual, expected) ? undefined : { path, actual, expected };
  }
}

export function equal(actual, expected, what) {
  const found = compare(actual, expected, what);
  if (found) throw new Difference(`${found.path}: expected ${show(found.expected)}, got ${show(found.actual)}`);
}

export function ok(condition, what) {
  if (!condition) throw new Difference(what);
}

export function oneOf(actual, allowed, what) {
  if (!allowed.includes(actual)) throw new Difference(`${what}: expected one of ${show(allowed)}, got ${show(actual)}`);
}

export function match(actual, pattern, what) {
  if (typeof actual !== "string" || !pattern.test(actual)) {
    throw new Difference(`${what}: expected ${pattern}, got ${show(actual)}`);
  }
}

/** `promise`, or a Difference after `ms`. A bound on failures, never a wait. */
export function within(ms, promise, what) {
  let timer;
  const bound = new Promise((_resolve, reject) => {
    timer = setTimeout(() => reject(new Difference(`${what}: nothing within ${ms} ms`)), ms);
  });
  return Promise.race([promise, bound]).finally(() => clearTimeout(timer));
}

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export function fourBytes(n) {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(n);
  return bytes;
}
