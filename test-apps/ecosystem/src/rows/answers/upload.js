import multer from '@koa/multer';
import { expect } from 'chai';
import { koaBody } from 'koa-body';

const PARSERS = {
  '@koa/multer': () => [multer().single('file'), (ctx) => ctx.file.originalname],
  'koa-body': () => [koaBody({ multipart: true }), (ctx) => ctx.request.files.file.originalFilename],
};

/** Files are uploaded, and the session remembers their names and the form's fields. */
export default async function upload(trial, name) {
  const [parse, nameOf] = PARSERS[name]();
  const app = trial.app();
  app.use((ctx, next) => {
    if (ctx.method === 'GET') ctx.body = ctx.session.uploads ?? [];
    else return next();
  });
  app.use(parse);
  app.use((ctx) => {
    ctx.session.uploads ??= [];
    // What the parser made is stored as it is: also an object without a prototype.
    ctx.session.uploads.push({ file: nameOf(ctx), fields: ctx.request.body });
    ctx.body = 'thanks';
  });
  const visitor = await trial.visit(app);
  for (const file of ['a.txt', 'b.txt']) {
    const form = new FormData();
    form.set('title', `about ${file}`);
    form.set('file', new Blob(['content']), file);
    const encoded = new Response(form);
    const response = await visitor.post('/', {
      headers: { 'content-type': encoded.headers.get('content-type') },
      body: new Uint8Array(await encoded.arrayBuffer()),
    });
    expect([response.status, response.body]).to.deep.equal([200, 'thanks']);
  }
  expect(await visitor.json('/')).to.deep.equal([
    { file: 'a.txt', fields: { title: 'about a.txt' } },
    { file: 'b.txt', fields: { title: 'about b.txt' } },
  ]);
}
