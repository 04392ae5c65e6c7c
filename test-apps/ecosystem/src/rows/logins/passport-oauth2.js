import { expect } from 'chai';
import { KoaPassport } from 'koa-passport';
import { Strategy } from 'passport-oauth2';
import { oauthProvider } from '../../provider.js';
import { urlOf } from '../../trial.js';

export default async function passportOauth2(trial) {
  const provider = urlOf(await trial.serve(oauthProvider()));
  const app = trial.app();
  const server = await trial.serve(app);
  addLogin(app, makePassport(provider, urlOf(server)));
  const visitor = trial.visitor(server);

  expect((await visitor.follow('/login')).body).to.equal('ada');
  expect((await visitor.get('/')).body).to.equal('ada');

  // A callback that another browser began: its state isn't in this session.
  const begun = await trial.visitor(server).get('/login');
  const callback = new URL((await fetch(begun.headers.location, { redirect: 'manual' })).headers.get('location'));
  const victim = trial.visitor(server);
  const forged = await victim.get(callback.pathname + callback.search);
  expect([forged.status, forged.headers.location]).to.deep.equal([302, '/denied']);
  expect((await victim.get('/')).body).to.equal('nobody');
}

function makePassport(provider, home) {
  const strategy = new Strategy(
    {
      authorizationURL: `${provider}/authorize`,
      tokenURL: `${provider}/token`,
      clientID: 'app',
      clientSecret: 'secret',
      callbackURL: `${home}/callback`,
      state: true,
      pkce: true,
    },
    (_accessToken, _refreshToken, profile, done) => done(null, profile),
  );
  strategy.userProfile = (token, done) =>
    fetch(`${provider}/me`, { headers: { authorization: `Bearer ${token}` } })
      .then((response) => response.json())
      .then((profile) => done(null, profile), done);
  const passport = new KoaPassport();
  passport.serializeUser((user, done) => done(null, user));
  passport.deserializeUser((user, done) => done(null, user));
  return passport.use(strategy);
}

function addLogin(app, passport) {
  app.use(passport.initialize());
  app.use(passport.session());
  app.use((ctx, next) => {
    if (ctx.path === '/login') return passport.authenticate('oauth2')(ctx, next);
    if (ctx.path === '/callback')
      return passport.authenticate('oauth2', { successRedirect: '/', failureRedirect: '/denied' })(ctx, next);
    ctx.body = ctx.state.user?.name ?? 'nobody';
  });
}
