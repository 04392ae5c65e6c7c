import { types } from 'node:util';
import { ValueError } from '../errors.js';
import { parse, stringify } from './devalue.js';
import { type Kind, kindOf, nameOfClass } from './kinds.js';

/** How values are encoded. */
export interface EncodeOptions {
  /** `'json'`: instances of classes are stored as `JSON.stringify` would store them. */
  readonly classInstances: 'refuse' | 'json';
}

/**
 * One value to one string and back, exact in type and identity.
 *
 * What JSON restores exactly is stored as JSON, several times faster than anything written in JavaScript; the rest is
 * stored by devalue, marked by a `~`, with which no JSON text begins. One walk over the value decides, and refuses
 * what neither would restore: a value is stored exactly, or not at all.
 *
 * `key` is the session's key, for the error to name.
 */
export function encode(value: unknown, key: string, options: EncodeOptions): string {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return JSON.stringify(value);
  if (typeof value === 'number' && isJsonNumber(value)) return String(value);
  const walk = new Walk(key, options);
  const isJson = walk.isJson(value);
  if (walk.instances.size > 0) return encode(replaceInstances(value, walk.instances), key, options);
  return isJson ? JSON.stringify(value) : `~${stringify(value, reducers)}`;
}

/** The value that was encoded; throws on a text that `encode` didn't make. */
export function decode(text: string): unknown {
  return text.startsWith('~') ? parse(text.slice(1), revivers) : JSON.parse(text);
}

/** Throws a ValueError where the value itself, whatever it contains, can't be stored. */
export function assertStorable(value: unknown, key: string, options: EncodeOptions): void {
  const isObject = typeof value === 'object' && value !== null;
  if (isObject || typeof value === 'function' || typeof value === 'symbol') new Walk(key, options).assertKind(value);
}

/** Whether a value can never change in place, so that a decoded one needn't be encoded again to compare. */
export function isImmutable(value: unknown): boolean {
  return value === null || typeof value !== 'object';
}

/** Deeper than sensible data goes, and well within the engine's stack. */
const MAX_DEPTH = 500;

/**
 * What devalue doesn't restore by itself. Bytes: it stores the whole buffer behind a view, which for Node's pooled
 * buffers holds other visitors' data. An own `__proto__` key: it refuses one.
 */
const reducers = {
  Bytes: (value: unknown) => isKind(value, 'bytes') && [toBase64(value as Uint8Array)],
  Buffer: (value: unknown) => isKind(value, 'buffer') && [toBase64(value as Uint8Array)],
  Proto: (value: unknown) => hasProtoKey(value) && [Object.getPrototypeOf(value) === null, Object.entries(value)],
};

const revivers = {
  Bytes: ([base64]: [string]) => new Uint8Array(Buffer.from(base64, 'base64')),
  Buffer: ([base64]: [string]) => Buffer.from(base64, 'base64'),
  Proto: ([bare, entries]: [boolean, Array<[string, unknown]>]) =>
    Object.setPrototypeOf(Object.fromEntries(entries), bare ? null : Object.prototype),
};

/** One pass over a value: is it JSON, is it at least storable, and if not, where is it not. */
class Walk {
  /** With `classInstances: 'json'`: what JSON makes of each instance. */
  readonly instances: Map<object, unknown> = new Map();
  readonly #key: string;
  readonly #options: EncodeOptions;
  /** Formatted only for an error: an index, a property, or how else to get there. */
  readonly #path: Array<number | string | { step: string }> = [];
  readonly #seen: Set<object> = new Set();

  constructor(key: string, options: EncodeOptions) {
    this.#key = key;
    this.#options = options;
  }

  /** Whether JSON restores the value exactly. Throws a ValueError where nothing would. */
  isJson(value: unknown): boolean {
    switch (typeof value) {
      case 'string':
      case 'boolean':
        return true;
      case 'number':
        return isJsonNumber(value);
      case 'undefined':
      case 'bigint':
        return false;
      case 'object':
        return value === null || this.#isJsonObject(value);
      default:
        return this.#refuse(`is a ${typeof value}, which can't be stored: store data instead`);
    }
  }

  /** What it is; throws a ValueError for a value that can't be stored whatever it contains. */
  assertKind(value: unknown): Kind {
    if (typeof value !== 'object' || value === null)
      return this.#refuse(`is a ${typeof value}, which can't be stored: store data instead`);
    const kind = kindOf(value);
    if (kind !== 'instance') return kind;
    if (this.#options.classInstances === 'json') {
      this.instances.set(value, this.#toJson(value));
      return kind;
    }
    if (types.isPromise(value)) return this.#refuse("is a promise, which can't be stored: await it first");
    return this.#refuse(
      `is an instance of ${nameOfClass(value)}, which can't be restored exactly: store a plain value instead, ` +
        'such as String(value) for an id or { ...value } for a row',
    );
  }

  #isJsonObject(value: object): boolean {
    if (this.#path.length > MAX_DEPTH) this.#refuse(`is nested over ${MAX_DEPTH} levels deep`);
    if (this.#seen.has(value)) {
      // devalue keeps identity and cycles, but can't lead a cycle through one of our revivers.
      return hasProtoKey(value)
        ? this.#refuse('is a second reference to an object with a `__proto__` key: store a copy')
        : false;
    }
    this.#seen.add(value);

    switch (this.assertKind(value)) {
      case 'object':
        return this.#areJsonProperties(value as Record<string, unknown>);
      case 'bare':
        this.#areJsonProperties(value as Record<string, unknown>);
        return false;
      case 'array':
        return this.#areJsonItems(value as unknown[]);
      case 'map':
        this.#refuseProperties(value, 0);
        for (const [key, item] of value as Map<unknown, unknown>) {
          const name = typeof key === 'string' ? JSON.stringify(key) : typeof key === 'number' ? key : typeof key;
          this.#at({ step: `.keys(${name})` }, key);
          this.#at({ step: `.get(${name})` }, item);
        }
        return false;
      case 'set': {
        this.#refuseProperties(value, 0);
        let index = 0;
        for (const item of value as Set<unknown>) this.#at({ step: `.values(${index++})` }, item);
        return false;
      }
      case 'date':
        this.#refuseProperties(value, 0);
        return false;
      case 'bytes':
      case 'buffer':
        this.#refuseProperties(value, (value as Uint8Array).length);
        return false;
      default:
        return false; // an instance, to be replaced
    }
  }

  #areJsonProperties(value: Record<string, unknown>): boolean {
    const keys = Object.keys(value);
    if (Reflect.ownKeys(value).length > keys.length)
      this.#refuse('has symbols or hidden properties, which would be lost: store a copy without them');
    let json = true;
    for (const key of keys) json = this.#at(key, value[key]) && json;
    return json;
  }

  #areJsonItems(value: unknown[]): boolean {
    // Own keys show holes, and properties that aren't items; by them, a sparse array costs no more than it holds.
    const keys = Object.keys(value);
    let json = true;
    for (const [at, key] of keys.entries()) {
      const index = Number(key);
      // (Items come first and in order, so the first property that isn't one is the first at which this fails.)
      if (!(index >= at && index < value.length && String(index) === key)) this.#refuseProperties(value, -1);
      json = this.#at(index, value[index]) && json;
    }
    if (Object.getOwnPropertySymbols(value).length > 0) this.#refuseProperties(value, -1);
    return json && keys.length === value.length;
  }

  #toJson(value: object): unknown {
    try {
      const text = JSON.stringify(value);
      return text === undefined ? undefined : JSON.parse(text);
    } catch {
      return this.#refuse(
        `is an instance of ${nameOfClass(value)}, which JSON.stringify refuses: store a plain value instead`,
      );
    }
  }

  #at(step: number | string | { step: string }, value: unknown): boolean {
    this.#path.push(step);
    const json = this.isJson(value);
    this.#path.pop();
    return json;
  }

  #refuseProperties(value: object, expected: number): void {
    if (Reflect.ownKeys(value).length > expected)
      this.#refuse('has properties of its own besides its content, which would be lost: store them under another key');
  }

  #refuse(problem: string): never {
    throw new ValueError([this.#key, ...this.#path].map(formatStep).join(''), `${problem}.`);
  }
}

/** A copy in which instances of classes are replaced; `replacements` says by what. */
function replaceInstances(value: unknown, replacements: ReadonlyMap<unknown, unknown>): unknown {
  const replace = (one: unknown): unknown => replacements.has(one) && [replacements.get(one)];
  return parse(stringify(value, { ...reducers, Replaced: replace }), { ...revivers, Replaced: ([one]) => one });
}

function formatStep(step: number | string | { step: string }, index: number): string {
  const root = index === 0 ? 'session' : '';
  if (typeof step === 'number') return `[${step}]`;
  if (typeof step === 'object') return step.step;
  return root + (/^[A-Za-z_$][\w$]*$/.test(step) ? `.${step}` : `[${JSON.stringify(step)}]`);
}

function isJsonNumber(value: number): boolean {
  return Number.isFinite(value) && !Object.is(value, -0);
}

function isKind(value: unknown, kind: Kind): boolean {
  return typeof value === 'object' && value !== null && kindOf(value) === kind;
}

function hasProtoKey(value: unknown): value is object {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, '__proto__');
}

function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
}
