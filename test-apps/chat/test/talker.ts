import { Client, type ClientResponse } from 'testkit';
import { WebSocket } from 'ws';

/** A visitor of the chat, by page and by socket. */
export class Talker extends Client {
  static async logIn(origin: string, name: string): Promise<Talker> {
    const talker = new Talker(origin);
    await talker.send('/login', { name });
    return talker;
  }

  send(path: string, fields: Record<string, string> = {}): Promise<ClientResponse> {
    return this.post(path, {
      headers: { 'content-type': 'application/x-www-form-urlencoded', 'sec-fetch-site': 'same-origin' },
      body: new URLSearchParams(fields).toString(),
    });
  }

  connect(origin = this.url): WebSocket {
    return new WebSocket(this.url.replace('http', 'ws'), { headers: { cookie: this.cookie }, origin });
  }
}
