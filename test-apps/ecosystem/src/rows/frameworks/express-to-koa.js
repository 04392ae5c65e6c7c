import { expect } from 'chai';
import express from 'express';
import expressToKoa from 'express-to-koa';
import connect from 'koa-connect';
import { visitCounter } from '../../counter.js';

const BRIDGES = {
  'express-to-koa': expressToKoa,
  'koa-connect': (inner) => {
    const middleware = connect(inner);
    return (ctx, next) => {
      ctx.status = 200; // Koa begins with 404, and Express leaves the status alone
      return middleware(ctx, next);
    };
  },
};

/** A whole Express app behind the session. */
export default async function expressInKoa(trial, bridge) {
  const inner = express();
  inner.get('/count', (req, res) => {
    req.session.count = (req.session.count ?? 0) + 1;
    res.send(String(req.session.count));
  });
  inner.get('/go', (req, res) => {
    req.session.went = true;
    res.redirect('/went');
  });
  inner.get('/went', (req, res) => res.json(req.session.went ?? false));

  const app = trial.app();
  app.use((ctx, next) => {
    ctx.req.session = ctx.session;
    return next();
  });
  app.use(BRIDGES[bridge](inner));
  const visitor = await trial.visit(app);
  await visitCounter(visitor, '/count');
  expect((await visitor.follow('/go')).body).to.equal('true');
}
