import { inspect } from 'node:util';
import type { Lifecycle } from './commit.js';
import { isUserKey, toEntryKey, toFlashKey, toUserKey } from './entries.js';
import { OptionError, ReservedError, ValueError } from './errors.js';
import type { Session, SessionMembers } from './types.js';

/** A session's own members; they and the user's keys never meet. */
const MEMBERS: ReadonlySet<string> = new Set([
  'isNew',
  'destroy',
  'regenerate',
  'save',
  'update',
  'expireIn',
  'flash',
] satisfies Array<keyof SessionMembers>);

/** The session object of a lifecycle: a plain object to look at, without a prototype, so that every key is data. */
export function exposeSession(lifecycle: Lifecycle): Session {
  const target = Object.create(null, {
    [inspect.custom]: { value: () => ({ ...exposed }), configurable: true },
  });
  const exposed = new Proxy(target, new SessionHandler(lifecycle)) as Session;
  return exposed;
}

/** `ctx.session = { … }`: the content of `data` in place of what there is. */
export function replaceContent(lifecycle: Lifecycle, data: unknown): void {
  if (typeof data !== 'object' || data === null || Array.isArray(data)) {
    throw new ValueError(
      'session',
      `can be assigned an object, or null to end it, and not ${Array.isArray(data) ? 'an array' : typeof data}.`,
    );
  }
  const content = Object.entries(data);
  for (const [key] of content) if (MEMBERS.has(key)) throw new ReservedError(key);
  lifecycle.beforeWrite();
  for (const key of lifecycle.entries.keys()) if (isUserKey(key)) lifecycle.entries.delete(key);
  for (const [key, value] of content) lifecycle.entries.set(toEntryKey(key), value);
}

class SessionHandler implements ProxyHandler<object> {
  readonly #lifecycle: Lifecycle;
  #methods: Omit<SessionMembers, 'isNew'> | undefined;

  constructor(lifecycle: Lifecycle) {
    this.#lifecycle = lifecycle;
  }

  get(target: object, key: string | symbol): unknown {
    if (typeof key === 'symbol') return Reflect.get(target, key);
    return MEMBERS.has(key)
      ? this.#member(key as keyof SessionMembers)
      : this.#lifecycle.entries.get(toEntryKey(key));
  }

  has(target: object, key: string | symbol): boolean {
    if (typeof key === 'symbol') return Reflect.has(target, key);
    return MEMBERS.has(key) || this.#lifecycle.entries.has(toEntryKey(key));
  }

  set(_target: object, key: string | symbol, value: unknown): boolean {
    this.#lifecycle.beforeWrite();
    this.#lifecycle.entries.set(toWritable(key), value);
    return true;
  }

  deleteProperty(_target: object, key: string | symbol): boolean {
    this.#lifecycle.beforeWrite();
    this.#lifecycle.entries.delete(toWritable(key));
    return true;
  }

  ownKeys(): string[] {
    return this.#lifecycle.entries.keys().filter(isUserKey).map(toUserKey);
  }

  getOwnPropertyDescriptor(target: object, key: string | symbol): PropertyDescriptor | undefined {
    if (typeof key === 'symbol' || !this.has(target, key)) return undefined;
    const isData = !MEMBERS.has(key);
    return { value: this.get(target, key), writable: isData, enumerable: isData, configurable: true };
  }

  defineProperty(target: object, key: string | symbol, property: PropertyDescriptor): boolean {
    const { writable, enumerable, configurable } = property;
    if (!('value' in property) || !writable || !enumerable || !configurable) {
      throw new ValueError(`session.${String(key)}`, 'can only be an ordinary property: assign to it.');
    }
    return this.set(target, key, property.value);
  }

  setPrototypeOf(): boolean {
    return false;
  }

  preventExtensions(): boolean {
    return false;
  }

  #member(name: keyof SessionMembers): unknown {
    if (name === 'isNew') return this.#lifecycle.isNew;
    this.#methods ??= makeMethods(this.#lifecycle);
    return this.#methods[name];
  }
}

/** The entry of a key that the user writes to. */
function toWritable(key: string | symbol): string {
  if (typeof key === 'symbol')
    throw new ValueError(`session[${String(key)}]`, "is a symbol, and only strings can be a session's keys.");
  if (MEMBERS.has(key)) throw new ReservedError(key);
  return toEntryKey(key);
}

function makeMethods(lifecycle: Lifecycle): Omit<SessionMembers, 'isNew'> {
  return {
    destroy: () => lifecycle.destroy(),
    regenerate: () => lifecycle.regenerate(),
    save: () => lifecycle.save(),
    update: (key: string, change: (value: never) => unknown) =>
      lifecycle.update(toWritable(key), change as (value: unknown) => unknown) as Promise<never>,
    expireIn(seconds) {
      if (!(Number.isFinite(seconds) && seconds > 0))
        throw new OptionError('expireIn(seconds)', seconds, 'a number of seconds over 0');
      lifecycle.expireIn(seconds);
    },
    flash(...args: [key: string, value?: unknown]) {
      const entry = toFlashKey(args[0]);
      if (args.length > 1) {
        lifecycle.beforeWrite();
        return lifecycle.entries.set(entry, args[1]);
      }
      if (!lifecycle.entries.has(entry)) return undefined;
      lifecycle.beforeWrite();
      const message = lifecycle.entries.get(entry);
      lifecycle.entries.delete(entry);
      return message;
    },
  };
}
