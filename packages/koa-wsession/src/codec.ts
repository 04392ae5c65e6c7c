import { types } from 'node:util';
import { parse, stringify } from 'devalue';
import { ValueError } from './errors.js';

/**
 * One value to one string and back, exact in type and identity.
 *
 * What JSON brings back as it was goes as JSON, several times faster than anything written in JavaScript; the rest
 * goes through devalue, marked by a `~`, with which no JSON text begins. One walk over the value tells which, and
 * refuses what neither would bring back: a value is stored exactly, or not at all.
 *
 * `key` is the session's key, for the error to name.
 */
export function encode(value: unknown, key: string): string {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return JSON.stringify(value);
  if (typeof value === 'number' && isJsonNumber(value)) return String(value);
  return new Walk(key).isJson(value) ? JSON.stringify(value) : `~${stringify(value, reducers)}`;
}

/** The value that was encoded; throws on a text that `encode` didn't make. */
export function decode(text: string): unknown {
  return text.startsWith('~') ? parse(text.slice(1), revivers) : JSON.parse(text);
}

/** Whether a value can never change in place, so that what was decoded needn't be encoded again to compare. */
export function isImmutable(value: unknown): boolean {
  return value === null || typeof value !== 'object';
}

/** Deeper than sensible data goes, and well within the engine's stack. */
const MAX_DEPTH = 500;

/**
 * What devalue doesn't bring back by itself. Bytes: it stores the whole buffer behind a view, which for Node's
 * pooled ones holds other people's data. An own `__proto__` key: it refuses to.
 */
const reducers = {
  Bytes: (value: unknown) =>
    isBytes(value) && Object.getPrototypeOf(value) === Uint8Array.prototype && [toBase64(value)],
  Buffer: (value: unknown) =>
    isBytes(value) && Object.getPrototypeOf(value) === Buffer.prototype && [toBase64(value)],
  Proto: (value: unknown) =>
    hasProtoKey(value) && [Object.getPrototypeOf(value) === null, ...Object.entries(value).flat()],
};

const revivers = {
  Bytes: ([base64]: [string]) => new Uint8Array(Buffer.from(base64, 'base64')),
  Buffer: ([base64]: [string]) => Buffer.from(base64, 'base64'),
  Proto: ([bare, ...flat]: [boolean, ...unknown[]]) => {
    const object = bare ? Object.create(null) : {};
    for (let i = 0; i < flat.length; i += 2) {
      Object.defineProperty(object, flat[i] as string, {
        value: flat[i + 1],
        writable: true,
        enumerable: true,
        configurable: true,
      });
    }
    return object;
  },
};

/** One pass over a value: is it JSON, is it at least storable, and if not, where is it not. */
class Walk {
  readonly #key: string;
  /** Formatted only for an error: an index, a property, or how else to get there. */
  readonly #path: Array<number | string | { step: string }> = [];
  readonly #seen: Set<object> = new Set();

  constructor(key: string) {
    this.#key = key;
  }

  /** Whether JSON brings the value back as it was. Throws a ValueError where nothing would. */
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
        return this.#refuse(`is a ${typeof value}`);
    }
  }

  #isJsonObject(value: object): boolean {
    if (this.#path.length > MAX_DEPTH) this.#refuse(`is nested over ${MAX_DEPTH} levels deep`);
    if (this.#seen.has(value)) {
      // devalue keeps identity and cycles, but can't lead a cycle through one of our revivers.
      return hasProtoKey(value)
        ? this.#refuse('is a second reference to an object that has a `__proto__` key')
        : false;
    }
    this.#seen.add(value);

    switch (Object.getPrototypeOf(value)) {
      case Object.prototype:
        return this.#areJsonProperties(value as Record<string, unknown>);
      case null:
        this.#areJsonProperties(value as Record<string, unknown>);
        return false;
      case Array.prototype:
        return Array.isArray(value) ? this.#areJsonItems(value) : this.#refuse('only looks like an array');
      case Map.prototype:
        this.#refuseUnlessBare(value, types.isMap(value));
        for (const [key, item] of value as Map<unknown, unknown>) {
          const name =
            typeof key === 'string' ? JSON.stringify(key) : typeof key === 'number' ? key : typeof key;
          this.#at({ step: `.keys(${name})` }, key);
          this.#at({ step: `.get(${name})` }, item);
        }
        return false;
      case Set.prototype: {
        this.#refuseUnlessBare(value, types.isSet(value));
        let index = 0;
        for (const item of value as Set<unknown>) this.#at({ step: `.values(${index++})` }, item);
        return false;
      }
      case Date.prototype:
        this.#refuseUnlessBare(value, types.isDate(value));
        return false;
      case Uint8Array.prototype:
      case Buffer.prototype:
        this.#refuseUnlessBare(value, isBytes(value));
        return false;
      default:
        return this.#refuse(`is an instance of ${nameOfClass(value)}`);
    }
  }

  #areJsonProperties(value: Record<string, unknown>): boolean {
    const keys = Object.keys(value);
    if (Reflect.ownKeys(value).length > keys.length) this.#refuse('has symbols or non-enumerable properties');
    let json = true;
    for (const key of keys) json = this.#at(key, value[key]) && json;
    return json;
  }

  #areJsonItems(value: unknown[]): boolean {
    // Own keys tell holes, and properties that aren't items; by them, a sparse array costs no more than it holds.
    const keys = Object.keys(value);
    let json = true;
    for (const [at, key] of keys.entries()) {
      const index = Number(key);
      // (Items come first and in order, so that the first that is none is the first at which this fails.)
      if (!(index >= at && index < value.length && String(index) === key)) {
        this.#refuse('is an array with properties of its own');
      }
      json = this.#at(index, value[index]) && json;
    }
    if (Object.getOwnPropertySymbols(value).length > 0)
      this.#refuse('is an array with properties of its own');
    return json && keys.length === value.length;
  }

  #at(step: number | string | { step: string }, value: unknown): boolean {
    this.#path.push(step);
    const json = this.isJson(value);
    this.#path.pop();
    return json;
  }

  /** What is kept by its inner content alone has to be real, and to have no properties beside that. */
  #refuseUnlessBare(value: object, isReal: boolean): void {
    const inner = isBytes(value) ? value.length : 0;
    if (!isReal || Reflect.ownKeys(value).length > inner) {
      this.#refuse(`is a ${nameOfClass(value)} with properties of its own, or only looks like one`);
    }
  }

  #refuse(problem: string): never {
    throw new ValueError(
      [this.#key, ...this.#path].map(formatStep).join(''),
      `${problem}, which would not come back as it was, so it can't be stored.`,
    );
  }
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

function isBytes(value: unknown): value is Uint8Array {
  return value instanceof Uint8Array;
}

function hasProtoKey(value: unknown): value is object {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, '__proto__');
}

function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
}

function nameOfClass(value: object): string {
  return value.constructor?.name || 'a class';
}
