import { createRequire } from 'node:module';
import { expect } from 'chai';
import bodyParser from 'koa-bodyparser';
import { Strategy } from 'passport-local';

const require = createRequire(import.meta.url);
const USERS = { ada: 'engine', bob: 'builder' };

export default async function passport(trial, packageName) {
  const visitor = await trial.visit(makeApp(trial, packageName));
  const home = () => visitor.json('/');

  expect(await home()).to.deep.equal({ session: {} });

  // Failure: a message in the session, as failureMessage says.
  await visitor.get('/private');
  const refused = await visitor.postForm('/login', { username: 'ada', password: 'wrong' });
  expect([refused.status, refused.headers.location]).to.deep.equal([302, '/login']);
  expect((await home()).session.messages).to.deep.equal(['Wrong name or password']);

  // keepSessionInfo: what was there before the login survives it, so returnTo works.
  const anonymous = visitor.cookie;
  const login = await visitor.postForm('/login', { username: 'ada', password: USERS.ada });
  expect([login.status, login.headers.location]).to.deep.equal([302, '/private']);
  expect(await home()).to.deep.include({ user: 'ada' });
  if (trial.keepsIds) {
    const former = await visitor.json('/', { headers: { cookie: anonymous } });
    expect(former, 'the id from before the login').to.deep.equal({ session: {} });
  }
  await visitor.get('/cart');

  // Another user's login on the same browser, with a callback: nothing of Ada's is left.
  expect((await visitor.postForm('/callback', { username: 'bob', password: 'wrong' })).status).to.equal(401);
  expect((await visitor.postForm('/callback', { username: 'bob', password: USERS.bob })).body).to.equal('welcome bob');
  const { user, session } = await home();
  expect(user).to.equal('bob');
  expect(Object.keys(session), 'what Bob sees').to.deep.equal(['passport']);

  const loggedIn = visitor.cookie;
  expect((await visitor.post('/logout')).headers.location).to.equal('/');
  expect(await home()).to.deep.equal({ session: {} });
  if (trial.keepsIds) expect(await visitor.json('/', { headers: { cookie: loggedIn } })).to.deep.equal({ session: {} });
}

function makeApp(trial, packageName) {
  const passport = new (require(packageName).KoaPassport)();
  passport.serializeUser((user, done) => done(null, user.name));
  passport.deserializeUser((name, done) => done(null, { name }));
  passport.use(
    new Strategy((name, password, done) =>
      USERS[name] === password ? done(null, { name }) : done(null, false, { message: 'Wrong name or password' }),
    ),
  );

  const app = trial.app();
  app.use(bodyParser());
  app.use(passport.initialize());
  app.use(passport.session());
  const routes = {
    'GET /': (ctx) => {
      ctx.body = { user: ctx.state.user?.name, session: ctx.session };
    },
    'GET /private': (ctx) => {
      if (ctx.isUnauthenticated()) ctx.session.returnTo = '/private';
      ctx.redirect('/login');
    },
    'GET /cart': (ctx) => {
      ctx.session.cart = ['a book'];
      ctx.body = 'ok';
    },
    'POST /login': passport.authenticate('local', {
      successReturnToOrRedirect: '/',
      failureRedirect: '/login',
      failureMessage: true,
      keepSessionInfo: true,
    }),
    'POST /callback': (ctx, next) =>
      passport.authenticate('local', async (error, user) => {
        if (error) throw error;
        if (!user) ctx.throw(401);
        await ctx.login(user);
        ctx.body = `welcome ${user.name}`;
      })(ctx, next),
    'POST /logout': async (ctx) => {
      await logOut(ctx, packageName);
      ctx.redirect('/');
    },
  };
  app.use((ctx, next) => routes[`${ctx.method} ${ctx.path}`](ctx, next));
  return app;
}

/** Before koa-passport 6, only with a callback. */
function logOut(ctx, packageName) {
  if (packageName === 'koa-passport') return ctx.logout();
  return new Promise((resolve, reject) => ctx.logout((error) => (error ? reject(error) : resolve())));
}
