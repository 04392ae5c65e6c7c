import { createServer } from 'node:http';
import express from 'express';
import { answer } from '../works.js';

/** Express alone, and the base of the systems on Express. */
export function create() {
  return serveExpress();
}

export function serveExpress(...middlewares) {
  const app = express();
  for (const middleware of middlewares) app.use(middleware);
  app.use((request, response) => {
    response.send(answer(request.url, request));
  });
  return createServer(app);
}
