import { expect } from 'chai';

/** Counts in the session. */
export function count(ctx) {
  ctx.session.count = (ctx.session.count ?? 0) + 1;
  return ctx.session.count;
}

/** Visits a page that answers with the count: each visit's change is there on the next. */
export async function visitCounter(visitor, path = '/', init = {}) {
  for (const expected of [1, 2, 3]) {
    const { status, body } = await visitor.get(path, init);
    expect(`${status} ${body}`, `visit ${expected} of ${path}`).to.equal(`200 ${expected}`);
  }
}
