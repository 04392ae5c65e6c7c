import { expect } from 'chai';

/**
 * GET /token gives a token, POST / wants it. A form with the session's own token is taken; one without, or with another
 * visitor's, is refused with a 403.
 */
export async function visitCsrf(trial, app) {
  const server = await trial.serve(app);
  const [visitor, stranger] = [trial.visitor(server), trial.visitor(server)];
  const token = (await visitor.get('/token')).body;
  expect(token).to.match(/^[\w/+=-]{10,}$/);
  const theirs = (await stranger.get('/token')).body;

  const post = async (headers) => (await visitor.postForm('/', { amount: '1' }, headers)).status;
  expect(await post({}), 'without a token').to.equal(403);
  expect(await post({ 'x-csrf-token': theirs }), "with a stranger's token").to.equal(403);
  expect(await post({ 'x-csrf-token': token }), 'with the token').to.equal(200);
  expect(
    (await trial.visitor(server).postForm('/', {}, { 'x-csrf-token': token })).status,
    'without a session',
  ).to.equal(403);
}
