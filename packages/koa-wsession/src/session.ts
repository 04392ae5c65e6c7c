import { inspect } from 'node:util';
import { check, isSeconds, SECONDS } from './check.js';
import type { Lifecycle } from './commit.js';
import { checkStorable, isUserKey, LABEL_KEY, OWNER_KEY, toEntryKey, toUserKey } from './entries.js';
import { OptionError, ReservedError, ValueError } from './errors.js';
import { leaveMessage, takeMessage } from './flash.js';
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
  'owner',
  'label',
] satisfies Array<keyof SessionMembers>);

/** The members that can be set, with their entries. */
const TEXTS: ReadonlyMap<string | symbol, string> = new Map([
  ['owner', OWNER_KEY],
  ['label', LABEL_KEY],
]);

/** The session object of a lifecycle: a plain object to look at, without a prototype, so that every key is data. */
export function exposeSession(lifecycle: Lifecycle): Session {
  return new Proxy(TARGET, new SessionHandler(lifecycle)) as Session;
}

/** What a session answers with its lifecycle: the way back, of which nothing is to be seen. */
const LIFECYCLE: unique symbol = Symbol('lifecycle');

/** The key of the record behind a session, while there is one. */
export function keyOf(session: Session & { [LIFECYCLE]?: Lifecycle }): string | undefined {
  return session[LIFECYCLE]?.key;
}

/** `ctx.session = { … }`: the content of `data` in place of what there is. */
export function replaceContent(lifecycle: Lifecycle, data: unknown): void {
  if (!isPlainObject(data)) {
    const kind = Array.isArray(data) ? 'an array' : typeof data;
    throw new ValueError('session', `can be assigned a plain object, or null to end it, and not ${kind}.`);
  }
  const content = Object.entries(data);
  if (Reflect.ownKeys(data).length > content.length)
    throw new ValueError('session', "can't be assigned an object with symbols or hidden properties as keys.");
  for (const [key, value] of content) {
    if (MEMBERS.has(key)) throw new ReservedError(key);
    checkStorable(toEntryKey(key), value);
  }
  lifecycle.beforeWrite();
  for (const key of lifecycle.entries.keys()) if (isUserKey(key)) lifecycle.entries.delete(key);
  for (const [key, value] of content) lifecycle.entries.set(toEntryKey(key), value);
}

function isPlainObject(value: unknown): value is object {
  if (typeof value !== 'object' || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/** Of no session: the traps never touch it. Only `inspect` looks at it, past the traps, and calls this on the session. */
const TARGET: object = Object.create({
  [inspect.custom](this: { [LIFECYCLE]?: Lifecycle }): object {
    const lifecycle = this[LIFECYCLE]; // none where `showProxy` has it look at this very object
    return lifecycle ? { ...exposeSession(lifecycle) } : {};
  },
});

/** No member of its own may be a symbol: V8 12 and later (Node 22) would find no `get` beside it. */
class SessionHandler implements ProxyHandler<object> {
  readonly #lifecycle: Lifecycle;
  #methods: SessionMethods | undefined;

  constructor(lifecycle: Lifecycle) {
    this.#lifecycle = lifecycle;
  }

  getPrototypeOf(): null {
    return null;
  }

  get(_target: object, key: string | symbol): unknown {
    if (typeof key === 'symbol') return key === LIFECYCLE ? this.#lifecycle : undefined;
    return MEMBERS.has(key)
      ? this.#member(key as keyof SessionMembers)
      : this.#lifecycle.entries.get(toEntryKey(key));
  }

  has(_target: object, key: string | symbol): boolean {
    if (typeof key === 'symbol') return false;
    return MEMBERS.has(key) || this.#lifecycle.entries.has(toEntryKey(key));
  }

  set(_target: object, key: string | symbol, value: unknown): boolean {
    this.#lifecycle.beforeWrite();
    const text = TEXTS.get(key);
    if (text === undefined) this.#lifecycle.entries.set(toWritable(key), value);
    else if (value === undefined) this.#lifecycle.entries.delete(text);
    else if (typeof value === 'string' && value !== '') this.#lifecycle.entries.set(text, value);
    else throw new OptionError(`session.${String(key)}`, value, 'a string that is not empty, or undefined');
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
    if (name === 'owner' || name === 'label') return this.#lifecycle.entries.get(TEXTS.get(name) as string);
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

type SessionMethods = Omit<SessionMembers, 'isNew' | 'owner' | 'label'>;

function makeMethods(lifecycle: Lifecycle): SessionMethods {
  return {
    destroy: () => lifecycle.destroy(),
    regenerate: () => lifecycle.regenerate(),
    save: () => lifecycle.save(),
    update(key: string, change: (value: never) => unknown) {
      try {
        const entry = toWritable(key);
        checkStorable(entry, undefined);
        return lifecycle.update(entry, change as (value: unknown) => unknown) as Promise<never>;
      } catch (error) {
        return Promise.reject(error);
      }
    },
    expireIn(seconds) {
      check('expireIn(seconds)', seconds, isSeconds, SECONDS);
      lifecycle.expireIn(seconds);
    },
    flash(...args: [key: string, value?: unknown]) {
      return args.length > 1 ? leaveMessage(lifecycle, args[0], args[1]) : takeMessage(lifecycle, args[0]);
    },
  };
}
