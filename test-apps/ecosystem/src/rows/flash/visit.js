/** Messages that one request leaves, the next takes, once. `session.flash` is an ordinary key meanwhile. */
export async function visitFlash(visitor, expect) {
  expect(await visitor.json('/')).to.deep.equal({ hasFlash: false, is: 'undefined' });
  expect(await visitor.json('/take')).to.deep.equal([]);
  expect((await visitor.get('/leave')).body).to.equal('3');
  expect(await visitor.json('/')).to.deep.equal({ hasFlash: true, is: 'object' });
  expect(await visitor.json('/take')).to.deep.equal(['saved', 'sent', 'to ada']);
  expect(await visitor.json('/take')).to.deep.equal([]);
}
