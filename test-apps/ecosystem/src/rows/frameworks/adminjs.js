import { tmpdir } from 'node:os';
import AdminJSKoa from '@adminjs/koa';
import AdminJS from 'adminjs';
import { expect } from 'chai';
import { count, visitCounter } from '../../counter.js';

process.env.ADMIN_JS_TMP_DIR ??= tmpdir(); // where it would bundle components

/** AdminJS brings a koa-session of its own: in front of the app's session, or behind it. */
export default async function adminjs(trial, place) {
  const app = trial.bareApp();
  if (place === 'behind') app.use(trial.session(app));
  addAdmin(app);
  if (place === 'in front') app.use(trial.session(app));
  app.use((ctx) => {
    ctx.body = String(count(ctx));
  });

  const visitor = await trial.visit(app);
  await visitCounter(visitor);
  if (trial.isOurs) expect(visitor.jar.has('wsession'), 'where the app counts').to.equal(true);
  expect((await visitor.get('/admin')).headers.location).to.equal('/admin/login');
  expect((await visitor.get('/admin/login')).body).to.contain('AdminJS');
  const login = await visitor.postForm('/admin/login', { email: 'ada@example.com', password: 'engine' });
  expect([login.status, login.headers.location]).to.deep.equal([302, '/admin']);
  const dashboard = await visitor.get('/admin');
  expect([dashboard.status, dashboard.body.includes('ada@example.com')], 'the dashboard').to.deep.equal([200, true]);
  expect((await visitor.get('/')).body, 'the count beside AdminJS').to.equal('4');
  expect((await visitor.get('/admin/logout')).headers.location).to.equal('/admin/login');
  expect((await visitor.get('/admin')).status, 'after the logout').to.equal(302);
}

function addAdmin(app) {
  const admin = new AdminJS({ rootPath: '/admin' });
  const authenticate = async (email, password) => password === 'engine' && { email };
  const router = AdminJSKoa.buildAuthenticatedRouter(admin, app, { authenticate, sessionOptions: { key: 'admin' } });
  app.use(router.routes()).use(router.allowedMethods());
}
