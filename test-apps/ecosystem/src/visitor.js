import { Client } from 'testkit/http';

/** A browser in small: it keeps cookies, posts forms, and follows redirects when it is told to. */
export class Visitor extends Client {
  request(method, path, init) {
    return super.request(method, path, { signal: AbortSignal.timeout(30_000), ...init });
  }

  postForm(path, fields = {}, headers = {}) {
    return this.post(path, {
      headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
      body: new URLSearchParams(fields).toString(),
    });
  }

  /** Gets the path, and where it redirects to as long as it does. Other servers get no cookies of this one. */
  async follow(path) {
    let at = new URL(path, this.url);
    for (let hops = 0; hops < 10; hops++) {
      const isHere = at.origin === this.url;
      const visitor = isHere ? this : new Visitor(at.origin);
      const response = await visitor.get(at.pathname + at.search);
      if (response.status < 300 || response.status > 399) return response;
      at = new URL(response.headers.location, at);
    }
    throw new Error(`${path} redirects in circles`);
  }

  async json(path, init) {
    const response = await this.get(path, init);
    if (response.status !== 200) throw new Error(`GET ${path}: ${response.status} ${response.body.slice(0, 200)}`);
    return response.json();
  }
}
