import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { RequestListener } from 'node:http';
import { createServer, request, type Server } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BrowserContext, chromium } from 'playwright-core';

/* Chromium that trusts the server's certificate. With certificate errors ignored, it never binds a session to a device. */

/** What these tests need. */
export const TRUSTED_BROWSER: readonly string[] = ['chromium', 'openssl', 'certutil'];

/** The host that the server is reached under, besides `*.example.test`. */
export const HOST = 'shop.example.test';

export interface TrustedServer {
  readonly server: Server;
  readonly port: number;
  /** The URL of a path, on `HOST` or another host of `example.test`. */
  at(path: string, host?: string): string;
  /** A request of another client, with nothing but these headers. */
  fetch(path: string, headers?: Record<string, string>): Promise<{ status: number; body: string }>;
  close(): Promise<void>;
}

/** A certificate authority of its own, and browsers that trust it. */
export class Trust {
  readonly #dir: string = mkdtempSync(join(tmpdir(), 'testkit-trust-'));
  readonly #open: BrowserContext[] = [];
  #profiles = 0;

  constructor() {
    const subject = ['-days', '2', '-nodes', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'];
    this.#openssl('req', '-x509', ...subject, '-keyout', 'ca.key', '-out', 'ca.pem', '-subj', '/CN=testkit CA');
    this.#openssl('req', ...subject.slice(2), '-keyout', 'key.pem', '-out', 'csr.pem', '-subj', `/CN=${HOST}`);
    const names = 'subjectAltName=DNS:*.example.test,DNS:*.elsewhere.test,DNS:localhost,IP:127.0.0.1';
    writeFileSync(join(this.#dir, 'names'), names);
    const authority = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2', '-extfile', 'names'];
    this.#openssl('x509', '-req', '-in', 'csr.pem', ...authority, '-out', 'cert.pem');
    const database = join(this.#dir, '.pki', 'nssdb');
    mkdirSync(database, { recursive: true });
    const certutil = (...args: string[]): unknown =>
      execFileSync('certutil', ['-d', `sql:${database}`, ...args], { stdio: 'pipe' });
    certutil('-N', '--empty-password');
    certutil('-A', '-t', 'C,,', '-n', 'testkit', '-i', join(this.#dir, 'ca.pem'));
  }

  /** A browser with a profile of its own, or with one that another browser left. Its keys are in software. */
  async launch(profile: string = this.newProfile()): Promise<BrowserContext> {
    const features = 'DeviceBoundSessions,EnableBoundSessionCredentialsSoftwareKeysForManualTesting';
    const context = await chromium.launchPersistentContext(profile, {
      executablePath: '/usr/bin/chromium',
      env: { ...process.env, HOME: this.#dir } as Record<string, string>,
      args: [
        ...['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-sync'],
        ...['--disable-background-networking', '--disable-component-update', `--enable-features=${features}`],
        '--host-resolver-rules=MAP *.test 127.0.0.1',
      ],
    });
    this.#open.push(context);
    return context;
  }

  newProfile(): string {
    return join(this.#dir, `profile-${++this.#profiles}`);
  }

  async serve(listener: RequestListener): Promise<TrustedServer> {
    const [key, cert, ca] = ['key.pem', 'cert.pem', 'ca.pem'].map((name) => readFileSync(join(this.#dir, name)));
    const server = createServer({ key, cert } as { key: Buffer; cert: Buffer }, listener);
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(0, '127.0.0.1', resolve);
    });
    const sockets = new Set<Socket>(); // those of WebSockets, too, which the server forgets
    server.on('secureConnection', (socket: Socket) => {
      sockets.add(socket);
      socket.once('close', () => sockets.delete(socket));
    });
    const { port } = server.address() as AddressInfo;
    return {
      server,
      port,
      at: (path, host = HOST) => `https://${host}:${port}${path}`,
      fetch: (path, headers = {}) =>
        new Promise((resolve, reject) => {
          const options = { host: '127.0.0.1', port, path, ca, servername: HOST, agent: false };
          const outgoing = request({ ...options, headers: { host: `${HOST}:${port}`, ...headers } }, (response) => {
            let body = '';
            response.setEncoding('utf8');
            response.on('data', (text: string) => {
              body += text;
            });
            response.once('end', () => resolve({ status: response.statusCode as number, body }));
          });
          outgoing.once('error', reject).end();
        }),
      close: () =>
        new Promise((resolve) => {
          server.close(() => resolve());
          for (const socket of sockets) socket.destroy();
        }),
    };
  }

  async closeBrowsers(): Promise<void> {
    await Promise.all(this.#open.splice(0).map((context) => context.close()));
  }

  remove(): void {
    rmSync(this.#dir, { recursive: true, force: true, maxRetries: 5 });
  }

  #openssl(...args: string[]): void {
    execFileSync('openssl', args, { cwd: this.#dir, stdio: 'pipe' });
  }
}
