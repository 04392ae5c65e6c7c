import Koa from 'koa';
import { listen } from './systems.js';
import { Visitor } from './visitor.js';

/** One row on one system: makes apps with sessions, serves them, and clears everything away. */
export class Trial {
  /** Errors of the apps, oldest first. */
  errors = [];
  #system;
  #cleanups = [];

  constructor(system) {
    this.#system = system;
  }

  get isOurs() {
    return this.#system.isOurs;
  }

  /** Whether sessions are kept on the server, so that a former id can be tried. */
  get keepsIds() {
    return this.#system.id === 'files' || this.#system.id === 'redis';
  }

  get usesRedis() {
    return this.#system.id === 'redis';
  }

  /** Variables for a process of its own that is to have the same sessions. */
  get env() {
    return this.#system.env;
  }

  /** An app without sessions yet. */
  bareApp() {
    const app = new Koa();
    app.keys = ['some keys'];
    app.on('error', (error) => this.errors.push(error));
    return app;
  }

  /** The session middleware for an app. */
  session(app, options) {
    return this.#system.session(app, options);
  }

  /** An app with sessions. */
  app(options) {
    const app = this.bareApp();
    app.use(this.session(app, options));
    return app;
  }

  /** The session of a request that doesn't come through the app. */
  open(sessions, app, request) {
    return this.#system.open(sessions, app, request);
  }

  /** Serves an app, which may get its middleware afterwards, or a listener for Node's server. */
  async serve(app) {
    let listener = typeof app === 'function' ? app : undefined;
    const server = await listen((request, response) => {
      listener ??= app.callback();
      return listener(request, response);
    });
    this.defer(() => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    });
    return server;
  }

  /** Serves an app, and visits it. */
  async visit(app) {
    return this.visitor(await this.serve(app));
  }

  visitor(server) {
    return new Visitor(urlOf(server));
  }

  /** Runs when the row is over, last first. */
  defer(cleanup) {
    this.#cleanups.push(cleanup);
  }

  async close() {
    for (const cleanup of this.#cleanups.splice(0).reverse()) await cleanup();
  }
}

export function urlOf(server) {
  return `http://127.0.0.1:${server.address().port}`;
}
