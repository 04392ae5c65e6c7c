import { once } from 'node:events';
import { expect } from 'chai';
import { WebSocket } from 'ws';

/** The page that a browser visits before it opens a socket. */
export function addPage(app) {
  app.use((ctx) => {
    if (ctx.path === '/login') ctx.session.user = 'ada';
    ctx.body = { user: ctx.session.user ?? 'nobody', count: ctx.session.count ?? 0 };
  });
}

/** What the server does with a message: `who`, or a change that it stores. Returns its answer. */
export async function answer(session, message) {
  if (message === 'who') return session.user ?? 'nobody';
  session.count = (session.count ?? 0) + 1;
  try {
    await session.save();
    return `counted ${session.count}`;
  } catch (error) {
    return error.code ?? error.message;
  }
}

/**
 * The server's end of a socket. It greets, so that the client doesn't speak before the session is loaded: a message
 * without a listener is lost.
 */
export function listenOn(socket, session) {
  socket.on('message', async (data) => socket.send(await answer(session, String(data))));
  socket.send('hello');
}

/** Sends one message on a new socket once it is greeted, and waits for the answer. */
export async function say(url, cookie, message) {
  const socket = new WebSocket(url.replace('http', 'ws'), { headers: cookie ? { cookie } : {} });
  const signal = AbortSignal.timeout(30_000);
  try {
    const [greeting] = await once(socket, 'message', { signal });
    expect(String(greeting)).to.equal('hello');
    const answered = once(socket, 'message', { signal });
    socket.send(message);
    return String((await answered)[0]);
  } finally {
    socket.terminate();
  }
}

/**
 * A socket sees who is logged in. What it changes is stored where the session is on the server; in a session that is
 * its cookie, nothing can be changed without a response, and the error says so.
 */
export async function visitSocket(trial, visitor, talk, code) {
  await visitor.get('/login');
  expect(await talk('', 'who'), 'without a cookie').to.equal('nobody');
  expect(await talk(visitor.cookie, 'who')).to.equal('ada');
  const answers = [await talk(visitor.cookie, 'count'), await talk(visitor.cookie, 'count')];
  const { count } = await visitor.json('/');
  if (trial.isOurs && !trial.keepsIds) expect([answers, count]).to.deep.equal([[code, code], 0]);
  else expect([answers, count], 'what the socket stored').to.deep.equal([['counted 1', 'counted 2'], 2]);
}
