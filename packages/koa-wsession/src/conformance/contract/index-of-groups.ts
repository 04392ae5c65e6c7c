import assert from 'node:assert/strict';
import type { SessionIndex, Store } from '../../store/store.js';
import type { Suite } from '../suite.js';
import { call, HOUR, newKey, times } from './records.js';

export function describeIndex(suite: Suite): void {
  const { it, fixture, open } = suite;
  const has = !fixture.capabilities.seals && fixture.index !== false;

  it(has ? 'is there' : 'is not there', async () => {
    assert.equal((await open()).index !== undefined, has);
  });

  if (!has) return;
  describeMembers(suite);
  describeInstants(suite);
  describeLimit(suite);
  describeCounting(suite);
}

/** The address of a group: a hash like any other. */
const newGroup: () => string = newKey;

function indexOf(store: Store): SessionIndex {
  assert.ok(store.index);
  return store.index;
}

async function keysOf(store: Store, group: string): Promise<string[]> {
  return [...(await indexOf(store).keys(group, call()))].sort();
}

async function add(store: Store, group: string, key: string, until: number, limit?: number): Promise<boolean> {
  return indexOf(store).add(group, key, until, limit === undefined ? call() : { ...call(), limit });
}

function describeMembers({ it, open, openTwo }: Suite): void {
  it('has the sessions that were added and not removed, each once, and no other group', async () => {
    const store = await open();
    const [group, empty] = [newGroup(), newGroup()];
    assert.deepEqual(await keysOf(store, group), []);
    const keys = times(20, newKey).sort();
    for (const until of [HOUR, 2 * HOUR]) {
      const added = await Promise.all(keys.map((key) => add(store, group, key, Date.now() + until)));
      assert.ok(added.every((answer) => answer === true));
    }
    assert.deepEqual(await keysOf(store, group), keys);
    const [removed = '', ...others] = keys;
    await indexOf(store).remove(group, removed, call());
    await indexOf(store).remove(group, removed, call());
    await indexOf(store).remove(empty, others[0] as string, call());
    assert.deepEqual(await keysOf(store, group), others);
    assert.deepEqual(await keysOf(store, empty), []);
  });

  it('loses nothing while sessions come and go at once', async () => {
    const stores = await openTwo();
    const group = newGroup();
    const stay = times(50, newKey).sort();
    await Promise.all(
      stay.map(async (key, i) => {
        const [one, other] = i % 2 ? stores : ([stores[1], stores[0]] as const);
        const passing = newKey();
        await add(one, group, passing, Date.now() + HOUR);
        await Promise.all([add(one, group, key, Date.now() + HOUR), indexOf(other).remove(group, passing, call())]);
      }),
    );
    for (const store of stores) assert.deepEqual(await keysOf(store, group), stay);
  });
}

function describeInstants({ it, clock, open }: Suite): void {
  it('has a session until the latest instant that was given, to the millisecond', async () => {
    const store = await open();
    const start = clock.freeze();
    const [group, key] = [newGroup(), newKey()];
    await add(store, group, key, start + 2 * HOUR);
    await add(store, group, key, start + HOUR);
    clock.advance(2 * HOUR - 1);
    assert.deepEqual(await keysOf(store, group), [key]);
    clock.advance(1);
    assert.deepEqual(await keysOf(store, group), []);
  });

  it('keeps the sessions that live on when others expire', async () => {
    const store = await open();
    const [group, short, long] = [newGroup(), newKey(), newKey()];
    await add(store, group, long, Date.now() + 10 * HOUR);
    await add(store, group, short, Date.now() + HOUR);
    clock.advance(5 * HOUR);
    assert.deepEqual(await keysOf(store, group), [long]);
    await add(store, group, short, Date.now() + HOUR);
    assert.deepEqual(await keysOf(store, group), [short, long].sort());
  });
}

function describeLimit({ it, clock, open, openTwo }: Suite): void {
  it('with limit, adds exactly that many of 30 at once', async () => {
    const stores = await openTwo();
    const group = newGroup();
    const keys = times(30, newKey);
    const added = await Promise.all(keys.map((key, i) => add(stores[i % 2 ? 1 : 0], group, key, Date.now() + HOUR, 7)));
    const winners = keys.filter((_, i) => added[i]);
    assert.equal(winners.length, 7);
    assert.deepEqual(await keysOf(stores[1], group), winners.sort());
  });

  it('with limit, extends a session that is in the full group, and refuses others until one leaves', async () => {
    const store = await open();
    const [group, one, two, three] = [newGroup(), newKey(), newKey(), newKey()];
    const attempt = (key: string, hours: number) => add(store, group, key, Date.now() + hours * HOUR, 2);
    assert.equal(await attempt(one, 1), true);
    assert.equal(await attempt(two, 5), true);
    assert.equal(await attempt(three, 1), false);
    assert.deepEqual(await keysOf(store, group), [one, two].sort());
    assert.equal(await attempt(one, 3), true);
    clock.advance(2 * HOUR);
    assert.equal(await attempt(three, 1), false, 'the extended session still counts');
    await indexOf(store).remove(group, two, call());
    assert.equal(await attempt(three, 1), true);
    assert.deepEqual(await keysOf(store, group), [one, three].sort());
  });
}

function describeCounting({ it, clock, open }: Suite): void {
  it("with limit, doesn't count expired sessions", async () => {
    const store = await open();
    const [group, one, two] = [newGroup(), newKey(), newKey()];
    assert.equal(await add(store, group, one, Date.now() + HOUR, 1), true);
    assert.equal(await add(store, group, two, Date.now() + HOUR, 1), false);
    clock.advance(HOUR);
    assert.equal(await add(store, group, two, Date.now() + HOUR, 1), true);
    assert.equal(await add(store, group, one, Date.now() + HOUR, 1), false, 'an expired session is new again');
  });

  it('without limit, adds to a group however many it has', async () => {
    const store = await open();
    const group = newGroup();
    for (const limit of [1, undefined]) assert.equal(await add(store, group, newKey(), Date.now() + HOUR, limit), true);
    assert.equal((await keysOf(store, group)).length, 2);
  });
}
